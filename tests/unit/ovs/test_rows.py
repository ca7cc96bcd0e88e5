# SPDX-License-Identifier: Apache-2.0
"""Rows of a replica as values, and how they are looked up; no server is asked."""

import uuid
from typing import Any

import pytest
from ovs.db import idl

from os_vif.wiring.state import Bridge, Port, Vlan
from vif_plug_ovs.ovsdb import rows
from vif_plug_ovs.shapes.names import qos_id

#: As a server sends what is not set.
EMPTY: Any = ["set", []]


class Replica:
    """A replica that the tests put rows into, as python-ovs does when a server sends them."""

    def __init__(self) -> None:
        self.tables = rows.new_replica("unix:nowhere")

    def insert(self, table: str, **columns: Any) -> uuid.UUID:
        key = uuid.uuid4()
        self._put(table, key, {"initial": columns})
        return key

    def modify(self, table: str, key: uuid.UUID, **columns: Any) -> None:
        """Change columns, as differences."""
        self._put(table, key, {"modify": columns})

    def delete(self, table: str, key: uuid.UUID) -> None:
        self._put(table, key, {"delete": None})

    def replace(self, table: str, old: uuid.UUID, *, first: str, **columns: Any) -> uuid.UUID:
        """Let a row take another's place in one update, in either order."""
        new = uuid.uuid4()
        changes: dict[str, Any] = {str(old): {"delete": None}, str(new): {"insert": columns}}
        if first == "insert":
            changes = dict(reversed(changes.items()))
        self._update({table: changes})
        return new

    def _put(self, table: str, key: uuid.UUID, change: dict[str, Any]) -> None:
        self._update({table: {str(key): change}})

    def _update(self, update: dict[str, Any]) -> None:
        self.tables._Idl__parse_update(update, idl.OVSDB_UPDATE2)

    def clear(self) -> None:
        self.tables._Idl__clear()


@pytest.fixture
def replica() -> Replica:
    return Replica()


def test_a_row_is_found_by_name_until_it_is_deleted(replica: Replica) -> None:
    key = replica.insert("Port", name="tap1")
    replica.insert("Port", name="tap2")
    found = rows.named(replica.tables, "Port", "tap1")
    assert found.uuid == key
    assert rows.named(replica.tables, "Interface", "tap1") is None
    replica.delete("Port", key)
    assert rows.named(replica.tables, "Port", "tap1") is None
    assert rows.named(replica.tables, "Port", "tap2")


@pytest.mark.parametrize("first", ["insert", "delete"])
def test_a_row_that_takes_the_place_of_another_is_found(first: str, replica: Replica) -> None:
    """A server sends the rows of an update in any order."""
    old = replica.insert("Interface", name="tap1")
    new = replica.replace("Interface", old, first=first, name="tap1")
    assert rows.named(replica.tables, "Interface", "tap1").uuid == new
    replica.delete("Interface", new)
    assert rows.named(replica.tables, "Interface", "tap1") is None


def test_nothing_is_found_when_all_is_fetched_anew(replica: Replica) -> None:
    replica.insert("Bridge", name="br-int")
    replica.insert("QoS", external_ids=["map", [["id", qos_id("tap1")]]])
    replica.clear()
    assert rows.named(replica.tables, "Bridge", "br-int") is None
    assert rows.qos_of(replica.tables, "tap1") == []


def test_a_changed_row_is_found_by_what_it_is_now(replica: Replica) -> None:
    key = replica.insert("QoS", external_ids=["map", [["id", qos_id("tap1")]]])
    other = replica.insert("QoS", external_ids=["map", [["_type", "linux-noop"]]])
    assert [row.uuid for row in rows.qos_of(replica.tables, "tap1")] == [key]
    replica.modify("QoS", key, external_ids=["map", [["id", qos_id("tap2")]]])
    assert rows.qos_of(replica.tables, "tap1") == []
    assert [row.uuid for row in rows.qos_of(replica.tables, "tap2")] == [key]
    replica.modify("QoS", other, external_ids=["map", [["id", qos_id("tap2")]]])
    assert {row.uuid for row in rows.qos_of(replica.tables, "tap2")} == {key, other}


def test_no_look_up_goes_through_all_rows(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host may have thousands of ports."""
    port = replica.insert("Port", name="tap1")
    replica.insert("Interface", name="tap1", external_ids=["map", [["iface-id", "a"]]])
    replica.insert("Bridge", name="br-int", ports=["set", [["uuid", str(port)]]])
    replica.insert("QoS", external_ids=["map", [["id", qos_id("tap1")]]])

    def refuse(_: object) -> None:
        raise AssertionError("every row of a table is looked at")

    tables = replica.tables
    monkeypatch.setattr(type(tables.tables["Port"].rows), "__iter__", refuse)
    assert rows.ports(tables, {"tap1": "br-int", "tap2": "br-int"}).keys() == {"tap1"}
    assert rows.bridges(tables, ["br-int", "br-none"]).keys() == {"br-int"}
    assert len(rows.qos_of(tables, "tap1")) == 1
    assert rows.names_of(tables, "a") == ["tap1"]


def test_a_bridge_as_a_value(replica: Replica) -> None:
    ids = ["map", [["os-vif", "ovs:tap:a"]]]
    replica.insert("Bridge", name="br-int", datapath_type="netdev", external_ids=ids)
    replica.insert("Bridge", name="br-ex")
    assert rows.bridges(replica.tables, ["br-int", "br-ex", "br-none"]) == {
        "br-int": Bridge("br-int", "netdev", {"os-vif": "ovs:tap:a"}),
        "br-ex": Bridge("br-ex", "", {}),
    }


def test_a_port_as_a_value(replica: Replica) -> None:
    interface = replica.insert(
        "Interface",
        name="tap1",
        type="internal",
        options=["map", [["peer", "x"]]],
        external_ids=["map", [["iface-id", "c"]]],
        mtu_request=1400,
        ofport=7,
        error="no such device",
        status=["map", [["status", "connected"]]],
    )
    port = replica.insert(
        "Port",
        name="tap1",
        external_ids=["map", [["a", "b"]]],
        interfaces=["uuid", str(interface)],
        tag=5,
        vlan_mode="trunk",
        trunks=["set", [7, 6]],
    )
    replica.insert("Bridge", name="br-ex")
    replica.insert("Bridge", name="br-int", ports=["set", [["uuid", str(port)]]])
    expected = Port(
        "tap1",
        "br-int",
        {"a": "b"},
        interface_type="internal",
        interface_ids={"iface-id": "c"},
        options={"peer": "x"},
        mtu_request=1400,
        ofport=7,
        error="no such device",
        vlan=Vlan(5, "trunk", (6, 7)),
        connected=True,
    )
    for likely in ("br-int", "br-ex", "br-none", ""):
        assert rows.ports(replica.tables, {"tap1": likely, "tap2": likely}) == {"tap1": expected}


@pytest.mark.parametrize("status", [[], [["status", "disconnected"]]])
def test_a_port_of_which_little_is_set(replica: Replica, status: list[list[str]]) -> None:
    unset = {"ofport": EMPTY, "mtu_request": EMPTY, "error": EMPTY}
    replica.insert("Port", name="tap1")
    replica.insert("Interface", name="tap1", status=["map", status], **unset)
    expected = Port(
        "tap1", "", {}, interface_type="", interface_ids={}, options={}, mtu_request=None,
        ofport=None, error="", vlan=Vlan(), connected=False,
    )  # fmt: skip
    assert rows.ports(replica.tables, {"tap1": "br-int"}) == {"tap1": expected}


def test_a_port_without_an_interface_of_its_name_is_a_bond(replica: Replica) -> None:
    replica.insert("Port", name="bond0")
    assert rows.ports(replica.tables, {"bond0": ""}) == {"bond0": Port("bond0", "", {}, bond=True)}


def test_an_openflow_port_number_that_is_free(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And random, for others look for one at the same time; those above 65,279 are reserved."""
    few = range(rows.HIGH_OFPORT, rows.HIGH_OFPORT + 100)
    monkeypatch.setattr(rows, "MAX_OFPORT", few.stop)
    for number in few[:98]:
        replica.insert("Interface", name=f"tap{number}", ofport=number)
    replica.insert("Interface", name="tap4", ofport=EMPTY)
    replica.insert("Interface", name="tap5", ofport=-1)
    assert {rows.unused_ofport(replica.tables) for _ in range(50)} == set(few[98:])


def test_the_configuration_that_vswitchd_has_finished(replica: Replica) -> None:
    assert rows.cur_cfg(replica.tables) == -1
    key = replica.insert("Open_vSwitch", cur_cfg=3, next_cfg=4)
    assert rows.cur_cfg(replica.tables) == 3
    replica.modify("Open_vSwitch", key, cur_cfg=4)
    assert rows.cur_cfg(replica.tables) == 4


def test_an_interface_is_found_by_the_iface_id_that_it_has_now(replica: Replica) -> None:
    key = replica.insert("Interface", name="tap1", external_ids=["map", [["iface-id", "a"]]])
    replica.modify("Interface", key, external_ids=["map", [["iface-id", "b"]]])
    assert rows.names_of(replica.tables, "a") == []
    assert rows.names_of(replica.tables, "b") == ["tap1"]
    assert rows.names_of(replica.tables, "b", "iface-status") == []
    assert rows.names_of(replica.tables, "") == []


@pytest.mark.parametrize(
    ("only", "iface_ids", "seen"),
    [
        (None, (), {"tap1", "tap2", "tap3", "vf0"}),
        ({"tap1", "gone"}, (), {"tap1"}),
        ({"pb1"}, (), {"tap2", "tap3"}),
        ((), ("i1",), {"vf0"}),
        ((), (), set()),
    ],
)
def test_of_a_large_switch_what_is_asked_for(
    only: Any, iface_ids: Any, seen: set[str], replica: Replica
) -> None:
    """By name, by bridge, and by the iface-id, as a port may have another name by now."""
    ids = {"vf0": [["iface-id", "i1"]]}
    ports = {}
    for name in ("tap1", "tap2", "tap3", "vf0"):
        replica.insert("Interface", name=name, external_ids=["map", ids.get(name, [])])
        ports[name] = ["uuid", str(replica.insert("Port", name=name))]
    for bridge, names in {"br-int": ("tap1", "vf0"), "pb1": ("tap2", "tap3")}.items():
        replica.insert("Bridge", name=bridge, ports=["set", [ports[name] for name in names]])
    found = rows.everything(replica.tables, only, iface_ids)
    assert (found.bridges.keys(), found.ports.keys()) == ({"br-int", "pb1"}, seen)


def test_a_qos_row_of_ours_without_a_port(replica: Replica) -> None:
    def qos(**ids: str) -> uuid.UUID:
        pairs = [[key.replace("_", "-"), value] for key, value in ids.items()]
        return replica.insert("QoS", type="linux-noop", external_ids=["map", pairs])

    qos(id="left", os_vif="ovs:openvswitch:1")
    used = qos(id="used", os_vif="ovs:openvswitch:2")
    qos(id="of os-vif 5")
    qos(os_vif="ovs:openvswitch:3")
    port = replica.insert("Port", name="tap1", qos=["uuid", str(used)])
    assert rows.everything(replica.tables).left_qos == {"left": "ovs:openvswitch:1"}
    replica.delete("Port", port)
    left = rows.everything(replica.tables).left_qos
    assert left == {"left": "ovs:openvswitch:1", "used": "ovs:openvswitch:2"}
