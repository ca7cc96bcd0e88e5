# SPDX-License-Identifier: Apache-2.0
"""Pure: from what is wanted and what was found to the steps between them.

``to_apply`` and ``to_remove`` turn differences into steps, and ``inverse`` into those that take
them back. Nothing here touches the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from os_vif.wiring.compare import (
    PRESENT,
    Cure,
    Difference,
    LinkSpec,
    element_differences,
    has_device,
    interface_values,
    link_differences,
    link_specs,
)
from os_vif.wiring.model import (
    BridgePort,
    Element,
    ForwardingFilter,
    Mark,
    OnRemove,
    OvsBridge,
    OvsPort,
    Wiring,
    unique,
)
from os_vif.wiring.state import Found, Link, Port, Value
from os_vif.wiring.steps import (
    CreateBridge,
    CreateLink,
    CreatePort,
    DeleteLink,
    FilterBridge,
    JoinBridge,
    LinkStep,
    RemoveBridge,
    RemovePort,
    RemoveQos,
    ReopenPort,
    RowStep,
    SetLink,
    SetPort,
)

#: So many ports keep ovs-vswitchd busy, before it looks for a new one's device, for as long as it
#: takes to make a link. Measured: with 300 taps it looked 3 to 5 ms after the transaction, with
#: 1,000 more than 10 ms after it; a tap takes 3 ms, a bridge and a veth pair take 5.
PORTS_PER_LINK = 300


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


def is_rows_first(plans: Iterable[Plan], found: Found) -> bool:
    """Whether new ports are better written before their devices are made.

    ovs-vswitchd goes over its whole configuration for a change of the database, and once more for
    a change of any link. A device that is made before its row costs both, one after the other. One
    that is made while ovs-vswitchd is on its way to it costs the first only. With few ports it is
    there too soon, and would say for a moment that the device does not exist.
    """
    making = [plan for plan in plans if _new_links(plan)]
    if not making or not all(_opens_only_what_it_creates(plan) for plan in making):
        return False
    return PORTS_PER_LINK * sum(_new_links(plan) for plan in making) <= found.port_count


def _new_links(plan: Plan) -> int:
    return sum(isinstance(step, CreateLink) for step in plan.links)


def _opens_only_what_it_creates(plan: Plan) -> bool:
    """Whether no row stands already that ovs-vswitchd would have to look at again."""
    created = {
        step.port.name if isinstance(step, CreatePort) else step.bridge.name
        for step in plan.rows
        if isinstance(step, CreatePort | CreateBridge)
    }
    return bool(created) and created.issuperset(plan.awaited)


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
    if any(isinstance(step, JoinBridge) for step in plan.links):
        return Plan()  # The last step is done: the host's addresses are on what was made.
    # Of a link that the plan made or replaced there is nothing to set back.
    new = {step.name for step in plan.links if isinstance(step, CreateLink | DeleteLink)}
    links = (
        back
        for step in reversed(plan.links)
        for back in _link_inverse(step, found)
        if not (isinstance(step, SetLink) and step.name in new)
    )
    return Plan(
        # A bridge that is not empty by now stays, and so do its rules.
        links=tuple(sorted(links, key=lambda step: isinstance(step, FilterBridge))),
        rows=tuple(back for step in reversed(plan.rows) for back in _row_inverse(step, found)),
    )


def _apply(element: Element, found: Found, new_links: set[str]) -> Plan:
    diffs = tuple(element_differences(element, found))
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
            awaited = (element.name,) if has_device(element, found) else ()
            if missing:
                return seen + Plan(rows=(CreatePort(element),), awaited=awaited)
            is_new = element.name in new_links
            rows: tuple[RowStep, ...] = ()
            if to_correct:
                wanted = interface_values(element)
                rows += (SetPort(element.name, {d.what: wanted[d.what] for d in to_correct}),)
            if is_new and _is_stale(element, found):
                rows += (ReopenPort(element.name),)
            unseen = found.ports[element.name].is_unseen
            return seen + Plan(rows=rows, awaited=awaited if rows or is_new or unseen else ())
        case _:
            return seen + Plan(links=tuple(_link_steps(element, found)))


def _is_stale(port: OvsPort, found: Found) -> bool:
    """Whether what is said to work is a device that is gone: the datapath in user space holds on
    to it, while the kernel's notices."""
    bridge = found.bridges.get(port.bridge)
    in_user_space = bridge is not None and bridge.datapath_type == "netdev"
    return in_user_space and found.ports[port.name].works


def _link_steps(element: Element, found: Found) -> Iterator[LinkStep]:
    if isinstance(element, BridgePort):
        yield from _join_steps(element, found)
        return
    if isinstance(element, ForwardingFilter):
        yield FilterBridge(element.bridge, element.settings)
        return
    specs = link_specs(element)
    if not specs:  # an element of OVSDB
        return
    there = [found.links[spec.name] for spec in specs if spec.name in found.links]
    made = specs[0].made
    if made and len(there) < len(specs):
        # Half a veth pair is of no use: its other end went to another namespace.
        yield from (DeleteLink(link.name, link.kind) for link in there)
        name, *peer = (spec.name for spec in specs)
        options: dict[str, Any] = {key: value for key, (value, _) in made.fixed.items()}
        yield CreateLink(name, made.kind, made.mark.alias, "".join(peer), **options)
        for spec in specs:
            yield SetLink(spec.name, spec.always)
        return
    for spec in specs:
        changes = {
            d.what: cast(Value, d.wanted)
            for d in link_differences(spec, found.links.get(spec.name))
            if d.cure is Cure.CORRECT
        }
        if changes:
            yield SetLink(spec.name, changes)


def _join_steps(element: BridgePort, found: Found) -> Iterator[LinkStep]:
    if any(d.cure is Cure.CORRECT for d in element_differences(element, found)):
        yield JoinBridge(element.name, element.bridge, element.mtu)


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
        if made.kept:
            return ()
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
    match step:
        case CreateLink():
            yield DeleteLink(step.name, step.kind, if_empty=step.kind == "bridge")
        case SetLink() if (before := found.links.get(step.name)) is not None:
            known = {k: before.attributes[k] for k in step.attributes if k in before.attributes}
            yield SetLink(step.name, known)
        case FilterBridge() if step.bridge not in found.links:
            yield FilterBridge(step.bridge, None)


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
