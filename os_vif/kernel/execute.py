# SPDX-License-Identifier: Apache-2.0
"""Change links. This runs inside a plugin's privileged daemon, on one netlink socket a call."""

import errno
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from os_vif.kernel import steps, sysctl
from os_vif.kernel.gate import gate
from os_vif.wiring.errors import LinkFailed
from os_vif.wiring.plan import CreateLink, DeleteLink, LinkStep, SetLink

_IFF_TAP = 2  # linux/if_tun.h

#: attribute -> (rtnetlink's name of it, factor); only bridges have these
_BRIDGE_OPTIONS = {
    "ageing": ("br_ageing_time", 100),  # USER_HZ
    "forward_delay": ("br_forward_delay", 100),
    "stp": ("br_stp_state", 1),
    "mcast_snooping": ("br_mcast_snooping", 1),
}


def execute(packed: Iterable[Sequence[Any]]) -> None:
    """Take steps in their order; the first that fails ends it, and those before it stay.

    All of them are checked before the first is taken.

    :param packed: steps as :func:`os_vif.kernel.steps.pack` makes them.
    :raises InvalidValue: one is not a step that os-vif makes.
    :raises LinkFailed: the kernel refused one.
    """
    checked = [steps.unpack(one) for one in packed]
    with gate, IPRoute() as netlink:
        for step in checked:
            try:
                _take(netlink, step)
            except (NetlinkError, OSError) as err:
                reason = err.args[-1] if err.args else repr(err)
                raise LinkFailed(step=step, reason=reason) from err


def _take(netlink: IPRoute, step: LinkStep) -> None:
    match step:
        case CreateLink():
            _create(netlink, step)
        case SetLink():
            _set(netlink, step)
        case DeleteLink():
            _delete(netlink, step)


def _create(netlink: IPRoute, step: CreateLink) -> None:
    match step.kind:
        case "tun":
            netlink.link(
                "add",
                ifname=step.name,
                kind="tun",
                tun_type=_IFF_TAP,
                tun_pi=0,  # nobody wants a header before each frame
                tun_multi_queue=int(step.multiqueue),
            )
        case "veth":
            netlink.link("add", ifname=step.name, kind="veth", peer=step.peer)
        case _:
            netlink.link("add", ifname=step.name, kind=step.kind)
    for name in filter(None, (step.name, step.peer)):
        netlink.link("set", index=_index(name), ifalias=step.alias)


def _set(netlink: IPRoute, step: SetLink) -> None:
    index = _index(step.name)
    for key in step.attributes.keys() & sysctl.FAMILY:
        sysctl.write(step.name, key, int(step.attributes[key]))
    options = {
        name: int(step.attributes[key]) * factor
        for key, (name, factor) in _BRIDGE_OPTIONS.items()
        if key in step.attributes
    }
    if options:
        netlink.link("set", index=index, kind="bridge", **options)
    common = dict(_common(step))
    if common:
        netlink.link("set", index=index, **common)


def _common(step: SetLink) -> Iterable[tuple[str, Any]]:
    """The attributes that every link has, in rtnetlink's terms; they go in one message."""
    attributes = step.attributes
    if "mac" in attributes:
        yield "address", attributes["mac"]
    if "mtu" in attributes:
        yield "mtu", attributes["mtu"]
    if "master" in attributes:
        yield "master", _index(str(attributes["master"])) if attributes["master"] else 0
    flags = {"up": 0x1, "promisc": 0x100}  # linux/if.h
    asked = {key: bit for key, bit in flags.items() if key in attributes}
    if asked:
        yield "flags", sum(bit for key, bit in asked.items() if attributes[key])
        yield "change", sum(asked.values())


def _delete(netlink: IPRoute, step: DeleteLink) -> None:
    try:
        index = _index(step.name)
        (link,) = netlink.link("get", index=index)
        kind = link.get(("linkinfo", "kind"))
        if kind != step.kind:
            raise OSError(errno.EPERM, f"it is a {kind or 'hardware'} device")
        netlink.link("del", index=index)
    except (NetlinkError, OSError) as err:
        if (err.code if isinstance(err, NetlinkError) else err.errno) != errno.ENODEV:
            raise


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as err:
        raise OSError(errno.ENODEV, f"no device {name}") from err
