# SPDX-License-Identifier: Apache-2.0
"""Every kind of VIF, through both drivers: plug, plug again, unplug, unplug again.

The datapath is a dummy, on which all of the control path works. What each kind makes is written
out below, as it stands in the database.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import OsVif, filled
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs.shapes import names

VIF_ID = vifs.vif_id()
TAP, QBR, QVB, QVO = (vifs.device(prefix) for prefix in ("tap", "qbr", "qvb", "qvo"))
PB, PBP, IBP = vifs.device("pb"), f"pbp{VIF_ID}", f"ibp{VIF_ID}"
TRUNK = "tbr-0123abcd-4"

SYSTEM = {"datapath_type": "system"}
CREATE_PORT = {**SYSTEM, "create_port": True}
CREATE_TAP = {**CREATE_PORT, "create_tap": True}

IDS = {
    "iface-id": vifs.interface_id(),
    "iface-status": "active",
    "attached-mac": vifs.mac(),
    "vm-uuid": vifs.instance_id(),
}
TRUNK_IDS = {**IDS, "bridge_name": TRUNK}
PATCH_IDS = {**IDS, "iface-id": VIF_ID}
DEAD = {"tag": 4095, "vlan_mode": "trunk", "trunks": [4095]}


@dataclass(frozen=True)
class Port:
    """A port with its interface, in the columns that hold something."""

    bridge: str
    interface: dict[str, Any] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    qos: str = "linux-noop"


@dataclass(frozen=True)
class Case:
    """A VIF, the options it is plugged with, and what it makes."""

    vif: Callable[[], VIFBase]
    mark: str
    ports: dict[str, Port]
    links: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def ovs_vif(profile: dict[str, Any], **fields: Any) -> Callable[[], VIFBase]:
    return lambda: vifs.vif_open_vswitch(profile=profile, **fields)


def patch(bridge: str, peer: str, ids: dict[str, str], **columns: Any) -> Port:
    return Port(bridge, {"type": "patch", "options": {"peer": peer}}, ids, columns, qos="")


CASES = {
    "tap": Case(ovs_vif(CREATE_TAP), "openvswitch", {TAP: Port("br-int", ids=IDS)}, (TAP,)),
    "tap of a VIF without id": Case(
        ovs_vif(CREATE_TAP, unset="id"), "openvswitch", {TAP: Port("br-int", ids=IDS)}, (TAP,)
    ),
    "tap, in user space": Case(
        ovs_vif({**CREATE_TAP, "datapath_type": "netdev"}),
        "openvswitch",
        {TAP: Port("br-int", ids=IDS, qos="")},
        (TAP,),
    ),
    "tap, multiqueue, htb": Case(
        ovs_vif({**CREATE_TAP, "multiqueue": True}),
        "openvswitch",
        {TAP: Port("br-int", ids=IDS, qos="linux-htb")},
        (TAP,),
        options={"default_qos_type": "linux-htb"},
    ),
    "tap, isolated": Case(
        ovs_vif(CREATE_TAP),
        "openvswitch",
        {TAP: Port("br-int", ids=IDS, columns=DEAD)},
        (TAP,),
        options={"isolate_vif": True},
    ),
    "port before its tap": Case(
        ovs_vif(CREATE_PORT), "openvswitch", {TAP: Port("br-int", ids=IDS)}
    ),
    "bridge alone": Case(ovs_vif(SYSTEM), "openvswitch", {}),
    "per-port bridge": Case(
        ovs_vif(CREATE_TAP),
        "perportbridge",
        {
            TAP: Port(PB),
            PBP: patch(PB, IBP, {}),
            IBP: patch("br-int", PBP, PATCH_IDS),
        },
        (TAP,),
        (PB,),
        {"per_port_bridge": True},
    ),
    "per-port bridge, isolated, before its tap": Case(
        ovs_vif(CREATE_PORT),
        "perportbridge",
        {
            TAP: Port(PB),
            PBP: patch(PB, IBP, {}),
            IBP: patch("br-int", PBP, PATCH_IDS, **DEAD),
        },
        (),
        (PB,),
        {"per_port_bridge": True, "isolate_vif": True},
    ),
    "per-port bridge without id": Case(
        ovs_vif(CREATE_TAP, unset="id"),
        "openvswitch",
        {TAP: Port("br-int", ids=IDS)},
        (TAP,),
        options={"per_port_bridge": True},
    ),
    "trunk": Case(
        ovs_vif(CREATE_TAP, network={"bridge": TRUNK}),
        "openvswitch",
        {TAP: Port(TRUNK, ids=TRUNK_IDS)},
        (TAP,),
        (TRUNK,),
        {"isolate_vif": True},
    ),
    "trunk, per-port bridge": Case(
        ovs_vif(CREATE_TAP, network={"bridge": TRUNK}),
        "perportbridge",
        {
            TAP: Port(PB),
            PBP: patch(PB, IBP, {}),
            IBP: patch(TRUNK, PBP, {**PATCH_IDS, "bridge_name": TRUNK}),
        },
        (TAP,),
        (PB, TRUNK),
        {"per_port_bridge": True, "isolate_vif": True},
    ),
    "hybrid": Case(
        lambda: vifs.vif_bridge(profile=SYSTEM),
        "hybrid",
        {QVO: Port("br-int", ids=IDS)},
        (QBR, QVB, QVO),
    ),
    "hybrid, isolated": Case(
        lambda: vifs.vif_bridge(profile=SYSTEM),
        "hybrid",
        {QVO: Port("br-int", ids=IDS, columns=DEAD)},
        (QBR, QVB, QVO),
        options={"isolate_vif": True},
    ),
    # A vswitchd without DPDK refuses these ports; see test_vhost_user for one with it.
    "vhost-user client": Case(
        lambda: vifs.vif_vhost_user(mode="client"),
        "vhostuser",
        {
            vifs.device("vhu"): Port(
                "br-int", {"type": "dpdkvhostuser", "mtu_request": 1450}, IDS, qos=""
            )
        },
        options={"verify_interface": False},
    ),
    "vhost-user server": Case(
        lambda: vifs.vif_vhost_user(path="/run/a"),
        "vhostuser",
        {
            vifs.device("vhu"): Port(
                "br-int",
                {
                    "type": "dpdkvhostuserclient",
                    "mtu_request": 1450,
                    "options": {"vhost-server-path": "/run/a"},
                },
                IDS,
                qos="",
            )
        },
        options={"verify_interface": False},
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(params=["native", "vsctl"])
def verbs(request: pytest.FixtureRequest, osvif_dummy: OsVif, ovs_dummy: PrivateOvs) -> OsVif:
    """The verbs, through one of the drivers; the integration bridge is there."""
    osvif_dummy.configure(ovsdb_interface=request.param)
    ovs_dummy.vsctl("add-br", vifs.BRIDGE)
    return osvif_dummy


def expected(case: Case, ovs: PrivateOvs, vif: VIFBase) -> dict[str, dict[str, Any]]:
    """The rows that a case makes, besides those of bridges and their own devices."""
    mark = {"os-vif": f"ovs:{case.mark}:{vif.id if 'id' in vif else TAP}"}
    rows: dict[str, dict[str, Any]] = {"Port": {}, "Interface": {}, "QoS": {}}
    for name, port in case.ports.items():
        rows["Port"][name] = {
            "name": name,
            "interfaces": [name],
            "external_ids": mark,
            **port.columns,
        }
        rows["Interface"][name] = {
            "name": name,
            "external_ids": {**port.ids, **mark},
            **port.interface,
        }
        if port.qos:
            key = names.qos_id(name)
            rows["Port"][name]["qos"] = key
            rows["QoS"][key] = {
                "type": port.qos,
                "external_ids": {"id": key, "_type": port.qos, **mark},
            }
    return rows


def test_each_kind_makes_what_is_described_and_leaves_nothing(
    verbs: OsVif, ovs_dummy: PrivateOvs, case: Case
) -> None:
    before = snapshot(ovs_dummy)
    written = ovs_dummy.next_cfg()
    verbs.configure(**case.options)
    vif = case.vif()

    verbs.plug(vif)
    dump = ovs_dummy.dump()
    for table, rows in expected(case, ovs_dummy, vif).items():
        devices = {vifs.BRIDGE, *case.bridges}
        made = {name: filled(row) for name, row in dump[table].items() if name not in devices}
        assert made == rows, table
    for name, port in case.ports.items():
        assert name in dump["Bridge"][port.bridge]["ports"]
    assert set(dump["Bridge"]) == {vifs.BRIDGE, *case.bridges}
    assert set(links()) == {"lo", *case.links}
    assert ovs_dummy.next_cfg() == written + (1 if case.ports else 0)

    plugged, written, calls = snapshot(ovs_dummy), ovs_dummy.next_cfg(), verbs.privileged_calls
    verbs.plug(vif)
    assert not difference(plugged, snapshot(ovs_dummy))
    assert (ovs_dummy.next_cfg(), verbs.privileged_calls) == (written, calls)

    verbs.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))
    written, calls = ovs_dummy.next_cfg(), list(verbs.privileged_calls)
    verbs.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))
    assert (ovs_dummy.next_cfg(), verbs.privileged_calls) == (written, calls)


FLIPS = [
    {"per_port_bridge": True},
    {"default_qos_type": "linux-htb"},
    {"isolate_vif": True},
]


@pytest.mark.parametrize("create_tap", [True, False])
@pytest.mark.parametrize("on_first", [True, False])
@pytest.mark.parametrize("options", FLIPS, ids=lambda options: next(iter(options)))
def test_an_option_that_flips_disturbs_nothing_and_strands_nothing(
    verbs: OsVif, ovs_dummy: PrivateOvs, options: dict[str, Any], on_first: bool, create_tap: bool
) -> None:
    """Options and profile change between plug and re-plug, and between that and unplug."""
    off = {"per_port_bridge": False, "default_qos_type": "linux-noop", "isolate_vif": False}
    first, second = (options, off) if on_first else (off, options)
    vif = vifs.vif_open_vswitch(profile={**CREATE_PORT, "create_tap": create_tap})
    before = snapshot(ovs_dummy)
    verbs.configure(**first)
    verbs.plug(vif)
    if not create_tap:  # the guest starts
        run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap"])
        run(["ip", "link", "set", TAP, "mtu", str(vifs.MTU), "up"])
        ovs_dummy.catch_up()
    plugged = snapshot(ovs_dummy)
    verbs.configure(**second)
    verbs.plug(vif)
    assert not difference(plugged, snapshot(ovs_dummy))
    vif.port_profile.create_tap = not create_tap
    verbs.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))


def test_orphan_qos_rows_of_a_device_are_cleaned_on_the_way(
    verbs: OsVif, ovs_dummy: PrivateOvs
) -> None:
    """As a failed or older plug leaves them; rows of other devices are nobody's business here."""
    for device in (TAP, "tap-other"):
        ids = [f"external_ids:id={names.qos_id(device)}", "external_ids:_type=linux-htb"]
        ovs_dummy.vsctl("create", "QoS", "type=linux-htb", *ids)
    others = {names.qos_id("tap-other")}
    vif = vifs.vif_open_vswitch(profile=CREATE_TAP)
    verbs.plug(vif)
    assert set(ovs_dummy.dump()["QoS"]) == {names.qos_id(TAP), *others}
    verbs.unplug(vif)
    assert set(ovs_dummy.dump()["QoS"]) == others
    ovs_dummy.vsctl("create", "QoS", "type=linux-htb", f"external_ids:id={names.qos_id(TAP)}")
    verbs.unplug(vif)
    assert set(ovs_dummy.dump()["QoS"]) == others


def test_an_existing_port_keeps_its_vlan_and_its_qos(verbs: OsVif, ovs_dummy: PrivateOvs) -> None:
    """Bugs 2023300 and 2017868: what runs is not parked, and not re-queued."""
    vif = vifs.vif_open_vswitch(profile=CREATE_TAP)
    verbs.plug(vif)
    ovs_dummy.vsctl("set", "Port", TAP, "tag=7", "--", "clear", "Port", TAP, "qos")
    before = snapshot(ovs_dummy)
    verbs.configure(isolate_vif=True, default_qos_type="linux-htb")
    verbs.plug(vif)
    assert not difference(before, snapshot(ovs_dummy))


def test_nothing_deletes_the_integration_bridge(verbs: OsVif, ovs_dummy: PrivateOvs) -> None:
    """Bug 1914886; not even where os-vif made it."""
    ovs_dummy.vsctl("del-br", vifs.BRIDGE)
    for name, case in CASES.items():
        if case.bridges and TRUNK not in case.bridges:
            verbs.configure(**case.options)
            verbs.plug(case.vif())
            verbs.unplug(case.vif())
            assert set(ovs_dummy.dump()["Bridge"]) == {vifs.BRIDGE}, name


def test_a_trunk_bridge_that_neutron_made_or_removed_first_is_no_error(
    verbs: OsVif, ovs_dummy: PrivateOvs
) -> None:
    """Bugs 1869244 and 2095000."""
    vif = vifs.vif_open_vswitch(profile=CREATE_TAP, network={"bridge": TRUNK})
    before = snapshot(ovs_dummy)
    ovs_dummy.vsctl("add-br", TRUNK)
    verbs.plug(vif)
    assert ovs_dummy.interface(TAP)["external_ids"]["bridge_name"] == TRUNK
    ovs_dummy.vsctl("del-br", TRUNK)
    verbs.unplug(vif)
    assert not difference(before, snapshot(ovs_dummy))
