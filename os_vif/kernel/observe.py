# SPDX-License-Identifier: Apache-2.0
"""Read links by name, without privilege.

It asks rtnetlink rather than /sys, whose mount may show another network namespace than the
caller's.
"""

import contextlib
import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from os_vif.kernel import rtnetlink, sysctl
from os_vif.validate import NAME_LENGTH
from os_vif.wiring.state import Link, Value

# linux/rtnetlink.h, linux/if_addr.h
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_RTM_GETADDR = 22
_SKIP_STATS = 1 << 3  # RTEXT_FILTER_SKIP_STATS
_SCOPE_LINK = 253

# linux/if_link.h, linux/if_addr.h
_IFLA_IFNAME, _IFLA_LINK, _IFLA_EXT_MASK = 3, 5, 29
_IFLA_STATS64, _IFLA_CARRIER, _IFLA_LINK_NETNSID = 23, 33, 37
_RX_PACKETS = struct.Struct("=Q")  # the first of rtnl_link_stats64
_IFLA_TUN_QUEUES = (8, 9)  # those in use, and those that are switched off
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

_Attributes = Mapping[int, bytes]


def links(names: Iterable[str], addressed: Collection[str] = ()) -> dict[str, Link]:
    """Read the links of these names in the caller's network namespace; missing ones are left out.

    :param addressed: those whose addresses are to be read as well.
    :raises OSError: the kernel refused to say.
    """
    found = {}
    with rtnetlink.Socket() as kernel:
        for name in names:
            if len(name) <= NAME_LENGTH and (answer := _ask(kernel, name, _ANY_LINK)):
                found[name] = _decode(name, answer)
        for name in found.keys() & addressed:
            addresses = tuple(_addresses(kernel, found[name].index))
            found[name] = replace(found[name], addresses=addresses)
    return found


def every_link() -> dict[str, Link]:
    """Read all links of the caller's network namespace, without addresses.

    :raises OSError: the kernel refused to say.
    """
    return links(name for _, name in socket.if_nameindex())


def links_and_neighbours(names: Iterable[str]) -> dict[str, Link]:
    """Read the links of these names, and all that are in the bridges among them, or in the bridges
    in which they are; without addresses.

    :raises OSError: the kernel refused to say.
    """
    found = links(names)
    masters = {str(link.attributes["master"]) for link in found.values()} - {""}
    found |= links(masters - found.keys())
    indexes = {at for link in found.values() if link.kind == "bridge" for at in ports(link.index)}
    return found | links({_link_name(rtnetlink.pack_u32(at)) for at in indexes} - found.keys())


def received(names: Iterable[str]) -> dict[str, int]:
    """Return how many packets each link of these names has received; missing ones are left out.

    :raises OSError: the kernel refused to say.
    """
    found = {}
    with rtnetlink.Socket() as kernel:
        for name in names:
            if len(name) <= NAME_LENGTH and (answer := _ask(kernel, name, _WITH_STATISTICS)):
                its = rtnetlink.find(_IFLA_STATS64, answer, rtnetlink.LINK.size)
                found[name] = _RX_PACKETS.unpack_from(its or bytes(8))[0]
    return found


def _ask(kernel: rtnetlink.Socket, name: str, how: bytes) -> bytes | None:
    try:
        return _answer(kernel, name, how)
    except OSError as err:
        if err.errno == errno.ENODEV:
            return None
        err.filename = name
        raise


def _answer(kernel: rtnetlink.Socket, name: str, how: bytes) -> bytes:
    ifname = rtnetlink.attribute(_IFLA_IFNAME, name.encode() + b"\0")
    return kernel.get(rtnetlink.GET_LINK, how + ifname)


def _addresses(kernel: rtnetlink.Socket, index: int) -> Iterator[str]:
    """Return a link's addresses, as in ``10.0.0.1/24``, less those of IPv6 of link scope."""
    kernel.only_what_is_asked_for()
    for answer in kernel.dump(_RTM_GETADDR, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, index)):
        family, length, _, scope, its_index = _ADDRESS.unpack_from(answer)
        of_any_link = family == socket.AF_INET6 and scope == _SCOPE_LINK
        if its_index == index and not of_any_link and family in _IP:
            its = dict(rtnetlink.attributes(answer[_ADDRESS.size :]))
            yield f"{_IP[family](its.get(_IFA_LOCAL) or its[_IFA_ADDRESS])}/{length}"


_IP = {socket.AF_INET: ipaddress.IPv4Address, socket.AF_INET6: ipaddress.IPv6Address}


def own_name(name: str) -> str:
    """Return the name by which the kernel itself calls a link, which may have alternative ones.

    :returns: the name as it is if no link has it.
    """
    with contextlib.suppress(OSError, ValueError):
        return socket.if_indextoname(socket.if_nametoindex(name))
    return name


def queues(name: str) -> int:
    """Count the queues of a tap, those that are switched off too: each is a process's descriptor.

    :returns: 0 where the kernel does not say (before Linux 4.17).
    :raises OSError: there is no such device, or the kernel refused to say.
    """
    with rtnetlink.Socket() as kernel:
        answer = _answer(kernel, name, _ANY_LINK)
    _, its = _kind_and_data(dict(rtnetlink.attributes(answer[rtnetlink.LINK.size :])))
    return sum(rtnetlink.u32(its[number]) for number in _IFLA_TUN_QUEUES if number in its)


def groups() -> dict[int, int]:
    """Return the group (``IFLA_GROUP``) of each link of the host, by its index.

    :raises InterruptedError: links came or went all the time, so the answer may lack some.
    :raises OSError: the kernel refused to say.
    """
    return {
        rtnetlink.LINK.unpack_from(answer)[2]: rtnetlink.u32(
            rtnetlink.find(rtnetlink.GROUP, answer, rtnetlink.LINK.size) or bytes(4)
        )
        for answer in _every(b"")
    }


def ports(bridge: int) -> set[int]:
    """Return the links that are in a bridge; all by their indexes.

    The kernel leaves out the others (``link_master_filtered``), so it takes no longer on a host of
    many links; before Linux 4.4 it lists them as well.

    :raises InterruptedError: and OSError: as :func:`groups`.
    """
    index = rtnetlink.pack_u32(bridge)
    return {
        rtnetlink.LINK.unpack_from(answer)[2]
        for answer in _every(rtnetlink.attribute(rtnetlink.MASTER, index))
        if rtnetlink.find(rtnetlink.MASTER, answer, rtnetlink.LINK.size) == index
    }


def _every(wanted: bytes) -> list[bytes]:
    """Return what the kernel says of all links.

    :param wanted: attributes by which it picks them.
    """
    with rtnetlink.Socket() as kernel:
        return kernel.dump(rtnetlink.GET_LINK, _ANY_LINK + wanted)


_ANY_LINK = rtnetlink.link_header(0) + rtnetlink.attribute(
    _IFLA_EXT_MASK, rtnetlink.pack_u32(_SKIP_STATS)
)


_WITH_STATISTICS = rtnetlink.link_header(0)


def _decode(name: str, message: bytes) -> Link:
    _, _, index, flags, _ = rtnetlink.LINK.unpack_from(message)
    top = dict(rtnetlink.attributes(message[rtnetlink.LINK.size :]))
    kind, data = _kind_and_data(top)
    attributes: dict[str, Value] = {
        "mac": top.get(rtnetlink.ADDRESS, b"").hex(":"),
        "mtu": rtnetlink.u32(top[rtnetlink.MTU]),
        "up": bool(flags & rtnetlink.UP),
        "promisc": bool(flags & rtnetlink.PROMISC),
        "master": _link_name(top.get(rtnetlink.MASTER)),
        **_kind_attributes(kind, data),
        **sysctl.read(_text(top[_IFLA_IFNAME]), _SYSCTLS.get(kind, ("disable_ipv6",))),
    }
    other = None if _IFLA_LINK_NETNSID in top else top.get(_IFLA_LINK)
    if _IFLA_LINK in top and kind != "veth":  # whose other end is not a parent
        attributes["parent"] = _link_name(other)
    peer = (rtnetlink.u32(other) if other else 0) if kind == "veth" else None
    alias, carrier = _text(top.get(rtnetlink.ALIAS, b"")), _flag(top.get(_IFLA_CARRIER, b""))
    group = rtnetlink.u32(top[rtnetlink.GROUP])
    return Link(
        name, kind, alias, attributes, index, group=group, carrier=carrier, peer_index=peer
    )


def _kind_and_data(top: _Attributes) -> tuple[str, _Attributes]:
    """Return a link's kind, and what only links of its kind have."""
    info = dict(rtnetlink.attributes(top.get(rtnetlink.LINKINFO, b"")))
    data = dict(rtnetlink.attributes(info.get(rtnetlink.INFO_DATA, b"")))
    return _text(info.get(rtnetlink.INFO_KIND, b"")), data


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _link_name(index: bytes | None) -> str:
    if index is not None:
        with contextlib.suppress(OSError):  # it may be gone by now, or in another namespace
            return socket.if_indextoname(rtnetlink.u32(index))
    return ""


def _seconds(value: bytes) -> int:
    return rtnetlink.u32(value) // 100  # the kernel counts in USER_HZ


def _u16(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


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
    "vlan": {"vlan": (1, _u16)},
}

#: kind of link -> the sysctls that tell of it what a wiring may want to know
_SYSCTLS = {"bridge": ("disable_ipv6", "arp_ignore", "arp_announce")}


def _kind_attributes(kind: str, data: _Attributes) -> dict[str, Value]:
    return {
        name: read(data[number])
        for name, (number, read) in _OF_KIND.get(kind, {}).items()
        if number in data
    }
