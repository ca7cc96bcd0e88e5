# SPDX-License-Identifier: Apache-2.0
"""ovsdbapp's commands and transactions on connections of ours, whose waits have deadlines."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from ovsdbapp import exceptions
from ovsdbapp.backend.ovs_idl import idlutils
from ovsdbapp.schema.open_vswitch import impl_idl

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from vif_plug_ovs.ovsdb import connection
from vif_plug_ovs.ovsdb.python_ovs import Replica

_schemas: dict[str, dict[str, Any]] = {}


def learn_schema(remote: str, deadline: Deadline) -> None:
    """Remember the schema of a server; python-ovs asks for it with each connection."""
    if remote not in _schemas:
        with connection.get(remote).synchronized(deadline) as tables:
            known = tables.server_tables  # None before Open vSwitch 2.9
            found = known and {row.name: row.schema for row in known["Database"].rows.values()}
        whole = found and json.loads(*found["Open_vSwitch"])
        _schemas[remote] = whole or idlutils.fetch_schema_json(remote, "Open_vSwitch")


class WholeConnection(connection.Connection):
    """A connection with a replica of everything in the database, statistics too."""

    @contextlib.contextmanager
    def held(self, deadline: Deadline) -> Iterator[None]:
        """Hold the replica: with all that the server has now, or as a transaction has it."""
        with self._changed.lock:
            in_transaction = self._replica.txn is not None  # of this thread, as the lock is
        try:
            with contextlib.nullcontext() if in_transaction else self.synchronized(deadline):
                yield
        except (errors.NotConnected, errors.OutcomeUnknown) as err:
            late = {"commands": [], "timeout": deadline.seconds, "cause": err}
            raise exceptions.TimeoutException(**late) from err

    def answer(self, sent: Any, deadline: Deadline) -> Any:
        """Commit a transaction and return its status. It is not sent again if that is unknown."""
        sent.commit()
        self._wake()  # for who receives, to send the rest of it
        answered = self._wait_for_answer(sent, self._session_number(), deadline)
        if sent.commit() in (sent.INCOMPLETE, sent.TRY_AGAIN):
            self._result(sent, writes=True, answered=answered)  # raises
        return sent.commit()

    @staticmethod
    def _new_replica(remote: str) -> Replica:
        replica = Replica(remote, _schemas[remote])
        for table in replica.tables.values():
            if column := idlutils.get_index_column(table):
                table.rows.index_create(idlutils.index_name(column)).add_column(column)
        return replica


class Transaction(impl_idl.OvsVsctlTransaction):  # type: ignore[misc]
    """ovsdbapp's, but committed by the thread that asks for it, until its deadline."""

    def commit(self) -> Any:
        """Return the results of the commands; None if one failed and that is not raised."""
        self._deadline = Deadline.of_option(self.timeout)
        while True:
            with self.api.whole.held(self._deadline), contextlib.suppress(errors.StateChanged):
                try:
                    return self.do_commit()
                finally:
                    if self.api.idl.txn:
                        self.api.idl.txn.abort()

    def pre_commit(self, txn: Any) -> None:
        """Have python-ovs' transaction wait for its answer as we do."""
        txn.commit_block = lambda: self.api.whole.answer(txn, self._deadline)
        super().pre_commit(txn)

    def do_post_commit(self, txn: Any) -> None:
        """Wait for ovs-vswitchd; what it has not done is logged."""
        if not self.api.whole.wait_for_vswitchd(txn.get_increment_new_value(), self._deadline):
            raise errors.DeadlineExceeded(seconds=self.timeout, what="ovs-vswitchd has not acted")
        made = map(txn.get_insert_uuid, txn.expected_ifaces)
        found = [row for uuid in made if (row := self.api.tables["Interface"].rows.get(uuid))]
        # ovsdbapp compares the list [-1] with -1, so it misses a device that cannot be opened.
        if failed := [row.name for row in found if row.ofport in ([], [-1])]:
            raise impl_idl.VswitchdInterfaceAddException(ifaces=", ".join(failed))


class Api(impl_idl.OvsdbIdl):  # type: ignore[misc]
    """ovsdbapp's commands; it is its own connection, where ovsdbapp has one for a class."""

    ovsdb_connection: Any = None

    def __init__(self, remote: str, timeout: float) -> None:
        self._remote, self.timeout = remote, timeout
        super().__init__(self, start=False, auto_index=False)

    whole = property(lambda self: connection.get_as(WholeConnection, self._remote))
    idl = property(lambda self: self.whole._replica)
    lock = property(lambda self: self.whole.held(Deadline.of_option(self.timeout)))

    def create_transaction(
        self, check_error: bool = False, log_errors: bool = True, **_: Any
    ) -> Transaction:
        """See ``ovsdbapp.api.API.create_transaction``."""
        return Transaction(self, self, None, check_error, log_errors)

    def has_table_column(self, table: str, column: str) -> bool:
        """See :meth:`vif_plug_ovs.ovsdb.api.ImplAPI.has_table_column`."""
        return table in self.tables and column in self.tables[table].columns
