# SPDX-License-Identifier: Apache-2.0
"""The same verbs with the real privileged daemon, a process of its own.

Each test forks: the client and its channel to the daemon live and end in the child.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
import vif_plug_ovs
from os_vif import exception
from os_vif.kernel import packing
from os_vif.kernel.daemon import KernelLinks
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.steps import CreateLink, DeleteLink
from tests import vifs
from tests.rig import run, wait_until
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, TAP, WITH_LINKS, Kind, OsVif, deviations
from tests.rig.privsep import PrivsepHelper
from tests.rig.snapshot import difference, snapshot
from vif_plug_ovs import privileged, privsep

CAP_NET_ADMIN = 12  # linux/capability.h

Daemon = Callable[[Callable[[OsVif], Any]], Any]


@pytest.fixture
def daemon(ovs: PrivateOvs, br_int: str, helper: PrivsepHelper) -> Iterator[Daemon]:
    """Run something in a child that has os_vif and a privileged daemon."""
    yield lambda work: helper.in_a_child(ovs.remote, work)
    wait_until(lambda: not helper.daemons(), what="the daemon to end with its client")


kinds = pytest.mark.parametrize("kind", WITH_LINKS, ids=lambda kind: kind.name)


@kinds
def test_plug_and_unplug_through_the_daemon(kind: Kind, ovs: PrivateOvs, daemon: Daemon) -> None:
    before = snapshot(ovs)

    def verbs(osvif: OsVif) -> tuple[list[str], str]:
        osvif.plug(kind.vif())
        found = deviations(ovs, kind)
        osvif.plug(kind.vif())
        osvif.unplug(kind.vif())
        osvif.unplug(kind.vif())
        return found, difference(before, snapshot(ovs))

    assert daemon(verbs) == ([], "")


def test_a_replug_does_not_even_start_the_daemon(
    ovs: PrivateOvs, daemon: Daemon, helper: PrivsepHelper
) -> None:
    daemon(lambda osvif: osvif.plug(HYBRID.vif()))
    wait_until(lambda: not helper.daemons(), what="the first daemon to end")

    def replug(osvif: OsVif) -> int:
        osvif.plug(HYBRID.vif())
        return len(helper.daemons())

    assert daemon(replug) == 0


def test_the_daemon_has_the_one_capability_it_needs(
    ovs: PrivateOvs, daemon: Daemon, helper: PrivsepHelper
) -> None:
    def look(osvif: OsVif) -> list[dict[str, str]]:
        osvif.plug(HYBRID.vif())
        return [_status(process) for process in helper.daemons()]

    (status,) = daemon(look)
    for capabilities in ("CapEff", "CapPrm"):
        assert int(status[capabilities], 16) == 1 << CAP_NET_ADMIN


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_an_error_of_the_kernel_crosses_whole(ovs: PrivateOvs, daemon: Daemon) -> None:
    step = DeleteLink("br0", "veth")

    def forge(_: OsVif) -> Any:
        run(["ip", "link", "add", "br0", "type", "bridge"])
        return privileged.change_links([[packing.pack(step), packing.pack(step)]], True)

    ((taken, reason, code),) = daemon(forge)
    assert (taken, code) == (0, errno.EPERM)
    assert reason == "delete veth br0: it is a bridge device"


def test_a_taken_name_crosses_as_such(ovs: PrivateOvs, daemon: Daemon) -> None:
    made = CreateLink("br0", "bridge", "os-vif:ovs:test:1")

    def make(_: OsVif) -> Any:
        links = KernelLinks(privileged.change_links)
        failures = links.execute([[made, made], [DeleteLink("lo", "veth")], []], Deadline.never())
        return [each and (type(each), each.executed, str(each)) for each in failures]

    assert daemon(make) == [
        (errors.StateChanged, 1, "The host changed meanwhile: create bridge br0: File exists"),
        (errors.LinkFailed, 0, "The kernel refused to delete veth lo: it is a hardware device"),
        None,
    ]


def test_a_refused_plug_changes_nothing_beside_a_daemon(ovs: PrivateOvs, daemon: Daemon) -> None:
    def plug(osvif: OsVif) -> tuple[str, str]:
        before = snapshot(ovs)
        with pytest.raises(exception.PlugException) as failure:
            osvif.plug(HYBRID.vif(bridge_name="lo"))
        return str(failure.value.__cause__), difference(before, snapshot(ovs))

    said, left = daemon(plug)
    assert "link lo: kind should be 'bridge'" in said
    assert not left


TAP0 = {
    "name": "tap0",
    "kind": "tun",
    "alias": "os-vif:ovs:openvswitch:0",
    "peer": "",
    "multiqueue": False,
}
#: One of each class of what tests/unit/kernel/test_packing.py has refused.
FORGED = {
    "no-such-step": ("FormatDisk", {}),
    "unknown-field": ("DeleteLink", {"name": "tap1", "kind": "tun", "force": True}),
    "bad-name": ("SetLink", {"name": "../lo", "attributes": {"disable_ipv6": 1}}),
    "bad-value": ("SetLink", {"name": "tap1", "attributes": {"mtu": 100000}}),
    "alias-of-another-plugin": ("CreateLink", {**TAP0, "alias": "os-vif:linux_bridge:x:1"}),
    "step-of-another-plugin": ("LeaveBridge", {"name": "eth0", "bridge": "br0"}),
}

#: What is not even a list of lists of steps.
NO_GROUPS: list[Any] = [None, "CreateLink", [None]]


def test_the_daemon_refuses_what_os_vif_would_not_ask_for(ovs: PrivateOvs, daemon: Daemon) -> None:
    """A good step goes before each forged one: neither must be taken."""

    def forge(_: OsVif) -> dict[str, str]:
        outcomes = {}
        forged = {name: [[("CreateLink", TAP0), step]] for name, step in FORGED.items()}
        for name, groups in {**forged, **{repr(each): each for each in NO_GROUPS}}.items():
            try:
                privileged.change_links(groups)
                outcomes[name] = "it was taken"
            except exception.InvalidValue as refusal:
                outcomes[name] = "" if "Invalid value of" in str(refusal) else str(refusal)
            except Exception as other:
                outcomes[name] = repr(other)
        return outcomes

    before = snapshot(ovs)
    outcomes = daemon(forge)
    assert len(outcomes) == len(FORGED) + len(NO_GROUPS)
    assert {name: said for name, said in outcomes.items() if said} == {}
    assert not difference(before, snapshot(ovs))


def test_the_text_of_a_refusal_crosses_whole(ovs: PrivateOvs, daemon: Daemon) -> None:
    with pytest.raises(exception.InvalidValue) as failure:
        daemon(lambda _: privileged.change_links([[FORGED["bad-value"]]]))
    expected = "Invalid value of mtu, 100000: an MTU is from 68 to 65535 bytes"
    assert str(failure.value) == expected


def test_the_daemon_calls_nothing_but_its_entry_points(ovs: PrivateOvs, daemon: Daemon) -> None:
    """Only entry points of the plugin's own context can be called."""

    def call(_: OsVif) -> None:
        privileged.change_links([])  # starts the daemon
        channel = privsep.vif_plug.channel
        assert channel is not None
        channel.remote_call("os_vif.kernel.execute.execute", ([],), {}, 5)

    with pytest.raises(NameError, match="not exported"):
        daemon(call)


@pytest.mark.parametrize("ask", ["plug", "plug_all"])
def test_a_daemon_that_is_killed_with_a_request_unread_is_started_again(
    ask: str, ovs: PrivateOvs, daemon: Daemon, helper: PrivsepHelper
) -> None:
    """Its socket is reset then, and oslo.privsep's reader does not survive that."""
    which = range(2, 4 if ask == "plug" else 9)

    def verbs(osvif: OsVif) -> tuple[bool, list[Any]]:
        osvif.plug(HYBRID.vif(1), 1)
        helper.freeze()
        channel = privsep.vif_plug.channel
        assert channel is not None
        failures: list[Any] = []

        def plug() -> None:
            pairs = [(HYBRID.vif(number), vifs.instance(number)) for number in which]
            if ask == "plug_all":
                failures.extend(result.error for result in os_vif.plug_all(pairs) if result.error)
                return
            for number in which:
                osvif.plug(HYBRID.vif(number), number)

        plugging = threading.Thread(target=plug, daemon=True)
        plugging.start()
        # It waits for the answer: its request is sent.
        wait_until(lambda: channel.outstanding_msgs and not channel.lock.locked(), what="a call")
        helper.kill()
        plugging.join(8)
        found = [deviations(ovs, HYBRID, number) for number in which]
        return plugging.is_alive(), failures + [one for each in found for one in each]

    assert daemon(verbs) == (False, [])


def test_a_daemon_that_was_killed_with_requests_unread_serves_nobody_and_is_started_again(
    ovs: PrivateOvs, daemon: Daemon, helper: PrivsepHelper
) -> None:
    """Of a caller who has given up: the next one finds a broken pipe."""

    def verbs(osvif: OsVif) -> list[str]:
        osvif.plug(TAP.vif(1), 1)
        helper.freeze()
        osvif.configure(ovs_vsctl_timeout=1)
        with pytest.raises(exception.PlugException):
            osvif.plug(TAP.vif(2), 2)
        helper.kill()
        osvif.configure(ovs_vsctl_timeout=20)
        for number in (2, 3):
            osvif.plug(TAP.vif(number), number)
        return deviations(ovs, TAP, 2) + deviations(ovs, TAP, 3)

    assert daemon(verbs) == []


def test_a_daemon_that_dies_in_every_request_is_a_failure_and_leaves_nothing(
    ovs: PrivateOvs, daemon: Daemon, helper: PrivsepHelper
) -> None:
    """Killed again and again as soon as it is there: the verb does not go on for ever."""

    def verbs(osvif: OsVif) -> tuple[str, str, list[str]]:
        before = snapshot(ovs)
        ended = threading.Event()

        def kill() -> None:
            while not ended.is_set():
                for process in helper.daemons():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process.name), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with pytest.raises(exception.PlugException) as failure:
                osvif.plug(HYBRID.vif(2), 2)
        finally:
            ended.set()
            killer.join()
        ovs.catch_up()
        left = difference(before, snapshot(ovs))
        osvif.plug(HYBRID.vif(2), 2)
        return str(failure.value), left, deviations(ovs, HYBRID, 2)

    said, left, found = daemon(verbs)
    assert "privileged" in said or "rivsep" in said
    assert (left, found) == ("", [])


#: Becomes a daemon, is asked the first question, and dies.
DYING = """
import os, select, socket, sys
if os.fork() == 0:
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(sys.argv[-1])
    select.select([channel], [], [])
    os._exit(0)
"""


def test_a_daemon_that_is_killed_before_its_first_answer_is_a_failure(
    ovs: PrivateOvs, daemon: Daemon, tmp_path: Path
) -> None:
    """oslo.privsep asks it whether it is there, and sets no limit to that."""
    program = tmp_path / "dying.py"
    program.write_text(DYING)

    def plug(osvif: OsVif) -> tuple[str, str]:
        before, section = snapshot(ovs), "vif_plug_ovs_privileged"
        cfg.CONF.set_override("helper_command", f"{sys.executable} {program}", group=section)
        with pytest.raises(exception.PlugException) as failure:
            osvif.plug(HYBRID.vif())
        return str(failure.value.__cause__), difference(before, snapshot(ovs))

    said, left = daemon(plug)
    assert "daemon failed to start" in said
    assert not left


#: Calls of the library in which a plug is interrupted, of some 1,500.
POINTS = 40
PACKAGES = tuple(str(Path(str(each.__file__)).parent) for each in (os_vif, vif_plug_ovs))


def interrupting(at: int, error: type[BaseException]) -> Callable[[Any, str, Any], None]:
    """A profiler that counts the calls of the library's functions, and raises in one of them."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGES):
            count += 1
            if count == at:
                sys.setprofile(None)
                raise error

    return seen


@kinds
def test_a_plug_that_is_interrupted_anywhere_is_rolled_back_or_done(
    kind: Kind, ovs: PrivateOvs, daemon: Daemon
) -> None:
    """KeyboardInterrupt comes at any point; what is asked of the daemon then is still done."""

    def verbs(osvif: OsVif) -> tuple[int, dict[int, str]]:
        osvif.plug(kind.vif())
        osvif.unplug(kind.vif())
        before, wrong, interrupted = snapshot(ovs), {}, 0
        for point in range(POINTS):
            sys.setprofile(interrupting(1 + point * 15, KeyboardInterrupt))
            try:
                osvif.plug(kind.vif())
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                sys.setprofile(None)
            ovs.catch_up()
            left = difference(before, snapshot(ovs))
            if left and deviations(ovs, kind):
                wrong[point] = left
            osvif.unplug(kind.vif())
            ovs.catch_up()
        return interrupted, wrong

    interrupted, wrong = daemon(verbs)
    assert wrong == {}
    assert interrupted > POINTS // 2
