# SPDX-License-Identifier: Apache-2.0
"""check, list, gc and status of the plugin for Linux bridges."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import os_vif
from os_vif import drawing
from os_vif.objects.vif import VIFBridge
from tests import vifs
from tests.rig import run
from tests.rig.guest import BridgeGuest
from tests.rig.linux_bridge import BRIDGE, HOST, INTERFACE, guest, initialized, interface, vif
from tests.rig.namespace import NetworkNamespace
from tests.rig.plugin import OsVif
from tests.rig.snapshot import difference, links
from vif_plug_linux_bridge import privileged

#: On this host the others cannot tell.
PLUGIN = "linux_bridge"
FILTERED = {"has_traffic_filtering": False}


@pytest.fixture
def plugin(netns: NetworkNamespace) -> Iterator[OsVif]:
    with initialized() as verbs:
        verbs.configure(flat_interface=INTERFACE)
        yield verbs


@pytest.fixture
def wire(netns: NetworkNamespace) -> Iterator[BridgeGuest]:
    with interface() as machine:
        ip(f"address add {HOST}/24 dev {INTERFACE}")
        yield machine


def ip(words: str) -> None:
    run(["ip", *words.split()])


def findings() -> set[tuple[str, str, bool]]:
    found = os_vif.check(vif(**FILTERED), vifs.instance())
    return {(one.element, one.attribute, one.repairable) for one in found}


DAMAGES: dict[str, tuple[Callable[[], object], tuple[str, str, bool]]] = {
    "bridge down": (lambda: ip(f"link set {BRIDGE} down"), (f"link {BRIDGE}", "up", True)),
    "interface down": (
        lambda: ip(f"link set {INTERFACE} down"),
        (f"link {INTERFACE}", "up", True),
    ),
    "interface left": (
        lambda: ip(f"link set {INTERFACE} nomaster"),
        (f"link {INTERFACE}", "master", True),
    ),
    "MTU of the interface": (
        lambda: ip(f"link set {INTERFACE} mtu 1400"),
        (f"link {INTERFACE}", "mtu", True),
    ),
    "spanning tree": (
        lambda: ip(f"link set {BRIDGE} type bridge stp_state 1"),
        (f"link {BRIDGE}", "stp", True),
    ),
    "an address on the interface": (
        lambda: ip(f"address add 198.51.100.1/24 dev {INTERFACE}"),
        (f"link {INTERFACE}", "addresses", True),
    ),
    "a rule gone": (
        lambda: run(["iptables", "-F", "FORWARD"]),
        (f"rules of bridge {BRIDGE}", "iptables", True),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_repaired(name: str, plugin: OsVif, wire: BridgeGuest) -> None:
    does, wanted = DAMAGES[name]
    plugin.plug(vif(**FILTERED))
    assert findings() == set()
    does()
    before = links()
    assert wanted in findings()
    assert not difference(before, links())
    plugin.plug(vif(**FILTERED))
    assert findings() == set()


def test_where_iptables_cannot_be_read_a_finding_says_so(
    plugin: OsVif, wire: BridgeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("sudo: a password is required")

    plugin.plug(vif(**FILTERED))
    monkeypatch.setattr(privileged, "missing_rules", refuse)
    (found,) = os_vif.check(vif(**FILTERED), vifs.instance())
    assert found.note == "not looked at: sudo: a password is required"
    assert found.found is None


def test_a_bridge_that_neutron_provides_is_not_looked_at(plugin: OsVif, wire: BridgeGuest) -> None:
    theirs = vif(network={"should_provide_bridge": False})
    assert os_vif.check(theirs, vifs.instance()) == ()


def test_a_bridge_is_listed_by_whether_it_is_used(plugin: OsVif, wire: BridgeGuest) -> None:
    assert os_vif.list_vifs(PLUGIN) == ()
    plugin.plug(vif())
    (idle,) = os_vif.list_vifs(PLUGIN)
    assert (idle.vif_id, idle.kind, idle.state) == (BRIDGE, "bridge", "idle")
    assert idle.devices == (BRIDGE, INTERFACE)
    with guest():
        (used,) = os_vif.list_vifs(PLUGIN)
        assert used.state == "in use"


def test_a_bridge_is_drawn(plugin: OsVif, wire: BridgeGuest) -> None:
    plugin.plug(vif())
    with guest():
        (drawn,) = os_vif.drawings(PLUGIN)
    assert [node.title for node in drawn.nodes] == [f"Linux bridge {BRIDGE}", f"veth {INTERFACE}"]
    facts = dict(drawn.nodes[0].facts)
    assert (facts["guests"], facts["up"]) == (vifs.device("tap"), True)
    assert drawn.state == "in use"
    (empty,) = os_vif.drawings(PLUGIN)
    assert "no guests" in empty.nodes[0].texts
    run(["ip", "link", "set", "dev", BRIDGE, "mtu", "1300"])
    marked = drawing.compared(empty, os_vif.check(vif(), vifs.instance()))
    assert marked.nodes[0].sign == "!"


def test_gc_takes_ids_for_nothing_and_vifs_for_what_they_use(
    plugin: OsVif, wire: BridgeGuest
) -> None:
    before = links()
    plugin.plug(vif())
    (kept,) = os_vif.gc([vifs.vif_id(2)], dry_run=False, plugin=PLUGIN)
    assert not kept.removes
    assert "give the valid VIFs themselves" in kept.reason
    assert os_vif.gc([vif()], dry_run=False, plugin=PLUGIN) == ()
    other = vif(bridge_name="br-other")
    assert [one.devices for one in os_vif.gc([other], plugin=PLUGIN)] == [(f"bridge {BRIDGE}",)]
    assert BRIDGE in links()
    assert [one.devices for one in os_vif.gc([other], dry_run=False, plugin=PLUGIN)] == [
        (f"bridge {BRIDGE}",)
    ]
    assert not difference(before, links())


def test_gc_refuses_a_vif_that_does_not_say_its_bridge(plugin: OsVif, wire: BridgeGuest) -> None:
    plugin.plug(vif())
    before = links()
    unnamed = VIFBridge(id=vifs.vif_id(), plugin=PLUGIN)
    (refused,) = os_vif.gc([unnamed], dry_run=False, plugin=PLUGIN)
    assert not refused.removes
    assert "vif.bridge_name" in str(refused.error)
    assert not difference(before, links())


def test_status_says_whether_iptables_answers(
    plugin: OsVif, wire: BridgeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.plug(vif(**FILTERED))
    privileged_daemon, well = (one for one in os_vif.status() if one.plugin == "linux_bridge")
    assert "may change network devices" in privileged_daemon.summary
    assert {(one.level, one.unit) for one in (privileged_daemon, well)} == {("ok", "s")}
    assert well.summary == "answers; 1 bridges have rules of os-vif"
    broken = Path("/nonexistent")
    monkeypatch.setattr("os_vif.kernel.programs.path", lambda _: str(broken))
    _, ill = (one for one in os_vif.status() if one.plugin == "linux_bridge")
    assert ill.level == "warning"
    assert "iptables-save" in ill.remedy
    monkeypatch.setattr(privileged, "may_change_links", lambda _: False)
    (without,) = (one for one in os_vif.status() if one.plugin == "linux_bridge")
    assert (without.level, without.subject) == ("error", "privileged daemon")
    assert "CAP_NET_ADMIN" in without.summary
    assert "capabilities" in without.remedy
