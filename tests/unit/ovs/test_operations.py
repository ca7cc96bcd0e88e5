# SPDX-License-Identifier: Apache-2.0
"""Steps as operations of RFC 7047, as whole values; the server's rules are its own."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.wiring.errors import StateChanged
from os_vif.wiring.model import Mark, OvsBridge, OvsPort
from os_vif.wiring.plan import (
    CreateBridge,
    CreatePort,
    RemoveBridge,
    RemovePort,
    RowStep,
    SetPort,
)
from vif_plug_ovs.ovsdb.operations import operations

MARK = Mark("ovs", "hybrid", "a1")
MARKED = ["map", [["os-vif", "ovs:hybrid:a1"]]]
BR_INT = OvsBridge("br-int", "netdev", MARK)
PORT = OvsPort("qvo1", "br-int", MARK, {"iface-id": "b1", "vm-uuid": "c1"})

INTERFACE_BR_INT = ["named-uuid", "Interface_62722d696e74"]
PORT_BR_INT = ["named-uuid", "Port_62722d696e74"]
BRIDGE_BR_INT = ["named-uuid", "Bridge_62722d696e74"]
INTERFACE_QVO1 = ["named-uuid", "Interface_71766f31"]
PORT_QVO1 = ["named-uuid", "Port_71766f31"]


class Tables:
    """Rows by table and name; the UUID of a row is made of both."""

    def __init__(self, **names: list[str]) -> None:
        self._rows = {(table, name) for table, some in names.items() for name in some}

    def uuid(self, table: str, name: str) -> str | None:
        return f"<{table} {name}>" if (table, name) in self._rows else None

    def switch(self) -> str:
        return "<switch>"


EMPTY = Tables()
BRIDGE_ONLY = Tables(Bridge=["br-int"], Port=["br-int"], Interface=["br-int"])
BOTH = Tables(Bridge=["br-int"], Port=["br-int", "qvo1"], Interface=["br-int", "qvo1"])


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
INSERT_PORT = [
    {
        "op": "insert",
        "table": "Interface",
        "uuid-name": "Interface_71766f31",
        "row": {
            "name": "qvo1",
            "external_ids": [
                "map",
                [["iface-id", "b1"], ["vm-uuid", "c1"], ["os-vif", "ovs:hybrid:a1"]],
            ],
        },
    },
    {
        "op": "insert",
        "table": "Port",
        "uuid-name": "Port_71766f31",
        "row": {"name": "qvo1", "interfaces": INTERFACE_QVO1, "external_ids": MARKED},
    },
]


@pytest.mark.parametrize(
    ("steps", "tables", "wanted"),
    [
        pytest.param([], EMPTY, [], id="nothing"),
        pytest.param([CreateBridge(BR_INT)], EMPTY, INSERT_BRIDGE, id="a bridge"),
        pytest.param(
            [CreatePort(PORT)],
            BRIDGE_ONLY,
            [
                *INSERT_PORT,
                still_there("Bridge", "br-int"),
                mutate(
                    "Bridge",
                    ["uuid", "<Bridge br-int>"],
                    ["ports", "insert", ["set", [PORT_QVO1]]],
                ),
            ],
            id="a port, if its bridge is still there",
        ),
        pytest.param(
            [CreateBridge(BR_INT), CreatePort(PORT)],
            EMPTY,
            [
                *INSERT_BRIDGE,
                *INSERT_PORT,
                mutate("Bridge", BRIDGE_BR_INT, ["ports", "insert", ["set", [PORT_QVO1]]]),
            ],
            id="a port of a bridge of the same transaction",
        ),
        pytest.param(
            [SetPort("qvo1", {"iface-id": "b1", "vm-uuid": None})],
            BOTH,
            [
                still_there("Interface", "qvo1"),
                mutate(
                    "Interface",
                    ["uuid", "<Interface qvo1>"],
                    ["external_ids", "delete", ["set", ["iface-id", "vm-uuid"]]],
                    ["external_ids", "insert", ["map", [["iface-id", "b1"]]]],
                ),
            ],
            id="one id is set and another is taken away",
        ),
        pytest.param(
            [RemovePort("qvo1", "br-int")],
            BOTH,
            [
                mutate(
                    "Bridge",
                    ["uuid", "<Bridge br-int>"],
                    ["ports", "delete", ["set", [["uuid", "<Port qvo1>"]]]],
                )
            ],
            id="a port is taken out of its bridge",
        ),
        pytest.param(
            [RemoveBridge("br-int")],
            BOTH,
            [
                mutate(
                    "Open_vSwitch",
                    ["uuid", "<switch>"],
                    ["bridges", "delete", ["set", [["uuid", "<Bridge br-int>"]]]],
                )
            ],
            id="a bridge is taken out of the switch",
        ),
        pytest.param([RemovePort("qvo1", "br-int")], BRIDGE_ONLY, [], id="the port is gone"),
        pytest.param([RemovePort("qvo1", "br-ex")], BOTH, [], id="the port's bridge is gone"),
        pytest.param([RemoveBridge("br-int")], EMPTY, [], id="the bridge is gone"),
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
        (CreateBridge(BR_INT), BRIDGE_ONLY, "Bridge br-int has come into being"),
        (CreatePort(PORT), BOTH, "Port qvo1 has come into being"),
        (CreatePort(PORT), EMPTY, "Bridge br-int is gone"),
        (SetPort("qvo1", {"iface-id": "b1"}), BRIDGE_ONLY, "Interface qvo1 is gone"),
    ],
)
def test_others_were_faster(step: RowStep, tables: Tables, what: str) -> None:
    with pytest.raises(StateChanged, match=what):
        operations([step], tables)


NAMES = st.one_of(st.text(min_size=1), st.sampled_from(["br-int", 'x"]', "a b", "$(x)", "1", "é"]))


def named_uuids(value: Any) -> list[str]:
    """All labels that operations give or refer to."""
    if isinstance(value, Mapping):
        given = [value["uuid-name"]] if "uuid-name" in value else []
        return given + [label for inner in value.values() for label in named_uuids(inner)]
    if isinstance(value, list) and len(value) == 2 and value[0] == "named-uuid":
        return [value[1]]
    if isinstance(value, list):
        return [label for inner in value for label in named_uuids(inner)]
    return []


@given(bridge=NAMES, port=NAMES)
def test_a_label_is_an_identifier_whatever_the_name(bridge: str, port: str) -> None:
    built = operations(
        [
            CreateBridge(OvsBridge(bridge, "system", MARK)),
            CreatePort(OvsPort(port, bridge, MARK)),
        ],
        EMPTY,
    )
    given = [operation["uuid-name"] for operation in built if "uuid-name" in operation]
    used = named_uuids(built)
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", label) for label in used)  # <id> of RFC 7047
    assert set(used) == set(given)
    if bridge != port:
        assert len(set(given)) == len(given) == 5


@given(name=NAMES, ids=st.dictionaries(st.text(), st.none() | st.text(), max_size=4))
def test_ids_travel_as_data_whatever_they_are(name: str, ids: dict[str, str | None]) -> None:
    _, mutation = operations([SetPort(name, ids)], Tables(Interface=[name]))
    (_, _, removed), (_, _, inserted) = mutation["mutations"]
    assert removed == ["set", list(ids)]
    assert dict(inserted[1]) == {key: value for key, value in ids.items() if value is not None}
