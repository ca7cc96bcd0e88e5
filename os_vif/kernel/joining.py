# SPDX-License-Identifier: Apache-2.0
"""Put an interface into a Linux bridge, with the host's addresses and routes that are on it.

A host that lets its guests share its interface goes on using that itself, through the bridge.
This runs inside a plugin's privileged daemon.
"""

import contextlib
import errno
import time
from collections.abc import Callable, Iterable, Iterator

from oslo_log import log as logging

from os_vif.kernel import moving, observe, rtnetlink, sysctl
from os_vif.kernel.moving import Change, Device, Request
from os_vif.wiring.compare import has_ipv6
from os_vif.wiring.state import Link
from os_vif.wiring.steps import JoinBridge

LOG = logging.getLogger(__name__)

_CAN_SEND = (b"\0", b"\6")  # linux/if.h, IF_OPER_UNKNOWN: it had a carrier all along; IF_OPER_UP

#: Seconds for what the kernel does in the background to be done; where a bridge of others does
#: STP, it takes far longer anyhow.
_BACKGROUND_SECONDS, _POLL_SECONDS = 0.5, 0.001

#: It is there, or gone, already: another process does the same, or did it and was killed.
_DONE = {errno.EEXIST, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL}

#: What a bridge that takes over IPv6 addresses does as the interface did.
_IPV6_LIKE_PORT = ("accept_ra", "autoconf")


def join(step: JoinBridge) -> None:
    """Put an interface into a bridge; whatever fails, all of it is taken back.

    The bridge takes over the interface's MAC address if it has no addresses of its own, so that
    the neighbours need not learn anew. It does IPv6 only if it takes over IPv6 addresses.

    :raises OSError: the kernel refused something; all is as before.
    """
    found = observe.links((step.name, step.bridge), addressed=(step.name, step.bridge))
    for name in (step.name, step.bridge):
        if name not in found:
            raise OSError(errno.ENODEV, f"no device {name}")
    port, bridge = found[step.name], found[step.bridge]
    if port.attributes["master"] not in ("", bridge.name):
        raise OSError(errno.EBUSY, f"it is in {port.attributes['master']}")
    with rtnetlink.Socket() as kernel, contextlib.ExitStack() as undo:

        def take(changes: Iterable[Change]) -> None:
            for change in changes:
                if _request(kernel, change.do):
                    undo.callback(_take_back, _request, kernel, change.undo)

        if not bridge.addresses:
            take([_set(bridge, rtnetlink.ADDRESS, _mac(port), _mac(bridge))])
        if has_ipv6(port):
            _let_do_ipv6(bridge, port, undo)
        take(_moves(kernel, port, bridge, _does_ipv6(bridge)))
        if step.mtu is not None:  # not before there is a port: older kernels bound it by theirs
            before = int(bridge.attributes["mtu"])
            take([_set(bridge, rtnetlink.MTU, *map(rtnetlink.pack_u32, (step.mtu, before)))])
        undo.pop_all()


def _moves(
    kernel: rtnetlink.Socket, port: Link, bridge: Link, with_ipv6: bool
) -> Iterator[Change]:
    """What moves addresses and routes: they arrive, the port joins, they depart.

    :param with_ipv6: whether the bridge does IPv6; else the port's routes of IPv6, of which it
        makes no use without an address, are left where they are.
    """

    def dump(kind: int, body: bytes) -> list[bytes]:
        return [one for one in kernel.dump(kind, body) if with_ipv6 or not moving.is_ipv6(one)]

    old, new = Device(port.name, port.index), Device(bridge.name, bridge.index)
    dumped = dump(moving.RTM_GETADDR, moving.EVERY_ADDRESS)
    ours = moving.addresses_of(dumped, old)
    addresses = [moving.address(body, old, new) for body in ours]
    dumped = dump(moving.RTM_GETROUTE, moving.EVERY_ROUTE)
    routes = [moving.route(body, old, new) for body in moving.routes_of(dumped, old)]
    dumped = dump(moving.RTM_GETNEIGH, moving.EVERY_NEIGHBOUR)
    dumped += dump(moving.RTM_GETNEIGH, moving.EVERY_PROXY)
    neighbours = [moving.neighbour(body, old, new) for body in moving.neighbours_of(dumped, old)]
    dumped = _nexthops(dump)
    nexthops = [moving.nexthop(body, old, new) for body in moving.nexthops_of(dumped, old)]

    yield from (move.arrive for move in addresses)
    yield from (move.arrive for move in neighbours)
    _wait_until(
        lambda: moving.are_usable(ours, dump(moving.RTM_GETROUTE, moving.EVERY_ROUTE), new)
    )
    if not port.attributes["master"]:
        yield _set(port, rtnetlink.MASTER, rtnetlink.pack_u32(bridge.index), rtnetlink.pack_u32(0))
    # Without a cable there is nothing to wait for.
    _wait_until(lambda: _can_send(kernel, bridge) or not _can_send(kernel, port))
    yield from (move.arrive for move in routes)
    yield from nexthops
    yield from (move.depart for move in reversed(routes))
    yield from (move.depart for move in neighbours)
    # Deleting a primary IPv4 address would delete its secondary ones.
    yield from (move.depart for move in reversed(addresses))


def _can_send(kernel: rtnetlink.Socket, link: Link) -> bool:
    """Whether a link that is up has noticed that it has a carrier, if it had none before.

    Until then the kernel drops what is sent through it.
    """
    body = kernel.get(rtnetlink.GET_LINK, rtnetlink.link_header(link.index))
    its = dict(rtnetlink.attributes(body[rtnetlink.LINK.size :]))
    return its.get(rtnetlink.OPERSTATE) in _CAN_SEND


def _wait_until(done: Callable[[], bool]) -> None:
    """Give the kernel some time for what it does in the background; it will be done one day."""
    last = time.monotonic() + _BACKGROUND_SECONDS
    while not done() and time.monotonic() < last:
        time.sleep(_POLL_SECONDS)


def _nexthops(dump: Callable[[int, bytes], list[bytes]]) -> list[bytes]:
    try:
        return dump(moving.RTM_GETNEXTHOP, moving.EVERY_NEXTHOP)
    except OSError as err:
        if err.errno != errno.EOPNOTSUPP:  # before Linux 5.3
            raise
        return []


def _set(link: Link, attribute: int, value: bytes, before: bytes) -> Change:
    header = rtnetlink.link_header(link.index)
    do, undo = (header + rtnetlink.attribute(attribute, each) for each in (value, before))
    return Change(Request(rtnetlink.NEW_LINK, 0, do), Request(rtnetlink.NEW_LINK, 0, undo))


def _mac(link: Link) -> bytes:
    return bytes.fromhex(str(link.attributes["mac"]).replace(":", ""))


def _request(kernel: rtnetlink.Socket, request: Request) -> bool:
    """Ask for a change; False when there was nothing left to do."""
    try:
        kernel.change(request.kind, request.flags, request.body)
    except OSError as err:
        if err.errno not in _DONE:
            raise
        return False
    return True


def _take_back(action: Callable[..., object], *arguments: object) -> None:
    """Let nothing that goes wrong hide why it had to be taken back."""
    try:
        action(*arguments)
    except OSError as err:
        LOG.error("An address, a route or a bridge's port could not be put back: %s", err)


def _does_ipv6(bridge: Link) -> bool:
    return not sysctl.read(bridge.name, ("disable_ipv6",)).get("disable_ipv6", 1)


def _let_do_ipv6(bridge: Link, port: Link, undo: contextlib.ExitStack) -> None:
    """Switch a bridge's IPv6 on, which accepts router advertisements if the interface does."""
    if not bridge.attributes["disable_ipv6"]:
        return
    wanted = {**sysctl.read(port.name, _IPV6_LIKE_PORT), "disable_ipv6": 0}
    before = sysctl.read(bridge.name, wanted)
    for attribute, value in wanted.items():
        sysctl.write(bridge.name, attribute, value)
        undo.callback(_take_back, sysctl.write, bridge.name, attribute, before[attribute])
