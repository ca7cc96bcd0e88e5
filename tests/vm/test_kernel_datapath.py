# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch forwards in the kernel what os-vif plugged."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations
from typing import Any

import pytest

import os_vif
from os_vif import exception
from os_vif.wiring import rows_first
from tests import vifs
from tests.rig import run, wait_until
from tests.rig.guest import Guest
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, PER_PORT, TAP, OsVif, deviations
from tests.rig.snapshot import difference, snapshot
from tests.vm.conftest import PATIENCE

KINDS = {1: TAP, 2: HYBRID, 3: PER_PORT}
PROFILE = {"datapath_type": "system"}
WHOLE: dict[str, Any] = {"size": vifs.MTU, "dont_fragment": True}
QOS = "linux-noop"
#: for what must happen, under load too
SECONDS = 30.0


def plug_all(osvif: OsVif) -> None:
    for number, kind in KINDS.items():
        osvif.plug_kind(kind, number, profile=PROFILE)


@contextmanager
def guests() -> Iterator[list[Guest]]:
    with ExitStack() as stack:
        yield [stack.enter_context(kind.guest(number)) for number, kind in KINDS.items()]


def lost(some: list[Guest], count: int = 3) -> dict[str, tuple[int, int]]:
    """The pings between guests that were not all answered, as (sent, received)."""
    pings = {
        f"{one.ip} to {other.ip}": one.ping(other.ip, count, interval=0.1, wait=SECONDS, **WHOLE)
        for one, other in permutations(some, 2)
    }
    return {who: counts for who, counts in pings.items() if counts != (count, count)}


def amiss(ovs: PrivateOvs) -> list[str]:
    """What of the VIFs is not as it must be; for a per-port bridge, packets tell."""
    found = {line for number in (1, 2) for line in deviations(ovs, KINDS[number], number, qos=QOS)}
    # how the kernel says that its datapath has taken the device
    taken = {f"link {KINDS[n].port(n)}: master is 'ovs-system', not None" for n in (1, 2)}
    return sorted(found ^ taken)


@pytest.mark.parametrize("ports_per_link", [0, rows_first.PORTS_PER_LINK], ids=["rows", "devices"])
def test_guests_reach_each_other_replugs_are_free_and_nothing_is_left(
    ports_per_link: int,
    ovs_kernel: PrivateOvs,
    osvif: OsVif,
    br_int: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether rows come first, as with many ports, or devices."""
    monkeypatch.setattr(rows_first, "PORTS_PER_LINK", ports_per_link)
    ovs, before = ovs_kernel, snapshot(ovs_kernel)
    plug_all(osvif)
    assert ovs.appctl("vswitchd", "dpctl/dump-dps") == "system@ovs-system"
    assert amiss(ovs) == []
    with guests() as all_three:
        assert lost(all_three) == {}
        plugged, written, calls = snapshot(ovs), ovs.next_cfg(), len(osvif.privileged_calls)
        plug_all(osvif)
        assert (ovs.next_cfg(), len(osvif.privileged_calls)) == (written, calls)
        assert not difference(plugged, snapshot(ovs))
        assert lost(all_three, count=1) == {}
    for number, kind in KINDS.items():
        osvif.unplug(kind.vif(number, profile=PROFILE), number)
    assert not difference(before, snapshot(ovs))


def test_an_orphan_is_found_beside_other_ports(
    ovs_kernel: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """``ovs-system``, the master of every port's device, is no bridge that a guest's tap is in."""
    before = snapshot(ovs_kernel)
    plug_all(osvif)
    states = {one.vif_id: one.state for one in os_vif.list_vifs("ovs")}
    assert states == {vifs.vif_id(number): "idle" for number in KINDS}
    with guests():
        states = {one.vif_id: one.state for one in os_vif.list_vifs("ovs")}
        assert states == {vifs.vif_id(number): "in use" for number in KINDS}
    decided = os_vif.gc([vifs.vif_id(1)], dry_run=False, grace=0, plugin="ovs")
    removed = {one.vif_id: (one.removes, one.error) for one in decided}
    assert removed == {vifs.vif_id(number): (number != 1, None) for number in KINDS}
    osvif.unplug(TAP.vif(profile=PROFILE))
    ovs_kernel.catch_up()
    assert not difference(before, snapshot(ovs_kernel))


def missed(ovs: PrivateOvs, port: str) -> None:
    wait_until(lambda: ovs.interface(port)["error"], SECONDS, f"vswitchd to miss {port}")


def test_a_replug_does_not_take_a_device_that_is_gone_for_the_new_one(
    ovs_kernel: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """What a frozen ovs-vswitchd last said of a port is true of a device that is no more."""
    ovs = ovs_kernel
    plug_all(osvif)
    ovs.freeze("vswitchd")
    osvif.configure(ovs_vsctl_timeout=5)
    for number, kind in KINDS.items():
        run(["ip", "link", "delete", kind.link_names(number)[-1]])
        with pytest.raises(exception.PlugException, match="not looked again at devices"):
            osvif.plug_kind(kind, number, profile=PROFILE)
    osvif.configure(ovs_vsctl_timeout=PATIENCE)
    ovs.thaw("vswitchd")
    plug_all(osvif)
    assert amiss(ovs) == []
    with guests() as all_three:
        assert lost(all_three) == {}


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "unnoticed"])
def test_a_replug_after_the_devices_were_lost_writes_no_row_and_connects_the_guests(
    noticed: bool, ovs_kernel: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The kernel's datapath lets go of a device that is deleted, unlike the one in user space.

    Unnoticed: the devices are there again before vswitchd has seen that they were gone.
    """
    ovs = ovs_kernel
    plug_all(osvif)
    rows, written = ovs.dump(), ovs.next_cfg()
    for number, kind in KINDS.items():
        if not noticed:
            ovs.freeze("vswitchd")
            osvif.after_links = lambda: ovs.thaw("vswitchd")
        run(["ip", "link", "delete", kind.link_names(number)[-1]])
        if noticed:
            missed(ovs, kind.port(number))
        osvif.plug_kind(kind, number, profile=PROFILE)
    assert ovs.dump() == rows
    # A busy ovs-vswitchd, which does not notice a device soon, is asked to look again.
    assert ovs.next_cfg() - written <= len(KINDS)
    assert amiss(ovs) == []
    with guests() as all_three:
        assert lost(all_three) == {}
