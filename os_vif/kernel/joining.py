# SPDX-License-Identifier: Apache-2.0
"""Put an interface into a Linux bridge, and take it out, with the host's addresses and routes.

A host that lets its guests share its interface goes on using that itself, through the bridge.
This runs inside a plugin's privileged daemon.
"""

import contextlib
import errno
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from oslo_log import log as logging

from os_vif.kernel import moving, observe, rtnetlink, sysctl
from os_vif.kernel.moving import Change, Device, Move, Request
from os_vif.wiring.compare import has_ipv6
from os_vif.wiring.state import Link
from os_vif.wiring.steps import JoinBridge, LeaveBridge

LOG = logging.getLogger(__name__)

_CAN_SEND = (b"\0", b"\6")  # linux/if.h, IF_OPER_UNKNOWN: it had a carrier all along; IF_OPER_UP

#: Seconds for what the kernel does in the background to be done; where a bridge of others does
#: STP, it takes far longer anyhow.
_BACKGROUND_SECONDS, _POLL_SECONDS = 0.5, 0.001

#: It is there, or gone, already: another process does the same, or did it and was killed.
_DONE = {errno.EEXIST, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL}

#: What a link that takes over IPv6 addresses does as the other one did.
_IPV6_ALIKE = ("accept_ra", "autoconf")


def join(step: JoinBridge) -> None:
    """Put an interface into a bridge; whatever fails, all of it is taken back.

    The bridge takes over the interface's MAC address if it has no addresses of its own, so that
    the neighbours need not learn anew. It does IPv6 only if it takes over IPv6 addresses.

    :raises OSError: the kernel refused something; all is as before.
    """
    port, bridge = _found(step.name, step.bridge)
    with rtnetlink.Socket() as kernel, contextlib.ExitStack() as undo:
        if not bridge.addresses:
            _take(kernel, undo, [_set(bridge, rtnetlink.ADDRESS, _mac(port), _mac(bridge))])
        joined = [] if port.attributes["master"] else [_membership(port, 0, bridge.index)]
        _move(kernel, undo, port, bridge, before_routes=joined)
        if step.mtu is not None:  # not before there is a port: older kernels bound it by theirs
            mtus = (int(bridge.attributes["mtu"]), step.mtu)
            before, wanted = map(rtnetlink.pack_u32, mtus)
            _take(kernel, undo, [_set(bridge, rtnetlink.MTU, wanted, before)])
        undo.pop_all()


def leave(step: LeaveBridge) -> None:
    """Take the last interface out of a bridge; whatever fails, all of it is taken back.

    :raises OSError: the kernel refused something, or the bridge has other ports, perhaps since a
        moment ago; all is as before.
    """
    port, bridge = _found(step.name, step.bridge)
    with rtnetlink.Socket() as kernel, contextlib.ExitStack() as undo:
        left = [_membership(port, bridge.index, 0)] if port.attributes["master"] else []
        # Last, for a bridge without a carrier is none that everything could be led back to.
        _move(kernel, undo, bridge, port, after_routes=left)
        if observe.ports(bridge.index):
            raise OSError(errno.EBUSY, f"{bridge.name} has other ports")
        undo.pop_all()


def _found(port: str, bridge: str) -> tuple[Link, Link]:
    """Both links, of which the one is in no other bridge."""
    found = observe.links((port, bridge), addressed=(port, bridge))
    for name in (port, bridge):
        if name not in found:
            raise OSError(errno.ENODEV, f"no device {name}")
    if found[port].attributes["master"] not in ("", bridge):
        raise OSError(errno.EBUSY, f"it is in {found[port].attributes['master']}")
    return found[port], found[bridge]


def _move(
    kernel: rtnetlink.Socket,
    undo: contextlib.ExitStack,
    old: Link,
    new: Link,
    before_routes: Iterable[Change] = (),
    after_routes: Iterable[Change] = (),
) -> None:
    """Move addresses and routes from one device to another; see :func:`_moves`."""
    if has_ipv6(old):
        _let_do_ipv6(new, old, undo)
    moves = _moves(kernel, old, new, _does_ipv6(new), before_routes, after_routes)
    _take(kernel, undo, moves)


def _take(kernel: rtnetlink.Socket, undo: contextlib.ExitStack, changes: Iterable[Change]) -> None:
    for change in changes:
        back = (_take_back, _request, kernel, change.undo)
        try:
            if _request(kernel, change.do):
                undo.callback(*back)
        except rtnetlink.AnswerLost:  # it may have been made
            undo.callback(*back)
            raise


@dataclass(frozen=True)
class _Moves:
    """What is on a device, on its way to another one."""

    prefixes: list[Move]
    addresses: list[Move]
    neighbours: list[Move]
    routes: list[Move]
    nexthops: list[Change]
    #: Whether the addresses that have arrived can be used.
    usable: Callable[[], bool]


def _read(kernel: rtnetlink.Socket, old: Device, new: Device, with_ipv6: bool) -> _Moves:
    def dump(kind: int, body: bytes) -> list[bytes]:
        return [one for one in kernel.dump(kind, body) if with_ipv6 or not moving.is_ipv6(one)]

    addresses = moving.addresses_of(dump(moving.RTM_GETADDR, moving.EVERY_ADDRESS), old)
    routes = moving.routes_of(dump(moving.RTM_GETROUTE, moving.EVERY_ROUTE), old)
    dumped = dump(moving.RTM_GETNEIGH, moving.EVERY_NEIGHBOUR)
    dumped += dump(moving.RTM_GETNEIGH, moving.EVERY_PROXY)
    neighbours = moving.neighbours_of(dumped, old)
    nexthops = moving.nexthops_of(_nexthops(dump), old)
    return _Moves(
        [moving.route(body, old, new) for body in routes if moving.is_to_prefix(body)],
        [moving.address(body, old, new) for body in addresses],
        [moving.neighbour(body, old, new) for body in neighbours],
        [moving.route(body, old, new) for body in routes if not moving.is_to_prefix(body)],
        [moving.nexthop(body, old, new) for body in nexthops],
        lambda: moving.are_usable(addresses, dump(moving.RTM_GETROUTE, moving.EVERY_ROUTE), new),
    )


def _moves(
    kernel: rtnetlink.Socket,
    here: Link,
    there: Link,
    with_ipv6: bool,
    before_routes: Iterable[Change],
    after_routes: Iterable[Change],
) -> Iterator[Change]:
    """What moves addresses and routes: all of them arrive, then they depart.

    :param with_ipv6: whether the other device does IPv6; else routes of IPv6, of which it makes no
        use without an address, are left where they are.
    :param before_routes: what else is done before routes arrive.
    :param after_routes: what else is done before anything departs.
    """
    old, new = Device(here.name, here.index), Device(there.name, there.index)
    its = _read(kernel, old, new, with_ipv6)
    # An address brings its own along, and would leave it behind if it were taken back.
    yield from (move.arrive for move in its.prefixes)
    yield from (move.arrive for move in its.addresses)
    yield from (move.arrive for move in its.neighbours)
    _wait_until(its.usable)
    yield from before_routes
    # Without a cable there is nothing to wait for.
    _wait_until(lambda: _can_send(kernel, there) or not _can_send(kernel, here))
    yield from (move.arrive for move in its.routes)
    yield from its.nexthops
    yield from after_routes
    yield from (move.depart for move in reversed([*its.prefixes, *its.routes]))
    yield from (move.depart for move in its.neighbours)
    # Deleting a primary IPv4 address would delete its secondary ones.
    yield from (move.depart for move in reversed(its.addresses))


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


def _membership(port: Link, before: int, after: int) -> Change:
    """Put a link into the bridge of an index; 0 for none."""
    return _set(port, rtnetlink.MASTER, rtnetlink.pack_u32(after), rtnetlink.pack_u32(before))


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


def _does_ipv6(link: Link) -> bool:
    return not sysctl.read(link.name, ("disable_ipv6",)).get("disable_ipv6", 1)


def _let_do_ipv6(link: Link, other: Link, undo: contextlib.ExitStack) -> None:
    """Switch a link's IPv6 on, which accepts router advertisements if the other one does."""
    if not link.attributes["disable_ipv6"]:
        return
    wanted = {**sysctl.read(other.name, _IPV6_ALIKE), "disable_ipv6": 0}
    before = sysctl.read(link.name, wanted)
    for attribute, value in wanted.items():
        sysctl.write(link.name, attribute, value)
        undo.callback(_take_back, sysctl.write, link.name, attribute, before[attribute])
