# SPDX-License-Identifier: Apache-2.0
"""What os-vif 5.x plugged is recognised: re-plugged without a write, unplugged without a rest."""

from collections.abc import Callable
from typing import Any

import pytest

from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.rig import peer
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import OsVif
from tests.rig.snapshot import difference, links, snapshot

CREATED = {"create_port": True, "create_tap": True, "datapath_type": "system"}

CASES: dict[str, tuple[Callable[..., VIFBase], dict[str, Any], dict[str, Any]]] = {
    "tap": (vifs.vif_open_vswitch, {"profile": CREATED}, {}),
    "multiqueue": (vifs.vif_open_vswitch, {"profile": {**CREATED, "multiqueue": True}}, {}),
    "port only": (
        vifs.vif_open_vswitch,
        {"profile": {"create_port": True, "datapath_type": "system"}},
        {},
    ),
    "isolated": (vifs.vif_open_vswitch, {"profile": CREATED}, {"isolate_vif": True}),
    "user space": (vifs.vif_open_vswitch, {"profile": {**CREATED, "datapath_type": "netdev"}}, {}),
    "htb": (vifs.vif_open_vswitch, {"profile": CREATED}, {"default_qos_type": "linux-htb"}),
    "per-port bridge": (
        vifs.vif_open_vswitch,
        {"profile": CREATED},
        {"per_port_bridge": True},
    ),
    "per-port bridge, isolated": (
        vifs.vif_open_vswitch,
        {"profile": CREATED},
        {"per_port_bridge": True, "isolate_vif": True},
    ),
    "trunk": (
        vifs.vif_open_vswitch,
        {"profile": CREATED, "network": {"bridge": "tbr-0123abcd-4"}},
        {},
    ),
    "hybrid": (vifs.vif_bridge, {"profile": {"datapath_type": "system"}}, {}),
    "vhost-user server": (vifs.vif_vhost_user, {"mode": "server", "path": "/run/vhu"}, {}),
    "vhost-user client": (vifs.vif_vhost_user, {"mode": "client", "path": "/run/vhu"}, {}),
}


def add_bridge(ovs: PrivateOvs, vif: VIFBase) -> None:
    """The integration bridge, of the type that os-vif 5.x would turn it into."""
    datapath = f"datapath_type={vif.port_profile.datapath_type}"
    ovs.vsctl("add-br", vifs.BRIDGE, "--", "set", "Bridge", vifs.BRIDGE, datapath)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[VIFBase, dict[str, Any]]:
    make, fields, options = CASES[request.param]
    return make(**fields), options


def test_a_vif_of_os_vif_5_is_replugged_without_a_write_and_unplugged_without_a_rest(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs, case: tuple[VIFBase, dict[str, Any]]
) -> None:
    vif, options = case
    add_bridge(ovs_dummy, vif)
    before = snapshot(ovs_dummy)
    peer.call("plug", ovs_dummy, vif, vifs.instance(), **options)
    plugged, written = snapshot(ovs_dummy), ovs_dummy.next_cfg()

    osvif_dummy.configure(**options)
    osvif_dummy.plug(vif)
    assert not difference(plugged, snapshot(ovs_dummy))
    assert ovs_dummy.next_cfg() == written
    assert osvif_dummy.privileged_calls == []

    osvif_dummy.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))


@pytest.mark.parametrize("options", [{"per_port_bridge": True}, {"default_qos_type": "linux-htb"}])
def test_options_that_changed_with_the_upgrade_strand_nothing(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs, options: dict[str, Any]
) -> None:
    vif = vifs.vif_open_vswitch(profile=CREATED)
    add_bridge(ovs_dummy, vif)
    before = snapshot(ovs_dummy)
    for then, now in ((options, {}), ({}, options)):
        peer.call("plug", ovs_dummy, vif, vifs.instance(), **then)
        plugged, written = snapshot(ovs_dummy), ovs_dummy.next_cfg()
        osvif_dummy.configure(**now)
        osvif_dummy.plug(vif)
        assert not difference(plugged, snapshot(ovs_dummy))
        assert ovs_dummy.next_cfg() == written
        osvif_dummy.unplug(vif)
        assert not difference(before, snapshot(ovs_dummy))


def test_a_guest_that_was_plugged_hybrid_is_unplugged_as_that(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs
) -> None:
    """The firewall driver has changed since: the same VIF is no VIFBridge any more."""
    system = {"datapath_type": "system"}
    hybrid = vifs.vif_bridge(profile=system)
    add_bridge(ovs_dummy, hybrid)
    before = snapshot(ovs_dummy)
    peer.call("plug", ovs_dummy, hybrid, vifs.instance())
    assert vifs.device("qbr") in links()
    osvif_dummy.unplug(vifs.vif_open_vswitch(profile={"create_port": True, **system}))
    assert not difference(before, snapshot(ovs_dummy))
