# SPDX-License-Identifier: Apache-2.0
"""No verb outlives ``ovs_vsctl_timeout``, whatever the daemons do; then all is well at once."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import pytest

import os_vif
from os_vif import exception
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from tests import vifs
from tests.rig import many_open_files, wait_until
from tests.rig.ovs import Daemon, PrivateOvs
from tests.rig.plugin import HYBRID, PORT_ONLY, TAP, OsVif, deviations
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import Stopwatch, of_this_process, stopwatch
from vif_plug_ovs.ovsdb import connection, messages

TIMEOUT = 1  # seconds; the deadline of verbs that are to miss it
GRACE = 1  # seconds that they may take beyond it
AMPLE = 20  # seconds; the deadline of verbs that are to keep it
AT_ONCE = 1.5  # seconds that a verb may take when all is well again
PORTS = 2000  # more make a first connection take longer than the grace; see design.rst


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    connection.close_all()


def timed(act: Callable[[], object]) -> float:
    with stopwatch() as lap:
        act()
    return lap.own


def attempted(act: Callable[[], object]) -> tuple[float, Exception | None]:
    """Do something; return how long it took and what it raised."""
    raised = None
    with stopwatch() as lap:
        try:
            act()
        except Exception as error:
            raised = error
    return lap.own, raised


# Servers that are not ovsdb-server --------------------------------------------------------------


@contextmanager
def listening(serve: Callable[[socket.socket], None] | None) -> Iterator[str]:
    """Listen on a port of this namespace; each connection is served in a thread of its own.

    :param serve: None: connections are made by the kernel and never accepted.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threads: list[threading.Thread] = []
        stack.callback(lambda: [thread.join() for thread in threads])
        taken: list[socket.socket] = []
        stack.callback(lambda: [_shut(each) for each in taken])

        def accept() -> None:
            with suppress(OSError):  # the listener was shut
                while True:
                    client, _ = listener.accept()
                    taken.append(client)
                    _start(threads, partial(serve, client))

        if serve is not None:
            _start(threads, accept)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"


def _start(threads: list[threading.Thread], work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    threads.append(thread)
    thread.start()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def relayed(ovs: PrivateOvs, delay: float, size: int = 65536) -> AbstractContextManager[str]:
    """A proxy of ovsdb-server that lets pass so many bytes at once and then waits."""

    def serve(client: socket.socket) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as server:
            server.connect(ovs.remote.removeprefix("unix:"))
            there = threading.Thread(target=carry, args=(client, server))
            there.start()
            carry(server, client)
            _shut(client)
            there.join()

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(size):
                time.sleep(delay)
                sink.sendall(data)
        _shut(sink)

    return listening(serve)


def say_nonsense(client: socket.socket) -> None:
    with suppress(OSError):
        client.sendall(b'{"id": 0, "method": "nonsense", "params": []} [[[')
        while client.recv(65536):
            pass


# Whatever the daemons do ------------------------------------------------------------------------

Act = Callable[[PrivateOvs], object]
#: What is wrong, after the client has connected.
WRONGS: dict[str, Act] = {
    "frozen server": lambda ovs: ovs.freeze("ovsdb-server"),
    "frozen vswitchd": lambda ovs: ovs.freeze("vswitchd"),
    "both frozen": lambda ovs: (ovs.freeze("ovsdb-server"), ovs.freeze("vswitchd")),
    "dead server": lambda ovs: ovs.kill("ovsdb-server"),
    "dead vswitchd": lambda ovs: ovs.kill("vswitchd"),
    "both dead": lambda ovs: (ovs.kill("ovsdb-server"), ovs.kill("vswitchd")),
}
#: Where the client is told to connect to instead.
PLACES: dict[str, Callable[[PrivateOvs], AbstractContextManager[str]]] = {
    "a port that refuses": lambda _: _refusing(),
    "a server that never answers": lambda _: listening(None),
    "a server that hangs up": lambda _: listening(_shut),
    "a server that talks nonsense": lambda _: listening(say_nonsense),
    "a server that is slow to answer": lambda ovs: relayed(ovs, 0.4),
    "a line that carries 500 bytes a second": lambda ovs: relayed(ovs, 0.1, 50),
}


@contextmanager
def _refusing() -> Iterator[str]:
    with socket.socket() as unused:  # bound, and not listening
        unused.bind(("127.0.0.1", 0))
        yield f"tcp:127.0.0.1:{unused.getsockname()[1]}"


def verbs_at_once(osvif: OsVif) -> dict[str, tuple[float, Exception | None]]:
    """Every verb, each in a thread and with VIFs of its own; 1 to 6 are plugged."""
    pairs = [(HYBRID.vif(number), vifs.instance(number)) for number in (8, 9, 5, 6)]
    calls: dict[str, Callable[[], object]] = {
        "plug": lambda: osvif.plug(TAP.vif(7), 7),
        "re-plug": lambda: osvif.plug(TAP.vif(1), 1),
        "unplug": lambda: osvif.unplug(TAP.vif(2), 2),
        "unplug, hybrid": lambda: osvif.unplug(HYBRID.vif(3), 3),
        "plug_all": lambda: _first(os_vif.plug_all(pairs[:2])),
        "unplug_all": lambda: _first(os_vif.unplug_all(pairs[2:])),
    }
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = {name: pool.submit(attempted, call) for name, call in calls.items()}
        return {name: future.result() for name, future in futures.items()}


def _first(results: list[os_vif.Result]) -> None:
    for result in results:
        if result.error:
            raise result.error


@pytest.fixture
def plugged(ovs_dummy: PrivateOvs, osvif_dummy: OsVif) -> OsVif:
    """VIFs 1 to 6 are plugged; the deadline is short."""
    for number in range(1, 7):
        osvif_dummy.plug((TAP if number < 3 else HYBRID).vif(number), number)
    osvif_dummy.configure(ovs_vsctl_timeout=TIMEOUT)
    return osvif_dummy


def overruns(outcomes: dict[str, tuple[float, Exception | None]]) -> dict[str, float]:
    print({name: (round(took, 2), repr(error)[:40]) for name, (took, error) in outcomes.items()})
    for _, error in outcomes.values():
        assert error is None or isinstance(error, exception.ExceptionBase)
    return {name: took for name, (took, _) in outcomes.items() if took > TIMEOUT + GRACE}


@pytest.mark.parametrize("wrong", WRONGS)
def test_every_verb_ends_in_time_and_works_when_all_is_well_again(
    wrong: str, ovs_dummy: PrivateOvs, plugged: OsVif
) -> None:
    WRONGS[wrong](ovs_dummy)
    assert overruns(verbs_at_once(plugged)) == {}
    plugged.configure(ovs_vsctl_timeout=AMPLE)
    _mend(ovs_dummy)
    assert [error for _, error in verbs_at_once(plugged).values() if error] == []
    for number, kind in ((1, TAP), (7, TAP), (8, HYBRID), (9, HYBRID)):
        assert deviations(ovs_dummy, kind, number) == []


def _mend(ovs: PrivateOvs) -> None:
    """Let both daemons run, the server first."""
    for which, start in (("ovsdb-server", ovs.start_server), ("vswitchd", ovs.start_vswitchd)):
        if not ovs.running(which):
            start()
        elif which in ovs._frozen:
            ovs.thaw(which)


@pytest.mark.parametrize("place", PLACES)
def test_every_verb_ends_in_time_wherever_it_is_sent(
    place: str, ovs_dummy: PrivateOvs, plugged: OsVif
) -> None:
    before = snapshot(ovs_dummy)
    with PLACES[place](ovs_dummy) as remote:
        plugged.configure(ovsdb_connection=remote)
        outcomes = verbs_at_once(plugged)
        connection.close_all()
    assert overruns(outcomes) == {}
    for name, (_, error) in outcomes.items():
        assert isinstance(error, exception.ExceptionBase), name
    assert set(links()) == set(before["links"])


def test_a_slow_server_is_no_obstacle_to_a_verb_that_has_time(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
    with relayed(ovs_dummy, 0.1) as remote:
        osvif_dummy.configure(ovsdb_connection=remote)
        osvif_dummy.plug(TAP.vif())
        assert deviations(ovs_dummy, TAP) == []
        osvif_dummy.unplug(TAP.vif())
        connection.close_all()
    assert list(ovs_dummy.dump()["Port"]) == ["br-int"]


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_a_server_that_answers_reads_and_dies_at_the_commit_is_an_error_in_time(
    verb: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """The rollback has a time of its own; it must not add up to more than the grace."""
    osvif_dummy.plug(HYBRID.vif(2), 2)
    osvif_dummy.configure(ovs_vsctl_timeout=TIMEOUT)
    if verb == "plug":
        osvif_dummy.once_before_links(lambda: ovs_dummy.freeze("ovsdb-server"))
        took, error = attempted(lambda: osvif_dummy.plug(HYBRID.vif(1), 1))
        assert isinstance(error, exception.ExceptionBase)
    else:
        ovs_dummy.freeze("ovsdb-server")
        took, error = attempted(lambda: osvif_dummy.unplug(HYBRID.vif(2), 2))
        assert isinstance(error, exception.ExceptionBase)
    assert took < TIMEOUT + GRACE


def test_a_server_that_freezes_after_the_commit_makes_the_error_say_that_something_is_left(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif, monkeypatch: pytest.MonkeyPatch
) -> None:
    osvif_dummy.plug(TAP.vif(2), 2)
    osvif_dummy.configure(ovs_vsctl_timeout=TIMEOUT)
    shared = connection.get(ovs_dummy.remote)
    wait = shared.wait_for_vswitchd

    def freeze_first(cfg: int, deadline: Deadline) -> bool:
        ovs_dummy.freeze("ovsdb-server")
        return wait(cfg, deadline)

    monkeypatch.setattr(shared, "wait_for_vswitchd", freeze_first)
    ovs_dummy.freeze("vswitchd")
    took, error = attempted(lambda: osvif_dummy.plug(TAP.vif()))
    assert took < TIMEOUT + GRACE
    assert isinstance(error, exception.PlugException)
    assert isinstance(error.__cause__, errors.NotRolledBack)
    assert "Not done after 1 s: ovs-vswitchd has not acted on the new ports; what" in str(error)
    _mend(ovs_dummy)
    monkeypatch.undo()
    assert vifs.device("tap") in ovs_dummy.dump()["Port"]
    osvif_dummy.unplug(TAP.vif())
    assert vifs.device("tap") not in ovs_dummy.dump()["Port"]


def test_a_dump_of_2000_ports_that_is_parsed_past_the_deadline_is_so_within_the_grace(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing interrupts python-ovs, which begins with it at the deadline."""
    ovs_dummy.fill(PORTS)
    began, seconds, parse = time.monotonic(), 4, messages.parse
    late: list[Stopwatch] = []

    def parse_at_the_deadline(text: bytes) -> Any:
        if len(text) > 100 * PORTS:
            time.sleep(max(0.0, began + seconds - time.monotonic()))
            late.append(Stopwatch(of_this_process))
        return parse(text)

    monkeypatch.setattr(messages, "parse", parse_at_the_deadline)
    osvif_dummy.configure(ovs_vsctl_timeout=seconds)
    with pytest.raises(exception.PlugException):
        osvif_dummy.plug(TAP.vif())
    (watch,) = late
    overrun = watch.lap()
    assert overrun.own < GRACE, overrun


def test_a_process_with_many_files_open_is_no_obstacle(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """select() takes no descriptor above 1023, and python-ovs' poller is made of it."""
    with many_open_files():
        osvif_dummy.plug(TAP.vif())
        osvif_dummy.unplug(TAP.vif())
        connection.close_all()


# One stuck call and the others ------------------------------------------------------------------


def test_a_stuck_server_does_not_hold_up_the_verbs_of_another(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(PORT_ONLY.vif(1), 1)
    with PrivateOvs("dummy") as other, ThreadPoolExecutor(1) as pool:
        ovs_dummy.freeze("ovsdb-server")
        stuck = pool.submit(osvif_dummy.plug, PORT_ONLY.vif(2), 2)
        wait_until(lambda: _is_waiting(ovs_dummy), what="the verb to be stuck")
        osvif_dummy.configure(ovsdb_connection=other.remote)
        assert timed(lambda: osvif_dummy.plug(TAP.vif(3), 3)) < AT_ONCE
        assert not stuck.done()
        ovs_dummy.thaw("ovsdb-server")
        stuck.result(AT_ONCE)
        assert PORT_ONLY.port(2) in ovs_dummy.dump()["Port"]
        connection.close_all()


def _is_waiting(ovs: PrivateOvs) -> bool:
    """Whether a transaction is on its way to the server."""
    return bool(connection.get(ovs.remote)._replica._outstanding_txns)


def test_a_verb_that_is_stuck_on_vswitchd_does_not_hold_up_what_needs_it_not(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(1), 1)
    osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
    ovs_dummy.freeze("vswitchd")
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(osvif_dummy.plug, TAP.vif(2), 2)
        wait_until(lambda: TAP.port(2) in ovs_dummy.dump()["Port"], what="its rows")
        assert timed(lambda: osvif_dummy.plug(TAP.vif(1), 1)) < 0.5
        assert timed(lambda: osvif_dummy.unplug(TAP.vif(3), 3)) < 0.5
        assert not stuck.done()
        ovs_dummy.thaw("vswitchd")
        stuck.result(AT_ONCE)


def test_a_vif_that_another_thread_is_busy_with_fails_alone(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """The others of its chunk go through without it."""
    osvif_dummy.plug(PORT_ONLY.vif(9), 9)
    osvif_dummy.configure(ovs_vsctl_timeout=TIMEOUT)
    arrived, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        arrived.set()
        go_on.wait(10)

    osvif_dummy.once_before_links(wait)
    pairs = [(TAP.vif(number), vifs.instance(number)) for number in (1, 2, 3)]
    results: list[os_vif.Result] = []
    with ThreadPoolExecutor(1) as pool:
        busy: Future[None] = pool.submit(osvif_dummy.plug, TAP.vif(2), 2)
        assert arrived.wait(10)
        took, _ = attempted(lambda: results.extend(os_vif.plug_all(pairs)))
        go_on.set()
        busy.exception()
    assert took < TIMEOUT + GRACE
    assert [result.error is None for result in results] == [True, False, True]
    assert isinstance(results[1].error, exception.PlugException)
    assert isinstance(results[1].error.__cause__, errors.DeadlineExceeded)


# No deadline ------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["ovsdb-server", "vswitchd"])
def test_a_timeout_of_0_waits_for_as_long_as_it_takes(
    which: Daemon, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(1), 1)
    osvif_dummy.configure(ovs_vsctl_timeout=0)
    ovs_dummy.freeze(which)
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(osvif_dummy.plug, TAP.vif(2), 2),
            pool.submit(osvif_dummy.unplug, TAP.vif(1), 1),
        ]
        for each in waiting:
            with pytest.raises(TimeoutError):
                each.result(0.6)
        ovs_dummy.thaw(which)
        for each in waiting:
            each.result(AT_ONCE)
    assert deviations(ovs_dummy, TAP, 2) == []


def test_a_timeout_of_0_waits_for_a_server_that_is_not_there_yet(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovs_vsctl_timeout=0)
    ovs_dummy.kill("ovsdb-server")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(osvif_dummy.plug, TAP.vif(2), 2)
        with pytest.raises(TimeoutError):
            waiting.result(1)
        ovs_dummy.start_server()
        waiting.result(10)  # vswitchd comes back at its own pace
    assert deviations(ovs_dummy, TAP, 2) == []


# When all is well again -------------------------------------------------------------------------


def test_a_verb_that_does_not_know_yet_that_the_server_was_restarted_works(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """Its connection looks sound, and sending fails: it must connect anew, not give up."""
    osvif_dummy.plug(TAP.vif(1), 1)
    shared = connection.get(ovs_dummy.remote)
    with shared._changed:  # the connection's thread notices nothing until a verb waits
        ovs_dummy.kill("ovsdb-server")
        ovs_dummy.start_server()
        assert timed(lambda: osvif_dummy.plug(TAP.vif(1), 1)) < AT_ONCE
        osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
        osvif_dummy.plug(TAP.vif(2), 2)
    assert deviations(ovs_dummy, TAP, 2) == []


def test_a_read_whose_server_dies_is_made_again_of_the_next_server(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """Nothing was sent but a question: there is time left to ask it again."""
    osvif_dummy.plug(TAP.vif(1), 1)
    osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
    ovs_dummy.freeze("ovsdb-server")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(osvif_dummy.plug, TAP.vif(2), 2)
        wait_until(lambda: _is_waiting(ovs_dummy), what="the question to be asked")
        ovs_dummy.kill("ovsdb-server")
        ovs_dummy.start_server()
        waiting.result(10)
    assert deviations(ovs_dummy, TAP, 2) == []


def test_the_verb_after_a_restart_of_the_server_works_at_once(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(1), 1)
    ovs_dummy.kill("ovsdb-server")
    ovs_dummy.start_server()
    assert timed(lambda: osvif_dummy.plug(TAP.vif(1), 1)) < AT_ONCE
    ovs_dummy.catch_up()  # vswitchd comes back at its own pace
    assert timed(lambda: osvif_dummy.plug(TAP.vif(2), 2)) < AT_ONCE
    assert timed(lambda: osvif_dummy.unplug(TAP.vif(1), 1)) < AT_ONCE


@pytest.mark.parametrize("stuck_before", [True, False])
def test_the_verb_after_a_restart_of_vswitchd_works_at_once(
    stuck_before: bool, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(1), 1)
    ovs_dummy.kill("vswitchd")
    if stuck_before:
        osvif_dummy.configure(ovs_vsctl_timeout=TIMEOUT)
        took, error = attempted(lambda: osvif_dummy.plug(TAP.vif(2), 2))
        assert took < TIMEOUT + GRACE
        assert isinstance(error, exception.PlugException)
    ovs_dummy.start_vswitchd()
    osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
    assert timed(lambda: osvif_dummy.plug(TAP.vif(2), 2)) < AT_ONCE
    assert timed(lambda: osvif_dummy.unplug(TAP.vif(1), 1)) < AT_ONCE
    assert deviations(ovs_dummy, TAP, 2) == []


def test_a_replug_after_the_database_was_lost_makes_everything_anew_at_once(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    for number, kind in ((1, TAP), (2, HYBRID)):
        osvif_dummy.plug(kind.vif(number), number)
    before = snapshot(ovs_dummy)
    ovs_dummy.lose_database()
    for number, kind in ((1, TAP), (2, HYBRID)):
        assert timed(lambda n=number, k=kind: osvif_dummy.plug(k.vif(n), n)) < AT_ONCE
        assert deviations(ovs_dummy, kind, number) == []
    assert not difference(before, snapshot(ovs_dummy))


def test_a_server_that_was_silent_until_the_connection_broke_is_found_again_at_once(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """A TCP connection is probed: after 10 s of silence it is given up and made anew."""
    osvif_dummy.configure(ovsdb_connection="tcp:127.0.0.1:6640")
    osvif_dummy.plug(TAP.vif(1), 1)
    session = connection.get("tcp:127.0.0.1:6640")._replica.session
    number = session.get_seqno()
    ovs_dummy.freeze("ovsdb-server")
    wait_until(lambda: session.get_seqno() != number, 15, "the connection to be given up")
    ovs_dummy.thaw("ovsdb-server")
    assert timed(lambda: osvif_dummy.plug(TAP.vif(1), 1)) < AT_ONCE
