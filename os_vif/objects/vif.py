# SPDX-License-Identifier: Apache-2.0
"""VIFs, their port profiles and datapath offloads.

::

    VIFBase                              what the hypervisor sees of the interface
    ├── VIFGeneric                       a device of any kind
    ├── VIFBridge                        a tap on a Linux bridge (also Open vSwitch's hybrid plug)
    ├── VIFOpenVSwitch                   a tap on an Open vSwitch bridge
    ├── VIFDirect                        macvtap, or a passed-through parent
    ├── VIFVHostUser                     a vhost-user socket
    ├── VIFHostDevice                    a PCI device, such as an SR-IOV virtual function
    └── VIFNestedDPDK                    a DPDK device inside a guest, for containers

    VIFPortProfileBase                   what the network side must know of its port
    ├── VIFPortProfileOpenVSwitch
    │   ├── VIFPortProfileFPOpenVSwitch  a fast path (6WIND) over Open vSwitch
    │   └── VIFPortProfileOVSRepresentor deprecated: DatapathOffloadRepresentor took its place
    ├── VIFPortProfileFPBridge           a fast path over a Linux bridge
    ├── VIFPortProfileFPTap              a fast path over a bare tap
    ├── VIFPortProfile8021Qbg            VEPA
    ├── VIFPortProfile8021Qbh            Cisco VM-FEX
    └── VIFPortProfileK8sDPDK            Kubernetes

    DatapathOffloadBase                  hardware that forwards the traffic of the port
    └── DatapathOffloadRepresentor       its switchdev representor
"""

import warnings
from typing import Any

from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields as ovo_fields

from os_vif.objects import base, fields, network


@base.VersionedObjectRegistry.register
class VIFBase(base.VersionedObject, ovo_base.ComparableVersionedObject):
    """A virtual network interface: the parent of all kinds.

    The booleans are unset until given, or until ``obj_set_defaults()``.
    """

    VERSION = "1.0"

    #: Neutron's id of the port.
    id: str
    #: MAC address of the guest's interface.
    address: str | None
    #: The network that it belongs to.
    network: network.Network | None
    #: Name of the plugin that plugs it, as in ``ovs``.
    plugin: str
    #: Whether Neutron says that the port is up.
    active: bool
    #: Whether the port exists apart from the guest, and stays when the guest is deleted.
    preserve_on_delete: bool
    #: Whether the network side filters the traffic itself: ``port_filter`` of Neutron's binding
    #: details.
    has_traffic_filtering: bool
    #: What the network side must know of the port.
    port_profile: "VIFPortProfileBase"

    fields = {
        "id": ovo_fields.UUIDField(),
        "address": ovo_fields.MACAddressField(nullable=True),
        "network": ovo_fields.ObjectField("Network", nullable=True),
        "plugin": ovo_fields.StringField(),
        "active": ovo_fields.BooleanField(default=True),
        "preserve_on_delete": ovo_fields.BooleanField(default=False),
        "has_traffic_filtering": ovo_fields.BooleanField(default=False),
        "port_profile": ovo_fields.ObjectField("VIFPortProfileBase", subclasses=True),
    }


@base.VersionedObjectRegistry.register
class VIFGeneric(VIFBase):
    """A device that the hypervisor uses without further help: ``<interface type='ethernet'>`` of
    libvirt."""

    VERSION = "1.0"

    #: Name of the device on the host.
    vif_name: str

    fields = {
        "vif_name": ovo_fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class VIFBridge(VIFBase):
    """A tap on a Linux bridge: ``<interface type='bridge'>`` of libvirt.

    With an Open vSwitch port profile it is the hybrid plug: the Linux bridge, whose job is to
    filter, is joined to the Open vSwitch bridge ``network.bridge`` by a pair of veths.
    """

    VERSION = "1.0"

    #: Name of the tap on the host: ``<target dev=...>`` of libvirt.
    vif_name: str
    #: Name of the Linux bridge: ``<source bridge=...>`` of libvirt.
    bridge_name: str

    fields = {
        "vif_name": ovo_fields.StringField(),
        "bridge_name": ovo_fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class VIFOpenVSwitch(VIFBase):
    """A tap on an Open vSwitch bridge: ``<virtualport type='openvswitch'>`` of libvirt.

    libvirt makes tap and port, unless the port profile says ``create_port``.
    """

    VERSION = "1.0"

    #: Name of the tap on the host: ``<target dev=...>`` of libvirt.
    vif_name: str
    #: Name of the bridge: ``<source bridge=...>`` of libvirt. Not always set, and plugins go by
    #: ``network.bridge``; with a bridge per port it is the name of that.
    bridge_name: str

    fields = {
        "vif_name": ovo_fields.StringField(),
        "bridge_name": ovo_fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class VIFDirect(VIFBase):
    """A macvtap on a network device, or the device itself: ``<interface type='direct'>`` of
    libvirt."""

    VERSION = "1.0"

    #: Name of the device on the host: ``<source dev=...>`` of libvirt.
    vif_name: str
    #: PCI address of the device.
    dev_address: str
    #: How the guest shares the device, one of :class:`os_vif.objects.fields.VIFDirectMode`.
    mode: str
    #: Name of the VLAN device in between, if there is one.
    vlan_name: str

    fields = {
        "vif_name": ovo_fields.StringField(),
        "dev_address": fields.PCIAddressField(),
        "mode": fields.VIFDirectModeField(),
        "vlan_name": ovo_fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class VIFVHostUser(VIFBase):
    """A virtio interface whose queues a switch in user space serves: ``<interface
    type='vhostuser'>`` of libvirt."""

    VERSION = "1.1"
    ADDED_IN = {"vif_name": "1.1"}

    #: Name of the port in the switch.
    vif_name: str
    #: Path of the UNIX socket: ``<source path=...>`` of libvirt, ``vhostuser_socket`` of
    #: Neutron's binding details.
    path: str
    #: Which end the hypervisor is, one of :class:`os_vif.objects.fields.VIFVHostUserMode`;
    #: ``vhostuser_mode`` of Neutron's binding details.
    mode: str

    fields = {
        "vif_name": ovo_fields.StringField(),
        "path": ovo_fields.StringField(),
        "mode": fields.VIFVHostUserModeField(),
    }


@base.VersionedObjectRegistry.register
class VIFHostDevice(VIFBase):
    """A PCI device of the host that the guest is given, such as an SR-IOV virtual function."""

    VERSION = "1.0"

    #: How it is given, one of :class:`os_vif.objects.fields.VIFHostDeviceDevType`.
    dev_type: str
    #: PCI address of the device: ``pci_slot`` of Neutron's binding profile.
    dev_address: str

    fields = {
        "dev_type": fields.VIFHostDeviceDevTypeField(),
        "dev_address": fields.PCIAddressField(),
    }


@base.VersionedObjectRegistry.register
class VIFNestedDPDK(VIFBase):
    """A device that a container inside a guest drives with DPDK (kuryr-kubernetes)."""

    VERSION = "1.0"

    #: PCI address of the device inside the guest.
    pci_address: str
    #: The kernel driver that it had before DPDK took it, to give it back to.
    dev_driver: str

    fields = {
        "pci_address": ovo_fields.StringField(),
        "dev_driver": ovo_fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class DatapathOffloadBase(base.VersionedObject, ovo_base.ComparableVersionedObject):
    """Hardware that forwards the traffic of a port: the parent of all kinds."""

    VERSION = "1.0"


@base.VersionedObjectRegistry.register
class DatapathOffloadRepresentor(DatapathOffloadBase):
    """A network card whose embedded switch shows each virtual function to the host as a
    representor (the kernel's switchdev)."""

    VERSION = "1.0"

    #: A name that Nova made up. No device has it and none is to be given it: the representor is
    #: found by the PCI address.
    representor_name: str | None
    #: PCI address of the virtual function.
    representor_address: str | None

    fields = {
        "representor_name": ovo_fields.StringField(nullable=True),
        "representor_address": ovo_fields.StringField(nullable=True),
    }


@base.VersionedObjectRegistry.register
class VIFPortProfileBase(base.VersionedObject, ovo_base.ComparableVersionedObject):
    """What the network side must know of a port: the parent of all kinds."""

    VERSION = "1.1"
    ADDED_IN = {"datapath_offload": "1.1"}

    #: The hardware that forwards the traffic of the port; None for none.
    datapath_offload: DatapathOffloadBase | None

    fields = {
        "datapath_offload": ovo_fields.ObjectField(
            "DatapathOffloadBase", nullable=True, subclasses=True
        ),
    }

    obj_relationships = {
        "datapath_offload": [("1.1", "1.0")],
    }


@base.VersionedObjectRegistry.register
class VIFPortProfileOpenVSwitch(VIFPortProfileBase):
    """A port of Open vSwitch."""

    VERSION = "1.4"
    ADDED_IN = {
        "datapath_type": "1.1",
        "datapath_offload": "1.2",
        "create_port": "1.3",
        "create_tap": "1.4",
        "multiqueue": "1.4",
    }

    #: ``external_ids:iface-id`` of the port, by which Neutron and OVN know it.
    interface_id: str
    #: ``<parameters profileid=...>`` of libvirt; the port is given it by libvirt alone.
    profile_id: str
    #: ``datapath_type`` to make the bridge with, ``system`` or ``netdev``; from
    #: ``datapath_type`` of Neutron's binding details.
    datapath_type: str | None
    #: Whether plugging makes the port, instead of the hypervisor.
    create_port: bool
    #: Whether plugging makes the tap too, so that flows are in place before the guest runs.
    create_tap: bool
    #: Whether that tap has several queues; must be what the hypervisor will ask for.
    multiqueue: bool

    fields = {
        "interface_id": ovo_fields.UUIDField(),
        "profile_id": ovo_fields.StringField(),
        "datapath_type": ovo_fields.StringField(nullable=True),
        "create_port": ovo_fields.BooleanField(default=False),
        "create_tap": ovo_fields.BooleanField(default=False),
        "multiqueue": ovo_fields.BooleanField(default=False),
    }


@base.VersionedObjectRegistry.register
class VIFPortProfileFPOpenVSwitch(VIFPortProfileOpenVSwitch):
    """A port of a fast path (6WIND Virtual Accelerator) over Open vSwitch."""

    VERSION = "1.4"

    #: Name of the bridge, Linux bridge or Open vSwitch bridge, that the port goes into.
    bridge_name: str
    #: Whether a Linux bridge, which filters, sits between port and Open vSwitch:
    #: ``ovs_hybrid_plug`` of Neutron's binding details.
    hybrid_plug: bool

    fields = {
        "bridge_name": ovo_fields.StringField(),
        "hybrid_plug": ovo_fields.BooleanField(default=False),
    }


@base.VersionedObjectRegistry.register
class VIFPortProfileOVSRepresentor(VIFPortProfileOpenVSwitch):
    """A port of Open vSwitch that is a switchdev representor.

    Deprecated: use VIFPortProfileOpenVSwitch with a DatapathOffloadRepresentor.
    """

    VERSION = "1.4"

    #: As in :class:`DatapathOffloadRepresentor`.
    representor_name: str | None
    #: PCI address of the virtual function.
    representor_address: str | None

    fields = {
        "representor_name": ovo_fields.StringField(nullable=True),
        "representor_address": fields.PCIAddressField(nullable=True),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            "VIFPortProfileOVSRepresentor is deprecated: use VIFPortProfileOpenVSwitch with a "
            "DatapathOffloadRepresentor",
            PendingDeprecationWarning,
            stacklevel=2,
        )
        super().__init__(*args, **kwargs)


@base.VersionedObjectRegistry.register
class VIFPortProfileFPBridge(VIFPortProfileBase):
    """A port of a fast path (6WIND Virtual Accelerator) over a Linux bridge."""

    VERSION = "1.1"

    #: Name of the Linux bridge.
    bridge_name: str

    fields = {
        "bridge_name": ovo_fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class VIFPortProfileFPTap(VIFPortProfileBase):
    """A port of a fast path (6WIND Virtual Accelerator) over a bare tap, as Calico has it."""

    VERSION = "1.1"

    #: MAC address of the host's end: ``mac_address`` of Neutron's binding details.
    mac_address: str | None

    fields = {
        "mac_address": ovo_fields.MACAddressField(nullable=True),
    }


@base.VersionedObjectRegistry.register
class VIFPortProfile8021Qbg(VIFPortProfileBase):
    """A port of a switch after IEEE 802.1Qbg (VEPA): ``<virtualport type='802.1Qbg'>`` of
    libvirt."""

    VERSION = "1.1"

    #: Number of the database that holds the type: ``managerid``.
    manager_id: int
    #: Number of the type of port: ``typeid``.
    type_id: int
    #: Version of that type: ``typeidversion``.
    type_id_version: int
    #: Id of this instance of it: ``instanceid``.
    instance_id: str

    fields = {
        "manager_id": ovo_fields.IntegerField(),
        "type_id": ovo_fields.IntegerField(),
        "type_id_version": ovo_fields.IntegerField(),
        "instance_id": ovo_fields.UUIDField(),
    }


@base.VersionedObjectRegistry.register
class VIFPortProfile8021Qbh(VIFPortProfileBase):
    """A port of a switch after IEEE 802.1Qbh (Cisco VM-FEX): ``<virtualport type='802.1Qbh'>`` of
    libvirt."""

    VERSION = "1.1"

    #: Name of the switch's profile for the port: ``profileid``.
    profile_id: str

    fields = {
        "profile_id": ovo_fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class VIFPortProfileK8sDPDK(VIFPortProfileBase):
    """A port for a container that uses DPDK (kuryr-kubernetes)."""

    VERSION = "1.1"

    #: Whether addresses and routes are set up too.
    l3_setup: bool
    #: ``metadata.selfLink`` of the Kubernetes object.
    selflink: str
    #: ``metadata.resourceVersion`` of the Kubernetes object.
    resourceversion: str

    fields = {
        "l3_setup": ovo_fields.BooleanField(),
        "selflink": ovo_fields.StringField(),
        "resourceversion": ovo_fields.StringField(),
    }
