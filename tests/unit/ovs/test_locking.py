# SPDX-License-Identifier: Apache-2.0
"""The condition of a connection, when its holder is interrupted."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from vif_plug_ovs.ovsdb.locking import Condition


def in_wait(changed: Condition) -> None:
    changed.wait(5)


def in_unlocked(changed: Condition) -> None:
    changed.unlocked(lambda: None)


@pytest.mark.parametrize("leave", [in_wait, in_unlocked])
def test_an_interruption_right_after_the_lock_was_released_passes_through(
    leave: Callable[[Condition], None],
) -> None:
    changed, free = Condition(), threading.Event()

    def interrupt(_frame: object, event: str, function: Any) -> None:
        if event == "c_return" and function.__name__ == "_release_save":
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), changed.lock:
            leave(changed)
    finally:
        sys.setprofile(None)

    def other() -> None:
        with changed.lock:
            free.set()

    threading.Thread(target=other, daemon=True).start()
    assert free.wait(5)
