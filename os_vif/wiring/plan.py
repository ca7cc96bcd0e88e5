# SPDX-License-Identifier: Apache-2.0
"""Pure: from what is wanted and what was found to the steps between them.

``differences`` compares, ``to_apply`` and ``to_remove`` turn the comparison into steps, and
``inverse`` into those that take them back. Nothing here touches the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum, auto

from os_vif.wiring.model import (
    Element,
    LinuxBridge,
    Mark,
    OnRemove,
    OvsBridge,
    OvsPort,
    Tap,
    VethPair,
    Wiring,
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
        return f"create {self.kind} {self.name}"


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
    """Take an OVS bridge out of the switch."""

    name: str


@dataclass(frozen=True)
class CreatePort:
    """Insert the rows of a port."""

    port: OvsPort


@dataclass(frozen=True)
class SetPort:
    """Set keys of an interface's ``external_ids``; None takes a key away."""

    name: str
    external_ids: Mapping[str, str | None]


@dataclass(frozen=True)
class RemovePort:
    """Take a port out of the bridge it sits on."""

    name: str
    bridge: str


LinkStep = CreateLink | SetLink | DeleteLink
RowStep = CreateBridge | RemoveBridge | CreatePort | SetPort | RemovePort


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
    for key, value in wanted.external_ids.items():
        if port.interface_ids.get(key) != value:
            yield Difference(where, f"external_ids:{key}", value, port.interface_ids.get(key))
    if port.error and _has_device(wanted, found):
        yield Difference(where, "error", "", port.error, Cure.REPORT)


def _has_device(wanted: OvsPort, found: Found) -> bool:
    return wanted.device or wanted.name in found.links


@dataclass(frozen=True)
class LinkSpec:
    """What the kernel is to hold of one link."""

    name: str
    kind: str
    mark: Mark
    always: Mapping[Attribute, Value]
    on_create: Mapping[Attribute, Value] = field(default_factory=dict)
    #: Attributes that are corrected on a link that does not carry our mark.
    unmarked: frozenset[Attribute] | None = None  # None: all
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
            return (
                LinkSpec(
                    element.name,
                    "bridge",
                    element.mark,
                    {**_NO_HOST_STACK, **options, "mcast_snooping": False, "up": True},
                ),
            )
        case VethPair():
            no_ipv6 = {"disable_ipv6": 1}  # no neighbour discovery of the host towards tenants
            end: dict[Attribute, Value] = {"promisc": True, "up": True}
            if element.mtu is not None:
                end = {"mtu": element.mtu, **end}
            return (
                LinkSpec(
                    element.name,
                    "veth",
                    element.mark,
                    {**end, "master": element.bridge},
                    no_ipv6,
                ),
                LinkSpec(element.peer, "veth", element.mark, end, no_ipv6),
            )
        case Tap():
            wanted: dict[Attribute, Value] = {"up": True}
            if element.mtu is not None:
                wanted = {"mtu": element.mtu, **wanted}
            if element.mac is not None:
                wanted = {"mac": element.mac, **wanted}
            return (
                LinkSpec(
                    element.name,
                    "tun",
                    element.mark,
                    # no duplicate address detection for the guest's MAC
                    {"disable_ipv6": 1, **wanted},
                    unmarked=frozenset({"mtu"}),  # libvirt's fe: MAC is on purpose
                    multiqueue=element.multiqueue,
                ),
            )
        case _:
            return ()


def _link_differences(spec: LinkSpec, found: Link | None) -> Iterator[Difference]:
    where = f"link {spec.name}"
    if found is None:
        yield Difference(where, PRESENT, True, False)
        return
    if found.kind != spec.kind:
        yield Difference(where, "kind", spec.kind, found.kind or "hardware", Cure.REFUSE)
        return
    ours = spec.mark.owns(found.alias)
    for key, value in spec.always.items():
        if key not in found.attributes:
            continue  # this kernel has no such thing
        if (ours or spec.unmarked is None or key in spec.unmarked) and (
            found.attributes[key] != value
        ):
            yield Difference(where, key, value, found.attributes[key])
    queues = found.attributes.get("multiqueue", spec.multiqueue)
    if queues != spec.multiqueue:
        # The kernel takes it at creation only (IFF_MULTI_QUEUE in tun.c).
        yield Difference(where, "multiqueue", spec.multiqueue, queues, Cure.REPORT)


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


def to_apply(wiring: Wiring, found: Found) -> Plan:
    """The steps that make the host as described."""
    new = {s.name for e in wiring.elements for s in link_specs(e) if s.name not in found.links}
    return sum((_apply(element, found, new) for element in wiring.elements), Plan())


def to_remove(wiring: Wiring, found: Found) -> Plan:
    """The steps that take away what a VIF has on the host, leftovers of other settings too."""
    elements = ((e, e in wiring.elements) for e in reversed(tuple(wiring)))
    return sum((_remove(element, found, expected) for element, expected in elements), Plan())


def inverse(plan: Plan, found: Found) -> Plan:
    """The steps that lead back from a plan, whole or half done, to what was found before it."""
    return Plan(
        links=tuple(s for step in reversed(plan.links) for s in _link_inverse(step, found)),
        rows=tuple(_row_inverse(step, found) for step in reversed(plan.rows)),
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
            if to_correct:
                ids = {d.what.partition(":")[2]: str(d.wanted) for d in to_correct}
                return seen + Plan(rows=(SetPort(element.name, ids),), awaited=awaited)
            return seen + Plan(awaited=awaited if element.name in new_links else ())
        case _:
            return seen + Plan(links=tuple(_link_steps(element, found)))


def _link_steps(element: Element, found: Found) -> Iterator[LinkStep]:
    specs = link_specs(element)
    first, peer = specs[0], specs[1].name if len(specs) > 1 else ""
    there = [found.links[spec.name] for spec in specs if spec.name in found.links]
    if len(there) < len(specs):
        # Half a veth pair is of no use: its other end went to another namespace.
        yield from (DeleteLink(link.name, link.kind) for link in there)
        yield CreateLink(first.name, first.kind, first.mark.alias, peer, first.multiqueue)
        for spec in specs:
            yield SetLink(spec.name, {**spec.on_create, **spec.always})
        return
    for spec in specs:
        changes = {
            d.what: spec.always[d.what]
            for d in _link_differences(spec, found.links[spec.name])
            if d.cure is Cure.CORRECT
        }
        if changes:
            yield SetLink(spec.name, changes)


def _remove(element: Element, found: Found, expected: bool) -> Plan:
    """Remove an element; one that is not expected only if it is this VIF's beyond doubt."""
    match element:
        case OvsBridge():
            bridge = found.bridges.get(element.name)
            if bridge is None or element.on_remove is OnRemove.KEEP:
                return Plan()
            return Plan(rows=(RemoveBridge(element.name),))
        case OvsPort():
            return _remove_port(element, found.ports.get(element.name), expected)
        case _:
            there = [
                DeleteLink(spec.name, spec.kind)
                for spec in link_specs(element)
                if (link := found.links.get(spec.name))
                and link.kind == spec.kind
                and (expected or spec.mark.owns(link.alias))
            ]
            return Plan(links=tuple(there[:1]))  # a veth's peer goes with it


def _remove_port(wanted: OvsPort, found: Port | None, expected: bool) -> Plan:
    if found is None:
        return Plan()
    identified = wanted.mark.owns(found.external_ids.get(Mark.KEY, "")) or any(
        found.interface_ids.get(key) == wanted.external_ids[key]
        for key in ("iface-id", "attached-mac")
        if key in wanted.external_ids
    )
    if identified or (expected and found.bridge == wanted.bridge):
        return Plan(rows=(RemovePort(found.name, found.bridge),))
    if not expected:
        return Plan()
    where = f"OVS port {wanted.name}"
    return Plan(refused=(Difference(where, "bridge", wanted.bridge, found.bridge, Cure.REFUSE),))


def _link_inverse(step: LinkStep, found: Found) -> Iterator[LinkStep]:
    before = found.links.get(step.name)
    match step:
        case CreateLink():
            yield DeleteLink(step.name, step.kind)
        case SetLink() if before is not None:
            known = {k: before.attributes[k] for k in step.attributes if k in before.attributes}
            yield SetLink(step.name, known)


def _row_inverse(step: RowStep, found: Found) -> RowStep:
    match step:
        case CreateBridge(bridge):
            return RemoveBridge(bridge.name)
        case CreatePort(port):
            return RemovePort(port.name, port.bridge)
        case SetPort(name, ids):
            before = found.ports[name].interface_ids
            return SetPort(name, {key: before.get(key) for key in ids})
        case _:
            raise TypeError(f"{step} has no inverse: a removal is not taken back")
