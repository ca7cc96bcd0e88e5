# SPDX-License-Identifier: Apache-2.0
"""The only module that relies on what python-ovs keeps to itself.

That is attributes with a leading underscore, and the inner parts of its sessions.
tests/unit/ovs/test_python_ovs.py names each of them, and the versions of python-ovs that have it.
Nothing of python-ovs is changed for its other users in the process.
"""

import errno
import socket
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import ovs.jsonrpc
import ovs.stream
import ovs.timeval
import ovs.util
from oslo_log import log as logging
from ovs.db import data, idl, types

from vif_plug_ovs.ovsdb import messages, remotes

LOG = logging.getLogger(__name__)

Row = Any  # ovs.db.idl.Row

#: Seconds for an attempt to connect, a TLS handshake included, while a caller waits for it.
CONNECT_SECONDS = 8
#: Seconds for which a greenthread parses updates before others run.
YIELD_SECONDS = 0.02

#: What the row of the table Open_vSwitch is called, by ovs-vsctl too.
SWITCH = "."

_CHUNK_BYTES = 65_536


class Replica(idl.Idl):  # type: ignore[misc]
    """python-ovs' replica of a database, unconnected until its first ``run``.

    :param remote: where the server listens, in the form that python-ovs takes.
    :param schema: of what is replicated (RFC 7047, section 3.2).
    :param optional: tables and columns of it that a server may lack.
    """

    def __init__(
        self, remote: str, schema: Mapping[str, Any], optional: Collection[tuple[str, str]] = ()
    ) -> None:
        helper = idl.SchemaHelper(schema_json=schema)
        helper.register_all()
        super().__init__(remote, helper)
        self.session = Session(self, optional)
        self._session = self.session
        self._yielded_at = time.monotonic()
        self._interruption: BaseException | None = None
        #: Names of the ports and interfaces that have changed since this was emptied, and `SWITCH`
        #: for its ids, not its counters; None where nobody wants to know.
        self.changed: set[str] | None = None

    def notify(self, event: str, row: Row, updates: Row | None = None) -> None:
        """Called by python-ovs with each row that has come, changed or gone."""
        if self.changed is None:
            return
        if row._table.name in ("Port", "Interface"):
            self.changed.add(scalar(row, "name"))
        elif row._table.name == "Open_vSwitch" and "external_ids" in (updates or row)._data:
            self.changed.add(SWITCH)

    def add_index(self, table: str, name: str, key: Callable[[Row], str]) -> None:
        """Index the rows of a table as ``tables[table].rows.indexes[name]``."""
        self.tables[table].rows.indexes[name] = _Index(key)

    def is_connected(self) -> bool:
        """Return whether the replica is filled and follows the server."""
        return bool(self.state == self.IDL_S_MONITORING and self.session.is_connected())

    def fetch_anew(self) -> None:
        """Connect again and fetch everything: half an update may be in the replica."""
        self.last_id = str(uuid.UUID(int=0))
        self.session.force_reconnect()  # Idl.force_reconnect would not pause before it

    def cooperative_yield(self) -> None:
        """Let other greenthreads run while a large update, which takes a second, is parsed.

        What interrupts that is raised once the update is in the replica: half of it must not be.
        In native threads the interpreter does it; the sleep costs nothing there.
        """
        if time.monotonic() - self._yielded_at < YIELD_SECONDS:
            return
        try:
            time.sleep(0)
        except BaseException as error:
            self._interruption = error
        self._yielded_at = time.monotonic()

    def raise_interruption(self) -> None:
        """Raise what has interrupted the parsing that has just ended, if anything has."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption

    def _Idl__clear(self) -> None:
        """As python-ovs', but keep the indexes, which python-ovs 3.5.0 drops with the rows."""
        kept = {name: table.rows for name, table in self.tables.items()}
        super()._Idl__clear()
        for name, rows in kept.items():
            rows.clear()
            self.tables[name].rows = rows


class _Index:
    """Rows by a key. python-ovs' own is a list sorted by comparisons in Python."""

    columns = ()  # none that python-ovs would have to look after: we change no Row objects

    def __init__(self, key: Callable[[Row], str]) -> None:
        self._key = key
        self._rows: defaultdict[str, dict[uuid.UUID, Row]] = defaultdict(dict)

    def add(self, row: Row) -> None:
        """Called by python-ovs with each row that is new, or was changed."""
        self._rows[self._key(row)][row.uuid] = row

    def remove(self, row: Row) -> None:
        """Called by python-ovs with each row that goes, or is about to be changed."""
        key = self._key(row)
        del self._rows[key][row.uuid]
        if not self._rows[key]:
            del self._rows[key]

    def clear(self) -> None:
        """Called by python-ovs when it fetches everything anew."""
        self._rows.clear()

    def get(self, key: str) -> list[Row]:
        """Return the rows of a key; a name has two for a moment, when a row replaces another."""
        return list(self._rows.get(key, {}).values())


# A Row's attributes copy and convert a value several times, and make Row objects of all that it
# refers to; these functions read the value itself.


def scalar(row: Row, column: str, default: Any = None) -> Any:
    """Return the one value of a column, or the default if it has none or the server lacks it."""
    if column not in row._data:
        return default
    return next((atom.value for atom in row._data[column].values), default)


def members(row: Row, column: str) -> list[Any]:
    """Return the values of a column that holds a set; UUIDs for references."""
    return [atom.value for atom in row._data[column].values]


def mapping(row: Row, column: str) -> dict[str, str]:
    """Return the map of strings that a column holds."""
    return {key.value: value.value for key, value in row._data[column].values.items()}


def map_value(column: str, key: str) -> Callable[[Row], str]:
    """Return what reads one value of a column with a map of strings, empty if there is none."""
    atom = data.Atom(types.StringType, key)

    def value(row: Row) -> str:
        found = row._data[column].values.get(atom)
        return str(found.value) if found else ""

    return value


def first_referrer(rows: Iterable[Row], column: str, key: uuid.UUID) -> Row | None:
    """Return the first of some rows whose column refers to the row of that UUID, or None."""
    atom = data.Atom(types.UuidType, key)
    return next((row for row in rows if atom in row._data[column].values), None)


class Session(ovs.jsonrpc.Session):  # type: ignore[misc]
    """python-ovs' session, whose connections receive with :mod:`.messages`.

    :param replica: whose session it becomes.
    """

    rpc: Any
    stream: Any
    reconnect: Any

    def __init__(self, replica: Replica, optional: Collection[tuple[str, str]]) -> None:
        theirs: Any = replica._session
        super().__init__(theirs.reconnect, None, theirs.remotes)
        self._replica = replica
        self._optional = optional
        #: Why the server lets nobody monitor what the replica is to hold; empty if it does.
        self.refusal = ""
        #: Tables and columns that the server does not have, and that we can do without.
        self.missing: set[tuple[str, str]] = set()

    def shorten_backoff(self, pause: float) -> None:
        """Attempt to connect soon, and give an attempt time.

        python-ovs waits for up to 8 s between attempts, and gives a short attempt up after 1 s,
        however slow the handshake is. One number of its session stands for both.

        :param pause: seconds from the last attempt to the next.
        """
        if self.rpc is None:
            self.reconnect.backoff = int(1000 * (CONNECT_SECONDS if self.stream else pause))

    def seconds_until_probe(self) -> float | None:
        """Return when to find out whether the server is still there; None for never."""
        milliseconds: int | None = self.reconnect.timeout(ovs.timeval.msec())
        return None if milliseconds is None else milliseconds / 1000

    def run(self) -> None:
        """Connect, send what could not be sent yet; drop the connection when it is broken.

        What python-ovs raises while it connects is a failed attempt, before which it pauses.
        """
        try:
            super().run()
        except Exception:
            if self.rpc is None:
                self.reconnect.connect_failed(ovs.timeval.msec(), errno.EPROTO)
            raise
        if self.rpc is not None and not isinstance(self.rpc, RpcConnection):
            self.rpc = RpcConnection(self.rpc.stream)  # made just now, nothing has gone over it
            self.reconnect.backoff = 0  # the next pause is a short one
            self.refusal = ""

    def recv(self) -> ovs.jsonrpc.Message | None:
        """Receive a message; note a refused request to monitor, which python-ovs ignores."""
        message = super().recv()
        if message is None or message.id is None:
            return message
        if message.id == self._replica._monitor_request_id:
            if message.type == message.T_ERROR and message.error != "unknown method":
                self._refused(message.error)
            else:
                self.refusal = ""
        return message

    def _refused(self, error: Any) -> None:
        """Do without a column that this server's schema does not have, if that is possible."""
        said = str(error.get("details", error)) if isinstance(error, dict) else str(error)
        for table, column in self._optional:
            columns = self._replica.tables[table].columns
            if column in columns and f" {column} " in f" {said} ":
                LOG.warning("%s: %s; going on without", remotes.shown(self.get_name()), said)
                del columns[column]
                self.missing.add((table, column))
                # not force_reconnect(), whose effect the next message that has arrived would end
                self.rpc.error(errno.EPROTO)
                return
        self.refusal = f"its schema is not one of Open vSwitch that os-vif knows: {said}"


class RpcConnection(ovs.jsonrpc.Connection):  # type: ignore[misc]
    """python-ovs' connection, but for receiving."""

    def __init__(self, stream: ovs.stream.Stream) -> None:
        super().__init__(stream)
        self._objects = messages.Objects()
        self._received: deque[bytes] = deque()
        self._more = True  # until the stream has said that there is not

    def recv(self) -> tuple[int, ovs.jsonrpc.Message | None]:
        """Receive a message; (EAGAIN, None) if none has arrived."""
        while not self.status:
            if self._received:
                return self._parsed(self._received.popleft())
            error, chunk = self.stream.recv(_CHUNK_BYTES)
            self._more = error != errno.EAGAIN
            if not self._more:
                return error, None
            if error or not chunk:
                self.error(error or ovs.util.EOF)
            else:
                self.received_bytes += len(chunk)
                self._received.extend(self._objects.feed(chunk))
        return self.status, None

    def recv_wait(self, poller: Any) -> None:
        """Have a poller wake up when `recv` has something to do."""
        if self.status or self._more:
            poller.immediate_wake()
        else:
            self.stream.recv_wait(poller)

    def _parsed(self, text: bytes) -> tuple[int, ovs.jsonrpc.Message | None]:
        try:
            return 0, messages.parse(text)
        except ValueError as err:
            LOG.warning("%s sent what is not a message: %s", remotes.shown(self.name), err)
            self.error(errno.EPROTO)
            return self.status, None


class SslStream(ovs.stream.SSLStream):  # type: ignore[misc]
    """python-ovs' stream over TLS, whose sockets a subclass opens."""

    @classmethod
    def open_socket(cls, address: str, dscp: int) -> tuple[int, socket.socket | None]:
        """Return an error number, 0 for none, and a socket that connects meanwhile."""
        raise NotImplementedError

    @classmethod
    def _open(cls, suffix: str, dscp: int) -> tuple[int, socket.socket | None]:
        return cls.open_socket(suffix, dscp)
