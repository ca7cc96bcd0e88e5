# SPDX-License-Identifier: Apache-2.0
"""How a plugin asks its privileged daemon."""

from collections.abc import Callable
from typing import Any, TypeVar

from oslo_privsep import comm

from os_vif.wiring.errors import DeadlineExceeded

T = TypeVar("T")

#: Seconds; so long we wait for an answer even past a verb's deadline.
SHORTEST = 0.1


def ask(entrypoint: Callable[..., T], *arguments: Any, timeout: float | None) -> T:
    """Call what runs inside a privileged daemon.

    :param timeout: seconds for the daemon to answer, None for no limit. A daemon that is killed
        with a request unread would not be missed otherwise.
    :raises DeadlineExceeded: it did not answer.
    """
    limit = None if timeout is None else max(timeout, SHORTEST)
    try:
        return entrypoint(*arguments, _wrap_timeout=limit)
    except comm.PrivsepTimeout as err:
        raise DeadlineExceeded(seconds=limit, what="the privileged daemon is silent") from err
