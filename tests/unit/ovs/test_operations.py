# SPDX-License-Identifier: Apache-2.0
"""Steps as operations of RFC 7047, as whole values; the server's rules are its own."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.wiring.elements import OvsBridge, OvsPort
from os_vif.wiring.errors import StateChanged
from os_vif.wiring.ownership import Mark
from os_vif.wiring.steps import (
    CreateBridge,
    CreatePort,
    RemoveBridge,
    RemovePort,
    RemoveQos,
    ReopenPort,
    RowStep,
    SetPort,
)
from vif_plug_ovs.ovsdb.operations import operations
from vif_plug_ovs.shapes import names
from vif_plug_ovs.shapes.request import DEAD

MARK = Mark("ovs", "hybrid", "a1")
MARKED = ["map", [["os-vif", "ovs:hybrid:a1"]]]
BR_INT = OvsBridge("br-int", "netdev", MARK)
PORT = OvsPort("qvo1", "br-int", MARK, external_ids={"iface-id": "b1", "vm-uuid": "c1"})

INTERFACE_BR_INT = ["named-uuid", "Interface_62722d696e74"]
PORT_BR_INT = ["named-uuid", "Port_62722d696e74"]
BRIDGE_BR_INT = ["named-uuid", "Bridge_62722d696e74"]
INTERFACE_QVO1 = ["named-uuid", "Interface_71766f31"]
PORT_QVO1 = ["named-uuid", "Port_71766f31"]
QOS_QVO1 = ["named-uuid", "QoS_71766f31"]


class Tables:
    """Rows by table and name; the UUID of a row is made of both.

    :param qos: the UUIDs of the QoS rows of the device qvo1.
    """

    def __init__(self, *qos: str, **names: list[str]) -> None:
        self._qos = list(qos)
        self._rows = {(table, name) for table, some in names.items() for name in some}

    def uuid(self, table: str, name: str) -> str | None:
        return f"<{table} {name}>" if (table, name) in self._rows else None

    def qos(self, device: str) -> list[str]:
        return self._qos if device == "qvo1" else []

    def ports(self, bridge: str) -> list[str]:
        """All ports sit on br-int here."""
        return [f"<{t} {n}>" for t, n in sorted(self._rows) if (t, bridge) == ("Port", "br-int")]

    def unused_ofport(self) -> int:
        return 50_000

    def switch(self) -> str:
        return "<switch>"


EMPTY = Tables()
JUST_BRIDGE = {"Bridge": ["br-int"], "Port": ["br-int"], "Interface": ["br-int"]}
WITH_PORT = {"Bridge": ["br-int"], "Port": ["br-int", "qvo1"], "Interface": ["br-int", "qvo1"]}
BRIDGE_ONLY, BOTH = Tables(**JUST_BRIDGE), Tables(**WITH_PORT)


def still_there(table: str, name: str) -> dict[str, Any]:
    return {
        "op": "wait",
        "table": table,
        "where": [["_uuid", "==", ["uuid", f"<{table} {name}>"]]],
        "columns": ["name"],
        "until": "==",
        "rows": [{"name": name}],
        "timeout": 0,
    }


def mutate(table: str, uuid: Any, *mutations: list[Any]) -> dict[str, Any]:
    return {
        "op": "mutate",
        "table": table,
        "where": [["_uuid", "==", uuid]],
        "mutations": list(mutations),
    }


INSERT_BRIDGE = [
    {
        "op": "insert",
        "table": "Interface",
        "uuid-name": "Interface_62722d696e74",
        "row": {"name": "br-int", "type": "internal", "external_ids": MARKED},
    },
    {
        "op": "insert",
        "table": "Port",
        "uuid-name": "Port_62722d696e74",
        "row": {"name": "br-int", "interfaces": INTERFACE_BR_INT, "external_ids": MARKED},
    },
    {
        "op": "insert",
        "table": "Bridge",
        "uuid-name": "Bridge_62722d696e74",
        "row": {
            "name": "br-int",
            "datapath_type": "netdev",
            "external_ids": MARKED,
            "ports": PORT_BR_INT,
        },
    },
    mutate("Open_vSwitch", ["uuid", "<switch>"], ["bridges", "insert", ["set", [BRIDGE_BR_INT]]]),
]
#: The bridge that is there gets the new port.
ATTACH_PORT = [
    still_there("Bridge", "br-int"),
    mutate("Bridge", ["uuid", "<Bridge br-int>"], ["ports", "insert", ["set", [PORT_QVO1]]]),
]
DETACH_PORT = mutate(
    "Bridge",
    ["uuid", "<Bridge br-int>"],
    ["ports", "delete", ["set", [["uuid", "<Port qvo1>"]]]],
)
CLEAR_QOS = {
    "op": "update",
    "table": "Port",
    "where": [["_uuid", "==", ["uuid", "<Port qvo1>"]]],
    "row": {"qos": ["set", []]},
}


#: The bridge's only port is that of its own name.
ONLY_ITS_OWN = {
    **still_there("Bridge", "br-int"),
    "columns": ["ports"],
    "rows": [{"ports": ["set", [["uuid", "<Port br-int>"]]]}],
}
TAKE_BRIDGE = mutate(
    "Open_vSwitch",
    ["uuid", "<switch>"],
    ["bridges", "delete", ["set", [["uuid", "<Bridge br-int>"]]]],
)


def insert_port(
    interface: Mapping[str, Any] | None = None, port: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of qvo1 with some columns more."""
    ids = [["iface-id", "b1"], ["vm-uuid", "c1"], ["os-vif", "ovs:hybrid:a1"]]
    return [
        {
            "op": "insert",
            "table": "Interface",
            "uuid-name": "Interface_71766f31",
            "row": {"name": "qvo1", "external_ids": ["map", ids], **(interface or {})},
        },
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": "Port_71766f31",
            "row": {
                "name": "qvo1",
                "interfaces": INTERFACE_QVO1,
                "external_ids": MARKED,
                **(port or {}),
            },
        },
    ]


def insert_qos(kind: str) -> dict[str, Any]:
    ids = [["id", names.qos_id("qvo1")], ["_type", kind], ["os-vif", "ovs:hybrid:a1"]]
    return {
        "op": "insert",
        "table": "QoS",
        "uuid-name": "QoS_71766f31",
        "row": {"type": kind, "external_ids": ["map", ids]},
    }


def delete_qos(uuid: str) -> dict[str, Any]:
    return {"op": "delete", "table": "QoS", "where": [["_uuid", "==", ["uuid", uuid]]]}


def update(**row: Any) -> dict[str, Any]:
    return {
        "op": "update",
        "table": "Interface",
        "where": [["_uuid", "==", ["uuid", "<Interface qvo1>"]]],
        "row": row,
    }


@pytest.mark.parametrize(
    ("steps", "tables", "wanted"),
    [
        pytest.param([], EMPTY, [], id="nothing"),
        pytest.param([CreateBridge(BR_INT)], EMPTY, INSERT_BRIDGE, id="a bridge"),
        pytest.param(
            [CreatePort(PORT)],
            BRIDGE_ONLY,
            [*insert_port(), *ATTACH_PORT],
            id="a port, if its bridge is still there",
        ),
        pytest.param(
            [CreatePort(replace(PORT, interface_type="x", options={"a": "b"}, mtu_request=9000))],
            BRIDGE_ONLY,
            [
                *insert_port({"type": "x", "options": ["map", [["a", "b"]]], "mtu_request": 9000}),
                *ATTACH_PORT,
            ],
            id="type, options and MTU come with the row (bug 1959586)",
        ),
        pytest.param(
            [CreatePort(replace(PORT, qos_type="linux-noop"))],
            Tables("q1", "q2", **JUST_BRIDGE),
            [
                delete_qos("q1"),
                delete_qos("q2"),
                insert_qos("linux-noop"),
                *insert_port(port={"qos": QOS_QVO1}),
                *ATTACH_PORT,
            ],
            id="QoS rows that an earlier port left are replaced",
        ),
        pytest.param(
            [CreatePort(PORT)],
            Tables("q1", **JUST_BRIDGE),
            [delete_qos("q1"), *insert_port(), *ATTACH_PORT],
            id="or go, if the new one has none",
        ),
        pytest.param(
            [SetPort("qvo1", {"mtu_request": None, "type": ""})],
            BOTH,
            [still_there("Interface", "qvo1"), update(mtu_request=["set", []], type="")],
            id="a column is emptied",
        ),
        pytest.param(
            [
                SetPort(
                    "qvo1",
                    {
                        "options:peer": "ibp1",
                        "mtu_request": 9000,
                        "external_ids:iface-id": "b1",
                        "options:o:ld": None,
                    },
                )
            ],
            BOTH,
            [
                still_there("Interface", "qvo1"),
                update(mtu_request=9000),
                mutate(
                    "Interface",
                    ["uuid", "<Interface qvo1>"],
                    ["external_ids", "delete", ["set", ["iface-id"]]],
                    ["external_ids", "insert", ["map", [["iface-id", "b1"]]]],
                    ["options", "delete", ["set", ["peer", "o:ld"]]],
                    ["options", "insert", ["map", [["peer", "ibp1"]]]],
                ),
            ],
            id="columns and keys of several columns",
        ),
        pytest.param(
            [RemovePort("qvo1", "br-int")],
            BOTH,
            [DETACH_PORT],
            id="a port is taken out of its bridge",
        ),
        pytest.param(
            [RemovePort("qvo1", "br-int")],
            Tables("q1", "q2", **WITH_PORT),
            [CLEAR_QOS, delete_qos("q1"), delete_qos("q2"), DETACH_PORT],
            id="its QoS goes too, and before that the reference to it",
        ),
        pytest.param(
            [RemoveQos("qvo1")],
            Tables("q1", "q2", **JUST_BRIDGE),
            [delete_qos("q1"), delete_qos("q2")],
            id="QoS alone",
        ),
        pytest.param([RemoveQos("br-int")], Tables("q1"), [], id="another device's QoS stays"),
        pytest.param(
            [RemoveBridge("br-int")],
            BOTH,
            [TAKE_BRIDGE],
            id="a bridge is taken out of the switch",
        ),
        pytest.param(
            [RemovePort("qvo1", "br-int"), RemoveBridge("br-int", if_empty=True)],
            BOTH,
            [DETACH_PORT, ONLY_ITS_OWN, TAKE_BRIDGE],
            id="a bridge that is empty without our port",
        ),
        pytest.param(
            [RemoveBridge("br-int", if_empty=True)],
            BOTH,
            [],
            id="a bridge that others use is left to them",
        ),
        pytest.param(
            [ReopenPort("qvo1")],
            BOTH,
            [
                still_there("Interface", "qvo1"),
                {
                    "op": "wait",
                    "table": "Interface",
                    "where": [["ofport_request", "==", 50_000]],
                    "columns": ["ofport_request"],
                    "until": "==",
                    "rows": [],
                    "timeout": 0,
                },
                update(ofport_request=50_000),
            ],
            id="a port is opened anew under a number that nobody else asks for",
        ),
        pytest.param(
            [RemovePort("qvo1", "br-int")],
            Tables("q1", **JUST_BRIDGE),
            [delete_qos("q1")],
            id="the port is gone, its QoS is not",
        ),
        pytest.param([RemovePort("qvo1", "br-ex")], BOTH, [], id="the port's bridge is gone"),
        pytest.param([RemoveBridge("br-int")], EMPTY, [], id="the bridge is gone"),
        pytest.param([RemoveBridge("br-int", if_empty=True)], EMPTY, [], id="gone, if empty"),
    ],
)
def test_the_operations_of_steps(
    steps: list[RowStep], tables: Tables, wanted: list[dict[str, Any]]
) -> None:
    built = operations(steps, tables)
    assert built == wanted
    assert json.loads(json.dumps(built)) == wanted


@pytest.mark.parametrize(
    ("step", "tables", "what"),
    [
        (CreateBridge(BR_INT), BRIDGE_ONLY, "Bridge br-int already exists"),
        (CreatePort(PORT), BOTH, "Port qvo1 already exists"),
        (CreatePort(PORT), EMPTY, "Bridge br-int is gone"),
        (SetPort("qvo1", {"external_ids:a": "b"}), BRIDGE_ONLY, "Interface qvo1 is gone"),
        (ReopenPort("qvo1"), BRIDGE_ONLY, "Interface qvo1 is gone"),
        (SetPort("qvo1", {"mtu_request": 1500}), BRIDGE_ONLY, "Interface qvo1 is gone"),
    ],
)
def test_others_were_faster(step: RowStep, tables: Tables, what: str) -> None:
    with pytest.raises(StateChanged, match=what):
        operations([step], tables)


def test_a_port_comes_with_all_it_has_in_the_transaction_that_makes_its_bridge() -> None:
    """No port is without its MTU, its QoS or its dead VLAN, even for a moment."""
    port = replace(PORT, vlan=DEAD, qos_type="linux-htb", mtu_request=1450)
    assert operations([CreateBridge(BR_INT), CreatePort(port)], EMPTY) == [
        *INSERT_BRIDGE,
        insert_qos("linux-htb"),
        *insert_port(
            {"mtu_request": 1450},
            {"tag": 4095, "vlan_mode": "trunk", "trunks": ["set", [4095]], "qos": QOS_QVO1},
        ),
        mutate("Bridge", BRIDGE_BR_INT, ["ports", "insert", ["set", [PORT_QVO1]]]),
    ]


NAMES = st.one_of(st.text(min_size=1), st.sampled_from(["br-int", 'x"]', "a b", "$(x)", "1", "é"]))


@given(bridge=NAMES, port=NAMES)
def test_a_label_is_an_identifier_whatever_the_name(bridge: str, port: str) -> None:
    built = operations(
        [
            CreateBridge(OvsBridge(bridge, "system", MARK)),
            CreatePort(OvsPort(port, bridge, MARK, qos_type="linux-noop")),
        ],
        EMPTY,
    )
    given = [operation["uuid-name"] for operation in built if "uuid-name" in operation]
    used = re.findall(r'"named-uuid", "(.*?)"', json.dumps(built))
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", label) for label in given)  # RFC 7047: <id>
    assert set(used) == set(given)
    if bridge != port:
        assert len(set(given)) == len(given) == 6


def test_the_qos_id_is_that_of_os_vif_5() -> None:
    namespace = uuid.UUID("68da264a-847f-42a8-8ab0-5e774aee3d95")
    assert names.qos_id("tapa0000001-fe") == str(uuid.uuid5(namespace, "tapa0000001-fe"))


Waits = Callable[[dict[str, str]], list[dict[str, Any]]]


@pytest.fixture(params=["removed", "set"])
def waits(request: pytest.FixtureRequest) -> Waits:
    def of(ids: dict[str, str]) -> list[dict[str, Any]]:
        removed, changed = RemovePort("qvo1", "br-int", ids), SetPort("qvo1", {"type": ""}, ids)
        step: RowStep = removed if request.param == "removed" else changed
        return [op for op in operations([step], BOTH) if op["op"] == "wait"]

    return of


def test_a_port_is_changed_only_while_it_is_whose_it_was(waits: Waits) -> None:
    """Others may have added to its ids: OVN does so."""
    has = [*update()["where"], ["external_ids", "includes", ["map", [["iface-id", "a"]]]]]
    assert waits({"iface-id": "a"}) == [{**still_there("Interface", "qvo1"), "where": has}]


def test_a_port_without_an_iface_id_may_have_become_somebodys_by_any_id(waits: Waits) -> None:
    [_, exactly] = waits({"os-vif": "m"})
    ids = [{"external_ids": ["map", [["os-vif", "m"]]]}]
    assert (exactly["until"], exactly["columns"], exactly["rows"]) == ("==", ["external_ids"], ids)


def test_a_port_is_replaced_in_one_transaction() -> None:
    steps = [RemovePort("qvo1", "br-int"), CreatePort(PORT), ReopenPort("qvo1")]
    built = operations(steps, BOTH)
    [opened] = [op for op in built if op.get("row") == {"ofport_request": 50_000}]
    assert opened["where"] == [["_uuid", "==", INTERFACE_QVO1]]
    out, into = [op for op in built if op["op"] == "mutate"]
    assert out == mutate(
        "Bridge",
        ["uuid", "<Bridge br-int>"],
        ["ports", "delete", ["set", [["uuid", "<Port qvo1>"]]]],
    )
    assert into["mutations"] == [["ports", "insert", ["set", [PORT_QVO1]]]]


def test_each_port_of_a_transaction_asks_for_another_number() -> None:
    numbers = iter([7, 7, 7, 8])
    tables = Tables(**WITH_PORT)
    tables.unused_ofport = lambda: next(numbers)  # type: ignore[method-assign]
    built = operations([ReopenPort("qvo1"), ReopenPort("qvo1")], tables)
    assert [op["row"]["ofport_request"] for op in built if "row" in op] == [7, 8]
