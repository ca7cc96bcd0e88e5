# SPDX-License-Identifier: Apache-2.0
"""Pure: whose a port or a link is that stands under a name which a VIF wants.

Names of devices (a representor, ``vif.vif_name``) are used by one VIF after another, and a late
unplug, or a row that a crash left, must not be taken for the VIF's own.
"""

from enum import Enum, auto

from os_vif.wiring.model import Mark, OvsPort
from os_vif.wiring.state import Link, Port

IFACE_ID, ATTACHED_MAC = "iface-id", "attached-mac"

#: Interfaces that ovs-vswitchd makes for itself: a bridge's own device, and what joins bridges.
_OF_BRIDGES = ("internal", "patch")


class Whose(Enum):
    """The answer; of what bears no mark and no ids it is unknown."""

    THIS = auto()
    ANOTHERS = auto()
    UNKNOWN = auto()


def of_port(wanted: OvsPort, found: Port) -> Whose:
    """Return whose a port is.

    The iface-id decides, whatever mark, MAC address, bridge or name say: Neutron gives each port
    one, and nobody else's. Without it the mark decides, then the MAC address.
    """
    if is_a_bridges(wanted, found):
        return Whose.ANOTHERS
    mine, its = wanted.known_by, found.interface_ids
    if IFACE_ID in mine and IFACE_ID in its:
        return Whose.THIS if mine[IFACE_ID] == its[IFACE_ID] else Whose.ANOTHERS
    by_mark = _by_mark(wanted.mark, found.external_ids.get(Mark.KEY, ""), wanted.name)
    if by_mark is Whose.UNKNOWN and ATTACHED_MAC in mine:
        return Whose.THIS if mine[ATTACHED_MAC] == its.get(ATTACHED_MAC) else by_mark
    return by_mark


def of_link(mark: Mark, found: Link, *, known_by_name: bool) -> Whose:
    """Return whose a link is that is made for VIFs.

    :param known_by_name: whether its name is made of the VIF's id, and so nobody else's.
    """
    by_mark = _by_mark(mark, found.alias, found.name)
    return Whose.THIS if known_by_name and by_mark is Whose.UNKNOWN else by_mark


def is_a_bridges(wanted: OvsPort, found: Port) -> bool:
    """Return whether a port belongs to a bridge and not to a VIF, unless that wants such a one."""
    wants_it = wanted.interface_type in (None, found.interface_type)
    own = found.name == found.bridge
    return own or (found.interface_type in _OF_BRIDGES and not wants_it)


def is_in_use(port: Port | None, link: Link | None) -> bool:
    """Return whether a guest is seen to use a port: it has its tap open, or it is connected.

    A tap has a carrier while its descriptor is open (tun.c of the kernel). Of a vhost-user
    interface ovs-vswitchd tells in ``status`` whether the peer is connected; ``link_state`` stays
    down. Of a representor nobody can tell.
    """
    opened = link is not None and link.kind == "tun" and link.carrier
    vhost_user = port is not None and port.interface_type.startswith("dpdkvhostuser")
    return opened or (port is not None and vhost_user and port.connected)


def owner_of(port: Port) -> str:
    """Return what a port says of its owner, for people."""
    return (
        port.interface_ids.get(IFACE_ID)
        or port.external_ids.get(Mark.KEY)
        or f"an interface of type {port.interface_type}"
    )


def _by_mark(mark: Mark | None, text: str, name: str) -> Whose:
    """Return what the mark (or alias) of a row (or link) of this name says.

    The kind may differ: the VIF was plugged under other settings then. One that was plugged
    without an id (by Neutron's agent), or by a plugin that knows of no VIFs, has the name of the
    device in place of it, which says nothing of whose it is.
    """
    plugin, _, rest = text.removeprefix(f"{Mark.KEY}:").partition(":")
    owner = rest.partition(":")[2]
    if mark is None or plugin != mark.plugin or not owner:
        return Whose.UNKNOWN
    if owner == mark.owner:
        return Whose.THIS
    return Whose.UNKNOWN if name in (owner, mark.owner) else Whose.ANOTHERS
