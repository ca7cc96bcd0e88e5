# SPDX-License-Identifier: Apache-2.0
"""Filtering of Linux bridges with iptables itself, on both of its backends."""

import fcntl
import itertools
import math
import os
import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from os_vif.kernel import packing, programs
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.errors import DeadlineExceeded
from os_vif.wiring.steps import FilterBridge
from tests.rig import run, wait_until
from tests.rig.guest import BridgeGuest
from tests.rig.linux_bridge import give_ipv6, ip
from tests.rig.namespace import NetworkNamespace
from tests.rig.plugin import Child
from tests.rig.processes import at_once, started
from tests.rig.stopwatch import within
from tests.unit.linux_bridge.test_forwarding_rules import Iptables
from vif_plug_linux_bridge import forwarding_rules, iptables_runner, privsep
from vif_plug_linux_bridge import privileged as entry
from vif_plug_linux_bridge.forwarding_rules import Filtering

#: Seconds: more than anything takes here; and in which an answer that does not come would have.
AMPLE, LOST = 30.0, 0.15
OWN = forwarding_rules.OWN_FORWARD
PROGRAMS = [f"{ip}tables{verb}" for ip in ("ip", "ip6") for verb in ("", "-save", "-restore")]

FLAT = Filtering("br1")
NARROW = Filtering("br2", forward_bridge_interface=("eth0",))
CLOSED = Filtering("br3", gateway=False)


class Backend:
    """One of the two, first in PATH; it notes each call and its exit code."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / "calls"
        for program in PROGRAMS:
            self.restored(program)

    def restored(self, program: str) -> None:
        """Make a program what it is."""
        real = shutil.which(f"{program.replace('tables', f'tables-{self.name}')}")
        self.replaced(
            program, f'{real} "$@"\ncode=$?\necho {program} $code >> {self.log}\nexit $code'
        )

    def replaced(self, program: str, script: str) -> None:
        path = self.folder / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def calls(self, program: str = "iptables-restore") -> list[int]:
        """The exit codes of a program's calls, oldest first."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == program]

    def rules(self, program: str = "iptables", *arguments: str) -> str:
        """What is there, less the lines with the date, and counters only with ``-c``."""
        text = run([f"{program}-save", "-t", "filter", *arguments]).stdout
        lines = (line for line in text.splitlines() if not line.startswith("#"))
        return "\n".join(line if arguments else line.partition(" [")[0] for line in lines)

    def chain(self, name: str, program: str = "iptables", *arguments: str) -> list[str]:
        lines = self.rules(program, *arguments).splitlines()
        return [line for line in lines if f"-A {name} " in line]


@pytest.fixture(params=["nft", "legacy"])
def backend(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    netns: NetworkNamespace,
) -> Backend:
    name = str(request.param)
    if run([f"iptables-{name}-save", "-t", "filter"], check=False).returncode:
        pytest.skip(f"this kernel does not have the {name} backend of iptables")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "lock"))  # not the machine's
    return Backend(name, folder)


def ensure(*every: Filtering, seconds: float = AMPLE) -> list[bool]:
    return [iptables_runner.ensure(wanted, Deadline(seconds)) for wanted in every]


def remove(bridge: str) -> bool:
    return iptables_runner.remove(bridge, Deadline(AMPLE))


def bridges() -> tuple[str, ...]:
    return iptables_runner.bridges(Deadline(AMPLE))


# Rules of others ---------------------------------------------------------------------------------

OTHERS = ["-s 198.51.100.1 -j ACCEPT", "-j nova-compute-FORWARD", "-i docker0 -j ACCEPT"]


@pytest.fixture
def others(backend: Backend) -> list[str]:
    """Their chains and rules, with counters that are not zero."""
    counted = "\n".join(f"[{i + 7}:{i + 700}] -A FORWARD {rule}" for i, rule in enumerate(OTHERS))
    text = f"*filter\n:FORWARD ACCEPT [5:55]\n:nova-compute-FORWARD - [0:0]\n{counted}\nCOMMIT\n"
    subprocess.run(["iptables-restore", "--counters"], input=text.encode(), check=True)
    backend.log.unlink()
    return theirs(backend)


def theirs(backend: Backend) -> list[str]:
    """What is not ours. The legacy backend zeroes the counters of policies by any change."""
    lines = backend.rules("iptables", "-c").splitlines()
    if backend.name == "legacy":
        lines = [line.partition("[")[0] if line[0] == ":" else line for line in lines]
    return [line for line in lines if "os-vif" not in line]


def test_others_keep_their_rules_and_counters(backend: Backend, others: list[str]) -> None:
    for wanted in (FLAT, NARROW, CLOSED, Filtering("br1", iptables_top_regex="docker0")):
        assert ensure(wanted) == [True]
        assert theirs(backend) == others
    assert bridges() == ("br1", "br2", "br3")
    for name in bridges():
        assert remove(name)
        assert theirs(backend) == others
    assert "os-vif" not in backend.rules()
    assert len(others) == 3 + len(OTHERS) + 3


def test_bridges_keep_each_others_counters(backend: Backend) -> None:
    ensure(FLAT)
    rules = backend.rules("iptables", "-c").replace("[0:0] -A os-vif", "[7:700] -A os-vif")
    subprocess.run(["iptables-restore", "--counters"], input=f"{rules}\n".encode(), check=True)
    ensure(NARROW, CLOSED)
    remove("br2")
    mine = [line for line in backend.chain(OWN, "iptables", "-c") if '"os-vif:br1"' in line]
    assert [line[:7] for line in mine] == ["[7:700]"] * 2


@pytest.mark.parametrize("use_ipv6", [False, True])
def test_what_is_there_is_not_written_again(backend: Backend, use_ipv6: bool) -> None:
    every = [
        Filtering("br1", True, ("all",), "DROP", "^-A FORWARD -s", "docker", use_ipv6),
        Filtering("br2", True, ("eth0", "eth1.5"), "REJECT", use_ipv6=use_ipv6),
        Filtering("br-3_x@y=z", False, ("eth0",), "nova", use_ipv6=use_ipv6),
        Filtering("x" * 15, False, iptables_drop_action="NFQUEUE", use_ipv6=use_ipv6),
    ]
    for program in ("iptables", "ip6tables"):
        run([program, "-N", "nova"])
    assert ensure(*every) == [True] * 4
    before = [backend.rules(program) for program in ("iptables", "ip6tables")]
    written = [backend.calls(f"{program}-restore") for program in ("iptables", "ip6tables")]
    assert written == [[0] * 4, [0] * 4 * use_ipv6]
    read = len(backend.calls("iptables-save"))
    assert ensure(*every) == [False] * 4
    assert len(backend.calls("iptables-save")) == read + 4
    assert [backend.rules(program) for program in ("iptables", "ip6tables")] == before
    written = [backend.calls(f"{program}-restore") for program in ("iptables", "ip6tables")]
    assert written == [[0] * 4, [0] * 4 * use_ipv6]
    assert ("os-vif" in before[1]) == use_ipv6


def test_any_sequence_of_changes_goes_as_in_the_unit_tests(backend: Backend) -> None:
    """The table in memory there is what iptables is here; one run of a few hundred changes."""
    dice, model = random.Random(backend.name), Iptables()
    for _ in range(60):
        wanted = Filtering(
            dice.choice(["br1", "br2", "br3"]),
            dice.random() < 0.7,
            dice.choice([("all",), ("eth0",), ("eth0", "eth1"), ()]),
            "DROP",
            dice.choice(["", "192.0.2", "192.0.2.[12]/"]),
            dice.choice(["", "192.0.2.3", "203"]),
        )
        act = dice.random()
        if act < 0.6:
            assert ensure(wanted) == [model.ensure(wanted)]
        elif act < 0.8:
            assert remove(wanted.bridge) == model.remove(wanted.bridge)
        else:
            rule = f"-s 192.0.2.{dice.randint(1, 4)}/32 -j ACCEPT"
            place = dice.randint(0, len(model.chains["FORWARD"]))
            model.chains["FORWARD"].insert(place, rule)
            run(["iptables", "-I", "FORWARD", str(place + 1), *rule.split()])
        found = forwarding_rules.parse(backend.rules())
        texts = {name: [entry.text for entry in entries] for name, entries in found.items()}
        assert texts == model.chains


# Packets -----------------------------------------------------------------------------------------

NETWORKS = {"br1": 1, "br2": 2, "br3": 3}


@pytest.fixture
def reaches(backend: Backend) -> Iterator[Callable[..., bool]]:
    """Two guests on each of three bridges, the host between them forwards.

    :returns: whether the first guest of a bridge reaches that of another (or the second of its
        own), by IPv4 or IPv6.
    """
    made: dict[tuple[str, int], BridgeGuest] = {}
    for family in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path(f"/proc/sys/net/{family}").write_text("1")

    def answer(one: str, other: str, version: int = 4) -> bool:
        i, n = 3 if one == other else 2, NETWORKS[other]
        address = f"192.0.2.{n * 16 + i}" if version == 4 else f"2001:db8:{n}::{i}"
        return made[one, 2].ping(address, count=1, wait=LOST)[1] == 1

    with ExitStack() as stack:
        for bridge, n in NETWORKS.items():
            four, six = f"192.0.2.{n * 16 + 1}", f"2001:db8:{n}::"
            ip(f"link add name {bridge} type bridge")
            ip(f"address add {four}/28 dev {bridge}")
            ip(f"address add {six}1/64 dev {bridge} nodad")
            ip(f"link set {bridge} up")
            for i in (2, 3):
                mac, address = f"fa:16:3e:00:0{n}:0{i}", f"192.0.2.{n * 16 + i}/28"
                guest = stack.enter_context(BridgeGuest(bridge, f"tap{n}-{i}", mac, address))
                give_ipv6(guest, f"{six}{i}")
                guest.namespace.run(["ip", "route", "add", "default", "via", four])
                guest.namespace.run(["ip", "-6", "route", "add", "default", "via", f"{six}1"])
                made[bridge, i] = guest
        for pair in itertools.product(NETWORKS, NETWORKS, (4, 6)):  # neighbours get to know them
            wait_until(lambda pair=pair: answer(*pair), what="guests")
        yield answer


def who_reaches_whom(reaches: Callable[..., bool], version: int = 4) -> set[tuple[str, str]]:
    with ThreadPoolExecutor(len(EVERY)) as threads:
        answers = threads.map(lambda pair: (pair, reaches(*pair, version)), EVERY)
        return {pair for pair, answered in answers if answered}


WITHIN = {(name, name) for name in NETWORKS}
EVERY = set(itertools.product(NETWORKS, repeat=2))


def both(*pairs: tuple[str, str]) -> set[tuple[str, str]]:
    return WITHIN | {*pairs, *((two, one) for one, two in pairs)}


def bridged_frames_are_filtered() -> bool:
    """Whether br_netfilter shows iptables what stays within a bridge."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    return switch.exists() and switch.read_text().strip() == "1"


@pytest.mark.parametrize("version", [4, 6])
def test_packets(backend: Backend, reaches: Callable[..., bool], version: int) -> None:
    def case(*every: tuple[str, bool, tuple[str, ...]]) -> set[tuple[str, str]]:
        for bridge, gateway, named in every:
            ensure(Filtering(bridge, gateway, named, use_ipv6=True))
        found = who_reaches_whom(reaches, version)
        for name in NETWORKS:
            remove(name)
        return found

    yes, everywhere = True, ("all",)
    assert case() == EVERY
    assert case(("br1", False, everywhere)) == both(("br2", "br3"))
    assert case(("br1", yes, ("br2",))) == both(("br1", "br2"), ("br2", "br3"))
    assert case(("br1", yes, everywhere), ("br2", False, ())) == both(("br1", "br3"))
    assert case(("br2", False, ()), ("br1", yes, everywhere)) == both(("br1", "br3"))

    for program in ("iptables", "ip6tables"):
        run([program, "-P", "FORWARD", "DROP"])
    within = set() if bridged_frames_are_filtered() else WITHIN
    assert case() == within
    assert case(("br1", yes, everywhere)) - within == (
        {("br1", "br1")} | both(("br1", "br2"), ("br1", "br3")) - WITHIN - within
    )
    assert case(*((name, False, ()) for name in NETWORKS)) == WITHIN
    named = case(("br1", yes, ("br2",)), ("br2", yes, ("br1",)), ("br3", yes, everywhere))
    assert named == both(("br1", "br2"))


# Several processes -------------------------------------------------------------------------------


def work(rounds: int, *names: str) -> None:
    """Plug and unplug bridges again and again, and leave them plugged."""
    for _ in range(rounds):
        for name in names:
            remove(name)
        for name in names:
            ensure(Filtering(name, name != "br-both"))


def test_processes_lose_nobodys_rules(backend: Backend, others: list[str]) -> None:
    """Beside them somebody else inserts and deletes rules of his own.

    What stands before and after stands in between as well: a bridge that nobody touches, and the
    jump to its rules.
    """
    ensure(Filtering("br-old", False))
    [*old] = backend.chain(OWN)
    names = [[f"br{i}", f"br{i}x", "br-both"] for i in range(3)]
    processes = started(*(partial(work, 6, *each) for each in names))
    looks = 0
    with ThreadPoolExecutor(len(names)) as pool:
        ended = [pool.submit(process.result) for process in processes]
        while not all(one.done() for one in ended):
            run(["iptables", "-w", "-I", "FORWARD", "-s", "203.0.113.1", "-j", "ACCEPT"])
            rules = backend.rules()
            assert rules.count(f"-j {OWN}\n") == 1
            assert [line for line in old if line not in rules] == []
            run(["iptables", "-w", "-D", "FORWARD", "-s", "203.0.113.1", "-j", "ACCEPT"])
            looks += 1
        assert [one.result() for one in ended] == [None] * len(names)
    assert looks > 5
    every = sorted({name for each in names for name in each})
    assert bridges() == tuple(sorted([*every, "br-old"]))
    wanted = [Filtering(name, name != "br-both") for name in every]
    assert ensure(*wanted, Filtering("br-old", False)) == [False] * (len(wanted) + 1)
    assert len(backend.chain(OWN)) == sum(len(one.rules) for one in wanted) + len(old)
    assert [line.partition("] ")[2] for line in theirs(backend)[3:]] == [
        line.partition("] ")[2] for line in others[3:]
    ]
    assert any(backend.calls()), "nobody was in anybody's way"


def test_all_at_once_from_nothing(backend: Backend) -> None:
    """The chain is made by one of them; who comes second is refused and reads anew."""
    at_once(*(partial(work, 1, f"br{i}") for i in range(4)))
    assert bridges() == tuple(f"br{i}" for i in range(4))
    assert len(backend.chain("FORWARD")) == 1
    assert len(backend.chain(OWN)) == 8


def test_a_killed_process_leaves_nothing_half_done(backend: Backend, others: list[str]) -> None:
    dice = random.Random(1)
    for _ in range(4):
        with Child(partial(work, 1000, "br1", "br2")) as process:
            time.sleep(0.05 + dice.random() / 5)
            process.kill()
        assert process.killed
        time.sleep(0.1)  # for a program that it had started
        whole = [len(each.rules) for each in (FLAT, Filtering("br2"))]
        counts = [backend.rules().count(f'"os-vif:{name}"') for name in ("br1", "br2")]
        assert all(count in (0, all_) for count, all_ in zip(counts, whole, strict=True))
        assert len([line for line in backend.chain("FORWARD") if OWN in line]) == any(counts)
        ensure(FLAT, Filtering("br2"))
        assert ensure(FLAT, Filtering("br2")) == [False, False]
    assert remove("br1")
    assert remove("br2")
    assert theirs(backend) == others


# What goes wrong ---------------------------------------------------------------------------------

BOTH = Filtering("br1", use_ipv6=True)
TIMEOUT = 1.5


@pytest.mark.parametrize("program", [name for name in PROGRAMS if "-" in name])
def test_a_program_that_hangs_ends_by_the_deadline(backend: Backend, program: str) -> None:
    before = [backend.rules(name) for name in ("iptables", "ip6tables")]
    backend.replaced(program, "exec sleep 60")
    killed = pytest.raises(DeadlineExceeded, match=rf"after \d(\.\d)? s: {program} .*was killed")
    with within(TIMEOUT + 1), killed:
        # as the daemon does
        iptables_runner.ensure(BOTH, Deadline.until(time.monotonic() + TIMEOUT))
    backend.restored(program)
    assert [backend.rules(name) for name in ("iptables", "ip6tables")] == before
    assert ensure(BOTH) == [True]


@pytest.fixture
def privileged() -> Iterator[None]:
    """This process is the daemon."""
    privsep.vif_plug.set_client_mode(False)
    yield
    privsep.vif_plug.set_client_mode(True)


@pytest.mark.usefixtures("privileged")
def test_a_deadline_that_has_expired_is_none_without_end(backend: Backend) -> None:
    """Told as 0 seconds, it let iptables write after the verb had failed."""
    before, step = backend.rules(), packing.pack(FilterBridge("br1", asdict(FLAT)))
    backend.log.unlink()
    [[taken, why, _]] = entry.change_links([[step]], until=time.monotonic())
    assert (taken, "iptables-save -t filter was not started" in why) == (0, True)
    with pytest.raises(DeadlineExceeded):
        entry.filtered(until=time.monotonic())
    with pytest.raises(DeadlineExceeded):
        iptables_runner.ensure(FLAT, Deadline.until(time.monotonic() - 1))  # waited for the daemon
    assert not backend.log.exists()
    assert backend.rules() == before
    assert entry.change_links([[step]], until=math.inf) == [(1, "", 0)]


def test_a_write_that_took_effect_too_late_is_rolled_back(backend: Backend) -> None:
    before = backend.rules()
    real = shutil.which(f"iptables-{backend.name}-restore")
    slow = backend.folder / "slow"
    backend.replaced(
        "iptables-restore", f'{real} "$@"\n[ -e {slow} ] && exit\ntouch {slow}\nexec sleep 60'
    )
    with pytest.raises(DeadlineExceeded):
        ensure(FLAT, seconds=TIMEOUT)
    assert slow.exists()
    assert backend.rules() == before


@pytest.mark.parametrize("earlier", [[], [Filtering("br1", gateway=False), Filtering("br2")]])
def test_both_families_or_none(backend: Backend, earlier: list[Filtering]) -> None:
    def rules() -> list[str]:
        both = map(backend.rules, ("iptables", "ip6tables"))
        return [re.sub(r"generation:\d+", "", each) for each in both]

    ensure(*earlier)
    before = rules()
    backend.replaced("ip6tables-restore", "echo no such thing >&2; exit 3")
    with pytest.raises(iptables_runner.CommandFailed) as caught:
        ensure(BOTH)
    command = r"ip6tables-restore --noflush --wait=\d+"
    assert re.fullmatch(rf"{command} failed \(exit code 3\): no such thing", str(caught.value))
    assert rules() == before


def test_an_unknown_target_is_refused_by_name(backend: Backend) -> None:
    before = backend.rules()
    with pytest.raises(iptables_runner.CommandFailed, match=r"exit code [1-9].*NOSUCH") as caught:
        ensure(Filtering("br1", gateway=False, iptables_drop_action="NOSUCH"))
    assert backend.rules() == before
    assert type(caught.value)(*caught.value.args).args == caught.value.args  # through privsep


def test_programs_are_found_without_a_path_and_a_missing_one_is_named(
    netns: NetworkNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert ensure(FLAT) == [True]
    monkeypatch.setattr(programs, "FOLDERS", ())
    missing = "iptables-save .*no such program in /nowhere"
    with pytest.raises(iptables_runner.CommandFailed, match=missing):
        ensure(FLAT)


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ("echo no IPv6 here >&2; exit 3", iptables_runner.CommandFailed, "no IPv6 here"),
        (
            "echo \"# Table \\`filter' is incompatible, use 'nft' tool.\"",
            forwarding_rules.UnreadableRules,
            "use 'nft' tool",
        ),
    ],
    ids=["the host does without IPv6", "only nft understands its rules"],
)
def test_rules_of_ipv6_that_cannot_be_read_are_not_in_the_way_of_ipv4(
    script: str, error: type[Exception], said: str, backend: Backend
) -> None:
    ensure(FLAT)
    backend.replaced("ip6tables-save", script)
    assert bridges() == ("br1",)
    assert remove("br1")
    assert bridges() == ()
    with pytest.raises(error, match=said):
        ensure(BOTH)
    assert bridges() == ()


def test_rules_that_do_not_stay(backend: Backend) -> None:
    backend.replaced("iptables-restore", f"exec true\necho iptables-restore 0 >> {backend.log}")
    with pytest.raises(iptables_runner.RulesNotKept, match="-N os-vif-FORWARD"):
        ensure(FLAT)


@pytest.mark.parametrize("backend", ["legacy"], indirect=True)
def test_a_lock_of_others_is_waited_for(backend: Backend) -> None:
    """The legacy backend has one lock for all programs of the machine."""
    with open(os.environ["XTABLES_LOCKFILE"], "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = pytest.raises(iptables_runner.CommandFailed, match=r"exit code 4.*xtables lock")
        with within(2.5) as lap, refused:
            ensure(FLAT, seconds=1.5)
        assert lap.took >= 1
        threading.Timer(0.5, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        start = time.monotonic()
        assert ensure(FLAT) == [True]
        assert time.monotonic() - start > 0.4
    assert set(backend.calls()) == {0, 4}


@pytest.mark.parametrize("backend", ["nft"], indirect=True)
def test_a_table_that_only_nft_understands(backend: Backend) -> None:
    run(["nft", "add table ip filter; add chain ip filter FORWARD"])
    run(["nft", "add rule ip filter FORWARD ct state vmap { new : accept }"])
    before = run(["nft", "list", "ruleset"]).stdout
    with pytest.raises(forwarding_rules.UnreadableRules, match="use 'nft' tool"):
        ensure(FLAT)
    assert run(["nft", "list", "ruleset"]).stdout == before
