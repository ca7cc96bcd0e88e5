# SPDX-License-Identifier: Apache-2.0
"""The rig itself: what the other tests build upon."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import CommandError, run, wait_until
from tests.rig.certificates import Authority
from tests.rig.guest import BridgeGuest, TapGuest
from tests.rig.namespace import NetworkNamespace, private_network
from tests.rig.ovs import Daemon, PrivateOvs
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import Stopwatch, of_this_namespace, stopwatch

ROOT = Path(__file__).parents[2]
MACS = ("fa:16:3e:00:00:01", "fa:16:3e:00:00:02")
ADDRESSES = ("192.0.2.1/24", "192.0.2.2/24")
LOST = 0.3  # seconds to wait for an answer that is not to come


def here() -> tuple[str, str, str, str]:
    kinds = ("net", "mnt")
    places = [os.readlink(f"/proc/thread-self/ns/{kind}") for kind in kinds]
    return places[0], places[1], os.getcwd(), str(os.stat("/").st_ino)


def children() -> list[int]:
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(pid) for file in listed for pid in file.read_text().split()]


def make_tap(name: str, *options: str) -> None:
    run(["ip", "tuntap", "add", name, "mode", "tap", *options])
    run(["ip", "link", "set", name, "up"])


def make_bridge(ovs: PrivateOvs, *ports: str) -> None:
    arguments = ["add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev"]
    for port in ports:
        arguments += ["--", "add-port", "br-int", port]
    ovs.vsctl(*arguments)


def tap_guests(queues: int = 1) -> tuple[TapGuest, TapGuest]:
    many = queues > 1
    return (
        TapGuest("tap1", MACS[0], ADDRESSES[0], multi_queue=many, queues=queues),
        TapGuest("tap2", MACS[1], ADDRESSES[1], multi_queue=many, queues=queues),
    )


# Namespaces -----------------------------------------------------------------------------------


def test_private_network_shows_only_itself_and_gives_the_thread_back() -> None:
    before = here()
    with private_network():
        make_tap("probe1")
        assert set(links()) == {"lo", "probe1"}
        assert links()["lo"]["up"]
        assert Path("/sys/class/net/probe1").exists()
        assert here()[:2] != before[:2]
    assert here() == before
    assert not Path("/sys/class/net/probe1").exists()


def test_private_network_comes_back_after_an_error_and_beside_its_threads(tmp_path: Path) -> None:
    before = here()
    done = threading.Event()
    seen: list[list[str]] = []

    def inside() -> None:
        seen.append(sorted(links()))
        done.wait(10)

    def fail() -> None:
        with private_network():
            threads.append(threading.Thread(target=inside))
            threads[0].start()
            wait_until(lambda: seen, what="the thread inside")
            os.chdir(tmp_path)
            raise ZeroDivisionError

    threads: list[threading.Thread] = []
    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert here() == before
        assert seen == [["lo"]]
    finally:
        done.set()
        threads[0].join()


def test_private_networks_nest(netns: NetworkNamespace) -> None:
    make_tap("outer")
    with private_network():
        assert set(links()) == {"lo"}
    assert "outer" in links()
    assert Path("/sys/class/net/outer").exists()


def test_a_namespace_is_entered_by_thread(netns: NetworkNamespace) -> None:
    with NetworkNamespace() as guest:
        guest.run(["ip", "link", "set", "lo", "up"])
        with guest.enter():
            make_tap("inner")
        assert "inner" not in links()
        assert "inner" in guest.run(["ip", "-o", "link"]).stdout
        with pytest.raises(CommandError, match="Cannot find device"):
            guest.run(["ip", "link", "set", "missing", "up"])


def test_the_guard_refuses_the_network_of_pid_1() -> None:
    here_is_pid_1 = ["unshare", "--pid", "--fork", "--mount-proc"]
    bare = ["-c", os.devnull, f"--rootdir={ROOT}", "-p", "no:cacheprovider"]
    chosen = ["-k", "test_wait_until_says", "tests/functional/test_rig.py"]
    argv = [*here_is_pid_1, sys.executable, "-m", "pytest", *bare, *chosen]
    refused = run(argv, check=False, cwd=ROOT)
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "run them in a namespace of their own" in refused.stdout + refused.stderr


def test_wait_until_says_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match=r"0\.01 s for rain"):
        wait_until(lambda: False, timeout=0.01, what="rain")


# Guests ---------------------------------------------------------------------------------------


def test_tap_guests_ping_through_ovs(ovs: PrivateOvs) -> None:
    make_tap("tap1")
    make_tap("tap2")
    make_bridge(ovs, "tap1", "tap2")
    one, two = tap_guests()
    with one:
        assert one.ping(two.ip, count=1, wait=LOST) == (1, 0)
        with two:
            assert one.ping(two.ip) == (3, 3)
            assert two.ping(one.ip, count=1, size=1500, dont_fragment=True) == (1, 1)
            assert two.ping(one.ip, count=1, size=1501, dont_fragment=True, wait=LOST)[1] == 0


def test_a_tag_separates_guests(ovs: PrivateOvs) -> None:
    make_tap("tap1")
    make_tap("tap2")
    make_bridge(ovs, "tap1", "tap2")
    one, two = tap_guests()
    with one, two:
        assert one.ping(two.ip, count=1) == (1, 1)
        ovs.vsctl("set", "Port", "tap1", "tag=7")
        ovs.settle_flows()
        assert one.ping(two.ip, count=2, wait=LOST)[1] == 0
        ovs.vsctl("set", "Port", "tap2", "tag=7")
        ovs.settle_flows()
        assert one.ping(two.ip, count=1) == (1, 1)


def test_multi_queue_guests_ping(ovs: PrivateOvs) -> None:
    make_tap("tap1", "multi_queue")
    make_tap("tap2", "multi_queue")
    make_bridge(ovs, "tap1", "tap2")
    one, two = tap_guests(queues=2)
    with one, two:
        assert one.ping(two.ip, count=4) == (4, 4)


def test_a_tap_must_be_there_and_be_of_the_right_kind(netns: NetworkNamespace) -> None:
    with pytest.raises(OSError, match="no interface"), TapGuest("tap1", MACS[0], ADDRESSES[0]):
        pass
    make_tap("tap1")
    with (
        pytest.raises(OSError, match="Invalid argument"),
        TapGuest("tap1", MACS[0], ADDRESSES[0], multi_queue=True),
    ):
        pass


def test_a_tap_has_a_carrier_while_its_guest_runs(netns: NetworkNamespace) -> None:
    make_tap("tap1")
    carrier = Path("/sys/class/net/tap1/carrier")
    assert carrier.read_text() == "0\n"
    with TapGuest("tap1", MACS[0], ADDRESSES[0]):
        assert carrier.read_text() == "1\n"
    assert carrier.read_text() == "0\n"


def test_bridge_guests_ping_through_linux_bridges_and_ovs(ovs: PrivateOvs) -> None:
    for number in "12":
        run(["ip", "link", "add", f"qbr{number}", "type", "bridge"])
        veth = ["type", "veth", "peer", "name", f"qvo{number}"]
        run(["ip", "link", "add", f"qvb{number}", "master", f"qbr{number}", *veth])
        for link in ("qbr", "qvb", "qvo"):
            run(["ip", "link", "set", f"{link}{number}", "up"])
    make_bridge(ovs, "qvo1", "qvo2")
    before = snapshot(ovs)
    one = BridgeGuest("qbr1", "tap1", MACS[0], ADDRESSES[0])
    two = BridgeGuest("qbr2", "tap2", MACS[1], ADDRESSES[1])
    with one, two:
        assert links()["tap1"]["master"] == "qbr1"
        assert links()["tap1"]["mac"].startswith("fe:16:3e")
        assert one.ping(two.ip) == (3, 3)
    assert "tap1" not in links()
    assert not difference(before, snapshot(ovs))


def test_a_guest_with_a_veth_in_ovs_beside_one_with_a_tap(ovs: PrivateOvs) -> None:
    make_tap("tap1")
    one = TapGuest("tap1", MACS[0], ADDRESSES[0], mtu=1400)
    two = BridgeGuest(None, "veth2", MACS[1], ADDRESSES[1], mtu=1400)
    with one, two:
        make_bridge(ovs, "tap1", "veth2")
        assert two.ping(one.ip, count=1) == (1, 1)
        assert two.ping(one.ip, count=1, size=1401, dont_fragment=True, wait=LOST)[1] == 0


# Open vSwitch ---------------------------------------------------------------------------------


def test_netdev_refuses_a_bridge_of_type_system(ovs: PrivateOvs) -> None:
    ovs.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=system")
    assert ovs.interface("br0")["ofport"] is None
    assert "br0" not in links()


def test_dummy_takes_any_bridge_and_port(ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.vsctl("add-br", "br0", "--", "add-port", "br0", "nowhere")
    assert ovs_dummy.interface("nowhere")["ofport"] > 0
    assert ovs_dummy.vsctl("--db=tcp:127.0.0.1:6640", "list-ports", "br0") == "nowhere"


def test_a_missing_device_is_an_error_of_its_interface(ovs: PrivateOvs) -> None:
    make_bridge(ovs, "nowhere")
    assert ovs.interface("nowhere")["ofport"] == -1
    assert "No such device" in ovs.interface("nowhere")["error"]


def test_catching_up_waits_for_vswitchd(ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.freeze("vswitchd")
    ovs_dummy.vsctl("--no-wait", "add-br", "br0", "--", "add-port", "br0", "nowhere")
    with pytest.raises(TimeoutError):
        ovs_dummy.catch_up(0.3)
    ovs_dummy.thaw("vswitchd")
    ovs_dummy.catch_up()
    assert ovs_dummy.interface("nowhere")["ofport"] > 0


def test_freeze_and_thaw_vswitchd(ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.freeze("vswitchd")
    ovs_dummy.vsctl("--no-wait", "add-br", "br0")
    with pytest.raises(CommandError):
        ovs_dummy.vsctl("--timeout=1", "add-br", "br1")
    assert ovs_dummy.cur_cfg() < ovs_dummy.next_cfg()
    assert ovs_dummy.interface("br0")["ofport"] is None
    ovs_dummy.thaw("vswitchd")
    wait_until(lambda: ovs_dummy.cur_cfg() == ovs_dummy.next_cfg(), what="vswitchd")
    assert ovs_dummy.interface("br0")["ofport"] == 65534


def test_freeze_and_thaw_the_server(ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.freeze("ovsdb-server")
    with pytest.raises(CommandError):
        ovs_dummy.vsctl("--timeout=1", "list-br")
    ovs_dummy.thaw("ovsdb-server")
    assert ovs_dummy.vsctl("list-br") == ""


@pytest.mark.parametrize("which", ["vswitchd", "ovsdb-server"])
def test_a_frozen_daemon_ends_in_time(netns: NetworkNamespace, which: Daemon) -> None:
    with PrivateOvs("dummy") as ovs:
        ovs.freeze(which)
        watch = Stopwatch(of_this_namespace)
    assert watch.lap().own < 2


def test_kill_and_start_again(ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.vsctl("add-br", "br0")
    for which in ("vswitchd", "ovsdb-server"):
        ovs_dummy.kill(which)
        assert not ovs_dummy.running(which)
    ovs_dummy.start_server()
    assert list(ovs_dummy.dump()["Bridge"]) == ["br0"]
    ovs_dummy.start_vswitchd()
    assert ovs_dummy.interface("br0")["ofport"] == 65534


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


def test_lose_the_database(ovs: PrivateOvs) -> None:
    before = snapshot(ovs)
    make_bridge(ovs)
    assert "br-int" in links()
    ovs.lose_database()
    assert not difference(before, snapshot(ovs))
    assert "ovsdb-server.log" in ovs.log()


def test_lose_the_database_while_vswitchd_is_frozen(ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.vsctl("add-br", "br0")
    ovs_dummy.freeze("vswitchd")
    ovs_dummy.lose_database()
    assert ovs_dummy.dump()["Bridge"] == {}


def test_starts_within_a_second_and_leaves_no_process_and_no_folder() -> None:
    before = children()
    with private_network():
        watch = Stopwatch(of_this_namespace)
        with PrivateOvs("netdev") as ovs:
            assert watch.lap().own < 1
            make_tap("tap1")
            with TapGuest("tap1", MACS[0], ADDRESSES[0]) as guest:
                ours = {ovs.pid("vswitchd"), ovs.pid("ovsdb-server"), guest.pid}
                assert set(children()) == {*before, *ours}
    assert children() == before
    assert not Path(ovs.rundir).exists()


def test_daemons_and_guests_end_with_a_killed_test_run(netns: NetworkNamespace) -> None:
    make_tap("tap1")
    program = (
        "from tests.rig.ovs import PrivateOvs\n"
        "from tests.rig.guest import TapGuest\n"
        f"ovs, guest = PrivateOvs('dummy'), TapGuest('tap1', {MACS[0]!r}, {ADDRESSES[0]!r})\n"
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


# Snapshots ------------------------------------------------------------------------------------


def test_nothing_changed_is_no_difference(ovs: PrivateOvs) -> None:
    make_tap("tap1")
    make_bridge(ovs, "tap1")
    before = snapshot(ovs)
    ovs.vsctl("--may-exist", "add-port", "br-int", "tap1")
    with TapGuest("tap1", MACS[0], ADDRESSES[0]):
        assert difference(before, snapshot(ovs)) == ""


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


def test_a_dump_names_rows_and_normalises_values(ovs_dummy: PrivateOvs) -> None:
    qos = ["--id=@q", "create", "QoS", "type=linux-noop", "external_ids:id=abc"]
    ovs_dummy.vsctl(
        "add-br", "br0", "--", "add-port", "br0", "p1", "trunks=7", "--",
        "set", "Port", "p1", "qos=@q", "--", *qos, "--",
        "set", "Interface", "p1", "external_ids:iface-id=x",
    )  # fmt: skip
    dump = ovs_dummy.dump()
    assert dump["Open_vSwitch"] == {"bridges": ["br0"]}
    assert dump["Bridge"]["br0"]["ports"] == ["br0", "p1"]
    port = dump["Port"]["p1"]
    assert (port["qos"], port["interfaces"], port["trunks"], port["tag"]) == (
        "abc", ["p1"], [7], None,
    )  # fmt: skip
    assert dump["QoS"]["abc"]["type"] == "linux-noop"
    assert dump["Interface"]["p1"]["external_ids"] == {"iface-id": "x"}
    assert "ofport" not in dump["Interface"]["p1"]
    ovs_dummy.vsctl("create", "QoS", "type=linux-noop", "external_ids:id=abc")
    assert set(ovs_dummy.dump()["QoS"]) == {"abc", "abc#2"}


# The stopwatch ----------------------------------------------------------------------------------


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
