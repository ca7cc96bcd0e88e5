# SPDX-License-Identifier: Apache-2.0
"""Guards of the rig: it harms no machine, and what tests rely on does not pass by itself."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from os_vif.kernel import sysfs
from tests.rig import run, wait_until
from tests.rig.certificates import Authority
from tests.rig.fakesys import make_tap, mlx5, mounted
from tests.rig.namespace import NetworkNamespace, private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import stopwatch

ROOT = Path(__file__).parents[2]


def here() -> tuple[str, str, str, str]:
    kinds = ("net", "mnt")
    places = [os.readlink(f"/proc/thread-self/ns/{kind}") for kind in kinds]
    return places[0], places[1], os.getcwd(), str(os.stat("/").st_ino)


# The machine ----------------------------------------------------------------------------------


def test_the_guard_refuses_the_network_of_pid_1() -> None:
    here_is_pid_1 = ["unshare", "--pid", "--fork", "--mount-proc"]
    bare = ["-c", os.devnull, f"--rootdir={ROOT}", "-p", "no:cacheprovider"]
    chosen = ["-k", "who_waits", "tests/functional/test_rig.py"]
    argv = [*here_is_pid_1, sys.executable, "-m", "pytest", *bare, *chosen]
    refused = run(argv, check=False, cwd=ROOT)
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "run them in a namespace of their own" in refused.stdout + refused.stderr


def test_a_synthetic_sys_is_refused_in_the_mount_namespace_of_pid_1() -> None:
    program = "from tests.rig.fakesys import Host, mounted\nwith mounted(Host()): pass"
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    refused = run(argv, check=False, cwd=ROOT)
    assert "private mount namespace only" in refused.stderr


def test_a_synthetic_sys_has_the_other_devices_and_goes_with_its_test(
    netns: NetworkNamespace,
) -> None:
    make_tap("other")
    before, mounts = sysfs.netdevs(), run(["cat", "/proc/self/mounts"]).stdout
    with mounted(mlx5(vfs=1), ["enpf0", "pf0vf0"]):
        assert {one.name for one in sysfs.netdevs()} == {"lo", "other", "enpf0", "pf0vf0"}
        assert {one for one in sysfs.netdevs() if one.name in ("lo", "other")} == set(before)
    assert run(["cat", "/proc/self/mounts"]).stdout == mounts
    assert not Path("/sys/bus/pci/devices/0000:03:00.0").exists()


def test_a_private_network_gives_the_thread_back_after_an_error_and_beside_its_threads(
    tmp_path: Path,
) -> None:
    """The kernel refuses a mount namespace to a thread that shares its working directory."""
    before = here()
    done = threading.Event()
    seen: list[list[str]] = []
    threads: list[threading.Thread] = []

    def inside() -> None:
        seen.append(sorted(links()))
        done.wait(10)

    def fail() -> None:
        with private_network():
            assert here()[:2] != before[:2]
            threads.append(threading.Thread(target=inside))
            threads[0].start()
            wait_until(lambda: seen, what="the thread inside")
            os.chdir(tmp_path)
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert here() == before
        assert seen == [["lo"]]
    finally:
        done.set()
        threads[0].join()


def test_daemons_and_guests_end_with_a_killed_test_run(netns: NetworkNamespace) -> None:
    make_tap("tap1")
    program = (
        "from tests.rig.ovs import PrivateOvs\n"
        "from tests.rig.guest import TapGuest\n"
        "ovs = PrivateOvs('dummy')\n"
        "guest = TapGuest('tap1', 'fa:16:3e:00:00:01', '192.0.2.1/24')\n"
        "with ovs, guest:\n"
        "    pids = ovs.pid('vswitchd'), ovs.pid('ovsdb-server'), guest.pid\n"
        "    print(ovs.rundir, *pids, flush=True)\n"
        "    input()\n"
    )
    argv = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        rundir, *pids = child.stdout.readline().decode().split()
        assert all(Path("/proc", pid).exists() for pid in pids)
        child.kill()
    wait_until(lambda: not any(map(_alive, pids)), what="the orphans to end")
    run(["rm", "-r", rundir])


def _alive(pid: str) -> bool:
    try:
        return ") Z " not in Path("/proc", pid, "stat").read_text()
    except FileNotFoundError:
        return False


def test_a_frozen_daemon_ends_with_its_test(netns: NetworkNamespace) -> None:
    """A process that is stopped does not see SIGTERM."""
    with PrivateOvs("dummy") as ovs:
        ovs.freeze("vswitchd")
        pids = [str(ovs.pid(which)) for which in ("vswitchd", "ovsdb-server")]
    assert not any(map(_alive, pids))
    assert not Path(ovs.rundir).exists()


# What tests rely on -----------------------------------------------------------------------------


def test_a_server_that_was_started_listens_everywhere(
    netns: NetworkNamespace, tmp_path: Path
) -> None:
    """It opens its sockets one after the other, in an order of its own."""
    certificate = Authority(tmp_path / "authority").issue("server")
    with PrivateOvs("dummy", listen_tcp=True, certificate=certificate) as switch:
        for _ in range(20):
            switch.kill("ovsdb-server")
            switch.start_server()
            for address in (("127.0.0.1", 6640), ("::1", 6641)):
                with socket.create_connection(address):
                    pass


def test_a_difference_names_what_came_went_and_changed(ovs_dummy: PrivateOvs) -> None:
    run(["ip", "link", "add", "qbr1", "type", "bridge"])
    ovs_dummy.vsctl("add-br", "br0", "--", "add-port", "br0", "old")
    before = snapshot(ovs_dummy)
    run(["ip", "link", "set", "qbr1", "type", "bridge", "ageing_time", "0"])
    run(["ip", "link", "set", "qbr1", "promisc", "on", "alias", "mine"])
    run(["ip", "tuntap", "add", "tap1", "mode", "tap", "multi_queue"])
    ovs_dummy.vsctl("del-port", "old", "--", "add-port", "br0", "new", "tag=0")
    lines = difference(before, snapshot(ovs_dummy)).splitlines()
    assert "~ links/qbr1/ageing_time: 30000 -> 0" in lines
    assert "~ links/qbr1/promisc: False -> True" in lines
    assert "~ links/qbr1/alias: None -> 'mine'" in lines
    assert "~ ovs/Bridge/br0/ports: ['br0', 'old'] -> ['br0', 'new']" in lines
    assert any(line.startswith("- ovs/Interface/old: {") for line in lines)
    assert any(line.startswith("+ ovs/Port/new: {") and "'tag': 0" in line for line in lines)
    assert any(line.startswith("+ links/tap1: {") and "'multi_queue'" in line for line in lines)
    assert len(lines) == 9


def test_who_waits_is_not_excused() -> None:
    with stopwatch() as lap:
        time.sleep(0.3)
    assert lap.took >= 0.3
    assert lap.own > 0.25, lap


@pytest.fixture
def _busy_processor() -> Iterator[None]:
    """Neighbours, in another network namespace, that keep the test's processor busy."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    spin = ["unshare", "--net", sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in range(3)]
    yield
    for each in spinning:
        each.kill()
        each.wait()
    os.sched_setaffinity(0, allowed)


@pytest.mark.usefixtures("_busy_processor")
def test_who_is_kept_waiting_for_a_processor_is_excused() -> None:
    with stopwatch() as lap:
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
    assert lap.took > 0.6, "the processor was not busy"
    assert lap.own < lap.took - 0.2, lap
