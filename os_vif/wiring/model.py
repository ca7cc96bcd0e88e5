# SPDX-License-Identifier: Apache-2.0
"""The elements of which a wiring is drawn: frozen values without behaviour on the host.

A VIF kind's function returns a :class:`Wiring`; applying it is plug, removing it is unplug.
Elements stand in the order in which they are made; they are removed in the opposite order.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, TypeVar

T = TypeVar("T")


class OnRemove(Enum):
    """What becomes of an element when its wiring is removed."""

    DELETE = auto()
    KEEP = auto()  # others use it: the integration bridge


@dataclass(frozen=True)
class Mark:
    """Whose a row or a link is: written in the act that creates it, never later.

    Rows carry it as ``external_ids:os-vif``, links as their alias. What os-vif 5.x made is
    recognised by its names and ids instead and stays unmarked.
    """

    plugin: str
    kind: str
    owner: str  # the VIF's id, else the device's name

    KEY = "os-vif"

    def __str__(self) -> str:
        return f"{self.plugin}:{self.kind}:{self.owner}"

    @property
    def alias(self) -> str:
        """The mark as a link's alias."""
        return f"{self.KEY}:{self}"

    @classmethod
    def read(cls, external_ids: Mapping[str, str]) -> "Mark | None":
        """Return the mark among the ``external_ids`` of a row, None if there is none."""
        plugin, _, rest = external_ids.get(cls.KEY, "").partition(":")
        kind, _, owner = rest.partition(":")
        return cls(plugin, kind, owner) if owner else None


@dataclass(frozen=True)
class LinuxBridge:
    """A bridge of the kernel; its own network stack is kept out of the guests' traffic.

    One that others use too (``on_remove`` is KEEP) keeps its settings if somebody else made it.
    """

    name: str
    mark: Mark
    ageing: int | None = None  # seconds before a MAC address is forgotten; None: the kernel's
    on_remove: OnRemove = OnRemove.DELETE


@dataclass(frozen=True)
class HostInterface:
    """An interface through which guests reach a physical network: the host's, never ours."""

    name: str
    mtu: int | None  # bytes
    #: Whether others use it too: then its MTU is raised to that, never lowered.
    shared: bool = False


@dataclass(frozen=True)
class VlanDevice:
    """A device whose frames travel through another one with a tag; others use it too."""

    name: str
    parent: str
    vlan: int
    mtu: int | None  # bytes
    mark: Mark
    mac: str | None = None  # None: that of its parent


@dataclass(frozen=True)
class ForwardingFilter:
    """A firewall's rules about what is forwarded to and from a Linux bridge.

    :param settings: the plugin's own, as primitives; only its privileged daemon can tell whether
        the rules are there.
    """

    bridge: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class BridgePort:
    """An interface in a Linux bridge, with its addresses and routes moved to the bridge."""

    name: str
    bridge: str
    mtu: int | None  # bytes, of the bridge: it may have one only with a port


@dataclass(frozen=True)
class VethPair:
    """Two ends of a virtual cable, the first of them in a Linux bridge."""

    name: str
    peer: str
    bridge: str
    mtu: int | None  # bytes
    mark: Mark


@dataclass(frozen=True)
class Tap:
    """A persistent tap device, made before the guest opens it (bug 2069718)."""

    name: str
    mac: str | None
    mtu: int | None  # bytes
    mark: Mark
    multiqueue: bool = False


@dataclass(frozen=True)
class Representor:
    """The host's end of a virtual function in a NIC's switch: the driver's, never ours.

    It is set up on plug and down on unplug; it is neither made nor deleted nor marked.
    """

    name: str
    mtu: int | None  # bytes


@dataclass(frozen=True)
class DeviceMtu:
    """The MTU of a device that somebody else makes, sooner or later: libvirt's tap.

    Nothing else of it is ours to set: its MAC address begins with ``fe:`` on purpose.
    """

    name: str
    mtu: int | None  # bytes


@dataclass(frozen=True)
class OvsBridge:
    """An Open vSwitch bridge: made when it is missing, left as it is when it is there."""

    name: str
    datapath_type: str
    mark: Mark | None  # None: a bridge that had none is made again
    on_remove: OnRemove = OnRemove.KEEP
    #: A bridge that it is joined to by patch ports: where that is found with another datapath
    #: type, a new one takes that type, because patch ports between types never work.
    joined_to: str = ""


@dataclass(frozen=True)
class Vlan:
    """The VLANs of a port: the columns ``tag``, ``vlan_mode`` and ``trunks`` of its row."""

    tag: int | None = None
    mode: str | None = None
    trunks: tuple[int, ...] = ()


@dataclass(frozen=True)
class OvsPort:
    """A port with one interface of the same name on an Open vSwitch bridge."""

    name: str
    bridge: str
    mark: Mark | None  # None: a port that had none is made again
    interface_type: str | None = ""  # None: whatever it is
    #: Interface ``external_ids`` and ``options``, kept as described; further keys are others'.
    external_ids: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    #: Bytes; for devices that ovs-vswitchd itself makes. In the creating transaction, so that
    #: DPDK takes the right memory pool at once (bug 1959586).
    mtu_request: int | None = None
    #: Whether ovs-vswitchd finds a device of that name now; else whoever makes it comes later.
    device: bool = True
    #: Interface ``external_ids`` by which a port that is found is told from another VIF's; see
    #: :mod:`os_vif.wiring.ownership`.
    known_by: Mapping[str, str] = field(default_factory=dict)
    #: Only on creation: a port that carries traffic is never moved (bug 2023300) or re-queued
    #: (bug 2017868).
    vlan: Vlan | None = None
    qos_type: str | None = None


Element = (
    LinuxBridge
    | HostInterface
    | VlanDevice
    | BridgePort
    | ForwardingFilter
    | VethPair
    | Tap
    | Representor
    | DeviceMtu
    | OvsBridge
    | OvsPort
)


@dataclass(frozen=True)
class Wiring:
    """What one VIF needs on the host.

    A VIF may have been plugged under other settings than those of today. It keeps the shape that
    it has until it is unplugged, and unplug takes away all that it may have.

    :param elements: in the order in which they are made.
    :param sign: the element that stands on the host when this shape does.
    :param device: the link without which the shape is dead though its rows stand: a reboot takes
        devices away and leaves rows.
    :param alternatives: shapes that this VIF may have instead; where one of them stands, applying
        applies that one.
    :param leftovers: elements that applying leaves alone.

    Removing takes away the elements, and those of alternatives and leftovers wherever a mark or
    ids say that they are this VIF's.
    """

    elements: tuple[Element, ...]
    sign: Element | None = None
    device: str | None = None
    alternatives: tuple["Wiring", ...] = ()
    leftovers: tuple[Element, ...] = ()

    @functools.cached_property
    def all_elements(self) -> tuple[Element, ...]:
        """Everything that may be there, each element once."""
        others = (e for other in self.alternatives for e in other.all_elements)
        return unique((*self.elements, *others, *self.leftovers))


def unique(items: Iterable[T]) -> tuple[T, ...]:
    """Each of some values once, hashable or not."""
    every = tuple(items)
    return tuple(item for i, item in enumerate(every) if item not in every[:i])
