# SPDX-License-Identifier: Apache-2.0
"""Which callers of this process are on their way to a commit, so that others may wait for them."""

import contextlib
import threading
import time
from collections.abc import Iterator

#: Seconds after which a caller that has not come is not expected any more.
EXPECTED_SECONDS = 0.2

_since: dict[int, float] = {}  # by thread or greenthread


@contextlib.contextmanager
def on_the_way() -> Iterator[None]:
    """Count the caller as on its way, until its first commit or the end of this context."""
    _since[threading.get_ident()] = time.monotonic()
    try:
        yield
    finally:
        arrived()


def arrived() -> None:
    """Count the caller no more."""
    _since.pop(threading.get_ident(), None)


def are_coming() -> bool:
    """Return whether any are on their way."""
    now = time.monotonic()
    return any(now - since < EXPECTED_SECONDS for since in list(_since.values()))


def forget() -> None:
    """Forget all: they have stayed behind, in the process that this one was forked from."""
    _since.clear()
