# SPDX-License-Identifier: Apache-2.0
"""Whose a row or a link is that has a name which a VIF wants.

Names of devices (a representor, ``vif.vif_name``) are used by one VIF after another, and a late
unplug, or a row that a crash left, must not be taken for the VIF's own. What a port's ids say of
it: :meth:`os_vif.wiring.elements.OvsPort.whose`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from os_vif.wiring.state import Link, Port

IFACE_ID, ATTACHED_MAC = "iface-id", "attached-mac"


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
        return cls.parsed(external_ids.get(cls.KEY, ""))

    @classmethod
    def parsed(cls, text: str) -> "Mark | None":
        """Return what a text is the mark of, or the alias; None if it is neither."""
        plugin, _, rest = text.removeprefix(f"{cls.KEY}:").partition(":")
        kind, _, owner = rest.partition(":")
        return cls(plugin, kind, owner) if owner else None


def ids_of(mark: Mark | None) -> dict[str, str]:
    """Return the ``external_ids`` that a mark is, if any."""
    return {} if mark is None else {Mark.KEY: str(mark)}


class Whose(Enum):
    """The answer; of what bears no mark and no ids it is unknown."""

    THIS = auto()
    ANOTHERS = auto()
    UNKNOWN = auto()


def by_mark(mark: Mark | None, text: str, name: str) -> Whose:
    """Return what the mark (or alias) of a row (or link) of this name says.

    The kind may differ: the VIF was plugged under other settings then. One that was plugged
    without an id (by Neutron's agent), or by a plugin that knows of no VIFs, has the name of the
    device in place of it, which says nothing of whose it is.
    """
    found = Mark.parsed(text)
    if mark is None or found is None or found.plugin != mark.plugin:
        return Whose.UNKNOWN
    if found.owner == mark.owner:
        return Whose.THIS
    return Whose.UNKNOWN if name in (found.owner, mark.owner) else Whose.ANOTHERS


def of_link(mark: Mark, found: Link, *, named_after_id: bool) -> Whose:
    """Return whose a link is that is made for VIFs.

    :param named_after_id: whether its name is made of the VIF's id, and so nobody else's.
    """
    marked = by_mark(mark, found.alias, found.name)
    return Whose.THIS if named_after_id and marked is Whose.UNKNOWN else marked


def is_in_use(port: Port | None, link: Link | None) -> bool:
    """Return whether a guest is seen to use a port: it has its tap open, or it is connected.

    A tap has a carrier while its descriptor is open (tun.c of the kernel). Of a vhost-user
    interface ovs-vswitchd tells in ``status`` whether the peer is connected; ``link_state`` stays
    down. Of a representor nobody can tell.
    """
    opened = link is not None and link.kind == "tun" and link.carrier
    vhost_user = port is not None and port.interface_type.startswith("dpdkvhostuser")
    return opened or (port is not None and vhost_user and bool(port.connected))


def owner_of(port: Port) -> str:
    """Return what a port says of its owner, for people."""
    return (
        port.interface_ids.get(IFACE_ID)
        or port.external_ids.get(Mark.KEY)
        or f"an interface of type {port.interface_type}"
    )
