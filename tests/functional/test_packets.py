# SPDX-License-Identifier: Apache-2.0
"""Guests reach each other through what os-vif plugged."""

import itertools

import pytest

from tests import vifs
from tests.rig import run, wait_until
from tests.rig.guest import BridgeGuest, Guest, TapGuest
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, MULTIQUEUE, TAP, Kind, OsVif, deviations
from tests.rig.snapshot import difference, snapshot

PAIRS = list(itertools.combinations_with_replacement((TAP, MULTIQUEUE, HYBRID), 2))
pairs = pytest.mark.parametrize(
    ("left", "right"), PAIRS, ids=[f"{left.name}-{right.name}" for left, right in PAIRS]
)


def guest(kind: Kind, number: int, mtu: int = vifs.MTU) -> Guest:
    """A guest behind a plugged VIF, as QEMU and libvirt would put it there."""
    address = f"192.0.2.{number}/24"
    if kind is HYBRID:
        tap = vifs.device("tap", number)
        return BridgeGuest(vifs.device("qbr", number), tap, vifs.mac(number), address, mtu)
    many = kind is MULTIQUEUE
    return TapGuest(
        kind.port(number),
        vifs.mac(number),
        address,
        mtu,
        multi_queue=many,
        queues=2 if many else 1,
    )


@pairs
def test_guests_ping_each_other_and_lose_nothing(
    left: Kind, right: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    before = snapshot(ovs)
    osvif.plug(left.vif(1), 1)
    osvif.plug(right.vif(2), 2)
    with guest(left, 1) as one, guest(right, 2) as two:
        assert one.ping(two.ip, count=10, interval=0.02) == (10, 10)
        assert two.ping(one.ip, count=10, interval=0.02) == (10, 10)
        assert deviations(ovs, left, 1) == deviations(ovs, right, 2) == []
    osvif.unplug(left.vif(1), 1)
    osvif.unplug(right.vif(2), 2)
    assert not difference(before, snapshot(ovs))


@pairs
def test_a_packet_of_the_mtu_passes_and_one_byte_more_does_not(
    left: Kind, right: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The guests believe in a larger MTU, so that it is the host's devices that refuse."""
    osvif.plug(left.vif(1), 1)
    osvif.plug(right.vif(2), 2)
    whole = {"dont_fragment": True, "count": 2, "interval": 0.02}
    with guest(left, 1, 9000) as one, guest(right, 2, 9000) as two:
        assert one.ping(two.ip, size=vifs.MTU, **whole) == (2, 2)
        assert one.ping(two.ip, size=vifs.MTU + 1, **whole)[1] == 0


@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
def test_jumbo_frames_pass(kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    for number in (1, 2):
        osvif.plug(kind.vif(number, network={"mtu": 9000}), number)
    with guest(kind, 1, 9000) as one, guest(kind, 2, 9000) as two:
        assert one.ping(two.ip, size=9000, dont_fragment=True, count=2, interval=0.02) == (2, 2)


@pytest.mark.parametrize("kind", [TAP, MULTIQUEUE, HYBRID], ids=lambda kind: kind.name)
def test_a_replug_under_a_running_guest_loses_nothing(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Nova does it to every guest when nova-compute starts."""
    osvif.plug(kind.vif(1), 1)
    osvif.plug(TAP.vif(2), 2)
    with guest(kind, 1) as one, guest(TAP, 2) as two:
        assert one.ping(two.ip, count=1) == (1, 1)
        osvif.plug(kind.vif(1), 1)
        assert one.ping(two.ip, count=5, interval=0.02) == (5, 5)
        assert len(osvif.privileged_calls) == 2


@pytest.mark.parametrize("restarted", [True, False], ids=["reboot", "vswitchd-runs-on"])
@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
def test_a_replug_that_made_the_device_anew_connects_the_guest(
    kind: Kind, restarted: bool, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """A running vswitchd of the userspace datapath keeps the ofport of a device that is gone."""
    osvif.plug(kind.vif(1), 1)
    osvif.plug(TAP.vif(2), 2)
    if restarted:
        ovs.kill("vswitchd")
    run(["ip", "link", "delete", kind.link_names()[-1]])
    if restarted:
        ovs.start_vswitchd()
        wait_until(lambda: ovs.interface(kind.port())["error"], what="vswitchd to miss it")
    osvif.plug(kind.vif(1), 1)
    with guest(kind, 1) as one, guest(TAP, 2) as two:
        assert one.ping(two.ip, count=3, interval=0.02) == (3, 3)


@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
def test_an_unplugged_guest_is_cut_off_and_its_neighbours_are_not(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    for number, each in ((1, kind), (2, TAP), (3, HYBRID)):
        osvif.plug(each.vif(number), number)
    with guest(kind, 1) as one, guest(TAP, 2) as two, guest(HYBRID, 3) as three:
        assert two.ping(one.ip, count=1) == (1, 1)
        osvif.unplug(kind.vif(1), 1)
        ovs.settle_flows()
        assert two.ping(one.ip, count=2, interval=0.02)[1] == 0
        assert two.ping(three.ip, count=5, interval=0.02) == (5, 5)
        one.close()
