# SPDX-License-Identifier: Apache-2.0
"""The program of ``test_eventlet``: twelve callers at once, beside a ticker.

``python -m tests.functional.many_callers green|native SCENARIO REMOTE [PID [OPTIONS]]`` prints
what it saw as one line of JSON. PID is that of ovsdb-server. OPTIONS are the plugin's as a JSON
object, and ``helper_command``, that of the privsep helper.
"""
# ruff: noqa: E402 (eventlet has to patch the standard library before anybody imports it)

import sys

GREEN = __name__ == "__main__" and sys.argv[1] == "green"
if GREEN:  # as Nova does it: before anything else is imported
    import warnings

    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import ovs.poller
from oslo_config import cfg

import os_vif
from os_vif import exception
from os_vif.wiring.deadline import Deadline
from tests import vifs
from tests.rig import run, wait_until
from tests.rig.plugin import HYBRID, PORT_ONLY, TAP, Kind, OsVif, initialized
from tests.rig.stopwatch import Lap, Stopwatch, of_this_process, stopwatch
from vif_plug_ovs.ovsdb import callers, connection, rows

CALLERS, ROUNDS = 12, 3
AMPLE = 60  # seconds
SHORT = 1  # seconds
TICK, TICKER = 0.01, "ticker"  # seconds; the name of its thread

Report = dict[str, Any]


class Ticker:
    """Wakes up every few milliseconds and remembers the longest time that it did not.

    Less what this process waited for a processor: that is the machine's doing.
    """

    def __init__(self) -> None:
        self.gap = 0.0
        self.ticks = 0
        self._ended = False
        self._thread = threading.Thread(target=self._tick, name=TICKER)

    def _tick(self) -> None:
        watch = Stopwatch(of_this_process)
        while not self._ended:
            time.sleep(TICK)
            self.gap = max(self.gap, watch.lap().own)
            self.ticks += 1

    def __enter__(self) -> "Ticker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()


def at_once(work: Callable[[int], object], count: int = CALLERS) -> list[str]:
    """Do something for each number in a (green)thread of its own; return what was raised."""
    raised: list[str] = []

    def one(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            raised.append(f"{number}: {error!r}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(1, count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def kind_of(number: int) -> Kind:
    return (TAP, HYBRID, PORT_ONLY)[number % 3]


def verbs(osvif: OsVif, _: int) -> Report:
    """Plug, re-plug and unplug, and leave every second VIF plugged."""

    def work(number: int) -> None:
        kind = kind_of(number)
        for one in range(ROUNDS):
            osvif.plug(kind.vif(number), number)
            osvif.plug(kind.vif(number), number)
            if one < ROUNDS - 1 or number % 2:
                osvif.unplug(kind.vif(number), number)

    return {"raised": at_once(work)}


def same_vif(osvif: OsVif, _: int) -> Report:
    """All callers have the same VIF."""
    return {"raised": at_once(lambda _: osvif.plug(TAP.vif(1), 1))}


@contextmanager
def frozen(pid: int) -> Any:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def silence(osvif: OsVif, server: int) -> Report:
    """ovsdb-server is frozen: all verbs fail in time; then it runs on and all of them work."""
    at_once(lambda number: osvif.plug(kind_of(number).vif(number), number))
    osvif.configure(ovs_vsctl_timeout=SHORT)
    failed: list[Lap] = []
    succeeded: list[int] = []

    def fail(number: int) -> None:
        verb = osvif.plug if number % 2 else osvif.unplug
        with stopwatch() as lap:
            try:
                verb(kind_of(number).vif(number), number)
                succeeded.append(number)
            except exception.ExceptionBase:
                failed.append(lap)

    with frozen(server):
        raised = at_once(fail)
    osvif.configure(ovs_vsctl_timeout=AMPLE)
    raised += at_once(lambda number: osvif.unplug(kind_of(number).vif(number), number))
    return {
        "raised": raised,
        "succeeded": succeeded,
        "failed": len(failed),
        "took": max((lap.own for lap in failed), default=0),
    }


def daemon(osvif: OsVif, _: int) -> Report:
    """One VIF, as Nova has it: through the privileged daemon."""

    def work(number: int) -> None:
        osvif.plug(HYBRID.vif(number), number)
        osvif.plug(HYBRID.vif(number), number)
        osvif.unplug(HYBRID.vif(number), number)

    return {"raised": at_once(work, 1) + at_once(work, 3)}


#: A plug takes some 20 ms; it is interrupted at each of these moments after its beginning.
MOMENTS = [number / 4000 for number in range(120)]


def interrupted(osvif: OsVif, _: int) -> Report:
    """A caller's patience ends in the middle of a plug; greenthreads only."""
    from tests.rig.snapshot import difference, links

    osvif.plug(HYBRID.vif(9), 9)
    osvif.unplug(HYBRID.vif(9), 9)
    raised, count = [], 0
    for moment in MOMENTS:
        before = links()
        try:
            with eventlet.Timeout(moment):
                osvif.plug(HYBRID.vif(1), 1)
        except eventlet.Timeout:
            count += 1
            if left := difference(before, links()):
                raised.append(f"{moment}: {left}")
        osvif.unplug(HYBRID.vif(1), 1)
    return {"raised": raised, "interrupted": count}


def refusal(osvif: OsVif, _: int) -> Report:
    """Nobody listens: the connection is tried again and again while all verbs wait for it."""
    osvif.configure(ovs_vsctl_timeout=SHORT)
    outcome = at_once(lambda number: osvif.plug(PORT_ONLY.vif(number), number))
    return {"raised": outcome}


def native_poll(osvif: OsVif, _: int) -> Report:
    """Wait as the peer did (bug 1929446): in the system's poll(), which stops all greenthreads."""
    poller = ovs.poller.get_system_poll()
    threading.Thread(target=poller.poll, args=(1000 * SHORT,)).start()
    time.sleep(2 * SHORT)
    return {"raised": []}


def together(osvif: OsVif, _: int) -> Report:
    """Callers that come together wait for each other; the patience of one ends meanwhile."""
    osvif.plug(PORT_ONLY.vif(20), 20)
    connection.MOST_FOR_OTHERS = callers.EXPECTED_SECONDS = SHORT
    shared = _shared(osvif)

    def plug(number: int) -> None:
        with callers.on_the_way():
            time.sleep(SHORT / 4)
            with eventlet.Timeout(SHORT / 4 if number == 1 else AMPLE):
                osvif.plug(PORT_ONLY.vif(number), number)

    def come_late(number: int) -> None:
        if number == CALLERS:
            with callers.on_the_way():
                time.sleep(0.8 * SHORT)
        else:
            plug(number)

    shared._took, shared._cfg_seen_at = AMPLE, 0.0
    before = shared.read(rows.cur_cfg)
    raised = at_once(come_late)
    ports = shared.read(lambda tables: len(tables.tables["Port"].rows))
    return {"raised": raised, "ports": ports, "asked": shared.read(rows.cur_cfg) - before}


def interrupted_wait(osvif: OsVif, _: int) -> Report:
    """A timeout hits greenthreads as they wait for the lock, having waited for the server."""
    shared = _shared(osvif)

    def wait(_: int) -> None:
        with eventlet.Timeout(0.3):
            shared.wait_for(lambda _: False, Deadline(AMPLE))

    def hold_the_lock() -> None:
        time.sleep(0.1)
        with shared._changed.lock:
            shared._wake()
            time.sleep(0.5)

    holding = threading.Thread(target=hold_the_lock)
    holding.start()
    outcome = at_once(wait, 3)
    holding.join()
    raised = at_once(lambda _: _ask(shared), 3)
    return {"raised": raised, "interrupted": outcome}


def first_fill(osvif: OsVif, _: int) -> Report:
    """The replica is filled."""
    return {"raised": at_once(lambda _: _ask(_shared(osvif)), 3)}


def interrupted_fill(osvif: OsVif, _: int) -> Report:
    """A timeout hits the greenthread that fills the replica."""
    connection.TEND_SECONDS = AMPLE  # else the thread that tends the connection fills it
    shared = _shared(osvif)
    swallowed = 0

    def ask(_: int) -> None:
        nonlocal swallowed
        with eventlet.Timeout(0.05) as patience:
            _ask(shared)
            swallowed += not patience.pending

    interruptions = 0
    while outcome := at_once(ask, 1):
        interruptions += len(outcome)
    with shared.synchronized(Deadline(AMPLE)) as tables:
        ports = len(tables.tables["Port"].rows)
    return {"swallowed": swallowed, "interruptions": interruptions, "ports": ports}


def used() -> float:
    """The processor time of this process in seconds, less that of a ticker in a native thread,
    which looks at all threads."""
    every = {thread.name: thread.ident or 0 for thread in threading.enumerate()}
    of_ticker = 0 if GREEN else time.clock_gettime(time.pthread_getcpuclockid(every[TICKER]))
    return time.process_time() - of_ticker


WAITERS, CHANGES, IDLE = 1000, 100, 2  # IDLE in seconds


def waits(osvif: OsVif, _: int) -> Report:
    """One waits, and then a thousand: what it costs while nothing happens, and while the rows of
    others change; some are interrupted. Then the device of all of them comes."""
    vif, device = PORT_ONLY.vif(1), PORT_ONLY.port(1)
    osvif.plug_kind(PORT_ONLY)
    osvif.plug_kind(PORT_ONLY, 2)
    raised: list[str] = []

    def wait(_: int) -> None:
        os_vif.wait(vif, vifs.instance(), timeout=AMPLE)

    def waiting(count: int) -> threading.Thread:
        started = threading.Thread(target=lambda: raised.extend(at_once(wait, count)))
        started.start()
        watchers = _shared(osvif)._watchers
        wait_until(lambda: len(watchers.get(device, ())) == count, AMPLE, f"{count} waiters")
        time.sleep(1)
        return started

    def interrupted(_: int) -> None:
        with eventlet.Timeout(0.3, False):
            wait(0)

    change = f"ovs-vsctl --db={_shared(osvif).remote} set Interface {PORT_ONLY.port(2)}"
    every = f"for i in $(seq {CHANGES}); do {change} external_ids:x=$i; done"
    costs: dict[str, list[float]] = {"idle": [], "changes": []}
    for count in (1, WAITERS):
        threads = waiting(count)
        if GREEN:
            raised += at_once(interrupted, CALLERS)
        for name, act in (
            ("idle", lambda: time.sleep(IDLE)),
            ("changes", lambda: subprocess.run(every, shell=True, check=True)),
        ):
            began = used()
            act()
            costs[name].append(used() - began)
        began = time.monotonic()
        run(["ip", "tuntap", "add", "dev", device, "mode", "tap"])
        threads.join()
        woken = time.monotonic() - began
        run(["ip", "link", "delete", device])
        osvif.unplug(vif)
        osvif.plug(vif)
    return {"raised": raised, "woken": woken, **costs}


def _shared(osvif: OsVif) -> connection.Connection:
    return connection.get(cfg.CONF[osvif.group].ovsdb_connection)


def _ask(shared: connection.Connection) -> None:
    with shared.synchronized(Deadline(5)):
        pass


SCENARIOS = {
    each.__name__: each
    for each in (
        verbs,
        same_vif,
        silence,
        daemon,
        refusal,
        native_poll,
        interrupted,
        together,
        interrupted_wait,
        first_fill,
        interrupted_fill,
        waits,
    )
}


def main(name: str, remote: str, pid: str = "0", options: str = "{}") -> Report:
    configured = json.loads(options)
    command = configured.pop("helper_command", None)
    with initialized(remote, AMPLE, in_process=not command) as osvif, Ticker() as ticker:
        if command:
            cfg.CONF.set_override("helper_command", command, group="vif_plug_ovs_privileged")
        osvif.configure(**configured)
        report = SCENARIOS[name](osvif, int(pid))
    connection.close_all()
    others = [thread.name for thread in threading.enumerate()]
    left = [name for name in others if name.startswith("os-vif")]
    return {**report, "gap": ticker.gap, "ticks": ticker.ticks, "left": left}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[2:])), flush=True)
    os._exit(0)  # a privsep client's reader thread would wait for its daemon
