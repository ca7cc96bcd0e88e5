# SPDX-License-Identifier: Apache-2.0
"""Pure: from what is wanted and what was found to the steps between them.

``to_apply`` and ``to_remove`` turn differences into steps, and ``inverse`` into those that take
them back. Nothing here touches the host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from os_vif.wiring import ownership
from os_vif.wiring.compare import (
    OWNER,
    PRESENT,
    Cure,
    Difference,
    LinkSpec,
    datapath_type_of,
    element_differences,
    has_device,
    interface_values,
    link_differences,
    link_specs,
    owner_difference,
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
from os_vif.wiring.ownership import Whose
from os_vif.wiring.state import Bridge, Found, Link, Port, Value
from os_vif.wiring.steps import (
    CreateBridge,
    CreateLink,
    CreatePort,
    DeleteLink,
    FilterBridge,
    JoinBridge,
    LinkStep,
    Removal,
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
    return next((shape for shape in shapes if _stands(shape, found)), wiring)


def _stands(shape: Wiring, found: Found) -> bool:
    if shape.device is not None and shape.device not in found.links:
        return False
    match shape.sign:
        case OvsBridge(name):
            return name in found.bridges
        case OvsPort() as sign:
            port = found.ports.get(sign.name)
            if port is not None and port.bridge == sign.bridge:
                return ownership.of_port(sign, port) is Whose.THIS
    return False


def to_apply(wiring: Wiring, found: Found) -> Plan:
    """The steps that make the host as described, in the shape that already stands."""
    shape = standing(wiring, found)
    dead = _dead_rows(wiring, shape, found)
    left = _without(found, dead)
    steps = (step for element in shape.elements for step in _link_steps(element, left))
    new = {name for s in steps if isinstance(s, CreateLink) for name in (s.name, s.peer)}
    return sum((_apply(element, left, new) for element in shape.elements), Plan(rows=dead))


def _dead_rows(wiring: Wiring, applied: Wiring, found: Found) -> tuple[RowStep, ...]:
    """Return the steps that remove the rows of this VIF's other shapes that do not stand."""
    kept = {e.name for e in applied.elements if isinstance(e, OvsBridge)}
    in_place = {(e.name, e.bridge) for e in applied.elements if isinstance(e, OvsPort)}
    elements = unique(
        e
        for shape in (wiring, *wiring.alternatives)
        if not (shape is applied or _stands(shape, found))
        for e in reversed(shape.elements)
        if _has_row(e, found) and not (isinstance(e, OvsBridge) and e.name in kept)
    )
    going = _going(elements)
    steps = (step for e in elements for step in _remove(e, found, False, going, {}).rows)
    return _in_order(
        step
        for step in steps
        if isinstance(step, RemoveBridge)
        or (isinstance(step, RemovePort) and (step.name, step.bridge) not in in_place)
    )


def _has_row(element: Element, found: Found) -> bool:
    match element:
        case OvsBridge(name):
            return name in found.bridges
        case OvsPort(name):
            return name in found.ports
    return False


def _without(found: Found, removed: Iterable[RowStep]) -> Found:
    """Return what will be found when some rows are removed."""
    bridges = {step.name for step in removed if isinstance(step, RemoveBridge)}
    ports = {step.name for step in removed if isinstance(step, RemovePort)}
    if not (bridges or ports):
        return found
    return replace(
        found,
        bridges={name: one for name, one in found.bridges.items() if name not in bridges},
        ports={
            name: one
            for name, one in found.ports.items()
            if name not in ports and one.bridge not in bridges
        },
    )


def is_rows_first(plans: Iterable[Plan], found: Found) -> bool:
    """Whether new ports are better written before their devices are made.

    ovs-vswitchd goes over its whole configuration for a change of the database, and once more for
    a change of any link. A device that is made before its row costs both, one after the other. One
    that is made while ovs-vswitchd is on its way to it costs the first only. With few ports it is
    there too soon, and would say for a moment that the device does not exist.
    """
    plans = list(plans)
    making = [plan for plan in plans if _new_links(plan)]
    if any(isinstance(step, Removal) for plan in plans for step in plan.rows):
        return False  # what ovs-vswitchd says of a name may be true of the row that goes
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
    going, ports = _going(every), _owners(every, found)
    parts = (_remove(e, found, e in wiring.elements, going, ports) for e in reversed(every))
    plan = sum(parts, Plan())
    # Two shapes may name the same port or link.
    return Plan(
        unique(plan.links), _in_order(plan.rows), (), unique(plan.refused), unique(plan.reported)
    )


def _going(elements: Iterable[Element]) -> set[str]:
    """Return the bridges that go as a whole, with whatever sits on them."""
    deleted = (e for e in elements if isinstance(e, OvsBridge))
    return {e.name for e in deleted if e.on_remove is OnRemove.DELETE}


def _owners(elements: Iterable[Element], found: Found) -> dict[str, Whose]:
    """Return whose the ports under this VIF's names are; so are their devices."""
    ports = ((e, found.ports.get(e.name)) for e in elements if isinstance(e, OvsPort))
    return {e.name: ownership.of_port(e, port) for e, port in ports if port is not None}


def _in_order(rows: Iterable[RowStep]) -> tuple[RowStep, ...]:
    """Return each removal once; what is on a bridge goes before it."""
    return tuple(sorted(unique(rows), key=lambda step: isinstance(step, RemoveBridge)))


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
            new = replace(element, datapath_type=datapath_type_of(element, found))
            steps = Plan(rows=(CreateBridge(new),), awaited=(element.name,))
            return seen + steps if missing else seen
        case OvsPort():
            is_new = element.name in new_links
            rows = tuple(_port_rows(element, found, to_correct, is_new))
            unseen = not missing and found.ports[element.name].is_unseen
            awaited = has_device(element, found) and (rows or is_new or unseen)
            return seen + Plan(rows=rows, awaited=(element.name,) if awaited else ())
        case _:
            return seen + Plan(links=tuple(_link_steps(element, found)))


def _port_rows(
    wanted: OvsPort, found: Found, to_correct: Collection[Difference], is_new: bool
) -> Iterator[RowStep]:
    """Return the steps for a port.

    :param is_new: whether its device is about to be made.
    """
    port, wrong = found.ports.get(wanted.name), {d.what for d in to_correct}
    if port is None:
        yield CreatePort(wanted)
        return
    if OWNER in wrong:
        yield _removal(port)
        yield CreatePort(wanted)
        is_new = is_new or _is_gone(port, found)
    elif wrong:
        values = interface_values(wanted)
        changes = {key: values[key] for key in values if key in wrong}
        yield SetPort(wanted.name, changes, port.interface_ids)
    if is_new and _is_stale(wanted, found):
        yield ReopenPort(wanted.name)


def _is_stale(port: OvsPort, found: Found) -> bool:
    """Whether what is said to work is a device that is gone: the datapath in user space holds on
    to it, while the kernel's notices."""
    bridge = found.bridges.get(port.bridge)
    in_user_space = bridge is not None and bridge.datapath_type == "netdev"
    return in_user_space and found.ports[port.name].works


def _is_gone(port: Port, found: Found) -> bool:
    """Return whether the device that a port was opened with is not there, or not any more."""
    link = found.links.get(port.name)
    return link is None or not port.works_with(link.index)


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
    if made and (len(there) < len(specs) or _is_left_by_another(specs, found)):
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


def _is_left_by_another(specs: Iterable[LinkSpec], found: Found) -> bool:
    diffs = (d for spec in specs for d in link_differences(spec, found.links.get(spec.name)))
    return any(d.what == OWNER and d.cure is Cure.CORRECT for d in diffs)


def _join_steps(element: BridgePort, found: Found) -> Iterator[LinkStep]:
    if any(d.cure is Cure.CORRECT for d in element_differences(element, found)):
        yield JoinBridge(element.name, element.bridge, element.mtu)


def _remove(
    element: Element, found: Found, expected: bool, going: set[str], ports: Mapping[str, Whose]
) -> Plan:
    """Remove an element; one of which it is unknown whose it is only if it is expected.

    :param going: bridges that go as a whole, with whatever sits on them.
    :param ports: whose they are.
    """
    match element:
        case OvsBridge():
            gone = element.name in found.bridges and element.name in going
            return Plan(rows=(RemoveBridge(element.name),)) if gone else Plan()
        case OvsPort():
            return _remove_port(element, found, expected, going)
        case _:
            specs = link_specs(element)
            owners = {ports.get(spec.name) for spec in specs}
            if Whose.ANOTHERS in owners:
                return Plan()
            mine = Whose.THIS in owners
            plans = (_unlink(spec, found.links.get(spec.name), expected, mine) for spec in specs)
            # A veth's peer goes with it.
            return next(filter(None, plans), Plan())


def _unlink(spec: LinkSpec, found: Link | None, expected: bool, mine: bool) -> Plan:
    """Delete a link, or set it as its wiring leaves it.

    :param mine: whether its port is this VIF's: then a mark of another is what that left.
    """
    if found is None:
        return Plan()
    if made := spec.made:
        if made.kept or found.kind != made.kind:
            return Plan()
        whose = made.whose(found)
        left = mine and whose is Whose.ANOTHERS
        going = left or whose is Whose.THIS or (expected and whose is Whose.UNKNOWN)
        return Plan(links=(DeleteLink(spec.name, made.kind),)) if going else Plan()
    changed = any(found.attributes[key] != value for key, value in spec.on_remove.items())
    return Plan(links=(SetLink(spec.name, spec.on_remove),)) if changed else Plan()


def _remove_port(wanted: OvsPort, found: Found, expected: bool, going: set[str]) -> Plan:
    port = found.ports.get(wanted.name)
    if port is None:
        return Plan(rows=(RemoveQos(wanted.name),) if wanted.name in found.qos else ())
    whose, in_place = ownership.of_port(wanted, port), port.bridge == wanted.bridge
    is_known = whose is Whose.THIS or (expected and in_place and whose is Whose.UNKNOWN)
    if port.bridge in going or is_known:
        return Plan(rows=(_removal(port),))
    if not expected:
        return Plan()
    if in_place or whose is Whose.ANOTHERS:
        return Plan(reported=(owner_difference(wanted, port, Cure.REPORT),))
    where = f"OVS port {wanted.name}"
    return Plan(refused=(Difference(where, "bridge", wanted.bridge, port.bridge, Cure.REFUSE),))


def _removal(port: Port) -> RemovePort:
    """Return the removal of a port as it was found, not of what has taken its place since."""
    return RemovePort(port.name, port.bridge, None if port.bond else port.interface_ids)


def _link_inverse(step: LinkStep, found: Found) -> Iterator[LinkStep]:
    match step:
        case CreateLink():
            yield DeleteLink(step.name, step.kind, if_empty=step.kind == "bridge")
        case DeleteLink(name, "tun") if (before := found.links.get(name)) is not None:
            its = before.attributes
            multiqueue = bool(its.get("multiqueue"))
            yield CreateLink(name, before.kind, before.alias, multiqueue=multiqueue)
            settable = ("disable_ipv6", "mac", "mtu", "promisc", "up")
            yield SetLink(name, {key: its[key] for key in settable if key in its})
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
            mark = {} if port.mark is None else {Mark.KEY: str(port.mark)}
            yield RemovePort(port.name, port.bridge, {**port.external_ids, **mark})
        case RemovePort(name) if (there := found.ports.get(name)) is not None:
            yield CreatePort(_as_it_was(there, found.qos.get(name)))
        case RemoveBridge(name) if name in found.bridges:
            yield CreateBridge(_bridge_as_it_was(found.bridges[name]))
        case SetPort(name, values):
            before = found.ports[name]
            yield SetPort(name, {key: before.interface(key) for key in values})
        case ReopenPort():
            return  # what it reopened was gone
        case _:
            raise TypeError(f"{step} has no inverse: a removal is not taken back")


def _as_it_was(port: Port, qos_type: str | None) -> OvsPort:
    """Return a port that was replaced, with its VLAN: without one it would hear all of them.

    :param qos_type: of the QoS row that os-vif had made for it.
    """
    ids = {key: value for key, value in port.interface_ids.items() if key != Mark.KEY}
    return OvsPort(
        port.name,
        port.bridge,
        Mark.read(port.external_ids),
        port.interface_type,
        external_ids=ids,
        options=port.options,
        mtu_request=port.mtu_request,
        vlan=port.vlan,
        qos_type=qos_type,
    )


def _bridge_as_it_was(bridge: Bridge) -> OvsBridge:
    mark = Mark.read(bridge.external_ids)
    return OvsBridge(bridge.name, bridge.datapath_type, mark, OnRemove.DELETE)
