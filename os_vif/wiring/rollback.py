# SPDX-License-Identifier: Apache-2.0
"""Pure: from plans that failed to the steps that roll them back.

Of a plan that may have taken effect or not, that counts as taken which is found to stand now.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from os_vif.wiring.model import Mark, OvsBridge, OvsPort, unique
from os_vif.wiring.plan import Plan, inverse
from os_vif.wiring.state import Found, Link
from os_vif.wiring.steps import (
    CreateBridge,
    CreateLink,
    CreatePort,
    JoinBridge,
    LinkStep,
    RemoveBridge,
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
        step
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
            case CreatePort(OvsPort(name, its_bridge, mark)):
                port = now.ports.get(name)
                the_mark = port and port.external_ids.get(Mark.KEY)
                if port and (port.bridge, the_mark) == (its_bridge, str(mark)):
                    yield step
            case SetPort(name, values):
                port = now.ports.get(name)
                if port is not None:
                    ours = {k: v for k, v in values.items() if port.interface(k) == v}
                    if ours:
                        yield SetPort(name, ours)
            case _:
                yield step


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
