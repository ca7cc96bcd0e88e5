# SPDX-License-Identifier: Apache-2.0
"""What belongs to which VIF, and what of it goes: from what was found, without a host."""

import time
from dataclasses import replace
from typing import Any

import pytest

from os_vif.answers import State
from os_vif.objects.vif import VIFBridge, VIFHostDevice, VIFOpenVSwitch, VIFVHostUser
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Bridge, Found, Link, Port
from tests.fakes import new_link
from vif_plug_ovs import collection
from vif_plug_ovs.collection import Look, decisions, vif_of
from vif_plug_ovs.inventory import Holding, holdings, listed
from vif_plug_ovs.ovsdb.operations import SINCE
from vif_plug_ovs.shapes import names

ID = "a0000001-feed-4bee-8fad-000000000001"
IDS = {"iface-id": ID, "attached-mac": "fa:16:3e:00:00:01", "vm-uuid": "c1"}
TAP, QBR, QVB, QVO = (f"{prefix}{ID}"[:14] for prefix in ("tap", "qbr", "qvb", "qvo"))
PB, IBP, PBP = f"pb{ID}"[:14], f"ibp{ID}", f"pbp{ID}"


def mark(kind: str, owner: str = ID) -> dict[str, str]:
    return {Mark.KEY: f"ovs:{kind}:{owner}"}


def port(name: str, kind: str = "openvswitch", bridge: str = "br-int", **more: Any) -> Port:
    given = {"external_ids": mark(kind), "interface_ids": IDS, "ofport": 1, **more}
    return Port(name, bridge, **given)


def link(name: str, kind: str, marked_as: str = "openvswitch", **more: Any) -> Link:
    return new_link(
        name, kind, f"os-vif:ovs:{marked_as}:{ID}" if marked_as else "", up=True, **more
    )


def left_qos(device: str, text: str = f"ovs:openvswitch:{ID}") -> tuple[str, str]:
    return names.qos_id(device), text


def found(*there: Link | Bridge | Port | tuple[str, str]) -> Found:
    return Found(
        {one.name: one for one in there if isinstance(one, Link)},
        {one.name: one for one in there if isinstance(one, Bridge)},
        {one.name: one for one in there if isinstance(one, Port)},
        left_qos=dict(one for one in there if isinstance(one, tuple)),
    )


A_TAP = (port(TAP), link(TAP, "tun"))
HYBRID = (
    port(QVO, "hybrid"),
    link(QBR, "bridge", "hybrid"),
    link(QVB, "veth", "hybrid", master=QBR),
    link(QVO, "veth", "hybrid"),
)
PER_PORT = (
    port(IBP, "perportbridge", interface_type="patch"),
    port(PBP, "perportbridge", PB, interface_ids={}, interface_type="patch"),
    port(TAP, "perportbridge", PB, interface_ids={}),
    Bridge(PB, "netdev", mark("perportbridge")),
    link(TAP, "tun", "perportbridge"),
)
OLD = {"external_ids": {}}


@pytest.mark.parametrize(
    ("there", "devices"),
    [
        pytest.param(A_TAP, {TAP}, id="a tap"),
        pytest.param(HYBRID, {QBR, QVB, QVO}, id="hybrid"),
        pytest.param(PER_PORT, {TAP, PB, IBP, PBP}, id="a bridge of its own"),
        pytest.param((link(QBR, "bridge", "hybrid"),), {QBR}, id="a link alone"),
        pytest.param(
            (port(QVO, **OLD), link(QBR, "bridge", ""), link(QVB, "veth", "")),
            {QVO, QBR, QVB},
            id="hybrid of os-vif 5",
        ),
        pytest.param(
            (port(IBP, **OLD), port(PBP, bridge=PB, interface_ids={}, **OLD), Bridge(PB, "")),
            {IBP, PBP, PB},
            id="a bridge of its own, of os-vif 5",
        ),
        pytest.param((*A_TAP, Bridge("br-int", "", mark("tap"))), {TAP}, id="a shared bridge"),
        pytest.param(
            (*A_TAP, port("br-int", interface_ids={})), {TAP}, id="the device of a shared bridge"
        ),
        pytest.param(
            (*PER_PORT, port(PB, "perportbridge", PB, interface_ids={})),
            {TAP, PB, IBP, PBP},
            id="the device of its own bridge",
        ),
        pytest.param((*A_TAP, link(QBR, "dummy", "")), {TAP}, id="a name of another kind"),
        pytest.param(
            (*A_TAP, new_link(QBR, "bridge", "uplink to rack 7")), {TAP}, id="a foreign alias"
        ),
        pytest.param((left_qos(TAP),), {f"QoS of {TAP}"}, id="a QoS row"),
        pytest.param(
            (*A_TAP, left_qos("eth0_3"), new_link("eth0_3", "")),
            {TAP, "QoS of eth0_3"},
            id="a QoS row of a link that is there",
        ),
    ],
)
def test_what_a_vif_has(there: Any, devices: set[str]) -> None:
    (one,) = holdings(found(*there))
    assert (one.owner, set(one.devices)) == (ID, devices)


LIBVIRTS = {"iface-id": ID, "attached-mac": "fa:16:3e:00:00:01", "vm-id": "c1"}


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(port(TAP, **OLD, interface_ids=LIBVIRTS), id="libvirt's port"),
        pytest.param(
            port(TAP, **OLD, interface_ids={"iface-id": ID, "vm-uuid": "c1"}), id="without a MAC"
        ),
        pytest.param(port("tap1", **OLD), id="a name that is not made of the iface-id"),
        pytest.param(port(f"xyz{ID}"[:14], **OLD), id="a prefix that is nobody's"),
        pytest.param(
            port(TAP, external_ids={Mark.KEY: f"theirs:x:{ID}"}, interface_ids={}), id="other"
        ),
        pytest.param(port(TAP, external_ids={Mark.KEY: "ovs"}, interface_ids={}), id="malformed"),
        pytest.param(link(QBR, "bridge", ""), id="a link without a mark"),
        pytest.param(left_qos("eth0_3"), id="a QoS row of a device that nobody knows"),
        pytest.param(left_qos(TAP, f"theirs:x:{ID}"), id="a QoS row of others"),
        pytest.param(
            replace(link(TAP, "tun"), alias=f"ovs:x:{ID}"), id="an alias without os-vif:"
        ),
    ],
)
def test_what_is_nobodys(there: Any) -> None:
    assert holdings(found(there)) == []


def look(*there: Link | Bridge | Port | tuple[str, str], at: float = 1000.0, **more: Any) -> Look:
    return Look(found(*there), at, **more)


def reason(first: Look, second: Look, *valid: str, grace: float = 0) -> str:
    """Why the one VIF that is there stays; empty if it goes."""
    ((_, decision),) = decisions(first, second, valid, grace)
    return "" if decision.removes else decision.reason


GUESTS = link("tap-libvirts", "tun", "", master=QBR)
OPEN = replace(link(TAP, "tun"), carrier=True)
VF = port("eth0_0", "representor", interface_ids=IDS)
VHU = port("vhu1", "vhostuser", interface_type="dpdkvhostuserclient", connected=True)
UNKNOWN = port("vhu1", "vhostuser", interface_type="dpdkvhostuserclient")
REFUSED = replace(UNKNOWN, error="could not open", ofport=-1)
SINCE_900 = port(TAP, external_ids={**mark("openvswitch"), SINCE: "900"})


@pytest.mark.parametrize(
    "there", [A_TAP, HYBRID, PER_PORT, (VF,), HYBRID[1:], (left_qos(TAP),), (REFUSED,)], ids=str
)
def test_what_nobody_wants_or_uses_goes(there: Any) -> None:
    assert reason(look(*there), look(*there), "another") == ""


def test_what_a_bridge_of_the_kernel_itself_sends_is_no_traffic() -> None:
    """Such as the IPv6 of the host: os-vif 5 leaves it on."""
    first, second = look(*HYBRID), look(*HYBRID, received={QVO: 1})
    assert reason(first, second) == ""
    free = [replace(one, attributes={}) if one.name == QVB else one for one in HYBRID]
    assert f"{QVO} has received packets" in reason(look(*free), look(*free, received={QVO: 1}))


@pytest.mark.parametrize(
    ("second", "said"),
    [
        pytest.param(look(port(TAP), OPEN), f"a guest has {TAP} open", id="an open tap"),
        pytest.param(look(*HYBRID, GUESTS), "tap-libvirts is in the bridge", id="a guest's tap"),
        pytest.param(look(VHU), "a guest has vhu1 open", id="vhost-user"),
        pytest.param(look(UNKNOWN), "whether a guest is connected", id="vhost-user, unknown"),
        pytest.param(
            replace(look(REFUSED), found=replace(found(REFUSED), pending=7)),
            "whether a guest is connected",
            id="vhost-user, refused by an ovs-vswitchd that has gone",
        ),
        pytest.param(look(*A_TAP, received={TAP: 1}), "has received packets", id="traffic"),
        pytest.param(look(VF, holders={"eth0_0": "bound to x"}), "bound to x", id="a VF"),
        pytest.param(look(VF, holders={"eth0_0": None}), "nobody can tell", id="an unknown VF"),
        pytest.param(
            look(port(TAP, external_ids=mark("x", TAP))), "without a VIF id", id="without an id"
        ),
        pytest.param(look(port(TAP, bridge="tbr-1")), "bridge of a trunk", id="trunk"),
        pytest.param(look(SINCE_900), "100 s old", id="young"),
        pytest.param(look(SINCE_900, at=800.0), "the clock was set back", id="from the future"),
        pytest.param(
            look(*A_TAP, known_since={TAP: 950.0}), "known for 50 s", id="a young device"
        ),
        pytest.param(
            look(left_qos(TAP), port(TAP, external_ids={}, interface_ids={})),
            f"has the same name: {TAP}",
            id="a QoS row of which another has the device",
        ),
    ],
)
def test_what_stays(second: Look, said: str) -> None:
    first = replace(second, received={})
    assert said in reason(first, second, grace=101)


def test_links_without_a_port_are_as_old_as_they_are_known() -> None:
    links = HYBRID[1:]
    known = dict.fromkeys((QBR, QVB, QVO), 900.0)
    for since, grace, said in (
        (known, 100, ""),
        (known, 101, "known for 100 s: it may be younger than 101 s"),
        (known | {QVO: 990.0}, 100, f"{QVO} is known for 10 s"),
        (known | {QVB: 2000.0}, 100, "known for -1000 s"),
        (known | {QVO: None}, 100, f"nobody can tell how old {QVO} is"),
        ({}, 100, "nobody can tell how old"),
        ({}, 0, ""),
    ):
        second = look(*links, known_since=since)
        assert said in (kept := reason(second, second, grace=grace))
        assert bool(said) is bool(kept)


def test_the_cost_grows_with_the_number_of_vifs_and_no_faster() -> None:
    def seconds(count: int) -> float:
        ids = [f"{number:08x}-feed-4bee-8fad-000000000001" for number in range(count)]
        there: list[Any] = []
        for vif_id in ids:
            qbr, (qvb, qvo) = names.hybrid_bridge(vif_id), names.veth_pair(vif_id)
            alias = f"os-vif:ovs:hybrid:{vif_id}"
            there += [
                new_link(qbr, "bridge", alias),
                new_link(qvb, "veth", alias, master=qbr),
                new_link(qvo, "veth", alias),
                port(qvo, external_ids=mark("hybrid", vif_id)),
            ]
        host = look(*there)
        began = time.process_time()
        decided = decisions(host, host, ids[::2], 0)
        listed(host.found, 0.0)
        assert sum(decision.removes for _, decision in decided) == count // 2
        return time.process_time() - began

    few, many = (min(seconds(count) for _ in range(3)) for count in (400, 1600))
    assert many < 8 * few


def test_a_name_that_is_made_of_a_valid_id_stays() -> None:
    theirs = f"{ID[:-1]}2"  # the names of links are made of the same part of it
    assert f"the same name: {TAP}" in reason(look(*A_TAP), look(*A_TAP), theirs)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, State.IDLE),
        ({"ofport": -1}, State.BROKEN),
        ({"ofport": None}, State.BROKEN),
        ({"error": "no"}, State.BROKEN),
    ],
    ids=str,
)
def test_the_state_of_a_port(columns: dict[str, Any], said: State) -> None:
    (one,) = listed(found(port(TAP, **columns), link(TAP, "tun")), 0.0)
    assert one.state is said


def test_what_is_valid_stays_by_its_id_or_its_iface_id() -> None:
    of_iface = port(TAP, interface_ids={**IDS, "iface-id": "b1"})
    for there, valid in ((A_TAP, ID), ((of_iface,), "b1")):
        assert reason(look(*there), look(*there), valid) == "it is valid"


def test_what_is_as_old_as_the_grace_period_goes_and_so_does_what_has_no_age() -> None:
    for there in ((SINCE_900,), (port(TAP, external_ids={**mark("x"), SINCE: "soon"}),), A_TAP):
        assert reason(look(*there), look(*there), grace=100) == ""


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((), id="it has come"),
        pytest.param((port(TAP), replace(link(TAP, "tun"), index=7)), id="another device"),
        pytest.param((port(TAP, bridge="br-x"), link(TAP, "tun")), id="it has moved"),
        pytest.param((port(TAP, interface_ids={}), link(TAP, "tun")), id="its ids have changed"),
    ],
)
def test_what_changes_while_one_looks_stays(before: Any) -> None:
    assert "plugging or unplugging" in reason(look(*before), look(*A_TAP))


@pytest.mark.parametrize(
    ("there", "cls", "fields"),
    [
        pytest.param(A_TAP, VIFOpenVSwitch, {"vif_name": TAP}, id="a tap"),
        pytest.param(HYBRID, VIFBridge, {"bridge_name": QBR}, id="hybrid"),
        pytest.param((port(QVO, "hybrid"),), VIFBridge, {"bridge_name": QBR}, id="half of it"),
        pytest.param(PER_PORT, VIFOpenVSwitch, {"vif_name": TAP}, id="a bridge of its own"),
        pytest.param((VF,), VIFHostDevice, {}, id="a representor"),
        pytest.param((left_qos(TAP),), VIFOpenVSwitch, {"vif_name": TAP}, id="a QoS row"),
        pytest.param(
            (left_qos("eth0_3", f"ovs:representor:{ID}"), new_link("eth0_3", "")),
            VIFOpenVSwitch,
            {"vif_name": "eth0_3"},
            id="a QoS row of a representor",
        ),
        pytest.param((VHU,), VIFVHostUser, {"vif_name": "vhu1"}, id="vhost-user"),
    ],
)
def test_the_vif_whose_unplugging_removes_it(
    there: Any, cls: type, fields: dict[str, str]
) -> None:
    (one,) = holdings(found(*there))
    vif, instance = vif_of(one)
    assert type(vif) is cls
    has_port = one.port is not None
    assert (vif.id, vif.network.bridge) == (ID, "br-int")
    assert instance.uuid == ("c1" if has_port else ID)
    assert "interface_id" not in vif.port_profile or vif.port_profile.interface_id == ID
    assert has_port is ("interface_id" in vif.port_profile)
    assert {name: getattr(vif, name) for name in fields} == fields


def test_ids_may_be_given_as_vifs() -> None:
    assert collection.ids_of([VIFOpenVSwitch(id=ID), "b1"]) == {ID, "b1"}


def test_a_vif_without_a_port_is_unplugged_from_any_bridge() -> None:
    vif, instance = vif_of(Holding(ID, "hybrid"))
    assert (vif.network.bridge, instance.uuid) == ("br-int", ID)


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [
        (50, 0.1, 100),  # at most twice as many
        (50, 1.0, 50),
        (50, 2.0, 25),
        (50, 1000.0, 10),
        (50, 0.0, 100),
        (300, 0.1, 400),
    ],
)
def test_a_chunk_is_as_large_as_ovs_vswitchd_is_quick(
    size: int, seconds: float, following: int
) -> None:
    assert collection.next_size(size, seconds) == following
