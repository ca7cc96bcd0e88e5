# SPDX-License-Identifier: Apache-2.0
"""What os-vif 5.x plugged is recognised: re-plugged without a write, unplugged without a rest."""

from dataclasses import replace
from typing import Any

import pytest

import os_vif
from tests import vifs
from tests.rig import peer
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import EVERY, HYBRID, PORT_ONLY, TAP, Kind, OsVif, on_system
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs import collection

#: It plugs no VIF without an id, knows no new option, and forgets ``bridge_name`` on a patch port.
CASES = {
    name: replace(kind, options={k: v for k, v in kind.options.items() if k != "verify_interface"})
    for name, kind in EVERY.items()
    if kind.ports and kind.fields.get("unset") != "id" and name != "trunk, per-port bridge"
}


def add_bridge(ovs: PrivateOvs, kind: Kind) -> None:
    """The integration bridge, of the type that os-vif 5.x would turn it into."""
    datapath = f"datapath_type={kind.vif().port_profile.datapath_type}"
    ovs.vsctl("add-br", vifs.BRIDGE, "--", "set", "Bridge", vifs.BRIDGE, datapath)


def assert_known(ovs: PrivateOvs, osvif: OsVif, kind: Kind, then: Any, now: Any) -> None:
    """What os-vif 5.x plugs under some options is at home under others."""
    before, vif = snapshot(ovs), kind.vif()
    peer.call("plug", ovs, vif, vifs.instance(), **then)
    plugged, written = snapshot(ovs), ovs.next_cfg()
    assert difference(before, plugged)
    osvif.configure(**now)
    osvif.plug(vif)
    assert not difference(plugged, snapshot(ovs))
    assert ovs.next_cfg() == written
    assert osvif.privileged_calls == []
    osvif.unplug(vif)
    assert not difference(before, snapshot(ovs))
    osvif.privileged_calls.clear()


@pytest.mark.parametrize("kind", CASES.values(), ids=CASES)
def test_a_vif_of_os_vif_5_is_replugged_without_a_write_and_unplugged_without_a_rest(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs, kind: Kind
) -> None:
    add_bridge(ovs_dummy, kind)
    assert_known(ovs_dummy, osvif_dummy, kind, kind.options, kind.options)


@pytest.mark.parametrize("kind", CASES.values(), ids=CASES)
def test_a_vif_of_os_vif_5_is_listed_and_collected_without_a_rest(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the host's own IPv6 is still busy in the new bridges, too."""
    monkeypatch.setattr(collection, "PAUSE_SECONDS", 0.3)
    add_bridge(ovs_dummy, kind)
    before = snapshot(ovs_dummy)
    vif = kind.vif(profile={"interface_id": vifs.vif_id()})
    peer.call("plug", ovs_dummy, vif, vifs.instance(), **kind.options)
    assert [one.vif_id for one in os_vif.list_vifs("ovs")] == [vifs.vif_id()]
    (decision,) = os_vif.gc(["another"], dry_run=False, grace=0, plugin="ovs")
    is_trunk = vif.network.bridge.startswith("tbr-")
    assert decision.removes is not is_trunk, decision
    assert is_trunk or not difference(before, snapshot(ovs_dummy))


@pytest.mark.parametrize("options", [{"per_port_bridge": True}, {"default_qos_type": "linux-htb"}])
def test_options_that_changed_with_the_upgrade_strand_nothing(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs, options: dict[str, Any]
) -> None:
    kind = on_system(TAP)
    add_bridge(ovs_dummy, kind)
    for then, now in ((options, {}), ({}, options)):
        assert_known(ovs_dummy, osvif_dummy, kind, then, now)


def test_a_guest_that_was_plugged_hybrid_is_unplugged_as_that(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs
) -> None:
    """The firewall driver has changed since: the same VIF is not a VIFBridge any more."""
    hybrid = on_system(HYBRID)
    add_bridge(ovs_dummy, hybrid)
    before = snapshot(ovs_dummy)
    peer.call("plug", ovs_dummy, hybrid.vif(), vifs.instance())
    assert vifs.device("qbr") in links()
    osvif_dummy.unplug(on_system(PORT_ONLY).vif())
    assert not difference(before, snapshot(ovs_dummy))
