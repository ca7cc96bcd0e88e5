# SPDX-License-Identifier: Apache-2.0
"""No verb outlives ``ovs_vsctl_timeout``, whatever the daemons do; then all is well at once."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
from os_vif import exception
from os_vif.wiring import errors
from tests import vifs
from tests.rig import run, wait_until
from tests.rig.certificates import Authority
from tests.rig.failures import fails
from tests.rig.ovs import Daemon, PrivateOvs
from tests.rig.plugin import GROUP, HYBRID, PORT_ONLY, TAP, Kind, OsVif, deviations
from tests.rig.privsep import PrivsepHelper
from tests.rig.relay import Relay
from tests.rig.snapshot import difference, links, settled, snapshot
from tests.rig.stopwatch import Stopwatch, of_this_process, within
from vif_plug_ovs.ovsdb import backend, client, connection, messages, tls, vsctl

TIMEOUT = 1  # seconds; the deadline of verbs that are to miss it
GRACE = 1  # seconds that they may take beyond it
AMPLE = 20  # seconds; the deadline of verbs that are to keep it
AT_ONCE = 1.5  # seconds that a verb may take when all is well again
PORTS = 2000  # more make a first connection take longer than the grace; see design.rst


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    connection.close_all()


# The table: which daemon is frozen or dead, and when --------------------------------------------

NATIVE, BOTH = ("native",), ("native", "vsctl")
#: What is left of a verb that has ended.
AS_BEFORE, GONE, DONE, ITS_ROWS, UNKNOWN = "as before", "gone", "done", "its rows", "unknown"


@dataclass(frozen=True)
class Case:
    """A verb while something is wrong, and what must become of it."""

    fault: str  # in FAULTS
    when: str  # before the verb; at its first connection; at its commit; after its commit
    verb: str
    driver: str
    error: type[Exception] | None
    says: str  # part of the error; without one, of the log
    left: str
    then: str = ""  # the verb that must work when all is well again; the same, if not set
    over: str = "unix"
    bridge: bool = True  # the integration bridge is there before
    seconds: int = TIMEOUT

    def __str__(self) -> str:
        bridge = "" if self.bridge else "and makes the bridge"
        words = (self.fault, self.when, self.verb, bridge, self.then, self.driver, self.over)
        return "-".join(word for word in words if word)


def cases(
    fault: str, when: str, verbs: str, drivers: tuple[str, ...], error: Any, says: str, left: str,
    **more: Any,
) -> list[Case]:  # fmt: skip
    """Return a case for each of some verbs and drivers."""
    return [
        Case(fault, when, verb, driver, error, says, left, **more)
        for verb in verbs.split()
        for driver in drivers
    ]


UNREACHED, LATE = errors.NotConnected, errors.DeadlineExceeded
NO_ANSWER, NOBODY, NOT_YET = "does not answer", "refused", "has not yet acted on the removal"
VERBS, WRITES = "plug re-plug unplug", "plug unplug"

CASES = [
    *cases("frozen server", "before", VERBS, BOTH, UNREACHED, NO_ANSWER, AS_BEFORE),
    *cases("frozen server", "at first", WRITES, NATIVE, UNREACHED, NO_ANSWER, AS_BEFORE),
    *cases("frozen server", "before", WRITES, BOTH, UNREACHED, NO_ANSWER, AS_BEFORE, over="ssl"),
    *cases("frozen server", "at first", WRITES, NATIVE, UNREACHED, NO_ANSWER, AS_BEFORE,
           over="ssl"),
    *cases("dead server", "before", VERBS, BOTH, UNREACHED, NOBODY, AS_BEFORE),
    *cases("dead server", "before", "plug", BOTH, UNREACHED, NOBODY, AS_BEFORE, over="ssl"),
    *cases("frozen server", "at its commit", WRITES, BOTH, errors.OutcomeUnknown, "unknown",
           UNKNOWN),
    *cases("frozen server", "at its commit", "plug", BOTH, errors.OutcomeUnknown, "unknown",
           UNKNOWN, then="unplug"),
    *cases("frozen vswitchd", "before", "plug", BOTH, LATE, "1 s: ovs-vswitchd", AS_BEFORE),
    *cases("frozen vswitchd", "before", "plug", BOTH, LATE, "1 s: ovs-vswitchd", AS_BEFORE,
           bridge=False),
    *cases("dead vswitchd", "before", "plug", BOTH, LATE, "1 s: ovs-vswitchd", AS_BEFORE),
    *cases("frozen vswitchd", "before", "re-plug", BOTH, None, "", AS_BEFORE),
    *cases("dead vswitchd", "before", "re-plug", BOTH, None, "", AS_BEFORE),
    *cases("frozen vswitchd", "before", "unplug", BOTH, None, NOT_YET, GONE),
    *cases("dead vswitchd", "before", "unplug", BOTH, None, NOT_YET, GONE),
    *cases("both frozen", "before", WRITES, NATIVE, UNREACHED, NO_ANSWER, AS_BEFORE),
    *cases("both dead", "before", WRITES, NATIVE, UNREACHED, NOBODY, AS_BEFORE),
    *cases("frozen server", "after its commit", "plug", BOTH, errors.NotRolledBack,
           "Not done after 1 s: ovs-vswitchd has not acted on the new ports; what", ITS_ROWS,
           then="unplug"),
    *cases("frozen privileged daemon", "before", "plug", NATIVE, errors.NotRolledBack,
           "privileged", AS_BEFORE),
    *cases("dead privileged daemon", "before", "plug", NATIVE, None, "", DONE, seconds=AMPLE),
    *cases("dead privileged daemon", "before", "unplug", NATIVE, None, "", GONE, seconds=AMPLE),
]  # fmt: skip


def kinds_of(case: Case) -> tuple[Kind, ...]:
    """Return a tap, too, where a daemon is frozen; a hybrid plug, which makes more, everywhere."""
    native = (case.driver, case.over) == ("native", "unix")
    is_frozen = case.fault in ("frozen server", "frozen vswitchd")
    return (TAP, HYBRID) if native and is_frozen else (HYBRID,)


@dataclass
class Host:
    """Where a case takes place."""

    ovs: PrivateOvs
    osvif: OsVif
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    log: pytest.LogCaptureFixture
    helper: PrivsepHelper

    def answers(self) -> bool:
        """Return whether ovsdb-server does."""
        return self.ovs.running("ovsdb-server") and "ovsdb-server" not in self.ovs._frozen


FAULTS: dict[str, Callable[[Host], object]] = {
    "frozen server": lambda host: host.ovs.freeze("ovsdb-server"),
    "dead server": lambda host: host.ovs.kill("ovsdb-server"),
    "frozen vswitchd": lambda host: host.ovs.freeze("vswitchd"),
    "dead vswitchd": lambda host: host.ovs.kill("vswitchd"),
    "both frozen": lambda host: [host.ovs.freeze(each) for each in ("vswitchd", "ovsdb-server")],
    "both dead": lambda host: [host.ovs.kill(each) for each in ("vswitchd", "ovsdb-server")],
    "frozen privileged daemon": lambda host: host.helper.freeze(),
    "dead privileged daemon": lambda host: host.helper.kill(),
}


def mend(ovs: PrivateOvs) -> None:
    """Let both daemons run, the server first."""
    for which, start in (("ovsdb-server", ovs.start_server), ("vswitchd", ovs.start_vswitchd)):
        if not ovs.running(which):
            start()
        elif which in ovs._frozen:
            ovs.thaw(which)


def let_fail(case: Case, host: Host) -> None:
    """Have daemons freeze or die at the moment of a case."""
    if case.when == "at first":
        connection.close_all()
    if case.when in ("before", "at first"):
        FAULTS[case.fault](host)
        return
    if case.when == "after its commit":  # ovs-vswitchd must not be the faster one
        host.ovs.freeze("vswitchd")
    pending = [FAULTS[case.fault]]
    owner, name = {
        ("at its commit", "native"): (backend.NativeRows, "commit"),
        ("at its commit", "vsctl"): (client, "transact"),
        ("after its commit", "native"): (backend.NativeRows, "wait_for_vswitchd"),
        ("after its commit", "vsctl"): (vsctl.VsctlRows, "wait_for_vswitchd"),
    }[case.when, case.driver]
    real = getattr(owner, name)

    def fail_first(*arguments: Any) -> Any:
        reads = owner is client and {each["op"] for each in arguments[2]} == {"select"}
        if pending and not reads:
            pending.pop()(host)
        return real(*arguments)

    host.monkeypatch.setattr(owner, name, fail_first)


def encrypt(host: Host) -> None:
    """Reach the server over TLS."""
    authority = Authority(host.folder / "authority")
    host.ovs.certificate = authority.issue("server")
    host.ovs.kill("ovsdb-server")
    host.ovs.start_server()
    host.ovs.catch_up()
    files = zip(tls.OPTIONS, authority.issue("client").files, strict=True)
    host.osvif.configure(ovsdb_connection=f"ssl:127.0.0.1:{host.ovs.tls_port}", **dict(files))


def judge(case: Case, kind: Kind, host: Host) -> None:
    ovs, osvif = host.ovs, host.osvif
    osvif.configure(ovsdb_interface=case.driver, ovs_vsctl_timeout=AMPLE)
    if case.over == "ssl":
        encrypt(host)
    if case.bridge:
        ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
        osvif.plug(HYBRID.vif(2), 2)  # so that there is a connection, and a privileged daemon
    empty = settled(ovs)
    if case.verb != "plug":
        osvif.plug(kind.vif())
    before = settled(ovs)
    osvif.configure(ovs_vsctl_timeout=case.seconds)
    host.log.clear()

    verb = partial(getattr(osvif, case.verb.removeprefix("re-")), kind.vif())
    let_fail(case, host)
    if case.error:
        reason = str(fails(verb, case.error, case.seconds + GRACE))
        assert case.says in reason
        assert case.error is not errors.NotConnected or cfg.CONF[GROUP].ovsdb_connection in reason
    else:
        with within(case.seconds + GRACE):
            verb()
        assert case.says in host.log.text

    expected = {AS_BEFORE: before, GONE: empty}.get(case.left)
    if expected:
        assert not difference(expected["links"], links())
        assert not (host.answers() and difference(expected["ovs"], ovs.dump()))
    mend(ovs)
    if expected:
        assert not difference(expected, settled(ovs))
    elif case.left == ITS_ROWS:
        assert kind.port() in ovs.dump()["Port"]

    osvif.configure(ovs_vsctl_timeout=AMPLE)
    if "unplug" not in (case.verb, case.then):
        osvif.plug(kind.vif())
        assert deviations(ovs, kind) == []
    osvif.unplug(kind.vif())
    host.helper.thaw()
    if case.bridge:
        assert not difference(empty, settled(ovs))


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        pytest.param(case, kind, id=f"{case}-{kind.name}")
        for case in CASES
        for kind in kinds_of(case)
    ],
)
def test_a_verb_ends_in_time_and_works_when_all_is_well_again(
    case: Case,
    kind: Kind,
    ovs: PrivateOvs,
    helper: PrivsepHelper,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    def work(osvif: OsVif) -> None:
        judge(case, kind, Host(ovs, osvif, tmp_path, monkeypatch, caplog, helper))

    if "vswitchd" in case.fault:
        request.getfixturevalue("unhurried")
    if "privileged" in case.fault:
        helper.in_a_child(ovs.remote, work)
    else:
        work(request.getfixturevalue("osvif"))


# Without a table: more than one verb, or time itself ---------------------------------------------


@pytest.mark.parametrize("driver", BOTH)
def test_further_verbs_fail_soon_while_vswitchd_stays_stuck(
    driver: str, ovs: PrivateOvs, osvif: OsVif, br_int: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is stuck when a verb has itself seen no progress for STUCK_AFTER_SECONDS."""
    seen = connection.STUCK_AFTER_SECONDS + 1

    def times_out(number: int, timeout: float, seconds: float) -> None:
        osvif.configure(ovs_vsctl_timeout=timeout)
        fails(lambda: osvif.plug(HYBRID.vif(number), number), LATE, seconds)

    def waits_as_long_as_it_takes(number: int) -> None:
        osvif.configure(ovs_vsctl_timeout=AMPLE)
        threading.Timer(5, lambda: ovs.thaw("vswitchd")).start()
        osvif.plug(HYBRID.vif(number), number)

    osvif.configure(ovsdb_interface=driver)
    ovs.freeze("vswitchd")
    times_out(1, seen, seen + GRACE)
    for number in (2, 3):
        times_out(number, 60, 5)
    assert driver == "vsctl" or "it is stuck" in caplog.text
    ovs.thaw("vswitchd")
    osvif.plug(HYBRID.vif(3), 3)
    assert deviations(ovs, HYBRID, 3) == []
    ovs.freeze("vswitchd")  # it has moved since
    waits_as_long_as_it_takes(4)
    ovs.freeze("vswitchd")  # who has not waited for long has not found it stuck
    times_out(5, TIMEOUT, TIMEOUT + GRACE)
    waits_as_long_as_it_takes(6)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    ("driver", "kind"), [("native", TAP), ("native", HYBRID), ("vsctl", TAP)], ids=str
)
def test_a_replug_waits_until_vswitchd_has_taken_the_device_that_it_made(
    driver: str, kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The rows are right and only the device was missing: there is no ``cur_cfg`` to wait for."""
    osvif.configure(ovsdb_interface=driver)
    osvif.plug(kind.vif())
    ovs.kill("vswitchd")
    run(["ip", "link", "delete", kind.link_names()[-1]])
    ovs.start_vswitchd()
    wait_until(lambda: ovs.interface(kind.port())["error"], what="vswitchd to miss its device")
    before, number = snapshot(ovs), ovs.next_cfg()
    osvif.configure(ovs_vsctl_timeout=TIMEOUT)
    ovs.freeze("vswitchd")
    fails(lambda: osvif.plug(kind.vif()), LATE, TIMEOUT + GRACE)
    assert not difference(before, snapshot(ovs))
    ovs.thaw("vswitchd")
    osvif.configure(ovs_vsctl_timeout=AMPLE)
    osvif.plug(kind.vif())
    assert deviations(ovs, kind) == []
    assert ovs.next_cfg() - number <= 1  # nothing but one more look, perhaps


@pytest.mark.parametrize("fault", ["frozen server", "frozen vswitchd", "dead server"])
def test_a_timeout_of_0_waits_for_as_long_as_it_takes(
    fault: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(1), 1)
    osvif_dummy.configure(ovs_vsctl_timeout=0)
    how, _, which = fault.partition(" ")
    daemon: Daemon = "vswitchd" if which == "vswitchd" else "ovsdb-server"
    (ovs_dummy.freeze if how == "frozen" else ovs_dummy.kill)(daemon)
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(osvif_dummy.plug, TAP.vif(2), 2),
            pool.submit(osvif_dummy.unplug, TAP.vif(1), 1),
        ]
        for each in waiting:
            with pytest.raises(TimeoutError):
                each.result(0.6)
        mend(ovs_dummy)
        for each in waiting:
            each.result(AT_ONCE if how == "frozen" else 10)  # vswitchd comes back at its own pace
    assert deviations(ovs_dummy, TAP, 2) == []


# Servers that are not ovsdb-server --------------------------------------------------------------


@contextmanager
def listening(serve: Callable[[socket.socket], None] | None) -> Iterator[str]:
    """Listen on a port of this namespace; each connection is served in a thread of its own.

    :param serve: None: connections are made by the kernel and never accepted.
    """

    def accept() -> None:
        with suppress(OSError):  # the listener was shut
            while serve:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


def talk_nonsense(client: socket.socket) -> None:
    with suppress(OSError), client:
        client.sendall(b'{"id": 0, "method": "nonsense", "params": []} [[[')
        while client.recv(65536):
            pass


@contextmanager
def refusing() -> Iterator[str]:
    with socket.socket() as unused:  # bound, and not listening
        unused.bind(("127.0.0.1", 0))
        yield f"tcp:127.0.0.1:{unused.getsockname()[1]}"


@contextmanager
def relayed(ovs: PrivateOvs, **how: Any) -> Iterator[str]:
    with Relay(ovs.remote, **how) as relay:
        yield relay.remote


#: Where the client is told to connect to instead.
PLACES: dict[str, Callable[[PrivateOvs], AbstractContextManager[str]]] = {
    "a port that refuses": lambda _: refusing(),
    "a server that never answers": lambda _: listening(None),
    "a server that hangs up": lambda _: listening(socket.socket.close),
    "a server that talks nonsense": lambda _: listening(talk_nonsense),
    "a server that is slow to answer": lambda ovs: relayed(ovs, delay=0.4),
    "a line that carries 500 bytes a second": lambda ovs: relayed(ovs, delay=0.1, size=50),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_verb_ends_in_time_wherever_it_is_sent(
    place: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """All at once, each in a thread of its own."""
    for number in range(1, 7):
        osvif_dummy.plug((TAP if number < 3 else HYBRID).vif(number), number)
    before = set(links())
    pairs = [(HYBRID.vif(number), vifs.instance(number)) for number in (8, 9, 5, 6)]
    verbs: list[Callable[[], Any]] = [
        lambda: osvif_dummy.plug(TAP.vif(7), 7),
        lambda: osvif_dummy.plug(TAP.vif(1), 1),
        lambda: osvif_dummy.unplug(TAP.vif(2), 2),
        lambda: osvif_dummy.unplug(HYBRID.vif(3), 3),
        lambda: raise_first(os_vif.plug_all(pairs[:2])),
        lambda: raise_first(os_vif.unplug_all(pairs[2:])),
    ]

    def attempt(verb: Callable[[], Any]) -> None:
        with within(TIMEOUT + GRACE), pytest.raises(exception.ExceptionBase):
            verb()

    with PLACES[place](ovs_dummy) as remote, ThreadPoolExecutor(len(verbs)) as pool:
        osvif_dummy.configure(ovsdb_connection=remote, ovs_vsctl_timeout=TIMEOUT)
        list(pool.map(attempt, verbs))
        connection.close_all()
    assert set(links()) == before


def raise_first(results: list[os_vif.Result]) -> None:
    for result in results:
        if result.error:
            raise result.error


def test_a_slow_server_is_no_obstacle_to_a_verb_that_has_time(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
    with relayed(ovs_dummy, delay=0.1) as remote:
        osvif_dummy.configure(ovsdb_connection=remote)
        osvif_dummy.plug(TAP.vif())
        assert deviations(ovs_dummy, TAP) == []
        osvif_dummy.unplug(TAP.vif())
        connection.close_all()
    assert list(ovs_dummy.dump()["Port"]) == ["br-int"]


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
        with within(AT_ONCE):
            osvif_dummy.plug(TAP.vif(3), 3)
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
        with within(0.5):
            osvif_dummy.plug(TAP.vif(1), 1)
            osvif_dummy.unplug(TAP.vif(3), 3)
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
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(osvif_dummy.plug, TAP.vif(2), 2)
        assert arrived.wait(10)
        with within(TIMEOUT + GRACE):
            results = os_vif.plug_all(pairs)
        go_on.set()
        busy.exception()
    assert [result.error is None for result in results] == [True, False, True]
    assert isinstance(results[1].error, exception.PlugException)
    assert isinstance(results[1].error.__cause__, errors.DeadlineExceeded)


# When all is well again -------------------------------------------------------------------------


def test_a_verb_that_does_not_know_yet_that_the_server_was_restarted_works(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """Its connection looks sound, and sending fails: it must connect anew, not give up."""
    osvif_dummy.plug(TAP.vif(1), 1)
    shared = connection.get(ovs_dummy.remote)
    with shared._changed.lock:  # the connection's thread notices nothing until a verb waits
        ovs_dummy.kill("ovsdb-server")
        ovs_dummy.start_server()
        with within(AT_ONCE):
            osvif_dummy.plug(TAP.vif(1), 1)
        osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
        osvif_dummy.plug(TAP.vif(2), 2)
    assert deviations(ovs_dummy, TAP, 2) == []


@pytest.mark.parametrize("stuck_before", [True, False])
def test_the_verb_after_a_restart_of_vswitchd_works_at_once(
    stuck_before: bool, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(TAP.vif(1), 1)
    ovs_dummy.kill("vswitchd")
    if stuck_before:
        osvif_dummy.configure(ovs_vsctl_timeout=TIMEOUT)
        fails(lambda: osvif_dummy.plug(TAP.vif(2), 2), LATE, TIMEOUT + GRACE)
    ovs_dummy.start_vswitchd()
    osvif_dummy.configure(ovs_vsctl_timeout=AMPLE)
    with within(AT_ONCE):
        osvif_dummy.plug(TAP.vif(2), 2)
        osvif_dummy.unplug(TAP.vif(1), 1)
    assert deviations(ovs_dummy, TAP, 2) == []


def test_verbs_after_the_database_was_lost_work_at_once(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """A re-plug makes everything anew, and unplug removes the links that are left."""
    for number, kind in ((1, TAP), (2, HYBRID)):
        osvif_dummy.plug(kind.vif(number), number)
    before = snapshot(ovs_dummy)
    osvif_dummy.plug(HYBRID.vif(3), 3)
    ovs_dummy.lose_database()
    for number, kind in ((1, TAP), (2, HYBRID)):
        with within(AT_ONCE):
            osvif_dummy.plug(kind.vif(number), number)
        assert deviations(ovs_dummy, kind, number) == []
    with within(AT_ONCE):
        osvif_dummy.unplug(HYBRID.vif(3), 3)
    assert not difference(before, snapshot(ovs_dummy))
