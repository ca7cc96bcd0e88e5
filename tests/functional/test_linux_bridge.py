# SPDX-License-Identifier: Apache-2.0
"""The plugin for Linux bridges on a real kernel; ``test_linux_bridge_moves`` has the addresses."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from oslo_config import cfg

import os_vif
from os_vif import exception
from os_vif.kernel import bridge_membership, sysctl
from os_vif.wiring import errors
from tests import vifs
from tests.fakes import NO_HOST_STACK
from tests.rig import command_lines, run, wait_until
from tests.rig.addressing import addressing, changes
from tests.rig.guest import BridgeGuest
from tests.rig.linux_bridge import (
    BRIDGE,
    HOST,
    HOST6,
    HOST_MAC,
    INTERFACE,
    MARK,
    NEIGHBOUR,
    collect,
    conf,
    guest,
    host,
    initialized,
    interface,
    ip,
    no_duplicate_address_detection,
    rules_of,
    vif,
)
from tests.rig.namespace import NetworkNamespace, private_network
from tests.rig.plugin import ROOT, Child, OsVif
from tests.rig.processes import STEPS, at_once, killed_before
from tests.rig.snapshot import Facts, difference, links, sysctls
from vif_plug_linux_bridge import iptables_runner, linux_bridge, linux_net
from vif_plug_linux_bridge.shapes import Settings

AMPLE = 30.0  # seconds


@pytest.fixture
def plugin(netns: NetworkNamespace) -> Iterator[OsVif]:
    with initialized() as verbs:
        yield verbs


@pytest.fixture
def wire(netns: NetworkNamespace) -> Iterator[BridgeGuest]:
    """A host with an interface, and the machine at the other end of it."""
    no_duplicate_address_detection()
    with interface() as machine:
        ip(f"address add {HOST}/24 dev {INTERFACE}")
        yield machine


def ports(bridge: str = BRIDGE) -> set[str]:
    return {name for name, link in links().items() if link["master"] == bridge}


# Packets -----------------------------------------------------------------------------------------


def test_guests_of_a_flat_bridge_reach_each_other_the_host_and_the_wire(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    plugin.plug(vif(1))
    plugin.plug(vif(2))
    with guest(1) as one, guest(2) as two:
        for address in (two.ip, HOST, NEIGHBOUR):
            assert one.ping(address, count=2, interval=0.05) == (2, 2)
        assert wire.ping(two.ip, count=2, interval=0.05) == (2, 2)
        assert wire.ping(HOST, count=2, interval=0.05) == (2, 2)
        assert ports() == {INTERFACE, one.port_name, two.port_name}


def test_what_is_forwarded_beyond_the_bridge_is_up_to_the_options(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    """Filtering off and on; within the bridge everything passes."""
    outside = BridgeGuest(None, "eth1", "06:00:00:00:00:51", "198.51.100.2/24")
    plugin.plug(vif(1))
    with guest(1) as one, guest(2) as two, outside:
        ip("address add 198.51.100.1/24 dev eth1")
        conf("all", "ipv4/forwarding").write_text("1")
        for machine, gateway in ((one, HOST), (outside, "198.51.100.1")):
            machine.namespace.run(["ip", "route", "add", "default", "via", gateway])

        def passes() -> list[bool]:
            tries = ((one, outside.ip), (outside, one.ip), (one, two.ip))
            return [bool(who.ping(to, count=1, wait=0.2)[1]) for who, to in tries]

        assert passes() == [True, True, True]
        for interfaces, beyond in (["eth7"], False), (["eth1"], True), (["all"], True):
            plugin.configure(forward_bridge_interface=interfaces)
            plugin.plug(vif(1, has_traffic_filtering=False))
            assert passes() == [beyond, beyond, True], interfaces


def test_the_bridge_is_as_described(plugin: OsVif, wire: BridgeGuest) -> None:
    """Without ageing frames would flood (bug 1837252); by a link-local address of the bridge
    guests could reach the host (bug 1302080)."""
    plugin.plug(vif())
    facts = links()[BRIDGE]
    assert facts == {
        "kind": "bridge",
        "mtu": 1500,
        "mac": HOST_MAC,
        "up": True,
        "promisc": False,
        "master": None,
        "alias": MARK,
        "group": "default",
        "parent": None,
        "ageing_time": 30000,
        "stp_state": 0,
        "forward_delay": 0,
        "mcast_snooping": 0,
    }
    assert sysctls(BRIDGE, NO_HOST_STACK) == NO_HOST_STACK
    assert "inet6" not in ip(f"-6 address show dev {BRIDGE}")


@pytest.mark.parametrize(("mtu", "before"), [(1400, 1500), (3000, 1500)])
def test_packets_of_the_networks_mtu_pass_and_no_longer_ones(
    mtu: int, before: int, plugin: OsVif, wire: BridgeGuest
) -> None:
    """The guests may have a larger one, by mistake."""
    assert links()[INTERFACE]["mtu"] == before
    wire.namespace.run(["ip", "link", "set", "eth0", "mtu", "9000"])
    plugin.plug(vif(network={"mtu": mtu}))
    assert {links()[name]["mtu"] for name in (INTERFACE, BRIDGE)} == {mtu}
    with guest(1, mtu=9000) as one:
        some: dict[str, Any] = {"count": 1, "dont_fragment": True}
        for address in (NEIGHBOUR, HOST):
            assert one.ping(address, size=mtu, **some) == (1, 1)
        assert one.ping(NEIGHBOUR, size=mtu + 1, wait=0.2, **some) == (1, 0)
        assert wire.ping(one.ip, size=mtu, **some) == (1, 1)
        assert run(["ping", "-c1", "-Mdo", f"-s{mtu - 28}", NEIGHBOUR]).returncode == 0
        assert run(["ping", "-c1", "-Mdo", f"-s{mtu - 27}", NEIGHBOUR], check=False).returncode


def test_the_mtu_of_a_bridge_is_not_that_of_its_smallest_port(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    ip(f"link add {BRIDGE} type bridge forward_delay 0")
    with guest(1, mtu=1280):
        plugin.plug(vif(network={"mtu": 1400}))
        assert links()[BRIDGE]["mtu"] == 1400


def test_a_bridge_does_not_answer_for_an_address_of_another_interface(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    """ARP flux: with the kernel's setting it would."""
    plugin.plug(vif())
    elsewhere = "198.51.100.1"
    with interface("eth1", neighbour="198.51.100.254", mac="02:00:00:00:00:02"):
        ip(f"address add {elsewhere}/24 dev eth1")
        with guest(1) as one:
            one.namespace.run(["ip", "route", "add", elsewhere, "dev", "eth0"])
            assert one.ping(HOST, count=1) == (1, 1)
            assert one.ping(elsewhere, count=1, wait=0.5) == (1, 0)
            for name in NO_HOST_STACK:
                sysctl.write(BRIDGE, name, 0)
            one.namespace.run(["ip", "neighbour", "flush", "dev", "eth0"])
            assert one.ping(elsewhere, count=1, wait=0.5) == (1, 1)


# Again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filtered", [True, False])
def test_plugging_takes_one_privileged_call_and_again_changes_nothing(
    filtered: bool, plugin: OsVif, wire: BridgeGuest
) -> None:
    ip(f"address add {HOST6}/64 dev {INTERFACE} nodad")
    plugin.plug(vif(1, has_traffic_filtering=filtered))
    assert len(plugin.privileged_calls) == 1
    before = host()
    plugin.plug(vif(2, has_traffic_filtering=filtered))
    plugin.plug(vif(1, has_traffic_filtering=filtered))
    plugin.unplug(vif(1, has_traffic_filtering=filtered))
    assert not difference(before, host())
    # Only the privileged side can see whether the rules are there.
    again = plugin.privileged_calls[1:]
    reads = [] if filtered else [["FilterBridge"]] * 2
    assert [[name for name, _ in steps] for steps in again] == reads


def test_a_guest_does_not_change_what_plugging_again_finds(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    """Its tap may have a lower MAC address, which the kernel would give the bridge."""
    plugin.plug(vif())
    with guest(1) as one:
        ip(f"link set {one.port_name} address 00:00:00:00:00:01")
        before = host()
        plugin.plug(vif(2))
        assert not difference(before, host())
        assert len(plugin.privileged_calls) == 1
        assert links()[BRIDGE]["mac"] == HOST_MAC


@pytest.mark.parametrize(
    "change",
    [
        f"link set {INTERFACE} nomaster",
        f"link set {INTERFACE} down",
        f"link set {BRIDGE} down",
        f"link set {BRIDGE} mtu 1300",
        f"link set {INTERFACE} mtu 1300",
        f"link set {BRIDGE} type bridge stp_state 1",
        f"link set {BRIDGE} type bridge mcast_snooping 1",
        f"address add 203.0.113.7/24 dev {INTERFACE}",
    ],
)
def test_what_was_changed_is_corrected(change: str, plugin: OsVif, wire: BridgeGuest) -> None:
    plugin.plug(vif())
    before = host()
    ip(change)
    assert difference(before, host())
    plugin.plug(vif())
    ip(f"address delete 203.0.113.7/24 dev {BRIDGE}", check=False)
    assert not difference(before, host())


# Refused, and taken back -------------------------------------------------------------------------

REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no such interface": ("", {"network": {"bridge_interface": "eth7"}}, "link eth7 is missing"),
    "an interface of another bridge": (
        f"link add br-other type bridge; link set {INTERFACE} master br-other",
        {},
        f"link {INTERFACE}: master should be '{BRIDGE}' and is 'br-other'",
    ),
    "the name is that of another kind": (
        f"link add {BRIDGE} type veth peer name other",
        {},
        f"link {BRIDGE}: kind should be 'bridge' and is 'veth'",
    ),
    "a bridge in itself": (
        f"link add {BRIDGE} type bridge; address add 203.0.113.1/24 dev {BRIDGE}",
        {"network": {"bridge_interface": BRIDGE}},
        "it is the interface itself",
    ),
    "a bridge in a bridge": (
        "link add br-other type bridge; address add 203.0.113.1/24 dev br-other",
        {"network": {"bridge_interface": "br-other"}},
        "put br-other into bridge",
    ),
    "an interface without a MAC address": (
        "tuntap add tun0 mode tun",
        {"network": {"bridge_interface": "tun0"}},
        "put tun0 into bridge",
    ),
    "an mtu that the interface does not take": (
        "link add eth9 type vxlan id 9 dev eth0 dstport 4789; link set eth9 up",
        {"network": {"bridge_interface": "eth9", "mtu": 9000}},
        "set mtu=9000",
    ),
    "the loopback": ("", {"network": {"bridge_interface": "lo"}}, "bridge_interface, 'lo'"),
    "a name with a slash": ("", {"bridge_name": "../br"}, "vif.bridge_name, '../br'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_changes_nothing(case: str, plugin: OsVif, wire: BridgeGuest) -> None:
    made, wrong, said = REFUSALS[case]
    ip(f"address add {HOST6}/64 dev {INTERFACE} nodad")
    for command in filter(None, made.split(";")):
        ip(command)
    before = host()
    with pytest.raises(exception.PlugException) as failure:
        plugin.plug(vif(**wrong))
    assert said in str(failure.value)
    assert not difference(before, host())


def test_another_kind_of_vif_is_refused(plugin: OsVif) -> None:
    with pytest.raises(exception.PlugException, match="VIFOpenVSwitch"):
        plugin.plug(vifs.vif_open_vswitch(plugin="linux_bridge"))


@pytest.mark.parametrize("script", ["exit 4", "kill -9 $$", "echo '*filter'; exit 1"])
@pytest.mark.parametrize(
    "there",
    ["", f"link add {BRIDGE} type bridge stp_state 1"],
    ids=["no-bridge", "anothers-bridge"],
)
def test_when_iptables_fails_all_is_as_before(
    script: str,
    there: str,
    plugin: OsVif,
    wire: BridgeGuest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if there:
        ip(there)
    before = host()
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        for program in ("iptables-save", "iptables-restore"):
            (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / program).chmod(0o755)
        with pytest.raises(exception.PlugException, match="iptables-save"):
            plugin.plug(vif(network={"mtu": 1400}, has_traffic_filtering=False))
    assert not difference(before, host())


# Nothing to do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network", [{"multi_host": True}, {"should_provide_bridge": False}], ids=str
)
def test_a_network_of_somebody_else_is_left_to_them(
    network: dict[str, Any], plugin: OsVif, wire: BridgeGuest
) -> None:
    before = host()
    plugin.plug(vif(network=network))
    assert not difference(before, host())
    assert plugin.privileged_calls == []


@pytest.mark.parametrize(
    "unset", ["id", "address", "bridge_name", "vif_name", "has_traffic_filtering", "network"]
)
def test_unplug_needs_nothing_and_leaves_the_bridge_for_others(
    unset: str, plugin: OsVif, wire: BridgeGuest
) -> None:
    plugin.plug(vif(has_traffic_filtering=False))
    before = host()
    bare = vif(has_traffic_filtering=False)
    delattr(bare, f"_obj_{unset}")
    plugin.unplug(bare)
    assert not difference(before, host())
    assert len(plugin.privileged_calls) == 1


def test_plug_does_not_need_what_it_does_not_use(plugin: OsVif, wire: BridgeGuest) -> None:
    bare = vif()
    for unset in ("id", "address", "vif_name"):
        delattr(bare, f"_obj_{unset}")
    plugin.plug(bare)
    assert ports() == {INTERFACE}


# What others made --------------------------------------------------------------------------------


def test_without_an_interface_neutrons_agent_adds_it(plugin: OsVif, wire: BridgeGuest) -> None:
    """Nova until version 33 asks so for a bridge of Neutron's Linux bridge agent."""
    one = vif(network={"bridge_interface": None})
    plugin.plug(one)
    assert links()[BRIDGE]["up"]
    assert links()[INTERFACE]["master"] is None
    ip(f"link set {INTERFACE} master {BRIDGE}")
    agents = host()
    plugin.plug(one)
    assert not difference(agents, host())
    with guest() as there:
        assert there.ping(NEIGHBOUR, count=1) == (1, 1)


def test_a_bridge_of_others_keeps_what_they_gave_it(plugin: OsVif, wire: BridgeGuest) -> None:
    """STP may be all that holds a loop open."""
    ip(f"link add {BRIDGE} address 02:00:00:00:00:99 type bridge stp_state 1 forward_delay 400")
    ip(f"link set {BRIDGE} up type bridge mcast_snooping 1")
    ip(f"address add {HOST6}9/64 dev {BRIDGE} nodad")
    ip(f"link set {BRIDGE} alias theirs")
    theirs, settings = links()[BRIDGE], host()["settings"]
    plugin.plug(vif())
    assert not difference(theirs, links()[BRIDGE])
    assert not difference(settings, host()["settings"])
    assert ports() == {INTERFACE}
    assert f'"{HOST6}9"' in str(addressing().of(BRIDGE))
    assert f'"{HOST}"' in str(addressing().of(BRIDGE))


def test_a_bridge_of_others_that_is_complete_is_not_touched(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    ip(f"link add {BRIDGE} type bridge")
    ip(f"link set {BRIDGE} up")
    ip(f"address delete {HOST}/24 dev {INTERFACE}")
    ip(f"link set {INTERFACE} master {BRIDGE}")
    before = host()
    plugin.plug(vif())
    assert not difference(before, host())
    assert plugin.privileged_calls == []


def test_our_bridge_keeps_ipv6_addresses_that_somebody_gave_it(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    plugin.plug(vif())
    sysctl.write(BRIDGE, "disable_ipv6", 0)
    ip(f"address add {HOST6}/64 dev {BRIDGE} nodad")
    plugin.plug(vif(2))
    assert f'"{HOST6}"' in str(addressing().of(BRIDGE))


# Killed ------------------------------------------------------------------------------------------


def test_killed_between_any_two_steps_plugging_again_converges(netns: NetworkNamespace) -> None:
    kills = 0
    wanted: Facts = {}
    for step in range(10):
        with private_network(), initialized() as plugin, interface():
            ip(f"address add {HOST}/24 dev {INTERFACE}")
            if killed_before(step, lambda plugin=plugin: plugin.plug(vif()), STEPS):
                kills += 1
                plugin.plug(vif())
            wanted = wanted or host()
            assert not difference(wanted, host())
    assert kills >= 3


def test_killed_while_a_bridge_is_made_it_is_made_ready(plugin: OsVif, wire: BridgeGuest) -> None:
    """Its name alone stands: it bears no mark yet."""
    ip(f"link add {BRIDGE} type bridge")
    plugin.plug(vif())
    facts = links()[BRIDGE]
    assert (facts["up"], facts["forward_delay"], facts["mcast_snooping"]) == (True, 0, 0)
    assert ports() == {INTERFACE}


# Several at once ---------------------------------------------------------------------------------


def plug_alone(number: int, filtered: bool) -> None:
    """Plug in a process of its own."""
    linux_bridge.LOCKS._forget()
    with initialized() as plugin:
        plugin.plug(vif(number, has_traffic_filtering=filtered))


@pytest.mark.parametrize(("filtered", "rounds"), [(True, 12), (False, 3)])
def test_processes_that_plug_on_the_same_bridge_at_once(
    filtered: bool, rounds: int, off_the_host: None
) -> None:
    for _ in range(rounds):
        with private_network(), interface() as machine:
            ip(f"address add {HOST}/24 dev {INTERFACE}")
            ip(f"address add 192.0.2.2/24 dev {INTERFACE}")
            ip(f"route add default via {NEIGHBOUR}")
            before = addressing()
            at_once(*(partial(plug_alone, n, filtered) for n in (1, 2, 3)))
            assert not changes(before.moved(INTERFACE, BRIDGE), addressing())
            assert links()[BRIDGE]["alias"] == MARK
            assert ports() == {INTERFACE}
            assert machine.ping(HOST, count=1) == (1, 1)


def test_threads_that_plug_on_the_same_bridge_at_once(plugin: OsVif, wire: BridgeGuest) -> None:
    before = addressing()
    with ThreadPoolExecutor(8) as threads:
        every = [vif(n, has_traffic_filtering=False) for n in range(1, 9)]
        list(threads.map(plugin.plug, every, range(1, 9)))
    assert not changes(before.moved(INTERFACE, BRIDGE), addressing())
    # One made it; the others looked at the rules.
    made = [steps for steps in plugin.privileged_calls if len(steps) > 1]
    assert len(made) == 1


def test_whoever_joins_the_bridge_meanwhile_keeps_its_ipv6(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    """Between our look at a bridge and our settings for it another process has finished it."""
    ip(f"address add {HOST6}/64 dev {INTERFACE} nodad")
    ip(f"link add {BRIDGE} type bridge")
    ip(f"link set {BRIDGE} alias {MARK}")
    linux_bridge.LOCKS._forget()
    plugin.once_before_links(lambda: at_once(partial(plug_alone, 2, True)))
    plugin.plug(vif(1))
    assert f'"{HOST6}"' in str(addressing().of(BRIDGE))


def test_a_bridge_that_somebody_else_has_begun_to_use_is_not_rolled_back(
    plugin: OsVif, wire: BridgeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has put the interface into the bridge that we made; then our plug fails."""

    def ensure(*_: object) -> None:
        bridge_membership.join(INTERFACE, BRIDGE, None)
        raise OSError(5, "not today")

    monkeypatch.setattr(iptables_runner, "ensure", ensure)
    with pytest.raises(exception.PlugException, match="not today"):
        plugin.plug(vif(has_traffic_filtering=False))
    assert f'"{HOST}"' in str(addressing().of(BRIDGE))


# Through the public API, and the real daemon -----------------------------------------------------


def test_all_of_a_host_at_once(plugin: OsVif, wire: BridgeGuest) -> None:
    good, bad = vif(1), vif(2, network={"bridge_interface": "eth7"}, bridge_name="br7")
    pairs = [(one, vifs.instance(n)) for n, one in enumerate((good, bad, vif(3)), 1)]
    results = os_vif.plug_all(pairs)
    assert [type(result.error) for result in results] == [
        type(None),
        exception.PlugException,
        type(None),
    ]
    assert ports() == {INTERFACE}
    assert "br7" not in links()
    assert [result.error for result in os_vif.unplug_all(pairs)] == [None] * 3


def test_the_plugin_says_that_it_takes_bridges_without_a_port_profile(plugin: OsVif) -> None:
    (info,) = (
        one for one in os_vif.host_info(None).plugin_info if one.plugin_name == "linux_bridge"
    )
    (supported,) = info.vif_info
    assert supported.vif_object_name == "VIFBridge"
    assert supported.supported_port_profiles == []


def test_through_the_real_daemon(
    wire: BridgeGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, settings of the filter, answers and errors cross."""
    helper = Path(sys.prefix, "bin", "privsep-helper")
    if not helper.exists():
        pytest.skip(f"there is no {helper}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    settings = tmp_path / "os-vif.conf"
    settings.write_text("[DEFAULT]\n")
    before = addressing()
    with Child(lambda: plugged_and_collected(f"{helper} --config-file {settings}")) as process:
        seen = process.result(AMPLE)
    assert seen["changed"] == ""
    assert seen["error"].endswith(": Can not enslave a bridge to a bridge")
    assert not changes(before.moved(INTERFACE, BRIDGE), seen["addressing"])
    assert f"-i {BRIDGE} -o eth1" in seen["rules"]
    assert seen["collected"] == (f"bridge {BRIDGE}", f"rules of {BRIDGE}")
    assert not changes(before, addressing())
    assert BRIDGE not in links()
    wait_until(lambda: not is_running(settings), what="the daemon to end with its client")


def plugged_and_collected(helper_command: str) -> Facts:
    """Plug, plug again, be refused and collect with a daemon; return what was seen."""
    with initialized(in_process=False) as osvif:
        section = "vif_plug_linux_bridge_privileged"
        cfg.CONF.set_override("helper_command", helper_command, group=section)
        osvif.configure(forward_bridge_interface=["eth1", "eth2"], iptables_top_regex="a.b")
        osvif.plug(vif(1, has_traffic_filtering=False))
        before = host()
        osvif.plug(vif(2, has_traffic_filtering=False))
        with pytest.raises(exception.PlugException) as failure:
            osvif.plug(vif(3, bridge_name="br7", network={"bridge_interface": BRIDGE}))
        osvif.configure(flat_interface=INTERFACE)
        return {
            "changed": difference(before, host()),
            "error": str(failure.value),
            "addressing": addressing(),
            "rules": run(["iptables-save"]).stdout,
            "collected": collect(),
        }


def is_running(settings: Path) -> bool:
    """Whether there is a process that was told of a configuration file."""
    return any(str(settings) in line for line in command_lines())


# The functions for callers outside of this repository --------------------------------------------


def test_a_bridge_without_a_vif(plugin: OsVif, wire: BridgeGuest) -> None:
    before = addressing()
    options = Settings(forward_bridge_interface=["eth1"], iptables_drop_action="REJECT")
    with mock.patch.object(linux_net, "_options", None):
        linux_net.configure(options)
        linux_net.ensure_bridge(BRIDGE, INTERFACE, mtu=1400)
        assert not changes(before.moved(INTERFACE, BRIDGE), addressing())
        assert {links()[name]["mtu"] for name in (INTERFACE, BRIDGE)} == {1400}
        assert links()[BRIDGE]["alias"] == MARK
        rules = "".join(rules_of())
        assert all(one in rules for one in (f"-i {BRIDGE} -o eth1", "-j REJECT"))
        state = host()
        linux_net.ensure_bridge(BRIDGE, INTERFACE, filtering=False, mtu=1400)
        linux_net.ensure_bridge(BRIDGE, INTERFACE, filtering=False)
        assert not difference(state, host())
        assert len(plugin.privileged_calls) == 1
        linux_net.ensure_bridge(BRIDGE, INTERFACE, gateway=False)
        assert f"-i {BRIDGE} -o eth1" not in "".join(rules_of())


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (lambda: linux_net.ensure_bridge("../br", INTERFACE), "bridge, '../br'"),
        (lambda: linux_net.ensure_bridge(BRIDGE, "eth7"), "link eth7 is missing"),
        (lambda: linux_net.ensure_vlan_bridge(7, BRIDGE, "eth7"), "link eth7 is missing"),
        (lambda: linux_net.ensure_vlan_bridge(4095, BRIDGE, INTERFACE), "vlan_num, 4095"),
    ],
    ids=["name", "interface", "parent of a vlan", "vlan"],
)
def test_a_bridge_that_cannot_be_is_refused(
    refused: Callable[[], object], said: str, plugin: OsVif, wire: BridgeGuest
) -> None:
    before = host()
    with pytest.raises((exception.InvalidValue, errors.WiringError), match=said):
        refused()
    assert not difference(before, host())
