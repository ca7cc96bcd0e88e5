# SPDX-License-Identifier: Apache-2.0
"""How a VIF reaches a physical network through a Linux bridge. Everything here is pure.

What is made serves all guests of a network, so it is marked with the name of the device, and
stays when a guest goes.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from os_vif.wiring.elements import (
    BridgePort,
    Element,
    ForwardingFilter,
    HostInterface,
    LinuxBridge,
    OnRemove,
    VlanDevice,
)
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from vif_plug_linux_bridge import constants
from vif_plug_linux_bridge.forwarding_rules import Filtering
from vif_plug_linux_bridge.shapes.request import Request, Settings, is_provided, read

__all__ = [
    "FilterOptions",
    "Settings",
    "bridged",
    "described",
    "filtering",
    "is_provided",
    "mark",
    "read",
    "vlan_device",
    "vlan_name",
]


def described(wanted: Request) -> Wiring:
    """Return the wiring of a VIF: its network's bridge, which other VIFs use too.

    :param wanted: its names are those by which the kernel itself calls links.
    :raises InvalidValue: an option could not be written into a rule.
    """
    options = wanted.settings
    firewall = filtering(wanted.bridge, options, wanted.gateway) if wanted.filtered else None
    if wanted.vlan is None:
        interface = (HostInterface(wanted.interface, wanted.mtu),) if wanted.interface else ()
        bridge = bridged(wanted.bridge, wanted.interface, wanted.mtu, firewall)
        return Wiring((*interface, *bridge))
    device = vlan_device(wanted.vlan, wanted.interface, wanted.mtu)
    return Wiring(
        (
            HostInterface(wanted.interface, wanted.mtu, shared=True),
            device,
            *bridged(wanted.bridge, device.name, wanted.mtu, firewall),
        )
    )


def vlan_device(vlan: int, parent: str, mtu: int | None, mac: str | None = None) -> VlanDevice:
    """Return the device through which the frames of a VLAN travel."""
    name = vlan_name(vlan)
    return VlanDevice(name, parent, vlan, mtu, mark("vlan", name), mac)


def vlan_name(vlan: int) -> str:
    """Return the name of that device."""
    return f"vlan{vlan}"


def bridged(
    bridge: str, interface: str | None, mtu: int | None, firewall: Filtering | None
) -> tuple[Element, ...]:
    """Return a bridge with an interface in it.

    The rules come before the interface, so nothing is ever forwarded without them; and putting
    the interface into the bridge comes last, because the host goes on through the bridge then.

    :param interface: None or empty for none.
    :param mtu: bytes; None to leave it.
    :param firewall: None if its traffic is filtered elsewhere.
    """
    elements: tuple[Element, ...] = (
        LinuxBridge(bridge, mark("bridge", bridge), on_remove=OnRemove.KEEP),
    )
    if firewall:
        elements += (ForwardingFilter(bridge, asdict(firewall)),)
    if interface:
        elements += (BridgePort(interface, bridge, mtu),)
    return elements


class FilterOptions(Protocol):
    """The options that say how traffic is filtered: those of the plugin, by their names."""

    @property
    def use_ipv6(self) -> bool: ...
    @property
    def iptables_top_regex(self) -> str: ...
    @property
    def iptables_bottom_regex(self) -> str: ...
    @property
    def iptables_drop_action(self) -> str: ...
    @property
    def forward_bridge_interface(self) -> Sequence[str]: ...


def filtering(bridge: str, options: FilterOptions, gateway: bool) -> Filtering:
    """Return what the firewall is to say about a bridge.

    :param gateway: whether traffic may be forwarded to and from it at all.
    :raises InvalidValue: an option could not be written into a rule.
    """
    return Filtering(
        bridge=bridge,
        gateway=gateway,
        forward_bridge_interface=tuple(options.forward_bridge_interface),
        iptables_drop_action=options.iptables_drop_action,
        iptables_top_regex=options.iptables_top_regex,
        iptables_bottom_regex=options.iptables_bottom_regex,
        use_ipv6=options.use_ipv6,
    )


def mark(kind: str, device: str) -> Mark:
    """Return what a device that is made for all guests of a network bears."""
    return Mark(constants.PLUGIN_NAME, kind, device)
