# SPDX-License-Identifier: Apache-2.0
"""Many callers in native threads, and in a process that eventlet has patched, beside a ticker.

Nova and Neutron have both kinds of process in the field.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.functional.many_callers import CALLERS, kind_of
from tests.rig.certificates import Authority
from tests.rig.namespace import NetworkNamespace
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import ROOT, TAP, deviations
from tests.rig.privsep import PrivsepHelper
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs.ovsdb import tls

STALL = 0.8  # seconds that a ticker may be kept from ticking
DEADLINE, GRACE = 1, 1  # seconds; those of the scenario "silence", and what it may take beyond
PORTS = 3000
LIMIT = 150  # seconds for the whole program

both = pytest.mark.parametrize("kind_of_threads", ["native", "green"])


def many_callers(
    kind_of_threads: str, scenario: str, remote: str, server: int = 0, **options: str
) -> dict[str, Any]:
    """Run the program in the namespaces of this test, and return its report."""
    if kind_of_threads == "green" and not importlib.util.find_spec("eventlet"):
        pytest.skip("eventlet is not installed")
    program = [sys.executable, "-W", "ignore", "-m", "tests.functional.many_callers"]
    done = subprocess.run(
        [*program, kind_of_threads, scenario, remote, str(server), json.dumps(options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(kind_of_threads, scenario, report)
    return report


@both
def test_twelve_callers_work_at_once_and_stall_nobody(
    kind_of_threads: str, ovs_dummy: PrivateOvs
) -> None:
    """All of them find the bridge missing; one makes it."""
    before = set(links())
    report = many_callers(kind_of_threads, "verbs", ovs_dummy.remote)
    assert report["raised"] == report["left"] == []
    assert report["gap"] < STALL
    plugged = [number for number in range(1, CALLERS + 1) if number % 2 == 0]
    assert [each for n in plugged for each in deviations(ovs_dummy, kind_of(n), n)] == []
    ports = {kind_of(number).port(number) for number in plugged}
    assert set(ovs_dummy.dump()["Bridge"]["br-int"]["ports"]) == {"br-int", *ports}
    made = {name for number in plugged for name in kind_of(number).link_names(number)}
    assert set(links()) - {"br-int"} == before | made


@both
def test_twelve_callers_with_the_same_vif_take_turns(
    kind_of_threads: str, ovs_dummy: PrivateOvs
) -> None:
    report = many_callers(kind_of_threads, "same_vif", ovs_dummy.remote)
    assert report["raised"] == report["left"] == []
    assert report["gap"] < STALL
    assert deviations(ovs_dummy, TAP) == []


@pytest.mark.parametrize("encrypted", [False, True], ids=["unix", "ssl"])
@both
def test_a_frozen_server_fails_twelve_callers_in_time_and_stalls_nobody(
    kind_of_threads: str, encrypted: bool, netns: NetworkNamespace, tmp_path: Path
) -> None:
    before = set(links())
    authority = Authority(tmp_path / "authority")
    with PrivateOvs("dummy", certificate=authority.issue("server")) as switch:
        remote = f"ssl:127.0.0.1:{switch.tls_port}" if encrypted else switch.remote
        files = authority.issue("client").files
        credentials = dict(zip(tls.OPTIONS, files, strict=True))
        server = switch.pid("ovsdb-server")
        report = many_callers(kind_of_threads, "silence", remote, server, **credentials)
        assert report["raised"] == report["succeeded"] == report["left"] == []
        assert report["failed"] == CALLERS
        assert report["took"] < DEADLINE + GRACE
        assert report["gap"] < STALL
        assert list(switch.dump()["Port"]) == ["br-int"]
        assert set(links()) == before


@pytest.mark.bug(1929446)
@both
def test_nothing_stalls_while_the_connection_is_being_made(
    kind_of_threads: str, ovs_dummy: PrivateOvs
) -> None:
    report = many_callers(kind_of_threads, "refusal", f"{ovs_dummy.remote}-not-there")
    assert len(report["raised"]) == CALLERS
    assert report["gap"] < STALL


def test_the_ticker_notices_a_wait_in_the_systems_poll(ovs_dummy: PrivateOvs) -> None:
    """So that the test above can fail."""
    report = many_callers("green", "native_poll", ovs_dummy.remote)
    assert report["gap"] > STALL


def test_interrupted_greenthreads_leave_the_connection_to_the_others(
    ovs_dummy: PrivateOvs,
) -> None:
    report = many_callers("green", "interrupted_wait", ovs_dummy.remote)
    assert report["raised"] == report["left"] == []
    assert len(report["interrupted"]) == 3
    assert all("Timeout" in each for each in report["interrupted"])


def test_greenthreads_that_come_together_share_a_transaction_without_one_that_is_interrupted(
    ovs_dummy: PrivateOvs,
) -> None:
    report = many_callers("green", "together", ovs_dummy.remote)
    (raised,) = report["raised"]
    assert raised.startswith("1: <Timeout")
    assert report["asked"] == 1
    assert report["ports"] == 12  # ten of them, one from before, and the bridge's own
    assert report["left"] == []


@pytest.fixture
def with_many_ports(ovs_dummy: PrivateOvs) -> PrivateOvs:
    """A server whose dump takes long to parse; ovs-vswitchd has no part in it."""
    ovs_dummy.fill(PORTS)
    return ovs_dummy


def test_nobody_is_stalled_while_the_replica_is_filled(with_many_ports: PrivateOvs) -> None:
    """Native threads are switched by the interpreter."""
    report = many_callers("green", "first_fill", with_many_ports.remote)
    assert report["raised"] == report["left"] == []
    assert report["gap"] < STALL


def test_a_timeout_while_the_replica_is_filled_leaves_it_whole(
    with_many_ports: PrivateOvs,
) -> None:
    report = many_callers("green", "interrupted_fill", with_many_ports.remote)
    assert report["interruptions"] > 0
    assert report["swallowed"] == 0
    assert report["ports"] == PORTS


@both
def test_the_privileged_daemon_serves_such_a_process(
    kind_of_threads: str, ovs_dummy: PrivateOvs, helper: PrivsepHelper
) -> None:
    """As in Nova: a daemon, started by the first verb that needs it, does what is privileged."""
    ovs_dummy.vsctl("add-br", "br-int")
    before = snapshot(ovs_dummy)
    report = many_callers(
        kind_of_threads, "daemon", ovs_dummy.remote, helper_command=helper.command
    )
    assert report["raised"] == []
    assert report["gap"] < STALL
    assert not difference(before, snapshot(ovs_dummy))


def test_a_greenthreads_timeout_leaves_nothing_of_a_plug(
    ovs_dummy: PrivateOvs, helper: PrivsepHelper
) -> None:
    """Its moment may be any; what was asked of the privileged daemon is done all the same."""
    ovs_dummy.vsctl("add-br", "br-int")
    before = snapshot(ovs_dummy)
    report = many_callers("green", "interrupted", ovs_dummy.remote, helper_command=helper.command)
    assert report["raised"] == []
    assert report["interrupted"] > 10
    assert not difference(before, snapshot(ovs_dummy))


@both
def test_a_thousand_who_wait_cost_as_much_as_one(kind_of_threads: str, ovs: PrivateOvs) -> None:
    ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    report = many_callers(kind_of_threads, "waits", ovs.remote)
    assert report["raised"] == report["left"] == []
    for one, thousand in (report["idle"], report["changes"]):
        assert thousand < one + 0.1  # seconds
    assert report["woken"] < 5
    assert report["gap"] < STALL
