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
from tests.rig.plugin import (
    HYBRID,
    ROOT,
    TAP,
    WITH_LINKS,
    Child,
    Kind,
    OsVif,
    deviations,
    initialized,
)
from tests.rig.snapshot import difference, snapshot
from tests.rig.stopwatch import stopwatch
from vif_plug_ovs import privileged, privsep

CAP_NET_ADMIN = 12  # linux/capability.h

Daemon = Callable[[Callable[[OsVif], Any]], Any]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The daemon's configuration; its path is how we know the daemon."""
    path = tmp_path / "os-vif.conf"
    path.write_text("[DEFAULT]\n")
    return path


@pytest.fixture
def daemon(ovs: PrivateOvs, settings: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Run something in a child that has os_vif and a privileged daemon."""
    helper = Path(sys.prefix, "bin", "privsep-helper")
    if not helper.exists():
        pytest.skip(f"there is no {helper}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")

    def in_a_child(work: Callable[[OsVif], Any]) -> Any:
        def child() -> Any:
            with initialized(ovs.remote, timeout=20, in_process=False) as osvif:
                command = f"{helper} --config-file {settings}"
                section = "vif_plug_ovs_privileged"
                cfg.CONF.set_override("helper_command", command, group=section)
                return work(osvif)

        with Child(child) as process:
            return process.result()

    yield in_a_child
    wait_until(lambda: not daemons(settings), what="the daemon to end with its client")


def daemons(settings: Path) -> list[Path]:
    """The processes that were started with this configuration."""
    return [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if _of(path, settings)]


def _of(cmdline: Path, settings: Path) -> bool:
    try:
        return str(settings).encode() in cmdline.read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False


kinds = pytest.mark.parametrize("kind", WITH_LINKS, ids=lambda kind: kind.name)


@kinds
def test_plug_and_unplug_through_the_daemon(
    kind: Kind, ovs: PrivateOvs, br_int: str, daemon: Daemon
) -> None:
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
    ovs: PrivateOvs, br_int: str, daemon: Daemon, settings: Path
) -> None:
    daemon(lambda osvif: osvif.plug(HYBRID.vif()))
    wait_until(lambda: not daemons(settings), what="the first daemon to end")

    def replug(osvif: OsVif) -> int:
        osvif.plug(HYBRID.vif())
        return len(daemons(settings))

    assert daemon(replug) == 0


def test_the_daemon_has_the_one_capability_it_needs(
    ovs: PrivateOvs, br_int: str, daemon: Daemon, settings: Path
) -> None:
    def look(osvif: OsVif) -> list[dict[str, str]]:
        osvif.plug(HYBRID.vif())
        return [_status(process) for process in daemons(settings)]

    (status,) = daemon(look)
    for capabilities in ("CapEff", "CapPrm"):
        assert int(status[capabilities], 16) == 1 << CAP_NET_ADMIN


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_an_error_of_the_kernel_crosses_whole(
    ovs: PrivateOvs, br_int: str, daemon: Daemon
) -> None:
    step = DeleteLink("br0", "veth")

    def forge(_: OsVif) -> Any:
        run(["ip", "link", "add", "br0", "type", "bridge"])
        return privileged.change_links([[packing.pack(step), packing.pack(step)]], True)

    ((taken, reason, code),) = daemon(forge)
    assert (taken, code) == (0, errno.EPERM)
    assert reason == "delete veth br0: it is a bridge device"


def test_a_taken_name_crosses_as_such(ovs: PrivateOvs, br_int: str, daemon: Daemon) -> None:
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


def test_a_refused_plug_changes_nothing_beside_a_daemon(
    ovs: PrivateOvs, br_int: str, daemon: Daemon
) -> None:
    def plug(osvif: OsVif) -> tuple[str, str]:
        before = snapshot(ovs)
        with pytest.raises(exception.PlugException) as failure:
            osvif.plug(HYBRID.vif(bridge_name="lo"))
        return str(failure.value.__cause__), difference(before, snapshot(ovs))

    said, left = daemon(plug)
    assert "link lo: kind should be 'bridge'" in said
    assert not left


FORGED = {
    "no-such-step": ("FormatDisk", {}),
    "no-step-at-all": "DeleteLink",
    "missing-field": ("DeleteLink", {"name": "tap1"}),
    "unknown-field": ("DeleteLink", {"name": "tap1", "kind": "tun", "force": True}),
    "fields-of-no-kind": ("DeleteLink", ["name", "kind"]),
    "name-too-long": ("DeleteLink", {"name": "sixteen-is-too-m", "kind": "tun"}),
    "name-with-a-slash": ("SetLink", {"name": "../lo", "attributes": {"disable_ipv6": 1}}),
    "name-with-a-blank": ("SetLink", {"name": "tap 1", "attributes": {"up": True}}),
    "name-that-is-a-number": ("SetLink", {"name": 1, "attributes": {"up": True}}),
    "name-template": ("SetLink", {"name": "tap%d", "attributes": {"up": True}}),
    "empty-name": ("DeleteLink", {"name": "", "kind": "tun"}),
    "kind-that-we-do-not-make": ("DeleteLink", {"name": "eth0", "kind": "vxlan"}),
    "hardware": ("DeleteLink", {"name": "eth0", "kind": ""}),
    "attribute-that-we-do-not-set": ("SetLink", {"name": "tap1", "attributes": {"netns": 1}}),
    "attributes-of-no-kind": ("SetLink", {"name": "tap1", "attributes": ["up"]}),
    "group-mac": ("SetLink", {"name": "tap1", "attributes": {"mac": "01:00:5e:00:00:01"}}),
    "no-mac": ("SetLink", {"name": "tap1", "attributes": {"mac": "nonsense"}}),
    "mtu-too-small": ("SetLink", {"name": "tap1", "attributes": {"mtu": 1}}),
    "mtu-too-large": ("SetLink", {"name": "tap1", "attributes": {"mtu": 100000}}),
    "mtu-as-text": ("SetLink", {"name": "tap1", "attributes": {"mtu": "1500"}}),
    "up-as-text": ("SetLink", {"name": "tap1", "attributes": {"up": "yes"}}),
    "master-with-a-slash": ("SetLink", {"name": "tap1", "attributes": {"master": "a/b"}}),
    "sysctl-below-zero": ("SetLink", {"name": "tap1", "attributes": {"arp_ignore": -1}}),
    "foreign-alias": (
        "CreateLink",
        {"name": "tap1", "kind": "tun", "alias": "mine", "peer": "", "multiqueue": False},
    ),
    "bad-peer": (
        "CreateLink",
        {
            "name": "qvb1",
            "kind": "veth",
            "alias": "os-vif:ovs:hybrid:1",
            "peer": "a/b",
            "multiqueue": False,
        },
    ),
    "alias-too-long": (
        "CreateLink",
        {
            "name": "tap1",
            "kind": "tun",
            "alias": "os-vif:ovs:" + "x" * 300,
            "peer": "",
            "multiqueue": False,
        },
    ),
    "alias-of-two-lines": (
        "CreateLink",
        {
            "name": "tap1",
            "kind": "tun",
            "alias": "os-vif:ovs:x\nmine",
            "peer": "",
            "multiqueue": False,
        },
    ),
    "alias-of-another-plugin": (
        "CreateLink",
        {
            "name": "tap1",
            "kind": "tun",
            "alias": "os-vif:linux_bridge:bridge:1",
            "peer": "",
            "multiqueue": False,
        },
    ),
    "move-addresses-nowhere": ("LeaveBridge", {"name": "lo", "bridge": "lo"}),
    "move-addresses-in": ("JoinBridge", {"name": "eth0", "bridge": "br0", "mtu": None}),
    "move-addresses-out": ("LeaveBridge", {"name": "eth0", "bridge": "br0"}),
    "filter": ("FilterBridge", {"bridge": "br0", "settings": None}),
    "delete-a-vlan": ("DeleteLink", {"name": "vlan7", "kind": "vlan"}),
    "make-a-vlan": (
        "CreateLink",
        {
            "name": "vlan7",
            "kind": "vlan",
            "alias": "os-vif:ovs:vlan:vlan7",
            "peer": "",
            "multiqueue": False,
            "parent": "lo",
            "vlan": 7,
        },
    ),
}

#: What is not even a list of lists of steps.
NO_GROUPS: list[Any] = [None, 7, "CreateLink", {"CreateLink": {}}, [None], [7], [[], None]]


def test_the_daemon_refuses_what_os_vif_would_not_ask_for(
    ovs: PrivateOvs, br_int: str, daemon: Daemon
) -> None:
    """A good step goes before each forged one: neither must be taken."""
    good = {
        "name": "tap0",
        "kind": "tun",
        "alias": "os-vif:ovs:openvswitch:0",
        "peer": "",
        "multiqueue": False,
    }

    def forge(_: OsVif) -> dict[str, str]:
        outcomes = {}
        forged = {name: [[("CreateLink", good), step]] for name, step in FORGED.items()}
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


def test_the_text_of_a_refusal_crosses_whole(ovs: PrivateOvs, br_int: str, daemon: Daemon) -> None:
    with pytest.raises(exception.InvalidValue) as failure:
        daemon(lambda _: privileged.change_links([[FORGED["mtu-too-large"]]]))
    expected = "Invalid value of mtu, 100000: an MTU is from 68 to 65535 bytes"
    assert str(failure.value) == expected


def test_the_daemon_makes_nothing_but_what_its_door_says(
    ovs: PrivateOvs, br_int: str, daemon: Daemon
) -> None:
    """Only entry points of the plugin's own context can be called."""

    def call(_: OsVif) -> None:
        privileged.change_links([])  # starts the daemon
        channel = privsep.vif_plug.channel
        assert channel is not None
        channel.remote_call("os_vif.kernel.execute.execute", ([],), {}, 5)

    with pytest.raises(NameError, match="not exported"):
        daemon(call)


def test_a_daemon_that_was_killed_is_started_again(
    ovs: PrivateOvs, br_int: str, daemon: Daemon, settings: Path
) -> None:
    def verbs(osvif: OsVif) -> list[str]:
        osvif.plug(HYBRID.vif(1), 1)
        (process,) = daemons(settings)
        os.kill(int(process.name), signal.SIGKILL)
        channel = privsep.vif_plug.channel
        assert channel is not None
        wait_until(lambda: not channel.running, what="the client to notice")
        osvif.plug(HYBRID.vif(2), 2)
        return deviations(ovs, HYBRID, 1) + deviations(ovs, HYBRID, 2)

    assert daemon(verbs) == []
    assert vifs.device("qbr", 2) in snapshot()["links"]


@pytest.mark.parametrize("ask", ["plug", "plug_all"])
def test_a_daemon_that_is_killed_with_a_request_unread_is_started_again(
    ask: str, ovs: PrivateOvs, br_int: str, daemon: Daemon, settings: Path
) -> None:
    """Its socket is reset then, and oslo.privsep's reader does not survive that."""
    which = range(2, 4 if ask == "plug" else 9)

    def verbs(osvif: OsVif) -> tuple[bool, list[Any]]:
        osvif.plug(HYBRID.vif(1), 1)
        (process,) = daemons(settings)
        os.kill(int(process.name), signal.SIGSTOP)
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
        os.kill(int(process.name), signal.SIGKILL)
        plugging.join(8)
        found = [deviations(ovs, HYBRID, number) for number in which]
        return plugging.is_alive(), failures + [one for each in found for one in each]

    assert daemon(verbs) == (False, [])


def test_a_daemon_that_was_killed_with_requests_unread_serves_nobody_and_is_started_again(
    ovs: PrivateOvs, br_int: str, daemon: Daemon, settings: Path
) -> None:
    """Of a caller who has given up: the next one finds a broken pipe."""

    def verbs(osvif: OsVif) -> list[str]:
        osvif.plug(TAP.vif(1), 1)
        (process,) = daemons(settings)
        os.kill(int(process.name), signal.SIGSTOP)
        osvif.configure(ovs_vsctl_timeout=1)
        with pytest.raises(exception.PlugException):
            osvif.plug(TAP.vif(2), 2)
        os.kill(int(process.name), signal.SIGKILL)
        osvif.configure(ovs_vsctl_timeout=20)
        for number in (2, 3):
            osvif.plug(TAP.vif(number), number)
        return deviations(ovs, TAP, 2) + deviations(ovs, TAP, 3)

    assert daemon(verbs) == []


def test_a_daemon_that_hangs_is_a_failure_in_time_and_the_next_verb_has_another(
    ovs: PrivateOvs, br_int: str, daemon: Daemon, settings: Path
) -> None:
    """When it wakes up it does what it was asked for, and then what rolls that back."""

    def verbs(osvif: OsVif) -> tuple[float, str, list[str]]:
        osvif.plug(HYBRID.vif(1), 1)
        before = snapshot(ovs)
        (process,) = daemons(settings)
        os.kill(int(process.name), signal.SIGSTOP)
        osvif.configure(ovs_vsctl_timeout=1)
        with stopwatch() as lap, pytest.raises(exception.PlugException) as failure:
            osvif.plug(HYBRID.vif(2), 2)
        assert isinstance(failure.value.__cause__, errors.NotRolledBack)
        osvif.configure(ovs_vsctl_timeout=20)
        osvif.plug(HYBRID.vif(3), 3)
        found = deviations(ovs, HYBRID, 3)
        osvif.unplug(HYBRID.vif(3), 3)
        os.kill(int(process.name), signal.SIGCONT)
        wait_until(lambda: process not in daemons(settings), what="the first daemon to end")
        ovs.catch_up()
        return lap.own, difference(before, snapshot(ovs)), found

    took, left, found = daemon(verbs)
    assert took < 2
    assert (left, found) == ("", [])


def test_a_daemon_that_dies_in_every_request_is_a_failure_and_leaves_nothing(
    ovs: PrivateOvs, br_int: str, daemon: Daemon, settings: Path
) -> None:
    """Killed again and again as soon as it is there: the verb does not go on for ever."""

    def verbs(osvif: OsVif) -> tuple[str, str, list[str]]:
        before = snapshot(ovs)
        ended = threading.Event()

        def kill() -> None:
            while not ended.is_set():
                for process in daemons(settings):
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
    kind: Kind, ovs: PrivateOvs, br_int: str, daemon: Daemon
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
