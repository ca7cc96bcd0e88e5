# SPDX-License-Identifier: Apache-2.0
"""Whose is it: two VIFs, one name.

A representor serves one VIF after another, ``vif.vif_name`` is anybody's choice, and a crash or a
reboot leaves rows. A port is told from another VIF's by its iface-id.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from oslo_config import cfg

from os_vif import exception
from os_vif.objects.vif import VIFBase
from os_vif.wiring import errors
from tests import vifs
from tests.functional.test_host_device import VF0, VF1, World, vif_of, world_of
from tests.rig import run
from tests.rig.fakesys import mlx5
from tests.rig.guest import LibvirtGuest, TapGuest
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, PER_PORT, PORT_ONLY, TAP, Kind, OsVif, of
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs import representors
from vif_plug_ovs.ovsdb.ovsdb_lib import BaseOVS
from vif_plug_ovs.shapes.names import qos_id

DEVICE = vifs.device("tap")


def b_of(pci: str, **more: Any) -> VIFBase:
    """VIF B on the virtual function that VIF A had."""
    profile = {"interface_id": vifs.interface_id(2)}
    return vif_of(pci, id=vifs.vif_id(2), address=vifs.mac(2), profile=profile, **more)


def b_on_the_tap(kind: Kind, **more: Any) -> VIFBase:
    """VIF B whose device has the name of VIF A's."""
    return kind.vif(2, vif_name=DEVICE, **more)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with world_of("netdev") as made:
        yield made


# A representor ----------------------------------------------------------------------------------


def test_a_late_unplug_of_the_vfs_former_vif_leaves_the_port_and_the_representor(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with world.card(mlx5()):
        device = representors.look_up(VF0).device
        world.osvif.plug(vif_of(VF0))
        world.osvif.plug(b_of(VF0), 2)
        before = snapshot(world.ovs)
        assert before["links"][device]["up"]
        world.osvif.unplug(vif_of(VF0))
        assert not difference(before, snapshot(world.ovs))
        assert f"OVS port {device}: owner should be {vifs.interface_id()!r}" in caplog.text
        assert vifs.interface_id(2) in caplog.text
        world.osvif.unplug(b_of(VF0), 2)
        assert device not in world.ovs.dump()["Port"]
        assert not links()[device]["up"]


def test_a_row_that_another_vif_has_left_is_replaced_with_mark_vlan_and_qos(world: World) -> None:
    with world.card(mlx5()):
        device = representors.look_up(VF0).device
        world.osvif.plug(vif_of(VF0))
        world.ovs.vsctl("set", "Port", device, "tag=5", "other_config:net_uuid=of-a")
        world.osvif.configure(isolate_vif=True, default_qos_type="linux-htb")
        written = world.ovs.next_cfg()
        try:
            world.osvif.plug(b_of(VF0), 2)
        finally:
            world.osvif.configure(isolate_vif=False, default_qos_type="linux-noop")
        assert world.ovs.next_cfg() == written + 1
        dump = world.ovs.dump()
        port, interface = dump["Port"][device], dump["Interface"][device]
        mark = {"os-vif": f"ovs:representor:{vifs.vif_id(2)}"}
        assert (port["tag"], port["vlan_mode"], port["other_config"]) == (4095, "trunk", {})
        assert port["external_ids"] == mark
        assert interface["external_ids"] == {**TAP.external_ids(2), **mark}
        assert world.ovs.interface(device)["ofport"] > 0
        assert [row["type"] for row in dump["QoS"].values()] == ["linux-htb"]
        assert dump["QoS"][qos_id(device)]["external_ids"]["os-vif"] == mark["os-vif"]
        written = world.ovs.next_cfg()
        world.osvif.plug(b_of(VF0), 2)
        assert world.ovs.next_cfg() == written
        world.osvif.unplug(b_of(VF0), 2)


@pytest.mark.usefixtures("unhurried")
def test_a_replacement_that_fails_gives_the_former_port_back(world: World) -> None:
    """With its VLAN: without one it would hear all of them."""
    with world.card(mlx5()):
        device = representors.look_up(VF0).device
        world.osvif.configure(default_qos_type="linux-htb")
        world.osvif.plug(vif_of(VF0))
        world.ovs.vsctl("set", "Port", device, "tag=5", "other_config:net_uuid=of-a")
        before = world.ovs.dump()
        world.osvif.configure(ovs_vsctl_timeout=1, default_qos_type="linux-noop")
        world.ovs.freeze("vswitchd")
        try:
            with pytest.raises(exception.PlugException) as failure:
                world.osvif.plug(b_of(VF0), 2)
        finally:
            world.ovs.thaw("vswitchd")
            world.osvif.configure(ovs_vsctl_timeout=5)
        assert isinstance(failure.value.__cause__, errors.NotRolledBack)
        assert f"OVS port {device} of {vifs.interface_id()}" in str(failure.value)
        world.ovs.catch_up()
        after = world.ovs.dump()
        assert after["QoS"] == before["QoS"]
        for columns in ("tag", "external_ids", "qos"):
            assert after["Port"][device][columns] == before["Port"][device][columns]
        ids = after["Interface"][device]["external_ids"]
        assert ids == before["Interface"][device]["external_ids"]
        world.osvif.unplug(vif_of(VF0))
        assert device not in world.ovs.dump()["Port"]


def port_of_its_former_name(world: World) -> tuple[str, str]:
    """Plug VIF A as if the kernel had given its representor another name since: the port bears
    that of the other representor. Return both names, the true one first."""
    device, other = (representors.look_up(vf).device for vf in (VF0, VF1))
    world.osvif.plug(vif_of(VF0))
    mark = f"external_ids:os-vif=ovs:representor:{vifs.vif_id()}"
    world.ovs.vsctl(
        "del-port", device, "--", "add-port", vifs.BRIDGE, other, "--",
        "set", "Interface", other, f"external_ids:iface-id={vifs.interface_id()}", mark, "--",
        "set", "Port", other, mark,
    )  # fmt: skip
    return device, other


@pytest.mark.parametrize("identified_by", ["iface-id", "mark"])
@pytest.mark.parametrize("gone", [False, True], ids=["renamed", "renamed, and the VF is gone"])
def test_the_port_of_a_representor_that_was_renamed_since_is_removed(
    world: World, gone: bool, identified_by: str
) -> None:
    """By the mark a VIF finds it whose port profile says no iface-id."""
    with world.card(mlx5()) as fake:
        device, other = port_of_its_former_name(world)
        if gone:
            fake.remove(device)
        unset = ["address", "profile.interface_id"] if identified_by == "mark" else []
        world.osvif.unplug(vif_of(VF0, unset=unset))
        assert not {device, other} & set(world.ovs.dump()["Port"])


def test_a_replug_takes_the_port_along_to_the_new_name_of_a_representor(world: World) -> None:
    """Else another VIF's representor, which has the former name now, would have A's iface-id."""
    with world.card(mlx5()):
        device, other = port_of_its_former_name(world)
        written = world.ovs.next_cfg()
        world.osvif.plug(vif_of(VF0))
        assert world.ovs.next_cfg() == written + 1
        ports = set(world.ovs.dump()["Port"])
        assert (device in ports, other in ports) == (True, False)
        world.osvif.plug(vif_of(VF0))
        assert world.ovs.next_cfg() == written + 1
        world.osvif.unplug(vif_of(VF0))
        assert device not in world.ovs.dump()["Port"]


# A device's name --------------------------------------------------------------------------------


@of(TAP, PORT_ONLY, HYBRID, PER_PORT)
def test_a_name_that_another_vif_uses_is_refused_and_the_guest_keeps_its_network(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """As ids that are the same in their first 11 characters make it."""
    a = TAP if kind is PORT_ONLY else kind
    osvif.plug_kind(a, 1)
    osvif.plug_kind(TAP, 3)
    alike = vifs.vif_id(1)[:-1] + "f"
    b = kind.vif(1, id=alike, address=vifs.mac(2), profile={"interface_id": vifs.interface_id(2)})
    with a.guest(1) as one, TAP.guest(3) as three:
        assert one.ping(three.ip, count=2, interval=0.02) == (2, 2)
        before = snapshot(ovs)
        osvif.configure(**kind.options)
        with pytest.raises(exception.PlugException) as failure:
            osvif.plug(b, 2)
        assert isinstance(failure.value.__cause__, errors.Contradiction)
        assert not difference(before, snapshot(ovs))
        assert one.ping(three.ip, count=2, interval=0.02) == (2, 2)
        osvif.unplug(b, 2)
        if kind is not PER_PORT:  # the bridge is made of the id alone
            assert not difference(before, snapshot(ovs))
            assert one.ping(three.ip, count=2, interval=0.02) == (2, 2)


@pytest.mark.parametrize("tap", ["none", "os-vif's", "os-vif's, elsewhere", "libvirt's"])
@of(TAP, PORT_ONLY)
def test_a_name_that_another_vif_has_left_is_taken_over(
    kind: Kind, tap: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(TAP if tap.startswith("os-vif's") else PORT_ONLY, 1)
    if tap == "libvirt's":
        LibvirtGuest(DEVICE, vifs.mac(), "192.0.2.1/24").__enter__().close()
    if tap.endswith("elsewhere"):
        ovs.vsctl(
            "del-port", DEVICE, "--", "add-br", "br-other", "--",
            "set", "Bridge", "br-other", "datapath_type=netdev", "--",
            "add-port", "br-other", DEVICE, "--",
            "set", "Interface", DEVICE, f"external_ids:iface-id={vifs.interface_id()}",
        )  # fmt: skip
    ovs.vsctl("set", "Port", DEVICE, "tag=5")
    osvif.plug(b_on_the_tap(kind), 2)
    row = ovs.dump()["Port"][DEVICE]
    assert (row["tag"], row["external_ids"]) == (None, {"os-vif": kind.mark_of(2)})
    if kind is TAP:
        assert links()[DEVICE]["alias"] == f"os-vif:{kind.mark_of(2)}"
    osvif.plug_kind(TAP, 3)
    guest = TapGuest if kind is TAP else LibvirtGuest
    with guest(DEVICE, vifs.mac(2), "192.0.2.2/24", vifs.MTU) as two, TAP.guest(3) as three:
        assert two.ping(three.ip, count=3, interval=0.02) == (3, 3)
        before = snapshot(ovs)
        osvif.unplug(TAP.vif(1))
        assert not difference(before, snapshot(ovs))
    osvif.unplug(b_on_the_tap(kind), 2)
    assert DEVICE not in ovs.dump()["Port"]


@of(TAP, PORT_ONLY)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("br-int", r"vif\.vif_name.*br-int"),
        ("internal", "internal.* is 'an interface of type internal'"),
        ("patch", "patch.* is 'an interface of type patch'"),
    ],
    ids=["the-bridge-itself", "internal", "patch"],
)
def test_a_port_that_belongs_to_bridges_is_refused_and_never_removed(
    name: str, said: str, kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    for other in ("internal", "patch"):
        ovs.vsctl("add-port", br_int, other, "--", "set", "Interface", other, f"type={other}")
    ovs.catch_up()
    before, vif = snapshot(ovs), kind.vif(vif_name=name)
    with pytest.raises(exception.PlugException, match=said):
        osvif.plug(vif)
    assert not difference(before, snapshot(ovs))
    osvif.unplug(vif)
    assert not difference(before, snapshot(ovs))


@pytest.mark.parametrize("known", ["iface-id", "neither"])
def test_an_agent_plugs_and_unplugs_without_an_id_what_nova_plugged_with_one(
    known: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    unset = ["id"] if known == "iface-id" else ["id", "profile.interface_id", "address"]
    before = snapshot(ovs)
    osvif.plug_kind(TAP)
    written = ovs.next_cfg()
    osvif.plug(TAP.vif(unset="id"))
    assert ovs.next_cfg() == written
    osvif.unplug(TAP.vif(unset=unset))
    assert not difference(before, snapshot(ovs))
    osvif.plug(TAP.vif(unset="id"))
    osvif.unplug(TAP.vif())
    assert not difference(before, snapshot(ovs))


# Shapes that are dead ---------------------------------------------------------------------------


def reboot(ovs: PrivateOvs, *names: str) -> None:
    """conf.db stays, devices do not."""
    ovs.kill("vswitchd")
    for name in names:
        run(["ip", "link", "delete", name], check=False)
    ovs.start_vswitchd()


SHAPES = (HYBRID, PORT_ONLY, TAP, PER_PORT)


@pytest.mark.parametrize(
    ("then", "now"),
    [(a, b) for a in SHAPES for b in SHAPES if a.mark != b.mark],
    ids=lambda kind: kind.name,
)
def test_rows_that_a_reboot_left_are_no_shape(
    then: Kind, now: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The firewall driver has changed since: the wanted shape is made, what was left goes."""
    before = snapshot(ovs)
    osvif.plug_kind(then)
    reboot(ovs, *then.link_names())
    osvif.plug_kind(now)
    fresh = set(ovs.dump()["Port"])
    osvif.plug_kind(TAP, 2)
    with now.guest(1) as one, TAP.guest(2) as two:
        assert one.ping(two.ip, count=10, interval=0.02) == (10, 10)
        written = ovs.next_cfg()
        osvif.plug_kind(now)  # with a running guest there is nothing to do
        assert ovs.next_cfg() == written
    osvif.unplug(TAP.vif(2), 2)
    osvif.unplug(now.vif())
    osvif.plug_kind(now)
    assert set(ovs.dump()["Port"]) == fresh
    osvif.unplug(now.vif())
    assert not difference(before, snapshot(ovs))


def test_a_guest_that_runs_keeps_the_shape_that_it_has(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(HYBRID)
    osvif.plug_kind(TAP, 2)
    with HYBRID.guest(1) as one, TAP.guest(2) as two:
        before = snapshot(ovs)
        osvif.plug_kind(PORT_ONLY)
        assert not difference(before, snapshot(ovs))
        assert one.ping(two.ip, count=3, interval=0.02) == (3, 3)


# A bridge of its own ----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["system", "netdev"])
@pytest.mark.parametrize("there", ["system", "netdev"])
def test_a_bridge_of_its_own_takes_the_datapath_type_of_the_integration_bridge(
    there: str, asked: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """Patch ports between types never work."""
    ovs, osvif = ovs_dummy, osvif_dummy
    ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={there}")
    for number in range(1, 11):
        osvif.plug_kind(PER_PORT, number, profile={"datapath_type": asked})
    rows = ovs.dump()
    assert {row["datapath_type"] or "system" for row in rows["Bridge"].values()} == {there}
    assert not [name for name in rows["Interface"] if ovs.interface(name)["error"]]


# The facade -------------------------------------------------------------------------------------


def test_the_facade_keeps_the_type_of_a_port_that_is_there(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    ids = (vifs.interface_id(), vifs.mac(), vifs.instance_id())
    base = BaseOVS(cfg.CONF.os_vif_ovs)
    base.create_ovs_vif_port("br-int", "p0", *ids, interface_type="internal")
    base.create_ovs_vif_port("br-int", "p0", vifs.interface_id(2), *ids[1:])
    row = ovs.interface("p0")
    assert (row["type"], row["external_ids"]["iface-id"]) == ("internal", vifs.interface_id(2))
    base.delete_ovs_vif_port("br-int", "p0", delete_netdev=False)
    assert "p0" not in ovs.dump()["Port"]
