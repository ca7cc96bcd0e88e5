# SPDX-License-Identifier: Apache-2.0
"""Routes of a subnet."""

import netaddr
from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields

from os_vif.objects import base


@base.VersionedObjectRegistry.register
class Route(base.VersionedObject):
    """A route that guests of a subnet are told: one of Neutron's host routes."""

    VERSION = "1.0"

    #: The destination.
    cidr: netaddr.IPNetwork
    #: The next hop.
    gateway: netaddr.IPAddress
    #: Name of the device to send through, if the route needs one.
    interface: str

    fields = {
        "cidr": fields.IPNetworkField(),
        "gateway": fields.IPAddressField(),
        "interface": fields.StringField(),
    }


@base.VersionedObjectRegistry.register
class RouteList(base.VersionedObject, ovo_base.ObjectListBase):  # type: ignore[type-arg]
    """A list of routes."""

    VERSION = "1.0"

    fields = {
        "objects": fields.ListOfObjectsField("Route"),
    }
