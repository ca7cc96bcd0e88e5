# SPDX-License-Identifier: Apache-2.0
"""VLAN bridges, and the move of a host's addresses, under Debian's kernel."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from os_vif import exception
from os_vif.internal.ip.api import ip
from os_vif.kernel import observe
from tests.rig import linux_bridge, run
from tests.rig.addressing import addressing, changes
from tests.rig.capture import Capture
from tests.rig.guest import BridgeGuest
from tests.rig.linux_bridge import HOST6, INTERFACE
from tests.rig.namespace import NetworkNamespace
from tests.rig.plugin import OsVif
from tests.rig.snapshot import links

pytestmark = pytest.mark.usefixtures("netns")

#: The machine beyond the wire has the same address in each VLAN.
BEYOND = "192.0.2.250"
IPV4 = 0x0800
#: VLAN -> MTU of its network.
MTUS = {7: 1400, 8: 1500, 9: 1900, **dict.fromkeys((10, 11, 12, 13), 1500)}


def vif(number: int, vlan: int, **overrides: Any) -> Any:
    network = {"should_provide_vlan": True, "vlan": vlan, "mtu": MTUS[vlan], "bridge": f"br{vlan}"}
    return linux_bridge.vif(number, network=network, bridge_name=f"br{vlan}", **overrides)


@pytest.fixture
def osvif() -> Iterator[OsVif]:
    with linux_bridge.initialized() as verbs:
        yield verbs


@contextmanager
def beyond(machine: BridgeGuest, vlan: int) -> Iterator[NetworkNamespace]:
    """A machine that hears one VLAN of the wire, and nothing else."""
    name = f"vlan{vlan}"
    with NetworkNamespace() as there:
        machine.namespace.run(["ip", "link", "set", "eth0", "mtu", "2000"])
        machine.namespace.run(
            ["ip", "link", "add", "link", "eth0", "name", name, "type", "vlan", "id", str(vlan)]
        )
        machine.namespace.run(
            ["ip", "link", "set", name, "netns", f"/proc/self/fd/{there.fd}"], pass_fds=(there.fd,)
        )
        there.disable_ipv6()
        there.run(["ip", "address", "add", f"{BEYOND}/24", "dev", name])
        there.run(["ip", "link", "set", name, "up"])
        yield there


def mtu(device: str) -> object:
    return observe.links([device])[device].attributes["mtu"]


def test_vlans_are_tagged_on_the_wire_and_keep_apart(osvif: OsVif) -> None:
    with ExitStack() as stack:
        machine = stack.enter_context(linux_bridge.interface(mtu=1500))
        for vlan in (7, 8):
            stack.enter_context(beyond(machine, vlan))
        for number, vlan in enumerate((7, 8, 7), start=1):
            osvif.plug(vif(number, vlan, has_traffic_filtering=vlan == 8), number)
        assert (mtu("vlan7"), mtu("br7"), mtu(INTERFACE)) == (1400, 1400, 1500)
        one, other, third = (
            stack.enter_context(linux_bridge.guest(number, f"br{vlan}", MTUS[vlan]))
            for number, vlan in enumerate((7, 8, 7), start=1)
        )
        with Capture(INTERFACE) as wire:
            assert one.ping(BEYOND, 2, size=1400, dont_fragment=True) == (2, 2)
            assert other.ping(BEYOND, 2, size=1500, dont_fragment=True) == (2, 2)
            assert one.ping(third.ip, 2) == (2, 2)
            assert one.ping(other.ip, 1, wait=1)[1] == 0
        sent = {guest.mac: set() for guest in (one, other, third)}
        for frame in wire.frames:
            if frame.protocol == IPV4 and frame.source in sent:
                sent[frame.source].add(frame.vlans)
        # what stays within a bridge is not seen on the wire
        assert sent == {one.mac: {(7,)}, other.mac: {(8,)}, third.mac: set()}

        before, calls = links(), len(osvif.privileged_calls)
        osvif.plug(vif(1, 7), 1)
        osvif.plug(vif(2, 8), 2)
        assert len(osvif.privileged_calls) == calls
        osvif.unplug(vif(1, 7), 1)
        assert links() == before

        osvif.plug(vif(4, 9), 4)
        assert (mtu("vlan9"), mtu(INTERFACE), mtu("vlan7")) == (1900, 1900, 1400)
        calls = len(osvif.privileged_calls)
        osvif.plug(vif(1, 7), 1)  # the interface is not made smaller for it
        assert (mtu(INTERFACE), len(osvif.privileged_calls)) == (1900, calls)


def test_the_interface_may_be_called_by_an_alternative_name(osvif: OsVif) -> None:
    with linux_bridge.interface():
        run(["ip", "link", "property", "add", "dev", INTERFACE, "altname", "enp7s0f0np0"])
        osvif.configure(vlan_interface="enp7s0f0np0")
        before = links()
        osvif.plug(vif(1, 7), 1)
        assert observe.links(["vlan7"])["vlan7"].attributes["parent"] == INTERFACE
        plugged, calls = links(), len(osvif.privileged_calls)
        osvif.plug(vif(1, 7), 1)
        osvif.plug(vif(2, 7), 2)
        assert (links(), len(osvif.privileged_calls)) == (plugged, calls)
        assert set(linux_bridge.collect()) == {"bridge br7", "vlan vlan7"}
        assert links() == before


def test_the_old_helper_makes_a_vlan_device() -> None:
    ip.add("below", ip.TYPE_VETH, peer="other")
    ip.add("vlan5", ip.TYPE_VLAN, link="below", vlan_id=5)
    found = observe.links(["vlan5"])["vlan5"]
    assert (found.attributes["parent"], found.attributes["vlan"]) == ("below", 5)


def test_a_bridge_that_fails_takes_its_vlan_device_along(osvif: OsVif) -> None:
    with linux_bridge.interface():
        before = links()
        osvif.configure(iptables_drop_action="NO-SUCH-CHAIN", forward_bridge_interface=[INTERFACE])
        with pytest.raises(exception.PlugException, match="NO-SUCH-CHAIN"):
            osvif.plug(vif(1, 7, has_traffic_filtering=False), 1)
        assert links() == before


def test_vlan_devices_that_nothing_uses_go_with_their_bridges(osvif: OsVif) -> None:
    with linux_bridge.interface(mtu=2000):
        before = links()
        for number, vlan in enumerate((7, 8, 9), start=1):
            osvif.plug(vif(number, vlan), number)
        run(["ip", "link", "add", "link", "vlan8", "name", "inner", "type", "vlan", "id", "80"])
        with linux_bridge.guest(1, "br7", MTUS[7]):
            assert linux_bridge.collect(vif(3, 9)) == ("bridge br8",)
            assert linux_bridge.collect(vif(3, 9)) == ()
        run(["ip", "link", "delete", "inner"])
        assert set(linux_bridge.collect(vif(3, 9))) == {"bridge br7", "vlan vlan7", "vlan vlan8"}
        for number in (10, 11, 12, 13):  # so many that links might be deleted together
            osvif.plug(vif(number, number), number)
        gone = {what for n in (9, 10, 11, 12, 13) for what in (f"bridge br{n}", f"vlan vlan{n}")}
        assert set(linux_bridge.collect()) == gone
        assert links() == before


def test_a_vlan_that_the_host_itself_uses_stays(osvif: OsVif) -> None:
    with linux_bridge.interface():
        for number, device in ((7, "br7"), (8, "vlan8")):
            osvif.plug(vif(number, number), number)
            run(["ip", "address", "add", f"198.51.{number}.1/24", "dev", device])
        before = addressing()
        assert linux_bridge.collect() == ("bridge br8",)
        assert not changes(before, addressing())
        assert {"br7", "vlan7", "vlan8"} <= links().keys()


def test_addresses_and_routes_move_under_this_kernel(osvif: OsVif) -> None:
    """Kernels differ in what they take along when an address goes, such as routes from it."""
    with linux_bridge.interface() as machine:
        linux_bridge.give_ipv6(machine)
        for words in (
            "address add 192.0.2.1/24 dev eth0",
            "address add 192.0.2.2/24 dev eth0",
            "address add 198.51.100.1/32 dev eth0",
            "address add 203.0.113.1/24 dev eth0 noprefixroute",
            f"address add {HOST6}/64 dev eth0 nodad",
            "route add 203.0.113.0/24 dev eth0 proto kernel scope link src 203.0.113.1 metric 100",
            "route add default via 192.0.2.254 src 198.51.100.1 metric 50",
            "route add 10.1.0.0/16 via 192.0.2.254 src 192.0.2.2",
            "route add 10.2.0.0/16 via 192.0.2.254 table 100",
            "-6 route add default via 2001:db8::fe",
        ):
            run(["ip", *words.split()])
        before = addressing()
        osvif.plug(linux_bridge.vif(1), 1)
        assert not changes(before.moved(INTERFACE, linux_bridge.BRIDGE), addressing())
        with linux_bridge.guest(1) as guest:
            assert guest.ping("192.0.2.1", 2) == (2, 2)
        calls = len(osvif.privileged_calls)
        osvif.plug(linux_bridge.vif(2), 2)
        assert len(osvif.privileged_calls) == calls
