# SPDX-License-Identifier: Apache-2.0
"""The kernel's links as the engine wants them."""

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from os_vif.exception import InvalidValue
from os_vif.kernel import observe, packing
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.state import Link
from os_vif.wiring.steps import LinkStep


class KernelLinks:
    """Links of the caller's network namespace.

    :param privileged: the plugin's door into its privileged daemon; it gets packed steps and
        hands them to :func:`os_vif.kernel.execute.execute` there. Its further arguments are
        ``go_on``, and the seconds that it may take (None for no limit).
    """

    def __init__(self, privileged: Callable[..., Sequence[Sequence[Any]]]) -> None:
        self._privileged = privileged

    def observe(self, names: Iterable[str], addressed: Collection[str] = ()) -> Mapping[str, Link]:
        """See :meth:`os_vif.wiring.engine.Links.observe`."""
        return observe.links(names, addressed)

    def execute(
        self, groups: Sequence[Sequence[LinkStep]], deadline: Deadline, *, go_on: bool = False
    ) -> list[Exception | None]:
        """See :meth:`os_vif.wiring.engine.Links.execute`."""
        packed = [[packing.pack(step) for step in group] for group in groups]
        try:
            outcomes = self._privileged(packed, go_on, deadline.remaining())
        except InvalidValue as refusal:  # of one, and so none was taken: whose is it?
            if len(groups) == 1:
                return [refusal]
            alone = (self.execute([group], deadline, go_on=go_on) for group in groups)
            return [failure for [failure] in alone]
        return [_failure(*outcome) for outcome in outcomes]


def _failure(taken: int, reason: str, code: int) -> errors.WiringError | None:
    if not reason:
        return None
    refusal = errors.LinkFailed(reason=reason)
    refusal.taken = taken
    if code not in (errno.EEXIST, errno.ENODEV):  # a link of that name has come, or gone
        return refusal
    changed = errors.StateChanged(what=reason)
    changed.taken, changed.refusal = taken, refusal if code == errno.ENODEV else None
    return changed
