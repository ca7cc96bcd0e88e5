# SPDX-License-Identifier: Apache-2.0
"""Locks by key: two threads that plug the same VIF wait for each other, others do not."""

import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from os_vif.wiring.deadline import Deadline
from os_vif.wiring.errors import DeadlineExceeded


class KeyedLocks:
    """A lock for each key, held by one thread at a time."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextmanager
    def hold(
        self, keys: Collection[str], deadline: Deadline, what: str = "the same VIF"
    ) -> Iterator[None]:
        """Hold all of these keys.

        :param what: what another thread that holds one is busy with.
        :raises DeadlineExceeded: another thread holds one of them.
        """
        with self.hold_free(keys, deadline) as held:
            if len(held) < len(set(keys)):
                raise busy(deadline, what)
            yield

    @contextmanager
    def hold_free(self, keys: Collection[str], deadline: Deadline) -> Iterator[set[str]]:
        """Wait for these keys until the deadline, and hold those that nobody else holds then."""
        if self._process != os.getpid():
            self._forget()  # threads do not survive a fork, but what they held would
        wanted = set(keys)
        with self._changed:
            self._changed.wait_for(lambda: wanted.isdisjoint(self._held), deadline.remaining())
            mine = wanted - self._held
            self._held |= mine
        try:
            yield mine
        finally:
            with self._changed:
                self._held -= mine
                self._changed.notify_all()


def busy(deadline: Deadline, what: str = "the same VIF") -> DeadlineExceeded:
    """Return the error of a thread that waited in vain."""
    return DeadlineExceeded(seconds=deadline.elapsed(), what=f"another thread is busy with {what}")
