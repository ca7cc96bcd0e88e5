# SPDX-License-Identifier: Apache-2.0
"""Guests reach each other through what os-vif plugged."""

import itertools
from typing import Any

import pytest

from tests import vifs
from tests.rig import run, wait_until
from tests.rig.guest import Guest, LibvirtGuest
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    HYBRID,
    MULTIQUEUE,
    PER_PORT,
    PER_PORT_ONLY,
    PORT_ONLY,
    TAP,
    Kind,
    OsVif,
    deviations,
    isolated,
    of,
)
from tests.rig.snapshot import difference, links, snapshot

DEVICES = (TAP, MULTIQUEUE, HYBRID, PER_PORT)
PAIRS = list(itertools.combinations_with_replacement(DEVICES, 2))
#: Seconds in which an answer that does not come would have come: 100 times what others take.
LOST = 0.1
AFTERWARDS = (PORT_ONLY, PER_PORT_ONLY)


@pytest.mark.parametrize(
    ("left", "right"), PAIRS, ids=[f"{left.name}-{right.name}" for left, right in PAIRS]
)
def test_guests_lose_nothing_up_to_the_mtu_and_a_packet_of_one_byte_more(
    left: Kind, right: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The guests believe in a larger MTU, so that it is the host's devices that refuse."""
    before = snapshot(ovs)
    osvif.plug_kind(left, 1)
    osvif.plug_kind(right, 2)
    whole: dict[str, Any] = {"dont_fragment": True, "count": 1}
    with left.guest(1, 9000) as one, right.guest(2, 9000) as two:
        for here, there in ((one, two), (two, one)):
            assert here.ping(there.ip, count=10, interval=0.02) == (10, 10)
            assert here.ping(there.ip, size=vifs.MTU, **whole) == (1, 1)
            assert here.ping(there.ip, size=vifs.MTU + 1, wait=LOST, **whole) == (1, 0)
        assert deviations(ovs, left, 1) == deviations(ovs, right, 2) == []
    osvif.unplug(left.vif(1), 1)
    osvif.unplug(right.vif(2), 2)
    assert not difference(before, snapshot(ovs))


@of(TAP, HYBRID, PER_PORT)
def test_jumbo_frames_pass(kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    for number in (1, 2):
        osvif.plug_kind(kind, number, network={"mtu": 9000})
    with kind.guest(1, 9000) as one, kind.guest(2, 9000) as two:
        assert one.ping(two.ip, size=9000, dont_fragment=True, count=2, interval=0.02) == (2, 2)


@pytest.mark.parametrize("restarted", [True, False], ids=["reboot", "vswitchd-runs-on"])
@of(TAP, HYBRID, PER_PORT)
def test_a_replug_that_made_the_device_anew_connects_the_guest(
    kind: Kind, restarted: bool, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """A running vswitchd of the userspace datapath keeps the ofport of a device that is gone."""
    osvif.plug_kind(kind, 1)
    osvif.plug_kind(TAP, 2)
    if restarted:
        ovs.kill("vswitchd")
    run(["ip", "link", "delete", kind.link_names()[-1]])
    if restarted:
        ovs.start_vswitchd()
        wait_until(lambda: ovs.interface(kind.port())["error"], what="vswitchd to miss it")
    osvif.plug_kind(kind, 1)
    with kind.guest(1) as one, TAP.guest(2) as two:
        assert one.ping(two.ip, count=3, interval=0.02) == (3, 3)


# A tap that libvirt makes, after the port -------------------------------------------------------


def tag(ovs: PrivateOvs, port: str) -> None:
    """What Neutron's agent does with a port of its network."""
    ovs.vsctl("set", "Port", port, "tag=1", "--", "clear", "Port", port, "vlan_mode", "trunks")


def opened(ovs: PrivateOvs, kind: Kind) -> None:
    wait_until(lambda: (ovs.interface(kind.port())["ofport"] or 0) > 0, what="vswitchd to see it")


def passes(one: Guest, two: Guest) -> bool:
    """All of some packets, at the third attempt at last: ovs-vswitchd may still be busy with a
    device that came just now, and drop some (once in 80 plugs on a busy machine)."""
    return any(
        one.ping(two.ip, count=3, interval=0.02) == two.ping(one.ip, 3, 0.02) == (3, 3)
        for _ in range(3)
    )


@pytest.mark.bug(1734320, 1815989, 1933517)
@of(*AFTERWARDS)
def test_the_port_stands_before_its_tap_and_takes_it_when_it_comes(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """So that flows can be installed before the guest runs, by ofport with a bridge of its own."""
    osvif.configure(isolate_vif=True)
    osvif.plug_kind(TAP, 2)
    tag(ovs, TAP.port(2))
    osvif.plug_kind(kind)
    assert deviations(ovs, isolated(kind)) == []
    port = kind.tagged_port()
    assert ((ovs.interface(port)["ofport"] or 0) > 0) == (kind is PER_PORT_ONLY)
    assert kind.port() not in links()
    tag(ovs, port)
    before, written, calls = ovs.dump(), ovs.next_cfg(), len(osvif.privileged_calls)
    with kind.guest() as one, TAP.guest(2) as two:
        opened(ovs, kind)
        assert passes(one, two)
        plugged = snapshot(ovs)
        osvif.plug_kind(kind)
        assert passes(one, two)
        assert not difference(plugged, snapshot(ovs))
        assert not difference(before, ovs.dump())
        assert (ovs.next_cfg(), len(osvif.privileged_calls)) == (written, calls)


@of(*AFTERWARDS)
def test_a_tap_of_libvirt_keeps_its_mac_and_its_flags_and_gets_the_mtu(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(TAP, 2)
    osvif.plug_kind(kind)
    with kind.guest(1, 9000, tap_mtu=1500) as one, TAP.guest(2, 9000) as two:
        assert isinstance(one, LibvirtGuest)
        opened(ovs, kind)
        assert passes(one, two)
        before, written, calls = links()[kind.port()], ovs.next_cfg(), osvif.privileged_calls[:]
        assert (before["mac"], before["mtu"], before["up"]) == (one.tap_mac, 1500, True)
        osvif.plug_kind(kind)
        assert links()[kind.port()] == {**before, "mtu": vifs.MTU}
        new = osvif.privileged_calls[len(calls) :]
        assert new == [[("SetLink", {"name": kind.port(), "attributes": {"mtu": vifs.MTU}})]]
        assert ovs.next_cfg() == written
        whole: dict[str, Any] = {"dont_fragment": True, "count": 1}
        assert two.ping(one.ip, size=vifs.MTU, **whole) == (1, 1)
        assert two.ping(one.ip, size=vifs.MTU + 1, wait=LOST, **whole) == (1, 0)
        osvif.plug_kind(kind)
        assert len(osvif.privileged_calls) == len(calls) + 1


@of(*AFTERWARDS)
def test_unplug_under_a_running_guest_leaves_libvirt_its_tap(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    before = snapshot(ovs)
    osvif.plug_kind(kind)
    with kind.guest() as one:
        assert isinstance(one, LibvirtGuest)
        opened(ovs, kind)
        osvif.unplug(kind.vif())
        tap = links()[kind.port()]
        assert (tap["mac"], tap["up"], tap["alias"]) == (one.tap_mac, True, None)
        assert not difference(before["ovs"], ovs.dump())
    wait_until(lambda: kind.port() not in links(), what="the tap to go with its guest")
    assert not difference(before, snapshot(ovs))
