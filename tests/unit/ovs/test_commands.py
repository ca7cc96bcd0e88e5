# SPDX-License-Identifier: Apache-2.0
"""Steps as arguments of ovs-vsctl, as whole values; how ovs-vsctl reads them is tested on it."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.wiring.errors import StateChanged
from os_vif.wiring.model import Mark, OvsBridge, OvsPort
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
from vif_plug_ovs.ovsdb import commands
from vif_plug_ovs.wiring import names
from vif_plug_ovs.wiring.request import DEAD

MARK = Mark("ovs", "hybrid", "a1")
MARKED = 'external_ids={"os-vif"="ovs:hybrid:a1"}'
BR_INT = OvsBridge("br-int", "netdev", MARK)
PORT = OvsPort("qvo1", "br-int", MARK, external_ids={"iface-id": "b1"})
QOS_ID = names.qos_id("qvo1")


class Tables:
    """Rows by table and name; the UUID of a row is made of both."""

    next_cfg = 7

    def __init__(self, qos: Mapping[str, list[str]] | None = None, **rows: list[str]) -> None:
        self._qos = qos or {}
        self._rows = {(table, name) for table, some in rows.items() for name in some}

    def uuid(self, table: str, name: str) -> str | None:
        return f"<{table} {name}>" if (table, name) in self._rows else None

    def qos(self, device: str) -> list[str]:
        return self._qos.get(device, [])

    def ports(self, bridge: str) -> list[str]:
        return [f"<Port {name}>" for table, name in sorted(self._rows) if table == "Port"]

    def unused_ofport(self) -> int:
        return 50_000

    def switch(self) -> str:
        return "<switch>"


EMPTY = Tables()
BRIDGE_ONLY = Tables(Bridge=["br-int"], Port=["br-int"], Interface=["br-int"])
BOTH = Tables(Bridge=["br-int"], Port=["br-int", "qvo1"], Interface=["br-int", "qvo1"])
WITH_QOS = Tables(
    {"qvo1": ["<qos 1>", "<qos 2>"]}, Bridge=["br-int"], Port=["qvo1"], Interface=["qvo1"]
)

WITH_QOS_ONLY = Tables({"qvo1": ["<left over>"]}, Bridge=["br-int"])

COUNTED = [
    ["add", "Open_vSwitch", "<switch>", "next_cfg", "7"],
    ["set", "Open_vSwitch", "<switch>", "next_cfg=8"],
]


def spoken(words: list[str]) -> list[list[str]]:
    """The commands of an invocation, one list each."""
    found: list[list[str]] = []
    for word in words:
        if word == "--":
            found.append([])
        else:
            found[-1].append(word)
    return found


def create(label: str, table: str, *columns: str) -> list[str]:
    return [f"--id={label}", "create", table, *columns]


def test_a_bridge_and_its_ports_are_created_and_it_is_attached_last() -> None:
    assert spoken(commands.writing([CreateBridge(BR_INT), CreatePort(PORT)], EMPTY)) == [
        *COUNTED,
        create("@new1", "Interface", 'name="br-int"', 'type="internal"', MARKED),
        create("@new0", "Port", 'name="br-int"', "interfaces=@new1", MARKED),
        create(
            "@new3",
            "Interface",
            'name="qvo1"',
            'external_ids={"iface-id"="b1","os-vif"="ovs:hybrid:a1"}',
        ),
        create("@new2", "Port", 'name="qvo1"', "interfaces=@new3", MARKED),
        create(
            "@new4",
            "Bridge",
            'name="br-int"',
            'datapath_type="netdev"',
            MARKED,
            "ports=@new0,@new2",
        ),
        ["add", "Open_vSwitch", "<switch>", "bridges", "@new4"],
    ]


def test_everything_that_a_port_may_have() -> None:
    port = replace(
        PORT,
        interface_type="dpdkvhostuserclient",
        options={"vhost-server-path": "/run/a"},
        mtu_request=1450,
        vlan=DEAD,
        qos_type="linux-noop",
    )
    ids = f'{{"id"="{QOS_ID}","_type"="linux-noop","os-vif"="ovs:hybrid:a1"}}'
    assert spoken(commands.writing([CreatePort(port)], WITH_QOS_ONLY)) == [
        *COUNTED,
        ["--if-exists", "destroy", "QoS", "<left over>"],
        create("@new0", "QoS", 'type="linux-noop"', f"external_ids={ids}"),
        create(
            "@new2",
            "Interface",
            'name="qvo1"',
            'external_ids={"iface-id"="b1","os-vif"="ovs:hybrid:a1"}',
            'type="dpdkvhostuserclient"',
            'options={"vhost-server-path"="/run/a"}',
            "mtu_request=1450",
        ),
        create(
            "@new1",
            "Port",
            'name="qvo1"',
            "interfaces=@new2",
            MARKED,
            "tag=4095",
            'vlan_mode="trunk"',
            "trunks=4095",
            "qos=@new0",
        ),
        ["add", "Bridge", "<Bridge br-int>", "ports", "@new1"],
    ]


@pytest.mark.parametrize(
    ("key", "value", "command"),
    [
        ("type", "patch", ["set", "Interface", "<Interface qvo1>", 'type="patch"']),
        ("type", "1", ["set", "Interface", "<Interface qvo1>", 'type="1"']),
        ("mtu_request", 1450, ["set", "Interface", "<Interface qvo1>", "mtu_request=1450"]),
        ("mtu_request", None, ["clear", "Interface", "<Interface qvo1>", "mtu_request"]),
        (
            "external_ids:iface-id",
            "b2",
            ["set", "Interface", "<Interface qvo1>", 'external_ids:"iface-id"="b2"'],
        ),
        (
            "options:peer",
            None,
            ["remove", "Interface", "<Interface qvo1>", "options", '"peer"'],
        ),
    ],
)
def test_values_of_an_interface_that_is_still_there_are_set(
    key: str, value: str | int | None, command: list[str]
) -> None:
    guard = ["get", "Interface", "<Interface qvo1>", "name"]
    step = SetPort("qvo1", {key: value})
    assert spoken(commands.writing([step], BOTH)) == [*COUNTED, guard, command]


def test_a_port_lets_go_of_its_qos_rows_before_they_are_destroyed() -> None:
    assert spoken(commands.writing([RemovePort("qvo1", "br-int")], WITH_QOS)) == [
        *COUNTED,
        ["clear", "Port", "<Port qvo1>", "qos"],
        ["--if-exists", "destroy", "QoS", "<qos 1>"],
        ["--if-exists", "destroy", "QoS", "<qos 2>"],
        ["remove", "Bridge", "<Bridge br-int>", "ports", "<Port qvo1>"],
    ]


def test_a_port_without_qos_rows_keeps_what_others_gave_it_until_it_goes() -> None:
    assert spoken(commands.writing([RemovePort("qvo1", "br-int")], BOTH)) == [
        *COUNTED,
        ["remove", "Bridge", "<Bridge br-int>", "ports", "<Port qvo1>"],
    ]


def test_a_bridge_is_taken_out_of_the_switch() -> None:
    assert spoken(commands.writing([RemoveBridge("br-int")], BOTH)) == [
        *COUNTED,
        ["remove", "Open_vSwitch", "<switch>", "bridges", "<Bridge br-int>"],
    ]


def test_a_bridge_that_must_be_empty_is_guarded() -> None:
    steps = [RemovePort("qvo1", "br-int"), RemoveBridge("br-int", if_empty=True)]
    assert spoken(commands.writing(steps, BOTH)) == [
        *COUNTED,
        ["remove", "Bridge", "<Bridge br-int>", "ports", "<Port qvo1>"],
        ["get", "Bridge", "<Bridge br-int>", "ports"],
        ["wait-until", "Bridge", "<Bridge br-int>", "ports=<Port br-int>"],
        ["remove", "Open_vSwitch", "<switch>", "bridges", "<Bridge br-int>"],
    ]


def test_a_bridge_that_must_be_empty_and_is_not_stays() -> None:
    assert commands.writing([RemoveBridge("br-int", if_empty=True)], BOTH) == []


def test_a_port_is_reopened_by_asking_for_another_number() -> None:
    assert spoken(commands.writing([ReopenPort("qvo1")], BOTH)) == [
        *COUNTED,
        ["get", "Interface", "<Interface qvo1>", "name"],
        ["set", "Interface", "<Interface qvo1>", "ofport_request=50000"],
    ]


@pytest.mark.parametrize(
    "step", [RemovePort("qvo1", "br-int"), RemoveBridge("br-int"), RemoveQos("qvo1")]
)
def test_what_is_gone_needs_no_invocation(step: RowStep) -> None:
    assert commands.writing([step], EMPTY) == []


@pytest.mark.parametrize(
    ("step", "tables", "what"),
    [
        (CreateBridge(BR_INT), BRIDGE_ONLY, "Bridge br-int has come into being"),
        (CreatePort(PORT), BOTH, "Port qvo1 has come into being"),
        (CreatePort(PORT), EMPTY, "Bridge br-int is gone"),
        (SetPort("qvo1", {"mtu_request": 1}), BRIDGE_ONLY, "Interface qvo1 is gone"),
        (ReopenPort("qvo1"), BRIDGE_ONLY, "Interface qvo1 is gone"),
    ],
)
def test_what_the_plan_was_not_made_for_is_an_error(
    step: RowStep, tables: Tables, what: str
) -> None:
    with pytest.raises(StateChanged, match=what):
        commands.writing([step], tables)


class Anything(Tables):
    """Every bridge and every interface, and no port."""

    def uuid(self, table: str, name: str) -> str | None:
        return None if table == "Port" else "<row>"


@given(st.text(), st.dictionaries(st.text(), st.text()), st.text())
def test_no_value_is_a_word_of_its_own(
    name: str, values: Mapping[str, str], iface_id: str
) -> None:
    """Each stands in quotes, as JSON, behind a column: it cannot end or begin a command."""
    port = replace(PORT, name=name, external_ids=values, options=values)
    changes = SetPort(name, {f"external_ids:{key}": value for key, value in values.items()})
    said = [
        commands.writing([CreatePort(port), changes], Anything()),
        commands.reading([name]),
        commands.naming(iface_id),
    ]
    commanded = [command for words in said for command in spoken(words)]
    columns = ("--columns=", "--id=@new", "--if-exists")
    for command in commanded:
        verb = next(word for word in command if not word.startswith(columns))
        assert verb in {"add", "set", "create", "get", "list", "find"}
        for word in command[command.index(verb) + 1 :]:
            assert word.isascii()
            assert not word.startswith("-")
    find = next(command for command in commanded if command[1:3] == ["find", "Port"])
    assert json.loads(find[3].removeprefix("name=")) == name
