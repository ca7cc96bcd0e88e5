# SPDX-License-Identifier: Apache-2.0
"""Bridges without a VIF, for callers outside of this repository."""

from typing import Any

from os_vif import validate
from os_vif.kernel.observe import own_name
from vif_plug_linux_bridge import shapes
from vif_plug_linux_bridge.linux_bridge import apply

_options: shapes.FilterOptions = shapes.Settings()


def configure(iptables_mgr: shapes.FilterOptions) -> None:
    """Choose the options by which :func:`ensure_bridge` filters.

    :param iptables_mgr: has them, as the group ``[os_vif_linux_bridge]`` does; or the deprecated
        :class:`.iptables.IptablesManager`.
    """
    global _options
    _options = iptables_mgr


def ensure_bridge(
    bridge: str,
    interface: str | None,
    net_attrs: Any = None,
    gateway: bool = True,
    filtering: bool = True,
    mtu: int | None = None,
) -> None:
    """Make sure of a bridge and, unless it is None, of an interface in it.

    :param net_attrs: of no effect, as before.
    :param gateway: whether traffic may be forwarded to and from the bridge.
    :param filtering: whether to say so to iptables.
    :param mtu: bytes, of the interface and the bridge; None to leave it.
    :raises InvalidValue: a name or an MTU that Linux does not take.
    :raises WiringError: see :mod:`os_vif.wiring.errors`.
    """
    bridge = own_name(validate.device_name("bridge", bridge))
    if interface:
        interface = own_name(validate.device_name("interface", interface))
    firewall = shapes.filtering(bridge, _options, gateway) if filtering else None
    mtu = validate.mtu("mtu", mtu) if mtu else None
    apply(shapes.flat(bridge, interface, mtu, firewall), bridge)


def ensure_vlan_bridge(
    vlan_num: int,
    bridge: str,
    bridge_interface: str,
    net_attrs: Any = None,
    mac_address: str | None = None,
    mtu: int | None = None,
) -> str:
    """Make sure of a VLAN device and of a bridge with it; nothing is filtered.

    :param net_attrs: of no effect, as before.
    :param mac_address: of the VLAN device; None for that of its parent.
    :param mtu: bytes, of the VLAN device and the bridge; that of the parent is raised to it.
    :returns: the name of the VLAN device.
    :raises InvalidValue: a name, VLAN, MAC or MTU that Linux does not take.
    :raises WiringError: see :mod:`os_vif.wiring.errors`.
    """
    bridge = own_name(validate.device_name("bridge", bridge))
    parent = own_name(validate.device_name("bridge_interface", bridge_interface))
    number = int(vlan_num) if str(vlan_num).isdecimal() else vlan_num
    vlan = validate.vlan("vlan_num", number)
    mtu = validate.mtu("mtu", mtu) if mtu else None
    apply(shapes.tagged(bridge, parent, vlan, mtu, None, mac_address), bridge)
    return shapes.vlan_name(vlan)
