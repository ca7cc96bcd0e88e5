# SPDX-License-Identifier: Apache-2.0
"""VLAN devices, and the rig's capture of what passes their parent."""

from os_vif.internal.ip.api import ip
from os_vif.kernel import observe
from tests.rig import run
from tests.rig.capture import Capture, Frame
from tests.rig.namespace import NetworkNamespace

ARP, IPV4 = 0x0806, 0x0800
HERE, THERE = "02:00:00:00:00:01", "02:00:00:00:00:02"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def connect(there: NetworkNamespace) -> None:
    run(["ip", "link", "add", "wire", "address", HERE, "type", "veth",
         "peer", "name", "wire", "address", THERE, "netns", f"/proc/self/fd/{there.fd}"],
        pass_fds=(there.fd,))  # fmt: skip


def configure(namespace: NetworkNamespace, host: int, vlans: dict[str, tuple[str, int]]) -> None:
    """Make VLAN devices on parents, with addresses 198.51.<number>.<host>."""
    namespace.disable_ipv6()
    namespace.run(["ip", "link", "set", "wire", "up"])
    namespace.run(["ip", "address", "add", f"198.51.0.{host}/24", "dev", "wire"])
    for name, (parent, number) in vlans.items():
        vlan = ["name", name, "type", "vlan", "id", str(number)]
        namespace.run(["ip", "link", "add", "link", parent, *vlan])
        namespace.run(["ip", "address", "add", f"198.51.{number}.{host}/24", "dev", name])
        namespace.run(["ip", "link", "set", name, "up"])


def ping(number: int) -> bool:
    argv = ["ping", "-n", "-q", "-c", "1", "-W", "10", f"198.51.{number}.2"]
    return run(argv, check=False).returncode == 0


def seen(frames: list[Frame], **wanted: object) -> list[tuple[str, str, bool]]:
    """Who sent what to whom, of the frames that are as wanted."""
    return [
        (one.source, one.destination, one.outgoing)
        for one in frames
        if all(getattr(one, key) == value for key, value in wanted.items())
    ]


def test_the_capture_sees_tags_on_the_parent_and_vlans_keep_apart(
    netns: NetworkNamespace,
) -> None:
    both_ways = [(HERE, THERE, True), (THERE, HERE, False)]
    with NetworkNamespace() as there:
        connect(there)
        tagged = {"vlan7": ("wire", 7), "inner": ("vlan7", 70)}
        configure(netns, 1, {**tagged, "vlan8": ("wire", 8)})
        configure(there, 2, {**tagged, "vlan9": ("wire", 9)})
        with Capture("wire") as parent, Capture("vlan7") as inside:
            assert [ping(number) for number in (0, 7, 70, 8)] == [True, True, True, False]
            answer = parent.wait_for(
                lambda one: (one.vlans, one.protocol, one.outgoing) == ((7, 70), IPV4, False)
            )
    addresses = bytes([198, 51, 70, 2, 198, 51, 70, 1])
    assert (answer.source, answer.payload[12:20]) == (THERE, addresses)
    for vlans in ((), (7,), (7, 70)):
        assert seen(parent.frames, vlans=vlans, protocol=IPV4) == both_ways
    assert set(seen(parent.frames, vlans=(8,))) == {(HERE, BROADCAST, True)}
    assert {frame.protocol for frame in parent.frames if frame.vlans == (8,)} == {ARP}
    assert seen(inside.frames, vlans=(), protocol=IPV4) == both_ways
    assert seen(inside.frames, vlans=(70,), protocol=IPV4) == both_ways


def test_the_old_helper_makes_a_vlan_device(netns: NetworkNamespace) -> None:
    ip.add("below", ip.TYPE_VETH, peer="other")
    ip.add("vlan5", ip.TYPE_VLAN, link="below", vlan_id=5)
    found = observe.links(["vlan5"])["vlan5"]
    assert (found.attributes["parent"], found.attributes["vlan"]) == ("below", 5)
