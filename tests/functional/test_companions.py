# SPDX-License-Identifier: Apache-2.0
"""Callers that commit at the same time share a reconfiguration of ovs-vswitchd, and no failure."""

import contextlib
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import ovs.poller
import pytest

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import OvsPort
from os_vif.wiring.steps import CreatePort, RemoveBridge
from tests.rig import wait_until
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import BRIDGE_ONLY, PORT_ONLY, TAP, Child, OsVif, deviations
from tests.rig.relay import Relay
from tests.rig.stopwatch import within
from vif_plug_ovs.ovsdb import callers, connection, rows
from vif_plug_ovs.ovsdb.operations import operations

SOON = 5  # seconds
AMPLE = 30
LONG = 1000

NONSENSE: Any = {"op": "insert", "table": "Nonsense", "row": {}}


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    connection.close_all()
    callers.forget()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commits wait for others as long as a test may take."""
    monkeypatch.setattr(connection, "MOST_FOR_OTHERS", AMPLE)
    monkeypatch.setattr(callers, "EXPECTED_SECONDS", AMPLE)


def slow(remote: str) -> connection.Connection:
    """A connection to an ovs-vswitchd that is idle, and was slow to do what it did last."""
    shared = connection.get(remote)
    with shared.synchronized(Deadline(SOON)):
        shared._took, shared._cfg_seen_at = LONG, -math.inf
    return shared


def qos(value: str) -> list[Any]:
    ids = ["map", [["id", value]]]
    return [{"op": "insert", "table": "QoS", "row": {"type": "linux-noop", "external_ids": ids}}]


def rows_of_qos(switch: PrivateOvs) -> int:
    return len(switch.dump()["QoS"])


def committed(
    pool: ThreadPoolExecutor, shared: connection.Connection, *builds: Callable[[], list[Any]]
) -> list["Future[int | None]"]:
    """Commit from several threads, the first of which waits until the last is there."""
    started = threading.Barrier(len(builds))

    def commit(turn: int, build: Callable[[], list[Any]]) -> int | None:
        with callers.on_the_way():
            started.wait(SOON)
            wait_until(lambda: len(shared._gathered) >= turn, what="those before")
            return shared.commit(lambda _: build(), Deadline(AMPLE))

    return [pool.submit(commit, *each) for each in enumerate(builds)]


# Sent as one ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_what_is_committed_at_once_is_one_transaction(ovs_dummy: PrivateOvs) -> None:
    shared, cfg = slow(ovs_dummy.remote), ovs_dummy.next_cfg()
    with ThreadPoolExecutor(3) as pool, within(SOON):
        numbers = committed(pool, shared, *(lambda n=n: qos(n) for n in "abc"))
        assert [number.result() for number in numbers] == [cfg + 1] * 3
    assert (ovs_dummy.next_cfg(), rows_of_qos(ovs_dummy)) == (cfg + 1, 3)
    assert shared.wait_for_vswitchd(cfg + 1, Deadline(SOON))
    assert shared._took < SOON  # it was measured, from the commit to cur_cfg


def _stale() -> list[Any]:
    raise errors.StateChanged(what="a row")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("build", "fault"),
    [
        pytest.param(lambda: [NONSENSE], errors.TransactionRefused, id="refused"),
        pytest.param(_stale, errors.StateChanged, id="stale"),
        pytest.param(list, None, id="nothing"),
    ],
)
def test_of_those_that_came_together_each_fails_alone(
    build: Callable[[], list[Any]], fault: type[Exception] | None, ovs_dummy: PrivateOvs
) -> None:
    shared = slow(ovs_dummy.remote)
    with ThreadPoolExecutor(3) as pool, within(SOON):
        good, bad, last = committed(pool, shared, lambda: qos("a"), build, lambda: qos("b"))
        assert good.result()
        assert last.result()
        if fault:
            assert isinstance(bad.exception(), fault)
        else:
            assert bad.result() is None
    assert rows_of_qos(ovs_dummy) == 2


@pytest.mark.usefixtures("patient")
def test_a_bridge_that_goes_takes_no_port_of_others_with_it(ovs_dummy: PrivateOvs) -> None:
    """The rollback of one VIF removes a bridge while another puts its port on it."""
    ovs_dummy.vsctl("add-br", "br-int")
    shared = slow(ovs_dummy.remote)

    def built(*plan: Any) -> Callable[[], list[Any]]:
        return lambda: operations(plan, rows.Lookup(shared._replica), None)

    port = OvsPort("tap1", "br-int", None)
    steps = built(RemoveBridge("br-int", if_empty=True)), built(CreatePort(port))
    with ThreadPoolExecutor(2) as pool:
        going, coming = committed(pool, shared, *steps)
        going.result()
        assert ("tap1" in ovs_dummy.dump()["Port"]) == (coming.exception() is None)


@pytest.mark.usefixtures("patient")
def test_an_answer_that_is_lost_leaves_the_outcome_of_all_unknown(ovs_dummy: PrivateOvs) -> None:
    """None of them is sent again: the transaction may have taken effect, as here."""
    with Relay(ovs_dummy.remote) as relay:
        shared = slow(relay.remote)
        relay.lose_answer_to(b"next_cfg")
        with ThreadPoolExecutor(2) as pool:
            both = committed(pool, shared, lambda: qos("a"), lambda: qos("b"))
            assert all(isinstance(one.exception(), errors.OutcomeUnknown) for one in both)
        assert relay.lost == 1
        connection.close_all()
    assert rows_of_qos(ovs_dummy) == 2


@pytest.mark.usefixtures("patient")
def test_vifs_that_are_plugged_at_once_share_a_transaction(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovs_vsctl_timeout=60)
    osvif_dummy.plug(BRIDGE_ONLY.vif())
    slow(ovs_dummy.remote)
    cfg, together = ovs_dummy.next_cfg(), threading.Barrier(6)

    def plug(number: int) -> None:
        with callers.on_the_way():  # all, before the first commits
            together.wait(SOON)
            osvif_dummy.plug(TAP.vif(number), number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(plug, range(1, 7)))
    assert ovs_dummy.next_cfg() == cfg + 1
    assert [deviations(ovs_dummy, TAP, number) for number in range(1, 7)] == [[]] * 6


# Nobody waits for long --------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("why", ["alone", "gone", "expected-no-more", "busy", "asked", "fast"])
def test_a_commit_waits_for_nobody(
    why: str, ovs_dummy: PrivateOvs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is alone; or when waiting would not help, or has lasted long enough."""
    shared = slow(ovs_dummy.remote)
    coming = why != "alone"
    if coming:
        callers._since[0] = time.monotonic()
    if why == "gone":

        def fail() -> None:
            with contextlib.suppress(RuntimeError), callers.on_the_way():
                raise RuntimeError

        callers.forget()
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    elif why == "expected-no-more":
        monkeypatch.setattr(callers, "EXPECTED_SECONDS", 0.001)
        time.sleep(0.01)
    elif why == "busy":  # with links that have changed, it may be
        shared._cfg_seen_at = time.monotonic()
    elif why == "asked":
        ovs_dummy.freeze("vswitchd")
        later = f"next_cfg={ovs_dummy.next_cfg() + 1}"
        ovs_dummy.vsctl("--no-wait", "set", "Open_vSwitch", ".", later)
        with shared.synchronized(Deadline(SOON)):
            pass
    elif why == "fast":
        shared._took = 0.04  # 2 % of it would be less than a millisecond
    with callers.on_the_way(), within(1):
        assert shared.commit(lambda _: qos("a"), Deadline(AMPLE))


@pytest.mark.parametrize(("most", "patience"), [(0.3, AMPLE), (AMPLE, 0.6)])
def test_who_does_not_come_holds_up_others_for_no_longer_than_the_bound(
    most: float, patience: float, ovs_dummy: PrivateOvs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is some time, or half of what there is by the deadline: so the commit is in time."""
    monkeypatch.setattr(connection, "MOST_FOR_OTHERS", most)
    monkeypatch.setattr(callers, "EXPECTED_SECONDS", AMPLE)
    shared = slow(ovs_dummy.remote)
    callers._since[0] = time.monotonic()
    with callers.on_the_way(), within(1) as lap:
        assert shared.commit(lambda _: qos("a"), Deadline(patience))
    assert lap.took > 0.2


def test_the_wait_is_two_hundredths_of_the_last_reconfiguration(ovs_dummy: PrivateOvs) -> None:
    shared = slow(ovs_dummy.remote)
    for took in (0.1, 0.5, 1.0, LONG):
        shared._took = took
        assert shared._seconds_for_others(Deadline(AMPLE)) + 0.0009 < min(0.02 * took, 0.05)


@pytest.mark.usefixtures("patient")
def test_who_is_interrupted_while_it_waits_has_sent_nothing_and_is_waited_for_no_more(
    ovs_dummy: PrivateOvs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a greenthread's timeout does, or an operator."""
    shared = slow(ovs_dummy.remote)
    block, interrupt = ovs.poller.Poller.block, threading.Event()

    def interrupted(poller: ovs.poller.Poller) -> None:
        block(poller)
        if interrupt.is_set():
            interrupt.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(ovs.poller.Poller, "block", interrupted)

    def commit() -> None:
        with callers.on_the_way():
            shared.commit(lambda _: qos("a"), Deadline(AMPLE))

    callers._since[0] = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(commit)
        wait_until(lambda: shared._receiving and shared._gathered, what="the first to wait")
        interrupt.set()
        ovs_dummy.vsctl("--no-wait", "set", "Open_vSwitch", ".", "external_ids:a=b")
        assert isinstance(first.exception(), KeyboardInterrupt)
    assert not shared._gathered
    assert callers._since.keys() == {0}
    callers.forget()
    shared.commit(lambda _: qos("b"), Deadline(SOON))
    assert rows_of_qos(ovs_dummy) == 1


@pytest.mark.usefixtures("patient")
def test_a_forked_process_waits_for_nobody_of_its_parent(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(BRIDGE_ONLY.vif(1), 1)

    def work() -> bool:
        coming = callers.are_coming()
        slow(ovs_dummy.remote)
        osvif_dummy.plug(PORT_ONLY.vif(2), 2)
        connection.close_all()
        return coming

    with callers.on_the_way(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = Child(work)
    with child:
        assert child.result(timeout=SOON) is False
