# SPDX-License-Identifier: Apache-2.0
"""Sessions with a server that is slow, goes away in the middle, or is not what we know."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ovs.stream
import pytest

from os_vif import exception
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import OvsBridge, OvsPort
from os_vif.wiring.ownership import Mark
from os_vif.wiring.steps import CreateBridge, CreatePort, SetPort
from tests.rig import many_open_files, wait_until
from tests.rig.certificates import Authority
from tests.rig.failures import fails
from tests.rig.ovs import SCHEMA, PrivateOvs
from tests.rig.plugin import TAP, OsVif, deviations
from tests.rig.relay import Relay
from tests.rig.snapshot import difference, snapshot
from tests.rig.stopwatch import within
from vif_plug_ovs.ovsdb import connection, tls
from vif_plug_ovs.ovsdb.backend import NativeRows

AMPLE = 20  # seconds: a deadline that is not to be waited out
SOON = 5  # seconds
PAUSE = 0.3  # seconds
LARGE = 1_000_000  # bytes
CALLERS = 50
BRIDGES, EACH = 1000, 50
MARK = Mark("ovs", "test", "a1")


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    connection.close_all()


def qos(value: str, column: str = "id") -> list[Any]:
    """Insert a row that nothing keeps from being inserted twice."""
    ids = ["map", [[column, value]]]
    return [{"op": "insert", "table": "QoS", "row": {"type": "linux-noop", "external_ids": ids}}]


def rows_of_qos(switch: PrivateOvs) -> int:
    return len(switch.dump()["QoS"])


def in_use(remote: str) -> connection.Connection:
    """A connection that works."""
    shared = connection.get(remote)
    with shared.synchronized(Deadline(SOON)):
        pass
    return shared


# Much to send -----------------------------------------------------------------------------------


@pytest.fixture(params=["unix", "tcp", "ssl"])
def reached(request: pytest.FixtureRequest, netns: Any, tmp_path: Path) -> Iterator[Any]:
    """A server, and the remote by which it is reached."""
    authority = Authority(tmp_path / "authority")
    files = tls.Credentials(*authority.issue("client").files)
    with PrivateOvs("dummy", listen_tcp=True, certificate=authority.issue("server")) as switch:
        remotes: dict[str, Callable[[], str]] = {
            "unix": lambda: switch.remote,
            "tcp": lambda: "tcp:127.0.0.1:6640",
            "ssl": lambda: tls.remote(f"ssl:127.0.0.1:{switch.tls_port}", files),
        }
        yield switch, remotes[request.param]()
        connection.close_all()


def test_what_is_larger_than_the_buffer_of_the_socket_is_sent(reached: Any) -> None:
    """poll() is to wait for a socket that can be written and for one that can be read."""
    switch, remote = reached
    shared = in_use(remote)
    opened = shared._replica.session.rpc.stream.socket
    # That of TCP would grow until all of a transaction fits.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    switch.freeze("ovsdb-server")
    thaw = threading.Timer(PAUSE, lambda: switch.thaw("ovsdb-server"))
    thaw.start()
    with within(SOON / 2):
        shared.commit(lambda _: qos("x" * LARGE), Deadline(SOON))
    thaw.join()
    assert rows_of_qos(switch) == 1


def test_a_process_with_many_files_is_connected(reached: Any) -> None:
    """select() takes no descriptor above 1023, and python-ovs' poller is made of it."""
    with many_open_files():
        assert in_use(reached[1])._replica.is_connected()
        connection.close_all()


def test_an_exception_while_connecting_counts_for_the_pause_and_is_logged_once(
    ovs_dummy: PrivateOvs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = []

    def fail(name: str, *_: object) -> Any:
        attempts.append(name)
        raise RuntimeError("not today")

    monkeypatch.setattr(ovs.stream.Stream, "open", staticmethod(fail))
    busy = time.process_time()
    with (
        pytest.raises(errors.NotConnected, match="not today"),
        connection.get(ovs_dummy.remote).synchronized(Deadline(2)),
    ):
        pass
    assert time.process_time() - busy < 1
    assert 2 <= len(attempts) <= 2 / connection.RETRY_SECONDS + 3
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


# Sessions that are lost -------------------------------------------------------------------------


def test_a_read_that_is_in_flight_when_the_server_dies_is_sent_to_the_next_one(
    ovs_dummy: PrivateOvs,
) -> None:
    """And not when python-ovs would have tried again."""
    shared = in_use(ovs_dummy.remote)
    ovs_dummy.freeze("ovsdb-server")

    def read() -> None:
        with shared.synchronized(Deadline(AMPLE)):
            pass

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        wait_until(lambda: shared._receiving, what="the read to be sent")
        ovs_dummy.kill("ovsdb-server")
        time.sleep(3.2)  # the second pause of python-ovs is one of 2 s, the third of 4 s
        ovs_dummy.start_server()
        with within(1):
            reading.result()


def test_a_write_that_was_sent_is_not_sent_again(ovs_dummy: PrivateOvs) -> None:
    """It may have taken effect, as here: nobody has seen the answer."""
    with Relay(ovs_dummy.remote) as relay:
        shared = in_use(relay.remote)
        relay.lose_answer_to(b"next_cfg")
        with pytest.raises(errors.OutcomeUnknown):
            shared.commit(lambda _: qos("once"), Deadline(AMPLE))
        assert relay.lost == 1
        with shared.synchronized(Deadline(SOON)) as tables:
            assert len(tables.tables["QoS"].rows) == 1
        connection.close_all()
    assert rows_of_qos(ovs_dummy) == 1


@pytest.mark.parametrize("verb", ["plug", "unplug"])
@pytest.mark.parametrize("took_effect", [True, False], ids=["done", "not-done"])
def test_a_verb_looks_again_when_the_server_goes_during_its_commit(
    took_effect: bool, verb: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    with Relay(ovs_dummy.remote) as relay:
        remote = relay.remote if took_effect else ovs_dummy.remote
        osvif_dummy.configure(ovs_vsctl_timeout=AMPLE, ovsdb_connection=remote)
        osvif_dummy.plug(TAP.vif(2), 2)
        before = snapshot(ovs_dummy)
        if verb == "unplug":
            osvif_dummy.plug(TAP.vif())
        if took_effect:
            relay.lose_answer_to(b"next_cfg")
            getattr(osvif_dummy, verb)(TAP.vif())
            assert relay.lost == 1
        else:
            _restarted_during_a_commit(
                ovs_dummy, lambda: getattr(osvif_dummy, verb)(TAP.vif()), ovs_dummy.start_server
            )
        if verb == "plug":
            assert deviations(ovs_dummy, TAP) == []
        else:
            assert not difference(before, snapshot(ovs_dummy))
        connection.close_all()


def test_a_server_that_does_not_come_back_leaves_the_outcome_unknown(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(2), 2)
    osvif_dummy.configure(ovs_vsctl_timeout=2)

    def plug() -> None:
        _restarted_during_a_commit(
            ovs_dummy, lambda: osvif_dummy.plug(TAP.vif()), restart=lambda: None
        )

    fails(plug, errors.OutcomeUnknown, seconds=3.5)


def _restarted_during_a_commit(
    switch: PrivateOvs, verb: Callable[[], None], restart: Callable[[], None]
) -> None:
    """Have a verb send its transaction to a server that dies before it has read it."""
    shared = connection.get(switch.remote)
    send, sent = shared._send, threading.Event()

    def freeze_before_writes(wanted: Any, writes: bool) -> Any:
        if writes and not sent.is_set():
            switch.freeze("ovsdb-server")
            sent.set()
        return send(wanted, writes)

    shared._send = freeze_before_writes  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(verb)
        assert sent.wait(SOON)
        time.sleep(PAUSE)
        switch.kill("ovsdb-server")
        restart()
        waiting.result()


def test_rows_of_a_commit_whose_answer_was_lost_are_rolled_back_when_the_plug_fails(
    ovs: PrivateOvs, osvif: OsVif
) -> None:
    """ovs-vswitchd cannot make a bridge of that datapath, so it refuses the device."""
    ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=system")
    before = snapshot(ovs)
    with Relay(ovs.remote) as relay:
        remote = relay.remote
        osvif.configure(ovs_vsctl_timeout=AMPLE, ovsdb_connection=remote)
        relay.lose_answer_to(b"next_cfg")
        with pytest.raises(exception.PlugException):
            osvif.plug(TAP.vif())
        assert relay.lost == 1
        connection.close_all()
    ovs.catch_up()
    assert not difference(before, snapshot(ovs))


# Slow and silent servers ------------------------------------------------------------------------


def test_a_slow_handshake_is_given_time(netns: Any, tmp_path: Path) -> None:
    """python-ovs gives an attempt up after a second where the pause before it was short."""
    authority = Authority(tmp_path / "authority")
    files = tls.Credentials(*authority.issue("client").files)
    with (
        PrivateOvs("dummy", certificate=authority.issue("server")) as switch,
        Relay(f"tcp:127.0.0.1:{switch.tls_port}", pause=2) as relay,
    ):
        remote = tls.remote(f"ssl:127.0.0.1:{relay.port}", files)
        with within(4), connection.get(remote).synchronized(Deadline(10)):
            pass
        assert relay.accepted == 1
        connection.close_all()


def test_attempts_do_not_multiply_with_the_callers(ovs_dummy: PrivateOvs) -> None:
    seconds = 2.0
    with Relay(None) as relay, ThreadPoolExecutor(CALLERS) as pool:
        shared = connection.get(relay.remote)

        def ask(number: int) -> None:
            time.sleep(number / 250)
            with pytest.raises(errors.NotConnected), shared.synchronized(Deadline(seconds)):
                pass

        list(pool.map(ask, range(CALLERS)))
        # Each caller asks once more in the end, to say why it has failed.
        assert relay.accepted - CALLERS <= seconds / connection.RETRY_SECONDS + 4
        connection.close_all()


def test_the_fastest_probes_of_a_server_are_answered_while_nobody_asks(
    netns: Any, ovs_dummy: PrivateOvs
) -> None:
    """ovsdb-server asks after a second of silence, and hangs up after another one."""
    ovs_dummy.appctl(
        "ovsdb-server", "ovsdb-server/add-remote", "db:Open_vSwitch,Open_vSwitch,manager_options"
    )
    ovs_dummy.vsctl("--no-wait", "set-manager", "ptcp:6650:127.0.0.1")
    ovs_dummy.vsctl("--no-wait", "set", "Manager", ".", "inactivity_probe=1000")
    assert connection.KEEP_ALIVE_SECONDS <= 0.5
    shared = in_use("tcp:127.0.0.1:6650")
    session = shared._session_number()
    time.sleep(5)
    assert shared._session_number() == session


def test_close_ends_the_wait_of_callers_without_a_deadline(ovs_dummy: PrivateOvs) -> None:
    shared = in_use(ovs_dummy.remote)

    def read() -> None:
        with shared.synchronized(Deadline.never()):
            pass

    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(shared.wait_for, lambda _: False, Deadline.never())
        ovs_dummy.freeze("ovsdb-server")
        reading = pool.submit(read)
        wait_until(lambda: shared._callers == 2, what="both to wait")
        with within(1):
            connection.close_all()
        assert waiting.result(SOON) is False
        assert isinstance(reading.exception(SOON), errors.NotConnected)


# Many bridges -----------------------------------------------------------------------------------


def test_the_bridges_of_ports_that_were_observed_are_not_looked_for_again(
    ovs_dummy: PrivateOvs,
) -> None:
    """A row does not know who refers to it, so all bridges would be asked for each port."""
    ovs_dummy.kill("vswitchd")
    known, unknown = NativeRows(ovs_dummy.remote), NativeRows(ovs_dummy.remote)
    for first in range(0, BRIDGES, EACH):
        ports = {f"p{number}": f"br{number}" for number in range(first, first + EACH)}
        bridges = [CreateBridge(OvsBridge(name, "netdev", MARK)) for name in ports.values()]
        steps = [CreatePort(OvsPort(name, bridge, MARK)) for name, bridge in ports.items()]
        known.commit([*bridges, *steps], Deadline(AMPLE))
    assert set(known.observe((), ports, Deadline(SOON)).ports) == set(ports)

    def seconds(rows: NativeRows) -> float:
        began = time.thread_time()
        states = rows.device_states(dict.fromkeys(ports, 0), Deadline(AMPLE), wait=False)
        assert len(states) == EACH
        return time.thread_time() - began

    assert seconds(known) < seconds(unknown) / 2


# Schemas ----------------------------------------------------------------------------------------


Change = Callable[[dict[str, Any]], object]


def with_schema(switch: PrivateOvs, change: Change) -> None:
    """Restart the server on an empty database of a schema that differs."""
    schema = json.loads(Path(SCHEMA).read_text())
    change(schema["tables"])
    changed = Path(switch.rundir, "changed.ovsschema")
    changed.write_text(json.dumps(schema))
    switch.schema = str(changed)
    switch.new_database()
    switch.vsctl("--no-wait", "init")


def test_a_server_without_mtu_request_gets_none(ovs_dummy: PrivateOvs) -> None:
    with_schema(ovs_dummy, lambda tables: tables["Interface"]["columns"].pop("mtu_request"))
    rows = NativeRows(ovs_dummy.remote)
    kind = "dpdkvhostuserclient"
    port = OvsPort("vhu0", "br0", MARK, interface_type=kind, mtu_request=1400, device=False)
    with within(2):
        bridge = CreateBridge(OvsBridge("br0", "netdev", MARK))
        assert rows.commit([bridge, CreatePort(port)], Deadline(SOON))
    found = rows.observe([], {"vhu0": "br0"}, Deadline(SOON)).ports["vhu0"]
    assert (found.interface_type, found.mtu_request) == (kind, None)
    assert rows.commit([SetPort("vhu0", {"mtu_request": 1300})], Deadline(SOON)) is None


@pytest.mark.parametrize(
    ("named", "change"),
    [
        ("options", lambda tables: tables["Interface"]["columns"].pop("options")),
        ("external_ids", lambda tables: tables["Port"]["columns"].pop("external_ids")),
        ("qos", lambda tables: (tables.pop("QoS"), tables["Port"]["columns"].pop("qos"))),
    ],
)
def test_any_other_difference_of_the_schema_is_named_at_once(
    named: str, change: Change, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    with_schema(ovs_dummy, change)
    osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
    for _ in range(2):
        reason = fails(lambda: osvif_dummy.plug(TAP.vif()), errors.NotConnected, seconds=2)
        assert re.search(f"schema.*{named}", str(reason), re.IGNORECASE)
