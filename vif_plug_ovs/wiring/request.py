# SPDX-License-Identifier: Apache-2.0
"""What a VIF says, read once and checked, for the functions that draw its wiring.

Which field names what: the OVS bridge is ``network.bridge``, always; the hybrid Linux bridge is
``vif.bridge_name``; a device is ``vif.vif_name``, else made of the id; the iface-id is
``port_profile.interface_id``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from os_vif import limits
from os_vif.exception import InvalidValue
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFPortProfileBase, VIFPortProfileOpenVSwitch
from os_vif.wiring.model import Mark
from vif_plug_ovs import constants, exception
from vif_plug_ovs.wiring import names


@dataclass(frozen=True)
class Settings:
    """What the configuration says about wirings."""

    network_device_mtu: int = 1500  # bytes


@dataclass(frozen=True)
class Request:
    """A checked VIF. Names are always there; what unplug need not know may be None."""

    vif_class: str
    vif_id: str | None
    device: str
    bridge: str  # the OVS bridge
    linux_bridge: str | None  # of a hybrid plug
    datapath_type: str = constants.OVS_DATAPATH_SYSTEM
    mac: str | None = None
    mtu: int | None = None  # bytes
    external_ids: Mapping[str, str] = field(default_factory=dict)  # of the Interface row
    create_port: bool = False
    create_tap: bool = False
    multiqueue: bool = False

    def mark(self, kind: str) -> Mark:
        """The ownership mark of what is made for this VIF."""
        return Mark(constants.PLUGIN_NAME, kind, self.vif_id or self.device)

    def need_id(self) -> str:
        """The VIF's id, for names that are made of it.

        :raises InvalidValue: it is not set.
        """
        return _required("vif.id", self.vif_id)

    def need_linux_bridge(self) -> str:
        """The name of a hybrid plug's Linux bridge.

        :raises InvalidValue: it is not set.
        """
        return _required("vif.bridge_name", self.linux_bridge)


def for_plug(vif: VIFBase, instance: InstanceInfo, settings: Settings) -> Request:
    """Read and check everything that plug needs.

    :raises MissingPortProfile: there is none.
    :raises WrongPortProfile: it is not a VIFPortProfileOpenVSwitch.
    :raises InvalidValue: another field is missing or has an impossible value.
    """
    profile = _profile(vif)
    mac = limits.mac("vif.address", _required("vif.address", _get(vif, "address")))
    return Request(
        **_names(vif),
        **_switches(profile),
        mac=mac,
        mtu=_mtu(vif, settings),
        external_ids={
            "iface-id": _required("vif.port_profile.interface_id", _get(profile, "interface_id")),
            "iface-status": "active",
            "attached-mac": mac,
            "vm-uuid": _required("instance_info.uuid", _get(instance, "uuid")),
        },
    )


def for_unplug(vif: VIFBase, instance: InstanceInfo) -> Request:
    """Read and check what names are made of, and of the rest what happens to be set.

    :raises MissingPortProfile: there is none.
    :raises WrongPortProfile: it is not a VIFPortProfileOpenVSwitch.
    :raises InvalidValue: a name is missing or impossible.
    """
    profile = _profile(vif)
    ids = {"iface-id": _get(profile, "interface_id"), "attached-mac": _get(vif, "address")}
    return Request(
        **_names(vif),
        **_switches(profile),
        external_ids={key: str(value).lower() for key, value in ids.items() if value},
    )


def _get(obj: Any, name: str) -> Any:
    """A field of a versioned object, None when it is not set."""
    return getattr(obj, name) if name in obj else None


def _required(name: str, value: Any) -> str:
    if value in (None, ""):
        raise InvalidValue(field=name, value=value, reason="it is not set")
    return str(value)


def _profile(vif: VIFBase) -> VIFPortProfileOpenVSwitch:
    profile: VIFPortProfileBase | None = _get(vif, "port_profile")
    if profile is None:
        raise exception.MissingPortProfile()
    if not isinstance(profile, VIFPortProfileOpenVSwitch):
        raise exception.WrongPortProfile(profile=type(profile).__name__)
    return profile


def _names(vif: VIFBase) -> dict[str, Any]:
    network = _get(vif, "network")
    if network is None:
        raise InvalidValue(field="vif.network", value=None, reason="it is not set")
    vif_id = _get(vif, "id")
    device = _get(vif, "vif_name") or (vif_id and names.tap(vif_id))
    linux_bridge = _get(vif, "bridge_name")
    return {
        "vif_class": type(vif).__name__,
        "vif_id": vif_id,
        "device": limits.device_name("vif.vif_name", device),
        "bridge": limits.device_name("vif.network.bridge", _get(network, "bridge")),
        "linux_bridge": linux_bridge and limits.device_name("vif.bridge_name", linux_bridge),
    }


def _switches(profile: VIFPortProfileOpenVSwitch) -> dict[str, Any]:
    return {
        "datapath_type": _get(profile, "datapath_type") or constants.OVS_DATAPATH_SYSTEM,
        **{key: bool(_get(profile, key)) for key in ("create_port", "create_tap", "multiqueue")},
    }


def _mtu(vif: VIFBase, settings: Settings) -> int:
    mtu = _get(vif.network, "mtu")
    if mtu is None:
        return limits.mtu("[os_vif_ovs] network_device_mtu", settings.network_device_mtu)
    return limits.mtu("vif.network.mtu", mtu)
