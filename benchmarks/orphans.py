# SPDX-License-Identifier: Apache-2.0
"""What it takes to remove many orphans beside running guests, and what the guests notice of it.

The datapath is the one in user space, whose guests' packets pass through the very thread of
ovs-vswitchd that removes ports.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import os_vif
from tests import vifs
from tests.rig import run
from tests.rig.guest import TapGuest
from tests.rig.namespace import private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, TAP, initialized
from vif_plug_ovs import collection

#: How many ports and bridges tell what ovs-vswitchd, and the kernel, take for one.
_SAMPLE = 50
_PING_SECONDS = 0.1
_PROBE_SECONDS = 0.02
_SETTLE_SECONDS = 2.0


@dataclass
class Probe:
    """Asks ovs-vswitchd for its version, again and again; its main thread answers."""

    path: str
    waits: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        end = threading.Event()
        thread = threading.Thread(target=self._ask, args=(end,))
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _ask(self, end: threading.Event) -> None:
        request = json.dumps({"method": "version", "params": [], "id": 0}).encode()
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(self.path)
            while not end.wait(_PROBE_SECONDS):
                began = time.monotonic()
                channel.sendall(request)
                channel.recv(4096)
                self.waits.append(time.monotonic() - began)


@contextmanager
def traffic(guests: list[TapGuest], answers: list[dict[int, float]]) -> Iterator[None]:
    """Have guests ping each other, two by two.

    :param answers: is given what each ping was answered: its number, and the milliseconds.
    """
    with ExitStack() as files:
        outputs, pings = [], []
        for one, other in zip(guests[::2], guests[1::2], strict=True):
            argv = ["ping", "-n", "-W", "10", "-i", str(_PING_SECONDS), other.ip]
            outputs.append(files.enter_context(tempfile.TemporaryFile("w+")))
            with one.namespace.enter():
                pings.append(subprocess.Popen(argv, stdout=outputs[-1]))
        time.sleep(_SETTLE_SECONDS)
        try:
            yield
        finally:
            time.sleep(_SETTLE_SECONDS)
            for ping in pings:
                ping.send_signal(signal.SIGINT)
                ping.wait()
        for output in outputs:
            output.seek(0)
            found = re.findall(r"icmp_seq=(\d+) .*time=([\d.]+) ms", output.read())
            answers.append({int(number): float(took) for number, took in found})


def seconds_per_port(ovs: PrivateOvs) -> float:
    """Return what ovs-vswitchd takes to remove a port, of as many as gc removes at once, in one
    bare transaction."""
    names = [f"sample{number}" for number in range(_SAMPLE)]
    for name in names:
        run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
    ovs.vsctl(*(word for name in names for word in ("--", "add-port", vifs.BRIDGE, name)))
    began = time.monotonic()
    ovs.vsctl(*(word for name in names for word in ("--", "del-port", vifs.BRIDGE, name)))
    took = time.monotonic() - began
    delete(names)
    return took / _SAMPLE


def seconds_per_bridge() -> float:
    """Return what the kernel takes to delete a bridge, of those of one bare request."""
    for number in range(_SAMPLE):
        run(["ip", "link", "add", f"sample{number}", "group", "7", "type", "bridge"])
    began = time.monotonic()
    run(["ip", "link", "delete", "group", "7"])
    return (time.monotonic() - began) / _SAMPLE


def delete(links: list[str]) -> None:
    """Delete links of the kernel with one request."""
    for name in links:
        run(["ip", "link", "set", name, "group", "7"])
    run(["ip", "link", "delete", "group", "7"])


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process."""
    with open(f"/proc/{pid}/stat") as stat:
        values = stat.read().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(prog="benchmarks.orphans", description=__doc__)
    parser.add_argument("--orphans", type=int, default=1600)
    parser.add_argument("--hybrid", type=float, default=0.5, help="the share of hybrid plugs")
    parser.add_argument("--dead", action="store_true", help="without devices, as after a restart")
    parser.add_argument("--live", type=int, default=40)
    given = parser.parse_args()
    with ExitStack() as stack:
        stack.enter_context(private_network())
        ovs = stack.enter_context(PrivateOvs("netdev"))
        stack.enter_context(initialized(ovs.remote, timeout=120))
        bridge = ("Bridge", vifs.BRIDGE, "datapath_type=netdev")
        ovs.vsctl("add-br", vifs.BRIDGE, "--", "set", *bridge)
        hybrids = int(given.orphans * given.hybrid)
        measure(ovs, given.orphans, hybrids, given.live, dead=given.dead)


def measure(ovs: PrivateOvs, orphans: int, hybrids: int, live: int, *, dead: bool) -> None:
    """Plug, start guests, remove the orphans, and print what that took."""
    numbers = range(live + 1, live + orphans + 1)
    per_bridge, few = seconds_per_bridge(), seconds_per_port(ovs)
    kinds = {n: HYBRID if (n * hybrids) % orphans < hybrids else TAP for n in numbers}
    kinds |= dict.fromkeys(range(1, live + 1), TAP)
    pairs = [(kind.vif(number), vifs.instance(number)) for number, kind in kinds.items()]
    assert not [one.error for one in os_vif.plug_all(pairs) if one.error]
    # On the way from all ports to none; without a device there is nothing to close.
    per_port = 0.0 if dead else (few + seconds_per_port(ovs)) / 2
    valid = [vifs.vif_id(number) for number in range(1, live + 1)]
    if dead:
        taps = [TAP.port(number) for number in numbers if kinds[number] is TAP]
        delete(taps)
        ovs.kill("vswitchd")  # as in a restart of the host, after which it finds no device
        ovs.start_vswitchd()
        ovs.catch_up(60)
    probe, answers = Probe(f"{ovs.rundir}/vswitchd.ctl"), list[dict[int, float]]()
    vswitchd = ovs.pid("vswitchd")
    with ExitStack() as stack:
        guests = [stack.enter_context(TAP.guest(number)) for number in range(1, live + 1)]
        stack.enter_context(traffic(guests, answers))
        stack.enter_context(probe.running())
        before = time.monotonic(), time.process_time(), cpu_seconds(vswitchd)
        decided = os_vif.gc(valid, dry_run=False, grace=0, plugin="ovs")
        after = time.monotonic(), time.process_time(), cpu_seconds(vswitchd)
    wall, ours, its = (end - start for start, end in zip(before, after, strict=True))
    failed = [one.error for one in decided if one.error]
    gone = sum(one.removes for one in decided)
    assert (gone, failed) == (orphans, []), (gone, failed[:3])
    left = {one.vif_id for one in os_vif.list_vifs("ovs")}
    assert left == set(valid), left
    least = collection.PAUSE_SECONDS + max(orphans * per_port, hybrids * per_bridge)
    sent = sum(max(each) for each in answers)  # the last one may not be answered yet
    answered = sum(map(len, answers))
    slowest = max(max(each.values()) for each in answers)
    print(f"{orphans} orphans ({hybrids} hybrid) beside {live} guests: gone after {wall:.1f} s")
    print(f"  ovs-vswitchd takes {per_port * 1000:.1f} ms to remove a port, the kernel")
    print(
        f"  {per_bridge * 1000:.1f} ms to delete a bridge: at least {least:.1f} s, ratio", end=" "
    )
    print(f"{wall / least:.2f}\n  CPU: os-vif {ours:.1f} s, ovs-vswitchd {its:.1f} s")
    print(f"  longest stall of ovs-vswitchd {max(probe.waits):.2f} s")
    print(f"  {sent - answered} of {sent} pings lost, the slowest took {slowest / 1000:.2f} s")


if __name__ == "__main__":
    main()
