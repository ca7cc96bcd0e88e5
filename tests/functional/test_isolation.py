# SPDX-License-Identifier: Apache-2.0
"""``isolate_vif``: a new port is alone until Neutron's agent has moved it to its network.

Two guests of tenant A are on VLAN 1 of the bridge, a guest of tenant B is plugged. Bug 1734320:
until the agent has tagged its port, it is one of all VLANs and gets what is flooded there.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests import vifs
from tests.rig import run, wait_until
from tests.rig.guest import DEVICE, Guest
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    HYBRID,
    PER_PORT,
    PER_PORT_ONLY,
    PORT_ONLY,
    TAP,
    TRUNK,
    Kind,
    OsVif,
    deviations,
    isolated,
    of,
    on_trunk,
)
from tests.rig.snapshot import difference, snapshot

A1, A2, B1, B2 = 1, 2, 3, 4
VLAN_A, VLAN_B, DEAD_VLAN = 1, 2, 4095

kinds = of(TAP, HYBRID, PER_PORT, PORT_ONLY, PER_PORT_ONLY)

# Frames -----------------------------------------------------------------------------------------

ETHERTYPE, VLAN_ETHERTYPE = 0x88B5, 0x8100  # IEEE 802: for local experiments, a VLAN's tag
_ALL = 3  # linux/if_ether.h: ETH_P_ALL

#: What a bridge floods.
FLOODED = {
    "broadcast": "ff:ff:ff:ff:ff:ff",
    "multicast": "33:33:00:00:00:99",
    "unknown": "fa:16:3e:ff:ff:fe",
}


def frame(to: str, sender: str, text: str, vlan: int | None = None) -> bytes:
    """A frame that nobody answers and everybody recognises."""
    tag = b"" if vlan is None else struct.pack("!HH", VLAN_ETHERTYPE, vlan)
    addresses = bytes.fromhex((to + sender).replace(":", ""))
    return (addresses + tag + struct.pack("!H", ETHERTYPE) + text.encode() + b"\n").ljust(64)


@contextmanager
def packets(device: str) -> Iterator[socket.socket]:
    """A packet socket on a device of the thread's network namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as opened:
        opened.bind((device, 0))
        opened.setblocking(False)
        yield opened


@dataclass
class Ear:
    """A guest that hears every frame of ours, whomever it is for, and can say some."""

    guest: Guest
    heard: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        with ExitStack() as stack, self.guest.namespace.enter():
            self._socket = stack.enter_context(packets(DEVICE))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, text: str, to: str, vlan: int | None = None) -> None:
        """Send a frame."""
        self._socket.send(frame(to, self.guest.mac, text, vlan))

    def flood(self) -> set[str]:
        """Send all that is flooded, and return what a hearer hears."""
        for text, to in FLOODED.items():
            self.say(f"{self.guest.ip} {text}", to)
        return {f"{self.guest.ip} {text}" for text in FLOODED}

    def hears(self, text: str) -> None:
        """Wait for a frame."""
        wait_until(lambda: text in self.listen(), what=f"{self.guest.ip} to hear {text!r}")

    def forget(self) -> None:
        """Hear anew."""
        self.listen().clear()

    def listen(self) -> list[str]:
        """What it has heard so far."""
        while True:
            try:
                data, (_, _, direction, *_) = self._socket.recvfrom(2048)
            except BlockingIOError:
                return self.heard
            if direction != socket.PACKET_OUTGOING and (text := _text(data)):
                self.heard.append(text)


def _text(data: bytes) -> str:
    for at in (12, 16):  # the kernel takes a tag off before it shows a frame
        if data[at : at + 2] == struct.pack("!H", ETHERTYPE):
            return data[at + 2 :].partition(b"\n")[0].decode()
    return ""


# Tenants ----------------------------------------------------------------------------------------


@dataclass
class Tenants:
    """The two guests of tenant A, who hear each other, and what is plugged beside them."""

    ovs: PrivateOvs
    osvif: OsVif
    one: Ear
    two: Ear

    @contextmanager
    def guest(self, kind: Kind, number: int, isolate: bool = True) -> Iterator[Ear]:
        """Plug a VIF, and let a guest run behind it."""
        self.osvif.configure(isolate_vif=isolate)
        self.osvif.plug_kind(kind, number)
        with kind.guest(number) as guest, Ear(guest) as ear:
            works(self.ovs, kind.port(number))
            yield ear

    def tag(self, kind: Kind, number: int, vlan: int) -> None:
        """What Neutron's agent does when it has wired a port."""
        port = kind.tagged_port(number)
        self.ovs.vsctl(
            "set", "Port", port, f"tag={vlan}", "--", "clear", "Port", port, "vlan_mode", "trunks"
        )
        self.ovs.settle_flows()

    def forwarded(self) -> None:
        """Return when all that was sent before has been forwarded: the switch takes frames of
        all ports in turns, and this takes it several turns."""
        assert self.one.guest.ping(self.two.guest.ip, count=2, interval=0.01) == (2, 2)

    def forwarded_to(self, ear: Ear, kind: Kind, number: int) -> list[str]:
        """What a guest has heard when all that was sent before has been forwarded."""
        self.forwarded()
        # Another frame after all others through the port's device to the guest.
        with packets(kind.port(number)) as port:
            port.send(frame(ear.guest.mac, "02:00:00:00:00:99", "the end"))
        ear.hears("the end")
        return [text for text in ear.listen() if text != "the end"]

    def leaked_to(self, ear: Ear, kind: Kind, number: int) -> set[str]:
        """Flood tenant A's network, and tell what of it somebody else has heard."""
        ear.forget()
        flooded = self.one.flood()
        for text in flooded:
            self.two.hears(text)
        return set(self.forwarded_to(ear, kind, number))

    def leaked_from(self, ear: Ear, kind: Kind, number: int) -> set[str]:
        """Let somebody else say all that a malicious guest would, and tell what tenant A hears."""
        self.one.forget()
        self.two.forget()
        counter = Path(f"/sys/class/net/{kind.port(number)}/statistics/rx_packets")
        before, said = int(counter.read_text()), 0
        targets = {**FLOODED, "one": self.one.guest.mac, "two": self.two.guest.mac}
        for vlan in (None, 0, VLAN_A, VLAN_B, DEAD_VLAN):
            for name, to in targets.items():
                ear.say(f"{name} on VLAN {vlan}", to, vlan)
                said += 1
        wait_until(lambda: int(counter.read_text()) >= before + said, what="all to be sent")
        self.forwarded()
        return {*self.one.listen(), *self.two.listen()}


def works(ovs: PrivateOvs, port: str) -> None:
    wait_until(lambda: (ovs.interface(port)["ofport"] or 0) > 0, what=f"vswitchd to open {port}")


@pytest.fixture
def tenants(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> Iterator[Tenants]:
    for number in (A1, A2):
        osvif.plug_kind(TAP, number)
        ovs.vsctl("set", "Port", TAP.port(number), f"tag={VLAN_A}")
    with (
        TAP.guest(A1) as one,
        TAP.guest(A2) as two,
        Ear(one) as first,
        Ear(two) as second,
    ):
        yield Tenants(ovs, osvif, first, second)


# Isolation --------------------------------------------------------------------------------------


@pytest.mark.bug(1734320)
@kinds
def test_a_new_port_hears_nothing_and_reaches_nobody(tenants: Tenants, kind: Kind) -> None:
    with tenants.guest(kind, B1) as stranger:
        assert deviations(tenants.ovs, isolated(kind), B1) == []
        assert tenants.leaked_to(stranger, kind, B1) == set()
        assert tenants.leaked_from(stranger, kind, B1) == set()
        assert stranger.guest.ping(tenants.one.guest.ip, count=1, wait=0.1) == (1, 0)


@kinds
def test_without_isolation_it_hears_all_and_reaches_everybody(
    tenants: Tenants, kind: Kind
) -> None:
    """So that the test above can fail."""
    with tenants.guest(kind, B1, isolate=False) as stranger:
        assert tenants.leaked_to(stranger, kind, B1) >= {f"192.0.2.1 {text}" for text in FLOODED}
        said = tenants.leaked_from(stranger, kind, B1)
        assert said >= {f"{name} on VLAN {VLAN_A}" for name in (*FLOODED, "one", "two")}


@kinds
def test_two_new_ports_do_not_reach_each_other(tenants: Tenants, kind: Kind) -> None:
    """Frames that a guest itself tags with the dead VLAN would pass, were it not for a flow that
    Neutron's agent has on every integration bridge."""
    ovs = tenants.ovs
    flow = [f"priority=65535,dl_vlan={DEAD_VLAN},actions=drop"]
    with tenants.guest(kind, B1) as one, tenants.guest(kind, B2) as two:
        run(["ovs-ofctl", "add-flow", vifs.BRIDGE, *flow], env=ovs.environment())
        assert tenants.leaked_from(one, kind, B1) == set()
        assert tenants.forwarded_to(two, kind, B2) == []
        assert one.guest.ping(two.guest.ip, count=1, wait=0.1) == (1, 0)


@pytest.mark.bug(2023300, 2133225)
@kinds
def test_a_replug_leaves_a_running_guest_in_its_network(tenants: Tenants, kind: Kind) -> None:
    with tenants.guest(kind, B1) as stranger:
        tenants.tag(kind, B1, VLAN_A)
        assert stranger.guest.ping(tenants.one.guest.ip, count=1) == (1, 1)
        before, written = snapshot(tenants.ovs), tenants.ovs.next_cfg()
        tenants.osvif.plug_kind(kind, B1)
        assert stranger.guest.ping(tenants.one.guest.ip, count=3, interval=0.02) == (3, 3)
        assert not difference(before, snapshot(tenants.ovs))
        assert tenants.ovs.next_cfg() == written


@pytest.mark.bug(2069543)
@of(TAP, PER_PORT, PORT_ONLY)
@pytest.mark.parametrize("made_by", ["neutron", "os-vif"])
def test_on_the_bridge_of_a_trunk_nothing_is_isolated(
    ovs: PrivateOvs, osvif: OsVif, kind: Kind, made_by: str
) -> None:
    """Nobody would tag it there."""
    trunk = on_trunk(kind)
    if made_by == "neutron":
        ovs.vsctl("add-br", TRUNK, "--", "set", "Bridge", TRUNK, "datapath_type=netdev")
    osvif.configure(isolate_vif=True)
    for number in (1, 2):
        osvif.plug_kind(trunk, number)
        assert deviations(ovs, trunk, number) == []
    with kind.guest(1) as one, kind.guest(2) as two:
        for number in (1, 2):
            works(ovs, kind.port(number))
        assert one.ping(two.ip, count=3, interval=0.02) == (3, 3)


def test_the_device_of_a_new_bridge_is_not_isolated(ovs: PrivateOvs, osvif: OsVif) -> None:
    osvif.configure(isolate_vif=True)
    osvif.plug_kind(TAP)
    rows = ovs.dump()["Port"]
    assert rows[vifs.BRIDGE]["tag"] is None
    assert rows[TAP.port()]["tag"] == DEAD_VLAN
