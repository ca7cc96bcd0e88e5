# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC messages, parsed by the standard library.

python-ovs parses JSON in Python unless its extension in C was built, which PyPI's wheel does not
have; half of a first connection went there. A session of ours differs from python-ovs' in nothing
but how it receives, and nothing of python-ovs is changed for others.
"""

import errno
import json
import re
import time
from collections import deque
from typing import Any, NoReturn

import ovs.jsonrpc
import ovs.timeval
from oslo_log import log as logging
from ovs.db import idl

from vif_plug_ovs.ovsdb import rows, tls

LOG = logging.getLogger(__name__)

_CHUNK = 65_536  # bytes

#: Seconds for an attempt to connect, a TLS handshake included, while somebody waits for it.
CONNECT_SECONDS = 8
#: Seconds for which a greenthread parses updates before others run.
TURN_SECONDS = 0.02

#: What an object may start with, and all up to the next brace that is not in a string. The
#: possessive quantifiers keep it linear.
_START = re.compile(rb"[ \t\r\n]*(?:\{|\Z)")
_TO_A_BRACE = re.compile(rb'[^"{}]*+(?:"(?:[^"\\]++|\\.)*+"[^"{}]*+)*+([{}])', re.DOTALL)


def use_in(tables: idl.Idl) -> idl.Idl:
    """Let a replica that is not connected yet receive with our parser."""
    tables._session = Session(tables)
    tables.cooperative_yield = _Yielding()
    return tables


class _Yielding:
    """Lets other greenthreads run while a large update is parsed, which takes a second or more.

    What interrupts that is raised once the update is in the replica: half of it must not be. In
    native threads the interpreter does it; the sleep costs nothing there.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._interruption: BaseException | None = None

    def __call__(self) -> None:
        if time.monotonic() - self._last < TURN_SECONDS:
            return
        try:
            time.sleep(0)
        except BaseException as error:
            self._interruption = error
        self._last = time.monotonic()

    def raise_interruption(self) -> None:
        """Raise what has interrupted the parsing that has just ended, if anything has."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption


class Objects:
    """Cuts a stream of bytes into the JSON objects that it is made of.

    Only braces and strings are looked at, from the last brace on, so it does not matter much how
    the stream is chopped. What is between them is left to the parser.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._looked_at = 0
        self._depth = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk; return the objects that it completes.

        What does not start like an object is returned as it is, for the parser to refuse.
        """
        self._bytes += chunk
        complete = []
        while end := self._end():
            complete.append(bytes(self._bytes[:end]))
            del self._bytes[:end]
            self._looked_at = self._depth = 0
        return complete

    def _end(self) -> int:
        """Where the first object ends; 0 if its end is still to come."""
        if not self._depth and not _START.match(self._bytes):
            return len(self._bytes)
        while brace := _TO_A_BRACE.match(self._bytes, self._looked_at):
            self._looked_at = brace.end()
            self._depth += 1 if brace[1] == b"{" else -1
            if not self._depth:
                return self._looked_at
        return 0


def parse(text: bytes) -> ovs.jsonrpc.Message:
    """Make a message of the text of a JSON object.

    :raises ValueError: it is no JSON (RFC 8259), not encoded in UTF-8, or no JSON-RPC message.
    """
    try:
        found = json.loads(str(text, "utf-8"), parse_constant=_refuse)
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err
    message = ovs.jsonrpc.Message.from_json(found)
    if isinstance(message, str):
        raise ValueError(message)
    return message


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not in JSON")


class _Connection(ovs.jsonrpc.Connection):  # type: ignore[misc]
    """python-ovs' connection, but for receiving."""

    def __init__(self, stream: ovs.stream.Stream) -> None:
        super().__init__(stream)
        self._objects = Objects()
        self._received: deque[bytes] = deque()
        self._more = True  # until the stream has said that there is not

    def recv(self) -> tuple[int, ovs.jsonrpc.Message | None]:
        """Receive a message; (EAGAIN, None) if none has arrived."""
        while not self.status:
            if self._received:
                return self._parsed(self._received.popleft())
            error, chunk = self.stream.recv(_CHUNK)
            self._more = error != errno.EAGAIN
            if not self._more:
                return error, None
            self._take(error, chunk)
        return self.status, None

    def recv_wait(self, poller: Any) -> None:
        """Have a poller wake up when `recv` has something to do."""
        if self.status or self._more:
            poller.immediate_wake()
        else:
            self.stream.recv_wait(poller)

    def _take(self, error: int, chunk: bytes) -> None:
        if error or not chunk:
            self.error(error or ovs.util.EOF)
            return
        self.received_bytes += len(chunk)
        self._received.extend(self._objects.feed(chunk))

    def _parsed(self, text: bytes) -> tuple[int, ovs.jsonrpc.Message | None]:
        try:
            return 0, parse(text)
        except ValueError as err:
            LOG.warning("%s sent what is no message: %s", tls.shown(self.name), err)
            self.error(errno.EPROTO)
            return self.status, None


class Session(ovs.jsonrpc.Session):  # type: ignore[misc]
    """python-ovs' session with connections of ours.

    :param tables: the replica that uses it.
    """

    rpc: Any
    stream: Any
    reconnect: Any

    def __init__(self, tables: idl.Idl) -> None:
        made = tables._session
        super().__init__(made.reconnect, None, made.remotes)
        self._tables = tables
        #: Why the server lets nobody monitor what the replica is to hold; empty if it does.
        self.refusal = ""
        #: Table and column that the server does not have, and that we can do without.
        self.missing: set[tuple[str, str]] = set()

    def hurry(self, pause: float) -> None:
        """Attempt to connect soon, and give an attempt time.

        python-ovs waits for up to 8 s between attempts, and gives a short attempt up after 1 s,
        however slow the handshake is. The same number of its says both.

        :param pause: seconds from the last attempt to the next.
        """
        if self.rpc is None:
            self.reconnect.backoff = int(1000 * (CONNECT_SECONDS if self.stream else pause))

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
        if self.rpc is not None and not isinstance(self.rpc, _Connection):
            self.rpc = _Connection(self.rpc.stream)  # was made just now, nothing has gone over it
            self.reconnect.backoff = 0  # the next pause is a short one
            self.refusal = ""

    def recv(self) -> ovs.jsonrpc.Message | None:
        """Receive a message; see to it that a refused request to monitor is noticed."""
        message = super().recv()
        if message is None or message.id is None:
            return message
        if message.id == self._tables._monitor_request_id:
            if message.type == message.T_ERROR and message.error != "unknown method":
                self._refused(message.error)
            else:
                self.refusal = ""
        return message

    def _refused(self, error: Any) -> None:
        """Do without a column that this server's schema does not have, if that is possible."""
        said = str(error.get("details", error)) if isinstance(error, dict) else str(error)
        for table, column in rows.OPTIONAL:
            if column in self._tables.tables[table].columns and f" {column} " in f" {said} ":
                LOG.warning("%s: %s; going on without", tls.shown(self.get_name()), said)
                del self._tables.tables[table].columns[column]
                self.missing.add((table, column))
                # not force_reconnect(), which the next message that has arrived would take back
                self.rpc.error(errno.EPROTO)
                return
        self.refusal = f"its schema is not one of Open vSwitch that os-vif knows: {said}"
