# SPDX-License-Identifier: Apache-2.0
"""Processes that work at the same time, and one that is killed at any of its changes."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

from os_vif.kernel import execute, rtnetlink, sysctl
from tests.rig.plugin import Child
from vif_plug_linux_bridge import iptables_runner

#: Whatever changes links, addresses, routes, sysctls and rules: where it is, and its name there.
CHANGES: tuple[tuple[Any, Any], ...] = (
    (rtnetlink.Socket, "change"),
    (rtnetlink.Socket, "change_all"),
    (sysctl, "write"),
    (sysctl, "write_of_addresses"),
    (execute._Call, "make"),
    (execute._Call, "delete"),
    (iptables_runner, "restore"),
)
#: The steps of a plan.
STEPS: tuple[tuple[Any, Any], ...] = tuple(
    (execute._EXECUTORS, kind) for kind in execute._EXECUTORS
)


def started(*works: Callable[[], Any]) -> list[Child]:
    """Start a process for each, all of which begin when the last one is there."""
    read, write = os.pipe()

    def begin(work: Callable[[], Any]) -> Any:
        os.close(write)
        os.read(read, 1)  # ends when nobody is left who could write
        return work()

    children = [Child(partial(begin, work)) for work in works]
    os.close(write)
    os.close(read)
    return children


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Return what processes did that began at the same time, or raise what one of them did."""
    results = []
    for process in started(*works):
        with process:
            results.append(process.result())
    return results


def killed_before(
    number: int, work: Callable[[], object], points: Iterable[tuple[Any, Any]] = CHANGES
) -> bool:
    """Do something in another process, which dies before its n-th change.

    :returns: whether it died; it does not if there are not so many.
    """
    numbers = iter(range(1000))

    def mortal(change: Callable[..., Any]) -> Callable[..., Any]:
        def die_or_change(*arguments: Any, **keywords: Any) -> Any:
            if next(numbers) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **keywords)

        return die_or_change

    with ExitStack() as stack:
        for where, what in points:
            if isinstance(where, dict):
                patch = mock.patch.dict(where, {what: mortal(where[what])})
            else:
                patch = mock.patch.object(where, what, mortal(getattr(where, what)))
            stack.enter_context(patch)
        process = stack.enter_context(Child(work))
        process.wait()
        return process.killed
