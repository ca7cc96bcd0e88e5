# SPDX-License-Identifier: Apache-2.0
"""plug_all and unplug_all on the real kernel and the real Open vSwitch."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
from os_vif import exception
from os_vif.wiring import errors
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    BRIDGE_ONLY,
    GROUP,
    HYBRID,
    KINDS,
    PER_PORT_KINDS,
    PORT_ONLY,
    TAP,
    Kind,
    OsVif,
    deviations,
    of,
)
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import within
from vif_plug_ovs.ovs import CHUNK

MANY = 100
CHUNKS = math.ceil(MANY / CHUNK)
SHORT, GRACE = 2, 1  # seconds: a deadline to be waited out, and how much later a chunk may end
SHAPES = {"shared-bridge": KINDS, "per-port-bridges": (*PER_PORT_KINDS, HYBRID)}

Pairs = list[tuple[Any, Any]]
Verb = Callable[[Pairs], list[os_vif.Result]]


def numbered(kinds: Sequence[Kind], count: int = MANY, first: int = 1) -> list[tuple[Kind, int]]:
    return [(kinds[n % len(kinds)], n) for n in range(first, first + count)]


def pairs(which: Sequence[tuple[Kind, int]]) -> Pairs:
    return [(kind.vif(number), vifs.instance(number)) for kind, number in which]


def failures(results: Sequence[os_vif.Result]) -> dict[int, BaseException]:
    """Which of the results are errors, and their causes."""
    found = {}
    for index, result in enumerate(results):
        if result.error is not None:
            assert isinstance(result.error, exception.ExceptionBase)
            assert result.error.__cause__ is not None
            found[index] = result.error.__cause__
    return found


def missing_links(which: Sequence[tuple[Kind, int]]) -> list[str]:
    """Names of links that are not there, or not as they must be."""
    there = links()
    return [
        name
        for kind, number in which
        for name, wanted in kind.links(number).items()
        if name not in there or any(there[name][key] != wanted[key] for key in wanted)
    ]


def missing_rows(ovs: PrivateOvs, which: Sequence[tuple[Kind, int]]) -> list[str]:
    """Names of interfaces that are not there, or do not have the ids that they must have."""
    there = ovs.dump()["Interface"]
    return [
        name
        for kind, number in which
        for name, wanted in kind.rows(number)["Interface"].items()
        if name not in there or there[name]["external_ids"] != wanted["external_ids"]
    ]


def cost_of(ovs: PrivateOvs, osvif: OsVif, verb: Verb, given: Pairs) -> tuple[int, int]:
    """How many transactions and privileged calls a verb takes that succeeds for all."""
    before = ovs.next_cfg(), len(osvif.privileged_calls)
    assert failures(verb(given)) == {}
    return ovs.next_cfg() - before[0], len(osvif.privileged_calls) - before[1]


@pytest.fixture(params=["native", "vsctl"])
def many(request: pytest.FixtureRequest, osvif_dummy: OsVif) -> Iterator[OsVif]:
    """os_vif with time for many VIFs, and each way to OVSDB."""
    osvif_dummy.configure(ovs_vsctl_timeout=30, ovsdb_interface=request.param)
    yield osvif_dummy
    for name in ("ovsdb_interface", "per_port_bridge"):
        cfg.CONF.clear_override(name, group=GROUP)


@pytest.mark.parametrize("shape", SHAPES)
def test_many_vifs_are_plugged_replugged_and_unplugged_at_the_price_of_few(
    shape: str, ovs_dummy: PrivateOvs, many: OsVif
) -> None:
    driver = cfg.CONF[GROUP].ovsdb_interface
    many.configure(per_port_bridge=shape == "per-port-bridges")
    which = numbered(SHAPES[shape])
    # What does not fit into an argument of the program ovsdb-client goes in halves.
    halves = 2 if (driver, shape) == ("vsctl", "per-port-bridges") else 1
    few = [(n + 1, calls + 1) for n in range(CHUNKS * halves) for calls in range(CHUNKS)]
    many.plug(BRIDGE_ONLY.vif(200), 200)
    before = snapshot(ovs_dummy)
    assert cost_of(ovs_dummy, many, os_vif.plug_all, pairs(which)) in few
    assert missing_rows(ovs_dummy, which) == missing_links(which) == []
    plugged = snapshot(ovs_dummy)

    assert cost_of(ovs_dummy, many, os_vif.plug_all, pairs(which)) == (0, 0)
    assert not difference(plugged, snapshot(ovs_dummy))

    assert cost_of(ovs_dummy, many, os_vif.unplug_all, pairs(which)) in few
    assert not difference(before, snapshot(ovs_dummy))

    assert cost_of(ovs_dummy, many, os_vif.unplug_all, pairs(which)) == (0, 0)
    assert not difference(before, snapshot(ovs_dummy))


def test_what_one_by_one_plugged_all_at_once_unplug_and_the_other_way_round(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    which = numbered(KINDS, 10)
    osvif_dummy.plug(BRIDGE_ONLY.vif(200), 200)
    before = snapshot(ovs_dummy)
    os_vif.plug_all(pairs(which))
    together = snapshot(ovs_dummy)
    for kind, number in which:
        osvif_dummy.plug(kind.vif(number), number)
    assert not difference(together, snapshot(ovs_dummy))
    for kind, number in which:
        osvif_dummy.unplug(kind.vif(number), number)
    assert not difference(before, snapshot(ovs_dummy))
    for kind, number in which:
        osvif_dummy.plug(kind.vif(number), number)
    assert failures(os_vif.unplug_all(pairs(which))) == {}
    assert not difference(before, snapshot(ovs_dummy))


# One that fails ---------------------------------------------------------------------------------


def on_another_bridge(ovs: PrivateOvs, verbs: OsVif, number: int) -> None:
    port = TAP.port(number)
    ovs.vsctl("--no-wait", "--may-exist", "add-br", "br-x", "--", "add-port", "br-x", port)


def a_foreign_link(ovs: PrivateOvs, verbs: OsVif, number: int) -> None:
    run(["ip", "link", "add", TAP.port(number), "type", "bridge"])


def a_foreign_link_in_the_last_moment(ovs: PrivateOvs, verbs: OsVif, number: int) -> None:
    act = verbs.before_links

    def do() -> None:
        act()
        if TAP.port(number) not in links():
            a_foreign_link(ovs, verbs, number)

    verbs.before_links = do


@pytest.mark.parametrize(
    "spoil",
    [on_another_bridge, a_foreign_link, a_foreign_link_in_the_last_moment],
    ids=lambda spoil: spoil.__name__,
)
def test_one_that_fails_in_each_chunk_is_rolled_back_alone(
    spoil: Callable[[PrivateOvs, OsVif, int], None], ovs_dummy: PrivateOvs, many: OsVif
) -> None:
    bad = {10, CHUNK + 10}  # indexes
    which = numbered(KINDS)
    which = [(TAP if n in bad else kind, number) for n, (kind, number) in enumerate(which)]
    many.plug(BRIDGE_ONLY.vif(200), 200)
    for index in bad:
        spoil(ovs_dummy, many, which[index][1])
    found = failures(os_vif.plug_all(pairs(which)))
    many.before_links = lambda: None
    assert set(found) == bad
    assert {type(cause) for cause in found.values()} == {errors.Contradiction}
    good = [one for n, one in enumerate(which) if n not in bad]
    assert missing_rows(ovs_dummy, good) == missing_links(good) == []
    assert not set(missing_links([which[n] for n in bad])) - {TAP.port(n + 1) for n in bad}
    on_br_int = set(ovs_dummy.dump()["Bridge"]["br-int"]["ports"])
    assert not on_br_int & {TAP.port(n + 1) for n in bad}


#: What of VIF 2 is wrong, its fields, and those of its instance.
NONSENSE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vif.network": ({"unset": ["network"]}, {}),
    "vif.network.bridge": ({"network": {"bridge": "a/b"}}, {}),
    "vif.id": ({"id": "a\udc80b"}, {}),
    "vif.port_profile.interface_id": ({"profile": {"interface_id": "a" * 300}}, {}),
    "instance_info.uuid": ({}, {"uuid": "a\0b"}),
}


@pytest.mark.filterwarnings("ignore:.*is an invalid UUID:FutureWarning")
@pytest.mark.parametrize("field", NONSENSE)
def test_one_that_makes_no_sense_fails_alone_and_is_named(
    field: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif, caplog: pytest.LogCaptureFixture
) -> None:
    # pytest-xdist sends what is logged between processes, which half a surrogate pair prevents
    caplog.set_level(logging.CRITICAL, "os_vif")
    fields, of_instance = NONSENSE[field]
    bad = TAP.vif(2, **fields), vifs.instance(2, **of_instance)
    given = [*pairs([(TAP, 1)]), bad, *pairs([(HYBRID, 4)])]
    results = os_vif.plug_all(given)
    assert [result.vif for result in results] == [vif for vif, _ in given]
    assert set(failures(results)) == {1}
    assert field in str(results[1].error)
    for kind, number in ((TAP, 1), (HYBRID, 4)):
        assert deviations(ovs_dummy, kind, number) == []
    assert set(ovs_dummy.dump()["Bridge"]) == {"br-int"}


def test_nothing_but_nonsense_asks_nobody(ovs_dummy: PrivateOvs, osvif_dummy: OsVif) -> None:
    ovs_dummy.freeze("ovsdb-server")
    bad = PORT_ONLY.vif(2, network={"bridge": "a/b"}), vifs.instance(2)
    assert set(failures(os_vif.plug_all([bad] * 3))) == {0, 1, 2}


@pytest.mark.parametrize("bridge", ["there", "missing"])
@pytest.mark.parametrize("number", [1, 3], ids=["first", "third"])
def test_one_whose_device_is_lost_is_rolled_back_alone(
    number: int, bridge: str, ovs: PrivateOvs, osvif: OsVif
) -> None:
    """ovs-vswitchd refuses it. The bridge stays, whoever made it."""
    if bridge == "there":
        osvif.plug(BRIDGE_ONLY.vif(200), 200)
    which = [(TAP, n) for n in range(1, 6)]
    lost = TAP.port(number)
    osvif.after_links = lambda: lost in links() and run(["ip", "link", "del", lost])
    found = failures(os_vif.plug_all(pairs(which)))
    assert set(found) == {number - 1}
    assert isinstance(found[number - 1], errors.NotAsDescribed)
    good = [one for one in which if one[1] != number]
    assert [deviations(ovs, *one) for one in good] == [[]] * len(good)
    rows = ovs.dump()
    assert lost not in rows["Port"]
    assert lost not in links()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bridge_that_was_to_be_made_by_one_that_fails_is_made_all_the_same(
    when: str, ovs: PrivateOvs, osvif: OsVif
) -> None:
    """For a VIF of which os-vif makes only the bridge, too, there is a bridge or an error."""
    tap = TAP.port(1)
    if when == "before":
        a_foreign_link_in_the_last_moment(ovs, osvif, 1)
    else:
        osvif.after_links = lambda: tap in links() and run(["ip", "link", "del", tap])
    found = failures(os_vif.plug_all(pairs([(TAP, 1), (BRIDGE_ONLY, 2)])))
    osvif.before_links = osvif.after_links = lambda: None
    assert set(found) == {0}
    assert "br-int" in ovs.dump()["Bridge"]


@of(TAP, PORT_ONLY, HYBRID)
def test_one_that_cannot_be_unplugged_stays_alone(
    kind: Kind, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """A port of that name, of somebody else on another bridge."""
    which = [(kind, n) for n in range(1, 6)]
    os_vif.plug_all(pairs(which))
    ovs_dummy.vsctl("del-port", kind.port(3))
    ovs_dummy.vsctl("add-br", "br-x", "--", "add-port", "br-x", kind.port(3))
    found = failures(os_vif.unplug_all(pairs(which)))
    assert set(found) == {2}
    assert isinstance(found[2], errors.Contradiction)
    left = set(ovs_dummy.dump()["Port"]) - {"br-int", "br-x"}
    assert left == {kind.port(3)}


def test_an_error_in_one_chunk_is_the_failure_of_that_alone(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """Say, the privileged daemon could not be started."""
    osvif_dummy.plug(BRIDGE_ONLY.vif(200), 200)
    osvif_dummy.configure(ovs_vsctl_timeout=30)
    which = [(TAP, n) for n in range(1, CHUNK + 6)]

    error = OSError("no room")

    def fail() -> None:
        raise error

    osvif_dummy.once_before_links(fail)
    found = failures(os_vif.plug_all(pairs(which)))
    assert found == dict.fromkeys(range(CHUNK), error)
    good = which[CHUNK:]
    assert missing_rows(ovs_dummy, good) == missing_links(good) == []
    ports = {kind.port(number) for kind, number in good}
    assert set(ovs_dummy.dump()["Port"]) == {"br-int", *ports}


def test_what_a_chunk_raises_is_the_failure_of_that_alone(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """The administrator spoils an option while the first is being plugged."""
    osvif_dummy.plug(BRIDGE_ONLY.vif(200), 200)
    which = [(TAP, n) for n in range(1, CHUNK + 6)]
    osvif_dummy.once_before_links(lambda: osvif_dummy.configure(ovsdb_connection="ssl:nonsense"))
    found = failures(os_vif.plug_all(pairs(which)))
    assert set(found) == set(range(CHUNK, CHUNK + 5))
    assert {type(failure) for failure in found.values()} == {exception.InvalidValue}
    assert missing_rows(ovs_dummy, which[:CHUNK]) == missing_links(which[:CHUNK]) == []


# The same VIF twice -----------------------------------------------------------------------------


@of(*KINDS, *PER_PORT_KINDS)
def test_the_same_vif_twice_is_plugged_and_unplugged_once(
    kind: Kind, ovs_dummy: PrivateOvs, many: OsVif
) -> None:
    many.configure(**{"per_port_bridge": False, **kind.options})
    many.plug(BRIDGE_ONLY.vif(200), 200)
    before = snapshot(ovs_dummy)
    which = [(kind, 1), (kind, 2), (kind, 1), (kind, 1)]
    assert failures(os_vif.plug_all(pairs(which))) == {}
    assert missing_rows(ovs_dummy, which) == missing_links(which) == []
    plugged = snapshot(ovs_dummy)
    assert failures(os_vif.plug_all(pairs(which))) == {}
    assert not difference(plugged, snapshot(ovs_dummy))
    assert failures(os_vif.unplug_all(pairs(which))) == {}
    assert not difference(before, snapshot(ovs_dummy))


# Other callers ----------------------------------------------------------------------------------


def test_threads_whose_vifs_overlap_take_turns(ovs_dummy: PrivateOvs, osvif_dummy: OsVif) -> None:
    osvif_dummy.configure(ovs_vsctl_timeout=30)
    which = numbered(KINDS, 20)
    orders = [which, which[::-1], which[5:] + which[:5], which[1::2]]
    with ThreadPoolExecutor(len(orders)) as pool:
        for results in pool.map(lambda order: os_vif.plug_all(pairs(order)), orders):
            assert failures(results) == {}
        assert missing_rows(ovs_dummy, which) == missing_links(which) == []
        for results in pool.map(lambda order: os_vif.unplug_all(pairs(order)), orders):
            assert failures(results) == {}
    assert set(ovs_dummy.dump()["Port"]) == {"br-int"}
    assert set(links()) <= {"lo", "br-int"}


# Deadlines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["native", "vsctl"])
@pytest.mark.parametrize("daemon", ["vswitchd", "ovsdb-server"])
def test_the_deadline_holds_for_each_chunk(
    daemon: Any, driver: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    which = numbered(KINDS)
    osvif_dummy.plug(BRIDGE_ONLY.vif(200), 200)
    before = snapshot(ovs_dummy)
    osvif_dummy.configure(ovs_vsctl_timeout=SHORT, ovsdb_interface=driver)
    ovs_dummy.freeze(daemon)
    with within(CHUNKS * (SHORT + GRACE)):
        found = failures(os_vif.plug_all(pairs(which)))
    ovs_dummy.thaw(daemon)
    cfg.CONF.clear_override("ovsdb_interface", group=GROUP)
    ovs_dummy.catch_up()
    late = {n for n, (kind, _) in enumerate(which) if kind != BRIDGE_ONLY}
    assert late <= set(found)
    assert {type(found[n]) for n in late} <= {errors.DeadlineExceeded, errors.NotConnected}
    assert not difference(before, snapshot(ovs_dummy))


@pytest.mark.usefixtures("unhurried")
def test_a_chunk_has_a_deadline_of_its_own(ovs_dummy: PrivateOvs, osvif_dummy: OsVif) -> None:
    """ovs-vswitchd is frozen for as long as the first may take; the second is none the worse."""
    osvif_dummy.plug(BRIDGE_ONLY.vif(200), 200)
    osvif_dummy.configure(ovs_vsctl_timeout=2)
    which = [(PORT_ONLY, n) for n in range(1, CHUNK + 1)]
    which += [(TAP, n) for n in range(CHUNK + 1, CHUNK + 6)]
    ovs_dummy.freeze("vswitchd")
    osvif_dummy.once_before_links(lambda: ovs_dummy.thaw("vswitchd"))
    found = failures(os_vif.plug_all(pairs(which)))
    assert set(found) == set(range(CHUNK))
    assert [deviations(ovs_dummy, *one) for one in which[CHUNK:]] == [[]] * 5
    assert not set(ovs_dummy.dump()["Port"]) & {kind.port(n) for kind, n in which[:CHUNK]}


def test_unplug_all_with_a_frozen_vswitchd_removes_all_and_returns(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif, caplog: pytest.LogCaptureFixture
) -> None:
    which = numbered(KINDS)
    osvif_dummy.configure(ovs_vsctl_timeout=30)
    os_vif.plug_all(pairs(which))
    osvif_dummy.configure(ovs_vsctl_timeout=SHORT)
    ovs_dummy.freeze("vswitchd")
    with within(CHUNKS * (SHORT + GRACE)):
        assert failures(os_vif.unplug_all(pairs(which))) == {}
    assert "not yet acted" in caplog.text
    ovs_dummy.thaw("vswitchd")
    ovs_dummy.catch_up()
    assert set(ovs_dummy.dump()["Port"]) == {"br-int"}
    assert set(links()) <= {"lo", "br-int"}


# Several plugins --------------------------------------------------------------------------------


def test_vifs_of_several_plugins_are_mixed(ovs_dummy: PrivateOvs, osvif_dummy: OsVif) -> None:
    noop = vifs.vif_vhost_user(2, plugin="noop"), vifs.instance(2)
    none = vifs.vif_open_vswitch(3, plugin="none"), vifs.instance(3)
    given = [*pairs([(TAP, 1)]), noop, none, *pairs([(HYBRID, 4)])]
    for verb in (os_vif.plug_all, os_vif.unplug_all):
        results = verb(given)
        assert [result.vif for result in results] == [vif for vif, _ in given]
        assert [type(result.error) for result in results] == [
            type(None), type(None), exception.NoMatchingPlugin, type(None)
        ]  # fmt: skip
    assert set(ovs_dummy.dump()["Port"]) == {"br-int"}


def test_a_bad_option_fails_the_vifs_of_its_plugin_only(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovsdb_connection="nonsense")
    noop = vifs.vif_vhost_user(2, plugin="noop"), vifs.instance(2)
    found = failures(os_vif.plug_all([*pairs([(TAP, 1)]), noop, *pairs([(TAP, 3)])]))
    assert set(found) == {0, 2}
    assert {type(cause) for cause in found.values()} == {exception.InvalidValue}


def test_two_vifs_of_one_name_are_not_both_plugged(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """The second would take the port of the first, whose result says that it is plugged."""
    name = vifs.device("tap")
    both = [
        (TAP.vif(1), vifs.instance(1)),
        (TAP.vif(2, vif_name=name), vifs.instance(2)),
        (TAP.vif(1), vifs.instance(1)),
    ]
    found = failures(os_vif.plug_all(both))
    assert set(found) == {1}
    assert isinstance(found[1], errors.Contradiction)
    assert name in str(found[1])
    assert deviations(ovs_dummy, TAP) == []
    assert failures(os_vif.unplug_all(both)) == {}
    assert name not in ovs_dummy.dump()["Port"]
