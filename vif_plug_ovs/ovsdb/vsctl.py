# SPDX-License-Identifier: Apache-2.0
"""OVSDB by way of the program ``ovsdb-client``: deprecated, and as truthful as the native driver.

What is sent is the same (:mod:`vif_plug_ovs.ovsdb.operations`), but each transaction is sent by a
program of its own, which the privileged daemon runs (:mod:`vif_plug_ovs.ovsdb.client`); and what
is read goes into a replica of its own, made of the rows that were asked for. A verb that finds
nothing to do reads once; another reads to observe and to commit, writes once, and reads until
ovs-vswitchd has caught up and opened the devices. No program waits for ovs-vswitchd: it would
keep one of the daemon's few threads from other calls. After a lost connection the engine observes
again: whatever a client had sent, the server has processed before it answers a later one.
"""

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from typing import Any

from ovs.db import idl

from os_vif.kernel import daemon
from os_vif.wiring import errors, steps
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.ownership import IFACE_ID
from os_vif.wiring.state import Port
from vif_plug_ovs.ovsdb import client, remotes, rows
from vif_plug_ovs.ovsdb.backend import NativeRows
from vif_plug_ovs.ovsdb.connection import (
    FIRST_LOOK_SECONDS,
    NAME_EXISTS,
    RETRY_SECONDS,
    STUCK_AFTER_SECONDS,
)
from vif_plug_ovs.ovsdb.operations import Operation, operations
from vif_plug_ovs.ovsdb.python_ovs import Replica
from vif_plug_ovs.ovsdb.tls import Credentials
from vif_plug_ovs.shapes import names

#: Above so many ports whole tables are read; an argument of a program has 128 KiB at most.
_MANY_PORTS = 100
#: A column that a server may lack: to ask for it is refused then.
_NOT_READ = ("Open_vSwitch", "dpdk_initialized")
#: Seconds between two reads of what ovs-vswitchd does.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0
_LAST_READ_SECONDS = 0.15  # for reading although the deadline has come
#: Seconds to wait for an ovs-vswitchd that is stuck; a read and a pause are added to them.
_WAIT_FOR_STUCK_SECONDS = 3

#: Remote -> ``cur_cfg`` that stayed while a caller waited for STUCK_AFTER_SECONDS.
_stuck: dict[str, int] = {}


class VsctlRows(NativeRows):
    """The rows of an Open_vSwitch database through ``ovsdb-client``, for one verb.

    What asks the server may raise InvalidValue, too: a file of the credentials is bad.

    :param remote: where the server listens; ``credentials`` are for ``ssl:``.
    :raises InvalidValue: the remote is malformed; see :func:`.remotes.normal`.
    """

    def __init__(self, remote: str, credentials: Credentials | None = None) -> None:
        super().__init__(remotes.normal(remote))
        files = () if credentials is None else astuple(credentials)
        self._files = [os.path.abspath(path) if path else "" for path in files]

    def _tables(
        self, deadline: Deadline, ports: Collection[str] | None = None
    ) -> AbstractContextManager[Replica]:
        return contextlib.nullcontext(self._read(_selects_for(ports), deadline))

    def _watch(
        self, ports: Collection[str], is_ready: Callable[[Replica], bool], deadline: Deadline
    ) -> None:
        any(map(is_ready, self._reads(_selects_for(None), deadline, FIRST_LOOK_SECONDS)))

    def names_of(self, value: str, deadline: Deadline, key: str = IFACE_ID) -> list[str]:
        """See :meth:`vif_plug_ovs.ovsdb.backend.NativeRows.names_of`."""
        having = ["external_ids", "includes", ["map", [[key, value]]]]
        return rows.names_of(self._read([_select("Interface", having)], deadline), value, key)

    def commit(self, plan: Sequence[steps.RowStep], deadline: Deadline) -> int | None:
        """See :meth:`os_vif.wiring.engine.Rows.commit`.

        :raises NotConnected: the server cannot be reached by the deadline; nothing was written.
        """
        selects = _selects_for([step.name for step in plan])
        if any(isinstance(step, steps.ReopenPort) for step in plan):
            selects.append(_select("Interface"))  # whose ofports are in use
        replica = self._read(selects, deadline)
        wanted = operations(plan, rows.Lookup(replica), time.time())
        return self._write(wanted, replica, deadline) if wanted else None

    def count_up(self, deadline: Deadline) -> int:
        """See :meth:`os_vif.wiring.engine.Rows.count_up`."""
        return self._write([], self._read([_select("Open_vSwitch")], deadline), deadline)

    def wait_for_vswitchd(self, cfg: int, deadline: Deadline) -> bool:
        """See :meth:`os_vif.wiring.engine.Rows.wait_for_vswitchd`.

        An ovs-vswitchd that was found stuck, and has not moved since, is not waited for long.
        """
        began, stuck_at = time.monotonic(), _stuck.get(self._remote)
        seen: list[int] = []
        try:
            for replica in self._reads([_select("Open_vSwitch")], deadline):
                seen.append(rows.cur_cfg(replica))
                waited = time.monotonic() - began
                if seen[-1] >= cfg:
                    return True
                if seen[0] == stuck_at and waited >= _WAIT_FOR_STUCK_SECONDS:
                    break
        except errors.NotConnected:
            return False
        if seen[0] == seen[-1] and waited >= STUCK_AFTER_SECONDS:
            _stuck[self._remote] = seen[0]
        return False

    def device_states(
        self, ports: Mapping[str, int], deadline: Deadline, *, wait: bool
    ) -> Mapping[str, Port]:
        """See :meth:`os_vif.wiring.engine.Rows.device_states`; it may raise NotConnected, too."""
        for replica in self._reads(_selects_for(ports), deadline):
            found = rows.ports(replica, dict.fromkeys(ports, ""))
            if not wait or all(port.works_with(ports[name]) for name, port in found.items()):
                break
        return found

    def _reads(
        self, selects: list[Operation], deadline: Deadline, last: float = _LAST_READ_SECONDS
    ) -> Iterator[Replica]:
        """Read again and again until the deadline has come, and once more then.

        Each pause is a quarter of the time that has passed.

        :param last: seconds for the last read.
        """
        began = time.monotonic()
        while True:
            yield self._read(selects, deadline.at_least(last))
            if deadline.expired:
                return
            pause = min(max((time.monotonic() - began) / 4, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            time.sleep(min(pause, deadline.remaining()))

    def _read(self, selects: list[Operation], deadline: Deadline) -> Replica:
        """Read rows into a replica of their own, which never connects.

        :raises: as :meth:`observe`, and TransactionRefused: the server does not look for that.
        """
        answers = self._transact(selects, deadline)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for select, answer in zip(selects, answers, strict=True):
            for row in answer["rows"]:
                found.setdefault((select["table"], row.pop("_uuid")[1]), {}).update(row)
        tables = rows.new_replica(self._remote)
        tables.session.missing.add(_NOT_READ)
        for (name, key), row in found.items():
            table, of_row = tables.tables[name], uuid.UUID(key)
            table.rows[of_row] = idl.Row.from_json(tables, table, of_row, row)
        return tables

    def _write(self, wanted: Sequence[Operation], before: Replica, deadline: Deadline) -> int:
        """Send operations, perhaps none, with a new number of the configuration; return that."""
        here = [["_uuid", "==", ["uuid", str(rows.switch(before).uuid)]]]
        root: Operation = {"table": "Open_vSwitch", "where": here}
        count = {"op": "mutate", **root, "mutations": [["next_cfg", "+=", 1]]}
        read = {"op": "select", **root, "columns": ["next_cfg"]}
        *_, last = self._transact([*wanted, count, read], deadline, writes=True)
        if not last["rows"]:
            raise errors.StateChanged(what="the row in the table Open_vSwitch is gone")
        return int(last["rows"][0]["next_cfg"])

    def _transact(
        self, wanted: Sequence[Operation], deadline: Deadline, *, writes: bool = False
    ) -> list[Any]:
        """Send one transaction, again while the server cannot be reached; return its results.

        :raises: as :meth:`commit`.
        """
        status, said = 0, ""
        while True:
            try:
                request = (self._remote, self._files, list(wanted))
                status, said = daemon.call(
                    client.transact, *request, deadline=deadline, grace=client.GRACE
                )
            except (errors.DeadlineExceeded, errors.StateChanged):  # or the daemon has ended
                status, said = 1, f"{client.NOT_ANSWERED}it does not answer)"
            except errors.NotConnected:
                if not said:  # else that is why, and not that no time is left
                    raise
            except UnicodeError as err:  # on the way to the daemon
                raise errors.TransactionRefused(reason=str(err)) from None
            if status < 0:  # perhaps after it had sent it
                said = f"{client.NOT_ANSWERED}the program was killed by signal {-status})"
            if not status:
                return _results(wanted, json.loads(said))
            if writes and said.startswith(client.NOT_ANSWERED):
                raise errors.OutcomeUnknown(remote=self._remote)
            if not said.startswith((client.NOT_SENT, client.NOT_ANSWERED)):
                raise errors.TransactionRefused(reason=said)
            if deadline.remaining() <= RETRY_SECONDS:
                reason = f"{said} (after {deadline.elapsed()} s)"
                raise errors.NotConnected(remote=self._remote, reason=reason)
            time.sleep(RETRY_SECONDS)


def _results(wanted: Sequence[Operation], answer: list[Any]) -> list[Any]:
    """Return the results; one more than operations is an error of the whole transaction.

    :raises WiringError: StateChanged or TransactionRefused; nothing was written.
    """
    for operation, result in zip([*wanted, {}], answer, strict=False):
        if not result or "error" not in result:
            continue
        reason = f"{result['error']}: {result.get('details', '')}"
        if result["error"] == "timed out":
            reason = f"a row of {operation['table']} is not {operation['rows']}"
        elif NAME_EXISTS not in reason:
            raise errors.TransactionRefused(reason=reason)
        raise errors.StateChanged(what=reason)
    return answer


# What is read (RFC 7047, section 5.2.2) ----------------------------------------------------------


def _selects_for(ports: Collection[str] | None) -> list[Operation]:
    """Return the operations that read the switch, all bridges, and the rows of some ports.

    :param ports: their names; None for all rows.
    """
    if ports is None or len(ports) > _MANY_PORTS:
        return [_select(table) for table in rows.SCHEMA["tables"]]
    selects = [_select("Open_vSwitch"), _select("Bridge")]
    for port in ports:
        selects += [_select(table, ["name", "==", port]) for table in ("Port", "Interface")]
        ours = ["map", [["id", names.qos_id(port)]]]
        selects.append(_select("QoS", ["external_ids", "includes", ours]))
    return selects


def _select(table: str, *where: list[Any]) -> Operation:
    """Return the operation that reads the columns of rows that we use."""
    ours = rows.SCHEMA["tables"][table]["columns"]
    columns = ["_uuid", *(column for column in ours if (table, column) != _NOT_READ)]
    return {"op": "select", "table": table, "where": list(where), "columns": columns}
