# SPDX-License-Identifier: Apache-2.0
"""Pure: from what is wanted and what was found to the steps between them.

Every element is asked once; what one depends on of the others is gathered here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from os_vif.wiring.differences import PRESENT, Action, Difference
from os_vif.wiring.elements.element import Element, Plan, Removing, RowStep, Scope, unique
from os_vif.wiring.elements.link import created
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark, Whose
from os_vif.wiring.state import Found
from os_vif.wiring.steps import RemoveBridge, RemovePort


def differences(wiring: Wiring, found: Found) -> tuple[Difference, ...]:
    """Compare a wiring with the host by the partial-match rule: more than described is fine."""
    return tuple(one for element in wiring.elements for one in element.differences(found))


def present_shape(wiring: Wiring, found: Found) -> Wiring:
    """Return the shape that a VIF already has on the host, else the one that is wanted."""
    shapes = (wiring, *wiring.alternatives)
    return next((shape for shape in shapes if shape.is_present(found)), wiring)


def to_apply(wiring: Wiring, found: Found) -> Plan:
    """Return the steps that make the host as described, in the shape that is already there."""
    shape = present_shape(wiring, found)
    dead = _dead_rows(wiring, shape, found)
    plan = Plan.joined([Plan(rows=dead), *_applied(shape, _without(found, dead))])
    if not plan.rows:
        return plan
    left = tuple(one for one in plan.reported if one.action is not Action.FOLLOW)
    return replace(plan, reported=left)


def _applied(shape: Wiring, found: Found) -> Iterator[Plan]:
    new_links: set[str] = set()
    for element in shape.elements:
        plan = element.apply(found, new_links)
        new_links |= created(plan.links)
        yield plan


def to_remove(wiring: Wiring, found: Found) -> Plan:
    """Return the steps that remove what a VIF has, leftovers of other settings too."""
    plan = Plan.joined(_removed(wiring.all_elements, found, wiring.elements))
    return replace(plan, rows=in_order(plan.rows))


def in_order(rows: Iterable[RowStep]) -> tuple[RowStep, ...]:
    """Return removals in their order: what is on a bridge goes before it."""
    return tuple(sorted(rows, key=lambda step: isinstance(step, RemoveBridge)))


def _removed(
    elements: tuple[Element, ...],
    found: Found,
    expected: Iterable[Element] = (),
    kept: Collection[str] = (),
) -> Iterator[Plan]:
    """Remove elements, the last one first.

    :param expected: those that the VIF has by the settings of today.
    :param kept: OVS bridges that do not go.
    """
    going = (element.removed_bridge for element in elements)
    bridges = {name for name in going if name and name not in kept}
    owners = {name: whose for e in elements for name, whose in e.owners(found).items()}
    for element in reversed(elements):
        removing = Removing(element in expected, bridges, owners)
        yield element.remove(found, removing)


def _dead_rows(wiring: Wiring, applied: Wiring, found: Found) -> tuple[RowStep, ...]:
    """Return the steps that remove the rows of this VIF's other shapes that are not present."""
    shapes = (wiring, *wiring.alternatives)
    dead = (shape for shape in shapes if not (shape is applied or shape.is_present(found)))
    elements = tuple(e for shape in dead for e in shape.elements)
    kept = Scope.joined(element.scope for element in applied.elements)
    rows = (step for plan in _removed(elements, found, kept=kept.bridges) for step in plan.rows)
    return in_order(
        step
        for step in unique(rows)
        if isinstance(step, RemoveBridge)
        or (isinstance(step, RemovePort) and kept.ports.get(step.name) != step.bridge)
    )


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


def damage(wiring: Wiring, found: Found) -> tuple[Difference, ...]:
    """Return what is not as it was built, in the shape that is there; for people.

    Besides what applying would correct or refuse: what it leaves as it is on a port that is there,
    and what the VIF has of other shapes.
    """
    shape = present_shape(wiring, found)
    every = [one for e in shape.elements for one in (*e.differences(found), *e.damage(found))]
    others = (e for e in wiring.all_elements if e not in shape.elements)
    owned = {name for e in others for name, its in e.owners(found).items() if its is Whose.THIS}
    left = {name for name in owned if Mark.KEY in found.ports[name].external_ids}
    described = {name for e in shape.elements for name in e.scope.ports}
    every += [
        Difference(f"OVS port {name}", PRESENT, False, True, Action.REPORT)
        for name in sorted(left - described)
    ]
    corrected = Action.CORRECT if to_apply(wiring, found).rows else Action.REPORT
    return unique(
        replace(one, action=corrected) if one.action is Action.FOLLOW else one for one in every
    )
