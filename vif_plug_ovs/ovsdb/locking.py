# SPDX-License-Identifier: Apache-2.0
"""A condition whose lock is held again after each wait, whatever interrupts it.

A greenthread's timeout is raised wherever the greenthread waits: in waiting for the condition, and
as well in waiting for the lock afterwards. Then the lock would not be held where all code relies
on it.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any


class Condition(threading.Condition):
    """As threading's, with a reentrant lock."""

    def __init__(self) -> None:
        lock: Any = _Lock()
        super().__init__(lock)

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Do something without the lock."""
        state = self._lock._release_save()
        try:
            yield
        finally:
            self._lock._acquire_restore(state)

    _lock: "_Lock"


class _Lock:
    """threading's RLock, with what a condition calls to get it back after a wait."""

    def __init__(self) -> None:
        inner: Any = threading.RLock()
        self._inner = inner
        self.acquire = inner.acquire
        self.release = inner.release
        self._release_save = inner._release_save
        self._is_owned = inner._is_owned

    def __enter__(self) -> None:
        self._inner.acquire()

    def __exit__(self, *_: object) -> None:
        self._inner.release()

    def _acquire_restore(self, state: Any) -> None:
        """Acquire it; what interrupts that is raised when it is held."""
        interruption: BaseException | None = None
        while not self._is_owned():
            try:
                self._inner._acquire_restore(state)
            except BaseException as error:
                interruption = error
        if interruption is not None:
            raise interruption
