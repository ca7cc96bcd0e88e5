# SPDX-License-Identifier: Apache-2.0
"""What a VIF says, read once and checked, for the functions that draw its wiring."""

from collections.abc import Sequence
from dataclasses import dataclass

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.objects.base import get
from os_vif.objects.network import Network
from os_vif.objects.vif import VIFBridge

GROUP = "[os_vif_linux_bridge]"


@dataclass(frozen=True)
class Settings:
    """What the configuration says; see the options of the plugin."""

    use_ipv6: bool = False
    iptables_top_regex: str = ""
    iptables_bottom_regex: str = ""
    iptables_drop_action: str = "DROP"
    forward_bridge_interface: Sequence[str] = ("all",)
    vlan_interface: str | None = None
    flat_interface: str | None = None
    network_device_mtu: int = 1500  # bytes


@dataclass(frozen=True)
class Request:
    """A checked VIF.

    :param interface: that of the host through which its network is reached; empty if Neutron's
        Linux bridge agent puts it into the bridge, as for Nova until version 33.
    :param vlan: that of the network on the interface; None for untagged frames.
    :param filtered: whether nobody else filters its traffic.
    :param gateway: whether its traffic may be forwarded at all.
    """

    bridge: str
    interface: str
    vlan: int | None
    mtu: int  # bytes
    filtered: bool
    gateway: bool
    settings: Settings


def read(vif: VIFBridge, settings: Settings) -> Request:
    """Read and check a VIF.

    :raises InvalidValue: a field or an option is missing or has an impossible value.
    """
    network: Network = validate.required("vif.network", get(vif, "network"))
    tagged = bool(get(network, "should_provide_vlan"))
    vlan = validate.required("vif.network.vlan", get(network, "vlan")) if tagged else None
    return Request(
        bridge=validate.device_name("vif.bridge_name", get(vif, "bridge_name")),
        interface=_interface(network, settings, tagged),
        vlan=None if vlan is None else validate.vlan("vif.network.vlan", vlan),
        mtu=_mtu(network, settings),
        filtered=not get(vif, "has_traffic_filtering"),
        gateway=not tagged or _has_gateway(network),
        settings=settings,
    )


def is_provided(vif: VIFBridge) -> bool:
    """Return whether there is anything to make for a VIF: else Neutron makes its bridge."""
    network = validate.required("vif.network", get(vif, "network"))
    return bool(get(network, "should_provide_bridge")) and not get(network, "multi_host")


def _interface(network: Network, settings: Settings, tagged: bool) -> str:
    option = "vlan_interface" if tagged else "flat_interface"
    field, name = f"{GROUP} {option}", getattr(settings, option)
    if not name:
        unset = f"vif.network.bridge_interface (nor is {field})"
        field, name = "vif.network.bridge_interface", get(network, "bridge_interface")
        if not (name or tagged):
            return ""
        validate.required(unset, name)
    if name == "lo":
        raise InvalidValue(field=field, value=name, reason="the loopback device leads nowhere")
    return validate.device_name(field, name)


def _mtu(network: Network, settings: Settings) -> int:
    mtu = get(network, "mtu")
    if not mtu:  # Neutron can hand out 0 as well for a network whose MTU it does not know
        return validate.mtu(f"{GROUP} network_device_mtu", settings.network_device_mtu)
    return validate.mtu("vif.network.mtu", mtu)


def _has_gateway(network: Network) -> bool:
    return any(get(subnet, "gateway") for subnet in get(network.subnets, "objects") or ())
