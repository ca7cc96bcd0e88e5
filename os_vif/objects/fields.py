# SPDX-License-Identifier: Apache-2.0
"""Types of fields that oslo.versionedobjects does not have."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from oslo_versionedobjects import fields


class _Enum(fields.Enum):
    """One of the values in ``ALL``."""

    ALL: ClassVar[Sequence[str]]

    def __init__(self) -> None:
        super().__init__(valid_values=self.ALL)


class VIFDirectMode(_Enum):
    """How a macvtap-like device shares its parent: ``<source mode=...>`` of libvirt's direct
    interface."""

    #: Frames leave through the parent, and an external switch sends them back.
    VEPA = "vepa"
    #: The guest owns the device.
    PASSTHROUGH = "passthrough"
    #: Guests on one parent reach each other directly.
    BRIDGE = "bridge"

    ALL = (VEPA, PASSTHROUGH, BRIDGE)


class VIFDirectModeField(fields.BaseEnumField):
    """A field of :class:`VIFDirectMode`."""

    AUTO_TYPE = VIFDirectMode()


class VIFVHostUserMode(_Enum):
    """Which end of a vhost-user socket the hypervisor is: ``<source mode=...>`` of libvirt's
    vhostuser interface."""

    #: The hypervisor connects, the switch made the socket.
    CLIENT = "client"
    #: The hypervisor makes the socket, the switch connects.
    SERVER = "server"

    ALL = (CLIENT, SERVER)


class VIFVHostUserModeField(fields.BaseEnumField):
    """A field of :class:`VIFVHostUserMode`."""

    AUTO_TYPE = VIFVHostUserMode()


class VIFHostDeviceDevType(_Enum):
    """How a host device is handed to the guest."""

    #: As a network device: ``<interface type='hostdev'>`` of libvirt, with MAC and VLAN.
    ETHERNET = "ethernet"
    #: As any PCI device: ``<hostdev>`` of libvirt.
    GENERIC = "generic"

    ALL = (ETHERNET, GENERIC)


class VIFHostDeviceDevTypeField(fields.BaseEnumField):
    """A field of :class:`VIFHostDeviceDevType`."""

    AUTO_TYPE = VIFHostDeviceDevType()


class PCIAddress(fields.PCIAddress):
    """A PCI address ``domain:bus:device.function`` in hexadecimal, kept in lower case.

    Unlike the type of oslo.versionedobjects, domains may have more than 4 digits: behind a VMD
    controller Linux counts them from 10000.
    """

    PATTERN = r"^[0-9a-f]{1,8}:[0-9a-f]{1,2}:[01]?[0-9a-f]\.[0-7]$"

    def coerce(self, obj: Any, attr: str, value: Any) -> str:
        """Return the address in lower case.

        :raises ValueError: it is not a PCI address.
        """
        if isinstance(value, str) and re.fullmatch(self.PATTERN.strip("^$"), value.lower()):
            return value.lower()
        raise ValueError(f"Malformed PCI address {value!r} in field {attr}")


class PCIAddressField(fields.PCIAddressField):
    """A field of :class:`PCIAddress`."""

    AUTO_TYPE = PCIAddress()


class ListOfIPAddressField(fields.AutoTypedField):  # type: ignore[type-arg]
    """A field of IPv4 and IPv6 addresses."""

    AUTO_TYPE = fields.List(fields.IPAddress())
