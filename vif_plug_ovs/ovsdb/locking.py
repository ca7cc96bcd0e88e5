# SPDX-License-Identifier: Apache-2.0
"""A condition whose lock is held again after each wait, whatever interrupts it.

A greenthread's timeout is raised wherever the greenthread waits: in waiting for the condition, and
as well in waiting for the lock afterwards. KeyboardInterrupt comes after any call. Then the lock
would not be held where all code relies on it, or be held by somebody who does not know it.
"""

import threading
from collections.abc import Callable
from typing import Any


class Condition(threading.Condition):
    """As threading's, with a reentrant lock.

    It is held by ``with condition.lock``, between whose acquisition and block nothing can come;
    ``with condition`` calls functions in Python, after each of which an interruption can.
    """

    def __init__(self) -> None:
        lock: Any = threading.RLock()
        super().__init__(lock)
        self.lock = lock
        self._acquire_restore = self._restore  # which wait() calls

    def unlocked(self, function: Callable[[], object]) -> None:
        """Call a function without the lock; it is held then in any case."""
        try:
            state = self.lock._release_save()
            try:
                function()
            finally:
                self._restore(state)
        finally:
            self._hold_again()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is notified; the lock is held then in any case."""
        try:
            return super().wait(timeout)
        finally:
            self._hold_again()

    def _hold_again(self) -> None:
        """Hold the lock, if an interruption right after its release has left it released."""
        self._hold(self.lock.acquire)

    def _restore(self, state: Any) -> None:
        self._hold(lambda: self.lock._acquire_restore(state))

    def _hold(self, acquire: Callable[[], Any]) -> None:
        """Acquire it if it is not held; what interrupts that is raised when it is held."""
        interruption: BaseException | None = None
        while not self.lock._is_owned():
            try:
                acquire()
            except BaseException as error:
                interruption = error
        if interruption is not None:
            raise interruption
