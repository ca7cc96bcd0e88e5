# SPDX-License-Identifier: Apache-2.0
"""Pure: what is wanted, compared with what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from os_vif.wiring import ownership
from os_vif.wiring.model import (
    BridgePort,
    DeviceMtu,
    Element,
    HostInterface,
    LinuxBridge,
    Mark,
    OnRemove,
    OvsBridge,
    OvsPort,
    Representor,
    Tap,
    VethPair,
    VlanDevice,
    Wiring,
)
from os_vif.wiring.ownership import Whose
from os_vif.wiring.state import FIRST_GROUP, Attribute, Found, Link, Port, Value


class Cure(Enum):
    """What applying a wiring does about a difference."""

    CORRECT = auto()
    REPORT = auto()  # set on creation only, or not changeable: it is logged
    REFUSE = auto()  # it contradicts the wiring: nothing is changed


@dataclass(frozen=True)
class Difference:
    """One thing that is not as described."""

    where: str
    what: str
    wanted: object
    found: object
    cure: Cure = Cure.CORRECT


#: The "what" of an element that is not there at all, and of one that is another VIF's.
PRESENT, OWNER = "present", "owner"


def differences(wiring: Wiring, found: Found) -> tuple[Difference, ...]:
    """Compare a wiring with the host by the partial-match rule: more than described is fine."""
    return tuple(one for element in wiring.elements for one in element_differences(element, found))


def element_differences(element: Element, found: Found) -> Iterator[Difference]:
    match element:
        case OvsBridge():
            yield from _bridge_differences(element, found)
        case OvsPort():
            yield from _port_differences(element, found)
        case BridgePort():
            yield from _membership_differences(element, found)
        case _:
            for spec in link_specs(element):
                yield from link_differences(spec, found.links.get(spec.name))


def _membership_differences(wanted: BridgePort, found: Found) -> Iterator[Difference]:
    where = f"link {wanted.name}"
    port, bridge = found.links.get(wanted.name), found.links.get(wanted.bridge)
    if port is None or port.attributes["master"] == "":
        yield Difference(where, "master", wanted.bridge, "")
    elif port.attributes["master"] != wanted.bridge:
        yield Difference(where, "master", wanted.bridge, port.attributes["master"], Cure.REFUSE)
    if port is not None and port.addresses:
        yield Difference(where, "addresses", (), port.addresses)
    if bridge is not None and wanted.mtu not in (None, bridge.attributes["mtu"]):
        yield Difference(f"link {wanted.bridge}", "mtu", wanted.mtu, bridge.attributes["mtu"])


def _bridge_differences(wanted: OvsBridge, found: Found) -> Iterator[Difference]:
    where = f"OVS bridge {wanted.name}"
    bridge, datapath_type = found.bridges.get(wanted.name), datapath_type_of(wanted, found)
    if bridge is None:
        yield Difference(where, PRESENT, True, False)
    elif (bridge.datapath_type or "system") != datapath_type:
        # Another type would take down every port of the bridge.
        yield Difference(where, "datapath_type", datapath_type, bridge.datapath_type, Cure.REPORT)


def datapath_type_of(wanted: OvsBridge, found: Found) -> str:
    """Return the datapath type that a bridge should have beside those that are there."""
    neighbour = found.bridges.get(wanted.joined_to)
    return wanted.datapath_type if neighbour is None else neighbour.datapath_type or "system"


def _port_differences(wanted: OvsPort, found: Found) -> Iterator[Difference]:
    where = f"OVS port {wanted.name}"
    port = found.ports.get(wanted.name)
    if port is None:
        yield Difference(where, PRESENT, True, False)
        return
    if port.bond:
        yield Difference(where, "interface", wanted.name, "those of a bond", Cure.REFUSE)
    if ownership.of_port(wanted, port) is Whose.ANOTHERS:
        if ownership.is_a_bridges(wanted, port):
            yield owner_difference(wanted, port, Cure.REFUSE)
        elif ownership.is_in_use(port, found.links.get(port.name)):
            yield owner_difference(wanted, port, Cure.REFUSE, " (in use)")
        else:  # what another VIF has left is replaced, on whichever bridge it is
            yield owner_difference(wanted, port, Cure.CORRECT)
        return
    if port.bridge != wanted.bridge:
        yield Difference(where, "bridge", wanted.bridge, port.bridge, Cure.REFUSE)
    for key, value in interface_values(wanted).items():
        if port.interface(key) != value:
            yield Difference(where, key, value, port.interface(key))
    if port.error and has_device(wanted, found):
        yield Difference(where, "error", "", port.error, Cure.REPORT)


def owner_difference(wanted: OvsPort, port: Port, cure: Cure, more: str = "") -> Difference:
    """Say that a port is not the VIF's.

    :param more: what else there is to say of the port.
    """
    this = wanted.known_by.get(ownership.IFACE_ID) or str(wanted.mark)
    other = ownership.owner_of(port) + more
    return Difference(f"OVS port {wanted.name}", OWNER, this, other, cure)


def interface_values(port: OvsPort) -> dict[str, str | int]:
    """What a port's Interface row must hold, by ovs-vsctl's notation."""
    values: dict[str, str | int] = {}
    if port.interface_type is not None:
        values["type"] = port.interface_type
    values |= {f"external_ids:{key}": value for key, value in port.external_ids.items()}
    values |= {f"options:{key}": value for key, value in port.options.items()}
    if port.mtu_request is not None:
        values["mtu_request"] = port.mtu_request
    return values


def has_device(wanted: OvsPort, found: Found) -> bool:
    return wanted.device or wanted.name in found.links


@dataclass(frozen=True)
class LinkSpec:
    """What the kernel is to hold of one link."""

    name: str
    always: Mapping[Attribute, Value]
    #: Numbers that may be greater on the host.
    at_least: Mapping[Attribute, int] = field(default_factory=dict)
    #: For a link that is ours to make and to delete; None for one that only serves us.
    made: Making | None = None
    #: Whether plugging is refused without it; what is made need not be there before.
    required: bool = False
    on_remove: Mapping[Attribute, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Making:
    """How a link is made, and by what it is told from another VIF's."""

    kind: str
    mark: Mark
    #: Whether its name is made of the VIF's id.
    known_by_name: bool = True
    #: Attributes that are corrected on a link without our mark; None for all.
    unmarked: frozenset[Attribute] | None = None
    #: Attributes that are set in the act of creation, and what is done when they differ.
    fixed: Mapping[Attribute, tuple[Value, Cure]] = field(default_factory=dict)
    #: Whether it stays when its wiring is removed, because others use it, too.
    kept: bool = False

    def whose(self, found: Link) -> Whose:
        """See :func:`os_vif.wiring.ownership.of_link`."""
        return ownership.of_link(self.mark, found, known_by_name=self.known_by_name)


#: Keeps the host's own stack out of a guest's Ethernet segment.
_OF_HOST_STACK = {"arp_ignore": 1, "arp_announce": 2}
_NO_HOST_STACK = {"disable_ipv6": 1, **_OF_HOST_STACK}


def link_specs(element: Element) -> tuple[LinkSpec, ...]:
    """The links that an element consists of, in the order in which they are made."""
    match element:
        case LinuxBridge():
            return (_bridge(element),)
        case HostInterface():
            return (_host_interface(element),)
        case VlanDevice():
            return (_vlan_device(element),)
        case VethPair():
            return _veth_pair(element)
        case Tap():
            return (_tap(element),)
        case Representor():
            up = _with_mtu(element.mtu, {"up": True})
            return (LinkSpec(element.name, up, required=True, on_remove={"up": False}),)
        case DeviceMtu():
            return (LinkSpec(element.name, _with_mtu(element.mtu, {})),)
        case _:
            return ()


def _bridge(element: LinuxBridge) -> LinkSpec:
    options: dict[Attribute, Value] = {"stp": False, "forward_delay": 0}
    if element.ageing is not None:
        options["ageing"] = element.ageing
    wanted = {**_NO_HOST_STACK, **options, "mcast_snooping": False, "up": True}
    kept = element.on_remove is OnRemove.KEEP
    # Somebody's STP may be all that holds a loop open.
    unmarked = frozenset({"up"}) if kept else None
    made = Making("bridge", element.mark, unmarked=unmarked, kept=kept)
    return LinkSpec(element.name, wanted, made=made)


def _host_interface(element: HostInterface) -> LinkSpec:
    always = _with_mtu(None if element.shared else element.mtu, {"up": True})
    raised = {"mtu": element.mtu} if element.shared and element.mtu is not None else {}
    return LinkSpec(element.name, always, at_least=raised, required=True)


def _vlan_device(element: VlanDevice) -> LinkSpec:
    fixed: dict[Attribute, tuple[Value, Cure]] = {
        "parent": (element.parent, Cure.REFUSE),
        "vlan": (element.vlan, Cure.REFUSE),
    }
    made = Making("vlan", element.mark, fixed=fixed, kept=True)
    wanted = _with_mac(element.mac, _with_mtu(element.mtu, {"up": True}))
    return LinkSpec(element.name, wanted, made=made)


def _veth_pair(element: VethPair) -> tuple[LinkSpec, LinkSpec]:
    end = _with_mtu(element.mtu, {"promisc": True, "up": True})
    # No neighbour discovery of the host towards tenants; os-vif 5.x let it happen.
    inner = {"disable_ipv6": 1, **end, "master": element.bridge}
    made = Making("veth", element.mark, unmarked=frozenset({*end, "master"}))
    return (
        LinkSpec(element.name, inner, made=made),
        LinkSpec(element.peer, {"disable_ipv6": 1, **end}, made=made),
    )


def _tap(element: Tap) -> LinkSpec:
    made = Making(
        "tun",
        element.mark,
        known_by_name=False,
        unmarked=frozenset({"mtu"}),  # libvirt's fe: MAC is on purpose
        # The kernel takes it at creation only (IFF_MULTI_QUEUE in tun.c).
        fixed={"multiqueue": (element.multiqueue, Cure.REPORT)},
    )
    # no duplicate address detection for the guest's MAC
    wanted = {"disable_ipv6": 1, **_with_mtu(element.mtu, {"up": True})}
    return LinkSpec(element.name, _with_mac(element.mac, wanted), made=made)


def _with_mtu(mtu: int | None, attributes: Mapping[Attribute, Value]) -> dict[Attribute, Value]:
    return {**attributes} if mtu is None else {"mtu": mtu, **attributes}


def _with_mac(mac: str | None, attributes: Mapping[Attribute, Value]) -> dict[Attribute, Value]:
    return {**attributes} if mac is None else {"mac": mac, **attributes}


def has_ipv6(link: Link) -> bool:
    """Whether a link has IPv6 addresses of the host's own."""
    return any(":" in address for address in link.addresses)


def link_differences(spec: LinkSpec, found: Link | None) -> Iterator[Difference]:
    where = f"link {spec.name}"
    made = spec.made
    if found is None:
        if made or spec.required:
            yield Difference(where, PRESENT, True, False, Cure.CORRECT if made else Cure.REFUSE)
        return
    if made and found.kind != made.kind:
        yield Difference(where, "kind", made.kind, found.kind or "hardware", Cure.REFUSE)
        return
    if made and not made.kept and made.whose(found) is Whose.ANOTHERS:
        stale = made.kind == "tun" and not ownership.is_in_use(None, found)
        cure = Cure.CORRECT if stale else Cure.REFUSE
        yield Difference(where, OWNER, made.mark.alias, found.alias, cure)
        return
    limited = None if made is None or _is_ours_to_set(made, found) else made.unmarked
    for key, value in spec.always.items():
        if key not in found.attributes:
            continue  # this kernel has no such thing
        if key == "disable_ipv6" and has_ipv6(found):
            continue  # they would be gone
        if key in _OF_HOST_STACK and found.addresses:
            continue  # a bridge answers for the host's addresses as their interface did
        if (limited is None or key in limited) and found.attributes[key] != value:
            yield Difference(where, key, value, found.attributes[key])
    if made and found.group >= FIRST_GROUP and found.alias.startswith(f"{Mark.KEY}:"):
        yield Difference(where, "group", 0, found.group)  # its deletion was killed half-way
    for key, least in spec.at_least.items():
        if int(found.attributes[key]) < least:
            yield Difference(where, key, least, found.attributes[key])
    for key, (value, cure) in made.fixed.items() if made else ():
        if found.attributes.get(key, value) != value:
            yield Difference(where, key, value, found.attributes[key], cure)


def _is_ours_to_set(made: Making, found: Link) -> bool:
    """Return whether all attributes of a link are ours to set: it bears a mark of ours, or it is
    down, which means that whoever made it under that name was killed before it was marked."""
    by_mark = ownership.of_link(made.mark, found, known_by_name=False)
    return by_mark is Whose.THIS or (made.known_by_name and not found.attributes["up"])
