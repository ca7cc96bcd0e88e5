# SPDX-License-Identifier: Apache-2.0
"""An error in place of each answer of the kernel (netlink) and of ovsdb-server."""

import errno
import json
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from oslo_config import cfg

from tests.death.hosts import Host
from tests.death.survival import Disturbance, Outcome
from tests.rig.plugin import GROUP, Child
from tests.rig.tracing import PASS, WATCH, Call, Tracer

# Netlink ----------------------------------------------------------------------------------------

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_NO_SUCH_REQUEST = 0x7FF  # beyond RTM_MAX: the kernel does nothing, and answers EOPNOTSUPP
_NLMSG_ERROR = 2


@dataclass(frozen=True)
class NetlinkError:
    """The n-th request of a role is refused, or the n-th answer that it reads is lost.

    A request is refused by the kernel itself, which is given one that it does not know; what it
    says of that is made ENOMEM. An answer is lost as the kernel loses one that it has no memory
    for: the request is executed, and reading fails with ENOBUFS.
    """

    role: str
    number: int
    lost: bool
    kind = "netlink"

    def __str__(self) -> str:
        what = "answer lost" if self.lost else "request refused"
        return f"netlink {what}, number {self.number} of {self.role}"

    def run(self, work: Callable[[], object]) -> Outcome:
        """Do something in a process that meets with it."""
        act = _Lost(self) if self.lost else _Refused(self)
        trace = Tracer(act).run(work)
        return Outcome(act.hit, act.left <= 0, trace.ended, trace.error)


class _Netlink:
    """Counts until it is time."""

    def __init__(self, what: NetlinkError) -> None:
        self.what = what
        self.left = what.number
        self.hit: str | None = None

    def is_concerned(self, call: Call, name: str) -> bool:
        """Whether a call is of the role, of that name and on a netlink socket."""
        return (call.role, call.name) == (
            self.what.role,
            name,
        ) and call.family() == socket.AF_NETLINK


class _Lost(_Netlink):
    def __call__(self, call: Call) -> frozenset[str] | str:
        if call.returned is not None:
            if call.returned > 0 and self.hit is None:
                call.fail(errno.ENOBUFS)
                self.hit = f"answer of {call.returned} bytes to the {call.role}"
            return PASS
        if self.hit or not self.is_concerned(call, "recvfrom"):
            return PASS
        self.left -= 1
        return PASS if self.left else WATCH


class _Refused(_Netlink):
    #: That of the request, until its answer has been changed.
    sequence: int | None = None

    def __call__(self, call: Call) -> frozenset[str] | str:
        if call.returned is not None:
            if call.returned > 0:
                self._explain(call, call.buffer(call.returned))
            return PASS
        if self.hit:
            return (
                WATCH
                if self.sequence is not None and self.is_concerned(call, "recvfrom")
                else PASS
            )
        if self.is_concerned(call, "sendto"):
            self._refuse(call, call.buffer(call.arguments[2]))
        return PASS

    def _refuse(self, call: Call, data: bytes) -> None:
        at = 0
        while at + _HEADER.size <= len(data) and not self.hit:
            size, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            self.left -= 1
            if not self.left:
                call.change_buffer(struct.pack("=H", _NO_SUCH_REQUEST), at + 4)
                self.hit, self.sequence = f"request of type {kind} of the {call.role}", sequence
            at += (size + 3) & ~3

    def _explain(self, call: Call, data: bytes) -> None:
        at = 0
        while at + _HEADER.size <= len(data):
            size, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            if (kind, sequence) == (_NLMSG_ERROR, self.sequence):
                call.change_buffer(struct.pack("=i", -errno.ENOMEM), at + _HEADER.size)
                self.sequence = None
            at += (size + 3) & ~3


# OVSDB ------------------------------------------------------------------------------------------

#: How a request fails.
FAULTS = ("refused", "operation refused", "not sent", "not answered")
_ERROR = {"error": "resources exhausted", "details": "injected"}


@dataclass(frozen=True)
class OvsdbError:
    """The n-th request is refused, or the connection is lost before or after it."""

    remote: str
    number: int
    fault: str
    kind = "OVSDB"

    def __str__(self) -> str:
        return f"OVSDB request {self.number} {self.fault}"

    def run(self, work: Callable[[], object]) -> Outcome:
        """Do something in a process whose connections to the database meet with it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            end, ended = os.pipe()

            def relay() -> tuple[str | None, bool]:
                os.close(ended)
                return _Relay(listener, self, end).run()

            def connected() -> None:
                cfg.CONF.set_override("ovsdb_connection", f"tcp:127.0.0.1:{port}", group=GROUP)
                work()

            with Child(relay) as relaying:
                os.close(end)
                with Child(connected) as child:
                    error = _error_of(child)
                os.close(ended)
                hit, reached = relaying.result()
                return Outcome(hit, reached, True, error)


def _error_of(child: Child) -> Exception | None:
    try:
        child.result()
    except Exception as error:
        return error
    return None


class _Relay:
    """Forwards messages between clients and a server, but for one request, until it is told."""

    def __init__(self, listener: socket.socket, what: OvsdbError, end: int) -> None:
        self._listener, self._end, self._what = listener, end, what
        self._left = what.number
        self._hit: str | None = None
        #: Each socket's other one, and what was received of it and is not a whole message.
        self._others: dict[socket.socket, socket.socket] = {}
        self._parts: dict[socket.socket, str] = {}
        self._clients: set[socket.socket] = set()
        #: The request whose answer is to be lost, by its client.
        self._doomed: dict[socket.socket, Any] = {}

    def run(self) -> tuple[str | None, bool]:
        """Return what went wrong, if anything, and whether there were so many requests."""
        while True:
            ready, _, _ = select.select([self._listener, self._end, *self._others], [], [])
            if self._end in ready:
                return self._hit, self._left <= 0
            for one in ready:
                if one is self._listener:
                    self._accept()
                elif one in self._others:
                    with suppress(OSError):
                        self._receive(one)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._what.remote.removeprefix("unix:"))
        self._others.update({client: server, server: client})
        self._parts.update({client: "", server: ""})
        self._clients.add(client)

    def _receive(self, source: socket.socket) -> None:
        data = source.recv(1 << 20)
        if not data:
            self._close(source)
            return
        self._parts[source] += data.decode("latin-1")
        for text, message in self._messages(source):
            if source in self._clients:
                self._asked(source, text, message)
            else:
                self._answered(source, text, message)

    def _messages(self, source: socket.socket) -> Iterator[tuple[str, Any]]:
        while self._parts.get(source, "").strip():
            text = self._parts[source].lstrip()
            try:
                message, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                return
            self._parts[source] = text[end:]
            yield text[:end], message

    def _asked(self, client: socket.socket, text: str, message: Any) -> None:
        method = message.get("method")
        self._left -= method not in (None, "echo")
        fault = self._what.fault
        if method in (None, "echo") or self._left or self._hit:
            self._send(self._others[client], text)
        elif fault == "not sent":
            self._hit = f"{method} {fault}"
            self._close(client)
        elif fault == "not answered":
            self._doomed[client] = message["id"]
            self._send(self._others[client], text)
        elif fault == "refused" or method == "transact":
            self._hit = f"{method} {fault}"
            refused = fault == "refused"
            answer = {"id": message["id"], "result": None if refused else [_ERROR]}
            self._send(client, json.dumps({**answer, "error": _ERROR if refused else None}))
        else:
            self._send(self._others[client], text)

    def _answered(self, server: socket.socket, text: str, message: Any) -> None:
        client = self._others[server]
        if client in self._doomed and self._doomed[client] == message.get("id"):
            self._hit = "answer lost"
            self._close(client)
        else:
            self._send(client, text)

    def _send(self, target: socket.socket, text: str) -> None:
        target.sendall(text.encode("latin-1"))

    def _close(self, one: socket.socket) -> None:
        for each in (one, self._others[one]):
            del self._others[each], self._parts[each]
            each.close()


# All of them ------------------------------------------------------------------------------------


def refusals(host: Host) -> Iterator[Iterator[Disturbance]]:
    """Return rows that have no end: a verb is done with when it does not come so far."""
    for role in ("process", "helper"):
        for lost in (False, True):
            yield map(partial(NetlinkError, role, lost=lost), count(1))
    for fault in FAULTS if host.remote else ():
        yield map(partial(OvsdbError, host.remote, fault=fault), count(1))
