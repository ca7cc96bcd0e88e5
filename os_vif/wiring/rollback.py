# SPDX-License-Identifier: Apache-2.0
"""Pure: from plans that failed to the steps that roll them back.

Of a plan that may have taken effect or not, that counts as taken which is found to stand now.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from os_vif.wiring.model import Mark, OvsBridge, OvsPort, unique
from os_vif.wiring.ownership import IFACE_ID
from os_vif.wiring.plan import Plan, inverse
from os_vif.wiring.state import Found, Link, Port
from os_vif.wiring.steps import (
    CreateBridge,
    CreateLink,
    CreatePort,
    JoinBridge,
    LinkStep,
    RemoveBridge,
    RemovePort,
    RowStep,
    SetPort,
)


def rows_back(
    plans: Iterable[tuple[Plan, Found]], now: Found, kept: Collection[str]
) -> tuple[RowStep, ...]:
    """The steps of one transaction that rolls the rows of several plans back.

    :param plans: each with what was found before it.
    :param now: what is found after it.
    :param kept: bridges that are needed by plans that did not fail.
    """
    back = unique(
        _of_row(step, now)
        for plan, found in plans
        for step in inverse(replace(plan, rows=tuple(_rows_standing(plan, now))), found).rows
        if not (isinstance(step, RemoveBridge) and step.name in kept)
    )
    # What is on a bridge goes before it.
    return tuple(sorted(back, key=lambda step: isinstance(step, RemoveBridge)))


def links_back(plan: Plan, found: Found, now: Mapping[str, Link] | None) -> tuple[LinkStep, ...]:
    """The steps that roll the links of a plan back.

    :param plan: of which all steps were taken, or may have been.
    :param found: what was found before it.
    :param now: the links that are found after it; None where all steps were taken.
    """
    if now is not None:
        plan = replace(plan, links=tuple(s for s in plan.links if _may_stand(s, now)))
    return inverse(plan, found).links


def _rows_standing(plan: Plan, now: Found) -> Iterator[RowStep]:
    """The steps that took effect, as far as nobody else has changed it since."""
    for step in plan.rows:
        match step:
            case CreateBridge(OvsBridge(name)):
                bridge = now.bridges.get(name)
                if bridge and Mark.KEY in bridge.external_ids:  # that of any plan of the batch
                    yield step
            case CreatePort(wanted):
                if _is_made_of(wanted, now.ports.get(wanted.name)):
                    yield step
            case SetPort(name, values):
                port = now.ports.get(name)
                if port is not None and _is_whose_it_was(step, port):
                    ours = {k: v for k, v in values.items() if port.interface(k) == v}
                    if ours:
                        yield SetPort(name, ours)
            case RemovePort(name):
                if name not in now.ports or _is_replaced(name, plan, now):
                    yield step
            case RemoveBridge(name):
                if name not in now.bridges:
                    yield step
            case _:
                yield step


def _of_row(step: RowStep, now: Found) -> RowStep:
    """Return a step that is for the row which was looked at, and not for one in its place."""
    if not isinstance(step, SetPort):
        return step
    return replace(step, ids=now.ports[step.name].interface_ids)


def _is_whose_it_was(step: SetPort, port: Port) -> bool:
    """Return whether a port has the iface-id that a step found or set."""
    before = (step.ids or {}).get(IFACE_ID)
    return step.values.get(f"external_ids:{IFACE_ID}", before) == port.interface_ids.get(IFACE_ID)


def _is_replaced(name: str, plan: Plan, now: Found) -> bool:
    """Whether a plan's own port stands in place of the one that it removed."""
    created = (s.port for s in plan.rows if isinstance(s, CreatePort) and s.port.name == name)
    return any(_is_made_of(wanted, now.ports.get(name)) for wanted in created)


def _is_made_of(wanted: OvsPort, port: Port | None) -> bool:
    """Whether a port is what was made; the mark of a VIF without an id says only its device."""
    if port is None or port.bridge != wanted.bridge:
        return False
    iface_id = wanted.external_ids.get(IFACE_ID)
    same = iface_id is None or port.interface_ids.get(IFACE_ID) == iface_id
    return same and port.external_ids.get(Mark.KEY) == str(wanted.mark)


def _may_stand(step: LinkStep, now: Mapping[str, Link]) -> bool:
    link = now.get(step.name if isinstance(step, CreateLink | JoinBridge) else "")
    match step:
        case CreateLink():
            # What is not there may still be made: it was asked for and not answered.
            return link is None or (link.kind == step.kind and _is_made_by(step, link))
        case JoinBridge():
            return link is not None and link.attributes["master"] == step.bridge
    return True


def _is_made_by(step: CreateLink, link: Link) -> bool:
    """Whether it bears the mark, or is not finished: whoever made it was killed before that."""
    return link.alias == step.alias or not (link.alias or link.attributes["up"])
