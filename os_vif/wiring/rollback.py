# SPDX-License-Identifier: Apache-2.0
"""Pure: from plans that failed to the steps that roll them back.

Of a plan that may have taken effect or not, that counts as executed which is found in effect now.
"""

from collections.abc import Collection, Iterable, Mapping

from os_vif.wiring.elements.element import Plan, unique
from os_vif.wiring.plan import in_order
from os_vif.wiring.state import Found, Link
from os_vif.wiring.steps import (
    CreateLink,
    CreatePort,
    DeleteLink,
    LinkStep,
    RemoveBridge,
    RowStep,
    SetLink,
)


def rows_back(
    plans: Iterable[tuple[Plan, Found]], now: Found, kept: Collection[str]
) -> tuple[RowStep, ...]:
    """Return the steps of one transaction that rolls the rows of several plans back.

    :param plans: each with what was found before it.
    :param now: what is found after it.
    :param kept: what stays as plans that did not fail have left it: bridges that they need, and
        ports that they have removed.
    """
    in_effect = (
        (step.in_effect(now, plan.rows), before)
        for plan, before in plans
        for step in reversed(plan.rows)
    )
    back = unique(each for step, before in in_effect if step for each in step.inverse(before))
    # The name of a port that is made again, or of a bridge that is removed.
    return in_order(
        step
        for step in back
        if not (isinstance(step, CreatePort | RemoveBridge) and step.name in kept)
    )


def links_back(
    steps: Iterable[LinkStep], before: Found, now: Mapping[str, Link] | None
) -> tuple[LinkStep, ...]:
    """Return the steps that roll links back.

    :param steps: all of them were executed, or may have been.
    :param before: what was found before them.
    :param now: the links that are found after them; None where all steps were executed.
    """
    executed = [step for step in steps if now is None or step.may_be_in_effect(now)]
    if any(step.is_last for step in executed):
        return ()
    # A link that was made or replaced has no attributes to roll back.
    new = {step.name for step in executed if isinstance(step, CreateLink | DeleteLink)}
    steps = [s for s in executed if not (isinstance(s, SetLink) and s.name in new)]
    steps.sort(key=lambda step: not step.is_rolled_back_last)
    return tuple(back for step in reversed(steps) for back in step.inverse(before))
