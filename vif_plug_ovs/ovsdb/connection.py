# SPDX-License-Identifier: Apache-2.0
"""A connection to an OVSDB server that many callers share.

Callers send their transactions themselves, under the lock that guards the replica. The first who
has to wait receives for all, in its own thread, which saves most of what a question costs: the
changes of threads. The others wait on a condition. Whoever waits does so without the lock, so
transactions of several callers are in flight at once and no wait holds up anybody else. While
nobody waits, a thread looks after the connection now and then.
"""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import ovs.poller
import ovs.stream
import ovs.timeval
from oslo_log import log as logging
from ovs.db import idl

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from vif_plug_ovs.ovsdb import locking, messages, remotes, rows, tls
from vif_plug_ovs.ovsdb.operations import Operation
from vif_plug_ovs.ovsdb.poller import Poller

LOG = logging.getLogger(__name__)
T = TypeVar("T")
C = TypeVar("C", bound="Connection")

#: Seconds between attempts to connect while somebody waits for the connection.
RETRY_SECONDS = 0.2
#: Seconds between looks at what the server has sent while nobody waits for it. A server may want
#: an answer to its probe within a second (inactivity_probe, ovs-vswitchd.conf.db(5)).
TEND_SECONDS = 0.4
#: Seconds without progress after which a caller has seen that ovs-vswitchd is stuck.
PATIENCE_SECONDS = 5
#: Seconds that the callers after it wait for an ovs-vswitchd that is stuck.
STUCK_SECONDS = 4

#: How ovsdb-server says that a row of the same name was inserted by somebody else meanwhile.
_TAKEN = "to have identical values"


class Connection:
    """A replica of the Open_vSwitch database and the way to change it.

    :param remote: where the server listens: ``tcp:<address>:<port>``, ``unix:<path>``, or what
        :func:`vif_plug_ovs.ovsdb.tls.remote` makes of ``ssl:<address>:<port>``.
    :raises InvalidValue: the remote is not of such a form.
    """

    #: Makes the (still unconnected) replica; it has the table Open_vSwitch at least.
    _replica: Callable[[str], idl.Idl] = staticmethod(rows.replica)

    def __init__(self, remote: str) -> None:
        self._remote = remotes.normal(remote)
        self.remote = tls.shown(self._remote)
        self._changed = locking.Condition()
        self._tables = messages.use_in(self._replica(self._remote))
        self._stuck_at: int | None = None
        self._receiving = False  # whether somebody waits for the server, and so for all
        self._callers = 0  # who wait, this object's own thread apart
        self._complaint = ""  # the last one in the log
        self._closed = threading.Event()
        # Sockets: eventlet's os.read would wait for a pipe that is not meant to be waited for.
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._tend, name=f"os-vif {remote}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and drop the connection; who waits for the server waits no longer."""
        self._closed.set()
        with self._changed:
            self._wake()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._receiving)
            self._tables.close()
        self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    @contextlib.contextmanager
    def current(self, deadline: Deadline) -> Iterator[idl.Idl]:
        """Hold the replica, with everything in it that the server had when this was called.

        :raises NotConnected: the server did not answer by the deadline.
        """
        self._transact([_READ], deadline, writes=False)
        with self._changed:
            yield self._tables

    def commit(
        self, build: Callable[[idl.Idl], list[Operation]], deadline: Deadline
    ) -> int | None:
        """Send one transaction and wait until the server has accepted it.

        :param build: makes its operations from the replica of that moment; none: nothing is sent.
        :returns: the configuration number that ovs-vswitchd has to reach, None if nothing was
            sent.
        :raises StateChanged: a row that the transaction builds on has changed.
        :raises TransactionRefused: the server refused it.
        :raises NotConnected: it could not be sent.
        :raises OutcomeUnknown: it was sent and not answered: the deadline is over, or the
            connection was lost. It is never sent again: it may have taken effect.
        """
        return self._transact(build, deadline, writes=True)

    def settled(self, cfg: int, deadline: Deadline) -> bool:
        """Wait until ovs-vswitchd has caught up with a configuration number.

        :returns: False when it has not by the deadline; or sooner, when a caller has waited for
            `PATIENCE_SECONDS` and seen no progress, and there has been none since.
        """
        with self._changed:
            progress = _Progress(rows.cur_cfg(self._tables))
            if self._stuck_at == progress.cfg:
                LOG.warning(
                    "ovs-vswitchd has made no progress since a caller waited %s s for it: it is "
                    "stuck at configuration %s",
                    PATIENCE_SECONDS,
                    progress.cfg,
                )
                deadline = deadline.at_most(STUCK_SECONDS)
            done = self._wait_for(
                lambda: progress.seen(rows.cur_cfg(self._tables)) >= cfg, deadline
            )
            if not done and progress.seconds_without() >= PATIENCE_SECONDS:
                self._stuck_at = progress.cfg
        return done

    def wait_for(self, predicate: Callable[[idl.Idl], T], deadline: Deadline | None) -> T:
        """Wait until something holds of the replica; return what the predicate said last.

        :param deadline: None to ask once and not wait.
        """
        with self._changed:
            if deadline is None:
                return predicate(self._tables)
            self._wait_for(lambda: bool(predicate(self._tables)), deadline)
            return predicate(self._tables)

    # Below here the lock is held, but for _tend.

    def _transact(
        self,
        build: list[Operation] | Callable[[idl.Idl], list[Operation]],
        deadline: Deadline,
        *,
        writes: bool,
    ) -> int | None:
        with self._changed:
            self._catch_up()  # the connection may have ended while nobody looked
            while True:
                self._wait_for_connection(deadline)
                wanted = build(self._tables) if callable(build) else build
                wanted = self._without_missing_columns(wanted)
                if not wanted:
                    return None
                session = self._session_number()
                sent = self._send(wanted, writes)
                was_sent = sent.commit() != sent.TRY_AGAIN  # else the connection is broken
                self._wait_for_answer(sent, deadline)
                answered = was_sent and session == self._session_number()
                if answered or (writes and was_sent) or self._is_over(deadline):
                    return self._result(sent, writes=writes and was_sent, answered=answered)
                self._wait_for(lambda: False, deadline.at_most(RETRY_SECONDS))
                # Nothing happened: send it again.

    def _wait_for_answer(self, sent: Any, deadline: Deadline) -> None:
        """Wait until a transaction is answered, or will never be."""
        session = self._session_number()

        def decided() -> bool:
            return sent.commit() != sent.INCOMPLETE or session != self._session_number()

        self._wait_for(decided, deadline)

    def _without_missing_columns(self, wanted: list[Operation]) -> list[Operation]:
        """Return operations without what this server has no column for (`rows.OPTIONAL`)."""
        if not self._session.missing:
            return wanted
        columns = {column for _, column in self._session.missing}
        possible = [
            {**each, "row": {k: v for k, v in each["row"].items() if k not in columns}}
            if "row" in each
            else each
            for each in wanted
        ]
        useful = [each for each in possible if each.get("row") or each["op"] != "update"]
        return useful if any(each["op"] != "wait" for each in useful) else []

    @property
    def _session(self) -> "messages.Session":
        session: messages.Session = self._tables._session
        return session

    def _session_number(self) -> int:
        return int(self._session.get_seqno())

    def _is_over(self, deadline: Deadline) -> bool:
        return deadline.remaining() == 0 or self._closed.is_set()

    def _wait_for_connection(self, deadline: Deadline) -> None:
        before = tls.failures(self._remote)

        def failed() -> bool:
            """Return whether there is something that waiting does not cure."""
            return bool(self._session.refusal) or tls.failures(self._remote) > before

        self._wait_for(lambda: self._is_connected() or failed(), deadline)
        if not self._is_connected():
            known = self._session.refusal or (failed() and tls.problem(self._remote))
            reason = known or self._why(deadline)
            raise errors.NotConnected(remote=self.remote, reason=reason)

    def _is_connected(self) -> bool:
        tables = self._tables
        return bool(tables.state == tables.IDL_S_MONITORING and tables._session.is_connected())

    def _send(self, wanted: list[Operation], writes: bool) -> Any:
        transaction = idl.Transaction(self._tables)
        try:
            if writes:
                rows.switch(self._tables).increment("next_cfg")
            for operation in wanted:
                transaction.add_op(operation)
            transaction.commit()
        except BaseException:
            transaction.abort()
            raise
        if self._tables._session.get_backlog():
            self._wake()  # the thread does not yet wait for the socket to become writable
        return transaction

    def _result(self, sent: Any, *, writes: bool, answered: bool) -> int | None:
        """What became of a transaction; a lost session leaves it "try again", unanswered."""
        status = sent.commit()
        if status == sent.SUCCESS:
            return int(sent.get_increment_new_value()) if writes else None
        if status == sent.ERROR:
            reason = sent.get_error()
            if _TAKEN in reason:
                raise errors.StateChanged(what=reason)
            raise errors.TransactionRefused(reason=reason)
        if status == sent.TRY_AGAIN and answered:
            raise errors.StateChanged(what="a row that the transaction builds on")
        if writes:
            raise errors.OutcomeUnknown(remote=self.remote)
        raise errors.NotConnected(remote=self.remote, reason="it does not answer")

    def _wait_for(self, predicate: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until something holds, by the deadline's clock; not on a closed connection."""
        self._callers += 1
        try:
            if not self._is_connected():
                self._wake()  # the next attempt is made sooner now
            return self._wait(predicate, deadline)
        finally:
            self._callers -= 1

    def _wait(self, predicate: Callable[[], bool], deadline: Deadline) -> bool:
        while not predicate():
            if self._is_over(deadline):
                return False
            if self._may_receive():
                self._receive(deadline)
            else:
                self._changed.wait(deadline.remaining())
        return True

    def _may_receive(self) -> bool:
        return not self._receiving and not self._closed.is_set()

    def _receive(self, deadline: Deadline) -> None:
        """Wait for the server without the lock, and take in what it sends."""
        if self._callers:
            self._session.hurry(RETRY_SECONDS)
        poller = Poller(deadline)
        self._tables.wait(poller)
        poller.fd_wait(self._wake_read, ovs.poller.POLLIN)
        try:
            self._receiving = True
            with self._changed.released():
                poller.block()
        finally:
            self._receiving = False
            with contextlib.suppress(BlockingIOError):
                self._wake_read.recv(4096)
            self._take_in()

    def _take_in(self) -> None:
        """Bring the replica up to what has arrived; all who wait look, and one of them goes on."""
        try:
            self._tables.run()
            if self._is_connected():
                self._complaint = ""
        except Exception as err:
            self._complain(err)
            self._fetch_anew()
        except BaseException:  # which interrupts a native thread anywhere
            self._fetch_anew()
            raise
        finally:
            self._changed.notify_all()
        self._tables.cooperative_yield.raise_interruption()

    def _fetch_anew(self) -> None:
        """Connect again, and trust nothing of the replica: half an update may be in it."""
        self._tables.last_id = str(uuid.UUID(int=0))
        self._session.force_reconnect()  # the replica's would not pause before it

    def _complain(self, err: Exception) -> None:
        """Log why the connection is broken, once for each cause."""
        if self._complaint != repr(err):
            self._complaint = repr(err)
            LOG.exception("The connection to %s failed; reconnecting", self.remote)

    def _why(self, deadline: Deadline) -> str:
        if self._closed.is_set():
            return "the connection was closed"
        try:
            error, stream = ovs.stream.Stream.open(self._remote)
        except Exception as err:
            return repr(err)
        if stream is not None:
            stream.close()
        reason = os.strerror(error) if error else "it does not answer"
        return f"{reason} (after {deadline.elapsed()} s)"

    def _wake(self) -> None:
        """Have whoever receives look at the connection again."""
        if self._receiving:
            with contextlib.suppress(BlockingIOError):  # full of wake-ups already
                self._wake_write.send(b".")

    def _tend(self) -> None:
        """While nobody waits: take in what comes, probe the server, connect again."""
        pause = TEND_SECONDS
        while not self._closed.wait(pause):
            with self._changed:
                self._catch_up()
                self._wait(self._is_connected, Deadline.never())
                pause = self._until_probe()

    def _catch_up(self) -> None:
        if self._may_receive():
            self._take_in()

    def _until_probe(self) -> float:
        """Seconds until python-ovs has to find out whether the server is still there."""
        reconnect = self._tables._session.reconnect
        milliseconds: int | None = reconnect.timeout(ovs.timeval.msec())
        if milliseconds is None or self._receiving:
            return TEND_SECONDS
        return min(TEND_SECONDS, milliseconds / 1000)


class _Progress:
    """What one caller sees of ovs-vswitchd's progress."""

    def __init__(self, cfg: int) -> None:
        self.cfg = cfg
        self._since = time.monotonic()

    def seen(self, cfg: int) -> int:
        """Note, and return, how far it is."""
        if cfg != self.cfg:
            self.cfg, self._since = cfg, time.monotonic()
        return cfg

    def seconds_without(self) -> float:
        """Return for how many seconds it has made none."""
        return time.monotonic() - self._since


#: An operation that changes nothing: its answer comes after every update that preceded it.
_READ: Operation = {
    "op": "select",
    "table": "Open_vSwitch",
    "where": [],
    "columns": ["cur_cfg"],
}

_connections: dict[tuple[type[Connection], str], Connection] = {}
_connecting = threading.Lock()
_forks_watched = False


def get(remote: str) -> Connection:
    """The connection of this process to a server, made by whoever asks first."""
    return get_as(Connection, remote)


def get_as(kind: type[C], remote: str) -> C:
    """As :func:`get`, of a kind that keeps another replica; there is one of each kind."""
    global _forks_watched
    remote = remotes.normal(remote)
    with _connecting:
        if not _forks_watched:
            os.register_at_fork(after_in_child=_after_fork)
            _forks_watched = True
        if (kind, remote) not in _connections:
            _connections[kind, remote] = kind(remote)
        found = _connections[kind, remote]
    assert isinstance(found, kind)
    return found


def _after_fork() -> None:
    """Threads do not survive a fork, and a lock may have been held by one of them."""
    global _connecting
    _connecting = threading.Lock()
    _connections.clear()


def close_all() -> None:
    """Drop the connections of this process."""
    with _connecting:
        while _connections:
            _connections.popitem()[1].close()
