# SPDX-License-Identifier: Apache-2.0
"""The host's addresses and routes, on their way from an interface to the bridge it is put into."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from os_vif import exception
from os_vif.kernel import bridge_membership, rtnetlink
from tests.rig import run, wait_until
from tests.rig.addressing import Addressing, addressing, changes, complete, settled
from tests.rig.guest import BridgeGuest
from tests.rig.linux_bridge import (
    BRIDGE,
    HOST,
    HOST6,
    INTERFACE,
    NEIGHBOUR,
    NEIGHBOUR6,
    collect,
    conf,
    give_ipv6,
    initialized,
    interface,
    ip,
    vif,
)
from tests.rig.namespace import NetworkNamespace, private_network
from tests.rig.plugin import Child, OsVif
from tests.rig.processes import killed_before
from tests.rig.stopwatch import within

OTHER = "eth1"
OLD, NEW = INTERFACE, BRIDGE


def batch(commands: list[str]) -> str:
    """Run commands of ``ip``, those of ``ip -6`` last; return what those said that failed."""
    said = ""
    for family in ("-4", "-6"):
        its = [
            one.removeprefix("-6 ") for one in commands if one.startswith("-6") == (family == "-6")
        ]
        argv = ["ip", *([family] if family == "-6" else []), "-force", "-batch", "-"]
        text = "\n".join(its)
        done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
        said += done.stderr
    return said


MAKE = [
    f"link add {OLD} address 02:00:00:00:00:01 type veth peer name wire0",
    f"link add {OTHER} address 02:00:00:00:00:02 type veth peer name wire1",
    *(f"link set {name} up" for name in (OLD, "wire0", OTHER, "wire1")),
    f"address add 10.250.0.1/24 dev {OTHER}",
    f"address add 2001:db8:250::1/64 dev {OTHER} nodad",
    f"link add {NEW} type bridge forward_delay 0",
]


#: What decides how the host uses its addresses, other than by default.
CONF = {
    "ipv4/rp_filter": 2,
    "ipv4/forwarding": 1,
    "ipv4/src_valid_mark": 1,
    "ipv4/proxy_arp": 1,
    "ipv6/forwarding": 1,
    "ipv6/accept_ra": 2,
    "ipv6/autoconf": 0,
    "ipv6/accept_ra_defrtr": 0,
    "ipv6/accept_ra_pinfo": 0,
    "ipv6/accept_ra_rtr_pref": 0,
}


def configured(device: str) -> dict[str, int]:
    """The values of CONF on a device."""
    return {name: int(conf(device, name).read_text()) for name in CONF}


def configure(device: str, values: dict[str, int]) -> None:
    for name, value in values.items():
        conf(device, name).write_text(str(value))


def with_addresses_of(old: str, new: str) -> dict[str, int]:
    """The values on a device once it has another one's addresses, as of now."""
    (link,) = json.loads(ip(f"-json address show {old}"))
    families = {
        "ipv4" if one["family"] == "inet" else "ipv6"
        for one in link["addr_info"]
        if one["family"] == "inet" or one["scope"] != "link"
    }
    its, there = configured(old), configured(new)
    return {name: (its if name[:4] in families else there)[name] for name in CONF}


@pytest.fixture(scope="module")
def network(off_the_host: None) -> Iterator[NetworkNamespace]:
    """One for all of these, because each takes a while."""
    with private_network() as here:
        yield here


@contextlib.contextmanager
def bridged_host(*commands: str) -> Iterator[Addressing]:
    """A host with two interfaces, and a bridge for the first of them; yield what is configured."""
    batch([*MAKE, *commands])
    conf(NEW, "ipv6/disable_ipv6").write_text("1")
    ip(f"link set {NEW} up")
    configure(OLD, CONF)
    try:
        yield complete()
    finally:
        ids = [str(one["id"]) for one in json.loads(ip("-json nexthop") or "[]") if one]
        gone = [f"nexthop delete id {one}" for one in ids]
        links = (f"link delete {name}" for name in (OLD, OTHER, NEW))
        batch([*gone, *links, "rule delete priority 77"])
        batch([f"{v}route flush table {t}" for v in ("", "-6 ") for t in ("main", "7")])


def join(interface: str = OLD, bridge: str = NEW) -> None:
    bridge_membership.join(interface, bridge, None)


def leave(interface: str = OLD, bridge: str = NEW) -> None:
    bridge_membership.leave(interface, bridge)


# One by one --------------------------------------------------------------------------------------

V4, V6 = f"address add 10.0.0.1/24 dev {OLD}", f"address add 2001:db8::1/64 dev {OLD} nodad"

BARE = {"nothing": [], "ipv4": [V4], "ipv6": [V6]}
#: What is there beside an address of each family.
BESIDE: dict[str, list[str]] = {
    "addresses of ipv4": [
        *(f"address add 10.0.0.{n}/24 dev {OLD}" for n in (9, 3, 7)),
        f"address add 10.0.1.1/24 dev {OLD} label {OLD}:mgmt",
        f"address add 10.0.2.1/24 dev {OLD} label storage",
        f"address add 10.0.3.1/24 dev {OLD} scope host",
        f"address add 10.0.4.1/24 dev {OLD} scope 200",
        f"address add 169.254.1.1/16 dev {OLD} scope link",
        f"address add 10.0.5.1/24 dev {OLD} valid_lft 36000 preferred_lft 18000",
        f"address add 10.0.6.1 peer 10.0.6.2/32 dev {OLD}",
        f"address add 10.0.7.1 peer 10.0.7.2/24 dev {OLD}",
        f"address add 10.0.8.1/24 broadcast + dev {OLD}",
        f"address add 10.0.9.1/24 broadcast 10.0.9.77 dev {OLD}",
        f"address add 10.0.10.1/24 dev {OLD} metric 77",
    ],
    "addresses of ipv6, in their order": [
        *(f"address add 2001:db8::{n}/64 dev {OLD} nodad" for n in (9, 3, 7)),
        f"address add fe80::1/64 dev {OLD} nodad",
        f"address add fec0::1/64 dev {OLD} nodad",
        f"address add 2001:db8::a/64 dev {OLD} nodad valid_lft 36000 preferred_lft 18000",
        f"address add 2001:db8::b/64 dev {OLD} nodad preferred_lft 0",
        f"address add 2001:db8:1::1 peer 2001:db8:1::2/128 dev {OLD} nodad",
        f"address add 2001:db8:2::1/64 dev {OLD} nodad metric 77",
        f"address add 2001:db8:3::1/64 dev {OLD} nodad home",
        f"address add 2001:db8:3::2/64 dev {OLD} nodad mngtmpaddr",
    ],
    "as NetworkManager has it": [
        f"address add 10.0.1.1/24 dev {OLD} noprefixroute",
        f"route add 10.0.1.0/24 dev {OLD} proto kernel scope link src 10.0.1.1 metric 100",
        f"route add default via 10.0.1.254 dev {OLD} proto dhcp src 10.0.1.1 metric 100",
        f"address add 2001:db8:1::1/64 dev {OLD} nodad noprefixroute",
        f"-6 route add 2001:db8:1::/64 dev {OLD} proto ra metric 100",
        f"-6 route add default via fe80::1 dev {OLD} proto ra metric 100",
    ],
    "gateways": [
        f"route add default via 10.0.0.254 dev {OLD}",
        f"route add 172.16.0.0/16 via 10.0.0.253 dev {OLD} metric 5 proto static",
        f"-6 route add default via 2001:db8::fe dev {OLD}",
        f"-6 route add 2001:db8:7::/48 via 2001:db8::fd dev {OLD} metric 5 proto static",
        f"-6 route add 2001:db8:8::/48 via fe80::1 dev {OLD}",
    ],
    "router advertisements": [
        f"-6 route add default via fe80::1 dev {OLD} proto ra expires 36000 pref high",
        f"-6 route add 2001:db8:7::/64 dev {OLD} proto ra expires 36000",
    ],
    "on-link": [
        f"route add 172.16.0.0/16 dev {OLD}",
        f"route add 172.17.0.0/16 via 192.168.7.7 dev {OLD} onlink",
        f"-6 route add 2001:db8:7::/48 dev {OLD}",
    ],
    "a gateway that is reached by a route": [
        f"address add 10.0.1.1/32 dev {OLD}",
        f"route add 192.168.9.9 dev {OLD} scope link",
        f"route add default via 192.168.9.9 dev {OLD}",
    ],
    "other tables": [
        f"route add default via 10.0.0.254 dev {OLD} table 7",
        f"route add 10.0.0.0/24 dev {OLD} table 7 src 10.0.0.1",
        "rule add from 10.0.0.1 lookup 7 priority 77",
        f"-6 route add default via 2001:db8::fe dev {OLD} table 7",
    ],
    "several next hops": [
        f"route add default nexthop via 10.0.0.253 dev {OLD} weight 3 "
        f"nexthop via 10.0.0.254 dev {OLD}",
        f"route add 172.16.0.0/16 nexthop via 10.0.0.253 dev {OLD} "
        f"nexthop via 10.250.0.254 dev {OTHER}",
        f"-6 route add default nexthop via 2001:db8::fd dev {OLD} weight 3 "
        f"nexthop via fe80::1 dev {OLD}",
        f"-6 route add 2001:db8:7::/48 nexthop via 2001:db8::fd dev {OLD} "
        f"nexthop via 2001:db8:250::fe dev {OTHER}",
    ],
    "nexthop objects": [
        f"nexthop add id 1 via 10.0.0.254 dev {OLD} protocol zebra",
        f"nexthop add id 2 via 10.9.9.9 dev {OLD} onlink",
        f"nexthop add id 3 via 10.250.0.254 dev {OTHER}",
        f"nexthop add id 4 dev {OLD}",
        f"nexthop add id 5 via 2001:db8::fe dev {OLD}",
        "nexthop add id 6 blackhole",
        "nexthop add id 9 group 1/2,7/3",
        "route add default nhid 1",
        "route add 172.16.0.0/16 nhid 9",
        "route add 172.17.0.0/16 nhid 4",
        "route add 172.18.0.0/16 nhid 6",
        "-6 route add 2001:db8:7::/48 nhid 5",
    ],
    "source addresses": [
        f"address add 10.0.1.1/24 dev {OLD}",
        f"route add default via 10.0.0.254 dev {OLD} src 10.0.1.1",
        f"address add 2001:db8:1::1/64 dev {OLD} nodad",
        f"-6 route add default via 2001:db8::fe dev {OLD} src 2001:db8:1::1",
        f"-6 route add default from 2001:db8:1::/64 via 2001:db8::fe dev {OLD}",
    ],
    "metrics of routes": [
        f"route add default via 10.0.0.254 dev {OLD} mtu lock 1400 initcwnd 20 congctl cubic",
        f"-6 route add default via 2001:db8::fe dev {OLD} mtu 1400 advmss 1200 hoplimit 9",
    ],
    "types, tos and the same destination": [
        f"route add 172.16.0.0/16 via 10.0.0.254 dev {OLD} tos 0x10",
        f"route add 172.16.0.0/16 via 10.0.0.253 dev {OLD}",
        f"route append 172.16.0.0/16 via 10.0.0.252 dev {OLD}",
        f"route append 172.16.0.0/16 via 10.250.0.254 dev {OTHER}",
        "route add unreachable 172.17.0.0/16",
        "route add blackhole 172.18.0.0/16",
        "-6 route add unreachable 2001:db8:8::/48",
        f"-6 route append 2001:db8:9::/48 via 2001:db8::fe dev {OLD}",
        f"-6 route append 2001:db8:9::/48 via 2001:db8:250::fe dev {OTHER}",
        f"route add 172.19.0.0/16 via inet6 fe80::1 dev {OLD}",
    ],
    "neighbours that were written down": [
        f"neighbour add 10.0.0.254 lladdr 06:00:00:00:00:01 dev {OLD} nud permanent",
        f"neighbour add 2001:db8::fe lladdr 06:00:00:00:00:01 dev {OLD} nud permanent",
        f"neighbour add 10.0.0.253 lladdr 06:00:00:00:00:03 dev {OLD} nud permanent extern_learn",
        f"neighbour add proxy 10.0.0.77 dev {OLD}",
        f"neighbour add proxy 2001:db8::77 dev {OLD}",
        f"neighbour add 10.250.0.254 lladdr 06:00:00:00:00:02 dev {OTHER} nud permanent",
    ],
    "neighbours that were learned": [
        f"neighbour add 10.0.0.250 lladdr 06:00:00:00:00:01 dev {OLD} nud stale",
        f"neighbour add 10.0.0.251 lladdr 06:00:00:00:00:02 dev {OLD} nud reachable",
        f"neighbour add 2001:db8::fe lladdr 06:00:00:00:00:01 dev {OLD} nud stale router",
        f"neighbour add 10.250.0.254 lladdr 06:00:00:00:00:02 dev {OTHER} nud stale",
    ],
    "AnyIP": [
        f"route add local 198.51.100.0/24 dev {OLD}",
        f"route add local 198.51.101.0/24 dev {OLD} src 10.0.0.1 proto static metric 5",
        f"route add local 198.51.102.0/24 dev {OTHER}",
        f"-6 route add local 2001:db8:7::/64 dev {OLD}",
        f"-6 route add local 2001:db8:8::/64 dev {OTHER}",
    ],
}
CASES = BARE | {name: [V4, V6, *commands] for name, commands in BESIDE.items()}


@pytest.mark.parametrize("case", CASES)
def test_all_of_it_moves_and_whatever_fails_all_of_it_is_as_before(
    case: str, network: NetworkNamespace
) -> None:
    with bridged_host() as _:
        assert batch(CASES[case]) == ""
        before, wanted = complete(), with_addresses_of(OLD, NEW)
        moves_or_fails(case, join)
        assert settled(before.moved(OLD, NEW)) == ""
        assert addressing().of(OLD) == []
        assert configured(NEW) == wanted
        configure(NEW, {"ipv4/rp_filter": 1, "ipv6/accept_ra_pinfo": 1})
        here = configured(NEW)
        join()  # again
        assert changes(before.moved(OLD, NEW), addressing()) == ""
        assert configured(NEW) == here
        wanted = with_addresses_of(NEW, OLD)
        moves_or_fails(case, leave)
        assert settled(before) == ""
        assert addressing().of(NEW) == []
        assert configured(OLD) == wanted
        leave()  # again
        assert changes(before, addressing()) == ""


def moves_or_fails(case: str, move: Callable[[], None]) -> None:
    if "learned" in case:  # a bridge without a port, for a moment, forgets whom it has learned
        move()
    else:
        assert fails_everywhere(move) >= (2 if move is join else 1)


class At:
    """Lets something happen in place of the n-th request of a change.

    The kernel goes on with the others of the same call.
    """

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.left, self.act = number, act

    def __enter__(self) -> None:
        real = rtnetlink.Socket.change_all

        def change_all(kernel: rtnetlink.Socket, changes: Sequence[Any]) -> list[OSError | None]:
            number, self.left = self.left, self.left - len(changes)
            if not 0 <= number < len(changes):
                return real(kernel, changes)
            before = real(kernel, changes[:number])
            try:
                self.act()
            except OSError as err:
                return [*before, err, *real(kernel, changes[number + 1 :])]
            return [*before, *real(kernel, changes[number:])]

        self.patch = mock.patch.object(rtnetlink.Socket, "change_all", change_all)
        self.patch.start()

    def __exit__(self, *_: object) -> None:
        self.patch.stop()


def fails_everywhere(move: Callable[[], None]) -> int:
    """Let each request fail in turn, after which all is as before; return how many there are."""
    before, requests, conf = complete(), 0, [configured(name) for name in (OLD, NEW)]
    while fails_at(requests, move):
        assert settled(before) == "", f"after request {requests}"
        assert [configured(name) for name in (OLD, NEW)] == conf
        requests += 1
    return requests


def fails_at(number: int, move: Callable[[], None]) -> bool:
    """Let the n-th request fail; False if there were not so many."""
    with At(number, _fail), contextlib.suppress(Injected):
        move()
        return False
    return True


class Injected(OSError):
    pass


def _fail() -> None:
    raise Injected(errno.EIO, "injected")


def killed_at(number: int, move: Callable[[], None]) -> bool:
    """Be killed in place of the n-th request."""

    def work() -> None:
        with At(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            move()

    with Child(work) as process:
        process.wait()
        return process.killed


# Whatever there may be ---------------------------------------------------------------------------

#: But for neighbours that a bridge forgets, see `moves_or_fails`.
EVERYTHING = [
    command for case, commands in BESIDE.items() if "learned" not in case for command in commands
]
#: Addresses first, then routes; the kernel takes a command or not, according to what it has.
HOSTS = st.sets(st.sampled_from(range(len(EVERYTHING))), max_size=16).map(sorted)


@given(host=HOSTS, failure=st.integers(0, 40), kill=st.integers(0, 40))
@settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_nothing_is_lost_or_doubled_by_failure_death_and_success(
    host: list[int],
    failure: int,
    kill: int,
    network: NetworkNamespace,
) -> None:
    commands = [V4, V6, *(EVERYTHING[number] for number in host)]
    with bridged_host(*commands) as before:
        event(f"{len(before.of(OLD)) // 5 * 5} things or more")
        for move, was, wanted in (
            (join, before, before.moved(OLD, NEW)),
            (leave, before.moved(OLD, NEW), before),
        ):
            if fails_at(failure, move):
                event(f"{move.__name__} failed")
                assert settled(was) == ""
                if killed_at(kill, move):
                    event(f"{move.__name__} killed")
                move()
            assert settled(wanted) == ""


# What does not move ------------------------------------------------------------------------------


def test_without_an_address_of_ipv6_the_bridge_does_without_ipv6(
    network: NetworkNamespace,
) -> None:
    """A router may advertise itself and no prefix; of that route the host makes no use."""
    advertised = f"-6 route add default via fe80::1 dev {OLD} proto ra expires 36000"
    with bridged_host(V4, advertised) as before:
        join()
        assert conf(NEW, "ipv6/disable_ipv6").read_text() == "1\n"
        (left,) = addressing().of(OLD)
        assert left in before.routes
        assert '"protocol": "ra"' in left


def test_an_address_that_may_be_somebody_elses_is_still_asked_for(
    network: NetworkNamespace,
) -> None:
    """Moved without that, it would be used though somebody else has it."""
    with bridged_host(f"address add 2001:db8::1/64 dev {OLD}"):
        assert "tentative" in ip(f"-6 address show dev {OLD} to 2001:db8::/64")
        join()
        assert "nodad" not in ip(f"-6 address show dev {NEW} to 2001:db8::/64")


def test_a_bridge_with_addresses_keeps_its_settings_and_its_mac_address(
    network: NetworkNamespace,
) -> None:
    fixed = f"link set {NEW} address 02:00:00:00:00:99"
    with bridged_host(V4, V6, fixed, f"address add 10.7.0.1/24 dev {NEW}") as before:
        its = configured(NEW)
        join()
        assert configured(NEW) == {name: (its, CONF)["ipv6" in name][name] for name in CONF}
        assert "02:00:00:00:00:99" in ip(f"link show {NEW}")
        assert settled(before.moved(OLD, NEW)) == ""


LAN = "br-lan"
_OTHERS = (
    f"link add {LAN} type bridge forward_delay 0",
    f"link set {OTHER} master {LAN}",
    f"address add 10.7.0.1/24 dev {NEW}",
)


@pytest.mark.parametrize("move", [join, leave])
@pytest.mark.parametrize(
    ("interface", "bridge", "why"),
    [
        (OTHER, NEW, f"it is in {LAN}"),
        (OLD, OLD, "is not a bridge for"),
        (NEW, NEW, "is not a bridge for"),
        (OLD, "lo", "is not a bridge for"),
        (OLD, OTHER, "is not a bridge for"),
        (OLD, "nosuch", "no device nosuch"),
        ("nosuch", NEW, "no device nosuch"),
    ],
)
def test_what_is_refused_changes_nothing(
    interface: str,
    bridge: str,
    why: str,
    move: Callable[[str, str], None],
    network: NetworkNamespace,
) -> None:
    with bridged_host(V4, V6, *_OTHERS) as before:
        links = ip("link")
        try:
            with pytest.raises(OSError, match=why):
                move(interface, bridge)
            assert changes(before, addressing()) == ""
            assert ip("link") == links
        finally:
            ip(f"link delete {LAN}")


def test_nexthop_objects_move_when_routes_do_not_tell_what_they_are(
    network: NetworkNamespace,
) -> None:
    """As routing daemons like to have it."""
    compatible = Path("/proc/sys/net/ipv4/nexthop_compat_mode")
    compatible.write_text("0")
    try:
        with bridged_host(
            V4, f"nexthop add id 1 via 10.0.0.254 dev {OLD}", "route add default nhid 1"
        ) as before:
            join()
            assert settled(before.moved(OLD, NEW)) == ""
            assert NEW in ip("route get 203.0.113.1")
    finally:
        compatible.write_text("1")


# At every instant --------------------------------------------------------------------------------


@pytest.fixture
def plugin(netns: NetworkNamespace) -> Iterator[OsVif]:
    with initialized() as verbs:
        yield verbs


@pytest.fixture(params=["0", "1", "2"], ids=["rp_filter off", "strict", "loose"])
def wire(request: pytest.FixtureRequest, netns: NetworkNamespace) -> Iterator[BridgeGuest]:
    """The machine at the other end of the host's interface, which is the host's gateway too."""
    for which in ("all", "default"):
        conf(which, "ipv4/rp_filter").write_text(request.param)
    with interface() as machine:
        give_ipv6(machine)
        # Without being told so, nobody asks any more whether somebody else has the address.
        conf(INTERFACE, "ipv6/accept_dad").write_text("0")
        for words in (
            f"address add {HOST}/24 dev {INTERFACE}",
            f"route add default via {NEIGHBOUR}",
            f"address add {HOST6}/64 dev {INTERFACE}",
            f"-6 route add default via {NEIGHBOUR6}",
        ):
            ip(words)
        be_a_gateway(machine)
        complete()
        yield machine


FAR, FAR6 = "203.0.113.1", "2001:db8:ffff::1"


def be_a_gateway(machine: BridgeGuest) -> None:
    """To another net, of which it has an address."""
    for words in (f"address add {FAR} dev eth0", f"address add {FAR6} dev eth0 nodad"):
        machine.namespace.run(["ip", *words.split()])


#: Seconds: nobody notices, and the retransmission of one lost packet (0.2 s) is in it.
GAP = 0.9


class Talk(threading.Thread):
    """A connection with data flowing in both directions, a byte at a time, answered at once."""

    def __init__(self, name: str, near: socket.socket, far: socket.socket) -> None:
        super().__init__(name=name)
        self.ends = (near, far)
        self.longest, self.exchanged, self.error = 0.0, 0, ""
        self.ended = threading.Event()
        for end in self.ends:
            end.settimeout(5)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        near, far = self.ends
        with near, far:
            try:
                while not self.ended.wait(0.001):
                    began = time.monotonic()
                    for one, other in ((near, far), (far, near)):
                        one.sendall(b"?")
                        if not other.recv(1):
                            raise OSError("it was closed")
                    self.longest = max(self.longest, time.monotonic() - began)
                    self.exchanged += 1
            except OSError as err:
                self.error = str(err)


def talk(name: str, address: str, from_: NetworkNamespace, to: NetworkNamespace) -> Talk:
    """Connect to an address out of one namespace into another."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with to.enter(), socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        with from_.enter():
            near = socket.create_connection((address, port), timeout=5)
        far, _ = server.accept()
    return Talk(name, near, far)


def test_connections_stay_alive_all_through_the_move_and_back(
    plugin: OsVif, wire: BridgeGuest, netns: NetworkNamespace
) -> None:
    talks = [
        talk("in", HOST, wire.namespace, netns),
        talk("out", NEIGHBOUR, netns, wire.namespace),
        talk("far", FAR, netns, wire.namespace),
        talk("in, IPv6", HOST6, wire.namespace, netns),
        talk("out, IPv6", NEIGHBOUR6, netns, wire.namespace),
        talk("far, IPv6", FAR6, netns, wire.namespace),
    ]
    for one in talks:
        one.start()
    time.sleep(0.1)
    plugin.configure(flat_interface=INTERFACE)
    before = [0 for one in talks]
    for move in (lambda: plugin.plug(vif()), collect):
        move()
        assert all(one.exchanged > count for one, count in zip(talks, before, strict=True))
        before = [one.exchanged for one in talks]
        time.sleep(0.4)
    for one in talks:
        one.ended.set()
    for one in talks:
        one.join(10)
    assert BRIDGE not in ip("-brief link")
    assert [(one.name, one.error) for one in talks if one.error] == []
    assert [(one.name, one.longest) for one in talks if one.longest > GAP] == []
    assert all(one.exchanged > count for one, count in zip(talks, before, strict=True))


RTM_DELADDR, RTM_GETROUTE, RTN_UNICAST, RTN_LOCAL, RT_TABLE_LOCAL = 21, 26, 1, 2, 255
_RTA_DST = 1


WATCHED = {
    HOST: RTN_LOCAL,
    NEIGHBOUR: RTN_UNICAST,
    FAR: RTN_UNICAST,
    "172.16.0.1": RTN_UNICAST,
    "172.17.0.1": RTN_UNICAST,
    HOST6: RTN_LOCAL,
    NEIGHBOUR6: RTN_UNICAST,
    FAR6: RTN_UNICAST,
    "2001:db8:7::1": RTN_UNICAST,
}


def misrouted() -> list[str]:
    """Return what the kernel says of the addresses whose packets do not go where they should."""
    wrong = []
    with rtnetlink.Socket() as kernel:
        for address, wanted in WATCHED.items():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            to = socket.inet_pton(family, address)
            header = bytes([family, 8 * len(to), *bytes(10)])
            try:
                answer = kernel.get(RTM_GETROUTE, header + rtnetlink.attribute(_RTA_DST, to))
            except OSError as err:
                wrong.append(f"{address}: {err}")
            else:
                if answer[7] != wanted:
                    wrong.append(f"{address}: a route of type {answer[7]}")
    return wrong


def test_at_every_instant_there_is_the_old_or_the_new(
    netns: NetworkNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rtnetlink.Socket.change_all
    seen: list[list[str]] = []

    def change_all(kernel: rtnetlink.Socket, changes: Sequence[Any]) -> list[OSError | None]:
        """One by one, as if the kernel took its time, with a look after each."""
        refusals = []
        for change in changes:
            refusals += real(kernel, [change])
            seen.append(misrouted())
        return refusals

    with interface(), initialized() as plugin:
        give = [
            f"address add {HOST}/24 dev {INTERFACE}",
            f"address add 192.0.2.2/24 dev {INTERFACE}",
            f"route add default via {NEIGHBOUR}",
            f"route add 172.16.0.0/16 via {NEIGHBOUR}",
            f"nexthop add id 1 via {NEIGHBOUR} dev {INTERFACE}",
            "route add 172.17.0.0/16 nhid 1",
            f"address add {HOST6}/64 dev {INTERFACE} nodad",
            f"-6 route add default via {NEIGHBOUR6}",
            f"-6 route add 2001:db8:7::/48 via fe80::1 dev {INTERFACE}",
        ]
        assert len(misrouted()) == len(WATCHED)
        assert batch(give) == ""
        complete()
        assert misrouted() == []
        monkeypatch.setattr(rtnetlink.Socket, "change_all", change_all)
        plugin.plug(vif())
    assert [wrong for wrong in seen if wrong] == []
    assert len(seen) > 15


def test_an_address_of_ipv6_does_not_go_before_it_has_come(
    network: NetworkNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel makes it usable in the background, on a busy machine some 20 ms later."""
    slow, requests = iter(range(100)), []
    real_dump, real_change = rtnetlink.Socket.dump, rtnetlink.Socket.change_all

    def dump(kernel: rtnetlink.Socket, kind: int, body: bytes) -> list[bytes]:
        found = real_dump(kernel, kind, body)
        if kind == RTM_GETROUTE and (number := next(slow)) < 5:
            requests.append(f"look {number}")
            found = [one for one in found if one[4] != RT_TABLE_LOCAL]
        return found

    def change_all(kernel: rtnetlink.Socket, changes: Sequence[Any]) -> list[OSError | None]:
        requests.extend("go" if kind == RTM_DELADDR else "" for kind, _, _ in changes)
        return real_change(kernel, changes)

    with bridged_host(V4, V6) as before:
        monkeypatch.setattr(rtnetlink.Socket, "dump", dump)
        monkeypatch.setattr(rtnetlink.Socket, "change_all", change_all)
        join()
        assert requests.index("go") > requests.index("look 4")
        assert settled(before.moved(OLD, NEW)) == ""


def test_a_bridge_without_a_cable_is_not_waited_for(network: NetworkNamespace) -> None:
    with bridged_host(V4, V6, "link set wire0 down") as before:
        wait_until(lambda: "NO-CARRIER" in ip(f"link show {OLD}"))
        with within(0.4):
            join()
        assert settled(before.moved(OLD, NEW)) == ""


# Killed at every point ---------------------------------------------------------------------------


@contextlib.contextmanager
def reachable_host() -> Iterator[BridgeGuest]:
    """A host with an empty bridge; yield the machine on its wire, its gateway to another net."""
    with interface() as machine:
        give_ipv6(machine)
        be_a_gateway(machine)
        configure(INTERFACE, {"ipv4/rp_filter": 1, "ipv4/log_martians": 1, "ipv6/accept_ra": 2})
        give = [
            f"address add {HOST}/24 dev {INTERFACE}",
            f"address add 192.0.2.9/24 dev {INTERFACE}",
            f"route add default via {NEIGHBOUR}",
            f"address add {HOST6}/64 dev {INTERFACE} nodad",
            f"-6 route add default via {NEIGHBOUR6}",
            f"link add {BRIDGE} type bridge forward_delay 0",
        ]
        assert batch(give) == ""
        conf(BRIDGE, "ipv6/disable_ipv6").write_text("1")
        ip(f"link set {BRIDGE} up")
        complete()
        try:
            yield machine
        finally:
            ip(f"link delete {BRIDGE}")


def unreachable(machine: BridgeGuest) -> list[str]:
    """The pings that the host does not answer, asked by whoever has forgotten all neighbours."""
    for forget in (run, machine.namespace.run):
        forget(["ip", "neighbour", "flush", "all"])
    pairs = ((NEIGHBOUR, HOST), (FAR, HOST), (NEIGHBOUR6, HOST6), (FAR6, HOST6))
    argv = ["ping", "-n", "-q", "-c1", "-i0.2", "-w2"]  # until one is answered, or 2 s are over
    return [
        f"from {source}"
        for source, host in pairs
        if machine.namespace.run([*argv, "-I", source, host], check=False).returncode
    ]


@pytest.mark.parametrize("move", [join, leave])
def test_killed_at_any_point_the_host_is_reachable_and_the_rest_moves(
    move: Callable[[], None], netns: NetworkNamespace
) -> None:
    points, killed, lost = 0, True, []
    while killed:
        with reachable_host() as machine:
            before = complete()
            wanted = before.moved(INTERFACE, BRIDGE) if move is join else before
            if move is leave:
                join()
                configure(BRIDGE, {"ipv4/rp_filter": 2})
            killed = killed_before(points, move)
            lost += [f"{who}, killed at {points}" for who in unreachable(machine)]
            move()
            assert unreachable(machine) == []
            now = complete()
            assert (now.addresses, now.routes) == (wanted.addresses, wanted.routes)
            assert now.of(INTERFACE if move is join else BRIDGE) == []
        points += killed
    print(f"{points} points, lost at {len({one.partition(', ')[2] for one in lost})}")
    assert lost == []
    assert points >= 3


# Through the verb --------------------------------------------------------------------------------


def test_what_the_kernel_refuses_half_way_leaves_the_verb_with_nothing_done(
    plugin: OsVif, netns: NetworkNamespace
) -> None:
    with interface():
        ip(f"address add {HOST}/24 dev {INTERFACE}")
        ip(f"route add 172.16.0.0/16 via inet6 fe80::1 dev {INTERFACE}")
        before = addressing()
        with pytest.raises(exception.PlugException, match="IPv6 is disabled on nexthop device"):
            plugin.plug(vif())
        assert settled(before) == ""
        assert BRIDGE not in ip("-brief link")


def test_addresses_that_come_to_the_interface_later_move_with_the_next_vif(
    plugin: OsVif, netns: NetworkNamespace
) -> None:
    """As when a DHCP client renews a lease on the interface that it knows."""
    with interface():
        ip(f"address add {HOST}/24 dev {INTERFACE}")
        before = addressing()
        plugin.plug(vif())
        ip(f"address add {HOST}/24 dev {INTERFACE}")
        plugin.plug(vif(2))
        assert settled(before.moved(INTERFACE, BRIDGE)) == ""
