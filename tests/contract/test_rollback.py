# SPDX-License-Identifier: Apache-2.0
"""What a verb that fails or is interrupted leaves behind: nothing.

Most of it on a host in memory, whose daemons fail at the very call that a test chooses; the
interruptions on a real one, too.
"""

import errno
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from os_vif.wiring import engine, errors, rows_first
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import OvsPort, Representor, Tap, VethPair
from os_vif.wiring.engine import Engine
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.plan import differences, to_apply
from os_vif.wiring.state import Port
from os_vif.wiring.steps import CreateBridge, CreatePort, DeleteLink, RemovePort, RowStep, SetLink
from tests import fakes
from tests.contract.test_engine import (
    BATCH,
    BRIDGE,
    DRIVERS,
    IDS,
    LINUX_BRIDGE,
    MARK,
    TAP,
    WIRINGS,
)
from tests.contract.worlds import (
    LONG,
    SHORT,
    Between,
    FakeWorld,
    RealWorld,
    Seeing,
    World,
    apply,
    apply_all,
    found,
)

ORDERS = {"links-first": rows_first.PORTS_PER_LINK, "rows-first": 0}


@pytest.fixture(params=["fake", "native"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A host with the bridge that the wirings need."""
    if request.param == "fake":
        fake = FakeWorld()
        fake.add_bridge(BRIDGE.name)
        yield fake
        return
    request.getfixturevalue("unhurried")
    real = RealWorld(request.getfixturevalue("ovs"), DRIVERS[request.param])
    real.add_bridge(BRIDGE.name)
    yield real
    real.close()


def calm(world: World) -> object:
    """All that is configured once ovs-vswitchd has caught up, which a rollback does not await."""
    if isinstance(world, RealWorld):
        world._ovs.catch_up()
    return world.everything()


@pytest.fixture
def fake() -> FakeWorld:
    world = FakeWorld()
    world.add_bridge(BRIDGE.name)
    return world


def with_representor(fake: FakeWorld) -> Wiring:
    """Plug a representor, and return its wiring."""
    fake.links.links["eth5"] = fakes.new_link("eth5", "", up=True)
    wiring = Wiring((Representor("eth5", None), BRIDGE, OvsPort("eth5", BRIDGE.name, MARK)))
    apply(fake, wiring)
    return wiring


# Interruptions -----------------------------------------------------------------------------------


class Killed(BaseException):
    """As GreenletExit and the timeouts of eventlet are."""


class Interruption:
    """Interrupts one of the calls of both backends."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self._left, self._error = at, error

    def __call__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._left -= 1
        if self._left == 0:
            raise self._error


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wiring", WIRINGS.values(), ids=WIRINGS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Killed])
def test_an_interruption_at_any_call_leaves_nothing(
    error: type[BaseException],
    after: bool,
    wiring: Wiring,
    order: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows_first, "PORTS_PER_LINK", ORDERS[order])
    before = world.everything()
    interrupted = 0
    while True:
        act = Interruption(interrupted + 1, error)
        links = Between(world.links, act, after=after)
        rows = Between(world.rows, act, after=after)
        try:
            Engine(links, rows).apply(wiring, Deadline(LONG))
        except error:
            interrupted += 1
            assert calm(world) == before, f"call {interrupted}"
        else:
            break
    assert interrupted >= 4
    assert differences(wiring, found(world, wiring)) == ()


@pytest.mark.parametrize("call", ["execute", "commit"])
def test_an_interruption_leaves_what_others_made_under_these_names(
    call: str, fake: FakeWorld
) -> None:
    """libvirt's tap and Neutron's port came in between, and bear no mark of ours."""
    libvirts = fakes.new_link(TAP.name, "tun", up=True)

    def others(name: str, arguments: tuple[Any, ...]) -> None:
        if name == call and TAP.name not in fake.rows.ports:
            fake.add_port(BRIDGE.name, TAP.name, {"theirs": "kept"})
            if call == "execute":
                fake.links.links[TAP.name] = libvirts
            raise KeyboardInterrupt

    links, rows = Between(fake.links, others), Between(fake.rows, others)
    with pytest.raises(KeyboardInterrupt):
        Engine(links, rows).apply(WIRINGS["tap"], Deadline(LONG))
    assert fake.links.links == ({TAP.name: libvirts} if call == "execute" else {})
    assert fake.rows.ports[TAP.name].interface_ids == {"theirs": "kept"}


def test_an_interruption_leaves_the_other_vifs_of_a_batch_as_they_are(fake: FakeWorld) -> None:
    """It is all of a batch that is interrupted; what was there before stays."""
    apply(fake, BATCH[0])
    before = fake.everything()
    rows = Between(fake.rows, Interruption(2, Killed), after=True)  # the commit
    with pytest.raises(Killed):
        Engine(fake.links, rows).apply_all(BATCH, Deadline(LONG))
    assert fake.everything() == before


# What became of a commit is not known ------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["new-rows", "replacement"])
def test_a_silent_server_that_speaks_again_in_time_leaves_nothing(
    what: str,
    when: str,
    fake: FakeWorld,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the row of another VIF was replaced is seen, and not taken for granted."""
    monkeypatch.setattr(engine, "ATTEMPTS", 1)  # else it would look again, and succeed
    wiring = WIRINGS["hybrid"]
    if what == "replacement":
        mark, theirs = {Mark.KEY: "ovs:openvswitch:tap1"}, {"iface-id": "theirs"}
        ids = {**theirs, **mark}
        fake.rows.add(Port("tap1", BRIDGE.name, mark, interface_ids=ids, error="no device"))
        ours = {"iface-id": "ours"}
        port = OvsPort("tap1", BRIDGE.name, Mark.read(mark), external_ids=ours, identified_by=ours)
        wiring = Wiring((BRIDGE, port))
    before = fake.everything()
    fake.rows.silent = when

    def speak(name: str, arguments: tuple[Any, ...]) -> None:
        if fake.rows.silent and fake.rows.down:
            fake.rows.silent, fake.rows.down = "", False

    with pytest.raises(errors.OutcomeUnknown):
        Engine(fake.links, Between(fake.rows, speak)).apply(wiring, Deadline(LONG))
    assert fake.everything() == before
    assert "could not be rolled back" not in caplog.text


# A rollback that meets with difficulties ---------------------------------------------------------


def with_others_after_our_commit(
    fake: FakeWorld, act: Callable[[], object], count: int = 1
) -> Between:
    """A database in which others act just before the commits that follow the first."""
    commits = 0

    def others(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal commits
        if name == "commit":
            commits += 1
            if 1 < commits <= 1 + count:
                act()

    return Between(fake.rows, others)


@pytest.mark.parametrize(
    ("problem", "times"),
    [
        (errors.StateChanged(what="a row that the transaction builds on"), engine.ATTEMPTS - 1),
        (errors.OutcomeUnknown(remote="memory"), 2),
    ],
    ids=["somebody-was-faster", "the-answer-was-lost"],
)
def test_a_rollback_looks_again(problem: Exception, times: int, fake: FakeWorld) -> None:
    before = fake.everything()

    def fail() -> None:
        raise problem

    rows = with_others_after_our_commit(fake, fail, times)
    with fake.stuck(), pytest.raises(errors.DeadlineExceeded):
        Engine(fake.links, rows).apply(WIRINGS["tap"], Deadline(SHORT))
    assert fake.everything() == before


@pytest.mark.parametrize("problem", [errors.TransactionRefused(reason="no"), ValueError("no")])
def test_a_rollback_that_fails_does_not_hide_why_it_was_needed(
    problem: Exception, fake: FakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise problem

    rows = with_others_after_our_commit(fake, fail, count=9)
    with fake.stuck(), pytest.raises(errors.NotRolledBack, match="Not done after") as failure:
        Engine(fake.links, rows).apply(WIRINGS["tap"], Deadline(SHORT))
    assert f"could not be rolled back ({problem})" in str(failure.value)
    assert f"could not be rolled back: {problem}" in caplog.text
    assert TAP.name not in fake.links.links  # of the links it went on


def test_an_error_says_when_the_server_falls_silent_before_the_rollback(fake: FakeWorld) -> None:
    """The port stays, so it must not read as if nothing had been done."""

    def fall_silent(name: str, arguments: tuple[Any, ...]) -> None:
        fake.rows.down = name == "wait_for_vswitchd"

    rows = Between(fake.rows, fall_silent, after=True)
    with fake.stuck(), pytest.raises(errors.OutcomeUnknown, match="Not done after"):
        Engine(fake.links, rows).apply(WIRINGS["tap"], Deadline(SHORT))
    assert TAP.name in fake.rows.ports
    assert TAP.name not in fake.links.links


def test_a_row_that_was_not_made_again_is_not_said_to_be(fake: FakeWorld) -> None:
    """A third VIF is faster: it has the port when the one that was replaced would come back."""
    fake.add_bridge(BRIDGE.name)
    fake.add_port(BRIDGE.name, TAP.name, {"iface-id": "former"})

    def replace_it() -> None:
        fake.set_ids(TAP.name, {"iface-id": "third"})
        raise errors.StateChanged(what="a row that the transaction builds on")

    rows = with_others_after_our_commit(fake, replace_it, count=1)
    with fake.stuck(), pytest.raises(errors.DeadlineExceeded):
        Engine(fake.links, rows).apply(WIRINGS["tap"], Deadline(SHORT))
    assert fake.rows.ports[TAP.name].interface_ids["iface-id"] == "third"


def test_a_vif_whose_rollback_is_refused_keeps_no_other_from_its_own(
    fake: FakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    fake.rows.refuse = lambda step: step == RemovePort("tap3", BRIDGE.name)
    with fake.stuck():
        failures = Engine(fake.links, fake.rows).apply_all(BATCH, Deadline(SHORT))
    kinds = [type(failure) for failure in failures]
    assert kinds.count(errors.NotRolledBack) == 1
    assert set(kinds) == {errors.DeadlineExceeded, errors.NotRolledBack}
    assert set(fake.rows.ports) == {BRIDGE.name, "tap3"}
    assert not fake.links.links
    assert "could not be rolled back" in caplog.text


def test_a_link_whose_rollback_fails_keeps_no_other_from_its_own(fake: FakeWorld) -> None:
    fake.links.refuse = lambda step: step == DeleteLink(LINUX_BRIDGE.name, "bridge", if_empty=True)
    no_bridge = VethPair("qvb9", "qvo9", "no-such-bridge", 1450, MARK)
    with pytest.raises(errors.NotRolledBack, match="no-such-bridge"):
        apply(fake, Wiring((TAP, LINUX_BRIDGE, no_bridge)))
    assert set(fake.links.links) == {LINUX_BRIDGE.name}


@pytest.mark.parametrize("delay", [2, 15], ids="{}s".format)
def test_a_bridge_that_had_stp_has_it_again(delay: int, world: World) -> None:
    """It is switched off for the forward delay's sake, and that is 0 when it goes on again."""
    apply(world, Wiring((LINUX_BRIDGE,)))
    theirs = SetLink(LINUX_BRIDGE.name, {"stp": True, "forward_delay": delay})
    assert world.links.execute([[theirs]], Deadline(LONG)) == [None]
    no_bridge = VethPair("qvb9", "qvo9", "no-such-bridge", 1450, MARK)
    wiring = Wiring((LINUX_BRIDGE, no_bridge))
    before = found(world, wiring)
    assert before.links[LINUX_BRIDGE.name].attributes["stp"] is True
    with pytest.raises(errors.LinkFailed):
        apply(world, wiring)
    assert found(world, wiring) == before


def test_a_new_bridge_goes_after_the_ports_of_all_who_failed() -> None:
    """Of the first of them too, although its plan has the bridge."""
    fake = FakeWorld()
    only_port = Wiring(tuple(e for e in BATCH[1].elements if not isinstance(e, type(BRIDGE))))
    with fake.stuck():
        failures = Engine(fake.links, fake.rows).apply_all([BATCH[0], only_port], Deadline(SHORT))
    assert {type(failure) for failure in failures} == {errors.DeadlineExceeded}
    assert not fake.rows.bridges


@pytest.mark.parametrize("when", ["wait_for_vswitchd", "commit"])
@pytest.mark.parametrize(
    ("theirs", "left"),
    [
        ({"vm-uuid": "the agent's"}, {"attached-mac": "old", "vm-uuid": "the agent's"}),
        ({"iface-id": "another"}, {"attached-mac": IDS["attached-mac"], "vm-uuid": "ours"}),
    ],
    ids=["an id", "the port"],
)
def test_what_somebody_else_has_changed_since_is_not_rolled_back(
    theirs: dict[str, str], left: dict[str, str], when: str, fake: FakeWorld
) -> None:
    """Of a port that is another VIF's by then: nothing."""
    iface_id = {"iface-id": IDS["iface-id"]}
    fake.add_port(BRIDGE.name, TAP.name, {**iface_id, "attached-mac": "old", "vm-uuid": "old"})
    calls = 0

    def agent(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal calls
        calls += name == when
        if name == when and calls == {"wait_for_vswitchd": 1, "commit": 2}[when]:
            fake.set_ids(TAP.name, theirs)

    ids = {**IDS, "vm-uuid": "ours"}
    port = OvsPort(TAP.name, BRIDGE.name, MARK, external_ids=ids, identified_by=IDS)
    wiring = Wiring((TAP, BRIDGE, port))
    with fake.stuck(), pytest.raises(errors.DeadlineExceeded):
        Engine(fake.links, Between(fake.rows, agent)).apply(wiring, Deadline(SHORT))
    assert fake.rows.ports[TAP.name].interface_ids == {**iface_id, **left, **theirs}


# Time --------------------------------------------------------------------------------------------


class Times:
    """The seconds that each call of a backend was given."""

    def __init__(self) -> None:
        self.left: list[tuple[str, float]] = []

    def __call__(self, name: str, arguments: tuple[Any, ...]) -> None:
        for each in arguments:
            if isinstance(each, Deadline):
                self.left.append((name, each.remaining() or 0))


class Expired(Deadline):
    """A deadline that has come, and still grants what is asked of it beyond that."""

    def __init__(self) -> None:
        super().__init__(1e-9)


def test_a_rollback_has_its_own_time_and_no_more(fake: FakeWorld) -> None:
    times = Times()
    links, rows = Between(fake.links, times), Between(fake.rows, times)
    with fake.stuck(), pytest.raises(errors.DeadlineExceeded):
        Engine(links, rows).apply(WIRINGS["tap"], Expired())
    late = times.left[[name for name, _ in times.left].index("wait_for_vswitchd") + 1 :]
    assert [name for name, _ in late] == ["observe", "commit", "execute"]
    for name, left in late:
        assert 0.4 < left <= 0.5, name


def test_a_device_that_stays_is_set_down_even_past_the_deadline(fake: FakeWorld) -> None:
    """ovs-vswitchd may have taken all of the time, and writes the flags back as it lets go."""
    wiring, times = with_representor(fake), Times()
    with fake.stuck():
        Engine(Between(fake.links, times), fake.rows).remove(wiring, Expired())
    assert fake.links.links["eth5"].attributes["up"] is False
    [(_, left)] = times.left
    assert 0.4 < left <= 0.5


def test_the_time_that_is_reported_is_the_time_that_was_waited(fake: FakeWorld) -> None:
    """A caller who does not wait, as others have waited for long, says so and names no minute."""
    with fake.stuck(), pytest.raises(errors.DeadlineExceeded, match=r"after 0(\.\d)? s.*other"):
        apply(fake, WIRINGS["tap"], 60)


# Batches -----------------------------------------------------------------------------------------


def bad_owner(owner: str) -> Wiring:
    mark = Mark("ovs", "test", owner)
    return Wiring((Tap("tapbad", None, None, mark), BRIDGE, OvsPort("tapbad", BRIDGE.name, mark)))


def test_a_step_that_the_daemon_does_not_take_fails_its_own_vif_alone(world: World) -> None:
    """All steps of a privileged call are checked before the first is taken."""
    failures = Engine(world.links, world.rows).apply_all(
        [BATCH[0], bad_owner("x" * 300), BATCH[1]], Deadline(LONG)
    )
    assert [type(failure).__name__ for failure in failures] == [
        "NoneType",
        "InvalidValue",
        "NoneType",
    ]
    for wiring in BATCH[:2]:
        assert differences(wiring, found(world, wiring)) == ()


@pytest.mark.parametrize("error", [OSError("no room"), ValueError("no sense")])
@pytest.mark.parametrize(
    "call", ["execute", "commit", "wait_for_vswitchd", "device_states", "observe"]
)
def test_an_error_that_nobody_foresaw_is_the_failure_of_each_and_is_rolled_back(
    call: str, error: Exception, fake: FakeWorld
) -> None:
    before = fake.everything()
    armed = True

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal armed
        if armed and name == call:
            armed = call == "commit" and len(fake.rows.ports) == 1
            raise error

    links, rows = Between(fake.links, fail), Between(fake.rows, fail)
    failures = Engine(links, rows).apply_all(BATCH[:2], Deadline(LONG))
    assert {str(failure) for failure in failures} == {str(error)}
    armed = False
    assert fake.everything() == before


def test_a_look_that_fails_does_not_end_a_rollback(fake: FakeWorld) -> None:
    """Whether another process has plugged the VIF meanwhile is then not known."""
    [theirs] = [e for e in BATCH[0].elements if isinstance(e, OvsPort)]
    looks = Failing("observe", after="commit")

    def act(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "commit" and not looks.armed:
            fake.add_port(BRIDGE.name, theirs.name, {"iface-id": "another"})

    rows = Between(Between(fake.rows, looks), act)
    fake.add_bridge(BRIDGE.name)
    failures = Engine(Between(fake.links, looks), rows).apply_all(BATCH[:1], Deadline(LONG))
    assert looks.failed
    assert failures == [None]


def test_a_look_that_fails_does_not_fail_a_removal(fake: FakeWorld) -> None:
    """It is for a device that another process may have plugged again."""
    wiring = with_representor(fake)
    looks = Failing("observe", after="commit")
    links, rows = Between(fake.links, looks), Between(fake.rows, looks)
    Engine(links, rows).remove(wiring, Deadline(LONG))
    assert looks.failed
    assert fake.links.links["eth5"].attributes["up"] is False


class Failing:
    """Of the calls of one method of the links the first after another call fails."""

    def __init__(self, method: str, after: str) -> None:
        self._method, self._after = method, after
        self.armed = self.failed = False

    def __call__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.armed = self.armed or name == self._after
        of_links = len(arguments) != 3  # those of rows end with the deadline
        if self.armed and not self.failed and name == self._method and of_links:
            self.failed = True
            raise OSError(errno.ENOBUFS, "no memory")


class OneByOne:
    """A server that takes the rows of one VIF at a time, and an ovs-vswitchd that stops."""

    def __init__(self, rows: Any, stops_after: int) -> None:
        self._rows, self._stops_after = rows, stops_after
        self.written: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def commit(self, steps: list[RowStep], deadline: Deadline) -> int | None:
        if sum(isinstance(step, CreatePort | CreateBridge) for step in steps) > 1:
            raise errors.TransactionRefused(reason="one at a time")
        cfg: int | None = self._rows.commit(steps, deadline)
        self.written.append(cfg or 0)
        return cfg

    def wait_for_vswitchd(self, cfg: int, deadline: Deadline) -> bool:
        return cfg in self.written[: self._stops_after]


def test_each_of_several_commits_is_waited_for(fake: FakeWorld) -> None:
    rows = OneByOne(fake.rows, stops_after=1)
    failures = Engine(fake.links, rows).apply_all(BATCH[:3], Deadline(LONG))
    expected = [type(None), errors.DeadlineExceeded, errors.DeadlineExceeded]
    assert [type(failure) for failure in failures] == expected
    assert set(fake.rows.ports) == {BRIDGE.name, "tap1"}


# Devices that others make and take away ----------------------------------------------------------


@pytest.mark.parametrize("times", [1, engine.ATTEMPTS - 1, engine.ATTEMPTS])
def test_a_link_that_goes_as_it_is_set_is_looked_for_again(times: int, fake: FakeWorld) -> None:
    """libvirt takes its tap away when a guest ends: that is no failure, unless it goes on."""
    name = "tapguest"
    guests = fakes.new_link(name, "", mtu=1400)
    fake.links.links[name] = guests

    def go(called: str, arguments: tuple[Any, ...]) -> None:
        nonlocal times
        if called == "execute" and isinstance(arguments[0][0][0], SetLink):
            if times:
                times -= 1
                fake.links.links.pop(name, None)
        elif called == "observe":
            fake.links.links[name] = guests

    wiring = Wiring((Representor(name, 1450),))
    verb = Engine(Between(fake.links, go), fake.rows).apply
    if times < engine.ATTEMPTS:
        verb(wiring, Deadline(LONG))
        assert fake.links.links[name].attributes["mtu"] == 1450
    else:
        with pytest.raises(errors.LinkFailed, match=f"no device {name}"):
            verb(wiring, Deadline(LONG))


@pytest.mark.parametrize("notices", [False, True], ids=["never", "a-little-later"])
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside-one-that-commits"])
def test_the_device_that_works_must_be_the_one_that_is_there(
    others: int, notices: bool, fake: FakeWorld
) -> None:
    """And not one that had the name before; whether another VIF of the batch has written rows."""
    device = BATCH[0].elements[0].name  # type: ignore[union-attr]
    apply(fake, BATCH[0])
    fake.delete_link(device)
    state = replace(fake.rows.ports[device], ofport=-1, error="No such device")
    fake.rows.ports[device] = state
    stale = {device}

    def look(seen: dict[str, Port], wait: bool) -> dict[str, Port]:
        if wait and notices:
            stale.clear()
        return seen | {name: replace(seen[name], ifindex=7) for name in stale & seen.keys()}

    rows = Seeing(fake.rows, look)
    failures = Engine(fake.links, rows).apply_all(BATCH[: 1 + others], Deadline(SHORT))
    assert failures[1:] == [None] * others
    if notices:
        assert failures[0] is None
    else:
        assert isinstance(failures[0], errors.NotAsDescribed)
        assert "ifindex should be" in str(failures[0])


def lose_device(fake: FakeWorld) -> None:
    """Have a tap plugged whose device goes, and which ovs-vswitchd does not open again."""
    apply(fake, WIRINGS["tap"])
    fake.delete_link(TAP.name)
    fake.rows.ports[TAP.name] = replace(fake.rows.ports[TAP.name], ofport=None)
    fake.rows.mute = {TAP.name}


@pytest.mark.parametrize(
    "then", [errors.DeadlineExceeded, errors.NotConnected, errors.NotAsDescribed]
)
def test_of_a_device_that_vswitchd_was_to_look_at_again_is_said_only_what_is_known(
    then: type[Exception], fake: FakeWorld
) -> None:
    """Why it was not opened is in the log of ovs-vswitchd only if that has looked."""
    lose_device(fake)

    def count_up(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "count_up":
            fake.rows.stuck = then is errors.DeadlineExceeded
            fake.rows.down = then is errors.NotConnected

    with pytest.raises(then) as failure:
        apply(fake, WIRINGS["tap"], SHORT, Between(fake.rows, count_up))
    assert ("its log says why" in str(failure.value)) is (then is errors.NotAsDescribed)


def test_a_deadline_that_comes_before_vswitchd_is_asked_to_look_again_is_what_is_said(
    fake: FakeWorld,
) -> None:
    """Not that the server did not answer: it had no time to."""
    deadline = Deadline(SHORT)
    lose_device(fake)

    def pass_time(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "device_states":
            deadline.at = 0
        if name == "count_up" and deadline.expired:  # what the real ones do then
            raise errors.OutcomeUnknown(remote="memory")

    with pytest.raises(errors.DeadlineExceeded, match="has not looked again"):
        Engine(fake.links, Between(fake.rows, pass_time)).apply(WIRINGS["tap"], deadline)


def test_a_rollback_does_not_make_again_what_another_vif_of_the_batch_has_removed(
    world: World,
) -> None:
    """Two representors have swapped their names; one of the two VIFs cannot be plugged."""
    for i, name in enumerate(("eth0", "eth1")):
        world.add_interface(name, f"192.0.2.{i}/24")

    def wiring(vif: str, device: str, former: str) -> Wiring:
        mark, ids = Mark("ovs", "test", vif), {"iface-id": vif}
        now, before = (
            OvsPort(name, BRIDGE.name, mark, external_ids=ids, identified_by=ids)
            for name in (device, former)
        )
        return Wiring((Representor(device, 1400), BRIDGE, now), alternatives=(Wiring((before,)),))

    apply_all(world, [wiring("1", "eth0", "eth1"), wiring("2", "eth1", "eth0")])
    swapped = [wiring("1", "eth1", "eth0"), wiring("2", "eth0", "eth1")]

    def cannot_open(seen: dict[str, Port], wait: bool) -> dict[str, Port]:
        return seen | {"eth1": replace(seen["eth1"], error="no")} if "eth1" in seen else seen

    rows = Seeing(world.rows, cannot_open)
    failed, fine = Engine(world.links, rows).apply_all(swapped, Deadline(LONG))
    assert failed is not None
    assert fine is None
    ports = found(world, swapped[1]).ports
    theirs = [name for name, port in ports.items() if port.interface_ids.get("iface-id") == "2"]
    assert theirs == ["eth0"]


# Ports that ovs-vswitchd has not looked at -------------------------------------------------------


def written_by_another(world: World, wiring: Wiring) -> None:
    """Another process has made it, and ovs-vswitchd does not know yet."""
    state = found(world, wiring)
    made = to_apply(wiring, state)
    assert world.links.execute([list(made.links)], Deadline(LONG)) == [None]
    assert world.rows.commit(made.rows, Deadline(LONG))


@pytest.mark.parametrize("which", ["tap", "hybrid"])
def test_a_port_that_vswitchd_has_not_looked_at_is_waited_for(which: str, world: World) -> None:
    wiring = WIRINGS[which]
    with world.stuck():
        written_by_another(world, wiring)
        written = world.transactions
        with pytest.raises(errors.DeadlineExceeded, match="ovs-vswitchd"):
            apply(world, wiring, SHORT)
        assert differences(wiring, found(world, wiring)) == ()  # it is the other's to roll back
    apply(world, wiring, LONG)
    assert all(port.works for port in found(world, wiring).ports.values())
    assert world.transactions == written


def test_a_port_that_vswitchd_never_opens_is_a_warning_for_whom_it_was_there(
    fake: FakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """It has caught up, and there is no OpenFlow port."""
    fake.rows.mute = {TAP.name}
    with pytest.raises(errors.NotAsDescribed, match="ofport"):
        apply(fake, WIRINGS["tap"], SHORT)
    fake.rows.mute = set()
    apply(fake, WIRINGS["tap"])
    fake.rows.ports[TAP.name] = replace(fake.rows.ports[TAP.name], ofport=None)
    fake.rows.mute = {TAP.name}
    written = fake.transactions, fake.privileged_calls
    with caplog.at_level(logging.WARNING):
        apply(fake, WIRINGS["tap"], SHORT)
    assert (fake.transactions, fake.privileged_calls) == written
    assert f"{TAP.name}: ofport" in caplog.text


def test_a_port_that_goes_while_it_is_waited_for_is_made_again(fake: FakeWorld) -> None:
    """Whoever had made it has rolled it back."""
    wiring = WIRINGS["tap"]
    fake.rows.stuck = True
    written_by_another(fake, wiring)

    def roll_back(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "wait_for_vswitchd" and fake.rows.stuck:
            fake.rows.stuck = False
            del fake.rows.ports[TAP.name], fake.links.links[TAP.name]
            fake.rows.next_cfg += 1
            fake.rows._reconfigure()

    Engine(fake.links, Between(fake.rows, roll_back)).apply(wiring, Deadline(LONG))
    assert differences(wiring, found(fake, wiring)) == ()
