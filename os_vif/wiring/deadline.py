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
        self._began = time.monotonic()
        self._at = self._began + seconds if seconds else math.inf

    @classmethod
    def never(cls) -> "Deadline":
        """Return a deadline that does not come."""
        return cls(0)

    @property
    def expired(self) -> bool:
        """Whether the deadline has come."""
        return self.remaining() == 0

    def elapsed(self) -> float:
        """Return the seconds since the verb began, with one decimal where it needs one."""
        seconds = round(time.monotonic() - self._began, 1)
        return int(seconds) if seconds.is_integer() else seconds

    def remaining(self) -> float | None:
        """Seconds left, never negative; None when there is no deadline."""
        return None if self._at == math.inf else max(0.0, self._at - time.monotonic())

    def at_most(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and one that many seconds (not 0) from now."""
        other = self._after(seconds)
        return self if self._at <= other._at else other

    def at_least(self, seconds: float) -> "Deadline":
        """The later of this deadline and one that many seconds (not 0) from now."""
        other = self._after(seconds)
        return self if self._at >= other._at else other

    def _after(self, seconds: float) -> "Deadline":
        """Return a deadline of the same verb, so many seconds from now."""
        other = Deadline(seconds)
        other._began = self._began
        return other

    @classmethod
    def until(cls, at: float | None) -> "Deadline":
        """Return a deadline at a point of ``time.monotonic()``, which all processes share.

        :param at: in seconds; it may have passed. None for no deadline at all.
        """
        deadline = cls(0)
        if at is not None:
            deadline._at = at
        return deadline
