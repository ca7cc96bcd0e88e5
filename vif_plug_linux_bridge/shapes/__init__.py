# SPDX-License-Identifier: Apache-2.0
"""How a VIF reaches a physical network through a Linux bridge. Everything here is pure.

What is made serves all guests of a network, so it is marked with the name of the device, and
stays when a guest goes.
"""

from collections.abc import Iterator, Sequence
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
    "described",
    "filtering",
    "flat",
    "is_provided",
    "mark",
    "read",
    "tagged",
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
        return flat(wanted.bridge, wanted.interface, wanted.mtu, firewall)
    return tagged(wanted.bridge, wanted.interface, wanted.vlan, wanted.mtu, firewall)


def flat(
    bridge: str, interface: str | None, mtu: int | None, firewall: Filtering | None
) -> Wiring:
    """Return a bridge with an interface in it.

    :param interface: None or empty for none.
    :param mtu: bytes; None to leave it.
    :param firewall: None if its traffic is filtered elsewhere.
    """
    host = (HostInterface(interface, mtu),) if interface else ()
    return Wiring((*host, *_bridged(bridge, interface, mtu, firewall)))


def tagged(
    bridge: str,
    parent: str,
    vlan: int,
    mtu: int | None,
    firewall: Filtering | None,
    mac: str | None = None,
) -> Wiring:
    """Return a bridge with the device in it through which the frames of a VLAN travel.

    :param mac: of that device; None for that of its parent.
    """
    name = vlan_name(vlan)
    device = VlanDevice(name, parent, vlan, mtu, mark("vlan", name), mac)
    host = HostInterface(parent, mtu, shared=True)
    return Wiring((host, device, *_bridged(bridge, name, mtu, firewall)))


def vlan_name(vlan: int) -> str:
    """Return the name of the device of a VLAN."""
    return f"vlan{vlan}"


def _bridged(
    bridge: str, interface: str | None, mtu: int | None, firewall: Filtering | None
) -> Iterator[Element]:
    """Yield a bridge and what goes with it.

    The rules come before the interface, so nothing is ever forwarded without them; and putting
    the interface into the bridge comes last, because the host goes on through the bridge then.
    """
    yield LinuxBridge(bridge, mark("bridge", bridge), on_remove=OnRemove.KEEP)
    if firewall:
        yield ForwardingFilter(bridge, asdict(firewall))
    if interface:
        yield BridgePort(interface, bridge, mtu)


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
