# SPDX-License-Identifier: Apache-2.0
"""A verb that returns has done its work; one that fails leaves the host as it was."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import os_vif
import vif_plug_ovs
from os_vif import exception
from os_vif.kernel import execute
from os_vif.locks import KeyedLocks
from os_vif.wiring import errors
from tests import vifs
from tests.rig import run, wait_until
from tests.rig.failures import fails
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, PORT_ONLY, TAP, WITH_LINKS, Child, Kind, OsVif, deviations, of
from tests.rig.snapshot import Facts, difference, links, settled, snapshot
from tests.rig.stopwatch import within
from vif_plug_ovs import ovs as ovs_plugin
from vif_plug_ovs.ovsdb import connection

TIMEOUT = 1  # seconds; the deadline of the tests that wait it out

kinds = of(TAP, HYBRID)


# What vswitchd refuses --------------------------------------------------------------------------


def add_bridge(ovs: PrivateOvs, datapath_type: str = "netdev") -> None:
    kind = f"datapath_type={datapath_type}"
    ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", kind)


@kinds
@pytest.mark.parametrize("is_there", [False, True], ids=["no-bridge", "bridge"])
def test_a_bridge_that_vswitchd_cannot_make_is_an_error_and_is_rolled_back(
    is_there: bool, kind: Kind, ovs: PrivateOvs, osvif: OsVif
) -> None:
    """This kernel has no datapath of type ``system``; the database takes the row all the same."""
    if is_there:
        add_bridge(ovs, "system")
    before = snapshot(ovs)
    vif = kind.vif(profile={"datapath_type": "system"})
    reason = fails(lambda: osvif.plug(vif), errors.NotAsDescribed)
    assert (kind.port() if is_there else "br-int") in str(reason)
    assert not difference(before, settled(ovs))


def test_a_device_that_vswitchd_refuses_is_an_error_and_is_rolled_back(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """``ovs-netdev`` is a device of vswitchd's own and a reserved name."""
    assert "ovs-netdev" in links()
    before = snapshot(ovs)
    vif = PORT_ONLY.vif(vif_name="ovs-netdev")
    reason = fails(lambda: osvif.plug(vif), errors.NotAsDescribed)
    assert "ovs-netdev" in str(reason)
    assert not difference(before, settled(ovs))


def test_a_port_that_was_there_stays_when_its_device_is_refused(
    ovs: PrivateOvs, osvif: OsVif
) -> None:
    """The re-plug corrects an id, vswitchd still refuses the device: the id is put back."""
    add_bridge(ovs, "system")
    run(["ip", "tuntap", "add", TAP.port(), "mode", "tap"])
    ids = ["external_ids:attached-mac=wrong", "external_ids:whose=neutron"]
    ovs.vsctl("add-port", "br-int", TAP.port(), "--", "set", "Interface", TAP.port(), *ids)
    before = snapshot(ovs)
    fails(lambda: osvif.plug(TAP.vif()), errors.NotAsDescribed)
    assert not difference(before, settled(ovs))


@kinds
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["set", 'error="it is broken"'], "it is broken"),
        (["clear", "ofport"], "ofport should be 'a number'"),
    ],
    ids=["error", "no-ofport"],
)
def test_a_replug_of_a_broken_port_returns_at_once_and_says_so(
    change: list[str],
    said: str,
    kind: Kind,
    ovs: PrivateOvs,
    osvif: OsVif,
    br_int: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nova plugs every running guest when it starts, and stops starting when one raises."""
    osvif.plug(kind.vif())
    ovs.freeze("vswitchd")
    verb, column = change
    ovs.vsctl("--no-wait", verb, "Interface", kind.port(), column)
    cfg = ovs.next_cfg()
    with within(1):
        osvif.plug(kind.vif())
    assert ovs.next_cfg() == cfg
    assert kind.port() in caplog.text
    assert said in caplog.text


def test_a_rollback_leaves_what_others_put_on_the_new_bridge(
    ovs: PrivateOvs, osvif: OsVif
) -> None:
    """Another port came onto the bridge that the failing plug had made."""
    osvif.configure(ovs_vsctl_timeout=TIMEOUT)
    ovs.freeze("vswitchd")
    plugging = threading.Thread(
        target=lambda: fails(lambda: osvif.plug(TAP.vif()), errors.DeadlineExceeded)
    )
    plugging.start()
    wait_until(lambda: TAP.port() in ovs.dump()["Port"], what="the port's row")
    ovs.vsctl("--no-wait", "add-port", "br-int", "neighbour")
    plugging.join()
    rows = ovs.dump()
    assert TAP.port() not in rows["Port"]
    assert "neighbour" in rows["Port"]
    assert rows["Bridge"]["br-int"]["ports"] == ["br-int", "neighbour"]


# A kernel that refuses --------------------------------------------------------------------------


def make_tap(name: str) -> None:
    run(["ip", "tuntap", "add", name, "mode", "tap"])


def make_bridge(name: str) -> None:
    run(["ip", "link", "add", name, "type", "bridge"])


def make_veth(name: str, peer: str = "other0") -> None:
    run(["ip", "link", "add", name, "type", "veth", "peer", "name", peer])


def make_pair(name: str) -> None:
    make_veth(name, vifs.device("qvo"))


def taking(osvif: OsVif, name: str, make: Callable[[str], None], ovs: PrivateOvs) -> list[Facts]:
    """Have somebody else make a device when the next verb has looked and not yet acted.

    :returns: where the host of that moment will be found.
    """
    before: list[Facts] = []

    def take() -> None:
        make(name)
        before.append(snapshot(ovs))

    osvif.once_before_links(take)
    return before


Taken = tuple[Kind, str, Callable[[str], None]]
OTHER_KIND: list[Taken] = [
    (TAP, "tap", make_bridge),
    (HYBRID, "qbr", make_tap),
    (HYBRID, "qvb", make_tap),
    (HYBRID, "qvo", make_tap),
]
SAME_KIND: list[Taken] = [
    (TAP, "tap", make_tap),
    (HYBRID, "qbr", make_bridge),
    (HYBRID, "qvb", make_pair),
]


def taken(cases: list[Taken]) -> pytest.MarkDecorator:
    names = [f"{prefix}-{make.__name__}" for _, prefix, make in cases]
    return pytest.mark.parametrize(("kind", "prefix", "make"), cases, ids=names)


@taken(OTHER_KIND)
@pytest.mark.parametrize("moment", ["before", "in-between"])
def test_a_name_that_a_device_of_another_kind_has_is_refused(
    moment: str,
    kind: Kind,
    prefix: str,
    make: Callable[[str], None],
    ovs: PrivateOvs,
    osvif: OsVif,
    br_int: str,
) -> None:
    """It stays, and nothing of ours does; unplug leaves it, too."""
    device = vifs.device(prefix)
    before = taking(osvif, device, make, ovs)
    if moment == "before":
        osvif.before_links()
    reason = fails(lambda: osvif.plug(kind.vif()), errors.Contradiction)
    assert f"link {device}: kind should be" in str(reason)
    assert bool(osvif.privileged_calls) == (moment == "in-between")
    osvif.unplug(kind.vif())
    assert not difference(before[0], settled(ovs))


@taken(SAME_KIND)
def test_a_name_that_is_taken_in_between_by_the_same_kind_is_joined(
    kind: Kind,
    prefix: str,
    make: Callable[[str], None],
    ovs: PrivateOvs,
    osvif: OsVif,
    br_int: str,
) -> None:
    """The engine looks again and uses what it finds, which it has not made and does not mark."""
    device = vifs.device(prefix)
    before = taking(osvif, device, make, ovs)
    osvif.plug(kind.vif())
    now = links()[device]
    assert now["alias"] is None
    if kind is TAP:  # it may be libvirt's: only its MTU is ours to correct
        promisc = {"promisc": True}  # that is vswitchd's doing
        assert now == {**before[0]["links"][device], **promisc, "mtu": vifs.MTU}
    else:
        assert unlike(ovs, kind) == []
    if kind is TAP or prefix == "qvb":  # the very device: a bridge takes its ports' MAC
        assert now["mac"] == before[0]["links"][device]["mac"]


@taken(SAME_KIND)
def test_what_was_joined_is_left_as_it_was_by_a_plug_that_fails(
    kind: Kind, prefix: str, make: Callable[[str], None], ovs: PrivateOvs, osvif: OsVif
) -> None:
    """vswitchd refuses the bridge: the rollback must not delete what was not made."""
    before = taking(osvif, vifs.device(prefix), make, ovs)
    with pytest.raises(exception.PlugException):
        osvif.plug(kind.vif(profile={"datapath_type": "system"}))
    left = difference(before[0], settled(ovs)).splitlines()
    # What a bridge's MAC was before ports came and went is not kept.
    assert [line for line in left if "/mac:" not in line] == []


@pytest.mark.parametrize("prefix", ["qvb", "qvo"])
def test_half_a_pair_that_appears_in_between_is_replaced_as_it_is_at_any_time(
    prefix: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Its name is made of the VIF's id, so it is the VIF's; but it leads nowhere."""
    taking(osvif, vifs.device(prefix), make_veth, ovs)
    osvif.plug(HYBRID.vif())
    assert deviations(ovs, HYBRID) == []


@kinds
def test_two_processes_that_plug_the_same_vif_both_succeed(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower one finds links where it saw none: it must not tear down the faster one's."""

    def plug_elsewhere() -> None:
        with monkeypatch.context() as other_process:
            other_process.setattr(ovs_plugin, "LOCKS", KeyedLocks())
            osvif.plug(kind.vif())

    osvif.once_before_links(plug_elsewhere)
    osvif.plug(kind.vif())
    assert deviations(ovs, kind) == []


@of(*WITH_LINKS)
def test_a_kernel_that_refuses_any_request_leaves_the_host_as_it_was(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(ovs)
    requests = Requests(monkeypatch)
    osvif.plug(kind.vif())
    total = requests.count
    osvif.unplug(kind.vif())
    assert total >= len(kind.link_prefixes)
    for number in range(1, total + 1):
        requests.fail_at(number)
        reason = fails(lambda: osvif.plug(kind.vif()), errors.LinkFailed)
        assert "No buffer space" in str(reason)
        assert not difference(before, settled(ovs)), f"after request {number} of {total}"


class Requests:
    """Counts what is asked of the kernel, and has it refuse one request, or kill the asker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.failing = 0
        self.act = self.refuse
        outer = self

        class Call(execute._Call):
            def make(self, *arguments: Any) -> None:
                outer.ask()
                super().make(*arguments)

            def delete(self, *arguments: Any, **fields: Any) -> None:
                outer.ask()
                super().delete(*arguments, **fields)

            def set(self, *arguments: Any) -> None:
                outer.ask()
                super().set(*arguments)

        monkeypatch.setattr(execute, "_Call", Call)

    def ask(self) -> None:
        self.count += 1
        if self.count == self.failing:
            self.act()

    def fail_at(self, number: int) -> None:
        self.count, self.failing = 0, number

    @staticmethod
    def refuse() -> None:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    @staticmethod
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)


# kill -9 ----------------------------------------------------------------------------------------

PACKAGES = tuple(str(Path(str(package.__file__)).parent) for package in (os_vif, vif_plug_ovs))
POINTS = 20


def counting(verb: Callable[[], None], die_at: int | None = None) -> Callable[[], int]:
    """Wrap a verb: count calls and returns of the library's code, and die at one of them."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if frame.f_code.co_filename.startswith(PACKAGES):
            count += 1
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        sys.setprofile(seen)
        try:
            verb()
        finally:
            sys.setprofile(None)
        return count

    return work


def unlike(ovs: PrivateOvs, kind: Kind) -> list[str]:
    """What is not as described, but for the mark of a link that was made and not yet marked."""
    return [line for line in deviations(ovs, kind) if "alias is None" not in line]


def in_a_child(work: Callable[[], Any]) -> Child:
    connection.close_all()  # so that no thread of ours is there when it forks
    return Child(work)


@kinds
@pytest.mark.parametrize(
    ("verb", "bridge_exists"),
    [("plug", True), ("plug", False), ("unplug", True)],
    ids=["plug", "plug-and-make-the-bridge", "unplug"],
)
def test_a_verb_that_was_killed_anywhere_converges(
    kind: Kind, verb: str, bridge_exists: bool, ovs: PrivateOvs, osvif: OsVif
) -> None:
    if bridge_exists:
        add_bridge(ovs)
    empty = snapshot(ovs)

    def act() -> None:
        getattr(osvif, verb)(kind.vif())

    def prepare() -> None:
        if verb == "unplug":
            osvif.plug(kind.vif())

    prepare()
    with in_a_child(counting(act)) as child:
        total = child.result()
    osvif.unplug(kind.vif())
    killed = 0
    for point in range(POINTS):
        prepare()
        with in_a_child(counting(act, 1 + point * total // POINTS)) as child:
            child.wait()
            killed += child.killed
        if verb == "plug" and point % 2:
            osvif.plug(kind.vif())
            assert unlike(ovs, kind) == [], f"killed at {point} of {POINTS}, then plugged"
        osvif.unplug(kind.vif())
        if not bridge_exists:
            ovs.vsctl("--if-exists", "del-br", "br-int")
        assert not difference(empty, settled(ovs)), f"killed at {point} of {POINTS}"
    assert killed >= POINTS * 3 // 4


@of(*WITH_LINKS)
def test_a_plug_that_was_killed_between_two_requests_to_the_kernel_converges(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = snapshot(ovs)
    requests = Requests(monkeypatch)
    requests.act = requests.die
    osvif.plug(kind.vif())
    total = requests.count
    osvif.unplug(kind.vif())
    for number in range(1, total + 1):
        requests.fail_at(number)
        with in_a_child(lambda: osvif.plug(kind.vif())) as child:
            child.wait()
            assert child.killed
        requests.fail_at(0)
        osvif.plug(kind.vif())
        assert unlike(ovs, kind) == [], f"killed before request {number} of {total}"
        osvif.unplug(kind.vif())
        assert not difference(empty, settled(ovs))
