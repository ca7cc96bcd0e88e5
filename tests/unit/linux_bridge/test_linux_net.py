# SPDX-License-Identifier: Apache-2.0
"""The functions for callers without a VIF: what they apply, drawn as text."""

import subprocess
import sys
from typing import Any

import pytest

from os_vif.exception import InvalidValue
from os_vif.wiring.model import Wiring
from tests.drawing import draw
from vif_plug_linux_bridge import iptables, linux_net, privileged, privsep
from vif_plug_linux_bridge.iptables import IptablesManager
from vif_plug_linux_bridge.shapes import Settings

Applied = list[tuple[str, str]]


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> Applied:
    """The drawings of what is applied, each with the bridge that is locked."""
    found: Applied = []

    def apply(wanted: Wiring, bridge: str) -> None:
        found.append((draw(wanted, {}), bridge))

    monkeypatch.setattr(linux_net, "apply", apply)
    monkeypatch.setattr(linux_net, "_options", Settings())
    return found


BRIDGE = "LinuxBridge br100 mark=linux_bridge:bridge:br100 on_remove=KEEP"
CASES: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "with an interface": (
        ("br100", "eth0"),
        {},
        f"""
HostInterface eth0 mtu=None
{BRIDGE}
ForwardingFilter br100 settings={{bridge=br100 forward_bridge_interface=('all',) gateway=True \
iptables_bottom_regex= iptables_drop_action=DROP iptables_top_regex= use_ipv6=False}}
BridgePort eth0 bridge=br100 mtu=None
""",
    ),
    "without an interface": (("br100", None), {"filtering": False}, BRIDGE),
    "the MTU is the interface's and the bridge's": (
        ("br100", "eth0"),
        {"filtering": False, "mtu": 9000},
        f"HostInterface eth0 mtu=9000\n{BRIDGE}\nBridgePort eth0 bridge=br100 mtu=9000",
    ),
    "an MTU of 0 is none": (
        ("br100", "eth0"),
        {"filtering": False, "mtu": 0},
        f"HostInterface eth0 mtu=None\n{BRIDGE}\nBridgePort eth0 bridge=br100 mtu=None",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bridge(case: str, applied: Applied) -> None:
    arguments, options, text = CASES[case]
    linux_net.ensure_bridge(*arguments, **options)
    assert applied == [(text.strip(), "br100")]


@pytest.mark.parametrize(
    ("number", "mac", "drawn"),
    [(7, None, ""), ("7", "02:00:00:00:00:07", "mac=02:00:00:00:00:07 ")],
    ids=["a number", "a text, as some callers have it, and a MAC address"],
)
def test_a_bridge_on_a_vlan(number: Any, mac: str | None, drawn: str, applied: Applied) -> None:
    name = linux_net.ensure_vlan_bridge(number, "br7", "eth0", mac_address=mac, mtu=1400)
    text = f"""
HostInterface eth0 mtu=1400 shared=True
VlanDevice vlan7 {drawn}mark=linux_bridge:vlan:vlan7 mtu=1400 parent=eth0 vlan=7
LinuxBridge br7 mark=linux_bridge:bridge:br7 on_remove=KEEP
BridgePort vlan7 bridge=br7 mtu=1400
"""
    assert (name, applied) == ("vlan7", [(text.strip(), "br7")])


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("", "eth0"), {}, "bridge, ''"),
        (("a/b", "eth0"), {}, "bridge, 'a/b'"),
        (("br100", "a/b"), {}, "interface, 'a/b'"),
        (("br100", "eth0"), {"mtu": 67}, "mtu, 67"),
        (("br100", "eth0"), {"mtu": "1500"}, "mtu, '1500'"),
    ],
)
def test_a_bad_bridge_is_refused(
    arguments: Any, options: dict[str, Any], said: str, applied: Applied
) -> None:
    with pytest.raises(InvalidValue, match=said):
        linux_net.ensure_bridge(*arguments, **options)
    assert applied == []


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((0, "br7", "eth0"), {}, "vlan_num, 0"),
        ((4095, "br7", "eth0"), {}, "vlan_num, 4095"),
        (("seven", "br7", "eth0"), {}, "vlan_num, 'seven'"),
        ((None, "br7", "eth0"), {}, "vlan_num, None"),
        ((7, "a/b", "eth0"), {}, "bridge, 'a/b'"),
        ((7, "br7", ""), {}, "bridge_interface, ''"),
        ((7, "br7", "eth0"), {"mtu": 65536}, "mtu, 65536"),
    ],
)
def test_a_bad_vlan_is_refused(
    arguments: Any, options: dict[str, Any], said: str, applied: Applied
) -> None:
    with pytest.raises(InvalidValue, match=said):
        linux_net.ensure_vlan_bridge(*arguments, **options)
    assert applied == []


# The historic interface to iptables: the options of a caller ------------------------------------


def test_a_manager_is_deprecated_and_holds_options() -> None:
    with pytest.warns(DeprecationWarning, match="IptablesManager") as warned:
        manager: Any = IptablesManager(True, "top", None, "REJECT", ["eth1", "eth2"])
    assert warned[0].filename == __file__
    assert vars(manager) == {
        "use_ipv6": True,
        "iptables_top_regex": "top",
        "iptables_bottom_regex": "",
        "iptables_drop_action": "REJECT",
        "forward_bridge_interface": ("eth1", "eth2"),
    }


def test_the_options_are_the_managers(applied: Applied) -> None:
    with pytest.warns(DeprecationWarning, match="configure"):
        manager = IptablesManager(True, "top", "bottom", "REJECT", ["eth1"])
    linux_net.configure(manager)
    linux_net.ensure_bridge("br100", None, gateway=False)
    assert applied[0][0].splitlines()[1:] == [
        "ForwardingFilter br100 settings={bridge=br100 forward_bridge_interface=('eth1',) "
        "gateway=False iptables_bottom_regex=bottom iptables_drop_action=REJECT "
        "iptables_top_regex=top use_ipv6=True}"
    ]


def test_without_options_they_are_those_of_a_bridge_without_a_manager() -> None:
    with pytest.warns(DeprecationWarning, match="configure"):
        manager = IptablesManager()
    assert vars(manager).items() <= vars(linux_net._options).items()


def test_the_import_does_not_warn() -> None:
    refused = "error::DeprecationWarning:vif_plug_linux_bridge.linux_net"
    program = "import vif_plug_linux_bridge.linux_net"
    subprocess.run([sys.executable, "-W", refused, "-c", program], check=True)


def test_the_daemon_takes_no_text_for_iptables() -> None:
    """Only steps, which are checked (``packing.unpack``), and questions about bridges."""
    modules = (iptables, linux_net, privileged)
    every = {name: one for module in modules for name, one in vars(module).items()}
    found = {name for name, one in every.items() if privsep.vif_plug.is_entrypoint(one)}
    assert found == {"change_links", "filtered", "may_change_links", "missing_rules"}
