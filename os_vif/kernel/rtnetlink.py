# SPDX-License-Identifier: Apache-2.0
"""The wire format of rtnetlink: messages and attributes, one socket, requests and dumps.

Written by hand for uses where pyroute2 does not serve. Every re-plug reads a few links and every
plug sets some, and pyroute2 takes 0.3 to 0.7 ms to open its socket and as much for each answer;
this takes a tenth. And what the kernel dumps can be sent back to it byte by byte, also where
nobody here knows what it means.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

# linux/netlink.h
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_ERROR = struct.Struct("=i")
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP_INTERRUPTED, _DUMP = 0x1, 0x4, 0x10, 0x300
_SOL_NETLINK, _CAPPED_ACK, _EXTENDED_ACK, _STRICT_CHECK = 270, 10, 11, 12
_EXPLAINED, _EXPLANATION = 0x200, 1  # of an answer: NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG
_NESTED = 0x8000

#: Messages about a link, its attributes and flags (linux/rtnetlink.h, if_link.h, if.h).
NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
ADDRESS, NAME, MTU, PARENT, MASTER = 1, 3, 4, 5, 10
OPERSTATE, LINKINFO, ALIAS, GROUP = 16, 18, 20, 27
INFO_KIND, INFO_DATA = 1, 2
UP, PROMISC = 0x1, 0x100
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change

#: Flags of a request that makes something (linux/netlink.h).
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800

#: Bytes; the kernel's datagrams are smaller.
_LARGEST = 65536
#: asm-generic/socket.h: beyond the host's limits. Bytes that an answer to a change takes there.
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _ANSWER_ROOM = 32, 33, 1024
#: How often a dump is asked for again after something changed under it.
_ATTEMPTS = 10
_U32 = struct.Struct("=I")
_Message = tuple[int, int, bytes]  # type, flags, body


class AnswerLost(OSError):
    """The kernel had no memory for its answer (ENOBUFS): a change may have been made or not."""


class Socket:
    """One rtnetlink socket in the caller's network namespace; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sequence = 0
        self._set(_CAPPED_ACK)
        self._set(_EXTENDED_ACK)

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, kind: int, body: bytes) -> bytes:
        """Ask for one thing; return the body of the answer.

        :param kind: an ``RTM_GET...``.
        :raises OSError: the kernel has no such thing (ENODEV and its like), or will not say.
        """
        (_, _, answer), *_ = self._messages(self._send(kind, _REQUEST, body))
        return answer

    def change(self, kind: int, flags: int, body: bytes) -> None:
        """Ask for one change.

        :param flags: further ones: CREATE, APPEND and the like.
        :raises AnswerLost: it is not known whether it was made.
        :raises OSError: the kernel refused it.
        """
        self._messages(self._send(kind, _REQUEST | _ACK | flags, body))

    def change_all(self, changes: Sequence[tuple[int, int, bytes]]) -> list[OSError | None]:
        """Ask for several changes in one call, so that no kill comes between them.

        The kernel works through all of them before the call returns, those after one that it
        refuses as well (``netlink_rcv_skb`` in net/netlink/af_netlink.c).

        :param changes: type, flags and body of each, as of :meth:`change`.
        :returns: for each what it was refused with, or None; :class:`AnswerLost` where it is not
            known whether it was made.
        :raises OSError: none of them was asked for.
        """
        if not changes:
            return []
        first = self._sequence + 1
        self._sequence += len(changes)
        data = b"".join(
            _message(kind, _REQUEST | _ACK | flags, number, body)
            for number, (kind, flags, body) in enumerate(changes, first)
        )
        self._make_room(len(data), len(changes))
        self._socket.send(data)
        answers = self._waiting_answers()
        lost = AnswerLost(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return [answers.get(number, lost) for number in range(first, self._sequence + 1)]

    def _make_room(self, size: int, answers: int) -> None:
        """Let a request of so many bytes, and all of its answers, into the socket's buffers."""
        with contextlib.suppress(PermissionError):  # older kernels, in a user namespace
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, max(_LARGEST, size + 64))
            room = max(_LARGEST, answers * _ANSWER_ROOM)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, room)

    def _waiting_answers(self) -> dict[int, OSError | None]:
        """Return the answers that are there already: number -> the error that it tells."""
        answers: dict[int, OSError | None] = {}
        self._socket.setblocking(False)  # eventlet waits whatever the flags of a single call say
        while True:
            try:
                datagram = self._receive()
            except BlockingIOError:
                self._socket.setblocking(True)
                return answers
            except AnswerLost:  # perhaps several; others may wait
                continue
            sequence = _HEADER.unpack_from(datagram)[3]
            try:
                list(_answers(datagram, sequence))
                answers[sequence] = None
            except OSError as err:
                answers[sequence] = err

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Ask for everything of a kind; return the bodies of the answers.

        :param kind: an ``RTM_GET...``.
        :raises InterruptedError: it changed each time while it was listed.
        :raises OSError: the kernel will not say.
        """
        for _ in range(_ATTEMPTS):
            answers = list(self._dumped(self._send(kind, _REQUEST | _DUMP, body)))
            if not any(flags & _DUMP_INTERRUPTED for _, flags, _ in answers):
                return [body for kind, _, body in answers if kind != _NLMSG_DONE]
        raise InterruptedError(errno.EINTR, "it changed while it was listed")

    def only_what_is_asked_for(self) -> None:
        """Let the kernel itself leave out of a dump what does not match (Linux 4.20).

        Older kernels ignore that, and dump everything.
        """
        self._set(_STRICT_CHECK)

    def _set(self, option: int) -> None:
        try:
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        except OSError as err:
            if err.errno != errno.ENOPROTOOPT:  # older kernels
                raise

    def _send(self, kind: int, flags: int, body: bytes) -> int:
        """Send a request; return the number that its answers bear."""
        self._sequence += 1
        self._socket.send(_message(kind, flags, self._sequence, body))
        return self._sequence

    def _dumped(self, sequence: int) -> Iterator["_Message"]:
        kind = 0
        while kind != _NLMSG_DONE:
            for kind, flags, body in self._messages(sequence):
                yield kind, flags, body

    def _messages(self, sequence: int) -> list["_Message"]:
        """Return the messages of the next datagram that answers a request.

        Others may come before it: what was not read of the answers to a request that failed.
        """
        messages: list[_Message] = []
        while not messages:
            messages = list(_answers(self._receive(), sequence))
        return messages

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_LARGEST)
        except BlockingIOError:
            raise
        except OSError as err:
            raise AnswerLost(*err.args) from err


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, kind, flags, sequence, 0) + body + bytes(-size % 4)


def _answers(datagram: bytes, sequence: int) -> Iterator[_Message]:
    at = 0
    while at + _HEADER.size <= len(datagram):
        size, kind, flags, its_sequence, _ = _HEADER.unpack_from(datagram, at)
        body = datagram[at + _HEADER.size : at + size]
        if its_sequence == sequence:
            _raise_error(kind, flags, body)
            yield kind, flags, body
        at += (size + 3) & ~3


def _raise_error(kind: int, flags: int, body: bytes) -> None:
    """Raise what an answer says, if it is an error; a dump may end with one, too."""
    if kind in (_NLMSG_ERROR, _NLMSG_DONE) and (code := -_ERROR.unpack_from(body)[0]) > 0:
        said = body[_ERROR.size + (_HEADER.size if kind == _NLMSG_ERROR else 0) :]
        raise OSError(code, os.strerror(code) + (_explanation(said) if flags & _EXPLAINED else ""))


def _explanation(said: bytes) -> str:
    """Return what the kernel says of an error besides its number, if anything (Linux 4.12)."""
    its = dict(attributes(said))
    return f": {its[_EXPLANATION].rstrip(bytes(1)).decode()}" if _EXPLANATION in its else ""


def link_header(index: int, flags: int = 0, change: int = 0) -> bytes:
    """Encode the beginning of a message about a link.

    :param change: which of the flags the kernel is to take over.
    """
    return LINK.pack(0, 0, index, flags, change)


def attribute(kind: int, value: bytes) -> bytes:
    """Encode an attribute."""
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def link_info(kind: str, data: bytes) -> bytes:
    """Make the attribute that only links of a kind have (``IFLA_LINKINFO``).

    :param data: attributes by the numbers of that kind.
    """
    return attribute(LINKINFO, attribute(INFO_KIND, kind.encode()) + attribute(INFO_DATA, data))


def group(number: int) -> bytes:
    """Make the attribute that puts a link into a group."""
    return attribute(GROUP, pack_u32(number))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Decode a row of attributes: their numbers and values."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind & ~_NESTED, data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3


def find(kind: int, message: bytes, at: int) -> bytes | None:
    """Return the value of one attribute of a message; None if it has none of this number.

    :param at: where the attributes begin. The others are not decoded: it is for long lists.
    """
    while at + _ATTRIBUTE.size <= len(message):
        size, its = _ATTRIBUTE.unpack_from(message, at)
        if size < _ATTRIBUTE.size:
            return None
        if its & ~_NESTED == kind:
            return message[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    return None


def pack_u32(value: int) -> bytes:
    """Encode a number of 32 bits."""
    return _U32.pack(value)


def u32(value: bytes) -> int:
    """Decode a number of 32 bits."""
    return int(_U32.unpack(value)[0])
