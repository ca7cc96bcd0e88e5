# SPDX-License-Identifier: Apache-2.0
"""What nothing uses any more is removed, and the host keeps its addresses.

``test_linux_bridge_moves`` has the way back of addresses and routes, ``tests/vm`` VLAN devices.
"""

import errno
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from oslo_privsep.daemon import FailedToDropPrivileges

import os_vif
from os_vif.kernel import bridge_membership, execute, observe
from os_vif.kernel.daemon import KernelLinks
from os_vif.wiring import errors
from os_vif.wiring.steps import DeleteLink
from tests.rig import run
from tests.rig.addressing import addressing, changes, complete
from tests.rig.guest import BridgeGuest
from tests.rig.linux_bridge import (
    BRIDGE,
    HOST,
    HOST6,
    INTERFACE,
    NEIGHBOUR,
    collect,
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
from tests.rig.plugin import OsVif
from tests.rig.processes import killed_before
from tests.rig.snapshot import difference, links
from vif_plug_linux_bridge import linux_net, privileged


@pytest.fixture
def plugin(netns: NetworkNamespace) -> Iterator[OsVif]:
    with initialized() as verbs:
        verbs.configure(flat_interface=INTERFACE)
        yield verbs


@pytest.fixture
def wire(netns: NetworkNamespace) -> Iterator[BridgeGuest]:
    """A host with an interface and addresses, and the machine at the other end of it."""
    no_duplicate_address_detection()
    with interface() as machine:
        ip(f"address add {HOST}/24 dev {INTERFACE}")
        ip(f"address add {HOST6}/64 dev {INTERFACE} nodad")
        ip(f"route add default via {NEIGHBOUR}")
        yield machine


def test_an_empty_bridge_goes_once_and_the_host_keeps_its_addresses(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    before = host()
    plugin.configure(use_ipv6=True)
    plugin.plug(vif(has_traffic_filtering=False))
    assert any(BRIDGE in rule for rule in rules_of("ip6tables-save"))
    assert collect() == (f"bridge {BRIDGE}", f"rules of {BRIDGE}")
    calls = len(plugin.privileged_calls)
    assert collect() == ()
    assert len(plugin.privileged_calls) == calls
    assert not difference(before, host())
    assert run(["ping", "-c1", "-W5", NEIGHBOUR]).returncode == 0
    assert wire.ping(HOST, count=1) == (1, 1)


def test_a_bridge_with_a_guest_or_one_that_is_about_to_come_stays(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    plugin.plug(vif(has_traffic_filtering=False))
    before = host()
    assert collect(vif(2)) == ()
    assert not difference(before, host())
    with guest() as one:
        before = host()
        assert collect() == ()
        assert not difference(before, host())
        assert one.ping(NEIGHBOUR, count=1) == (1, 1)
    assert collect() == (f"bridge {BRIDGE}", f"rules of {BRIDGE}")


@pytest.mark.parametrize(
    "use",
    [
        "",
        f"link add name mac0 link {BRIDGE} type macvtap",
        "link add name tap7 type veth peer name tap8; link set tap7 master " + BRIDGE,
        f"link set {BRIDGE} alias mine",
        f"link set {BRIDGE} alias os-vif:linux_bridge:bridge:br7",
    ],
    ids=[
        "its interface may be a guest's",
        "something is stacked on it",
        "it has another port",
        "it is not ours",
        "nor this",
    ],
)
def test_what_others_use_stays(use: str, plugin: OsVif, wire: BridgeGuest) -> None:
    """A veth may lead to a container; only the option says that the interface does not."""
    plugin.plug(vif(has_traffic_filtering=False))
    plugin.configure(flat_interface=INTERFACE if use else None)
    for command in filter(None, use.split("; ")):
        ip(command)
    before = host()
    assert collect() == ()
    assert not difference(before, host())


def test_a_bridge_without_any_port_goes(plugin: OsVif, wire: BridgeGuest) -> None:
    """Somebody else has taken the interface out."""
    before = addressing()
    plugin.plug(vif())
    ip(f"link set {INTERFACE} nomaster")
    ip(f"address flush dev {BRIDGE}")
    assert collect() == (f"bridge {BRIDGE}",)
    assert changes(before, addressing()) != ""  # what was flushed is not for us to guess


def test_addresses_that_have_nowhere_to_go_keep_their_bridge(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    plugin.plug(vif())
    ip(f"link set {INTERFACE} nomaster")
    before = host()
    assert collect() == ()
    assert not difference(before, host())


def test_rules_without_a_bridge_go_and_nobody_elses(plugin: OsVif, wire: BridgeGuest) -> None:
    theirs = ["-A", "FORWARD", "-i", "eth7", "-m", "comment", "--comment", BRIDGE, "-j", "ACCEPT"]
    run(["iptables", *theirs])
    before = set(rules_of())
    plugin.plug(vif(has_traffic_filtering=False))
    ip(f"link delete {BRIDGE}")
    assert collect(vif()) == ()
    assert set(rules_of()) > before
    assert collect() == (f"rules of {BRIDGE}",)
    assert set(rules_of()) == before


def test_a_host_without_iptables_has_no_rules(
    plugin: OsVif, wire: BridgeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.plug(vif())
    monkeypatch.setattr("os_vif.kernel.programs.FOLDERS", ())
    monkeypatch.setenv("PATH", "/nowhere")
    assert collect() == (f"bridge {BRIDGE}",)


# Alternative names -------------------------------------------------------------------------------

OTHER_NAME = "enp7s0f0np0"


@pytest.mark.parametrize("named_by", ["flat_interface", "bridge_interface"])
def test_an_interface_may_be_called_by_an_alternative_name(
    named_by: str, plugin: OsVif, wire: BridgeGuest
) -> None:
    ip(f"link property add dev {INTERFACE} altname {OTHER_NAME}")
    ip(f"address add 192.0.2.77/24 dev {INTERFACE} label {INTERFACE}:mgmt")
    plugin.configure(flat_interface=OTHER_NAME if named_by == "flat_interface" else None)
    one = vif(network={"bridge_interface": OTHER_NAME}, has_traffic_filtering=True)
    before, addresses = host(), complete()
    plugin.plug(one)
    assert not changes(addresses.moved(INTERFACE, BRIDGE), complete())
    plugged, calls = host(), len(plugin.privileged_calls)
    plugin.plug(one)
    assert (host(), len(plugin.privileged_calls)) == (plugged, calls)
    plugin.configure(flat_interface=OTHER_NAME)
    assert collect() == (f"bridge {BRIDGE}",)
    assert not difference(before, host())


def test_a_bridge_may_be_called_by_an_alternative_name(plugin: OsVif, wire: BridgeGuest) -> None:
    plugin.plug(vif())
    ip(f"link property add dev {BRIDGE} altname the-bridge")
    ip(f"link property add dev {INTERFACE} altname {OTHER_NAME}")
    plugged, calls = host(), len(plugin.privileged_calls)
    plugin.plug(vif(bridge_name="the-bridge"))
    linux_net.ensure_bridge("the-bridge", OTHER_NAME, filtering=False)
    assert (host(), len(plugin.privileged_calls)) == (plugged, calls)
    assert collect(vif(bridge_name="the-bridge")) == ()


# What goes wrong ---------------------------------------------------------------------------------


def test_a_guest_that_comes_meanwhile_keeps_its_bridge(
    plugin: OsVif, wire: BridgeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the interface has left: all of that is taken back."""
    plugin.plug(vif(has_traffic_filtering=False))
    before = host()
    real = observe.ports

    def ports(bridge: int) -> list[int]:
        assert links()[INTERFACE]["master"] is None
        ip(f"link add name tap7 master {BRIDGE} type veth peer name tap8")
        return real(bridge)

    monkeypatch.setattr(observe, "ports", ports)
    with pytest.raises(errors.WiringError, match=f"{BRIDGE} has other ports"):
        collect()
    ip("link delete tap7")
    assert not difference(before, host())


def test_a_bridge_that_is_in_use_again_is_not_said_to_be_gone(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    """Its guest comes between the last look and the deletion."""
    plugin.plug(vif())
    real = execute._EXECUTORS[DeleteLink]

    def delete(*arguments: Any) -> None:
        ip(f"link add name tap7 master {BRIDGE} type veth peer name tap8")
        real(*arguments)

    with (
        mock.patch.dict(execute._EXECUTORS, {DeleteLink: delete}),
        pytest.raises(errors.StateChanged, match=f"in use again: {BRIDGE}"),
    ):
        collect()
    assert BRIDGE in links()


@pytest.mark.parametrize("verb", ["the plugin's own gc", "os_vif.gc"])
def test_one_that_cannot_go_is_reported_and_the_others_are_gone(
    verb: str, plugin: OsVif, wire: BridgeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.plug(vif())
    ip("link add br7 type bridge")
    ip("link set br7 alias os-vif:linux_bridge:bridge:br7")
    real = bridge_membership.leave

    def leave(port_name: str, bridge_name: str) -> None:
        if bridge_name == BRIDGE:
            raise OSError(errno.EIO, "injected")
        real(port_name, bridge_name)

    monkeypatch.setattr(bridge_membership, "leave", leave)
    if verb == "os_vif.gc":
        decided = os_vif.gc([], dry_run=False, allow_empty=True, plugin="linux_bridge")
        failed, gone = sorted(decided, key=lambda one: one.error is None)
        assert (failed.vif_id, failed.code, gone.vif_id) == (BRIDGE, "refused", "br7")
        assert "injected" in str(failed.error)
    else:
        with pytest.raises(errors.LinkFailed, match="injected"):
            collect()
    assert (BRIDGE in links(), "br7" in links()) == (True, False)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "injected"), FailedToDropPrivileges("x")])
@pytest.mark.parametrize("asked", ["filtered", "change_links"])
def test_what_the_daemon_raises_is_a_wiring_error(
    asked: str,
    error: Exception,
    plugin: OsVif,
    wire: BridgeGuest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin.plug(vif())
    monkeypatch.setattr(privileged, asked, mock.Mock(side_effect=error))
    with pytest.raises(errors.WiringError, match=str(error.args[-1])) as caught:
        collect()
    assert caught.value.__cause__ is error
    assert BRIDGE in links()


def test_what_is_not_seen_to_be_gone_is_told_bridge_by_bridge(
    plugin: OsVif, wire: BridgeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.plug(vif())
    ip("link add br7 type bridge")
    ip("link set br7 alias os-vif:linux_bridge:bridge:br7")
    real, unseen = KernelLinks.execute, mock.Mock(side_effect=OSError(errno.ENOBUFS, "injected"))

    def execute(*arguments: Any) -> Any:
        outcomes = real(*arguments)
        monkeypatch.setattr(observe, "links", unseen)
        return outcomes

    monkeypatch.setattr(KernelLinks, "execute", execute)
    decided = os_vif.gc([], dry_run=False, allow_empty=True, plugin="linux_bridge")
    assert sorted(one.vif_id for one in decided if one.removes) == sorted([BRIDGE, "br7"])
    assert all("injected" in str(one.error) for one in decided)


def test_killed_anywhere_collecting_again_converges(netns: NetworkNamespace) -> None:
    action, killed = 0, True
    while killed:
        with private_network(), initialized() as plugin, interface():
            plugin.configure(flat_interface=INTERFACE)
            ip(f"address add {HOST}/24 dev {INTERFACE}")
            ip(f"route add default via {NEIGHBOUR}")
            before = host()
            plugin.plug(vif(has_traffic_filtering=False))
            killed = killed_before(action, collect)
            collect()
            assert not difference(before, host()), f"killed before action {action}"
        action += 1
    assert action > 4
