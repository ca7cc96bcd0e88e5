# SPDX-License-Identifier: Apache-2.0
"""Pure: from what is wanted and what was found to the steps between them.

``differences`` compares, ``to_apply`` and ``to_remove`` turn the comparison into steps, and
``inverse`` into those that take them back. Nothing here touches the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum, auto

from os_vif.wiring.model import (
    DeviceMtu,
    Element,
    LinuxBridge,
    Mark,
    OnRemove,
    OvsBridge,
    OvsPort,
    Representor,
    Tap,
    VethPair,
    Wiring,
    unique,
)
from os_vif.wiring.state import Attribute, Bridge, Found, Link, Port, Value

# Steps ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateLink:
    """Make a link and write its alias (and, for a veth pair, its peer with the same alias)."""

    name: str
    kind: str
    alias: str
    peer: str = ""
    multiqueue: bool = False

    def __str__(self) -> str:
        peer = f" with its peer {self.peer}" if self.peer else ""
        return f"create {self.kind} {self.name}{peer}"


@dataclass(frozen=True)
class SetLink:
    """Set attributes of a link, in their order."""

    name: str
    attributes: Mapping[Attribute, Value]

    def __str__(self) -> str:
        wanted = ", ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"set {wanted} of {self.name}"


@dataclass(frozen=True)
class DeleteLink:
    """Delete a link if it is (still) there and of this kind."""

    name: str
    kind: str

    def __str__(self) -> str:
        return f"delete {self.kind} {self.name}"


@dataclass(frozen=True)
class CreateBridge:
    """Insert the rows of an OVS bridge."""

    bridge: OvsBridge


@dataclass(frozen=True)
class RemoveBridge:
    """Take an OVS bridge out of the switch.

    :param if_empty: leave it when others have put ports on it.
    """

    name: str
    if_empty: bool = False


@dataclass(frozen=True)
class CreatePort:
    """Insert the rows of a port, in place of QoS rows left by earlier ports of its name."""

    port: OvsPort


@dataclass(frozen=True)
class SetPort:
    """Set values of an Interface row, by ovs-vsctl's notation: ``column`` or ``column:key``.

    None takes a key away and empties a column.
    """

    name: str
    values: Mapping[str, str | int | None]


@dataclass(frozen=True)
class ReopenPort:
    """Make ovs-vswitchd open a port's device anew, which it believes to have open already.

    In user space it holds on to a device that is gone, and does not notice the new one of the
    same name. Asking for another OpenFlow port number makes it close the one and open the other.
    """

    name: str


@dataclass(frozen=True)
class RemovePort:
    """Take a port out of the bridge it sits on, and its QoS rows with it."""

    name: str
    bridge: str


@dataclass(frozen=True)
class RemoveQos:
    """Delete the QoS rows that are left of a port that is gone."""

    name: str


LinkStep = CreateLink | SetLink | DeleteLink
Removal = RemoveBridge | RemovePort | RemoveQos
RowStep = CreateBridge | RemoveBridge | CreatePort | SetPort | ReopenPort | RemovePort | RemoveQos


# Differences ------------------------------------------------------------------------------------


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


#: The "what" of an element that is not there at all.
PRESENT = "present"


def differences(wiring: Wiring, found: Found) -> tuple[Difference, ...]:
    """Compare a wiring with the host by the partial-match rule: more than described is fine."""
    return tuple(one for element in wiring.elements for one in _differences(element, found))


def _differences(element: Element, found: Found) -> Iterator[Difference]:
    match element:
        case OvsBridge():
            yield from _bridge_differences(element, found.bridges.get(element.name))
        case OvsPort():
            yield from _port_differences(element, found)
        case _:
            for spec in link_specs(element):
                yield from _link_differences(spec, found.links.get(spec.name))


def _bridge_differences(wanted: OvsBridge, found: Bridge | None) -> Iterator[Difference]:
    where = f"OVS bridge {wanted.name}"
    if found is None:
        yield Difference(where, PRESENT, True, False)
    elif (found.datapath_type or "system") != wanted.datapath_type:
        # Another type would take down every port of the bridge.
        yield Difference(
            where, "datapath_type", wanted.datapath_type, found.datapath_type, Cure.REPORT
        )


def _port_differences(wanted: OvsPort, found: Found) -> Iterator[Difference]:
    where = f"OVS port {wanted.name}"
    port = found.ports.get(wanted.name)
    if port is None:
        yield Difference(where, PRESENT, True, False)
        return
    if port.bridge != wanted.bridge:
        yield Difference(where, "bridge", wanted.bridge, port.bridge, Cure.REFUSE)
    if port.bond:
        yield Difference(where, "interface", wanted.name, "those of a bond", Cure.REFUSE)
    for key, value in interface_values(wanted).items():
        if port.interface(key) != value:
            yield Difference(where, key, value, port.interface(key))
    if port.error and _has_device(wanted, found):
        yield Difference(where, "error", "", port.error, Cure.REPORT)


def interface_values(port: OvsPort) -> dict[str, str | int]:
    """What a port's Interface row must hold, by ovs-vsctl's notation."""
    values: dict[str, str | int] = {"type": port.interface_type}
    values |= {f"external_ids:{key}": value for key, value in port.external_ids.items()}
    values |= {f"options:{key}": value for key, value in port.options.items()}
    if port.mtu_request is not None:
        values["mtu_request"] = port.mtu_request
    return values


def _has_device(wanted: OvsPort, found: Found) -> bool:
    return wanted.device or wanted.name in found.links


@dataclass(frozen=True)
class LinkSpec:
    """What the kernel is to hold of one link."""

    name: str
    always: Mapping[Attribute, Value]
    #: For a link that is ours to make and to delete; None for one that only serves us.
    made: Making | None = None
    #: Whether plugging is refused without it; what is made need not be there before.
    required: bool = False
    on_remove: Mapping[Attribute, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Making:
    """How a link is made, and by what it is recognised as the VIF's."""

    kind: str
    mark: Mark
    #: Whether its name alone, made of the VIF's id, says whose it is.
    known_by_name: bool = True
    #: Attributes that are corrected on a link without our mark; None for all.
    unmarked: frozenset[Attribute] | None = None
    multiqueue: bool = False


#: Keeps the host's own stack out of a guest's Ethernet segment.
_NO_HOST_STACK = {"disable_ipv6": 1, "arp_ignore": 1, "arp_announce": 2}


def link_specs(element: Element) -> tuple[LinkSpec, ...]:
    """The links that an element consists of, in the order in which they are made."""
    match element:
        case LinuxBridge():
            options: dict[Attribute, Value] = {"stp": False, "forward_delay": 0}
            if element.ageing is not None:
                options["ageing"] = element.ageing
            wanted = {**_NO_HOST_STACK, **options, "mcast_snooping": False, "up": True}
            return (LinkSpec(element.name, wanted, made=Making("bridge", element.mark)),)
        case VethPair():
            end = _with_mtu(element.mtu, {"promisc": True, "up": True})
            # No neighbour discovery of the host towards tenants; os-vif 5.x let it happen.
            inner = {"disable_ipv6": 1, **end, "master": element.bridge}
            made = Making("veth", element.mark, unmarked=frozenset({*end, "master"}))
            return (
                LinkSpec(element.name, inner, made=made),
                LinkSpec(element.peer, {"disable_ipv6": 1, **end}, made=made),
            )
        case Tap():
            made = Making(
                "tun",
                element.mark,
                known_by_name=False,
                unmarked=frozenset({"mtu"}),  # libvirt's fe: MAC is on purpose
                multiqueue=element.multiqueue,
            )
            # no duplicate address detection for the guest's MAC
            wanted = {"disable_ipv6": 1, **_with_mtu(element.mtu, {"up": True})}
            if element.mac is not None:
                wanted = {"mac": element.mac, **wanted}
            return (LinkSpec(element.name, wanted, made=made),)
        case Representor():
            up = _with_mtu(element.mtu, {"up": True})
            return (LinkSpec(element.name, up, required=True, on_remove={"up": False}),)
        case DeviceMtu():
            return (LinkSpec(element.name, _with_mtu(element.mtu, {})),)
        case _:
            return ()


def _with_mtu(mtu: int | None, attributes: Mapping[Attribute, Value]) -> dict[Attribute, Value]:
    return {**attributes} if mtu is None else {"mtu": mtu, **attributes}


def _link_differences(spec: LinkSpec, found: Link | None) -> Iterator[Difference]:
    where = f"link {spec.name}"
    made = spec.made
    if found is None:
        if made or spec.required:
            yield Difference(where, PRESENT, True, False, Cure.CORRECT if made else Cure.REFUSE)
        return
    if made and found.kind != made.kind:
        yield Difference(where, "kind", made.kind, found.kind or "hardware", Cure.REFUSE)
        return
    limited = None if made is None or _is_ours(made, found) else made.unmarked
    for key, value in spec.always.items():
        if key not in found.attributes:
            continue  # this kernel has no such thing
        if (limited is None or key in limited) and found.attributes[key] != value:
            yield Difference(where, key, value, found.attributes[key])
    if made and (queues := found.attributes.get("multiqueue", made.multiqueue)) != made.multiqueue:
        # The kernel takes it at creation only (IFF_MULTI_QUEUE in tun.c).
        yield Difference(where, "multiqueue", made.multiqueue, queues, Cure.REPORT)


def _is_ours(made: Making, found: Link) -> bool:
    """Whether a link is ours in every attribute: it bears our mark, or it is down, which means
    that whoever made it under that name was killed before it was finished and marked."""
    return made.mark.owns(found.alias) or (made.known_by_name and not found.attributes["up"])


# Plans ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """Steps to take, and what was seen on the way to them."""

    links: tuple[LinkStep, ...] = ()
    rows: tuple[RowStep, ...] = ()
    #: OVS interfaces whose device must work afterwards.
    awaited: tuple[str, ...] = ()
    #: Differences that forbid the plan, and those that it leaves as they are.
    refused: tuple[Difference, ...] = ()
    reported: tuple[Difference, ...] = ()

    def __add__(self, other: Plan) -> Plan:
        return Plan(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Plan)))

    def __bool__(self) -> bool:
        return bool(self.links or self.rows)


def standing(wiring: Wiring, found: Found) -> Wiring:
    """The shape that a VIF already has on the host, else the one that is wanted."""
    shapes = (wiring, *wiring.alternatives)
    return next((shape for shape in shapes if _stands(shape.sign, found)), wiring)


def _stands(sign: Element | None, found: Found) -> bool:
    match sign:
        case OvsBridge():
            return sign.name in found.bridges
        case OvsPort():
            port = found.ports.get(sign.name)
            return port is not None and port.bridge == sign.bridge and _is_the_vifs(sign, port)
    return False


def to_apply(wiring: Wiring, found: Found) -> Plan:
    """The steps that make the host as described, in the shape that already stands."""
    wiring = standing(wiring, found)
    steps = (step for element in wiring.elements for step in _link_steps(element, found))
    new = {name for s in steps if isinstance(s, CreateLink) for name in (s.name, s.peer)}
    return sum((_apply(element, found, new) for element in wiring.elements), Plan())


def to_remove(wiring: Wiring, found: Found) -> Plan:
    """The steps that take away what a VIF has on the host, leftovers of other settings too."""
    every = wiring.all_elements
    going = {e.name for e in every if isinstance(e, OvsBridge) and e.on_remove is OnRemove.DELETE}
    parts = (_remove(e, found, e in wiring.elements, going) for e in reversed(every))
    plan = sum(parts, Plan())
    # Two shapes may name the same port or link; what is on a bridge goes before it.
    rows = sorted(unique(plan.rows), key=lambda step: isinstance(step, RemoveBridge))
    return replace(plan, links=unique(plan.links), rows=tuple(rows))


def inverse(plan: Plan, found: Found) -> Plan:
    """The steps that lead back from a plan, whole or half done, to what was found before it."""
    # Of a link that the plan made or replaced there is nothing to set back.
    new = {step.name for step in plan.links if not isinstance(step, SetLink)}
    links = (
        back
        for step in reversed(plan.links)
        for back in _link_inverse(step, found)
        if not (isinstance(step, SetLink) and step.name in new)
    )
    return Plan(
        links=tuple(links),
        rows=tuple(back for step in reversed(plan.rows) for back in _row_inverse(step, found)),
    )


def _apply(element: Element, found: Found, new_links: set[str]) -> Plan:
    diffs = tuple(_differences(element, found))
    to_correct = [d for d in diffs if d.cure is Cure.CORRECT]
    seen = Plan(
        refused=tuple(d for d in diffs if d.cure is Cure.REFUSE),
        reported=tuple(d for d in diffs if d.cure is Cure.REPORT),
    )
    missing = any(d.what == PRESENT for d in to_correct)
    match element:
        case OvsBridge():
            steps = Plan(rows=(CreateBridge(element),), awaited=(element.name,))
            return seen + steps if missing else seen
        case OvsPort():
            awaited = (element.name,) if _has_device(element, found) else ()
            if missing:
                return seen + Plan(rows=(CreatePort(element),), awaited=awaited)
            is_new = element.name in new_links
            rows: tuple[RowStep, ...] = ()
            if to_correct:
                wanted = interface_values(element)
                rows += (SetPort(element.name, {d.what: wanted[d.what] for d in to_correct}),)
            if is_new and _is_stale(element, found):
                rows += (ReopenPort(element.name),)
            return seen + Plan(rows=rows, awaited=awaited if rows or is_new else ())
        case _:
            return seen + Plan(links=tuple(_link_steps(element, found)))


def _is_stale(port: OvsPort, found: Found) -> bool:
    """Whether what is said to work is a device that is gone: the datapath in user space holds on
    to it, while the kernel's notices."""
    bridge = found.bridges.get(port.bridge)
    in_user_space = bridge is not None and bridge.datapath_type == "netdev"
    return in_user_space and found.ports[port.name].works


def _link_steps(element: Element, found: Found) -> Iterator[LinkStep]:
    specs = link_specs(element)
    if not specs:  # an element of OVSDB
        return
    there = [found.links[spec.name] for spec in specs if spec.name in found.links]
    made = specs[0].made
    if made and len(there) < len(specs):
        # Half a veth pair is of no use: its other end went to another namespace.
        yield from (DeleteLink(link.name, link.kind) for link in there)
        name, *peer = (spec.name for spec in specs)
        yield CreateLink(name, made.kind, made.mark.alias, "".join(peer), made.multiqueue)
        for spec in specs:
            yield SetLink(spec.name, spec.always)
        return
    for spec in specs:
        changes = {
            d.what: spec.always[d.what]
            for d in _link_differences(spec, found.links.get(spec.name))
            if d.cure is Cure.CORRECT
        }
        if changes:
            yield SetLink(spec.name, changes)


def _remove(element: Element, found: Found, expected: bool, going: set[str]) -> Plan:
    """Remove an element; one that is not expected only if it is this VIF's beyond doubt.

    :param going: bridges that go as a whole, with whatever sits on them.
    """
    match element:
        case OvsBridge():
            gone = element.name in found.bridges and element.name in going
            return Plan(rows=(RemoveBridge(element.name),)) if gone else Plan()
        case OvsPort():
            return _remove_port(element, found, expected, going)
        case _:
            steps = (
                _unlink(spec, found.links.get(spec.name), expected) for spec in link_specs(element)
            )
            # A veth's peer goes with it.
            return Plan(links=next(filter(None, steps), ()))


def _unlink(spec: LinkSpec, found: Link | None, expected: bool) -> tuple[LinkStep, ...]:
    if found is None:
        return ()
    if made := spec.made:
        the_vifs = expected or made.known_by_name or made.mark.owns(found.alias)
        return (DeleteLink(spec.name, made.kind),) if found.kind == made.kind and the_vifs else ()
    changed = any(found.attributes[key] != value for key, value in spec.on_remove.items())
    return (SetLink(spec.name, spec.on_remove),) if changed else ()


def _remove_port(wanted: OvsPort, found: Found, expected: bool, going: set[str]) -> Plan:
    port = found.ports.get(wanted.name)
    if port is None:
        return Plan(rows=(RemoveQos(wanted.name),) if wanted.name in found.qos else ())
    in_place = port.bridge == wanted.bridge
    if port.bridge in going or _is_the_vifs(wanted, port) or (expected and in_place):
        return Plan(rows=(RemovePort(port.name, port.bridge),))
    if not expected:
        return Plan()
    where = f"OVS port {wanted.name}"
    return Plan(refused=(Difference(where, "bridge", wanted.bridge, port.bridge, Cure.REFUSE),))


def _is_the_vifs(wanted: OvsPort, port: Port) -> bool:
    """Whether the mark or an id of a port that was found is that of the VIF."""
    return wanted.mark.owns(port.external_ids.get(Mark.KEY, "")) or any(
        port.interface_ids.get(key) == value for key, value in wanted.known_by.items()
    )


def _link_inverse(step: LinkStep, found: Found) -> Iterator[LinkStep]:
    before = found.links.get(step.name)
    match step:
        case CreateLink():
            yield DeleteLink(step.name, step.kind)
        case SetLink() if before is not None:
            known = {k: before.attributes[k] for k in step.attributes if k in before.attributes}
            yield SetLink(step.name, known)


def _row_inverse(step: RowStep, found: Found) -> Iterator[RowStep]:
    match step:
        case CreateBridge(bridge):
            yield RemoveBridge(bridge.name, if_empty=True)
        case CreatePort(port):
            yield RemovePort(port.name, port.bridge)
        case SetPort(name, values):
            before = found.ports[name]
            yield SetPort(name, {key: before.interface(key) for key in values})
        case ReopenPort():
            return  # what it reopened was gone
        case _:
            raise TypeError(f"{step} has no inverse: a removal is not taken back")
