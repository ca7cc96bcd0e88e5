# SPDX-License-Identifier: Apache-2.0
"""What os-vif has made on a host, VIF by VIF. Everything here is pure.

What bears a mark is ours. What os-vif 5 made bears none: its port is ours if its ids prove it (an
iface-id, and the ``vm-uuid`` that libvirt and Neutron do not write) and its name is made of that
iface-id, which is the VIF's id; then so are the devices whose names are made of the same id.
Shared bridges, such as the integration bridge, belong to no VIF.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from os_vif.answers import PluggedVif, State
from os_vif.wiring import ownership
from os_vif.wiring.ownership import ATTACHED_MAC, IFACE_ID, Mark
from os_vif.wiring.state import Bridge, Found, Link, Port
from vif_plug_ovs import constants
from vif_plug_ovs.ovsdb.operations import SINCE
from vif_plug_ovs.shapes import (
    host_device,
    hybrid,
    names,
    open_vswitch,
    per_port_bridge,
    vhost_user,
)

VM_UUID = "vm-uuid"

#: Prefix of a port's name -> the kind of VIF that os-vif 5 gives such a port, and the length to
#: which that is cut.
_OF_OS_VIF_5 = {
    "tap": (open_vswitch.KIND, names.NIC_NAME_LENGTH),
    "qvo": (hybrid.KIND, names.NIC_NAME_LENGTH),
    "vhu": (vhost_user.KIND, names.NIC_NAME_LENGTH),
    "vfr": (host_device.KIND, names.NIC_NAME_LENGTH),
    "ibp": (per_port_bridge.KIND, names.PATCH_NAME_LENGTH),
}


@dataclass
class Holding:
    """What one VIF has on the host.

    :param owner: its id; the name of its device where that is what the mark names.
    :param marked: whether any of it bears a mark.
    """

    owner: str
    kind: str = ""
    marked: bool = False
    ports: dict[str, Port] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    #: Devices of which a QoS row is left without a port.
    qos: set[str] = field(default_factory=set)
    #: By what a guest is seen to use it; empty if by nothing.
    use: str = ""

    @property
    def port(self) -> Port | None:
        """The port that stands for the VIF on the bridge of its network: the one with ids."""
        with_ids = [port for port in self.ports.values() if IFACE_ID in port.interface_ids]
        return next(iter([*with_ids, *self.ports.values()]), None)

    @property
    def instance(self) -> str | None:
        """The id of the virtual machine."""
        found = (port.interface_ids.get(VM_UUID) for port in self.ports.values())
        return next(filter(None, found), None)

    @property
    def since(self) -> float | None:
        """When its newest port was written, in seconds since 1970; None if that is not known."""
        written = [port.external_ids.get(SINCE, "") for port in self.ports.values()]
        known = [float(text) for text in written if text.isascii() and text.isdigit()]
        return max(known) if known else None

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of all of it."""
        rows = (f"QoS of {device}" for device in sorted(self.qos))
        return tuple(dict.fromkeys([*self.links, *self.ports, *self.bridges, *rows]))


def holdings(found: Found) -> list[Holding]:
    """Return what each VIF has, of all that was found on the host, sorted by owner."""
    every: dict[str, Holding] = {}

    def holding(owner: str, kind: str, marked: bool) -> Holding:
        one = every.setdefault(owner, Holding(owner))
        if kind and (marked or not one.kind):
            one.kind = kind
        one.marked = one.marked or marked
        return one

    for port in found.ports.values():
        if owned := _owner_of_port(port, found.links.get(port.name)):
            holding(*owned).ports[port.name] = port
    for bridge in found.bridges.values():
        mark = _ours(Mark.read(bridge.external_ids))
        if mark and bridge.name == names.port_bridge(mark.owner):
            holding(mark.owner, mark.kind, True).bridges[bridge.name] = bridge
    for link in found.links.values():
        mark = _ours(Mark.read({Mark.KEY: link.alias.removeprefix(f"{Mark.KEY}:")}))
        if mark and link.alias == mark.alias:
            holding(mark.owner, mark.kind, True).links[link.name] = link
    for owner, kind, device in _left_qos(found):
        holding(owner, kind, True).qos.add(device)
    neighbours = _Neighbours(found)
    for one in every.values():
        _add_by_name(one, found)
        one.use = next(_uses(one, found, neighbours), "")
    return sorted(every.values(), key=lambda one: one.owner)


def _left_qos(found: Found) -> Iterator[tuple[str, str, str]]:
    """Yield of the QoS rows without a port whose they are, the kind, and the device.

    Of the device a row has a hash only: it is that of a link that is there, or of a name that is
    made of the VIF's id; one with another name is not found.
    """
    marks = ((row, _ours(Mark.read({Mark.KEY: text}))) for row, text in found.left_qos.items())
    left = [(row, mark) for row, mark in marks if mark]
    devices = {names.qos_id(name): name for name in found.links} if left else {}
    for row, mark in left:
        of_id = {names.qos_id(name): name for name in (mark.owner, *names_of(mark.owner))}
        if device := (devices | of_id).get(row):
            yield mark.owner, mark.kind, device


def _owner_of_port(port: Port, link: Link | None) -> tuple[str, str, bool] | None:
    """Return whose a port is, the kind, and whether a mark says so.

    :param link: its device. That of a container is a veth, and kuryr-kubernetes writes the same
        ids as os-vif.
    """
    if mark := _ours(Mark.read(port.external_ids)):
        # A bridge's own port bears the mark of the VIF for which the bridge was made.
        shared = port.name == port.bridge != names.port_bridge(mark.owner)
        return None if shared else (mark.owner, mark.kind, True)
    ids = port.interface_ids
    if VM_UUID not in ids or ATTACHED_MAC not in ids:
        return None
    if port.name.startswith("tap") and link is not None and link.kind != "tun":
        return None
    vif_id = ids.get(IFACE_ID, "")
    for prefix, (kind, length) in _OF_OS_VIF_5.items():
        if vif_id and port.name == names.prefixed(prefix, vif_id, length):
            return vif_id, kind, False
    return None


def _ours(mark: Mark | None) -> Mark | None:
    return mark if mark and mark.plugin == constants.PLUGIN_NAME else None


def names_of(vif_id: str) -> Mapping[str, str]:
    """Return the names that are made of a VIF's id, each with the kind of link it has."""
    qvb, qvo = names.veth_pair(vif_id)
    return {
        names.hybrid_bridge(vif_id): "bridge",
        qvb: "veth",
        qvo: "veth",
        names.prefixed("tap", vif_id): "tun",
        names.port_bridge(vif_id): "",
    } | dict.fromkeys(names.patch_pair(vif_id), "")


def _add_by_name(one: Holding, found: Found) -> None:
    """Add what os-vif 5 made for a VIF and did not mark; not what bears another mark."""
    for name, kind in names_of(one.owner).items():
        link = found.links.get(name)
        if link and kind and link.kind == kind and not link.alias:
            one.links.setdefault(name, link)
        port = found.ports.get(name)
        if port and port.bridge == names.port_bridge(one.owner) and not port.external_ids:
            one.ports.setdefault(name, port)
        bridge = found.bridges.get(name)
        if bridge and name == names.port_bridge(one.owner):
            one.bridges.setdefault(name, bridge)


class _Neighbours:
    """The links in each bridge of the kernel, and the ports on each of Open vSwitch."""

    def __init__(self, found: Found) -> None:
        self.links: defaultdict[str, list[str]] = defaultdict(list)
        self.ports: defaultdict[str, list[str]] = defaultdict(list)
        for link in found.links.values():
            self.links[str(link.attributes.get("master") or "")].append(link.name)
        for port in found.ports.values():
            self.ports[port.bridge].append(port.name)


def _uses(one: Holding, found: Found, neighbours: _Neighbours) -> Iterator[str]:
    # ovs-vswitchd itself has the device of a bridge open.
    for name in sorted({*one.links, *one.ports} - one.bridges.keys()):
        port, link = one.ports.get(name), found.links.get(name)
        if ownership.is_in_use(port, link):
            yield f"a guest has {name} open"
    ends = {*names.veth_pair(one.owner)}
    masters = {linux_bridge(end, found) for end in ends}
    for bridge in {name for name, link in one.links.items() if link.kind == "bridge"} | masters:
        for name in neighbours.links[bridge] if bridge else ():
            if name not in ends:
                yield f"{name} is in the bridge {bridge}"
    for bridge in one.bridges:
        for name in neighbours.ports[bridge]:
            if name not in one.ports:
                yield f"the port {name} of others is on its bridge {bridge}"


def linux_bridge(name: str, found: Found) -> str:
    """Return the bridge of the kernel in which a link is; empty if it is in none.

    Ports of Open vSwitch in the kernel have a master, too: ``ovs-system``.
    """
    link = found.links.get(name)
    master = found.links.get(str(link.attributes.get("master"))) if link else None
    return master.name if master and master.kind == "bridge" else ""


def state(one: Holding, found: Found) -> tuple[State, str]:
    """Return how a VIF is, and why that is said."""
    if one.use:
        return State.IN_USE, one.use
    port = one.port
    if port is None:
        return State.ORPHAN, f"no port of Open vSwitch belongs to {', '.join(one.devices)}"
    if missing := _missing(one, found):
        return State.ORPHAN, f"{missing} is missing"
    absent = ""
    for its in one.ports.values():
        if its.name not in found.links and not its.interface_type:
            absent = f"{its.name}: the device is not there, as when the guest is off"
        elif its.error:
            return State.BROKEN, f"{its.name}: {its.error}"
        elif its.ofport is not None and its.ofport < 0:
            return State.BROKEN, f"{its.name}: ovs-vswitchd could not open it"
        elif its.is_unseen:
            return State.BROKEN, f"{its.name}: ovs-vswitchd has not looked at it"
    return State.IDLE, absent


def _missing(one: Holding, found: Found) -> str:
    """Return what a hybrid plug, or a bridge per port, lacks without which it is dead."""
    needed: tuple[str, ...] = ()
    if one.kind == hybrid.KIND:
        qvb, qvo = names.veth_pair(one.owner)
        needed = (qvb, qvo) if linux_bridge(qvb, found) else (names.hybrid_bridge(one.owner),)
    elif one.kind == per_port_bridge.KIND:
        needed = (names.port_bridge(one.owner), *names.patch_pair(one.owner))
    there = {*one.links, *one.ports, *one.bridges}
    return next((name for name in needed if name not in there), "")


def listed(found: Found, now: float) -> tuple[PluggedVif, ...]:
    """Return what each VIF has, for people.

    :param now: seconds since 1970.
    """
    return tuple(_listed(one, found, now) for one in holdings(found))


def _listed(one: Holding, found: Found, now: float) -> PluggedVif:
    port, (its_state, reason) = one.port, state(one, found)
    return PluggedVif(
        vif_id=one.owner,
        plugin=constants.PLUGIN_NAME,
        kind=one.kind,
        instance=one.instance,
        devices=one.devices,
        bridge=None if port is None else port.bridge,
        ofport=None if port is None else port.ofport,
        state=its_state,
        reason=reason,
        age=None if one.since is None else max(0.0, now - one.since),
        marked=one.marked,
    )
