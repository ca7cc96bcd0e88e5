# SPDX-License-Identifier: Apache-2.0
"""ovsdbapp's commands on a connection of ours.

ovsdbapp's own connection waits without a deadline (for the schema, for the lock that a commit
holds, for a server that does not answer) and hangs on a class, so that a process gets one. Here
its commands run on :class:`.connection.Connection`, with a replica of the whole database. They
also see what the process has written over its other connection: before each one the server is
asked for what is new.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import ovs.jsonrpc
import ovs.stream
from oslo_log import log as logging
from ovs.db import idl
from ovsdbapp import api as base
from ovsdbapp import exceptions
from ovsdbapp.backend.ovs_idl import idlutils
from ovsdbapp.schema.open_vswitch import impl_idl

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.engine import ATTEMPTS
from vif_plug_ovs.ovsdb import api, connection, remotes, rows, tls
from vif_plug_ovs.ovsdb.poller import Poller
from vif_plug_ovs.ovsdb.python_ovs import Replica

LOG = logging.getLogger(__name__)

DATABASE = "Open_vSwitch"

#: What the servers said their schema is; a replica of the whole database is made of it.
_schemas: dict[str, dict[str, Any]] = {}


def instance(remote: str, timeout: float) -> "Api":
    """Make the object that :func:`vif_plug_ovs.ovsdb.api.get_instance` promises."""
    remote = remotes.normal(remote)
    # Asked for outside of connection.get, where it would hold up those who plug.
    if remote not in _schemas:
        _schemas[remote] = fetch_schema(remote, Deadline(timeout))
    return Api(remote, timeout)


class WholeConnection(connection.Connection):
    """A connection with a replica of everything in the database, statistics too."""

    def __init__(self, remote: str) -> None:
        self._holding = threading.local()
        super().__init__(remote)

    @property
    def tables(self) -> idl.Idl:
        """The replica; to be read by who holds it."""
        return self._replica

    @contextlib.contextmanager
    def holding(self, deadline: Deadline) -> Iterator[None]:
        """Hold the replica with everything in it that the server has now.

        A thread may hold it more than once, as commands do that look something up.

        :raises NotConnected: the server did not answer by the deadline.
        """
        if getattr(self._holding, "already", False):
            yield
            return
        with self.synchronized(deadline):
            self._holding.already = True
            try:
                yield
            finally:
                self._holding.already = False

    def run(self, commands: Sequence[Any], deadline: Deadline) -> tuple[int, list[str]] | None:
        """Run commands in one transaction and wait until the server has accepted it.

        :returns: the configuration number that ovs-vswitchd has to reach and the names of new
            interfaces; None if nothing was to be changed.
        :raises StateChanged: a row that a command builds on has changed.
        :raises TransactionRefused: the server refused it.
        :raises NotConnected: it could not be sent.
        :raises OutcomeUnknown: it was sent and not answered.
        """
        with self.holding(deadline):
            transaction = self._begin(commands)
            session = self._session_number()
            status = transaction.commit()
            if self._replica.session.get_backlog():
                self._wake()
            if status == transaction.UNCHANGED:
                return None
            self._wait_for_answer(transaction, deadline)
            answered = session == self._session_number()
            cfg = self._result(transaction, writes=True, answered=answered)
            for command in commands:
                command.post_commit(transaction)
            return cfg or 0, self._new_interfaces(transaction)

    def _begin(self, commands: Sequence[Any]) -> Any:
        transaction = idl.Transaction(self._replica)
        transaction.expected_ifaces = set()  # where ovsdbapp's AddPortCommand leaves word
        try:
            rows.switch(self._replica).increment("next_cfg")
            for command in commands:
                command.run_idl(transaction)
        except BaseException:
            transaction.abort()
            raise
        return transaction

    def _new_interfaces(self, transaction: Any) -> list[str]:
        found = self._replica.tables["Interface"].rows
        made = (transaction.get_insert_uuid(uuid) for uuid in transaction.expected_ifaces)
        return [found[uuid].name for uuid in made if uuid in found]

    @staticmethod
    def _new_replica(remote: str) -> Replica:
        replica = Replica(remote, _schemas[remote])
        for table in replica.tables.values():
            if column := idlutils.get_index_column(table):
                index = table.rows.index_create(idlutils.index_name(column))
                index.add_column(column)
        return replica


class Api(impl_idl.OvsdbIdl, api.ImplAPI):  # type: ignore[misc]
    """ovsdbapp's commands on a connection that is not tied to the class.

    What the interface promises holds: an error is raised as ovsdbapp would (TimeoutException,
    RuntimeError, or the command's own) if ``check_error`` asks for it, else it is logged; the
    transactions of one thread on one object merge.

    :param remote: see :class:`.connection.Connection`; its schema is known.
    :param timeout: seconds for a command or transaction, 0 for no limit.
    """

    def __init__(self, remote: str, timeout: float) -> None:
        self._session = _Session(remote, timeout)
        super().__init__(self._session, start=False, auto_index=False)

    @property
    def ovsdb_connection(self) -> "_Session":
        """In place of ovsdbapp's, which is one for the class."""
        return self._session

    @ovsdb_connection.setter
    def ovsdb_connection(self, _: object) -> None:
        """It is this object's own, and stays."""

    def create_transaction(
        self, check_error: bool = False, log_errors: bool = True, **_: Any
    ) -> "Transaction":
        """See ``ovsdbapp.api.API.create_transaction``."""
        return Transaction(self._session, check_error, log_errors)

    def has_table_column(self, table: str, column: str) -> bool:
        """See :meth:`vif_plug_ovs.ovsdb.api.ImplAPI.has_table_column`."""
        tables = self.idl.tables
        return table in tables and column in tables[table].columns


class _Session:
    """What ovsdbapp's commands and look-ups use of a connection."""

    def __init__(self, remote: str, timeout: float) -> None:
        self._remote = remote
        self.timeout = timeout

    @property
    def whole(self) -> WholeConnection:
        """The connection of this process; a fork has one of its own."""
        return connection.get_as(WholeConnection, self._remote)

    @property
    def idl(self) -> idl.Idl:
        return self.whole.tables

    @property
    def lock(self) -> contextlib.AbstractContextManager[None]:
        return self._hold()

    @contextlib.contextmanager
    def _hold(self) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self.whole.holding(Deadline(self.timeout)))
            except errors.NotConnected as err:
                raise _timeout([], self.timeout, err) from err
            yield


class Transaction(base.Transaction):  # type: ignore[misc]
    """A transaction of ovsdbapp's commands.

    ``commit`` returns their results. It waits for ovs-vswitchd too, and as with ovsdbapp what that
    does not do in time, or cannot do, is logged.
    """

    def __init__(self, session: _Session, check_error: bool, log_errors: bool) -> None:
        self.commands: list[Any] = []
        self.check_error = check_error
        self.log_errors = log_errors
        self.timeout = session.timeout
        self._session = session

    @property
    def _whole(self) -> WholeConnection:
        return self._session.whole

    def add(self, command: Any) -> Any:
        """Append a command, and return it."""
        self.commands.append(command)
        return command

    def commit(self) -> list[Any] | None:
        """Run the commands; None if that failed and ``check_error`` is not set."""
        try:
            self._commit(Deadline(self.timeout))
        except Exception as err:
            if self.log_errors:
                LOG.error("OVSDB transaction %s failed: %s", self.commands, err)
            if self.check_error:
                _raise_as_ovsdbapp(err, self.commands, self.timeout)
            return None
        return [command.result for command in self.commands]

    def _commit(self, deadline: Deadline) -> None:
        if not self.commands:
            return
        written = self._until_unchanged(deadline)
        if written is None:
            return
        cfg, interfaces = written
        if not self._whole.wait_for_vswitchd(cfg, deadline):
            LOG.error("ovs-vswitchd has not acted on %s in %s s", self.commands, self.timeout)
        elif failed := self._whole.read(lambda idl: _broken(idl, interfaces)):
            LOG.error("ovs-vswitchd could not add the interfaces %s", ", ".join(failed))

    def _until_unchanged(self, deadline: Deadline) -> tuple[int, list[str]] | None:
        for _ in range(ATTEMPTS - 1):
            try:
                return self._whole.run(self.commands, deadline)
            except errors.StateChanged as err:
                LOG.info("%s; once more", err)
        return self._whole.run(self.commands, deadline)


def _broken(tables: idl.Idl, interfaces: Sequence[str]) -> list[str]:
    """Those of some interfaces that ovs-vswitchd has no OpenFlow port for."""
    found = tables.tables["Interface"].rows.values()
    return [row.name for row in found if row.name in interfaces and row.ofport in ([], [-1])]


def _raise_as_ovsdbapp(err: Exception, commands: Sequence[Any], timeout: float) -> NoReturn:
    match err:
        case errors.NotConnected() | errors.OutcomeUnknown():
            raise _timeout(commands, timeout, err) from err
        case errors.WiringError():
            raise RuntimeError(f"OVSDB Error: {err}") from err
    raise err


def _timeout(commands: Sequence[Any], timeout: float, err: Exception) -> Exception:
    failure: Exception = exceptions.TimeoutException(
        commands=commands, timeout=timeout, cause=str(err)
    )
    return failure


def fetch_schema(remote: str, deadline: Deadline) -> dict[str, Any]:
    """Ask a server for the schema of its database.

    One that is not there is tried until the deadline: it may be restarting.

    :raises NotConnected: it cannot be reached by the deadline, or has no such database.
    """
    error, reply = _ask(remote, deadline)
    while error:
        problem = tls.problem(remote)
        if problem or deadline.expired:
            reason = problem or (os.strerror(error) if error > 0 else "it hung up")
            raise errors.NotConnected(remote=remotes.shown(remote), reason=reason)
        time.sleep(deadline.at_most(connection.RETRY_SECONDS).remaining() or 0)
        error, reply = _ask(remote, deadline)
    if reply.error:
        raise errors.NotConnected(remote=remotes.shown(remote), reason=str(reply.error))
    found: dict[str, Any] = reply.result
    return found


def _ask(remote: str, deadline: Deadline) -> tuple[int, Any]:
    """Ask once: an error number of the connection, negative for its end, or the answer."""
    error, stream = ovs.stream.Stream.open(remote)
    if error:
        return error, None
    rpc = ovs.jsonrpc.Connection(stream)
    request = ovs.jsonrpc.Message.create_request("get_schema", [DATABASE])
    try:
        error, reply = rpc.send(request), None
        while not error and reply is None:
            rpc.run()
            error, reply = rpc.recv()
            if error == errno.EAGAIN:
                error = _block(rpc, deadline)
        return error, reply
    finally:
        rpc.close()


def _block(rpc: Any, deadline: Deadline) -> int:
    """Wait for the server; ETIMEDOUT at the deadline."""
    if deadline.expired:
        return errno.ETIMEDOUT
    poller = Poller(deadline)
    rpc.wait(poller)
    rpc.recv_wait(poller)
    poller.block()
    return 0
