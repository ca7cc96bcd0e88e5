# SPDX-License-Identifier: Apache-2.0
"""What the daemon takes of those who ask it to run ``ovsdb-client``, and what it makes of it."""

import json
from typing import Any

import pytest

from os_vif.exception import InvalidValue
from os_vif.wiring.elements import OvsBridge, OvsPort
from os_vif.wiring.steps import (
    CreateBridge,
    CreatePort,
    RemoveBridge,
    RemovePort,
    ReopenPort,
    RowStep,
    SetPort,
)
from tests.unit.ovs.test_operations import BOTH, BRIDGE_ONLY, MARK, Tables
from vif_plug_ovs.ovsdb import client, vsctl
from vif_plug_ovs.ovsdb.operations import operations
from vif_plug_ovs.shapes.request import DEAD

REMOTE = "unix:/run/openvswitch/db.sock"
FILES = ["/etc/key.pem", "/etc/certificate.pem", "/etc/authority.pem"]
SELECT = {"op": "select", "table": "Port", "where": [["name", "==", "a"]], "columns": ["name"]}
INSERT = {"op": "insert", "table": "QoS", "uuid-name": "a", "row": {"type": "linux-noop"}}
UPDATE = {"op": "update", "table": "Interface", "where": [], "row": {"mtu_request": 1400}}
MUTATE = {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": []}
WAIT = {
    "op": "wait",
    "table": "Bridge",
    "where": [["_uuid", "==", ["uuid", "a"]]],
    "columns": ["name"],
    "until": "==",
    "rows": [{"name": "br-int"}],
    "timeout": 0,
}

PORT = OvsPort(
    "qvo1",
    "br-int",
    MARK,
    interface_type="dpdkvhostuserclient",
    external_ids={"iface-id": "b1"},
    options={"a": "b"},
    mtu_request=1400,
    vlan=DEAD,
    qos_type="linux-noop",
)
STEPS: dict[str, tuple[list[RowStep], Tables]] = {
    "create": ([CreateBridge(OvsBridge("br-int", "netdev", MARK)), CreatePort(PORT)], Tables()),
    "attach": ([CreatePort(PORT)], BRIDGE_ONLY),
    "set": (
        [SetPort("qvo1", {"type": "", "mtu_request": None, "options:a": "c"}), ReopenPort("qvo1")],
        BOTH,
    ),
    "remove": (
        [RemovePort("qvo1", "br-int"), RemoveBridge("br-int", if_empty=True)],
        Tables("<QoS 1>", Bridge=["br-int"], Port=["br-int", "qvo1"], Interface=["qvo1"]),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_steps_are_made_of_is_taken(name: str) -> None:
    wanted = operations(*STEPS[name])
    assert wanted
    *options, verb, remote, text = client.arguments(REMOTE, [], wanted)
    assert (options, verb, remote) == ([], "transact", REMOTE)
    assert json.loads(text) == ["Open_vSwitch", *wanted]


@pytest.mark.parametrize("ports", [["tap1", "--help"], [f"tap{i}" for i in range(1000)]])
def test_what_is_read_is_taken(ports: list[str]) -> None:
    wanted = vsctl._selects_for(ports)
    *_, text = client.arguments(REMOTE, [], wanted)
    assert json.loads(text) == ["Open_vSwitch", *wanted]
    assert len(text) < 128 * 1024  # MAX_ARG_STRLEN of linux/binfmts.h


def test_the_files_of_tls_are_options_of_their_own() -> None:
    options = client.arguments("ssl:[::1]:6640", FILES, [])[:3]
    assert options == [
        "--private-key=/etc/key.pem",
        "--certificate=/etc/certificate.pem",
        "--ca-cert=/etc/authority.pem",
    ]


@pytest.mark.parametrize(
    "remote",
    [
        "--help",
        "",
        "punix:/run/db.sock",
        "pssl:6640",
        "unix:db.sock",
        "unix:/run/a,unix:/run/b",
        "unix:/run/a\0b",
        "tcp:192.0.2.1:6640,unix:/run/db.sock",
        "tcp:192.0.2.1",
        "osviftls0:192.0.2.1:6640",
        None,
        ["unix:/run/db.sock"],
    ],
)
def test_a_remote_that_is_none_or_several_is_refused(remote: Any) -> None:
    with pytest.raises(InvalidValue, match=r"ovsdb_connection, .*unix:<path from the root>"):
        client.arguments(remote, [], [SELECT])


@pytest.mark.parametrize(
    ("remote", "files"),
    [
        (REMOTE, FILES),
        ("ssl:192.0.2.1:6640", []),
        ("ssl:192.0.2.1:6640", FILES[:2]),
        ("ssl:192.0.2.1:6640", [*FILES[:2], "authority.pem"]),
        ("ssl:192.0.2.1:6640", [*FILES[:2], "/etc/a\0b"]),
        ("ssl:192.0.2.1:6640", [*FILES[:2], 1]),
    ],
)
def test_files_that_are_not_those_of_tls_are_refused(remote: str, files: Any) -> None:
    with pytest.raises(InvalidValue, match="files"):
        client.arguments(remote, files, [SELECT])


@pytest.mark.parametrize("operation", [SELECT, INSERT, UPDATE, MUTATE, WAIT])
def test_what_the_forged_ones_are_made_from_is_taken(operation: dict[str, Any]) -> None:
    client.arguments(REMOTE, [], [operation])


FORGED: dict[str, Any] = {
    "no operation": "select",
    "no members": {},
    "no table": {"op": "abort"},
    "another operation": {**SELECT, "op": "assert"},
    "an operation of no kind": {**SELECT, "op": ["select"]},
    "another table": {**SELECT, "table": "Manager"},
    "a table of no kind": {**SELECT, "table": ["Port"]},
    "all columns": {key: value for key, value in SELECT.items() if key != "columns"},
    "another column read": {**SELECT, "columns": ["status"]},
    "another column asked for": {**SELECT, "where": [["mac", "==", "a"]]},
    "another column waited for": {**WAIT, "rows": [{"controller": []}]},
    "another column inserted": {**INSERT, "row": {"queues": []}},
    "another column updated": {**UPDATE, "row": {"ingress_policing_rate": 1}},
    "a column that is read only": {**UPDATE, "row": {"ofport": 1}},
    "another column changed": {**MUTATE, "mutations": [["manager_options", "delete", []]]},
    "a number that is ovs-vswitchd's": {**MUTATE, "mutations": [["cur_cfg", "+=", 1]]},
    "the switch replaced": {**INSERT, "table": "Open_vSwitch", "row": {}},
    "the switch set": {**UPDATE, "table": "Open_vSwitch", "row": {"next_cfg": 1}},
    "a bridge deleted": {"op": "delete", "table": "Bridge", "where": []},
    "one member more": {**SELECT, "comment": "a"},
    "conditions of no kind": {**SELECT, "where": [1]},
    "mutations of no kind": {**MUTATE, "mutations": [[]]},
    "columns of no kind": {**SELECT, "columns": [["name"], {}]},
    "a row of no kind": {**INSERT, "row": 1},
    "bytes": {**INSERT, "row": {"type": b"a"}},
    "no number": {**UPDATE, "row": {"mtu_request": float("nan")}},
}


@pytest.mark.parametrize("what", FORGED)
def test_what_os_vif_does_not_do_is_refused(what: str) -> None:
    with pytest.raises(InvalidValue, match="operation"):
        client.arguments(REMOTE, [], [SELECT, FORGED[what]])
