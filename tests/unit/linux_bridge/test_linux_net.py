# SPDX-License-Identifier: Apache-2.0
"""The functions for callers without a VIF, on a kernel in memory."""

from collections.abc import Iterator
from typing import Any

import pytest

from os_vif.exception import InvalidValue
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.engine import Engine
from os_vif.wiring.model import Wiring
from os_vif.wiring.steps import CreateLink, JoinBridge, SetLink
from tests.fakes import NO_HOST_STACK, FakeLinks, new_link
from vif_plug_linux_bridge import linux_net
from vif_plug_linux_bridge.iptables import IptablesManager
from vif_plug_linux_bridge.shapes import Settings


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLinks]:
    """A host with an interface."""
    fake = FakeLinks(new_link("eth0", "", up=True))

    def apply(wanted: Wiring, bridge: str) -> None:
        Engine(fake).apply(wanted, Deadline.never())

    monkeypatch.setattr(linux_net, "apply", apply)
    monkeypatch.setattr(linux_net, "_options", Settings())
    return fake


def test_a_bridge_with_an_interface(links: FakeLinks) -> None:
    linux_net.ensure_bridge("br100", "eth0")
    bridge = links.links["br100"]
    assert (bridge.kind, bridge.alias) == ("bridge", "os-vif:linux_bridge:bridge:br100")
    expected = {"stp": False, "forward_delay": 0, "ageing": 300, "mcast_snooping": False}
    expected |= {**NO_HOST_STACK, "up": True, "mtu": 1500}
    assert bridge.attributes.items() >= expected.items()
    assert links.links["eth0"].attributes["master"] == "br100"
    rules = links.filtered["br100"]
    assert rules is not None
    assert rules["gateway"]
    assert rules["forward_bridge_interface"] == ("all",)


def test_again_there_is_nothing_to_do_but_to_look_at_the_rules(links: FakeLinks) -> None:
    linux_net.ensure_bridge("br100", "eth0", filtering=False)
    linux_net.ensure_bridge("br100", "eth0", filtering=False)
    assert links.executed == 1
    assert links.filtered == {}


def test_a_bridge_without_an_interface(links: FakeLinks) -> None:
    linux_net.ensure_bridge("br100", None, filtering=False)
    assert links.links["br100"].attributes["up"]
    assert links.links["eth0"].attributes["master"] == ""


def test_the_mtu_is_the_interfaces_and_the_bridges(links: FakeLinks) -> None:
    linux_net.ensure_bridge("br100", "eth0", filtering=False, mtu=9000)
    assert {links.links[name].attributes["mtu"] for name in ("eth0", "br100")} == {9000}
    linux_net.ensure_bridge("br100", "eth0", filtering=False)
    linux_net.ensure_bridge("br100", "eth0", filtering=False, mtu=0)
    assert {links.links[name].attributes["mtu"] for name in ("eth0", "br100")} == {9000}
    assert links.executed == 1


def test_the_options_are_the_managers(links: FakeLinks) -> None:
    with pytest.warns(DeprecationWarning, match="configure"):
        manager = IptablesManager(True, "top", "bottom", "REJECT", ["eth1"])
    linux_net.configure(manager)
    linux_net.ensure_bridge("br100", "eth0", gateway=False)
    assert links.filtered["br100"] == {
        "bridge": "br100",
        "gateway": False,
        "forward_bridge_interface": ("eth1",),
        "iptables_drop_action": "REJECT",
        "iptables_top_regex": "top",
        "iptables_bottom_regex": "bottom",
        "use_ipv6": True,
    }


@pytest.mark.parametrize(("number", "mac"), [(7, None), ("7", "02:00:00:00:00:07")])
def test_a_bridge_on_a_vlan(number: Any, mac: str | None, links: FakeLinks) -> None:
    """Its number may be a text, as some callers have it."""
    name = linux_net.ensure_vlan_bridge(number, "br7", "eth0", mac_address=mac, mtu=1400)
    assert name == "vlan7"
    device = links.links["vlan7"]
    assert (device.kind, device.alias) == ("vlan", "os-vif:linux_bridge:vlan:vlan7")
    expected = {"parent": "eth0", "vlan": 7, "mtu": 1400, "up": True, "master": "br7"}
    assert device.attributes.items() >= expected.items()
    assert (device.attributes["mac"] == mac) == (mac is not None)
    assert links.links["br7"].attributes["mtu"] == 1400
    # Others use the parent too: it keeps its larger MTU.
    assert links.links["eth0"].attributes["mtu"] == 1500
    assert links.filtered == {}
    linux_net.ensure_vlan_bridge(number, "br7", "eth0", mac_address=mac, mtu=1400)
    assert links.executed == 1


def test_two_vlans_of_an_interface(links: FakeLinks) -> None:
    for number, mtu in ((7, 9000), (8, 1400)):
        linux_net.ensure_vlan_bridge(number, f"br{number}", "eth0", mtu=mtu)
    assert links.links["eth0"].attributes["mtu"] == 9000
    assert links.links["eth0"].attributes["master"] == ""
    assert links.links["vlan8"].attributes["master"] == "br8"


def test_the_parents_mtu_is_raised_before_the_device_is_made(links: FakeLinks) -> None:
    """A VLAN device has at most the MTU of its parent."""
    linux_net.ensure_vlan_bridge(7, "br7", "eth0", mtu=9000)
    first, *others = links.taken
    assert first == SetLink("eth0", {"mtu": 9000})
    assert isinstance(others[0], CreateLink)
    assert others[-1] == JoinBridge("vlan7", "br7", 9000)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (new_link("vlan7", "vlan", parent="eth1", vlan=7), "parent should be 'eth0'"),
        (new_link("vlan7", "vlan", parent="eth0", vlan=8), "vlan should be 7 and is 8"),
        (new_link("vlan7", "bridge"), "kind should be 'vlan' and is 'bridge'"),
        (
            new_link("vlan7", "vlan", parent="eth0", vlan=7, master="br-other"),
            "master should be 'br7' and is 'br-other'",
        ),
    ],
    ids=["another parent", "another vlan", "another kind", "another bridge"],
)
def test_a_vlan_device_of_others_is_not_bent(there: Any, said: str, links: FakeLinks) -> None:
    links.links["vlan7"] = there
    before = dict(links.links)
    with pytest.raises(errors.Contradiction, match=said):
        linux_net.ensure_vlan_bridge(7, "br7", "eth0")
    assert links.links == before
    assert links.executed == 0


def test_what_the_kernel_refuses_is_rolled_back(links: FakeLinks) -> None:
    before = dict(links.links)
    links.refuse = lambda step: isinstance(step, JoinBridge)
    with pytest.raises(errors.LinkFailed, match="put vlan7 into bridge br7"):
        linux_net.ensure_vlan_bridge(7, "br7", "eth0", mtu=9000)
    assert links.links == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("", "eth0"), "bridge, ''"),
        (("a/b", "eth0"), "bridge, 'a/b'"),
        (("br100", "a/b"), "interface, 'a/b'"),
    ],
)
def test_a_bad_name_is_refused(arguments: Any, said: str, links: FakeLinks) -> None:
    with pytest.raises(InvalidValue, match=said):
        linux_net.ensure_bridge(*arguments, filtering=False)
    assert links.executed == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, "br7", "eth0"), "vlan_num, 0"),
        ((4095, "br7", "eth0"), "vlan_num, 4095"),
        ((7, "a/b", "eth0"), "bridge, 'a/b'"),
        ((7, "br7", ""), "bridge_interface, ''"),
        (("seven", "br7", "eth0"), "vlan_num, 'seven'"),
        ((None, "br7", "eth0"), "vlan_num, None"),
    ],
)
def test_a_bad_vlan_is_refused(arguments: Any, said: str, links: FakeLinks) -> None:
    with pytest.raises(InvalidValue, match=said):
        linux_net.ensure_vlan_bridge(*arguments)
    assert links.executed == 0


@pytest.mark.parametrize("mtu", [1, 67, 65536, "1500"])
def test_a_bad_mtu_is_refused(mtu: Any, links: FakeLinks) -> None:
    before = dict(links.links)
    with pytest.raises(InvalidValue, match="mtu"):
        linux_net.ensure_bridge("br100", "eth0", filtering=False, mtu=mtu)
    with pytest.raises(InvalidValue, match="mtu"):
        linux_net.ensure_vlan_bridge(7, "br7", "eth0", mtu=mtu)
    assert links.links == before


@pytest.mark.parametrize("mac", ["nonsense", "01:00:5e:00:00:01"])
def test_a_bad_mac_is_refused(mac: str, links: FakeLinks) -> None:
    before = dict(links.links)
    with pytest.raises(InvalidValue, match="mac"):
        linux_net.ensure_vlan_bridge(7, "br7", "eth0", mac_address=mac)
    assert links.links == before
