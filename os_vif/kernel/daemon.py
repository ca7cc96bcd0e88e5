# SPDX-License-Identifier: Apache-2.0
"""How a plugin calls its privileged daemon, and survives the daemon's end.

oslo.privsep notices that its daemon has ended when its reader comes to the end of the socket. A
daemon that is killed with a request unread resets the socket instead, which ends the reader's
thread: nobody is told, so its callers wait for ever (of a daemon that has not even started, too),
and it is never started again. So the reader of our channels takes the one for the other.
"""

import contextlib
import errno
import functools
import threading
import traceback
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from oslo_log import log as logging
from oslo_privsep import comm
from oslo_privsep.daemon import RootwrapClientChannel
from oslo_privsep.priv_context import PrivContext

from os_vif import observers
from os_vif.exception import InvalidValue
from os_vif.kernel import observe, packing
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.state import Link
from os_vif.wiring.steps import LinkStep

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds; so long we wait for an answer even past a verb's deadline.
SHORTEST = 0.1

_starting = threading.Lock()
#: Channels whose daemon did not answer in time when it was asked last.
_silent: "weakref.WeakSet[comm.ClientChannel]" = weakref.WeakSet()


class KernelLinks:
    """Links of the caller's network namespace, as the engine wants them.

    :param change_links: the plugin's privileged function; it is given packed steps, ``go_on`` and
        the end of the deadline, and executes them by :func:`os_vif.kernel.execute.execute`.
    :param grace: seconds past the deadline in which it may roll back and say so.
    """

    def __init__(
        self, change_links: Callable[..., Sequence[Sequence[Any]]], grace: float = 0.0
    ) -> None:
        self._change_links = change_links
        self._grace = grace

    def observe(self, names: Iterable[str], addressed: Collection[str] = ()) -> Mapping[str, Link]:
        """See :meth:`os_vif.wiring.engine.Links.observe`."""
        return observe.links(names, addressed)

    def execute(
        self, groups: Sequence[Sequence[LinkStep]], deadline: Deadline, *, go_on: bool = False
    ) -> list[Exception | None]:
        """See :meth:`os_vif.wiring.engine.Links.execute`."""
        packed = [[packing.pack(step) for step in group] for group in groups]
        try:
            outcomes = call(
                self._change_links, packed, go_on, deadline=deadline, grace=self._grace
            )
        except InvalidValue as refusal:  # of one, and so none was executed: whose is it?
            if len(groups) == 1:
                return [refusal]
            alone = (self.execute([group], deadline, go_on=go_on) for group in groups)
            return [failure for [failure] in alone]
        return [_failure(group, *outcome) for group, outcome in zip(groups, outcomes, strict=True)]


def _failure(
    group: Sequence[LinkStep], executed: int, reason: str, code: int
) -> errors.WiringError | None:
    if not reason:
        return None
    failed = next((vars(step) for step in group if reason.startswith(str(step))), {})
    name = failed.get("name") or failed.get("bridge")
    refusal = errors.LinkFailed(reason=reason, element=name and f"link {name}")
    refusal.executed = executed
    if code not in (errno.EEXIST, errno.ENODEV):  # a link of that name has come, or gone
        return refusal
    changed = errors.StateChanged(what=reason)
    changed.executed, changed.refusal = executed, refusal if code == errno.ENODEV else None
    return changed


def call(
    entrypoint: Callable[..., T], *arguments: Any, deadline: Deadline, grace: float = 0.0
) -> T:
    """Call what runs inside a privileged daemon, which is started if it is not there.

    The end of the deadline is its last argument, by ``time.monotonic()``: it does not move while
    the call waits for the daemon.

    :param grace: seconds past the deadline for the daemon to answer.
    :raises DeadlineExceeded: it did not answer. When it does not answer the next call either,
        such as that of the rollback, another daemon is started for the one after.
    :raises StateChanged: it ended before it answered, and may have done what it was asked for.
    """
    observers.count("privileged_calls")
    context: PrivContext | None = getattr(entrypoint, "privsep_entrypoint", None)
    if context is None or not context.client_mode:  # we are the daemon, or run without one
        return entrypoint(*arguments, deadline.at)
    limit = max(deadline.remaining() + grace, SHORTEST)
    request = functools.partial(entrypoint, *arguments, deadline.at, _wrap_timeout=limit)
    try:
        return _ask(context, request, limit)
    except (BrokenPipeError, ConnectionResetError):  # it had ended before it could read
        return _ask(context, request, limit)


def _ask(context: PrivContext, request: Callable[[], T], limit: float) -> T:
    channel = _channel(context)
    try:
        answer = request()
    except comm.PrivsepTimeout as err:
        if channel in _silent:
            _drop(context, channel)
        _silent.add(channel)
        what = "the privileged daemon is silent"
        raise errors.DeadlineExceeded(seconds=round(limit, 1), what=what) from err
    except (BrokenPipeError, ConnectionResetError):
        _drop(context, channel)
        raise
    except OSError as err:
        if channel.running:
            raise  # what the daemon itself has met
        raise errors.StateChanged(what="the privileged daemon ended before it answered") from err
    _silent.discard(channel)
    return answer


def _channel(context: PrivContext) -> comm.ClientChannel:
    """Return the channel to the running daemon of a context."""
    with _starting:
        channel = context.channel
        if channel is None or not (channel.running and channel.reader_thread.is_alive()):
            # The former is not closed: it may be that of the process that forked us.
            try:
                context.channel = channel = Channel(context)
            except Exception as err:
                traceback.clear_frames(err.__traceback__)  # oslo.privsep's has a pipe open
                raise
        return channel


class Told(comm.ClientChannel):
    """A channel whose callers are told of any end of its daemon."""

    def _reader_main(self, reader: comm.Deserializer) -> None:
        with contextlib.suppress(ConnectionResetError):
            super()._reader_main(reader)
        with self.lock:
            self.running = False
            for request in self.outstanding_msgs.values():
                request.set_exception(OSError("the privileged daemon has ended"))


class Channel(Told, RootwrapClientChannel):
    """A channel to a daemon that it starts."""


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
