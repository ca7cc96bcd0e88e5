# SPDX-License-Identifier: Apache-2.0
"""What a VIF says, read once and checked, for the functions that draw its wiring.

Which field names what: the OVS bridge is ``network.bridge``, always; the hybrid Linux bridge is
``vif.bridge_name``; a device is ``vif.vif_name``, else made of the id; the iface-id is
``port_profile.interface_id``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.objects.base import get
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.network import Network
from os_vif.objects.vif import VIFBase, VIFPortProfileOpenVSwitch
from os_vif.wiring.elements import OnRemove, OvsBridge, OvsPort
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import IFACE_ID, Mark
from os_vif.wiring.state import Vlan
from vif_plug_ovs import constants, exception
from vif_plug_ovs.shapes import names

NETDEV, SYSTEM = constants.OVS_DATAPATH_NETDEV, constants.OVS_DATAPATH_SYSTEM

#: Where a port talks to nobody: it takes only frames of a VLAN that Open vSwitch drops.
DEAD = Vlan(constants.DEAD_VLAN, "trunk", (constants.DEAD_VLAN,))


@dataclass(frozen=True)
class Settings:
    """What the configuration says about wirings."""

    network_device_mtu: int = 1500  # bytes
    per_port_bridge: bool = False
    isolate_vif: bool = False
    default_qos_type: str = "linux-noop"


@dataclass(frozen=True)
class Facts:
    """What had to be read off the host first: the NIC's function behind a VIFHostDevice, from
    ``/sys``, and the ports that it has, from OVSDB."""

    representor: str | None = None  # the kernel's network device
    pf_address: str | None = None  # PCI address of the physical function
    vf_number: int | None = None
    ports: tuple[str, ...] = ()  # that are the VIF's by iface-id or mark


@dataclass(frozen=True)
class Request:
    """A checked VIF.

    :param complete: whether everything must be known, as for plug. For unplug the names must be.
    """

    complete: bool
    vif_class: str
    vif_id: str | None
    device: str | None
    bridge: str  # the OVS bridge
    linux_bridge: str | None  # of a hybrid plug
    datapath_type: str
    facts: Facts
    settings: Settings
    mac: str | None = None
    mtu: int | None = None  # bytes
    external_ids: Mapping[str, str] = field(default_factory=dict)  # of the Interface row
    vhost_mode: str | None = None
    vhost_path: str | None = None
    create_port: bool = False
    create_tap: bool = False
    multiqueue: bool = False

    def mark(self, kind: str) -> Mark:
        """Return the ownership mark of what is made for this VIF."""
        return Mark(constants.PLUGIN_NAME, kind, self.vif_id or self.need_device())

    def need(self, name: str, value: Any) -> Any:
        """Return a value that plug cannot do without.

        :raises InvalidValue: it is not set.
        """
        return validate.required(name, value) if self.complete else value

    def need_id(self) -> str:
        """Return the VIF's id, for names that are made of it.

        :raises InvalidValue: it is not set.
        """
        return str(validate.required("vif.id", self.vif_id))

    def need_device(self) -> str:
        """Return the name of the guest's device, which is that of its port.

        :raises InvalidValue: neither it nor the VIF's id is set.
        """
        return str(validate.required("vif.vif_name", self.device))

    @property
    def identified_by(self) -> dict[str, str]:
        """The ids by which a port is recognised as this VIF's."""
        keys = ("iface-id", "attached-mac")
        return {key: self.external_ids[key] for key in keys if key in self.external_ids}

    @property
    def qos_type(self) -> str | None:
        """The QoS type of a new port with a kernel's device; None in user space."""
        return None if self.datapath_type == NETDEV else self.settings.default_qos_type

    def ovs_bridge(self, mark: Mark) -> OvsBridge:
        """Return the bridge that the VIF belongs to. That of a trunk goes with the trunk's VIF."""
        trunk = names.is_trunk_bridge(self.bridge)
        on_remove = OnRemove.DELETE if trunk else OnRemove.KEEP
        return OvsBridge(self.bridge, self.datapath_type, mark, on_remove)

    def port(self, name: str, mark: Mark, **how: Any) -> OvsPort:
        """Return the port that stands for the VIF on its bridge, with its ids.

        A new one is isolated if so configured (bug 1734320), but never on the bridge of a trunk,
        where nobody would retag it (bug 2069543).
        """
        isolated = self.settings.isolate_vif and not names.is_trunk_bridge(self.bridge)
        return OvsPort(
            name,
            self.bridge,
            mark,
            external_ids=self.external_ids,
            identified_by=self.identified_by,
            vlan=DEAD if isolated else None,
            **how,
        )


@dataclass(frozen=True)
class Kind:
    """What is particular to a kind of VIF.

    :param wiring: draws it.
    :param device_prefix: of the guest's device, before the VIF's id.
    :param device: names that device, where ``vif.vif_name`` does not.
    :param datapath_type: of its OVS bridge, where its profile does not say.
    :param gives_linux_bridge: whether the VIF names the Linux bridge of its hybrid plug itself.
    :param has_representor: whether the host is asked for its representor first.
    :param profiles: its port profiles.
    """

    wiring: Callable[[Request], Wiring]
    device_prefix: str = "tap"
    device: Callable[[str | None, Facts], str | None] | None = None
    datapath_type: str = SYSTEM
    gives_linux_bridge: bool = False
    has_representor: bool = False
    profiles: tuple[type[VIFPortProfileOpenVSwitch], ...] = (VIFPortProfileOpenVSwitch,)

    def device_of(self, vif: VIFBase, vif_id: str | None, facts: Facts) -> str | None:
        """Return the name of the guest's device, None if nothing says it."""
        if self.device:
            return self.device(vif_id, facts)
        return get(vif, "vif_name") or (vif_id and names.prefixed(self.device_prefix, vif_id))

    def linux_bridge_of(self, vif: VIFBase, vif_id: str | None) -> str | None:
        """Return the name of the Linux bridge of a hybrid plug, None if nothing says it."""
        if self.gives_linux_bridge:
            given: str | None = get(vif, "bridge_name")
            return given
        return vif_id and names.hybrid_bridge(vif_id)


def read(
    kind: Kind,
    vif: VIFBase,
    instance: InstanceInfo,
    settings: Settings,
    facts: Facts | None = None,
    *,
    complete: bool,
) -> Request:
    """Read and check a VIF.

    :param complete: True for plug. False for unplug: names are checked, and of the rest is taken
        what happens to be set.
    :raises MissingPortProfile: there is none.
    :raises WrongPortProfile: it is not a VIFPortProfileOpenVSwitch.
    :raises InvalidValue: another field is missing or has an impossible value.
    """
    profile = _profile(vif)
    network = validate.required("vif.network", get(vif, "network"))
    facts = facts or Facts()
    datapath = datapath_type(kind, vif)
    mac = _mac(vif, complete)
    return Request(
        complete=complete,
        **_names(kind, vif, network, facts if datapath != NETDEV else Facts(), complete),
        datapath_type=datapath,
        facts=facts,
        settings=settings,
        mac=mac,
        mtu=_mtu(network, settings) if complete else None,
        external_ids=_external_ids(profile, network, instance, mac, complete),
        vhost_mode=get(vif, "mode"),
        vhost_path=validate.optional_text("vif.path", get(vif, "path"), validate.PATH_LENGTH),
        create_port=bool(get(profile, "create_port")),
        create_tap=bool(get(profile, "create_tap")),
        multiqueue=bool(get(profile, "multiqueue")),
    )


def datapath_type(kind: Kind, vif: VIFBase) -> str:
    """Return the datapath of a VIF's bridge, should it have to be made."""
    return str(get(_profile(vif), "datapath_type") or kind.datapath_type)


def found_by(vif: VIFBase, kind: str) -> tuple[str, str] | None:
    """Return the key and the value of ``external_ids`` by which a VIF's ports are found whatever
    their names: the iface-id, else the mark; None when the VIF's id is not set either.

    :param kind: what the mark calls the VIF's shape.
    """
    if iface_id := get(_profile(vif), "interface_id"):
        return IFACE_ID, iface_id
    vif_id = get(vif, "id")
    return (Mark.KEY, str(Mark(constants.PLUGIN_NAME, kind, vif_id))) if vif_id else None


def representor(vif: VIFBase) -> tuple[str, str | None]:
    """Return the PCI address whose representor is wanted, and what the profile calls that.

    The name is no device's: Nova makes it up. It is never used to rename or to name anything.

    :raises InvalidValue: there is no address.
    """
    profile = _profile(vif)
    offload = get(profile, "datapath_offload") or profile
    address = get(offload, "representor_address") or get(vif, "dev_address")
    return validate.required("vif.dev_address", address), get(offload, "representor_name")


def _profile(vif: VIFBase) -> VIFPortProfileOpenVSwitch:
    profile = get(vif, "port_profile")
    if profile is None:
        raise exception.MissingPortProfile()
    if not isinstance(profile, VIFPortProfileOpenVSwitch):
        raise exception.WrongPortProfile(profile=type(profile).__name__)
    return profile


def _names(
    kind: Kind, vif: VIFBase, network: Network, facts: Facts, complete: bool
) -> dict[str, Any]:
    vif_id = get(vif, "id")
    if vif_id is not None:  # names are made of it, and nothing makes sure that it is a UUID
        validate.text("vif.id", vif_id)
        validate.device_name("vif.id", vif_id[: validate.NAME_LENGTH])
    device = kind.device_of(vif, vif_id, facts)
    linux_bridge = kind.linux_bridge_of(vif, vif_id)
    if complete and device and device == get(network, "bridge"):
        reason = "the OVS bridge has that name, and a device and a port of its own"
        raise InvalidValue(field="vif.vif_name", value=device, reason=reason)
    return {
        "vif_class": type(vif).__name__,
        "vif_id": vif_id,
        "device": device and validate.device_name("vif.vif_name", device),
        "bridge": validate.device_name("vif.network.bridge", get(network, "bridge")),
        "linux_bridge": linux_bridge and validate.device_name("vif.bridge_name", linux_bridge),
    }


def _mac(vif: VIFBase, complete: bool) -> str | None:
    address = get(vif, "address")
    if complete:
        return validate.mac("vif.address", validate.required("vif.address", address))
    return address and str(address).lower()


def _external_ids(
    profile: VIFPortProfileOpenVSwitch,
    network: Network,
    instance: InstanceInfo,
    mac: str | None,
    complete: bool,
) -> dict[str, str]:
    ids = {
        "iface-id": ("vif.port_profile.interface_id", get(profile, "interface_id")),
        "iface-status": ("", "active"),
        "attached-mac": ("vif.address", mac),
        "vm-uuid": ("instance_info.uuid", get(instance, "uuid")),
    }
    if names.is_trunk_bridge(network.bridge):
        # Neutron finds the bridge of a trunk by it when the port is gone (bug 2087944).
        ids["bridge_name"] = ("", network.bridge)
    if complete:
        ids = {
            key: (field, validate.required(field, value)) for key, (field, value) in ids.items()
        }
    return {key: validate.text(field, str(value)) for key, (field, value) in ids.items() if value}


def _mtu(network: Network, settings: Settings) -> int:
    mtu = get(network, "mtu")
    if not mtu:  # Neutron can hand out 0 as well for a network whose MTU it does not know
        return validate.mtu("[os_vif_ovs] network_device_mtu", settings.network_device_mtu)
    return validate.mtu("vif.network.mtu", mtu)
