# SPDX-License-Identifier: Apache-2.0
"""A connection to an OVSDB server that many callers share.

Callers send their transactions themselves, under the lock that guards the replica. The first
caller that has to wait receives for all, in its own thread: a change of threads would cost more
than the rest of a request. The others wait on a condition. All of them wait without the lock, so
several transactions are in flight at once and no wait holds up another caller. While no caller
waits, a thread keeps the connection alive.
"""

import contextlib
import functools
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import ovs.poller
import ovs.stream
from oslo_log import log as logging
from ovs.db import idl

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from vif_plug_ovs.ovsdb import callers, locking, remotes, rows, tls
from vif_plug_ovs.ovsdb.operations import Operation
from vif_plug_ovs.ovsdb.poller import Poller
from vif_plug_ovs.ovsdb.python_ovs import Replica

LOG = logging.getLogger(__name__)
T = TypeVar("T")
C = TypeVar("C", bound="Connection")

#: Seconds between attempts to connect while a caller waits for the connection.
RETRY_SECONDS = 0.2
#: Seconds between reads of what the server has sent while no caller waits for it. A server may
#: want an answer to its probe within a second (inactivity_probe, ovs-vswitchd.conf.db(5)).
KEEP_ALIVE_SECONDS = 0.4
#: Seconds for the first of many looks; a verb may outlive its deadline by one second.
FIRST_LOOK_SECONDS = 0.9
#: Seconds without progress after which a caller has seen that ovs-vswitchd is stuck.
STUCK_AFTER_SECONDS = 5
#: Seconds that later callers wait for an ovs-vswitchd that is stuck.
WAIT_FOR_STUCK_SECONDS = 4

#: How much of ovs-vswitchd's last reconfiguration a commit waits for others at most.
SHARE_FOR_OTHERS = 0.02
#: Seconds that it waits at most, however long that was.
MOST_FOR_OTHERS = 0.05

#: How ovsdb-server says that a row of the same name already exists.
NAME_EXISTS = "to have identical values"


Build = Callable[[Replica], list[Operation]]


@dataclass(eq=False)
class _Commit:
    """What waits to be sent together with others."""

    build: Build
    #: The transaction that it was sent in, and the number of the session.
    sent: tuple[Any, int] | None = None


class Connection:
    """A replica of the Open_vSwitch database and the way to change it.

    :param remote: where the server listens: ``tcp:<address>:<port>``, ``unix:<path>``, or what
        :func:`vif_plug_ovs.ovsdb.tls.remote` makes of ``ssl:<address>:<port>``.
    :raises InvalidValue: the remote is not of such a form.
    """

    #: Returns the (still unconnected) replica; it has the table Open_vSwitch at least.
    _new_replica: Callable[[str], Replica] = staticmethod(rows.new_replica)

    def __init__(self, remote: str) -> None:
        self._remote = remotes.normal(remote)
        self.remote = remotes.shown(self._remote)
        self._changed = locking.Condition()
        self._replica = self._new_replica(self._remote)
        self._stuck_at_cfg: int | None = None
        self._receiving = False  # whether a thread waits for the server, and so for all
        self._callers = 0  # that wait, this object's own thread not counted
        self._logged_failure = ""
        self._closed = threading.Event()
        self._gathered: list[_Commit] = []
        # The configuration that ovs-vswitchd is at, and since when; when it was idle and asked
        # for the next, and how many seconds it took for that.
        self._cfg_seen: int | None = None
        self._cfg_seen_at = -math.inf
        self._asked_at: float | None = None
        self._took = 0.0
        #: Who waits for rows, by their names; and what has the own thread look for them at once.
        self._watchers: dict[str, set[threading.Event]] = {}
        self._attention = threading.Event()
        # Sockets: eventlet's os.read waits for a pipe even if that is non-blocking.
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(
            target=self._keep_alive, name=f"os-vif {remote}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread and drop the connection; callers that wait stop waiting."""
        self._closed.set()
        self._attention.set()
        with self._changed.lock:
            self._wake()
            self._notify_watchers(self._watchers)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._receiving)
            self._replica.close()
        self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    @contextlib.contextmanager
    def synchronized(self, deadline: Deadline) -> Iterator[Replica]:
        """Lock the replica, with everything in it that the server had when this was called.

        :raises NotConnected: the server did not answer by the deadline.
        """
        with self._changed.lock:
            self._transact(lambda _: [_READ], deadline, writes=False)
            yield self._replica

    def commit(self, build: Build, deadline: Deadline) -> int | None:
        """Send one transaction and wait until the server has accepted it.

        What callers want at the same time while ovs-vswitchd is idle is sent as one transaction;
        if that is refused, each in its own.

        :param build: returns its operations, from the replica; without any nothing is sent.
        :returns: the configuration number that ovs-vswitchd has to reach, None if nothing was
            sent.
        :raises StateChanged: a row that the transaction builds on has changed.
        :raises TransactionRefused: the server refused it.
        :raises NotConnected: it could not be sent.
        :raises OutcomeUnknown: it was sent and not answered: the deadline is over, or the
            connection was lost. It is never sent again: it may have taken effect.
        """
        callers.arrived()
        with self._changed.lock:
            sent, session = self._gather(build, deadline) or (None, 0)
            if sent is not None:
                answered = self._wait_for_answer(sent, session, deadline)
                if not answered or sent.commit() == sent.SUCCESS:
                    return self._result(sent, writes=True, answered=answered)
            return self._transact(build, deadline, writes=True)

    def wait_for_vswitchd(self, cfg: int, deadline: Deadline) -> bool:
        """Wait until ovs-vswitchd has reached a configuration number.

        :returns: False when it has not by the deadline; or sooner, when a caller has waited for
            `STUCK_AFTER_SECONDS` and seen no progress, and there has been none since.
        """
        with self._changed.lock:
            cfg_seen, seen_at = rows.cur_cfg(self._replica), time.monotonic()
            if self._stuck_at_cfg == cfg_seen:
                LOG.warning(
                    "ovs-vswitchd has made no progress since a caller waited %s s for it: it is "
                    "stuck at configuration %s",
                    STUCK_AFTER_SECONDS,
                    cfg_seen,
                )
                deadline = deadline.at_most(WAIT_FOR_STUCK_SECONDS)

            def reached() -> bool:
                nonlocal cfg_seen, seen_at
                if cfg_seen != (now := rows.cur_cfg(self._replica)):
                    cfg_seen, seen_at = now, time.monotonic()
                return cfg_seen >= cfg

            done = self._wait_for(reached, deadline)
            if not done and time.monotonic() - seen_at >= STUCK_AFTER_SECONDS:
                self._stuck_at_cfg = cfg_seen
        return done

    def read(self, function: Callable[[Replica], T]) -> T:
        """Return what a function makes of the replica as it is; the server is not asked."""
        with self._changed.lock:
            return function(self._replica)

    def wait_for(self, predicate: Callable[[Replica], T], deadline: Deadline) -> T:
        """Wait until something is true of the replica; return the predicate's last value."""
        with self._changed.lock:
            self._wait_for(lambda: bool(predicate(self._replica)), deadline)
            return predicate(self._replica)

    def watch(
        self, names: Collection[str], predicate: Callable[[Replica], T], deadline: Deadline
    ) -> T:
        """Wait until something is true of ports and interfaces; return the last value.

        However many wait, the connection's own thread receives for all of them, and each looks
        only when a row of one of its names has changed: unlike :meth:`wait_for` for many waits
        that take long.

        :param names: of the rows that the predicate looks at.
        :param deadline: the first look is taken even if it has passed.
        :raises NotConnected: the server did not answer, or has gone at the deadline; or the
            connection was closed.
        """
        changed = threading.Event()
        with self._watching(names, changed):
            with self.synchronized(deadline.at_least(FIRST_LOOK_SECONDS)) as replica:
                value = predicate(replica)
            while not (value or self._must_end(deadline)):
                changed.wait(deadline.remaining())
                changed.clear()
                value = self.read(predicate)
        if not value and (self._closed.is_set() or not self.read(Replica.is_connected)):
            reason = self._reason_not_connected(deadline)
            raise errors.NotConnected(remote=self.remote, reason=reason)
        return value

    @contextlib.contextmanager
    def _watching(self, names: Collection[str], changed: threading.Event) -> Iterator[None]:
        with self._changed.lock:
            for name in names:
                self._watchers.setdefault(name, set()).add(changed)
            if self._replica.changed is None:
                self._replica.changed = set()
        self._attention.set()
        try:
            yield
        finally:
            with self._changed.lock:
                for name in names:
                    self._watchers[name].discard(changed)
                    if not self._watchers[name]:
                        del self._watchers[name]
                if not self._watchers:
                    self._replica.changed = None
                    self._changed.notify_all()  # the own thread need not receive any longer

    # The lock is held by all methods below but _keep_alive.

    def _notify_watchers(self, names: Iterable[str]) -> None:
        for name in list(names):
            for watcher in self._watchers.get(name, ()):
                watcher.set()

    def _gather(self, build: Build, deadline: Deadline) -> tuple[Any, int] | None:
        """Wait for callers that are about to commit; return the transaction in which this was
        sent with theirs, None if it was not sent."""
        mine = _Commit(build)
        self._gathered.append(mine)
        try:
            if (seconds := self._seconds_for_others(deadline)) > 0:
                come = deadline.at_most(seconds)
                self._wait_for(lambda: bool(mine.sent) or not callers.are_coming(), come)
            if not mine.sent and len(self._gathered) > 1 and self._replica.is_connected():
                self._send_gathered()
        finally:
            self._gathered.remove(mine)
        return mine.sent

    def _seconds_for_others(self, deadline: Deadline) -> float:
        if self._is_vswitchd_busy():  # and will find all that comes meanwhile
            return 0
        share = min(MOST_FOR_OTHERS, SHARE_FOR_OTHERS * self._took, deadline.remaining() / 2)
        return share - 0.001  # the poller rounds up

    def _send_gathered(self) -> None:
        """Send all that has been gathered, but what cannot be built, in one transaction."""
        commits, wanted = [], []
        for commit in self._gathered:
            with contextlib.suppress(Exception):  # which its caller will meet with, alone
                own = [] if commit.sent else commit.build(self._replica)
                own = self._without_missing_columns(own)
                # A bridge that goes would take ports with it that others of these put on it.
                if own and not any(one["table"] == "Open_vSwitch" for one in own):
                    wanted += own
                    commits.append(commit)
        if len(commits) > 1:
            sent = self._send(wanted, writes=True)
            if sent.commit() != sent.TRY_AGAIN:  # else the connection is broken
                for commit in commits:
                    commit.sent = sent, self._session_number()
                self._changed.notify_all()

    def _is_vswitchd_busy(self) -> bool:
        """Return whether ovs-vswitchd may be going over its configuration: because it was asked
        to, or once more, as links had changed when it had done so."""
        recently = time.monotonic() - self._cfg_seen_at < self._took
        return recently or rows.pending(self._replica) is not None

    def _note_cfg(self) -> None:
        """Note that ovs-vswitchd has come to another configuration, and how long it took."""
        cfg, now = rows.cur_cfg(self._replica), time.monotonic()
        if cfg != self._cfg_seen:
            self._cfg_seen, self._cfg_seen_at = cfg, now
            if self._asked_at is not None:
                self._took, self._asked_at = now - self._asked_at, None

    def _transact(self, build: Build, deadline: Deadline, *, writes: bool) -> int | None:
        self._process_updates()  # the connection may have ended since the last look
        while True:
            self._wait_for_connection(deadline)
            wanted = self._without_missing_columns(build(self._replica))
            if not wanted:
                return None
            sent = self._send(wanted, writes)
            was_sent = sent.commit() != sent.TRY_AGAIN  # else the connection is broken
            session = self._session_number()
            answered = self._wait_for_answer(sent, session, deadline) and was_sent
            if answered or (writes and was_sent) or self._must_end(deadline):
                return self._result(sent, writes=writes and was_sent, answered=answered)
            self._wait_for(lambda: False, deadline.at_most(RETRY_SECONDS))
            # Nothing happened: send it again.

    def _wait_for_answer(self, sent: Any, session: int, deadline: Deadline) -> bool:
        """Wait until a transaction is answered; return False once the session has ended."""
        number = self._session_number
        self._wait_for(lambda: sent.commit() != sent.INCOMPLETE or session != number(), deadline)
        return session == number()

    def _session_number(self) -> int:
        return int(self._replica.session.get_seqno())

    def _without_missing_columns(self, wanted: list[Operation]) -> list[Operation]:
        """Return operations without what this server has no column for (`rows.OPTIONAL`)."""
        columns = {column for _, column in self._replica.session.missing}
        if not columns:
            return wanted
        possible = [
            {**each, "row": {k: v for k, v in each["row"].items() if k not in columns}}
            if "row" in each
            else each
            for each in wanted
        ]
        useful = [each for each in possible if each.get("row") or each["op"] != "update"]
        return useful if any(each["op"] != "wait" for each in useful) else []

    def _must_end(self, deadline: Deadline) -> bool:
        return deadline.expired or self._closed.is_set()

    def _wait_for_connection(self, deadline: Deadline) -> None:
        session, stream = self._replica.session, tls.stream_of(self._remote)
        before = stream.failures

        def failed() -> bool:
            """Return whether there is a failure that waiting does not cure."""
            return bool(session.refusal) or stream.failures > before

        self._wait_for(lambda: self._replica.is_connected() or failed(), deadline)
        if not self._replica.is_connected():
            known = session.refusal or (failed() and stream.problem)
            reason = known or self._reason_not_connected(deadline)
            raise errors.NotConnected(remote=self.remote, reason=reason)

    def _send(self, wanted: list[Operation], writes: bool) -> Any:
        transaction = idl.Transaction(self._replica)
        try:
            if writes:
                rows.switch(self._replica).increment("next_cfg")
            for operation in wanted:
                transaction.add_op(operation)
            transaction.commit()
        except BaseException:
            transaction.abort()
            raise
        if writes and not self._is_vswitchd_busy():
            self._asked_at = time.monotonic()
        if self._replica.session.get_backlog():
            self._wake()  # the thread does not yet wait for the socket to become writable
        return transaction

    def _result(self, sent: Any, *, writes: bool, answered: bool) -> int | None:
        """Return the configuration number of a transaction that wrote, or raise its failure.

        A lost session leaves it "try again", unanswered.
        """
        status = sent.commit()
        if status == sent.SUCCESS:
            return int(sent.get_increment_new_value()) if writes else None
        if status == sent.ERROR:
            self._asked_at = None
            reason = sent.get_error()
            if NAME_EXISTS in reason:
                raise errors.StateChanged(what=reason)
            raise errors.TransactionRefused(reason=reason)
        if status == sent.TRY_AGAIN and answered:
            raise errors.StateChanged(what="a row that the transaction builds on")
        if writes:
            raise errors.OutcomeUnknown(remote=self.remote)
        raise errors.NotConnected(remote=self.remote, reason="it does not answer")

    def _wait_for(self, predicate: Callable[[], bool], deadline: Deadline) -> bool:
        """Return whether a predicate becomes true by the deadline, and before `close`."""
        self._callers += 1
        try:
            if not self._replica.is_connected():
                self._wake()  # the next attempt is made sooner now
            return self._receive_until(predicate, deadline)
        finally:
            self._callers -= 1

    def _receive_until(self, predicate: Callable[[], bool], deadline: Deadline) -> bool:
        while not predicate():
            if self._must_end(deadline):
                return False
            if not self._receiving:
                self._receive(deadline)
            else:
                self._changed.wait(deadline.remaining())
        return True

    def _receive(self, deadline: Deadline) -> None:
        """Wait for the server without the lock, and process what it sends."""
        if self._callers:
            self._replica.session.shorten_backoff(RETRY_SECONDS)
        poller = Poller(deadline)
        self._replica.wait(poller)
        poller.fd_wait(self._wake_read, ovs.poller.POLLIN)
        try:
            self._receiving = True
            self._changed.unlocked(poller.block)
        finally:
            self._receiving = False
            with contextlib.suppress(BlockingIOError):
                self._wake_read.recv(4096)
            self._process_updates()

    def _process_updates(self) -> None:
        """Bring the replica up to what has arrived, unless another thread does."""
        if self._receiving:
            return
        try:
            if not self._closed.is_set():
                self._replica.run()
            if self._replica.is_connected():
                self._logged_failure = ""
                self._note_cfg()
        except Exception as err:
            self._log_failure(err)
            self._replica.fetch_anew()
        except BaseException:  # which interrupts a native thread anywhere
            self._replica.fetch_anew()
            raise
        finally:
            self._changed.notify_all()  # all that wait look, and one of them receives
            if self._replica.changed:
                self._notify_watchers(self._replica.changed)
                self._replica.changed = set()
        self._replica.raise_interruption()

    def _log_failure(self, err: Exception) -> None:
        """Log why the connection is broken, once for each cause."""
        if self._logged_failure != repr(err):
            self._logged_failure = repr(err)
            LOG.exception("The connection to %s failed; reconnecting", self.remote)

    def _reason_not_connected(self, deadline: Deadline) -> str:
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
        """Have the thread that receives look at the connection again."""
        if self._receiving:
            with contextlib.suppress(BlockingIOError):  # full of wake-ups already
                self._wake_write.send(b".")

    def _keep_alive(self) -> None:
        """While no caller waits: process updates, answer probes and send them, connect again."""
        pause: float = KEEP_ALIVE_SECONDS
        while not self._closed.is_set():
            self._attention.wait(pause)
            self._attention.clear()
            with self._changed.lock:
                self._process_updates()
                self._receive_until(
                    lambda: self._replica.is_connected() and not self._watchers, Deadline.never()
                )
                until_probe = self._replica.session.seconds_until_probe()
                pause = KEEP_ALIVE_SECONDS
                if until_probe is not None and not self._receiving:
                    pause = min(pause, until_probe)


#: An operation that changes nothing: its answer comes after every update that preceded it.
_READ: Operation = {
    "op": "select",
    "table": "Open_vSwitch",
    "where": [],
    "columns": ["cur_cfg"],
}

_connections: dict[tuple[type[Connection], str], Connection] = {}
_connecting = threading.Lock()


def get(remote: str) -> Connection:
    """Return the connection of this process to a server, which the first caller makes."""
    return get_as(Connection, remote)


def get_as(kind: type[C], remote: str) -> C:
    """As :func:`get`, of a kind that keeps another replica; there is one of each kind."""
    remote = remotes.normal(remote)
    with _connecting:
        _watch_forks()
        if (kind, remote) not in _connections:
            _connections[kind, remote] = kind(remote)
        found = _connections[kind, remote]
    assert isinstance(found, kind)
    return found


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    """Threads do not survive a fork, and a lock may have been held by one of them."""
    global _connecting
    _connecting = threading.Lock()
    _connections.clear()
    callers.forget()


def close_all() -> None:
    """Drop the connections of this process."""
    with _connecting:
        while _connections:
            _connections.popitem()[1].close()
