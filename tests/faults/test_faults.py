# SPDX-License-Identifier: Apache-2.0
"""Eight threads plug and unplug while both daemons fail at random; every verb is judged.

``OS_VIF_FAULTS_SEED`` repeats the choices of a run (not its timing), ``OS_VIF_FAULTS_SECONDS``
makes it longer.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
from os_vif.exception import ExceptionBase
from os_vif.wiring import errors, rows_first
from tests import vifs
from tests.rig import CommandError, run, wait_until
from tests.rig.ovs import Daemon, PrivateOvs, Row
from tests.rig.plugin import GROUP, HYBRID, MULTIQUEUE, PORT_ONLY, TAP, Kind, OsVif, initialized
from tests.rig.snapshot import Facts, difference, links, snapshot
from tests.rig.stopwatch import stopwatch
from vif_plug_ovs.ovsdb import connection

SEED = int(os.environ.get("OS_VIF_FAULTS_SEED") or random.SystemRandom().randrange(10**6))
#: How long daemons fail, at least; and how many verbs are judged, however busy the machine is.
SECONDS = float(os.environ.get("OS_VIF_FAULTS_SECONDS") or 30)
VERBS = 300
THREADS = 8
TIMEOUT = 3  # seconds: ``ovs_vsctl_timeout``
GRACE = 1.0  # seconds that a verb may take beyond it
MANY = rows_first.PORTS_PER_LINK
KINDS = (TAP, HYBRID, PORT_ONLY, MULTIQUEUE)
NUMBERS = range(1, 17)

Effect = bool | None  # whether a VIF is plugged; None: half, or not known


def kind_of(number: int) -> Kind:
    return KINDS[number % len(KINDS)]


def vif_of(number: int) -> Any:
    return kind_of(number).vif(number)


# What is seen of a VIF --------------------------------------------------------------------------


def ports_of(number: int) -> set[str]:
    """The names of all ports that a VIF may have, in any shape."""
    prefixed = {vifs.device(prefix, number) for prefix in ("tap", "qvo")}
    return prefixed | {f"{prefix}{vifs.vif_id(number)}" for prefix in ("pbp", "ibp")}


def links_of(number: int) -> set[str]:
    return {vifs.device(prefix, number) for prefix in ("tap", "qbr", "qvb", "qvo")}


def own_bridge(number: int) -> str:
    return vifs.device("pb", number)


def what_is_missing(number: int, host: Facts) -> Iterator[str]:
    """Say what a plugged VIF lacks; it may have a bridge of its own."""
    kind, rows = kind_of(number), host["ovs"]
    port, owner = kind.port(number), vifs.BRIDGE
    if own_bridge(number) in rows["Bridge"]:
        if port not in rows["Bridge"][own_bridge(number)]["ports"]:
            yield f"port {port} on {own_bridge(number)}"
        port = f"ibp{vifs.vif_id(number)}"
    if port not in rows["Bridge"].get(owner, {}).get("ports", ()):
        yield f"port {port} on {owner}"
    ids = rows["Interface"].get(port, {}).get("external_ids", {})
    if ids.get("vm-uuid") != vifs.instance_id(number):
        yield f"ids of {port}: {ids}"
    for name, wanted in kind.links(number).items():
        found = host["links"].get(name)
        if found is None:
            yield f"link {name}"
        else:
            wrong = {key: found[key] for key, value in wanted.items() if found[key] != value}
            # The kind in the mark is that of the shape in which the link was made.
            if not found["alias"].startswith("os-vif:ovs:") or wrong.keys() - {"alias"}:
                yield f"link {name}: {wrong}"


def what_is_left(number: int, host: Facts) -> Iterator[str]:
    """Say what of a VIF is there."""
    rows = host["ovs"]
    for table in ("Port", "Interface"):
        yield from (f"{table} {name}" for name in ports_of(number) & rows[table].keys())
    yield from (f"Bridge {name}" for name in {own_bridge(number)} & rows["Bridge"].keys())
    yield from (f"link {name}" for name in links_of(number) & host["links"].keys())


def effect(number: int, host: Facts) -> Effect:
    if not any(what_is_left(number, host)):
        return False
    return None if any(what_is_missing(number, host)) else True


class OnDisk(PrivateOvs):
    """The database as it is on disk, where ovsdb-server writes what it has accepted at once.

    It can be read while the server is frozen or dead: what a server does only after it was
    thawed had not been done when the verb returned.
    """

    def __init__(self, ovs: PrivateOvs) -> None:
        self.rundir = ovs.rundir

    def _select(self, *tables: str) -> dict[str, list[Row]]:
        operations = [{"op": "select", "table": table, "where": []} for table in tables]
        request = json.dumps(["Open_vSwitch", *operations])
        answer = run(["ovsdb-tool", "query", f"{self.rundir}/conf.db", request]).stdout
        return {
            table: part["rows"] for table, part in zip(tables, json.loads(answer), strict=True)
        }


# The callers ------------------------------------------------------------------------------------


@dataclass
class World:
    """What the callers and the faults share."""

    ovs: PrivateOvs
    osvif: OsVif
    #: Held by the caller that has a verb of that VIF running, until it has been judged.
    busy: dict[int, threading.Lock] = field(
        default_factory=lambda: {number: threading.Lock() for number in NUMBERS}
    )
    known: dict[int, Effect] = field(default_factory=lambda: dict.fromkeys(NUMBERS, False))
    before_commit: Callable[[], object] = lambda: None
    #: VIFs whose last verb raised, and may have its effect later: a transaction was under way.
    unsure: set[int] = field(default_factory=set)
    #: How often the database was lost; odd while it is being lost.
    losses: int = 0
    ended: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    wrongs: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def verbs(self) -> int:
        return self.counts["verbs"]

    def host(self) -> Facts:
        """The host as it is now."""
        rows = wait_until(self._rows, 30, "a database")
        return {"links": links(), "ovs": rows}

    def _rows(self) -> dict[str, Any] | None:
        try:
            return OnDisk(self.ovs).dump()
        except CommandError:  # it is being lost
            return None

    @contextmanager
    def some(self, choose: random.Random, count: int) -> Iterator[list[int]]:
        """Take some VIFs that nobody is busy with."""
        with ExitStack() as stack:
            mine = []
            for number in choose.sample(NUMBERS, len(NUMBERS)):
                if len(mine) < count and self.busy[number].acquire(blocking=False):
                    stack.callback(self.busy[number].release)
                    mine.append(number)
            yield mine


def call_until_ended(world: World, choose: random.Random) -> None:
    while not world.ended:
        many = choose.random() < 0.08
        with world.some(choose, choose.randint(3, 5) if many else 1) as numbers:
            if not numbers:
                time.sleep(0.01)
                continue
            name = choose.choice(("plug", "plug", "unplug"))
            call(world, name, numbers, many)


def call(world: World, name: str, numbers: list[int], many: bool) -> None:
    """Make one call, and judge it."""
    look_again(world, numbers)
    losses = world.losses
    with stopwatch() as lap:
        outcomes = (together if many else alone)(name, numbers)
    host = world.host()
    whole = losses == world.losses and losses % 2 == 0
    with world.lock:
        label = f"{name}{'_all' if many else ''} of {numbers}"
        world.slowest = max(world.slowest, (lap.own, f"{lap}: {label}: {outcomes[0]!r:.300}"))
        world.counts["calls that took longer than the deadline"] += lap.took > TIMEOUT
        world.counts["calls that the machine made late"] += lap.own <= TIMEOUT + GRACE < lap.took
        if lap.own > TIMEOUT + GRACE:
            world.wrongs.append(f"{label} took {lap}: {outcomes!r:.400}")
        for number, outcome in zip(numbers, outcomes, strict=True):
            judge(world, name, number, outcome, host, whole)


def look_again(world: World, numbers: list[int]) -> None:
    """See whether failed verbs have come true since."""
    if unsure := world.unsure.intersection(numbers):
        host = world.host()
        world.known.update({number: effect(number, host) for number in unsure})
        world.unsure.difference_update(unsure)


def alone(name: str, numbers: Sequence[int]) -> list[BaseException | None]:
    (number,) = numbers
    try:
        getattr(os_vif, name)(vif_of(number), vifs.instance(number))
    except BaseException as error:
        return [error]
    return [None]


def together(name: str, numbers: Sequence[int]) -> list[BaseException | None]:
    pairs = [(vif_of(number), vifs.instance(number)) for number in numbers]
    try:
        return [result.error for result in getattr(os_vif, f"{name}_all")(pairs)]
    except BaseException as error:
        return [error] * len(numbers)


def judge(
    world: World,
    name: str,
    number: int,
    error: BaseException | None,
    host: Facts,
    whole: bool,
) -> None:
    """Judge one verb of a VIF that nobody has touched since.

    :param whole: the database has not been lost since the verb began.
    """
    wanted, before, now = name == "plug", world.known[number], effect(number, host)
    world.known[number] = now
    world.counts["verbs"] += 1
    world.counts["re-plugs"] += wanted and before is True
    if error is None:
        world.counts["succeeded"] += 1
        if wanted and not whole:
            world.counts["not judged: the database was lost"] += 1
        elif now is not wanted:
            see = what_is_missing if wanted else what_is_left
            world.wrongs.append(f"{name} of {number} is a lie: {sorted(see(number, host))}")
        return
    if not isinstance(error, ExceptionBase):
        world.wrongs.append(f"{name} of {number} raised {error!r}")
    cause = error.__cause__ or error
    world.causes[f"{name}: {type(cause).__name__}"] += 1
    if now is wanted and before is not wanted:
        world.counts[f"raised, and {name} took effect all the same"] += 1
    elif now is not wanted:
        world.unsure.add(number)
    if wanted and before is False and now is not False:
        left = f"half a {name} is left after {type(cause).__name__}"
        world.counts[left] += 1
        if whole and not isinstance(cause, errors.OutcomeUnknown):
            world.wrongs.append(
                f"{name} of {number}: {left}: {sorted(what_is_left(number, host))}"
            )


# The faults -------------------------------------------------------------------------------------


Fault = Callable[[World, float], None]
Moment = Callable[[World, Callable[[], object]], None]


def at_once(world: World, act: Callable[[], object]) -> None:
    act()


def in_a_verb(world: World, act: Callable[[], object]) -> None:
    """Do something right before a verb sends its transaction, the next time that one does."""
    done, once = threading.Event(), threading.Lock()

    def do() -> None:
        if once.acquire(blocking=False):
            act()
            done.set()

    world.before_commit = do
    if not done.wait(5) and once.acquire(blocking=False):
        act()
    elif not done.wait(5):
        raise TimeoutError("a fault took too long")
    world.before_commit = lambda: None


def freezing(which: Daemon, at: Moment = at_once, *, beyond: bool = False) -> Fault:
    """Return what freezes a daemon for a while.

    :param beyond: half of the times for longer than a verb has; then its outcome is unknown.
    """

    def fault(world: World, seconds: float) -> None:
        at(world, lambda: world.ovs.freeze(which))
        time.sleep(TIMEOUT + GRACE if beyond and seconds >= 0.5 else seconds)
        world.ovs.thaw(which)

    return fault


def restarting(which: Daemon, at: Moment = at_once) -> Fault:
    """Return what kills a daemon and starts it again after a while."""

    def fault(world: World, seconds: float) -> None:
        at(world, lambda: world.ovs.kill(which))
        time.sleep(seconds / 2)
        ovs = world.ovs
        (ovs.start_server if which == "ovsdb-server" else ovs.start_vswitchd)()

    return fault


def restart_server_under_frozen_vswitchd(world: World, seconds: float) -> None:
    world.ovs.freeze("vswitchd")
    restarting("ovsdb-server")(world, seconds)
    world.ovs.thaw("vswitchd")


def lose_database(world: World, _: float) -> None:
    world.losses += 1
    try:
        world.ovs.lose_database()
    finally:
        world.losses += 1


def change_settings(world: World, _: float) -> None:
    """A VIF keeps the shape that it has."""
    value = not getattr(cfg.CONF, GROUP).per_port_bridge
    world.osvif.configure(per_port_bridge=value)


def change_order(world: World, _: float) -> None:
    """As if many ports came to the host, or went: rows before devices, or after them."""
    rows_first.PORTS_PER_LINK = 0 if rows_first.PORTS_PER_LINK else MANY


#: Each with its weight.
FAULTS: dict[str, tuple[int, Fault]] = {
    "ovsdb-server freezes": (2, freezing("ovsdb-server")),
    "ovsdb-server freezes in a verb": (4, freezing("ovsdb-server", in_a_verb, beyond=True)),
    "ovs-vswitchd freezes": (2, freezing("vswitchd")),
    "ovs-vswitchd freezes in a verb": (2, freezing("vswitchd", in_a_verb)),
    "ovsdb-server starts again": (2, restarting("ovsdb-server")),
    "ovsdb-server dies in a verb": (2, restarting("ovsdb-server", in_a_verb)),
    "ovs-vswitchd starts again": (2, restarting("vswitchd")),
    "both": (1, restart_server_under_frozen_vswitchd),
    "the database is lost": (2, lose_database),
    "other settings": (2, change_settings),
    "another order": (3, change_order),
}


def fail_at_random(world: World, choose: random.Random) -> None:
    """Let something fail again and again; each kind of fault comes at least once."""
    first = list(FAULTS)
    choose.shuffle(first)
    until = time.monotonic() + SECONDS
    while first or time.monotonic() < until or world.verbs < VERBS:
        time.sleep(choose.uniform(0.05, 0.5))
        weights = [weight for weight, _ in FAULTS.values()]
        name = first.pop() if first else choose.choices([*FAULTS], weights)[0]
        # Most faults are over within a verb's deadline, some are not.
        seconds = TIMEOUT + 1.5 if choose.random() < 0.2 else choose.uniform(0.05, 1.0)
        world.counts[name] += 1
        FAULTS[name][1](world, seconds)


# The test ---------------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_verbs_tell_the_truth_in_time_while_daemons_fail(
    ovs: PrivateOvs, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"\nOS_VIF_FAULTS_SEED={SEED}")
    threads = set(threading.enumerate())
    before = settled(ovs)
    choose = random.Random(SEED)
    with initialized(ovs.remote, TIMEOUT) as osvif:
        world = World(ovs, osvif)
        commit = connection.Connection.commit

        def commit_after_a_fault(*arguments: Any) -> int | None:
            world.before_commit()
            return commit(*arguments)

        monkeypatch.setattr(connection.Connection, "commit", commit_after_a_fault)
        monkeypatch.setattr(rows_first, "PORTS_PER_LINK", MANY)  # and back at the end
        with ThreadPoolExecutor(THREADS) as pool:
            callers = [
                pool.submit(call_until_ended, world, random.Random(SEED + 1 + number))
                for number in range(THREADS)
            ]
            try:
                fail_at_random(world, choose)
            finally:
                world.ended = True
            for caller in callers:
                caller.result(60)
        tell(world)
        finish(world)
    assert world.wrongs == []
    assert world.counts["succeeded"] >= world.verbs / 2
    ovs.vsctl("--if-exists", "del-br", vifs.BRIDGE)
    assert not difference(before, settled(ovs))
    assert set(threading.enumerate()) == threads


def tell(world: World) -> None:
    """Print what was seen."""
    took, slowest = world.slowest
    for name, count in [*sorted(world.counts.items()), *sorted(world.causes.items())]:
        print(f"{count:5} {name}")
    print(f"slowest: {took - TIMEOUT:+.2f} s of the deadline ({slowest})")
    for wrong in world.wrongs:
        print(f"WRONG: {wrong}")


def finish(world: World) -> None:
    """With all daemons well again, each VIF is re-plugged or unplugged, then all are unplugged."""
    world.ovs.catch_up()
    for number in NUMBERS:
        name = "plug" if number % 2 else "unplug"
        (failure,) = alone(name, [number])
        assert failure is None
        host = world.host()
        see = what_is_missing if number % 2 else what_is_left
        assert sorted(see(number, host)) == [], f"{name} of {number}"
    assert together("unplug", NUMBERS) == [None] * len(NUMBERS)


def settled(ovs: PrivateOvs) -> Facts:
    """The host once vswitchd has caught up."""
    ovs.catch_up()
    wait_until(lambda: "ovs-netdev" not in links(), what="vswitchd to close its datapath")
    facts = snapshot(ovs)
    # vswitchd's own: the device of a bridge that was taken away while it was dead. In user space
    # it is a persistent tap, which the next vswitchd knows nothing of.
    for number in NUMBERS:
        facts["links"].pop(own_bridge(number), None)
    return facts
