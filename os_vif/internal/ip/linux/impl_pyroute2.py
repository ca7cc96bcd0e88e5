# SPDX-License-Identifier: Apache-2.0
"""Network devices of Linux, by netlink."""

import errno
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from os_vif import exception, utils
from os_vif.internal.ip import ip_command
from os_vif.kernel.pyroute2_lock import pyroute2_lock

# IFF_UP and IFF_PROMISC of linux/if.h
_FLAG_UP = 0x1
_FLAG_PROMISC = 0x100

# IFF_TUN and IFF_TAP of linux/if_tun.h
_TUN_TYPES = {"tun": 1, "tap": 2}

# The kernel counts the ageing time of a bridge in hundredths of a second.
_AGEING_UNITS_PER_SECOND = 100


class PyRoute2(ip_command.IpCommand):
    """Devices in the network namespace of the calling thread.

    Nothing is kept: each call opens its socket and closes it.
    """

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
        """See :meth:`IpCommand.add`."""
        properties: dict[str, Any] = {"kind": dev_type}
        if dev_type == self.TYPE_VETH:
            properties["peer"] = _needed("peer", peer, dev_type)
        elif dev_type == self.TYPE_VLAN:
            properties["vlan_id"] = _needed("vlan_id", vlan_id, dev_type)
            _needed("link", link, dev_type)
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

        with _netlink(device, check_exit_code) as ip:
            if dev_type == self.TYPE_VLAN and link is not None:
                properties["link"] = self.lookup_interface(ip, link)
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
        """See :meth:`IpCommand.set`."""
        if state not in (None, "up", "down"):
            raise exception.InvalidValue(field="state", value=state, reason="it is up or down")
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

        with _netlink(device, check_exit_code) as ip:
            index = self.lookup_interface(ip, device)
            if master is not None:
                properties["master"] = self.lookup_interface(ip, master)
            if properties:
                ip.link("set", index=index, **properties)

    def delete(self, device: str, check_exit_code: Collection[int] | None = None) -> None:
        """See :meth:`IpCommand.delete`."""
        with _netlink(device, check_exit_code) as ip:
            ip.link("del", index=self.lookup_interface(ip, device))

    def exists(self, device: str) -> bool:
        """See :meth:`IpCommand.exists`."""
        try:
            socket.if_nametoindex(device)
        except OSError as err:
            # Before 3.14 Python says "no interface with this name" without a number.
            if err.errno in (None, errno.ENODEV, errno.ENXIO):
                return False
            raise
        return True

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


def _needed(name: str, value: Any, dev_type: str) -> Any:
    if value is None:
        raise exception.InvalidValue(
            field=name, value=value, reason=f"a device of type {dev_type} needs it"
        )
    return value


@contextmanager
def _netlink(device: str, check_exit_code: Collection[int] | None) -> Iterator[Any]:
    """Open a netlink socket; ignore the errors that the caller wants ignored."""
    with pyroute2_lock:
        import pyroute2  # takes a quarter of a second to import

    tolerated = check_exit_code or ()
    try:
        with pyroute2_lock, pyroute2.IPRoute() as ip:
            yield ip
    except exception.NetworkInterfaceNotFound:
        if errno.ENODEV not in tolerated:
            raise
    except pyroute2.NetlinkError as err:
        if err.code in tolerated:
            return
        if err.code == errno.ENODEV:
            raise exception.NetworkInterfaceNotFound(interface=device) from err
        raise
