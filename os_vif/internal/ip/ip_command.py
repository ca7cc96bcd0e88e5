# SPDX-License-Identifier: Apache-2.0
"""What can be done with network devices."""

import sys
from collections.abc import Collection
from typing import NoReturn

from os_vif import exception


class IpCommand:
    """The interface; an operating system that is supported implements it."""

    TYPE_VETH = "veth"
    TYPE_VLAN = "vlan"
    TYPE_BRIDGE = "bridge"
    TYPE_TUNTAP = "tuntap"

    def add(
        self,
        device: str,
        dev_type: str,
        check_exit_code: Collection[int] | None = None,
        peer: str | None = None,
        link: str | None = None,
        vlan_id: int | None = None,
        ageing: int | None = None,
        mode: str | None = None,
        multiqueue: bool = False,
    ) -> None:
        """Make a device.

        :param device: its name.
        :param dev_type: its kind, one of the constants ``TYPE_...``.
        :param check_exit_code: errors (``errno``) to ignore.
        :param peer: veth: name of the other end.
        :param link: VLAN: name of the device below.
        :param vlan_id: VLAN: the id, 1-4094.
        :param ageing: bridge: seconds until it forgets a MAC address.
        :param mode: tuntap: ``tap`` or ``tun``.
        :param multiqueue: tuntap: whether it has several queues.
        :raises NetworkInterfaceTypeNotDefined: ``dev_type`` is none of these.
        :raises NetworkInterfaceNotFound: ``link`` does not exist.
        :raises InvalidValue: a parameter that the kind needs is missing.
        """
        _unsupported("add")

    def set(
        self,
        device: str,
        check_exit_code: Collection[int] | None = None,
        state: str | None = None,
        mtu: int | None = None,
        address: str | None = None,
        promisc: bool | None = None,
        master: str | None = None,
    ) -> None:
        """Change a device, all at once; None leaves a property as it is.

        :param device: its name.
        :param check_exit_code: errors (``errno``) to ignore.
        :param state: ``up`` or ``down``.
        :param mtu: MTU in bytes.
        :param address: MAC address.
        :param promisc: whether it takes frames for other MAC addresses too.
        :param master: name of the bridge to put it into.
        :raises NetworkInterfaceNotFound: the device or its master does not exist.
        :raises InvalidValue: ``state`` is something else.
        """
        _unsupported("set")

    def delete(self, device: str, check_exit_code: Collection[int] | None = None) -> None:
        """Delete a device.

        :param device: its name.
        :param check_exit_code: errors (``errno``) to ignore.
        :raises NetworkInterfaceNotFound: it does not exist.
        """
        _unsupported("delete")

    def exists(self, device: str) -> bool:
        """Return whether there is a device of that name."""
        _unsupported("exists")


def _unsupported(function: str) -> NoReturn:
    raise exception.NotImplementedForOS(function=f"ip.{function}", os=sys.platform)
