# SPDX-License-Identifier: Apache-2.0
"""The kernel's links as the engine wants them."""

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

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
    ) -> list[errors.WiringError | None]:
        """See :meth:`os_vif.wiring.engine.Links.execute`."""
        packed = [[packing.pack(step) for step in group] for group in groups]
        outcomes = self._privileged(packed, go_on, deadline.remaining())
        return [_failure(*outcome) for outcome in outcomes]


def _failure(taken: int, reason: str, code: int) -> errors.WiringError | None:
    if not reason:
        return None
    failure: errors.WiringError = errors.LinkFailed(reason=reason)
    if code == errno.EEXIST:
        failure = errors.StateChanged(what=reason)
    failure.taken = taken
    return failure
