# SPDX-License-Identifier: Apache-2.0
"""One connection, many callers; servers that come and go; processes that fork."""

import functools
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ovs.poller
import pytest

from os_vif import exception
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from tests import vifs
from tests.rig import wait_until
from tests.rig.failures import fails
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    BRIDGE_ONLY,
    HYBRID,
    PORT_ONLY,
    TAP,
    Child,
    Kind,
    OsVif,
    deviations,
)
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import within
from vif_plug_ovs.ovsdb import connection, rows

THREADS, EACH = 10, 6
SOON = 5  # seconds

NONSENSE: Any = {"op": "insert", "table": "Nonsense", "row": {}}


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    connection.close_all()


@pytest.fixture
def shared(ovs_dummy: PrivateOvs) -> connection.Connection:
    """A connection that works."""
    opened = connection.get(ovs_dummy.remote)
    with opened.synchronized(Deadline(SOON)):
        return opened


def in_threads(work: Callable[[int], None], count: int = THREADS) -> list[BaseException | None]:
    """Do something in several threads that start together; return what they raised."""
    together = threading.Barrier(count)

    def start(number: int) -> None:
        together.wait(10)
        work(number)

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(start, number) for number in range(count)]
        return [future.exception() for future in futures]


def threads_of(remote: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"os-vif {remote}"]


# Many callers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
def test_ten_threads_plug_the_same_vif_and_unplug_it(
    kind: Kind, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(BRIDGE_ONLY.vif(2), 2)
    before, cfg = snapshot(ovs_dummy), ovs_dummy.next_cfg()
    assert in_threads(lambda _: osvif_dummy.plug(kind.vif())) == [None] * THREADS
    assert deviations(ovs_dummy, kind) == []
    assert (ovs_dummy.next_cfg(), len(osvif_dummy.privileged_calls)) == (cfg + 1, 1)
    assert in_threads(lambda _: osvif_dummy.unplug(kind.vif())) == [None] * THREADS
    assert not difference(before, snapshot(ovs_dummy))
    assert (ovs_dummy.next_cfg(), len(osvif_dummy.privileged_calls)) == (cfg + 2, 2)


def test_a_refused_transaction_of_one_caller_fails_nobody_else(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovs_vsctl_timeout=60)
    osvif_dummy.plug(BRIDGE_ONLY.vif())
    shared = connection.get(ovs_dummy.remote)
    cfg = ovs_dummy.next_cfg()

    def work(thread: int) -> None:
        for one in range(EACH):
            number = 1 + thread * EACH + one
            if thread % 2:
                osvif_dummy.plug(PORT_ONLY.vif(number), number)
            else:
                with pytest.raises(errors.TransactionRefused, match="Nonsense"):
                    shared.commit(lambda _: [NONSENSE], Deadline(30))

    assert in_threads(work) == [None] * THREADS
    assert len(ovs_dummy.dump()["Port"]) == 1 + THREADS // 2 * EACH
    assert ovs_dummy.next_cfg() == cfg + THREADS // 2 * EACH


def test_the_wait_for_vswitchd_of_one_caller_holds_up_nobody(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """All transactions are at the server before vswitchd has done the first."""
    osvif_dummy.configure(ovs_vsctl_timeout=60)
    osvif_dummy.plug(BRIDGE_ONLY.vif())
    before = len(ovs_dummy.dump()["Port"])
    ovs_dummy.freeze("vswitchd")

    def ports() -> int:
        return len(ovs_dummy.dump()["Port"]) - before

    def thaw_when_all_are_in() -> None:
        try:
            wait_until(lambda: ports() == THREADS, 10, "all transactions")
        finally:
            ovs_dummy.thaw("vswitchd")

    with ThreadPoolExecutor(1) as pool:
        thawing = pool.submit(thaw_when_all_are_in)
        raised = in_threads(lambda one: osvif_dummy.plug(PORT_ONLY.vif(one + 1), one + 1))
        thawing.result()
    assert raised == [None] * THREADS


def test_many_transactions_are_in_flight_at_once(
    ovs_dummy: PrivateOvs, shared: connection.Connection
) -> None:
    """The server is frozen while ten callers send theirs; then all are answered."""
    cfg = ovs_dummy.next_cfg()
    names = [f"qos{number}" for number in range(THREADS)]

    def insert(number: int) -> None:
        def build(_: object) -> list[Any]:
            arrived.release()
            return _qos(names[number])

        numbers.append(shared.commit(build, Deadline(30)))

    numbers: list[int | None] = []
    arrived = threading.Semaphore(0)
    ovs_dummy.freeze("ovsdb-server")

    def thaw_when_all_have_sent() -> None:
        for _ in range(THREADS):
            assert arrived.acquire(timeout=10)
        ovs_dummy.thaw("ovsdb-server")

    with ThreadPoolExecutor(1) as pool:
        thawing = pool.submit(thaw_when_all_have_sent)
        assert in_threads(insert) == [None] * THREADS
        thawing.result()
    assert sorted(filter(None, numbers)) == list(range(cfg + 1, cfg + 1 + THREADS))
    assert set(ovs_dummy.dump()["QoS"]) == set(names)


def _qos(name: str) -> list[Any]:
    """Insert a row that nothing need refer to."""
    return [{"op": "insert", "table": "QoS", "row": {"type": name}}]


def test_a_transaction_without_operations_sends_nothing(
    ovs_dummy: PrivateOvs, shared: connection.Connection
) -> None:
    cfg = ovs_dummy.next_cfg()
    assert shared.commit(lambda _: [], Deadline(SOON)) is None
    assert ovs_dummy.next_cfg() == cfg


def test_a_failing_build_sends_nothing_and_leaves_the_connection_usable(
    ovs_dummy: PrivateOvs, shared: connection.Connection
) -> None:
    cfg = ovs_dummy.next_cfg()

    def fail(_: object) -> list[Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shared.commit(fail, Deadline(SOON))
    assert ovs_dummy.next_cfg() == cfg
    assert shared.commit(lambda _: _qos("qos0"), Deadline(SOON)) == cfg + 1


def test_a_read_sees_what_others_wrote_just_before(
    ovs_dummy: PrivateOvs, shared: connection.Connection
) -> None:
    for number in range(20):
        ovs_dummy.vsctl("--no-wait", "add-br", f"br{number}")
        with shared.synchronized(Deadline(SOON)) as tables:
            names = {row.name for row in tables.tables["Bridge"].rows.values()}
        assert f"br{number}" in names


def test_statistics_are_not_monitored(shared: connection.Connection) -> None:
    with shared.synchronized(Deadline(SOON)) as tables:
        for table in tables.tables.values():
            assert "statistics" not in table.columns


# Who receives ----------------------------------------------------------------------------------


def test_a_caller_who_is_alone_receives_in_its_own_thread(
    shared: connection.Connection,
) -> None:
    """A change of threads costs more than the rest of a question."""
    run, ran = shared._replica.run, set()

    def noted() -> bool:
        ran.add(threading.get_ident())
        return bool(run())

    shared._replica.run = noted
    with within(connection.KEEP_ALIVE_SECONDS):
        for _ in range(10):
            with shared.synchronized(Deadline(SOON)):
                pass
    assert ran == {threading.get_ident()}


def _waiting_for(shared: connection.Connection, name: str, deadline: Deadline) -> bool:
    """Wait for a bridge without asking the server for anything."""
    return shared.wait_for(lambda tables: rows.named(tables, "Bridge", name), deadline) is not None


def test_whoever_waits_on_receives_when_the_first_has_given_up(
    ovs_dummy: PrivateOvs, shared: connection.Connection
) -> None:
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(_waiting_for, shared, "br-none", Deadline(0.3))
        wait_until(lambda: shared._receiving, what="the first to receive")
        others = [pool.submit(_waiting_for, shared, "br0", Deadline(SOON)) for _ in range(2)]
        assert not first.result()
        wait_until(lambda: shared._receiving, what="another to receive")
        ovs_dummy.vsctl("--no-wait", "add-br", "br0")
        with within(connection.KEEP_ALIVE_SECONDS / 2):
            assert [other.result() for other in others] == [True, True]


def test_an_interrupted_caller_leaves_the_connection_to_the_others(
    ovs_dummy: PrivateOvs, monkeypatch: pytest.MonkeyPatch, shared: connection.Connection
) -> None:
    """As a greenthread's timeout does, or an operator."""
    block, interrupt = ovs.poller.Poller.block, threading.Event()

    def interrupted(poller: ovs.poller.Poller) -> None:
        block(poller)
        if interrupt.is_set():
            interrupt.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(ovs.poller.Poller, "block", interrupted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(_waiting_for, shared, "br0", Deadline(SOON))
        wait_until(lambda: shared._receiving, what="the first to receive")
        other = pool.submit(_waiting_for, shared, "br0", Deadline(SOON))
        interrupt.set()
        ovs_dummy.vsctl("--no-wait", "add-br", "br0")
        assert isinstance(first.exception(), KeyboardInterrupt)
        assert other.result()


def test_the_connection_is_made_anew_while_nobody_asks(
    ovs_dummy: PrivateOvs, shared: connection.Connection
) -> None:
    """Then the next verb has it."""
    number = shared._session_number()
    ovs_dummy.kill("ovsdb-server")
    ovs_dummy.start_server()
    wait_until(
        lambda: shared._session_number() != number and shared._replica.is_connected(),
        SOON,
        "a new session",
    )


def test_a_server_that_sends_what_is_no_update_is_given_time(
    ovs_dummy: PrivateOvs, caplog: pytest.LogCaptureFixture, shared: connection.Connection
) -> None:
    """python-ovs raises; the connection is made anew, and not all the time."""
    run = shared._replica.run

    def fail() -> bool:
        run()
        raise TypeError("no update")

    shared._replica.run = fail
    with pytest.raises(errors.NotConnected), shared.synchronized(Deadline(1)):
        pass
    assert 1 <= len(caplog.records) < 10
    shared._replica.run = run
    with shared.synchronized(Deadline(SOON)):
        pass


# Servers that come and go -----------------------------------------------------------------------


def test_a_server_that_was_away_for_long_is_found_again_soon(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """python-ovs doubles the time between its attempts, up to 8 s; so does vswitchd."""
    osvif_dummy.plug(PORT_ONLY.vif(1), 1)
    ovs_dummy.kill("ovsdb-server")
    shared = connection.get(ovs_dummy.remote)
    attempts = shared._replica.session.reconnect
    wait_until(lambda: attempts.backoff >= 4000, 15, "python-ovs to be tired of trying")
    ovs_dummy.start_server()
    with within(1.5):
        # It reads, and writes nothing that ovs-vswitchd must act on.
        osvif_dummy.plug(PORT_ONLY.vif(1), 1)
        osvif_dummy.unplug(PORT_ONLY.vif(3), 3)
    osvif_dummy.configure(ovs_vsctl_timeout=20)
    osvif_dummy.plug(PORT_ONLY.vif(2), 2)
    assert deviations(ovs_dummy, PORT_ONLY, 2) == []


def test_a_database_that_nobody_initialised_is_an_error_that_says_so(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    ovs_dummy.new_database()
    before = links()
    with pytest.raises(exception.PlugException, match="no row in the table Open_vSwitch"):
        osvif_dummy.plug(TAP.vif())
    assert not difference(before, links())


# Processes --------------------------------------------------------------------------------------


def test_a_forked_process_gets_a_connection_of_its_own(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(1), 1)
    before = connection.get(ovs_dummy.remote)

    def work() -> tuple[bool, list[str]]:
        osvif_dummy.plug(TAP.vif(2), 2)
        osvif_dummy.unplug(TAP.vif(1), 1)
        is_own = connection.get(ovs_dummy.remote) is not before
        connection.close_all()
        return is_own, deviations(ovs_dummy, TAP, 2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: our point
        child = Child(work)
    with child:
        assert child.result() == (True, [])
    assert connection.get(ovs_dummy.remote) is before
    osvif_dummy.plug(TAP.vif(3), 3)
    osvif_dummy.unplug(TAP.vif(2), 2)
    assert deviations(ovs_dummy, TAP, 3) == []


def test_a_fork_while_a_connection_is_being_used_does_not_block_the_child(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """Whoever holds a lock at the moment of the fork does not exist in the child."""
    osvif_dummy.plug(BRIDGE_ONLY.vif(1), 1)

    def work() -> None:
        osvif_dummy.plug(PORT_ONLY.vif(2), 2)

    shared = connection.get(ovs_dummy.remote)
    with connection._connecting, shared.synchronized(Deadline(SOON)), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = Child(work)
    with child:
        child.result(timeout=SOON)
    assert deviations(ovs_dummy, PORT_ONLY, 2) == []


# Ends -------------------------------------------------------------------------------------------


def test_close_all_leaves_no_thread_and_no_descriptor(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    threads, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        osvif_dummy.plug(PORT_ONLY.vif())
        assert len(threads_of(ovs_dummy.remote)) == 1
        connection.close_all()
        assert set(threading.enumerate()) == threads
        assert len(os.listdir("/proc/self/fd")) == files


@pytest.mark.parametrize("frozen", [True, False])
def test_close_all_does_not_wait_for_the_server(
    frozen: bool, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(PORT_ONLY.vif())
    if frozen:
        ovs_dummy.freeze("ovsdb-server")
    else:
        ovs_dummy.kill("ovsdb-server")
    with within(1):
        connection.close_all()
    assert threads_of(ovs_dummy.remote) == []


@pytest.mark.parametrize("remote", ["", "nonsense", "tcp:localhost:6640", "unix:", "ptcp:6640"])
def test_a_bad_remote_is_refused_by_the_name_of_the_option(
    remote: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovsdb_connection=remote, ovs_vsctl_timeout=1)
    before = links()
    for verb in (osvif_dummy.plug, osvif_dummy.unplug):
        reason = fails(functools.partial(verb, TAP.vif()), exception.InvalidValue)
        assert "ovsdb_connection" in str(reason)
        assert repr(remote) in str(reason)
    assert not difference(before, links())
    assert vifs.device("tap") not in ovs_dummy.dump()["Port"]
