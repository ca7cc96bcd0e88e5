# SPDX-License-Identifier: Apache-2.0
"""Messages off a stream: however it is chopped, and whatever is in it."""

import contextlib
import errno
import itertools
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ovs.json
import ovs.jsonrpc
import ovs.poller
import ovs.stream
import ovs.util
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ovs.db import idl

from vif_plug_ovs.ovsdb import messages, rows

#: With much of what has a meaning in JSON. NUL and halves of pairs are not for OVSDB's strings.
TEXT = st.text(
    st.sampled_from('{}[]",:\\ \n\tué€𝄞')
    | st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"),
    max_size=12,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
IDS = st.integers(0, 2**31)
MESSAGES = (
    st.fixed_dictionaries({"method": TEXT, "params": st.lists(VALUES, max_size=3), "id": IDS})
    | st.fixed_dictionaries({"method": TEXT, "params": st.lists(VALUES), "id": st.none()})
    | st.fixed_dictionaries({"result": VALUES.filter(bool), "error": st.none(), "id": IDS})
    | st.fixed_dictionaries({"result": st.none(), "error": VALUES.filter(bool), "id": IDS})
)
BLANKS = st.text(" \t\r\n", max_size=3)


@st.composite
def written(draw: st.DrawFn, what: st.SearchStrategy[Any] = OBJECTS) -> tuple[list[Any], bytes]:
    """Values, and a stream of them: escaped or in UTF-8, with blanks or without."""
    values = draw(st.lists(what, max_size=4))
    ascii_only = draw(st.booleans())
    indent = draw(st.sampled_from([None, 1]))
    texts = [json.dumps(value, ensure_ascii=ascii_only, indent=indent) for value in values]
    blanks = [draw(BLANKS) for _ in texts]
    joined = "".join(map("".join, zip(blanks, texts, strict=True)))
    return values, (joined + draw(BLANKS)).encode()


def chunks(data: st.DataObject, stream: bytes) -> list[bytes]:
    """A stream chopped anywhere, in the middle of a character too."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))) | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(cuts)]


@given(written(), st.data())
def test_objects_are_found_however_their_stream_is_chopped(
    given: tuple[list[Any], bytes], data: st.DataObject
) -> None:
    values, stream = given
    objects = messages.Objects()
    found = [text for chunk in chunks(data, stream) for text in objects.feed(chunk)]
    assert [json.loads(text) for text in found] == values


@given(OBJECTS.map(json.dumps), st.data())
def test_an_object_is_handed_over_with_its_last_byte(text: str, data: st.DataObject) -> None:
    stream = text.encode()
    objects = messages.Objects()
    for chunk in chunks(data, stream[:-1]):
        assert objects.feed(chunk) == []
    assert objects.feed(stream[-1:]) == [stream]


@given(st.binary().filter(lambda one: one.strip(b" \t\r\n")[:1] not in (b"", b"{")))
@example(b"[[[{")
@example(b"}")
@example(b'"no object"')
@example(b"HTTP/1.1 400 Bad Request\r\n")
def test_what_does_not_start_like_an_object_is_refused_at_once(garbage: bytes) -> None:
    [refused] = messages.Objects().feed(garbage)
    with pytest.raises(ValueError, match=r".+"):
        messages.parse(refused)


@pytest.mark.parametrize(
    "text",
    [
        b"{nonsense}",
        b'{"id":NaN,"method":"a","params":[]}',
        b'{"id":-Infinity,"method":"a","params":[]}',
        b'{"id":1,"method":"\xff","params":[]}',
        b'{"id":1,"method":"\xed\xa0\x80","params":[]}',
        b'{"id":1,"method":"a\nb","params":[]}',
        b'{"id":1,"method":"a","params":{}}',
        b'{"id":1,"method":"a","params":[],"more":1}',
        b"{}",
        b'{"id":1,"method":"a","params":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    ],
    ids=lambda text: text[:45],
)
def test_what_is_no_message_is_refused(text: bytes) -> None:
    [cut] = messages.Objects().feed(text)
    with pytest.raises(ValueError, match=r".+"):
        messages.parse(cut)


@given(MESSAGES)
def test_a_message_is_what_python_ovs_makes_of_it(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    theirs = ovs.jsonrpc.Message.from_json(ovs.json.from_string(text))
    assert vars(messages.parse(text.encode())) == vars(theirs)


def test_a_large_object_in_small_chunks_takes_no_time() -> None:
    row = {"external_ids": ["map", [["iface-id", "{}" * 18]]]}
    stream = json.dumps({str(number): row for number in range(10_000)}).encode()
    objects = messages.Objects()
    began = time.process_time()
    found = [objects.feed(stream[at : at + 1000]) for at in range(0, len(stream), 1000)]
    assert time.process_time() - began < 1
    assert [len(each) for each in found[:-1]] == [0] * (len(found) - 1)
    assert found[-1] == [stream]


# A connection ------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected() -> Iterator[tuple[Any, socket.socket]]:
    """A connection of ours over a socket, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = ovs.stream.UnixStream(ours, "unix:test", 0)
    connection = messages._Connection(stream)
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


@given(written(MESSAGES), st.data())
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


def test_a_replica_keeps_the_rest_of_its_session() -> None:
    before = rows.replica("tcp:127.0.0.1:6640")
    theirs = before._session
    after = messages.use_in(before)
    assert after is before
    assert after._session.reconnect is theirs.reconnect
    assert after._session.get_name() == "tcp:127.0.0.1:6640"
    assert after.session_name() == "tcp:127.0.0.1:6640"


@contextlib.contextmanager
def replica_of_a_server(path: Path) -> Iterator[tuple[idl.Idl, socket.socket]]:
    """A replica that has asked a server to monitor, and that server's end of the connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}/db.sock")
        server.listen()
        tables = messages.use_in(rows.replica(f"unix:{path}/db.sock"))
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


def test_a_replica_that_is_connected_receives_with_our_parser(tmp_path: Path) -> None:
    with replica_of_a_server(tmp_path) as (tables, server):
        assert isinstance(tables._session.rpc, messages._Connection)
        assert tables.state == tables.IDL_S_DATA_MONITOR_REQUESTED
        assert json.loads(server.recv(4096))["method"] == "monitor"


def test_a_refusal_that_can_be_cured_ends_the_connection_whatever_follows_it(
    tmp_path: Path,
) -> None:
    with replica_of_a_server(tmp_path) as (tables, server):
        asked = json.loads(server.recv(4096))
        error = {"error": "syntax error", "details": "mtu_request is not a valid column name"}
        first = refusal(asked["id"], error).rjust(messages._CHUNK)
        server.sendall(first + ECHO)  # which is received by itself
        for _ in range(3):
            tables.run()
        assert not tables._session.is_connected()
        assert tables._session.missing == {("Interface", "mtu_request")}


def test_the_replicas_of_others_receive_as_ever() -> None:
    messages.use_in(rows.replica("tcp:127.0.0.1:6640"))
    helper = idl.SchemaHelper(schema_json=rows.SCHEMA)
    helper.register_all()
    theirs = idl.Idl("tcp:127.0.0.1:6640", helper)
    assert type(theirs._session) is ovs.jsonrpc.Session
    assert ovs.jsonrpc.Connection.recv.__module__ == "ovs.jsonrpc"
