# SPDX-License-Identifier: Apache-2.0
"""Addresses of a VIF."""

import netaddr
from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields as ovo_fields

from os_vif.objects import base, fields


@base.VersionedObjectRegistry.register
class FixedIP(base.VersionedObject):
    """An address that Neutron gave to a port."""

    VERSION = "1.0"

    #: The address, IPv4 or IPv6.
    address: netaddr.IPAddress
    #: The floating addresses that are translated to it.
    floating_ips: list[netaddr.IPAddress]

    fields = {
        "address": ovo_fields.IPAddressField(),
        "floating_ips": fields.ListOfIPAddressField(),
    }


@base.VersionedObjectRegistry.register
class FixedIPList(base.VersionedObject, ovo_base.ObjectListBase):  # type: ignore[type-arg]
    """A list of addresses."""

    VERSION = "1.0"

    fields = {
        "objects": ovo_fields.ListOfObjectsField("FixedIP"),
    }
