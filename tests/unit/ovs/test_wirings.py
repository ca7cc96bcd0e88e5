# SPDX-License-Identifier: Apache-2.0
"""What each kind of VIF needs on the host, as whole values."""

from typing import Any

import pytest

from os_vif.objects.vif import (
    VIFBase,
    VIFPortProfileFPOpenVSwitch,
    VIFPortProfileOVSRepresentor,
)
from os_vif.wiring.model import (
    LinuxBridge,
    Mark,
    OvsBridge,
    OvsPort,
    Tap,
    VethPair,
    Wiring,
)
from tests.vifs import (
    instance,
    instance_id,
    interface_id,
    mac,
    vif_bridge,
    vif_id,
    vif_open_vswitch,
)
from vif_plug_ovs import wiring
from vif_plug_ovs.wiring import Settings

SETTINGS = Settings(network_device_mtu=1400)

IDS = {
    "iface-id": interface_id(1),
    "iface-status": "active",
    "attached-mac": mac(1),
    "vm-uuid": instance_id(1),
}
#: What a plug wrote and an unplug can still tell.
REMEMBERED = {"iface-id": interface_id(1), "attached-mac": mac(1)}

TAP = "tapa0000001-fe"
DIRECT = Mark("ovs", "openvswitch", vif_id(1))
HYBRID = Mark("ovs", "hybrid", vif_id(1))
DIRECT_BY_NAME = Mark("ovs", "openvswitch", "tap-of-ours")

PORT = {"create_port": True}
PORT_AND_TAP = {"create_port": True, "create_tap": True}


@pytest.mark.parametrize(
    ("vif", "wanted"),
    [
        pytest.param(
            vif_open_vswitch(),
            Wiring(
                (OvsBridge("br-int", "netdev", DIRECT),),
                leftovers=(
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS, device=False),
                ),
            ),
            id="libvirt makes port and tap",
        ),
        pytest.param(
            vif_open_vswitch(profile={"create_port": False, "create_tap": False}),
            Wiring(
                (OvsBridge("br-int", "netdev", DIRECT),),
                leftovers=(
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS, device=False),
                ),
            ),
            id="switches that are off are as good as unset",
        ),
        pytest.param(
            vif_open_vswitch(profile={"create_tap": True}),
            Wiring(
                (OvsBridge("br-int", "netdev", DIRECT),),
                leftovers=(
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                ),
            ),
            id="create_tap alone makes no tap",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT),
            Wiring(
                (
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS, device=False),
                ),
                leftovers=(Tap(TAP, mac(1), 1450, DIRECT),),
            ),
            id="create_port: the tap comes later",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                )
            ),
            id="create_tap: the tap comes first",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT_AND_TAP, "multiqueue": True}),
            Wiring(
                (
                    Tap(TAP, mac(1), 1450, DIRECT, multiqueue=True),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                )
            ),
            id="multiqueue",
        ),
        pytest.param(
            vif_open_vswitch(vif_name="nic0", profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap("nic0", mac(1), 1450, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort("nic0", "br-int", DIRECT, IDS),
                )
            ),
            id="the device bears vif_name",
        ),
        pytest.param(
            vif_open_vswitch(unset="vif_name", profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                )
            ),
            id="without vif_name the device is named after the id",
        ),
        pytest.param(
            vif_open_vswitch(vif_name="", profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                )
            ),
            id="an empty vif_name is as good as none",
        ),
        pytest.param(
            vif_open_vswitch(unset="id", vif_name="tap-of-ours", profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap("tap-of-ours", mac(1), 1450, DIRECT_BY_NAME),
                    OvsBridge("br-int", "netdev", DIRECT_BY_NAME),
                    OvsPort("tap-of-ours", "br-int", DIRECT_BY_NAME, IDS),
                )
            ),
            id="without an id the device's name is the owner (Neutron's agent)",
        ),
        pytest.param(
            vif_open_vswitch(unset="profile.datapath_type", profile=PORT),
            Wiring(
                (
                    OvsBridge("br-int", "system", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS, device=False),
                ),
                leftovers=(Tap(TAP, mac(1), 1450, DIRECT),),
            ),
            id="no datapath type is system",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT, "datapath_type": None}),
            Wiring(
                (
                    OvsBridge("br-int", "system", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS, device=False),
                ),
                leftovers=(Tap(TAP, mac(1), 1450, DIRECT),),
            ),
            id="a datapath type of None is system",
        ),
        pytest.param(
            vif_open_vswitch(network={"mtu": 9000}, profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap(TAP, mac(1), 9000, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                )
            ),
            id="the network's MTU",
        ),
        pytest.param(
            vif_open_vswitch(network={"mtu": None}, profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap(TAP, mac(1), 1400, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                )
            ),
            id="without one the configured MTU",
        ),
        pytest.param(
            vif_open_vswitch(
                network={"bridge": "tbr-0"}, bridge_name="br-other", profile=PORT_AND_TAP
            ),
            Wiring(
                (
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsBridge("tbr-0", "netdev", DIRECT),
                    OvsPort(TAP, "tbr-0", DIRECT, IDS),
                )
            ),
            id="the OVS bridge is network.bridge, never bridge_name",
        ),
        pytest.param(
            vif_open_vswitch(address="FA:16:3E:00:00:01", profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap(TAP, mac(1), 1450, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, IDS),
                )
            ),
            id="a MAC address in capitals",
        ),
        pytest.param(
            vif_bridge(),
            Wiring(
                (
                    LinuxBridge("qbra0000001-fe", HYBRID, ageing=0),
                    VethPair("qvba0000001-fe", "qvoa0000001-fe", "qbra0000001-fe", 1450, HYBRID),
                    OvsBridge("br-int", "netdev", HYBRID),
                    OvsPort("qvoa0000001-fe", "br-int", HYBRID, IDS),
                )
            ),
            id="hybrid",
        ),
        pytest.param(
            vif_bridge(unset="vif_name", bridge_name="qbr-mine", network={"mtu": None}),
            Wiring(
                (
                    LinuxBridge("qbr-mine", HYBRID, ageing=0),
                    VethPair("qvba0000001-fe", "qvoa0000001-fe", "qbr-mine", 1400, HYBRID),
                    OvsBridge("br-int", "netdev", HYBRID),
                    OvsPort("qvoa0000001-fe", "br-int", HYBRID, IDS),
                )
            ),
            id="hybrid: the Linux bridge is bridge_name, the veths are named after the id",
        ),
        pytest.param(
            vif_bridge(profile={"create_port": True, "multiqueue": True}),
            Wiring(
                (
                    LinuxBridge("qbra0000001-fe", HYBRID, ageing=0),
                    VethPair("qvba0000001-fe", "qvoa0000001-fe", "qbra0000001-fe", 1450, HYBRID),
                    OvsBridge("br-int", "netdev", HYBRID),
                    OvsPort("qvoa0000001-fe", "br-int", HYBRID, IDS),
                )
            ),
            id="hybrid: create_port and multiqueue change nothing",
        ),
    ],
)
def test_a_plugged_vif(vif: VIFBase, wanted: Wiring) -> None:
    assert wiring.plugged(vif, instance(), SETTINGS) == wanted


@pytest.mark.parametrize(
    ("vif", "wanted"),
    [
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            Wiring(
                (
                    Tap(TAP, None, None, DIRECT),
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, REMEMBERED),
                )
            ),
            id="everything is set",
        ),
        pytest.param(
            vif_open_vswitch(profile={"create_port": True}),
            Wiring(
                (
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, REMEMBERED, device=False),
                ),
                leftovers=(Tap(TAP, None, None, DIRECT),),
            ),
            id="create_port",
        ),
        pytest.param(
            vif_open_vswitch(),
            Wiring(
                (OvsBridge("br-int", "netdev", DIRECT),),
                leftovers=(
                    Tap(TAP, None, None, DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, REMEMBERED, device=False),
                ),
            ),
            id="what it may have from other settings",
        ),
        pytest.param(
            vif_open_vswitch(
                unset=["id", "address", "network.mtu", "profile.interface_id"],
                vif_name="tap-of-ours",
                profile=PORT_AND_TAP,
            ),
            Wiring(
                (
                    Tap("tap-of-ours", None, None, DIRECT_BY_NAME),
                    OvsBridge("br-int", "netdev", DIRECT_BY_NAME),
                    OvsPort("tap-of-ours", "br-int", DIRECT_BY_NAME),
                )
            ),
            id="names alone, without an id",
        ),
        pytest.param(
            vif_open_vswitch(unset=["vif_name", "address", "network.mtu"], profile=PORT),
            Wiring(
                (
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, {"iface-id": interface_id(1)}, device=False),
                ),
                leftovers=(Tap(TAP, None, None, DIRECT),),
            ),
            id="the name is made of the id",
        ),
        pytest.param(
            vif_open_vswitch(address=None, network={"mtu": 0}, profile=PORT),
            Wiring(
                (
                    OvsBridge("br-int", "netdev", DIRECT),
                    OvsPort(TAP, "br-int", DIRECT, {"iface-id": interface_id(1)}, device=False),
                ),
                leftovers=(Tap(TAP, None, None, DIRECT),),
            ),
            id="what no name is made of may be nonsense",
        ),
        pytest.param(
            vif_bridge(unset=["vif_name", "address", "network.mtu", "profile.interface_id"]),
            Wiring(
                (
                    LinuxBridge("qbra0000001-fe", HYBRID, ageing=0),
                    VethPair("qvba0000001-fe", "qvoa0000001-fe", "qbra0000001-fe", None, HYBRID),
                    OvsBridge("br-int", "netdev", HYBRID),
                    OvsPort("qvoa0000001-fe", "br-int", HYBRID),
                )
            ),
            id="hybrid, names alone",
        ),
    ],
)
def test_an_unplugged_vif_from_names_alone(vif: VIFBase, wanted: Wiring) -> None:
    assert wiring.unplugged(vif, instance(unset=["uuid", "name"])) == wanted


EVERY_KIND = [
    vif_bridge(),
    vif_open_vswitch(),
    vif_open_vswitch(profile=PORT),
    vif_open_vswitch(profile=PORT_AND_TAP),
    vif_open_vswitch(profile={**PORT_AND_TAP, "multiqueue": True}),
]


def names(drawn: Wiring) -> list[tuple[Any, ...]]:
    """What the two sides must agree about, in its order."""
    return [
        (type(e), e.name, e.mark, getattr(e, "bridge", None), getattr(e, "peer", None))
        for e in drawn
    ]


@pytest.mark.parametrize("vif", EVERY_KIND)
def test_plug_and_unplug_draw_the_same(vif: VIFBase) -> None:
    plugged = wiring.plugged(vif, instance(), SETTINGS)
    unplugged = wiring.unplugged(vif, instance())
    assert names(plugged) == names(unplugged)
    assert len(plugged.elements) == len(unplugged.elements)


@pytest.mark.parametrize("vif", EVERY_KIND)
@pytest.mark.parametrize("other", [1, 2])
def test_two_vifs_share_the_ovs_bridge_and_nothing_else(vif: VIFBase, other: int) -> None:
    makers = {"VIFBridge": vif_bridge, "VIFOpenVSwitch": vif_open_vswitch}
    second = makers[type(vif).__name__](number=other, profile={"create_port": True})
    mine = {e.name for e in wiring.unplugged(vif, instance())}
    theirs = {e.name for e in wiring.unplugged(second, instance())}
    assert (mine & theirs == {"br-int"}) is (other != 1)


def test_unplug_knows_a_port_by_the_ids_that_plug_wrote() -> None:
    vif = vif_open_vswitch(profile={**PORT, "interface_id": interface_id(1).upper()})
    (plugged,) = (e for e in wiring.plugged(vif, instance(), SETTINGS) if type(e) is OvsPort)
    (unplugged,) = (e for e in wiring.unplugged(vif, instance()) if type(e) is OvsPort)
    assert unplugged.external_ids.items() <= plugged.external_ids.items()


@pytest.mark.parametrize(
    "profile",
    [
        VIFPortProfileFPOpenVSwitch(interface_id=interface_id(1), datapath_type="netdev"),
        VIFPortProfileOVSRepresentor(interface_id=interface_id(1), datapath_type="netdev"),
    ],
    ids=lambda profile: type(profile).__name__,
)
def test_a_special_port_profile_is_one_of_open_vswitch_too(profile: Any) -> None:
    assert wiring.plugged(vif_bridge(profile=profile), instance(), SETTINGS) == wiring.plugged(
        vif_bridge(), instance(), SETTINGS
    )
