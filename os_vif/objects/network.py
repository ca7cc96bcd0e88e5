# SPDX-License-Identifier: Apache-2.0
"""The network that a VIF is plugged into."""

from typing import Any

from oslo_versionedobjects import fields

from os_vif.objects import base, subnet


@base.VersionedObjectRegistry.register
class Network(base.VersionedObject):
    """A network of Neutron, and the bridge of this host that carries it.

    The constructor sets ``subnets`` (an empty list), ``multi_host``, ``should_provide_bridge``,
    ``should_provide_vlan`` (False) and ``mtu`` (None) when they are not given.
    """

    VERSION = "1.1"
    ADDED_IN = {"mtu": "1.1"}

    #: Neutron's id of the network.
    id: str
    #: Name of the bridge: for Open vSwitch always the bridge that the port is put into (br-int or
    #: the trunk bridge ``tbr-...``), for Linux bridge the bridge device.
    bridge: str
    #: A name for people.
    label: str
    #: MTU of the network in bytes, without the Ethernet header; None if not known.
    mtu: int | None
    #: Whether each host has a gateway of its own (a notion of nova-network).
    multi_host: bool
    #: Whether the plugin is to make the Linux bridge if it is missing.
    should_provide_bridge: bool
    #: Whether the plugin is to make the VLAN device below the Linux bridge if it is missing.
    should_provide_vlan: bool
    #: The host's device that connects the Linux bridge to the world.
    bridge_interface: str | None
    #: VLAN id on ``bridge_interface``, 1-4094; None for none.
    vlan: int | None
    #: The subnets, with the addresses of the VIF.
    subnets: subnet.SubnetList

    fields = {
        "id": fields.UUIDField(),
        "bridge": fields.StringField(),
        "label": fields.StringField(),
        "mtu": fields.IntegerField(nullable=True),
        "multi_host": fields.BooleanField(),
        "should_provide_bridge": fields.BooleanField(),
        "should_provide_vlan": fields.BooleanField(),
        "bridge_interface": fields.StringField(nullable=True),
        "vlan": fields.IntegerField(nullable=True),
        "subnets": fields.ObjectField("SubnetList"),
    }

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("subnets", subnet.SubnetList(objects=[]))
        for name in ("multi_host", "should_provide_bridge", "should_provide_vlan"):
            kwargs.setdefault(name, False)
        kwargs.setdefault("mtu", None)
        super().__init__(**kwargs)
