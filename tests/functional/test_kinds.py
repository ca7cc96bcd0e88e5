# SPDX-License-Identifier: Apache-2.0
"""Every kind of VIF, through both drivers: plug, plug again, unplug, unplug again.

The datapath is a dummy, on which all of the control path works. The table of kinds, with what each
makes, is in ``tests/rig/plugin.py``.
"""

from typing import Any

import pytest

import os_vif
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    DEAD,
    EVERY,
    PORT_ONLY,
    TAP,
    TRUNK,
    Kind,
    OsVif,
    filled,
    named,
    on_system,
    on_trunk,
)
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs import collection
from vif_plug_ovs.shapes.names import qos_id

ON_SYSTEM = on_system(TAP)


@pytest.fixture(params=["native", "vsctl"])
def verbs(request: pytest.FixtureRequest, osvif_dummy: OsVif, ovs_dummy: PrivateOvs) -> OsVif:
    """The verbs, through one of the drivers; the integration bridge is there."""
    osvif_dummy.configure(ovsdb_interface=request.param)
    ovs_dummy.vsctl("add-br", vifs.BRIDGE)
    return osvif_dummy


@pytest.mark.bug(1734320, 2017868, 2069543, 2087944)
@pytest.mark.parametrize("kind", EVERY.values(), ids=EVERY)
def test_each_kind_makes_what_is_described_and_leaves_nothing(
    verbs: OsVif, ovs_dummy: PrivateOvs, kind: Kind
) -> None:
    before = snapshot(ovs_dummy)
    written = ovs_dummy.next_cfg()
    verbs.configure(**kind.options)
    vif = kind.vif()

    verbs.plug(vif)
    dump, bridges = ovs_dummy.dump(), {vifs.BRIDGE, *kind.bridge_names()}
    for table, rows in kind.rows().items():
        made = {name: filled(row) for name, row in dump[table].items() if name not in bridges}
        assert made == rows, table
    for prefix, port in kind.ports.items():
        assert named(prefix) in dump["Bridge"][named(port.bridge)]["ports"]
    assert set(dump["Bridge"]) == bridges
    assert set(links()) == {"lo", *kind.link_names()}
    assert ovs_dummy.next_cfg() == written + bool(kind.ports)

    plugged, written, calls = snapshot(ovs_dummy), ovs_dummy.next_cfg(), verbs.privileged_calls[:]
    verbs.plug(vif)
    assert not difference(plugged, snapshot(ovs_dummy))
    found = os_vif.check(vif, vifs.instance())
    # The bridge has a type of its own, and no DPDK.
    assert {one.attribute for one in found} <= {"datapath_type", "error"}, found
    owner = vif.id if "id" in vif else kind.port()
    assert [one.vif_id for one in os_vif.list_vifs()] == [owner] * bool(kind.ports)
    assert (ovs_dummy.next_cfg(), verbs.privileged_calls) == (written, calls)

    verbs.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))
    written, calls = ovs_dummy.next_cfg(), verbs.privileged_calls[:]
    verbs.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))
    assert (ovs_dummy.next_cfg(), verbs.privileged_calls) == (written, calls)


@pytest.mark.parametrize("kind", EVERY.values(), ids=EVERY)
def test_gc_leaves_as_little_of_each_kind_as_unplug(
    verbs: OsVif, ovs_dummy: PrivateOvs, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "PAUSE_SECONDS", 0.0)
    verbs.configure(**kind.options)
    before = snapshot(ovs_dummy)
    verbs.plug(kind.vif())
    kept = "without a VIF id" if "id" not in kind.vif() else "of a trunk" * (TRUNK in kind.bridges)
    for decision in os_vif.gc(["another"], dry_run=False, grace=0):
        assert (decision.removes, decision.error) == (not kept, None), decision.reason
        assert kept in decision.reason
    if not kept:
        assert not difference(before, snapshot(ovs_dummy))


FLIPS = [
    {"per_port_bridge": True},
    {"default_qos_type": "linux-htb"},
    {"isolate_vif": True},
]


@pytest.mark.parametrize("kind", [ON_SYSTEM, on_system(PORT_ONLY)], ids=["True", "False"])
@pytest.mark.parametrize("on_first", [True, False])
@pytest.mark.parametrize("options", FLIPS, ids=lambda options: next(iter(options)))
def test_an_option_that_flips_disturbs_nothing_and_strands_nothing(
    verbs: OsVif, ovs_dummy: PrivateOvs, options: dict[str, Any], on_first: bool, kind: Kind
) -> None:
    """Options and profile change between plug and re-plug, and between that and unplug."""
    off = {"per_port_bridge": False, "default_qos_type": "linux-noop", "isolate_vif": False}
    first, second = (options, off) if on_first else (off, options)
    vif, device = kind.vif(), kind.port()
    before = snapshot(ovs_dummy)
    verbs.configure(**first)
    verbs.plug(vif)
    if not kind.link_prefixes:  # the guest starts
        run(["ip", "tuntap", "add", "dev", device, "mode", "tap"])
        run(["ip", "link", "set", device, "mtu", str(vifs.MTU), "up"])
        ovs_dummy.catch_up()
    plugged = snapshot(ovs_dummy)
    verbs.configure(**second)
    verbs.plug(vif)
    assert not difference(plugged, snapshot(ovs_dummy))
    vif.port_profile.create_tap = not kind.link_prefixes
    verbs.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))


def test_orphan_qos_rows_of_a_device_are_cleaned_on_the_way(
    verbs: OsVif, ovs_dummy: PrivateOvs
) -> None:
    """As a failed or older plug leaves them; rows of other devices are nobody's business here."""
    own, other = qos_id(TAP.port()), qos_id("tap-other")

    def orphan(key: str) -> None:
        ids = [f"external_ids:id={key}", "external_ids:_type=linux-htb"]
        ovs_dummy.vsctl("create", "QoS", "type=linux-htb", *ids)

    orphan(own)
    orphan(other)
    verbs.plug(ON_SYSTEM.vif())
    assert set(ovs_dummy.dump()["QoS"]) == {own, other}
    verbs.unplug(ON_SYSTEM.vif())
    assert set(ovs_dummy.dump()["QoS"]) == {other}
    orphan(own)
    verbs.unplug(ON_SYSTEM.vif())
    assert set(ovs_dummy.dump()["QoS"]) == {other}


@pytest.mark.bug(2017868, 2023300)
@pytest.mark.parametrize("qos", ["none", "its own"])
@pytest.mark.parametrize("tag", [7, 0])
def test_an_existing_port_keeps_its_vlan_and_its_qos(
    tag: int, qos: str, verbs: OsVif, ovs_dummy: PrivateOvs
) -> None:
    """What runs is not isolated, and its queues are not replaced."""
    verbs.plug(ON_SYSTEM.vif())
    ovs_dummy.vsctl(
        "set", "Port", TAP.port(), f"tag={tag}", "--", "clear", "Port", TAP.port(), "qos"
    )
    if qos == "its own":
        new = ["--id=@q", "create", "QoS", "type=linux-hfsc", "other_config:max-rate=1000000"]
        ovs_dummy.vsctl("set", "Port", TAP.port(), "qos=@q", "--", *new)
    before = snapshot(ovs_dummy)
    verbs.configure(isolate_vif=True, default_qos_type="linux-htb")
    verbs.plug(ON_SYSTEM.vif())
    assert not difference(before, snapshot(ovs_dummy))
    assert {key: before["ovs"]["Port"][TAP.port()][key] for key in DEAD} != DEAD


@pytest.mark.bug(1914886)
def test_nothing_deletes_the_integration_bridge(verbs: OsVif, ovs_dummy: PrivateOvs) -> None:
    """Not even where os-vif made it; nor a port that others have on it."""
    ovs_dummy.vsctl("del-br", vifs.BRIDGE)
    off = {"per_port_bridge": False, "isolate_vif": False}
    for name, kind in EVERY.items():
        if TRUNK not in kind.bridges:
            verbs.configure(**{**off, **kind.options})
            verbs.plug(kind.vif())
            ovs_dummy.vsctl("--may-exist", "add-port", vifs.BRIDGE, "neighbour")
            verbs.unplug(kind.vif())
            verbs.unplug(kind.vif())
            assert set(ovs_dummy.dump()["Bridge"]) == {vifs.BRIDGE}, name
            assert ovs_dummy.vsctl("list-ports", vifs.BRIDGE) == "neighbour", name


@pytest.mark.bug(1869244, 2095000)
def test_a_trunk_bridge_that_neutron_made_or_removed_first_is_no_error(
    verbs: OsVif, ovs_dummy: PrivateOvs
) -> None:
    """Neutron's agent deletes a trunk bridge without ports, also while one is being added."""
    kind = on_trunk(ON_SYSTEM)
    before = snapshot(ovs_dummy)
    ovs_dummy.vsctl("add-br", TRUNK)
    verbs.once_before_links(lambda: ovs_dummy.vsctl("del-br", TRUNK))
    verbs.plug(kind.vif())
    assert TAP.port() in ovs_dummy.dump()["Bridge"][TRUNK]["ports"]
    ovs_dummy.vsctl("del-br", TRUNK)
    verbs.unplug(kind.vif())
    assert not difference(before, snapshot(ovs_dummy))
