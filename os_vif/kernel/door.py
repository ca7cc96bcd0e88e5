# SPDX-License-Identifier: Apache-2.0
"""How a plugin asks its privileged daemon, and survives the daemon's end.

oslo.privsep notices that its daemon has ended when its reader comes to the end of the socket. A
daemon that is killed with a request unread resets the socket instead, which ends the reader's
thread: nobody is told, and the daemon is never started again. So we watch that thread.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from oslo_log import log as logging
from oslo_privsep import comm
from oslo_privsep.priv_context import PrivContext

from os_vif.wiring.errors import DeadlineExceeded, StateChanged

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds; so long we wait for an answer even past a verb's deadline.
SHORTEST = 0.1

_starting = threading.Lock()
#: Channels whose daemon did not answer in time when it was asked last.
_silent: "weakref.WeakSet[comm.ClientChannel]" = weakref.WeakSet()


def ask(entrypoint: Callable[..., T], *arguments: Any, timeout: float | None) -> T:
    """Call what runs inside a privileged daemon, which is started if it is not there.

    :param timeout: seconds for the daemon to answer, None for no limit.
    :raises DeadlineExceeded: it did not answer. When it does not answer the next request either,
        such as that of the rollback, another daemon is started for the one after.
    :raises StateChanged: it ended before it answered, and may have done what it was asked for.
    """
    context: PrivContext = entrypoint.privsep_entrypoint  # type: ignore[attr-defined]
    if not context.client_mode:  # we are the daemon, or run without one
        return entrypoint(*arguments)
    try:
        return _call(context, entrypoint, arguments, timeout)
    except (BrokenPipeError, ConnectionResetError):  # it had ended before it could read
        return _call(context, entrypoint, arguments, timeout)


def _call(
    context: PrivContext, entrypoint: Callable[..., T], arguments: Any, timeout: float | None
) -> T:
    channel = _channel(context)
    limit = None if timeout is None else max(timeout, SHORTEST)
    try:
        answer = entrypoint(*arguments, _wrap_timeout=limit)
    except comm.PrivsepTimeout as err:
        if channel in _silent:
            _drop(context, channel)
        _silent.add(channel)
        what = "the privileged daemon is silent"
        raise DeadlineExceeded(seconds=round(limit or 0, 1), what=what) from err
    except (BrokenPipeError, ConnectionResetError):
        _drop(context, channel)
        raise
    except OSError as err:
        if channel.running:
            raise  # what the daemon itself has met
        raise StateChanged(what="the privileged daemon ended before it answered") from err
    _silent.discard(channel)
    return answer


def _channel(context: PrivContext) -> comm.ClientChannel:
    """Return the channel to the running daemon of a context."""
    with _starting:
        channel = context.channel
        if channel is None or not (channel.running and channel.reader_thread.is_alive()):
            context.channel = None  # not closed: it may be that of the process that forked us
            context.start()
            channel = context.channel
            assert channel is not None
            watch = threading.Thread(
                target=_watch, args=(channel,), name="os-vif privsep", daemon=True
            )
            watch.start()
        return channel


def _watch(channel: comm.ClientChannel) -> None:
    """Do what oslo.privsep's reader does at the end of the socket, however the reader ended."""
    channel.reader_thread.join()
    with channel.lock:
        channel.running = False
        for request in channel.outstanding_msgs.values():
            request.set_exception(OSError("the privileged daemon has ended"))


def _drop(context: PrivContext, channel: comm.ClientChannel) -> None:
    """Have a new daemon started for the next request; the old one ends when it has done all that
    it was asked for."""
    LOG.warning("The privileged daemon does not answer; another one is started")
    with _starting:
        if context.channel is channel:
            context.channel = None
    try:
        with channel.lock:
            channel.writer.close()
    except OSError:  # it has gone
        pass
