# SPDX-License-Identifier: Apache-2.0
"""What is used of python-ovs' inner parts is there, is used in one module only, and works."""

import ast
import contextlib
import errno
import functools
import json
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ovs
import ovs.jsonrpc
import ovs.poller
import ovs.stream
import ovs.util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ovs.db import custom_index, idl

from tests.unit.ovs.test_messages import chunks, written
from vif_plug_ovs.ovsdb import python_ovs, rows

ROOT = Path(__file__).parents[3]
ADAPTER = "vif_plug_ovs/ovsdb/python_ovs.py"

#: The versions of python-ovs that have passed these tests; CI runs the oldest and the newest.
VERSIONS = ("3.5.0", "3.5.4", "3.6.3", "3.7.1", "4.0.0")

#: What the adapter uses that python-ovs does not document; see `parts` for the owners.
USED = {
    "replica": ["_session", "_monitor_request_id", "_Idl__clear", "cooperative_yield", "last_id"],
    "session": ["reconnect", "rpc", "stream", "remotes"],
    "reconnect": ["backoff", "timeout", "connect_failed"],
    "connection": ["name", "stream", "status", "received_bytes", "error"],
    "rows": ["indexes"],
    "index": ["add", "remove", "clear", "columns"],
    "row": ["_data"],
    "datum": ["values"],
    "stream": ["_open"],
}


@functools.cache
def parts() -> SimpleNamespace:
    """Objects of python-ovs' own, by what they are to the adapter."""
    helper = idl.SchemaHelper(schema_json=rows.SCHEMA)
    helper.register_all()
    replica = idl.Idl("tcp:127.0.0.1:6640", helper)
    table = replica.tables["Port"]
    row = idl.Row.from_json(replica, table, uuid.uuid4(), {"name": "tap1"})
    return SimpleNamespace(
        replica=replica,
        session=replica._session,
        reconnect=replica._session.reconnect,
        connection=ovs.jsonrpc.Connection(ovs.stream.UnixStream(None, "unix:test", 0)),
        rows=table.rows,
        index=custom_index.MultiColumnIndex("name"),
        row=row,
        datum=row._data["name"],
        stream=ovs.stream.SSLStream,
    )


@pytest.mark.parametrize(
    ("owner", "attribute"), [(owner, each) for owner, names in USED.items() for each in names]
)
def test_python_ovs_has_what_the_adapter_uses(owner: str, attribute: str) -> None:
    assert hasattr(getattr(parts(), owner), attribute)


def test_the_oldest_version_tried_is_the_oldest_that_is_allowed() -> None:
    assert f'"ovs>={VERSIONS[0]}"' in (ROOT / "pyproject.toml").read_text()


# The one module ----------------------------------------------------------------------------------

#: Attributes without an underscore that are python-ovs' own business as well.
INNER = {"reconnect", "rpc", "backoff", "last_id"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@functools.cache
def private_names() -> frozenset[str]:
    """All attributes with a leading underscore of the installed python-ovs."""
    found: set[str] = set()
    for path in Path(ovs.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.ClassDef):
                names = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                found |= names | {f"_{node.name.lstrip('_')}{name}" for name in names}
    return frozenset(filter(is_private, found))


def touched(source: str) -> set[str]:
    """What a source uses of python-ovs' private attributes, be it by name, override or string.

    Attributes of `self` are the class's own, unless it inherits from python-ovs.
    """
    found = set()
    tree = ast.parse(source)
    heirs = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(
            ast.unparse(base).startswith(("ovs.", "idl.", "python_ovs.")) for base in node.bases
        )
    ]
    inherited = {id(node) for heir in heirs for node in ast.walk(heir)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                if id(node) in inherited:
                    found.add(name)
            case ast.Attribute(attr=name):
                found.add(name)
            case ast.FunctionDef(name=name) if id(node) in inherited:
                found.add(name)
            case ast.Call(func=func, args=[*_, ast.Constant(value=str() as name)]):
                if ast.unparse(func).endswith("attr") or "attrgetter" in ast.unparse(func):
                    found.add(name)
    return found & (private_names() | INNER)


def test_no_other_module_uses_private_attributes() -> None:
    packages = ("os_vif", "vif_plug_ovs", "vif_plug_linux_bridge", "vif_plug_noop")
    paths = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): touched(path.read_text()) for path in paths}
    assert found.pop(ADAPTER)
    assert {module: names for module, names in found.items() if names} == {}


def test_the_adapter_uses_no_others() -> None:
    used = {name for names in USED.values() for name in names}
    assert touched((ROOT / ADAPTER).read_text()) <= used


# Rows --------------------------------------------------------------------------------------------


def test_a_column_that_the_server_lacks_has_the_default() -> None:
    assert python_ovs.scalar(parts().row, "none", 5) == 5
    assert python_ovs.scalar(parts().row, "name") == "tap1"


# A connection ------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected() -> Iterator[tuple[Any, socket.socket]]:
    """A connection of ours over a socket, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = ovs.stream.UnixStream(ours, "unix:test", 0)
    connection = python_ovs.RpcConnection(stream)
    with ours, theirs:
        yield connection, theirs


def received(connection: Any) -> list[dict[str, Any]]:
    """All that has arrived."""
    found = []
    while True:
        error, message = connection.recv()
        if error:
            assert message is None
            return found
        found.append(message.to_json())


@settings(deadline=None)
@given(written(), st.data())
def test_messages_are_received_however_they_are_sent(
    given: tuple[list[dict[str, Any]], bytes], data: st.DataObject
) -> None:
    values, stream = given
    found = []
    with connected() as (connection, server):
        for chunk in chunks(data, stream):
            server.sendall(chunk)
            found += received(connection)
        assert connection.recv() == (errno.EAGAIN, None)
        assert connection.received_bytes == len(stream)
        server.close()
        assert connection.recv() == (ovs.util.EOF, None)
    assert found == values


ECHO = b'{"id":"echo","method":"echo","params":[]}'


def test_messages_before_garbage_are_received_and_the_connection_is_given_up() -> None:
    with connected() as (connection, server):
        server.sendall(ECHO + b"garbage" + ECHO)
        assert [message["method"] for message in received(connection)] == ["echo"]
        assert connection.get_status() == errno.EPROTO
        assert connection.recv() == (errno.EPROTO, None)
        assert connection.stream.socket.fileno() == -1


def test_a_broken_connection_says_so() -> None:
    with connected() as (connection, server):
        connection.send(ovs.jsonrpc.Message.create_request("echo", []))
        server.close()  # with the request unread
        assert connection.recv() == (errno.ECONNRESET, None)


def test_who_waits_is_woken_by_a_message_or_what_is_left_of_it() -> None:
    def wakes(connection: Any) -> bool:
        poller = ovs.poller.Poller()
        connection.recv_wait(poller)
        poller.timer_wait(500)  # milliseconds
        began = time.monotonic()
        poller.block()
        return time.monotonic() - began < 0.4

    with connected() as (connection, server):
        assert wakes(connection)  # it has not looked yet
        assert connection.recv() == (errno.EAGAIN, None)
        assert not wakes(connection)
        server.sendall(ECHO + ECHO)
        assert wakes(connection)
        assert connection.recv()[0] == 0
        assert wakes(connection)  # the second has left the socket already
        assert len(received(connection)) == 1
        assert not wakes(connection)


# A replica ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def replica_of_a_server(path: Path) -> Iterator[tuple[idl.Idl, socket.socket]]:
    """A replica that has asked a server to monitor, and that server's end of the connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}/db.sock")
        server.listen()
        tables = rows.new_replica(f"unix:{path}/db.sock")
        for _ in range(3):
            tables.run()
        accepted, _ = server.accept()
        with accepted, contextlib.closing(tables):
            asked = json.loads(accepted.recv(4096))
            assert asked["method"] == "get_schema"
            accepted.sendall(refusal(asked["id"], "no"))
            tables.run()
            yield tables, accepted


def refusal(request: int, error: Any) -> bytes:
    return json.dumps({"id": request, "result": None, "error": error}).encode()


def test_a_refusal_that_can_be_cured_ends_the_connection_whatever_follows_it(
    tmp_path: Path,
) -> None:
    with replica_of_a_server(tmp_path) as (tables, server):
        assert isinstance(tables.session.rpc, python_ovs.RpcConnection)
        assert tables.state == tables.IDL_S_DATA_MONITOR_REQUESTED
        asked = json.loads(server.recv(4096))
        assert asked["method"] == "monitor"
        error = {"error": "syntax error", "details": "mtu_request is not a valid column name"}
        first = refusal(asked["id"], error).rjust(python_ovs._CHUNK_BYTES)
        server.sendall(first + ECHO)  # which is received by itself
        for _ in range(3):
            tables.run()
        assert not tables.session.is_connected()
        assert tables.session.missing == {("Interface", "mtu_request")}


def test_the_replicas_of_others_receive_as_ever() -> None:
    rows.new_replica("tcp:127.0.0.1:6640")
    helper = idl.SchemaHelper(schema_json=rows.SCHEMA)
    helper.register_all()
    theirs = idl.Idl("tcp:127.0.0.1:6640", helper)
    assert type(theirs._session) is ovs.jsonrpc.Session
    assert ovs.jsonrpc.Connection.recv.__module__ == "ovs.jsonrpc"
