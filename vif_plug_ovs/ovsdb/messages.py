# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC messages, parsed by the standard library.

python-ovs parses JSON in Python unless its extension in C was built, which PyPI's wheel does not
have; half of a first connection went there. A session of ours differs from python-ovs' in nothing
but how it receives, and nothing of python-ovs is changed for others.
"""

import errno
import json
import re
from collections import deque
from typing import Any, NoReturn

import ovs.jsonrpc
from oslo_log import log as logging
from ovs.db import idl

from vif_plug_ovs.ovsdb import tls

LOG = logging.getLogger(__name__)

_CHUNK = 65_536  # bytes

#: What an object may start with, and all up to the next brace that is not in a string. The
#: possessive quantifiers keep it linear.
_START = re.compile(rb"[ \t\r\n]*(?:\{|\Z)")
_TO_A_BRACE = re.compile(rb'[^"{}]*+(?:"(?:[^"\\]++|\\.)*+"[^"{}]*+)*+([{}])', re.DOTALL)


def use_in(tables: idl.Idl) -> idl.Idl:
    """Let a replica that is not connected yet receive with our parser."""
    made = tables._session
    tables._session = _Session(made.reconnect, None, made.remotes)
    return tables


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


class _Session(ovs.jsonrpc.Session):  # type: ignore[misc]
    """python-ovs' session with connections of ours."""

    rpc: Any

    def run(self) -> None:
        """Connect, send what could not be sent yet; drop the connection when it is broken."""
        super().run()
        if self.rpc is not None and not isinstance(self.rpc, _Connection):
            self.rpc = _Connection(self.rpc.stream)  # was made just now, nothing has gone over it
