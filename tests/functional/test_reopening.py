# SPDX-License-Identifier: Apache-2.0
"""Re-plugs at once, after a reboot of the guests' devices, on the datapath in user space.

It holds on to a device that is gone until its port asks for another OpenFlow port number. Of two
ports that ask for the same one ovs-vswitchd serves one, and all columns look right.
"""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from os_vif.wiring.deadline import Deadline
from os_vif.wiring.steps import ReopenPort
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import TAP, OsVif
from vif_plug_ovs.ovsdb import connection
from vif_plug_ovs.ovsdb.backend import NativeRows

THREADS, ROUNDS = 8, 3


def test_concurrent_replugs_of_lost_devices_connect_every_guest(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Packets tell; what OVSDB says looks right in any case."""
    osvif.configure(ovs_vsctl_timeout=30)
    numbers = range(1, THREADS + 1)
    for number in (*numbers, 99):
        osvif.plug_kind(TAP, number)
    dead = []
    for attempt in range(ROUNDS):
        for number in numbers:
            run(["ip", "link", "delete", vifs.device("tap", number)])
        at_once(lambda number: osvif.plug(TAP.vif(number), number), numbers)
        with TAP.guest(99) as other, ExitStack() as stack:
            guests = {n: stack.enter_context(TAP.guest(n)) for n in numbers}
            for number, guest in guests.items():
                if guest.ping(other.ip, count=2, interval=0.02, wait=1)[1] == 0:
                    dead.append((attempt, number))
    print(f"{len(dead)} of {ROUNDS * THREADS} guests without a network")
    assert dead == []


def at_once(do: Callable[[int], None], numbers: range) -> None:
    start = threading.Barrier(len(numbers))

    def wait_and_do(number: int) -> None:
        start.wait()
        do(number)

    with ThreadPoolExecutor(len(numbers)) as pool:
        list(pool.map(wait_and_do, numbers))


def test_a_batch_asks_for_a_number_for_each(ovs: PrivateOvs, br_int: str) -> None:
    ports = _ports(ovs, 10)
    NativeRows(ovs.remote).commit([ReopenPort(name) for name in ports], Deadline(10))
    connection.close_all()
    assert len({ovs.interface(name)["ofport_request"] for name in ports}) == len(ports)


def test_two_processes_ask_for_different_numbers(ovs: PrivateOvs, br_int: str) -> None:
    ports = _ports(ovs, 20)
    context = multiprocessing.get_context("fork")
    start: Any = context.Barrier(2)
    halves = (ports[::2], ports[1::2])
    processes = [context.Process(target=_reopen, args=(ovs.remote, h, start)) for h in halves]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    asked = [ovs.interface(name)["ofport_request"] for name in ports]
    assert len(set(asked)) == len(ports)
    assert [ovs.interface(name)["ofport"] for name in ports] == asked


def _reopen(remote: str, ports: list[str], start: Any) -> None:
    rows = NativeRows(remote)
    for name in ports:
        start.wait()
        asked = rows.commit([ReopenPort(name)], Deadline(10))
        assert asked is not None
        assert rows.wait_for_vswitchd(asked, Deadline(10))


def _ports(ovs: PrivateOvs, count: int) -> list[str]:
    ports = [f"tap{number}" for number in range(count)]
    for name in ports:
        run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
        ovs.vsctl("add-port", vifs.BRIDGE, name)
    return ports
