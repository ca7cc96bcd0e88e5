# SPDX-License-Identifier: Apache-2.0
"""The time a verb may take, all of its waits included."""

import math
import time

from os_vif.exception import InvalidValue

#: Seconds that any wait is told at most: what the kernel and the interpreter take as a timeout.
LONGEST = 1_000_000.0


class Deadline:
    """A point in time that every wait of a verb shares.

    :param seconds: from now; 0 or less has expired.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()
        #: Of ``time.monotonic()``, which all processes of a host share.
        self.at = self._began + seconds

    @classmethod
    def never(cls) -> "Deadline":
        """Return one that does not expire."""
        return cls(math.inf)

    @classmethod
    def of_option(cls, seconds: float) -> "Deadline":
        """Return that of an option, of which 0 says never (as ``ovs-vsctl --timeout=0``)."""
        return cls(seconds or math.inf)

    @classmethod
    def until(cls, at: float) -> "Deadline":
        """Return that of a call in another process.

        :param at: see the attribute of that name; it may have passed.
        :raises InvalidValue: it is not a number.
        """
        if not isinstance(at, int | float) or math.isnan(at):
            raise InvalidValue(field="until", value=at, reason="it must be a point in time")
        deadline = cls(0)
        deadline.at = at
        return deadline

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self.at

    def elapsed(self) -> float:
        """Return the seconds since the verb began, with one decimal where it needs one."""
        seconds = round(time.monotonic() - self._began, 1)
        return int(seconds) if seconds.is_integer() else seconds

    def remaining(self) -> float:
        """Return the seconds left: never negative, and `LONGEST` at most."""
        return min(LONGEST, max(0.0, self.at - time.monotonic()))

    def at_most(self, seconds: float) -> "Deadline":
        """Return the earlier of this deadline and one that many seconds from now."""
        other = self._after(seconds)
        return self if self.at <= other.at else other

    def at_least(self, seconds: float) -> "Deadline":
        """Return the later of this deadline and one that many seconds from now."""
        other = self._after(seconds)
        return self if self.at >= other.at else other

    def _after(self, seconds: float) -> "Deadline":
        """Return a deadline of the same verb, so many seconds from now."""
        other = Deadline(seconds)
        other._began = self._began
        return other
