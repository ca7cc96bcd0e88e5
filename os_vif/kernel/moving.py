# SPDX-License-Identifier: Apache-2.0
"""Pure: the addresses and routes of a device, as the requests that move them to another.

What the kernel dumped is sent back to it with another device's index, so whatever an address or a
route has (lifetimes, metrics, flags, attributes that nobody here knows) moves along. First all of
it comes into being on the new device beside the old, then it goes from the old: at every instant
there is one or both. Each change names the request that takes it back.
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from os_vif.kernel import rtnetlink
from os_vif.limits import NAME_LENGTH

# linux/rtnetlink.h, linux/if_addr.h
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_IFA_LABEL, _IFA_FLAGS = 3, 8
_IFA_F_NODAD = 0x02
_SCOPE_LINK = 253

#: rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_CACHEINFO = 1, 4, 5, 9, 12
_RTA_VIA, _RTA_ENCAP_TYPE, _RTA_ENCAP, _RTA_EXPIRES, _RTA_NH_ID = 18, 21, 22, 23, 30
_GATEWAYS = {_RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH, _RTA_NH_ID}
_RT_TABLE_LOCAL = 255
_RESOLVED = {_RTA_OIF, _RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH, _RTA_ENCAP_TYPE, _RTA_ENCAP}
_RTM_F_CLONED, _RTNH_F_ONLINK = 0x200, 0x4
_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, weight, index
_CACHEINFO = struct.Struct("=IIi")  # rta_cacheinfo's first: references, last use, expiry
_USER_HZ = 100

#: What a dump is asked for with.
EVERY_ADDRESS, EVERY_ROUTE = bytes(_ADDRESS.size), bytes(_ROUTE.size)

_Attributes = Iterable[tuple[int, bytes]]


@dataclass(frozen=True)
class Device:
    """A network device."""

    name: str
    index: int


@dataclass(frozen=True)
class Request:
    """What the kernel is told: a message's type, further flags, and body."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True)
class Change:
    """A request, and the one that takes it back."""

    do: Request
    undo: Request


@dataclass(frozen=True)
class Move:
    """One address or route on its way: what makes it there, and what takes it from here."""

    arrive: Change
    depart: Change


# Addresses ---------------------------------------------------------------------------------------


def addresses_of(dumped: Iterable[bytes], device: Device) -> list[bytes]:
    """The addresses of one device, the oldest first, less those that come with any link."""
    headers = ((_ADDRESS.unpack_from(body), body) for body in dumped)
    its = [
        body
        for (*_, scope, index), body in headers
        if index == device.index and scope != _SCOPE_LINK
    ]
    # The kernel lists those of IPv6 the other way round.
    return [
        *(body for body in its if not is_ipv6(body)),
        *(body for body in reversed(its) if is_ipv6(body)),
    ]


def is_ipv6(body: bytes) -> bool:
    """Whether an address, or a route, is one of IPv6."""
    return body[0] == socket.AF_INET6


def address(body: bytes, old: Device, new: Device) -> Move:
    """Move an address."""
    there, here = _address_on(body, new, old), _address_on(body, old, old)
    return Move(
        arrive=Change(_new_address(there), Request(RTM_DELADDR, 0, there)),
        depart=Change(Request(RTM_DELADDR, 0, here), _new_address(here)),
    )


def _new_address(body: bytes) -> Request:
    return Request(RTM_NEWADDR, rtnetlink.CREATE | rtnetlink.EXCLUSIVE, body)


def _address_on(body: bytes, device: Device, old: Device) -> bytes:
    family, length, flags, scope, _ = _ADDRESS.unpack_from(body)
    header = _ADDRESS.pack(family, length, flags, scope, device.index)
    return (
        header
        + b"".join(
            rtnetlink.attribute(kind, value)
            for kind, value in _relabelled(
                rtnetlink.attributes(body[_ADDRESS.size :]), device, old
            )
            if kind != _IFA_FLAGS
        )
        + rtnetlink.attribute(_IFA_FLAGS, rtnetlink.pack_u32(_address_flags(body)))
    )


def _address_flags(body: bytes) -> int:
    """Those of an address; of IPv6 it is not asked again whether somebody else has it.

    The host has it already, on the same segment and with the same MAC address. Until the answer
    came, nobody could use it.
    """
    its = dict(rtnetlink.attributes(body[_ADDRESS.size :]))
    flags = rtnetlink.u32(its[_IFA_FLAGS]) if _IFA_FLAGS in its else body[2]
    return flags | _IFA_F_NODAD if is_ipv6(body) else flags


def _relabelled(attributes: _Attributes, device: Device, old: Device) -> _Attributes:
    """Let a label say the new device's name; one that would be too long goes (IPv4 only)."""
    for kind, value in attributes:
        if kind != _IFA_LABEL:
            yield kind, value
            continue
        label = value.rstrip(b"\0").removeprefix(old.name.encode())
        label = device.name.encode() + label
        if len(label) <= NAME_LENGTH:
            yield kind, label + b"\0"


# Routes ------------------------------------------------------------------------------------------


def routes_of(dumped: Iterable[bytes], device: Device) -> list[bytes]:
    """The routes through one device, those without a gateway first: the others build on them.

    The kernel makes some with an address, and network managers make such themselves; the two look
    the same, and one more request for what is there does no harm.
    """
    its = [body for body in dumped if _is_configured(body) and _leads_through(body, device)]
    return sorted(its, key=lambda body: not _GATEWAYS.isdisjoint(_route_attributes(body)))


def _is_configured(body: bytes) -> bool:
    """Whether a route is none of those that come with any link."""
    *_, table, _, _, _, flags = _ROUTE.unpack_from(body)
    to = _route_attributes(body).get(_RTA_DST, b"")
    # fe80::/10 (RFC 4291)
    link_local = is_ipv6(body) and to[:1] == b"\xfe" and to[1] & 0xC0 == 0x80
    return table != _RT_TABLE_LOCAL and not flags & _RTM_F_CLONED and not link_local


def _leads_through(body: bytes, device: Device) -> bool:
    its = _route_attributes(body)
    if _RTA_OIF in its:
        return rtnetlink.u32(its[_RTA_OIF]) == device.index
    return any(index == device.index for index, _ in _hops(its.get(_RTA_MULTIPATH, b"")))


def route(body: bytes, old: Device, new: Device) -> Move:
    """Move a route; of one with several next hops those hops that lead through the old device.

    A route of a nexthop object becomes one of its own: the object stays the old device's.
    """
    its = _route_attributes(body)
    there = _route_with(body, _redirected(body, its, old, new))
    here = _route_with(body, _as_it_was(body, its, old))
    return Move(
        arrive=Change(_new_route(there), Request(RTM_DELROUTE, 0, there)),
        depart=Change(Request(RTM_DELROUTE, 0, here), _new_route(here)),
    )


def _new_route(body: bytes) -> Request:
    # Beside the old one, which has the same destination and metric; IPv6 makes them next hops of
    # one route for as long as both are there.
    return Request(RTM_NEWROUTE, rtnetlink.CREATE | rtnetlink.APPEND, body)


def _route_attributes(body: bytes) -> dict[int, bytes]:
    return dict(rtnetlink.attributes(body[_ROUTE.size :]))


def _route_with(body: bytes, attributes: _Attributes) -> bytes:
    *header, flags = _ROUTE.unpack_from(body)
    return _ROUTE.pack(*header, flags & _RTNH_F_ONLINK) + b"".join(
        rtnetlink.attribute(kind, value) for kind, value in attributes
    )


def _redirected(body: bytes, its: dict[int, bytes], old: Device, new: Device) -> _Attributes:
    for kind, value in _told(its):
        if kind == _RTA_OIF:
            yield kind, rtnetlink.pack_u32(new.index)
        elif kind == _RTA_MULTIPATH:
            yield kind, _multipath(body, value, old, new)
        elif kind != _RTA_NH_ID:
            yield kind, value


def _as_it_was(body: bytes, its: dict[int, bytes], old: Device) -> _Attributes:
    # The kernel takes a nexthop object, or what that resolves to, but not both.
    left_out = _RESOLVED if _RTA_NH_ID in its else set()
    for kind, value in _told(its):
        if kind == _RTA_MULTIPATH and kind not in left_out:
            yield kind, _multipath(body, value, old, old)
        elif kind not in left_out:
            yield kind, value


def _told(its: dict[int, bytes]) -> _Attributes:
    """The attributes that the kernel takes; it tells an expiry in another way than it is told."""
    for kind, value in its.items():
        if kind != _RTA_CACHEINFO:
            yield kind, value
        elif (expires := _CACHEINFO.unpack_from(value)[2]) > 0 and _RTA_EXPIRES not in its:
            yield _RTA_EXPIRES, rtnetlink.pack_u32(max(1, expires // _USER_HZ))


def _multipath(body: bytes, hops: bytes, old: Device, new: Device) -> bytes:
    """Next hops with those of the old device led through the new one.

    IPv6 adds and removes single hops; IPv4 knows a route only with all of its hops.
    """
    return b"".join(
        _HOP.pack(len(hop), hop[2] & _RTNH_F_ONLINK, hop[3], new.index) + hop[_HOP.size :]
        if index == old.index
        else hop
        for index, hop in _hops(hops)
        if index == old.index or not is_ipv6(body)
    )


def _hops(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Of each next hop its device and its bytes."""
    at = 0
    while at + _HOP.size <= len(data):
        size, _, _, index = _HOP.unpack_from(data, at)
        if size < _HOP.size:
            return
        yield index, data[at : at + size]
        at += (size + 3) & ~3
