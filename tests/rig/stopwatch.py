# SPDX-License-Identifier: Apache-2.0
"""How long something took, and how much of that was the machine's doing.

A test that bounds time must fail when the library is slow, and must not when a neighbour keeps the
processors busy. The kernel counts, for each thread, how long it was ready to run and had no
processor (Documentation/scheduler/sched-stats.rst, the second field of /proc/<pid>/schedstat), and
for each processor how long the hypervisor took it away (``steal`` in /proc/stat).
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_STEAL = 8  # the field of the first line of /proc/stat


@dataclass
class Lap:
    """Seconds that something took."""

    took: float = 0.0
    #: Of them at most: so long the threads of this network namespace waited for a processor.
    late: float = 0.0

    @property
    def own(self) -> float:
        """What is left when the machine's delay is subtracted."""
        return max(0.0, self.took - self.late)

    def __str__(self) -> str:
        return f"{self.took:.2f} s, {self.late:.2f} s of them waiting for a processor"


Delays = dict[str, float]


class Stopwatch:
    """Runs from now on.

    :param delays: how long threads have waited for a processor, by thread.
    """

    def __init__(self, delays: Callable[[], Delays]) -> None:
        self._delays = delays
        self._began, self._before = time.monotonic(), delays()

    def lap(self) -> Lap:
        """Return what has passed since this was asked last."""
        began, before = self._began, self._before
        self._began, self._before = time.monotonic(), self._delays()
        took = self._began - began
        # A thread that began meanwhile counts from its beginning.
        late = sum(seconds - before.get(thread, 0.0) for thread, seconds in self._before.items())
        return Lap(took, min(took, late))


@contextmanager
def stopwatch(seconds: float = math.inf) -> Iterator[Lap]:
    """Measure the block; the lap is filled in when it ends, however it ends."""
    lap, watch = Lap(), Stopwatch(of_this_namespace)
    try:
        yield lap
    finally:
        ended = watch.lap()
        lap.took, lap.late = ended.took, ended.late
        assert lap.own < seconds, lap


def within(seconds: float) -> AbstractContextManager[Lap]:
    """Assert that the block takes no longer, less what the machine was late; also if it raises."""
    return stopwatch(seconds)


def of_this_process() -> Delays:
    """Return how long the threads of this process have waited for a processor."""
    return {"steal": _stolen(), **_of(Path("/proc/self"))}


def of_this_namespace() -> Delays:
    """Return the same of our daemons, too, which are all that run in this network namespace."""
    here = os.stat("/proc/self/ns/net").st_ino
    found = {"steal": _stolen()}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (process / "ns/net").stat().st_ino == here:
                found |= _of(process)
    return found


def _of(process: Path) -> Delays:
    found = {}
    for thread in (process / "task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            found[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return found


def _stolen() -> float:
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[_STEAL]) / _TICKS
