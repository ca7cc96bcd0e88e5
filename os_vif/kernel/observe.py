# SPDX-License-Identifier: Apache-2.0
"""Read links by name through one rtnetlink socket, without privilege.

Written by hand because every re-plug pays for it: pyroute2 takes 0.3 ms to open its socket and
as much for each answer, this takes a tenth. It asks rtnetlink rather than /sys, whose mount may
show another network namespace than the caller's.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping

from os_vif.kernel import sysctl
from os_vif.limits import NAME_LENGTH
from os_vif.wiring.state import Link, Value

# linux/netlink.h, linux/rtnetlink.h
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_ERROR = struct.Struct("=i")
_NLMSG_ERROR, _NLMSG_DONE, _RTM_GETLINK = 2, 3, 18
_NLM_F_REQUEST, _NLM_F_DUMP_INTR, _NLM_F_DUMP = 0x1, 0x10, 0x300
_NESTED = 0x8000
_SKIP_STATS = 1 << 3  # RTEXT_FILTER_SKIP_STATS

# linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_GROUP, _IFLA_EXT_MASK = 18, 20, 27, 29
_INFO_KIND, _INFO_DATA = 1, 2

# linux/if.h
_IFF_UP, _IFF_PROMISC = 0x1, 0x100

_U32 = struct.Struct("=I")
_Attributes = Mapping[int, bytes]


def links(names: Iterable[str]) -> dict[str, Link]:
    """Read the links of these names in the caller's network namespace; missing ones are left out.

    :raises OSError: the kernel refused to say.
    """
    found = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        for name in names:
            if len(name) <= NAME_LENGTH and (link := _ask(asking, name)):
                found[name] = link
    return found


def _ask(asking: socket.socket, name: str) -> Link | None:
    body = (
        _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + _attribute(_IFLA_EXT_MASK, _U32.pack(_SKIP_STATS))
        + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
    )
    size = _HEADER.size + len(body)
    asking.send(_HEADER.pack(size, _RTM_GETLINK, _NLM_F_REQUEST, 0, 0) + body)
    answer = asking.recv(65536)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        code = -_ERROR.unpack_from(answer, _HEADER.size)[0]
        if code == errno.ENODEV:
            return None
        raise OSError(code, os.strerror(code), name)
    return _decode(name, answer[_HEADER.size :])


def groups() -> dict[int, int]:
    """The group of each link of the caller's network namespace, by its index.

    :raises InterruptedError: links came or went meanwhile, so the answer may lack some.
    :raises OSError: the kernel refused to say.
    """
    request = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _attribute(
        _IFLA_EXT_MASK, _U32.pack(_SKIP_STATS)
    )
    found: dict[int, int] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        size = _HEADER.size + len(request)
        asking.send(_HEADER.pack(size, _RTM_GETLINK, _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0) + request)
        while True:
            for kind, flags, message in _messages(asking.recv(1 << 20)):
                if flags & _NLM_F_DUMP_INTR:
                    raise InterruptedError(errno.EINTR, "links changed while they were listed")
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    code = -_ERROR.unpack_from(message)[0]
                    raise OSError(code, os.strerror(code))
                _, _, index, *_ = _LINK.unpack_from(message)
                found[index] = _u32(_attributes(message[_LINK.size :]).get(_IFLA_GROUP, bytes(4)))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each message."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, flags, *_ = _HEADER.unpack_from(data, at)
        yield kind, flags, data[at + _HEADER.size : at + size]
        at += (size + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def _attributes(data: bytes) -> _Attributes:
    return dict(_each_attribute(data))


def _each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind & ~_NESTED, data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3


def _decode(name: str, message: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(message)
    top = _attributes(message[_LINK.size :])
    info = _attributes(top.get(_IFLA_LINKINFO, b""))
    kind = _text(info.get(_INFO_KIND, b""))
    attributes: dict[str, Value] = {
        "mac": top.get(_IFLA_ADDRESS, b"").hex(":"),
        "mtu": _u32(top[_IFLA_MTU]),
        "up": bool(flags & _IFF_UP),
        "promisc": bool(flags & _IFF_PROMISC),
        "master": _master(top),
        **_kind_attributes(kind, _attributes(info.get(_INFO_DATA, b""))),
        **sysctl.read(name, _SYSCTLS.get(kind, ("disable_ipv6",))),
    }
    return Link(name, kind, _text(top.get(_IFLA_IFALIAS, b"")), attributes, index)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _master(top: _Attributes) -> str:
    if _IFLA_MASTER in top:
        with contextlib.suppress(OSError):  # it may be gone by now
            return socket.if_indextoname(_u32(top[_IFLA_MASTER]))
    return ""


def _u32(value: bytes) -> int:
    return int(_U32.unpack(value)[0])


def _seconds(value: bytes) -> int:
    return _u32(value) // 100  # the kernel counts in USER_HZ


def _flag(value: bytes) -> bool:
    return any(value)  # u8 or u32


#: kind of link -> attribute -> (number in linux/if_link.h, how to read it)
_OF_KIND: dict[str, dict[str, tuple[int, Callable[[bytes], Value]]]] = {
    "bridge": {
        "forward_delay": (1, _seconds),
        "ageing": (4, _seconds),
        "stp": (5, _flag),
        "mcast_snooping": (23, _flag),
    },
    "tun": {"multiqueue": (7, _flag)},
}

#: kind of link -> the sysctls that tell of it what a wiring may want to know
_SYSCTLS = {"bridge": ("disable_ipv6", "arp_ignore", "arp_announce")}


def _kind_attributes(kind: str, data: _Attributes) -> dict[str, Value]:
    return {
        name: read(data[number])
        for name, (number, read) in _OF_KIND.get(kind, {}).items()
        if number in data
    }
