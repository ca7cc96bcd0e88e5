# SPDX-License-Identifier: Apache-2.0
"""Steps as operations of RFC 7047, as whole values; the server's rules are its own."""

import json
import re
import uuid
from collections.abc import Mapping
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
BR_INT = OvsBridge("br-int", "netdev", MARK)
PORT = OvsPort("qvo1", "br-int", MARK, external_ids={"iface-id": "b1", "vm-uuid": "c1"})


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


#: How the drawings name what is long: the labels of new rows are made of names in hexadecimal.
SHORT = {
    "71766f31": "qvo1",
    "62722d696e74": "br-int",
    names.qos_id("qvo1"): "ID-OF-QVO1",
    "ovs:hybrid:a1": "MARK",
    "where=(('_uuid' '==' ": "of((",
    "columns=('name') until='==' ": "",
}


def draw(operation: Mapping[str, Any]) -> str:
    """Return an operation in one line; each notation of RFC 7047 is drawn in its own way."""
    drawing = f"{operation['op']} {operation['table']} " + " ".join(
        f"{key}={_text(value)}" for key, value in operation.items() if key not in ("op", "table")
    )
    for text, abbreviation in SHORT.items():
        drawing = drawing.replace(text, abbreviation)
    return drawing


def _text(value: Any) -> str:
    match value:
        case dict():
            return "(" + " ".join(f"{key}={_text(one)}" for key, one in value.items()) + ")"
        case ["map", list() as pairs]:
            return "map(" + " ".join(f"{key}={_text(one)}" for key, one in pairs) + ")"
        case ["set", list() as items]:
            return "set(" + " ".join(map(_text, items)) + ")"
        case ["uuid" | "named-uuid" as kind, str() as row]:
            return f"{kind}({row})"
        case list():
            return "(" + " ".join(map(_text, value)) + ")"
    return repr(value)


# Drawings that others consist of.
INSERT_BRIDGE = """\
insert Interface uuid-name='Interface_br-int' row=(name='br-int' type='internal' \
external_ids=map(os-vif='MARK'))
insert Port uuid-name='Port_br-int' row=(name='br-int' interfaces=named-uuid(Interface_br-int) \
external_ids=map(os-vif='MARK'))
insert Bridge uuid-name='Bridge_br-int' row=(name='br-int' datapath_type='netdev' \
external_ids=map(os-vif='MARK') ports=named-uuid(Port_br-int))
mutate Open_vSwitch of((uuid(<switch>))) mutations=(('bridges' 'insert' \
set(named-uuid(Bridge_br-int))))"""
INSERT_PORT = """\
insert Interface uuid-name='Interface_qvo1' row=(name='qvo1' external_ids=map(iface-id='b1' \
vm-uuid='c1' os-vif='MARK'))
insert Port uuid-name='Port_qvo1' row=(name='qvo1' interfaces=named-uuid(Interface_qvo1) \
external_ids=map(os-vif='MARK'))"""
ATTACH_PORT = """\
wait Bridge of((uuid(<Bridge br-int>))) rows=((name='br-int')) timeout=0
mutate Bridge of((uuid(<Bridge br-int>))) mutations=(('ports' 'insert' \
set(named-uuid(Port_qvo1))))"""
DETACH_PORT = """\
mutate Bridge of((uuid(<Bridge br-int>))) mutations=(('ports' 'delete' set(uuid(<Port qvo1>))))"""
STILL_THERE = """\
wait Interface of((uuid(<Interface qvo1>))) rows=((name='qvo1')) timeout=0"""
TAKE_BRIDGE = """\
mutate Open_vSwitch of((uuid(<switch>))) mutations=(('bridges' 'delete' set(uuid(<Bridge \
br-int>))))"""

#: what is done -> the steps, what is there, the operations
CASES: dict[str, tuple[list[RowStep], Tables, str]] = {
    "nothing": ([], EMPTY, ""),
    "a bridge": ([CreateBridge(BR_INT)], EMPTY, INSERT_BRIDGE),
    "a port, if its bridge is still there": (
        [CreatePort(PORT)],
        BRIDGE_ONLY,
        f"""
{INSERT_PORT}
{ATTACH_PORT}
""",
    ),
    "type, options and MTU come with the row (bug 1959586)": (
        [CreatePort(replace(PORT, interface_type="x", options={"a": "b"}, mtu_request=9000))],
        BRIDGE_ONLY,
        f"""
insert Interface uuid-name='Interface_qvo1' row=(name='qvo1' external_ids=map(iface-id='b1' \
vm-uuid='c1' os-vif='MARK') type='x' options=map(a='b') mtu_request=9000)
insert Port uuid-name='Port_qvo1' row=(name='qvo1' interfaces=named-uuid(Interface_qvo1) \
external_ids=map(os-vif='MARK'))
{ATTACH_PORT}
""",
    ),
    "no port is without its MTU, its QoS or its dead VLAN, even for a moment": (
        [
            CreateBridge(BR_INT),
            CreatePort(replace(PORT, vlan=DEAD, qos_type="linux-htb", mtu_request=1450)),
        ],
        EMPTY,
        f"""
{INSERT_BRIDGE}
insert QoS uuid-name='QoS_qvo1' row=(type='linux-htb' external_ids=map(id='ID-OF-QVO1' \
_type='linux-htb' os-vif='MARK'))
insert Interface uuid-name='Interface_qvo1' row=(name='qvo1' external_ids=map(iface-id='b1' \
vm-uuid='c1' os-vif='MARK') mtu_request=1450)
insert Port uuid-name='Port_qvo1' row=(name='qvo1' interfaces=named-uuid(Interface_qvo1) \
external_ids=map(os-vif='MARK') tag=4095 vlan_mode='trunk' trunks=set(4095) \
qos=named-uuid(QoS_qvo1))
mutate Bridge of((named-uuid(Bridge_br-int))) mutations=(('ports' 'insert' \
set(named-uuid(Port_qvo1))))
""",
    ),
    "QoS rows that an earlier port left are replaced": (
        [CreatePort(replace(PORT, qos_type="linux-noop"))],
        Tables("q1", "q2", **JUST_BRIDGE),
        f"""
delete QoS of((uuid(q1)))
delete QoS of((uuid(q2)))
insert QoS uuid-name='QoS_qvo1' row=(type='linux-noop' external_ids=map(id='ID-OF-QVO1' \
_type='linux-noop' os-vif='MARK'))
insert Interface uuid-name='Interface_qvo1' row=(name='qvo1' external_ids=map(iface-id='b1' \
vm-uuid='c1' os-vif='MARK'))
insert Port uuid-name='Port_qvo1' row=(name='qvo1' interfaces=named-uuid(Interface_qvo1) \
external_ids=map(os-vif='MARK') qos=named-uuid(QoS_qvo1))
{ATTACH_PORT}
""",
    ),
    "or go, if the new one has none": (
        [CreatePort(PORT)],
        Tables("q1", **JUST_BRIDGE),
        f"""
delete QoS of((uuid(q1)))
{INSERT_PORT}
{ATTACH_PORT}
""",
    ),
    "a column is emptied": (
        [SetPort("qvo1", {"mtu_request": None, "type": ""})],
        BOTH,
        f"""
{STILL_THERE}
update Interface of((uuid(<Interface qvo1>))) row=(mtu_request=set() type='')
""",
    ),
    "columns and keys of several columns": (
        [
            SetPort(
                "qvo1", {"options:a": "b", "type": "x", "external_ids:c": "d", "options:e:f": None}
            )
        ],
        BOTH,
        f"""
{STILL_THERE}
update Interface of((uuid(<Interface qvo1>))) row=(type='x')
mutate Interface of((uuid(<Interface qvo1>))) mutations=(('external_ids' 'delete' set('c')) \
('external_ids' 'insert' map(c='d')) ('options' 'delete' set('a' 'e:f')) \
('options' 'insert' map(a='b')))
""",
    ),
    "a port is taken out of its bridge": ([RemovePort("qvo1", "br-int")], BOTH, DETACH_PORT),
    "its QoS goes too, and before that the reference to it": (
        [RemovePort("qvo1", "br-int")],
        Tables("q1", "q2", **WITH_PORT),
        f"""
update Port of((uuid(<Port qvo1>))) row=(qos=set())
delete QoS of((uuid(q1)))
delete QoS of((uuid(q2)))
{DETACH_PORT}
""",
    ),
    "the port is gone, its QoS is not": (
        [RemovePort("qvo1", "br-int")],
        Tables("q1", **JUST_BRIDGE),
        "delete QoS of((uuid(q1)))",
    ),
    "the port's bridge is gone": ([RemovePort("qvo1", "br-ex")], BOTH, ""),
    "a port is changed only while it is whose it was; OVN adds to its ids": (
        [
            RemovePort("qvo1", "br-int", {"iface-id": "a"}),
            SetPort("qvo1", {"type": ""}, {"iface-id": "a"}),
        ],
        BOTH,
        f"""
wait Interface of((uuid(<Interface qvo1>)) ('external_ids' 'includes' map(iface-id='a'))) \
rows=((name='qvo1')) timeout=0
{DETACH_PORT}
wait Interface of((uuid(<Interface qvo1>)) ('external_ids' 'includes' map(iface-id='a'))) \
rows=((name='qvo1')) timeout=0
update Interface of((uuid(<Interface qvo1>))) row=(type='')
""",
    ),
    "a port without an iface-id may have become somebody's by any id": (
        [SetPort("qvo1", {"options:a": None}, {"os-vif": "m"})],
        BOTH,
        """
wait Interface of((uuid(<Interface qvo1>)) ('external_ids' 'includes' map(os-vif='m'))) \
rows=((name='qvo1')) timeout=0
wait Interface of((uuid(<Interface qvo1>))) columns=('external_ids') until='==' \
rows=((external_ids=map(os-vif='m'))) timeout=0
mutate Interface of((uuid(<Interface qvo1>))) mutations=(('options' 'delete' set('a')) \
('options' 'insert' map()))
""",
    ),
    "a port is replaced in one transaction": (
        [RemovePort("qvo1", "br-int"), CreatePort(PORT), ReopenPort("qvo1")],
        BOTH,
        f"""
{DETACH_PORT}
{INSERT_PORT}
{ATTACH_PORT}
wait Interface where=(('ofport_request' '==' 50000)) columns=('ofport_request') until='==' \
rows=() timeout=0
update Interface of((named-uuid(Interface_qvo1))) row=(ofport_request=50000)
""",
    ),
    "QoS alone": (
        [RemoveQos("qvo1")],
        Tables("q1", "q2", **JUST_BRIDGE),
        """
delete QoS of((uuid(q1)))
delete QoS of((uuid(q2)))
""",
    ),
    "another device's QoS stays": ([RemoveQos("br-int")], Tables("q1"), ""),
    "a bridge is taken out of the switch": ([RemoveBridge("br-int")], BOTH, TAKE_BRIDGE),
    "a bridge that is empty without our port": (
        [RemovePort("qvo1", "br-int"), RemoveBridge("br-int", if_empty=True)],
        BOTH,
        f"""
{DETACH_PORT}
wait Bridge of((uuid(<Bridge br-int>))) columns=('ports') until='==' \
rows=((ports=set(uuid(<Port br-int>)))) timeout=0
{TAKE_BRIDGE}
""",
    ),
    "a bridge that others use is left to them": (
        [RemoveBridge("br-int", if_empty=True)],
        BOTH,
        "",
    ),
    "the bridge is gone": ([RemoveBridge("br-int")], EMPTY, ""),
    "the bridge is gone, which was to go if it is empty": (
        [RemoveBridge("br-int", if_empty=True)],
        EMPTY,
        "",
    ),
    "a port is opened anew under a number that nobody else asks for": (
        [ReopenPort("qvo1")],
        BOTH,
        f"""
{STILL_THERE}
wait Interface where=(('ofport_request' '==' 50000)) columns=('ofport_request') until='==' \
rows=() timeout=0
update Interface of((uuid(<Interface qvo1>))) row=(ofport_request=50000)
""",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_operations_of_steps(case: str) -> None:
    steps, tables, text = CASES[case]
    built = operations(steps, tables)
    assert [draw(operation) for operation in built] == text.strip().splitlines()
    assert json.loads(json.dumps(built)) == built


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


def test_each_port_of_a_transaction_asks_for_another_number() -> None:
    numbers = iter([7, 7, 7, 8])
    tables = Tables(**WITH_PORT)
    tables.unused_ofport = lambda: next(numbers)  # type: ignore[method-assign]
    built = operations([ReopenPort("qvo1"), ReopenPort("qvo1")], tables)
    assert [op["row"]["ofport_request"] for op in built if "row" in op] == [7, 8]
