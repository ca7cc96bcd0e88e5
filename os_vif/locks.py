# SPDX-License-Identifier: Apache-2.0
"""Locks by key: two threads that plug the same VIF wait for each other, others do not."""

import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from os_vif.wiring.deadline import Deadline
from os_vif.wiring.errors import DeadlineExceeded


class KeyedLocks:
    """A lock for each key, held while somebody has it."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, keys: Collection[str], deadline: Deadline) -> Iterator[None]:
        """Hold all of these keys, or none.

        :raises DeadlineExceeded: another thread holds one of them.
        """
        if self._process != os.getpid():
            self._forget()  # threads do not survive a fork, but what they held would
        mine = set(keys)
        with self._changed:
            free = self._changed.wait_for(
                lambda: mine.isdisjoint(self._held), deadline.remaining()
            )
            if not free:
                raise DeadlineExceeded(
                    seconds=deadline.seconds, what="another thread is busy with the same VIF"
                )
            self._held |= mine
        try:
            yield
        finally:
            with self._changed:
                self._held -= mine
                self._changed.notify_all()
