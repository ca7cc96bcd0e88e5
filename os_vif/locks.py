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
        self._changed = threading.Condition()
        self._held: set[tuple[int, str]] = set()

    @contextmanager
    def hold(self, keys: Collection[str], deadline: Deadline) -> Iterator[None]:
        """Hold all of these keys, or none.

        :raises DeadlineExceeded: another thread holds one of them.
        """
        mine = {(os.getpid(), key) for key in keys}  # a fork copies what others held
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._held.isdisjoint(mine), deadline.remaining()
            ):
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
