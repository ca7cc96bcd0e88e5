# SPDX-License-Identifier: Apache-2.0
"""What moves of addresses and routes, and as what.

That the requests do so, in which order, and that they lead back, is shown on a real kernel.
"""

import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.kernel import address_migration, rtnetlink
from os_vif.kernel.address_migration import Device, Request

OLD, NEW, OTHER = Device("eth0", 2), Device("br100", 7), Device("eth1", 3)
V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
#: rtnetlink's numbers: of addresses, of routes.
ADDRESS, LOCAL, LABEL, CACHE, FLAGS, PROTO = 1, 2, 3, 6, 8, 11
DST, OIF, GATEWAY, METRICS, MULTIPATH, TABLE, EXPIRES, PREF, NHID = 1, 4, 5, 8, 9, 15, 23, 20, 30
CACHEINFO = 12
NODAD, DADFAILED, TENTATIVE, PERMANENT, STABLE = 0x02, 0x08, 0x40, 0x80, 0x800
MAIN, LOCAL_TABLE = 254, 255
KERNEL, STATIC = 2, 4


def attributes(its: dict[int, bytes]) -> bytes:
    return b"".join(rtnetlink.attribute(kind, value) for kind, value in its.items())


def an_address(
    text: str, device: Device = OLD, scope: int = 0, flags: int = PERMANENT, **more: bytes
) -> bytes:
    ip = ip_address(text)
    family, length = (V4, 24) if ip.version == 4 else (V6, 64)
    its = {ADDRESS: ip.packed, FLAGS: rtnetlink.pack_u32(flags)}
    if family == V4:
        its |= {LOCAL: ip.packed, LABEL: f"{device.name}\0".encode()}
    its |= {{"label": LABEL, "proto": PROTO, "cache": CACHE}[key]: v for key, v in more.items()}
    header = struct.pack("=BBBBI", family, length, flags & 0xFF, scope, device.index)
    return header + attributes(its)


def a_route(
    family: int = V4,
    length: int = 0,
    table: int = MAIN,
    protocol: int = STATIC,
    flags: int = 0,
    scope: int = 0,
    **its: bytes | int | str,
) -> bytes:
    numbers = {
        "dst": DST,
        "oif": OIF,
        "gateway": GATEWAY,
        "metrics": METRICS,
        "multipath": MULTIPATH,
        "cacheinfo": CACHEINFO,
        "expires": EXPIRES,
        "nhid": NHID,
        "unknown": 77,
    }
    values = {numbers[key]: _value(value) for key, value in its.items()}
    header = struct.pack("=BBBBBBBBI", family, length, 0, 0, table, protocol, scope, 1, flags)
    return header + attributes(values)


def _value(value: bytes | int | str) -> bytes:
    if isinstance(value, int):
        return rtnetlink.pack_u32(value)
    return ip_address(value).packed if isinstance(value, str) else value


def a_hop(device: Device, gateway: str, weight: int = 0, flags: int = 0) -> bytes:
    body = rtnetlink.attribute(GATEWAY, ip_address(gateway).packed)
    return struct.pack("=HBBi", 8 + len(body), flags, weight, device.index) + body


def read_address(request: Request) -> tuple[int, dict[int, bytes]]:
    """The index and the attributes of a request."""
    *_, index = struct.unpack_from("=BBBBI", request.body)
    return index, dict(rtnetlink.attributes(request.body[8:]))


def read_route(request: Request) -> dict[int, bytes]:
    return dict(rtnetlink.attributes(request.body[12:]))


# Addresses ---------------------------------------------------------------------------------------


def test_whatever_an_address_has_moves_along() -> None:
    body = an_address("192.0.2.1", scope=253, cache=b"its lives") + rtnetlink.attribute(99, b"new")
    _, its = read_address(address_migration.address(body, OLD, NEW).arrive.do)
    assert its[CACHE] == b"its lives"
    assert its[99] == b"new"
    assert its[ADDRESS] == its[LOCAL] == ip_address("192.0.2.1").packed
    assert rtnetlink.u32(its[FLAGS]) == PERMANENT
    assert address_migration.address(body, OLD, NEW).arrive.do.body[:4] == body[:4]


@pytest.mark.parametrize(
    ("label", "there"),
    [
        (b"eth0", b"br100"),
        (b"eth0:1", b"br100:1"),
        (b"eth0:123456789", b"br100:123456789"),
        (b"eth0:1234567890", None),
        (b"eth01", b"eth01"),
        (b"storage", b"storage"),
        (b"x:eth0", b"x:eth0"),
    ],
)
def test_a_label_says_the_device_it_said(label: bytes, there: bytes | None) -> None:
    """Or is left out where it would be too long; on the old device it is as it was."""
    move = address_migration.address(an_address("192.0.2.1", label=label + b"\0"), OLD, NEW)
    _, its = read_address(move.arrive.do)
    assert its.get(LABEL) == (None if there is None else there + b"\0")
    for request in (move.depart.do, move.depart.inverse):
        assert read_address(request)[1][LABEL] == label + b"\0"


@pytest.mark.parametrize(
    ("flags", "there"),
    [
        (PERMANENT, PERMANENT | NODAD),
        (PERMANENT | NODAD, PERMANENT | NODAD),
        (PERMANENT | TENTATIVE, PERMANENT | TENTATIVE),
        (PERMANENT | TENTATIVE | DADFAILED, PERMANENT | TENTATIVE | DADFAILED),
        (0x800 | PERMANENT, 0x800 | PERMANENT | NODAD),
    ],
)
def test_an_ipv6_address_that_is_known_to_be_free_is_not_asked_for_again(
    flags: int, there: int
) -> None:
    move = address_migration.address(an_address("2001:db8::1", flags=flags), OLD, NEW)
    assert rtnetlink.u32(read_address(move.arrive.do)[1][FLAGS]) == there


def test_flags_of_older_kernels_are_in_the_header() -> None:
    header = struct.pack("=BBBBI", V6, 64, PERMANENT, 0, OLD.index)
    body = header + attributes({ADDRESS: ip_address("2001:db8::1").packed})
    _, its = read_address(address_migration.address(body, OLD, NEW).arrive.do)
    assert rtnetlink.u32(its[FLAGS]) == PERMANENT | NODAD


@pytest.mark.parametrize(
    ("address", "more", "moves"),
    [
        ("192.0.2.1", {"scope": 0}, True),
        ("169.254.1.1", {"scope": 253}, True),
        ("192.0.2.1", {"device": OTHER}, False),
        ("2001:db8::1", {}, True),
        ("fe80::1", {"scope": 253}, True),
        ("fe80::ff:fe00:1", {"scope": 253}, False),
        ("fe80::1234:5678:9abc:def0", {"scope": 253, "proto": b"\3"}, False),
        ("fe80::1234:5678:9abc:def0", {"scope": 253, "flags": STABLE | PERMANENT}, False),
        ("2001:db8::ff:fe00:1", {}, True),
        ("2001:db8::1", {"flags": STABLE}, True),
    ],
)
def test_which_addresses_move(address: str, more: dict[str, object], moves: bool) -> None:
    body = an_address(address, **more)  # type: ignore[arg-type]
    assert address_migration.addresses_of([body], OLD) == ([body] if moves else [])


def test_addresses_of_ipv6_are_usable_when_their_own_routes_are_there() -> None:
    addresses = [an_address("192.0.2.1"), an_address("2001:db8::1"), an_address("2001:db8::2")]
    one, two, elsewhere, not_local = (
        a_route(V6, 128, table, KERNEL, dst=to, oif=device.index)
        for to, device, table in (
            ("2001:db8::1", NEW, LOCAL_TABLE),
            ("2001:db8::2", NEW, LOCAL_TABLE),
            ("2001:db8::2", OLD, LOCAL_TABLE),
            ("2001:db8::2", NEW, MAIN),
        )
    )
    # The second one's peer is the first.
    header = struct.pack("=BBBBI", V6, 128, 0, 0, OLD.index)
    mine, peer = (ip_address(f"2001:db8::{n}").packed for n in (2, 1))
    with_peer = header + attributes({ADDRESS: peer, LOCAL: mine})
    tentative = an_address("2001:db8::1", flags=TENTATIVE)
    for moved, routes, usable in (
        (addresses, [one, two], True),
        (addresses, [one], False),
        (addresses, [one, elsewhere, not_local], False),
        (addresses[:1], [], True),
        ([tentative], [], True),  # it is still asked for: it is not waited for
        ([with_peer], [two], True),
        ([with_peer], [one], False),
    ):
        assert address_migration.are_usable(moved, routes, NEW) is usable


# Routes ------------------------------------------------------------------------------------------


def test_whatever_a_route_has_moves_along() -> None:
    body = a_route(
        gateway="192.0.2.254", oif=2, metrics=b"its metrics!", unknown=b"1234", table=7, scope=200
    )
    its = read_route(address_migration.route(body, OLD, NEW).arrive.do)
    assert (its[METRICS], its[77]) == (b"its metrics!", b"1234")
    assert address_migration.route(body, OLD, NEW).arrive.do.body[:12] == body[:12]


@pytest.mark.parametrize("flags", [0, 0x4, 0x1 | 0x10, 0x4 | 0x10])
def test_of_the_flags_only_those_that_can_be_asked_for_move(flags: int) -> None:
    """A route may be down or offloaded; it may be on-link by decree."""
    body = a_route(oif=2, flags=flags)
    (there,) = struct.unpack_from("=I", address_migration.route(body, OLD, NEW).arrive.do.body, 8)
    assert there == flags & 0x4


@pytest.mark.parametrize(
    ("route", "moves"),
    [
        (a_route(oif=2), True),
        (a_route(oif=3), False),
        (a_route(), False),
        (a_route(oif=2, table=7), True),
        (a_route(oif=2, table=LOCAL_TABLE, protocol=KERNEL), False),
        (a_route(V6, oif=2, length=128, dst="2001:db8::1", table=255, protocol=KERNEL), False),
        (a_route(oif=2, table=LOCAL_TABLE), True),  # AnyIP
        (a_route(V6, oif=2, length=64, dst="fe80::", table=LOCAL_TABLE), True),
        (a_route(oif=2, flags=0x200), False),
        (a_route(V6, oif=2, length=64, dst="fe80::", protocol=KERNEL), False),
        (a_route(V6, oif=2, length=64, dst="fe80::", protocol=STATIC), True),
        (a_route(V6, oif=2, length=128, dst="fe80::1", protocol=KERNEL), True),
        (a_route(V6, oif=2, length=64, dst="2001:db8::", protocol=KERNEL), True),
        (a_route(oif=2, nhid=1), False),
        (a_route(nhid=1), False),
        (a_route(28, oif=2), False),
        (a_route(128, multipath=a_hop(OLD, "192.0.2.1")), False),
        (a_route(multipath=a_hop(OTHER, "10.0.0.1") + a_hop(OLD, "10.0.0.2")), True),
        (a_route(multipath=a_hop(OTHER, "10.0.0.1")), False),
    ],
)
def test_which_routes_move(route: bytes, moves: bool) -> None:
    assert address_migration.routes_of([route], OLD) == ([route] if moves else [])


def test_routes_without_a_gateway_come_first() -> None:
    """A gateway has to be within reach already."""
    far, near, many, peer = (
        a_route(gateway="192.0.2.254", oif=2),
        a_route(dst="192.0.2.0", oif=2),
        a_route(multipath=a_hop(OLD, "192.0.2.1")),
        a_route(dst="192.0.2.254", oif=2),
    )
    assert address_migration.routes_of([far, near, many, peer], OLD) == [near, peer, far, many]


@pytest.mark.parametrize(("expires", "told"), [(9000, 90), (50, 1), (0, None), (-1, None)])
def test_an_expiry_is_passed_as_the_kernel_takes_it(expires: int, told: int | None) -> None:
    """It says it in hundredths among other things, and takes it in seconds."""
    cacheinfo = struct.pack("=IIiIIIII", 1, 2, expires, 0, 0, 0, 0, 0)
    its = read_route(
        address_migration.route(a_route(V6, oif=2, cacheinfo=cacheinfo), OLD, NEW).arrive.do
    )
    assert CACHEINFO not in its
    assert its.get(EXPIRES) == (None if told is None else rtnetlink.pack_u32(told))


def test_of_ipv4_all_next_hops_are_passed_of_ipv6_those_that_move() -> None:
    for family, gateways in ((V4, ("10.0.0.1", "10.0.0.2")), (V6, ("2001:db8::1", "fe80::2"))):
        mine, theirs = gateways
        hops = a_hop(OLD, mine, 2, flags=0x1 | 0x4) + a_hop(OTHER, theirs, 5, flags=0x10)
        move = address_migration.route(a_route(family, multipath=hops), OLD, NEW)
        other = a_hop(OTHER, theirs, 5, flags=0x10) if family == V4 else b""
        assert read_route(move.arrive.do)[MULTIPATH] == a_hop(NEW, mine, 2, flags=0x4) + other
        assert read_route(move.depart.do)[MULTIPATH] == a_hop(OLD, mine, 2, flags=0x4) + other


# Nexthop objects, neighbours ---------------------------------------------------------------------


def a_nexthop(device: Device | None, flags: int = 0) -> bytes:
    its = {1: rtnetlink.pack_u32(9), 6: ip_address("192.0.2.254").packed}
    if device:
        its[5] = rtnetlink.pack_u32(device.index)
    return struct.pack("=BBBxI", V4, 253, 11, flags) + attributes(its)


def test_a_nexthop_object_moves_in_one_go_and_back() -> None:
    change = address_migration.nexthop(a_nexthop(OLD, flags=0x4 | 0x10), OLD, NEW)
    for request, index in ((change.do, 7), (change.inverse, 2)):
        assert (request.kind, request.flags) == (104, 0x500)
        assert struct.unpack_from("=BBBxI", request.body) == (V4, 0, 11, 0x4)
        its = dict(rtnetlink.attributes(request.body[8:]))
        assert its == {1: rtnetlink.pack_u32(9), 6: b"\xc0\0\2\xfe", 5: rtnetlink.pack_u32(index)}


def test_nexthop_objects_of_other_devices_and_of_none_stay() -> None:
    mine = a_nexthop(OLD)
    assert address_migration.nexthops_of([a_nexthop(OTHER), mine, a_nexthop(None)], OLD) == [mine]


def a_neighbour(device: Device = OLD, state: int = 0x80, flags: int = 0) -> bytes:
    its = {1: b"\xc0\0\2\xfe", 2: bytes(6)}
    header = struct.pack("=BxxxiHBB", V4, device.index, state, flags, 1)
    return header + attributes(its)


@pytest.mark.parametrize(
    ("neighbour", "moves"),
    [
        (a_neighbour(), True),
        (a_neighbour(device=OTHER), False),
        (a_neighbour(state=0x02), True),  # reachable
        (a_neighbour(state=0x04), True),  # stale
        (a_neighbour(state=0x10), True),  # probed
        (a_neighbour(state=0x01), False),  # looked for
        (a_neighbour(state=0x20), False),  # not found
        (a_neighbour(state=0x40, flags=0x10), True),  # of a control plane
        (a_neighbour(state=0x40), False),  # of multicast
        (a_neighbour(state=0, flags=0x08), True),  # a proxy
        (a_neighbour(state=0x82), True),
    ],
)
def test_which_neighbours_move(neighbour: bytes, moves: bool) -> None:
    assert address_migration.neighbours_of([neighbour], OLD) == ([neighbour] if moves else [])


@pytest.mark.parametrize(
    ("state", "flags", "there", "optional"),
    [
        (0x02, 0x80, 0x04, True),  # reachable, a router
        (0x10, 0, 0x04, True),
        (0x80, 0, 0x80, False),
        (0x02, 0x10, 0x02, False),  # of a control plane
        (0, 0x08, 0, False),
    ],
)
def test_a_neighbour_that_was_learned_is_to_be_confirmed(
    state: int, flags: int, there: int, optional: bool
) -> None:
    """And if it cannot be moved, it is learned anew."""
    move = address_migration.neighbour(a_neighbour(state=state, flags=flags), OLD, NEW)
    assert move.arrive.do.body == a_neighbour(NEW, there, flags)
    assert {change.optional for change in (move.arrive, move.depart)} == {optional}


# Anything ----------------------------------------------------------------------------------------


@given(body=st.binary(min_size=12, max_size=80), family=st.sampled_from([V4, V6]))
def test_a_route_that_is_sent_back_changes_nothing_else(body: bytes, family: int) -> None:
    """Whatever is in it, departing and coming back are of one body."""
    move = address_migration.route(bytes([family]) + body, OLD, NEW)
    assert move.depart.do.body == move.depart.inverse.body
    assert move.arrive.do.body == move.arrive.inverse.body
