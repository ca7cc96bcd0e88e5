# SPDX-License-Identifier: Apache-2.0
"""How long something took, and how much of that was the machine's doing.

A test that bounds time must fail when the library is slow, and must not when a neighbour keeps the
processors busy. The kernel counts, for each thread, how long it was ready to run and had no
processor (Documentation/scheduler/sched-stats.rst, the second field of /proc/<pid>/schedstat), and
for each processor how long the hypervisor took it away (``steal`` in /proc/stat).
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def stopwatch() -> Iterator[Lap]:
    """Measure the block; the lap is filled in when it ends, however it ends."""
    lap, began, before = Lap(), time.monotonic(), _delays()
    try:
        yield lap
    finally:
        lap.took = time.monotonic() - began
        after = _delays()
        # A thread that began in the block counts from its beginning.
        late = sum(seconds - before.get(thread, 0.0) for thread, seconds in after.items())
        lap.late = min(lap.took, late)


@contextmanager
def within(seconds: float) -> Iterator[Lap]:
    """Assert that the block takes no longer, less what the machine was late."""
    with stopwatch() as lap:
        yield lap
    assert lap.own < seconds, lap


def _delays() -> dict[str, float]:
    """Return how long threads have waited for a processor: ours and those of our daemons, which
    are all that run in this network namespace."""
    here = os.stat("/proc/self/ns/net").st_ino
    found = {"steal": _stolen()}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (process / "ns/net").stat().st_ino == here:
                for thread in (process / "task").iterdir():
                    waited = (thread / "schedstat").read_text().split()[1]
                    found[thread.name] = int(waited) / 1e9
    return found


def _stolen() -> float:
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[_STEAL]) / _TICKS
