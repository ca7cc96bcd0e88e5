# SPDX-License-Identifier: Apache-2.0
"""What a VIF's network needs on the host, drawn as text."""

from typing import Any

import pytest

from os_vif.exception import InvalidValue
from os_vif.objects.network import Network
from os_vif.objects.subnet import Subnet, SubnetList
from os_vif.objects.vif import VIFBridge
from os_vif.wiring.elements import ForwardingFilter
from os_vif.wiring.model import Wiring
from tests.drawing import draw
from vif_plug_linux_bridge import shapes
from vif_plug_linux_bridge.linux_bridge import LinuxBridgePlugin
from vif_plug_linux_bridge.shapes import Settings


def plugged(vif: VIFBridge, settings: Settings) -> Wiring:
    return shapes.described(shapes.read(vif, settings))


def a_vif(network: dict[str, Any] | None = None, **fields: Any) -> VIFBridge:
    """A VIF on a flat network that Neutron filters; None leaves a field unset."""
    of_network = {
        "bridge_interface": "eth0",
        "should_provide_bridge": True,
        "mtu": 1450,
        **(network or {}),
    }
    its = {"bridge_name": "br100", "has_traffic_filtering": True, **fields}
    its.setdefault("network", Network(**_set(of_network)))
    return VIFBridge(**_set(its))


def _set(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def with_gateways(*gateways: str | None) -> SubnetList:
    subnets = [_set({"cidr": "192.0.2.0/24", "gateway": gateway}) for gateway in gateways]
    return SubnetList(objects=[Subnet(**subnet) for subnet in subnets])


TAGGED = {"should_provide_vlan": True, "vlan": 7}
#: How the drawings name a filter with the defaults of the options.
SHORT = {
    "settings={bridge=br100 forward_bridge_interface=('all',) gateway=True iptables_bottom_regex= "
    "iptables_drop_action=DROP iptables_top_regex= use_ipv6=False}": "DEFAULTS"
}

FLAT = """
HostInterface eth0 mtu=1450
LinuxBridge br100 mark=linux_bridge:bridge:br100 on_remove=KEEP
BridgePort eth0 bridge=br100 mtu=1450
"""
VLAN = """
HostInterface eth0 mtu=1450 shared=True
VlanDevice vlan7 mark=linux_bridge:vlan:vlan7 mtu=1450 parent=eth0 vlan=7
LinuxBridge br100 mark=linux_bridge:bridge:br100 on_remove=KEEP
BridgePort vlan7 bridge=br100 mtu=1450
"""

#: what is wanted -> a VIF, the settings, the wiring
CASES: dict[str, tuple[VIFBridge, Settings, str]] = {
    "flat": (a_vif(), Settings(), FLAT),
    "flat, on the configured interface": (
        a_vif(),
        Settings(flat_interface="bond0", vlan_interface="eth9"),
        FLAT.replace("eth0", "bond0"),
    ),
    "flat, on the configured interface alone": (
        a_vif({"bridge_interface": None}),
        Settings(flat_interface="bond0"),
        FLAT.replace("eth0", "bond0"),
    ),
    "flat, an option that is empty": (a_vif(), Settings(flat_interface=""), FLAT),
    "flat, an interface that Neutron's agent will add": (
        a_vif({"bridge_interface": None}, has_traffic_filtering=False),
        Settings(),
        """
LinuxBridge br100 mark=linux_bridge:bridge:br100 on_remove=KEEP
ForwardingFilter br100 DEFAULTS
""",
    ),
    "flat, with the mtu of the options": (
        a_vif({"mtu": None}),
        Settings(network_device_mtu=9000),
        FLAT.replace("1450", "9000"),
    ),
    "flat, with the mtu of the options for 0": (
        a_vif({"mtu": 0}),
        Settings(network_device_mtu=9000),
        FLAT.replace("1450", "9000"),
    ),
    "flat, not said whether it is filtered elsewhere": (
        a_vif(has_traffic_filtering=None),
        Settings(),
        """
HostInterface eth0 mtu=1450
LinuxBridge br100 mark=linux_bridge:bridge:br100 on_remove=KEEP
ForwardingFilter br100 DEFAULTS
BridgePort eth0 bridge=br100 mtu=1450
""",
    ),
    "flat, filtered as configured": (
        a_vif(has_traffic_filtering=False),
        Settings(True, "top", "bottom", "REJECT", ["eth1", "eth2"]),
        """
HostInterface eth0 mtu=1450
LinuxBridge br100 mark=linux_bridge:bridge:br100 on_remove=KEEP
ForwardingFilter br100 settings={bridge=br100 forward_bridge_interface=('eth1', 'eth2') \
gateway=True iptables_bottom_regex=bottom iptables_drop_action=REJECT iptables_top_regex=top \
use_ipv6=True}
BridgePort eth0 bridge=br100 mtu=1450
""",
    ),
    "vlan": (a_vif(TAGGED), Settings(), VLAN),
    "vlan, on the configured interface": (
        a_vif(TAGGED),
        Settings(vlan_interface="bond0", flat_interface="eth9"),
        VLAN.replace("eth0", "bond0"),
    ),
    "vlan without a gateway, filtered": (
        a_vif({**TAGGED, "subnets": with_gateways(None)}, has_traffic_filtering=False),
        Settings(),
        """
HostInterface eth0 mtu=1450 shared=True
VlanDevice vlan7 mark=linux_bridge:vlan:vlan7 mtu=1450 parent=eth0 vlan=7
LinuxBridge br100 mark=linux_bridge:bridge:br100 on_remove=KEEP
ForwardingFilter br100 settings={bridge=br100 forward_bridge_interface=('all',) gateway=False \
iptables_bottom_regex= iptables_drop_action=DROP iptables_top_regex= use_ipv6=False}
BridgePort vlan7 bridge=br100 mtu=1450
""",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_needs(case: str) -> None:
    """The interface comes into the bridge last: the host's traffic goes through it then."""
    vif, settings, text = CASES[case]
    assert draw(plugged(vif, settings), SHORT) == text.strip()


@pytest.mark.parametrize(
    ("gateways", "tagged", "forwarded"),
    [
        ([], False, True),
        ([None], False, True),
        (["192.0.2.1"], False, True),
        ([], True, False),
        ([None], True, False),
        (["192.0.2.1"], True, True),
        ([None, "192.0.2.1"], True, True),
    ],
)
def test_of_a_vlan_without_a_gateway_nothing_is_forwarded(
    gateways: list[str | None], tagged: bool, forwarded: bool
) -> None:
    subnets = with_gateways(*gateways)
    vif = a_vif({**(TAGGED if tagged else {}), "subnets": subnets}, has_traffic_filtering=False)
    (rules,) = (e for e in plugged(vif, Settings()).elements if isinstance(e, ForwardingFilter))
    assert rules.settings["gateway"] == forwarded


@pytest.mark.parametrize(
    ("network", "provided"),
    [
        ({}, True),
        ({"should_provide_bridge": None}, False),
        ({"should_provide_bridge": False}, False),
        ({"multi_host": True}, False),
        ({"multi_host": False}, True),
        ({"should_provide_vlan": True}, True),
        ({"should_provide_vlan": True, "should_provide_bridge": False}, False),
    ],
    ids=str,
)
def test_whose_the_bridge_is(network: dict[str, Any], provided: bool) -> None:
    assert shapes.is_provided(a_vif(network)) == provided


FILTERED = a_vif(has_traffic_filtering=False)
REFUSED: list[tuple[VIFBridge, Settings, str]] = [
    (VIFBridge(bridge_name="br100"), Settings(), "vif.network, None"),
    *(
        (a_vif(bridge_name=bad), Settings(), f"bridge_name, {bad!r}")
        for bad in (None, "", "br 1", "b" * 16)
    ),
    (
        a_vif({**TAGGED, "bridge_interface": None}),
        Settings(flat_interface="eth0"),
        "vif.network.bridge_interface (nor is [os_vif_linux_bridge] vlan_interface), None",
    ),
    (a_vif({"bridge_interface": "a/b"}), Settings(), "vif.network.bridge_interface, 'a/b'"),
    (a_vif(), Settings(flat_interface="a/b"), "[os_vif_linux_bridge] flat_interface, 'a/b'"),
    (a_vif(TAGGED), Settings(vlan_interface="a/b"), "[os_vif_linux_bridge] vlan_interface, 'a/b'"),
    (a_vif({"should_provide_vlan": True}), Settings(), "vif.network.vlan, None"),
    (a_vif({**TAGGED, "vlan": 0}), Settings(), "vif.network.vlan, 0"),
    (a_vif({**TAGGED, "vlan": 4095}), Settings(), "vif.network.vlan, 4095"),
    (a_vif({"mtu": 65536}), Settings(), "vif.network.mtu, 65536"),
    (
        a_vif({"mtu": None}),
        Settings(network_device_mtu=0),
        "[os_vif_linux_bridge] network_device_mtu, 0",
    ),
    (
        FILTERED,
        Settings(forward_bridge_interface=["eth1 -j ACCEPT"]),
        "forward_bridge_interface, 'eth1 -j ACCEPT'",
    ),
    (FILTERED, Settings(iptables_drop_action="DROP\n-A INPUT"), "iptables_drop_action, 'DROP"),
    (FILTERED, Settings(iptables_top_regex="("), "iptables_top_regex, '('"),
]


@pytest.mark.parametrize(("vif", "settings", "said"), REFUSED)
def test_what_cannot_be_names_field_and_value(
    vif: VIFBridge, settings: Settings, said: str
) -> None:
    with pytest.raises(InvalidValue) as refusal:
        plugged(vif, settings)
    assert said in str(refusal.value)


def test_what_is_not_filtered_does_not_mind_the_options_of_filtering() -> None:
    plugged(a_vif(), Settings(iptables_drop_action="no such thing"))


def test_the_settings_are_options_of_the_plugin_with_their_defaults() -> None:
    options = {option.name: option.default for option in LinuxBridgePlugin.CONFIG_OPTS}
    settings = vars(Settings())
    assert {**settings, "forward_bridge_interface": ["all"]} == options
