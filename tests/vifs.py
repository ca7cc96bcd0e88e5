# SPDX-License-Identifier: Apache-2.0
"""VIFs as Nova makes them, for tests of every kind.

``number`` tells VIFs apart: ids, MAC addresses and names are made of it. Fields are given by
keyword, those of the nested objects as dictionaries; ``unset`` names fields to leave out::

    vif_open_vswitch(number=2, profile={"create_port": True}, network={"mtu": 9000})
    vif_bridge(unset=["address", "network.mtu", "profile.interface_id"])
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.network import Network
from os_vif.objects.vif import (
    VIFBase,
    VIFBridge,
    VIFHostDevice,
    VIFOpenVSwitch,
    VIFPortProfileOpenVSwitch,
    VIFVHostUser,
)

T = TypeVar("T", bound=VIFBase)

BRIDGE = "br-int"
MTU = 1450


def uuid(kind: int, number: int) -> str:
    """A UUID; kind and number are in its first group, so that names cut from it differ too."""
    return f"{kind:x}{number:07x}-feed-4bee-8fad-{number:012x}"


def vif_id(number: int = 1) -> str:
    """The id of a VIF."""
    return uuid(0xA, number)


def interface_id(number: int = 1) -> str:
    """The iface-id of a VIF. In Nova it is the VIF's id; here they differ, to be told apart."""
    return uuid(0xB, number)


def instance_id(number: int = 1) -> str:
    """The id of the virtual machine that a VIF belongs to."""
    return uuid(0xC, number)


def network_id(number: int = 1) -> str:
    """The id of a network."""
    return uuid(0xD, number)


def mac(number: int = 1) -> str:
    """The MAC address of a VIF."""
    return f"fa:16:3e:00:{number >> 8:02x}:{number & 0xFF:02x}"


def device(prefix: str, number: int = 1) -> str:
    """A name made of a VIF's id, as ``tapa0000001-fe``."""
    return (prefix + vif_id(number))[:14]


def instance(number: int = 1, unset: Iterable[str] = (), **overrides: Any) -> InstanceInfo:
    """A virtual machine."""
    fields = {"uuid": instance_id(number), "name": f"instance-{number:08x}", **overrides}
    return InstanceInfo(**_less(fields, unset))


def network(unset: Iterable[str] = (), **overrides: Any) -> Network:
    """A network of MTU 1450 on br-int, with datapath type netdev in the profiles below."""
    fields = {"id": network_id(), "bridge": BRIDGE, "mtu": MTU, **overrides}
    return Network(**_less(fields, unset))


def profile(
    number: int = 1, unset: Iterable[str] = (), **overrides: Any
) -> VIFPortProfileOpenVSwitch:
    """A port profile."""
    fields = {"interface_id": interface_id(number), "datapath_type": "netdev", **overrides}
    return VIFPortProfileOpenVSwitch(**_less(fields, unset))


def vif_open_vswitch(
    number: int = 1, unset: str | Iterable[str] = (), **overrides: Any
) -> VIFOpenVSwitch:
    """A VIF whose tap is a port of br-int."""
    named = {"vif_name": device("tap", number)}
    return _vif(VIFOpenVSwitch, number, unset, named, overrides)


def vif_bridge(number: int = 1, unset: str | Iterable[str] = (), **overrides: Any) -> VIFBridge:
    """A VIF whose tap is in a Linux bridge that is joined to br-int: the hybrid plug."""
    named = {"vif_name": device("tap", number), "bridge_name": device("qbr", number)}
    return _vif(VIFBridge, number, unset, named, overrides)


def vif_vhost_user(
    number: int = 1, unset: str | Iterable[str] = (), **overrides: Any
) -> VIFVHostUser:
    """A VIF that shares its guest's memory with ovs-vswitchd; the guest is the server."""
    named = {"vif_name": device("vhu", number), "mode": "server", "path": f"/run/vhu{number}"}
    return _vif(VIFVHostUser, number, unset, named, overrides)


def vif_host_device(
    number: int = 1, unset: str | Iterable[str] = (), **overrides: Any
) -> VIFHostDevice:
    """A virtual function: of the first port of a NIC at 0000:03:00.0."""
    named = {"dev_type": "ethernet", "dev_address": f"0000:03:00.{number + 1}"}
    return _vif(VIFHostDevice, number, unset, named, overrides)


def _vif(
    cls: type[T],
    number: int,
    unset: str | Iterable[str],
    named: Mapping[str, Any],
    overrides: dict[str, Any],
) -> T:
    left_out = [unset] if isinstance(unset, str) else list(unset)
    fields = {
        "id": vif_id(number),
        "address": mac(number),
        "plugin": "ovs",
        "active": True,
        "preserve_on_delete": False,
        "has_traffic_filtering": False,
        **named,
        "network": _part(network, left_out, "network", overrides),
        "port_profile": _part(profile, left_out, "profile", overrides, number=number),
        **overrides,
    }
    return cls(**_less(fields, left_out))


def _part(make: Any, unset: list[str], name: str, overrides: dict[str, Any], **fixed: Any) -> Any:
    """A nested object, of the dictionary in the overrides (or the object, if it is one)."""
    given = overrides.pop(name, {})
    if not isinstance(given, dict):
        return given
    prefix = f"{name}."
    mine = [field.removeprefix(prefix) for field in unset if field.startswith(prefix)]
    unset[:] = [field for field in unset if not field.startswith(prefix)]
    return make(unset=mine, **fixed, **given)


def _less(fields: Mapping[str, Any], unset: Iterable[str]) -> dict[str, Any]:
    left_out = list(unset)
    unknown = set(left_out) - set(fields)
    if unknown:
        raise ValueError(f"not among the fields that would be set: {sorted(unknown)}")
    return {name: value for name, value in fields.items() if name not in left_out}
