# SPDX-License-Identifier: Apache-2.0
"""The time a verb may take, all of its waits included."""

import math
import time


class Deadline:
    """A point in time that every wait of a verb shares.

    :param seconds: from now; 0 for no deadline at all (as ``ovs-vsctl --timeout=0``).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds if seconds else math.inf

    def remaining(self) -> float | None:
        """Seconds left, never negative; None when there is no deadline."""
        return None if self._at == math.inf else max(0.0, self._at - time.monotonic())

    def at_most(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and one that many seconds (not 0) from now."""
        other = Deadline(seconds)
        return self if self._at <= other._at else other

    def at_least(self, seconds: float) -> "Deadline":
        """The later of this deadline and one that many seconds (not 0) from now."""
        other = Deadline(seconds)
        return self if self._at >= other._at else other

    @classmethod
    def until(cls, at: float | None) -> "Deadline":
        """A deadline at a point of ``time.monotonic()``, which all processes of a host share.

        :param at: in seconds; it may have passed. None for no deadline at all.
        """
        deadline = cls(0)
        if at is not None:
            deadline._at, deadline.seconds = at, max(0.0, at - time.monotonic())
        return deadline
