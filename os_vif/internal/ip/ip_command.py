# SPDX-License-Identifier: Apache-2.0
"""What can be done with network devices."""

import sys
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any

from os_vif import exception, utils

# IFF_UP and IFF_PROMISC of linux/if.h
_FLAG_UP = 0x1
_FLAG_PROMISC = 0x100

# IFF_TUN and IFF_TAP of linux/if_tun.h
_TUN_TYPES = {"tun": 1, "tap": 2}

# The kernel counts the ageing time of a bridge in hundredths of a second.
_AGEING_UNITS_PER_SECOND = 100


class IpCommand:
    """What is asked for, as requests of netlink; a subclass sends them.

    Itself it is for operating systems that are not supported: each method raises
    NotImplementedForOS.
    """

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
        with self._netlink("add", device, check_exit_code) as ip:
            properties: dict[str, Any] = {"kind": dev_type}
            if dev_type == self.TYPE_VETH:
                properties["peer"] = _needed("peer", peer, dev_type)
            elif dev_type == self.TYPE_VLAN:
                properties["vlan_id"] = _needed("vlan_id", vlan_id, dev_type)
                properties["link"] = self.lookup_interface(ip, _needed("link", link, dev_type))
            elif dev_type == self.TYPE_BRIDGE:
                if ageing is not None:
                    properties["br_ageing_time"] = ageing * _AGEING_UNITS_PER_SECOND
            elif dev_type == self.TYPE_TUNTAP:
                if mode not in _TUN_TYPES:
                    reason = f"a device of type {dev_type} needs one of {', '.join(_TUN_TYPES)}"
                    raise exception.InvalidValue(field="mode", value=mode, reason=reason)
                # not pyroute2's own kind "tuntap", which has no several queues
                properties = {
                    "kind": "tun",
                    "tun_type": _TUN_TYPES[mode],
                    "tun_pi": 0,
                    "tun_multi_queue": int(multiqueue),
                }
            else:
                raise exception.NetworkInterfaceTypeNotDefined(type=dev_type)
            ip.link("add", ifname=device, **properties)

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
        properties: dict[str, Any] = {"mtu": mtu, "address": address}
        properties = {name: value for name, value in properties.items() if value is not None}
        flags = change = 0
        for flag, wanted in (
            (_FLAG_UP, None if state is None else state == "up"),
            (_FLAG_PROMISC, promisc),
        ):
            if wanted is not None:
                change = utils.set_mask(change, flag)
                flags = utils.set_mask(flags, flag) if wanted else utils.unset_mask(flags, flag)
        if change:
            properties |= {"flags": flags, "change": change}

        with self._netlink("set", device, check_exit_code) as ip:
            if state not in (None, "up", "down"):
                raise exception.InvalidValue(field="state", value=state, reason="it is up or down")
            index = self.lookup_interface(ip, device)
            if master is not None:
                properties["master"] = self.lookup_interface(ip, master)
            if properties:
                ip.link("set", index=index, **properties)

    def delete(self, device: str, check_exit_code: Collection[int] | None = None) -> None:
        """Delete a device.

        :param device: its name.
        :param check_exit_code: errors (``errno``) to ignore.
        :raises NetworkInterfaceNotFound: it does not exist.
        """
        with self._netlink("delete", device, check_exit_code) as ip:
            ip.link("del", index=self.lookup_interface(ip, device))

    def exists(self, device: str) -> bool:
        """Return whether there is a device of that name."""
        raise _unsupported("exists")

    def lookup_interface(self, ip: Any, link: str) -> int:
        """Return the index of a device.

        :param ip: a pyroute2 ``IPRoute``.
        :param link: name of the device.
        :raises NetworkInterfaceNotFound: it does not exist.
        """
        found = ip.link_lookup(ifname=link)
        if not found:
            raise exception.NetworkInterfaceNotFound(interface=link)
        return int(found[0])

    def _netlink(
        self, method: str, device: str, check_exit_code: Collection[int] | None
    ) -> AbstractContextManager[Any]:
        """Open a netlink socket; ignore the errors that the caller wants ignored."""
        raise _unsupported(method)


def _unsupported(method: str) -> exception.NotImplementedForOS:
    return exception.NotImplementedForOS(function=f"ip.{method}", os=sys.platform)


def _needed(name: str, value: Any, dev_type: str) -> Any:
    if value is None:
        reason = f"a device of type {dev_type} needs it"
        raise exception.InvalidValue(field=name, value=value, reason=reason)
    return value
