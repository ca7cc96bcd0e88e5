# SPDX-License-Identifier: Apache-2.0
"""Subnets of a network."""

import netaddr
from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields as ovo_fields

from os_vif.objects import base, fields, fixed_ip, route


@base.VersionedObjectRegistry.register
class Subnet(base.VersionedObject):
    """A subnet of Neutron, with the addresses that the VIF has in it."""

    VERSION = "1.0"

    #: The range of addresses.
    cidr: netaddr.IPNetwork
    #: The name servers that guests are told.
    dns: list[netaddr.IPAddress]
    #: The default gateway.
    gateway: netaddr.IPAddress
    #: The addresses of the VIF.
    ips: fixed_ip.FixedIPList
    #: The further routes that guests are told.
    routes: route.RouteList
    #: The DHCP server.
    dhcp_server: netaddr.IPAddress

    fields = {
        "cidr": ovo_fields.IPNetworkField(),
        "dns": fields.ListOfIPAddressField(),
        "gateway": ovo_fields.IPAddressField(),
        "ips": ovo_fields.ObjectField("FixedIPList"),
        "routes": ovo_fields.ObjectField("RouteList"),
        "dhcp_server": ovo_fields.IPAddressField(),
    }


@base.VersionedObjectRegistry.register
class SubnetList(base.VersionedObject, ovo_base.ObjectListBase):  # type: ignore[type-arg]
    """A list of subnets."""

    VERSION = "1.0"

    fields = {
        "objects": ovo_fields.ListOfObjectsField("Subnet"),
    }
