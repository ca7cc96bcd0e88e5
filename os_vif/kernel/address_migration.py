# SPDX-License-Identifier: Apache-2.0
"""Pure: the addresses, routes and neighbours of a device, as requests that move them.

What the kernel dumped is sent back to it with another device's index, so whatever an address or a
route has (lifetimes, metrics, flags, attributes that nobody here knows) moves along. First all of
it is made on the new device beside the old, then it goes from the old: at every instant
there is one or both. Each change names the request that rolls it back.
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from os_vif.kernel import rtnetlink
from os_vif.validate import NAME_LENGTH

# linux/rtnetlink.h, linux/if_addr.h, linux/neighbour.h, linux/nexthop.h
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWNEXTHOP, RTM_GETNEXTHOP = 104, 106
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_FLAGS, _IFA_PROTO = 1, 2, 3, 8, 11
_IFA_F_NODAD, _IFA_F_DADFAILED, _IFA_F_TENTATIVE, _IFA_F_STABLE_PRIVACY = 0x02, 0x08, 0x40, 0x800
_IFAPROT_KERNEL_LL = b"\3"
_SCOPE_LINK = 253

#: rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_CACHEINFO = 1, 4, 5, 7, 9, 12
_RTA_VIA, _RTA_EXPIRES, _RTA_NH_ID = 18, 23, 30
_GATEWAYS = {_RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH}
_RT_TABLE_LOCAL, _RTPROT_KERNEL = 255, 2
_LINK_LOCAL = b"\xfe\x80" + bytes(14)  # fe80::/64 (RFC 4291)
_RTM_F_CLONED, _RTNH_F_ONLINK = 0x200, 0x4
_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, weight, index
_CACHEINFO = struct.Struct("=IIi")  # rta_cacheinfo's first: references, last use, expiry
_USER_HZ = 100

_NEXTHOP = struct.Struct("=BBBxI")  # nhmsg: family, scope, protocol, flags
_NHA_OIF = 5
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
#: Reachable, stale, delayed or probed.
_NUD_LEARNED, _NUD_STALE, _NUD_PERMANENT = 0x02 | 0x04 | 0x08 | 0x10, 0x04, 0x80
_NTF_PROXY, _NTF_EXT_LEARNED = 0x08, 0x10
_NTF_GIVEN = _NTF_PROXY | _NTF_EXT_LEARNED

#: What a dump is asked for with.
EVERY_ADDRESS, EVERY_ROUTE = bytes(_ADDRESS.size), bytes(_ROUTE.size)
EVERY_NEXTHOP, EVERY_NEIGHBOUR = bytes(_NEXTHOP.size), bytes(_NEIGHBOUR.size)
EVERY_PROXY = _NEIGHBOUR.pack(0, 0, 0, _NTF_PROXY, 0)

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
    """A request, and the one that rolls it back."""

    do: Request
    inverse: Request
    #: Whether the host finds it again if the kernel refuses it.
    optional: bool = False


@dataclass(frozen=True)
class Move:
    """Something on its way: what makes it there, and what takes it from here."""

    arrive: Change
    depart: Change


def _moved(
    here: bytes, there: bytes, new: int, flags: int, delete: int, optional: bool = False
) -> Move:
    """Return the move of something by the requests that make it and delete it.

    :param new: the type of the former request, with its flags; and of the latter.
    """
    return Move(
        arrive=Change(Request(new, flags, there), Request(delete, 0, there), optional),
        depart=Change(Request(delete, 0, here), Request(new, flags, here), optional),
    )


def _attributes(body: bytes, header: struct.Struct) -> dict[int, bytes]:
    """Return the attributes behind the header of a message's body."""
    return dict(rtnetlink.attributes(body[header.size :]))


# Addresses ---------------------------------------------------------------------------------------


def addresses_of(dumped: Iterable[bytes], device: Device) -> list[bytes]:
    """Return the addresses of one device, the oldest first, less those that come with any link."""
    its = [body for body in dumped if _index(body) == device.index and not _comes_by_itself(body)]
    # The kernel lists those of IPv6 the other way round.
    return [
        *(body for body in its if not is_ipv6(body)),
        *(body for body in reversed(its) if is_ipv6(body)),
    ]


def _index(body: bytes) -> int:
    return int(_ADDRESS.unpack_from(body)[4])


def _comes_by_itself(body: bytes) -> bool:
    """Return whether an address is the link-local one that the kernel gives each device that does
    IPv6.

    Linux says so since 5.18; before, it is told by how it is made (RFC 4291, RFC 7217).
    """
    scope, its = _ADDRESS.unpack_from(body)[3], _attributes(body, _ADDRESS)
    if not is_ipv6(body) or scope != _SCOPE_LINK:
        return False
    made_of_mac = its[_IFA_ADDRESS][11:13] == b"\xff\xfe"
    stable = bool(_address_flags(body) & _IFA_F_STABLE_PRIVACY)
    return its.get(_IFA_PROTO) == _IFAPROT_KERNEL_LL or made_of_mac or stable


def is_ipv6(body: bytes) -> bool:
    """Return whether an address, or a route, is one of IPv6."""
    return body[0] == socket.AF_INET6


def address(body: bytes, old: Device, new: Device) -> Move:
    """Move an address."""
    here, there = (_address_on(body, device, old) for device in (old, new))
    return _moved(here, there, RTM_NEWADDR, rtnetlink.CREATE | rtnetlink.EXCLUSIVE, RTM_DELADDR)


def _address_on(body: bytes, device: Device, old: Device) -> bytes:
    family, length, low_flags, scope, _ = _ADDRESS.unpack_from(body)
    # Of IPv6 it is not asked again whether another host has it: the host has it already, on the
    # same segment and with the same MAC address, and until the answer came nobody could use it.
    flags = _address_flags(body) | (_IFA_F_NODAD if _is_known_to_be_free(body) else 0)
    told = {**_attributes(body, _ADDRESS), _IFA_FLAGS: rtnetlink.pack_u32(flags)}
    return _ADDRESS.pack(family, length, low_flags, scope, device.index) + b"".join(
        rtnetlink.attribute(kind, value) for kind, value in _relabelled(told.items(), device, old)
    )


def _address_flags(body: bytes) -> int:
    its = _attributes(body, _ADDRESS)
    return rtnetlink.u32(its[_IFA_FLAGS]) if _IFA_FLAGS in its else body[2]


def _is_known_to_be_free(body: bytes) -> bool:
    """Return whether nobody else has an address of IPv6; the kernel may be about to find out."""
    return is_ipv6(body) and not _address_flags(body) & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED)


def are_usable(addresses: Iterable[bytes], routes: Iterable[bytes], device: Device) -> bool:
    """Return whether addresses that have arrived on a device are the host's there, as its routes
    tell.

    Those of IPv6 are so some time after they were added.

    :param addresses: as they were found on the old device.
    """
    wanted = (_attributes(body, _ADDRESS) for body in addresses if _is_known_to_be_free(body))
    locals_ = {
        _attributes(body, _ROUTE).get(_RTA_DST)
        for body in routes
        if _ROUTE.unpack_from(body)[4] == _RT_TABLE_LOCAL and _leads_through(body, device)
    }
    return all((its.get(_IFA_LOCAL) or its[_IFA_ADDRESS]) in locals_ for its in wanted)


def _relabelled(attributes: _Attributes, device: Device, old: Device) -> _Attributes:
    """Let a label say the new device's name, if it says the old one's (IPv4 only).

    A label that would be too long goes.
    """
    for kind, value in attributes:
        name, colon, rest = value.rstrip(b"\0").partition(b":")
        if kind != _IFA_LABEL or name != old.name.encode():
            yield kind, value
        elif len(label := device.name.encode() + colon + rest) <= NAME_LENGTH:
            yield kind, label + b"\0"


# Routes ------------------------------------------------------------------------------------------


def routes_of(dumped: Iterable[bytes], device: Device) -> list[bytes]:
    """Return the routes through one device, those without a gateway first: the others build on
    them.

    The kernel makes some with an address, and network managers make such themselves; the two look
    the same, and one more request for what is there does no harm.
    """
    its = [body for body in dumped if _is_configured(body) and _leads_through(body, device)]
    return sorted(its, key=lambda body: not _GATEWAYS.isdisjoint(_attributes(body, _ROUTE)))


def _is_configured(body: bytes) -> bool:
    """Return whether a route is none of those that come with a link or an address, nor one of
    multicast or MPLS.

    The local table holds what the kernel makes for addresses, and AnyIP routes of administrators.
    """
    _, length, _, _, table, protocol, *_, flags = _ROUTE.unpack_from(body)
    if body[0] not in (socket.AF_INET, socket.AF_INET6) or flags & _RTM_F_CLONED:
        return False
    to = _attributes(body, _ROUTE).get(_RTA_DST, b"")
    of_any_link = table == _RT_TABLE_LOCAL or (length, to) == (64, _LINK_LOCAL)
    return protocol != _RTPROT_KERNEL or not of_any_link


def is_to_prefix(body: bytes) -> bool:
    """Return whether a route is one that the kernel makes for the prefix of an address of IPv6.

    It may stay when the address goes: it does if the address was not to live for ever.
    """
    its = _attributes(body, _ROUTE).keys()
    made_by_kernel = _ROUTE.unpack_from(body)[5] == _RTPROT_KERNEL
    return is_ipv6(body) and made_by_kernel and its.isdisjoint({*_GATEWAYS, _RTA_PREFSRC})


def _leads_through(body: bytes, device: Device) -> bool:
    its = _attributes(body, _ROUTE)
    if _RTA_NH_ID in its:
        return False  # its nexthop object does
    if _RTA_OIF in its:
        return rtnetlink.u32(its[_RTA_OIF]) == device.index
    return any(index == device.index for index, _ in _hops(its.get(_RTA_MULTIPATH, b"")))


def route(body: bytes, old: Device, new: Device) -> Move:
    """Move a route; of one with several next hops those hops that lead through the old device."""
    here, there = (
        _route_with(body, _redirected(body, _attributes(body, _ROUTE), old, device))
        for device in (old, new)
    )
    # Beside the old one, which has the same destination and metric; IPv6 makes them next hops of
    # one route for as long as both are there.
    return _moved(here, there, RTM_NEWROUTE, rtnetlink.CREATE | rtnetlink.APPEND, RTM_DELROUTE)


def _route_with(body: bytes, attributes: _Attributes) -> bytes:
    *header, flags = _ROUTE.unpack_from(body)
    return _ROUTE.pack(*header, flags & _RTNH_F_ONLINK) + b"".join(
        rtnetlink.attribute(kind, value) for kind, value in attributes
    )


def _redirected(body: bytes, its: dict[int, bytes], old: Device, new: Device) -> _Attributes:
    for kind, value in _settable(its):
        if kind == _RTA_OIF:
            yield kind, rtnetlink.pack_u32(new.index)
        elif kind == _RTA_MULTIPATH:
            yield kind, _multipath(body, value, old, new)
        else:
            yield kind, value


def _settable(its: dict[int, bytes]) -> _Attributes:
    """Return the attributes that the kernel takes; it tells an expiry in another way than it is
    told."""
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


# Nexthop objects ---------------------------------------------------------------------------------


def nexthops_of(dumped: Iterable[bytes], device: Device) -> list[bytes]:
    """Return the nexthop objects through one device; groups are made of such."""
    return [body for body in dumped if _attributes(body, _NEXTHOP).get(_NHA_OIF) == _oif(device)]


def nexthop(body: bytes, old: Device, new: Device) -> Change:
    """Lead a nexthop object through another device, and with it whatever routes are made of it."""
    back, do = (_nexthop_on(body, device) for device in (old, new))
    return Change(do, back)


def _nexthop_on(body: bytes, device: Device) -> Request:
    family, _, protocol, flags = _NEXTHOP.unpack_from(body)
    its = {**_attributes(body, _NEXTHOP), _NHA_OIF: _oif(device)}
    # Its scope is the kernel's to find out.
    return Request(
        RTM_NEWNEXTHOP,
        rtnetlink.CREATE | rtnetlink.REPLACE,
        _NEXTHOP.pack(family, 0, protocol, flags & _RTNH_F_ONLINK)
        + b"".join(rtnetlink.attribute(kind, value) for kind, value in its.items()),
    )


def _oif(device: Device) -> bytes:
    return rtnetlink.pack_u32(device.index)


# Neighbours --------------------------------------------------------------------------------------


def neighbours_of(dumped: Iterable[bytes], device: Device) -> list[bytes]:
    """Return what is known of a device's neighbours, and those in whose stead it answers.

    Some are written by the administrator or a program: permanent ones, proxies, those of a control
    plane. Others the kernel has found out itself. Those that it looks for, and has not found, are
    left out.
    """
    headers = ((_NEIGHBOUR.unpack_from(body), body) for body in dumped)
    return [
        body
        for (_, index, state, flags, _), body in headers
        if index == device.index
        and (state & (_NUD_PERMANENT | _NUD_LEARNED) or flags & _NTF_GIVEN)
    ]


def neighbour(body: bytes, old: Device, new: Device) -> Move:
    """Move a neighbour; one that the kernel has found out is to be confirmed on the new device."""
    family, _, state, flags, kind = _NEIGHBOUR.unpack_from(body)
    learned = bool(state & _NUD_LEARNED) and not flags & _NTF_GIVEN
    here, there = (
        _NEIGHBOUR.pack(family, device.index, _NUD_STALE if learned else state, flags, kind)
        + body[_NEIGHBOUR.size :]
        for device in (old, new)
    )
    flags = rtnetlink.CREATE | rtnetlink.EXCLUSIVE
    return _moved(here, there, RTM_NEWNEIGH, flags, RTM_DELNEIGH, optional=learned)
