# SPDX-License-Identifier: Apache-2.0
"""Change links. This runs inside a plugin's privileged daemon, on one netlink socket a call."""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from os_vif.kernel import deletions, joining, observe, packing, sysctl, tap
from os_vif.kernel.gate import gate
from os_vif.wiring.compare import has_ipv6
from os_vif.wiring.errors import WiringError
from os_vif.wiring.steps import CreateLink, DeleteLink, FilterBridge, JoinBridge, LinkStep, SetLink

#: attribute -> (rtnetlink's name of it, factor); only bridges have these
_BRIDGE_OPTIONS = {
    "ageing": ("br_ageing_time", 100),  # USER_HZ
    "forward_delay": ("br_forward_delay", 100),
    "stp": ("br_stp_state", 1),
    "mcast_snooping": ("br_mcast_snooping", 1),
}


Outcome = tuple[int, str, int]


#: Makes a firewall's rules about a bridge so, or raises why it could not.
Filter = Callable[[FilterBridge], object]


def _no_filter(step: FilterBridge) -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def execute(
    packed: Iterable[Iterable[Sequence[Any]]],
    go_on: bool = False,
    filter_bridge: Filter = _no_filter,
) -> list[Outcome]:
    """Take groups of steps, in their order; a failure ends its group, and steps before it stay.

    All of them are checked before the first is taken, but for what a filter is told, which that
    checks itself. A failure is returned, not raised, because
    the caller has to know how far each group went.

    :param packed: groups of steps as :func:`os_vif.kernel.packing.pack` makes them.
    :param go_on: let a failure not even end its group.
    :param filter_bridge: how this plugin filters.
    :returns: for each group how many steps were taken; of the first that failed what and why (or
        nothing), and its errno.
    :raises InvalidValue: one is not a step that os-vif makes.
    """
    groups = [[packing.unpack(one) for one in group] for group in packed]
    with gate, IPRoute() as netlink:
        deletions.together(netlink, [step for group in groups for step in group])
        return [_take_group(netlink, group, go_on, filter_bridge) for group in groups]


def _take_group(
    netlink: IPRoute, group: Iterable[LinkStep], go_on: bool, filter_bridge: Filter
) -> Outcome:
    taken, reason, code = 0, "", 0
    for step in group:
        try:
            if isinstance(step, FilterBridge):
                filter_bridge(step)
            else:
                _take(netlink, step)
            taken += 1
        except (NetlinkError, OSError, WiringError) as err:
            if not reason:
                reason, code = f"{step}: {err.args[-1] if err.args else err}", _code(err)
            if not go_on:
                break
    return taken, reason, code


def _code(err: Exception) -> int:
    return int(getattr(err, "code", None) or getattr(err, "errno", None) or 0)


def _take(netlink: IPRoute, step: LinkStep) -> None:
    match step:
        case CreateLink():
            _create(netlink, step)
        case SetLink():
            _set(netlink, step)
        case DeleteLink():
            _delete(netlink, step)
        case JoinBridge():
            joining.join(step)


def _create(netlink: IPRoute, step: CreateLink) -> None:
    if step.kind == "tun":
        with tap.created(step.name, multiqueue=step.multiqueue):
            _mark(netlink, step)
        return
    options: dict[str, Any] = {"peer": step.peer} if step.peer else {}
    if step.parent:
        options = {"link": _index(step.parent), "vlan_id": step.vlan}
    netlink.link("add", ifname=step.name, kind=step.kind, **options)
    try:
        _mark(netlink, step)
    except BaseException:
        netlink.link("del", index=_index(step.name))
        raise


def _mark(netlink: IPRoute, step: CreateLink) -> None:
    for name in filter(None, (step.name, step.peer)):
        netlink.link("set", index=_index(name), ifalias=step.alias)


def _set(netlink: IPRoute, step: SetLink) -> None:
    index = _index(step.name)
    for key in step.attributes.keys() & sysctl.FAMILY:
        if key == "disable_ipv6" and step.attributes[key] and _has_ipv6(step.name):
            continue  # somebody else was faster, and its addresses would be gone
        sysctl.write(step.name, key, int(step.attributes[key]))
    for options in _bridge_options(step):
        netlink.link("set", index=index, kind="bridge", **options)
    common = dict(_common(step))
    if common:
        netlink.link("set", index=index, **common)


def _bridge_options(step: SetLink) -> Iterable[dict[str, int]]:
    """A bridge's options, message by message.

    With STP on, the kernel refuses a forward delay below 2 s; and within one message it looks at
    the delay first. So STP goes off before it, and on after it.
    """
    options = {
        name: int(step.attributes[key]) * factor
        for key, (name, factor) in _BRIDGE_OPTIONS.items()
        if key in step.attributes
    }
    stp = {"br_stp_state": options.pop("br_stp_state")} if "stp" in step.attributes else {}
    order = (options, stp) if step.attributes.get("stp") else (stp, options)
    return filter(None, order)


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
        if not (step.if_empty and list(netlink.link("dump", master=index))):
            netlink.link("del", index=index)
    except (NetlinkError, OSError) as err:
        if _code(err) != errno.ENODEV:
            raise


def _has_ipv6(name: str) -> bool:
    return any(has_ipv6(link) for link in observe.links([name], addressed=[name]).values())


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as err:
        raise OSError(errno.ENODEV, f"no device {name}") from err
