# SPDX-License-Identifier: Apache-2.0
"""The elements of which a wiring is drawn: frozen values without behaviour on the host.

A VIF kind's function returns a :class:`Wiring`; applying it is plug, removing it is unplug.
Elements stand in the order in which they are made; they are removed in the opposite order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto


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

    def owns(self, text: str) -> bool:
        """Whether a mark (or alias) found on the host is one of the same VIF.

        The kind may differ: the VIF was plugged under other settings then.
        """
        plugin, _, rest = text.removeprefix(f"{self.KEY}:").partition(":")
        return plugin == self.plugin and rest.partition(":")[2] == self.owner


@dataclass(frozen=True)
class LinuxBridge:
    """A bridge of the kernel; its own network stack is kept out of the guests' traffic."""

    name: str
    mark: Mark
    ageing: int | None = None  # seconds before a MAC address is forgotten; None: the kernel's


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
class OvsBridge:
    """An Open vSwitch bridge: made when it is missing, left as it is when it is there."""

    name: str
    datapath_type: str
    mark: Mark
    on_remove: OnRemove = OnRemove.KEEP


@dataclass(frozen=True)
class OvsPort:
    """A port with one interface of the same name on an Open vSwitch bridge."""

    name: str
    bridge: str
    mark: Mark
    #: Interface ``external_ids``, kept as described; further keys are other people's.
    external_ids: Mapping[str, str] = field(default_factory=dict)
    #: Whether ovs-vswitchd finds a device of that name now; else whoever makes it comes later.
    device: bool = True


Element = LinuxBridge | VethPair | Tap | OvsBridge | OvsPort


@dataclass(frozen=True)
class Wiring:
    """What one VIF needs on the host.

    ``leftovers`` are elements that this VIF may have from a plug under other settings: applying
    leaves them alone, removing takes them away where their mark or ids say that they are this
    VIF's.
    """

    elements: tuple[Element, ...]
    leftovers: tuple[Element, ...] = ()

    def __iter__(self) -> Iterator[Element]:
        yield from self.elements
        yield from self.leftovers
