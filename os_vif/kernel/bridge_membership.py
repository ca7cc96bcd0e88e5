# SPDX-License-Identifier: Apache-2.0
"""Put an interface into a Linux bridge, and take it out, with the host's addresses and routes.

A host that lets its guests share its interface goes on using that itself, through the bridge.
This runs inside a plugin's privileged daemon.
"""

import contextlib
import errno
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from oslo_log import log as logging

from os_vif.kernel import address_migration as moves
from os_vif.kernel import observe, rtnetlink, sysctl
from os_vif.kernel.address_migration import Change, Device, Move, Request
from os_vif.wiring.state import Link

LOG = logging.getLogger(__name__)

_CAN_SEND = (b"\0", b"\6")  # linux/if.h, IF_OPER_UNKNOWN: it had a carrier all along; IF_OPER_UP

#: Seconds for what the kernel does in the background to be done; where a bridge of others does
#: STP, it takes far longer anyhow.
_BACKGROUND_SECONDS, _POLL_SECONDS = 0.5, 0.001

#: It is there, or gone, already: another process does the same, or did it and was killed.
_DONE = {errno.EEXIST, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL}


def join(port_name: str, bridge_name: str, mtu: int | None) -> None:
    """Put an interface into a bridge; whatever fails, all of it is rolled back.

    The bridge takes over the interface's MAC address if it has no addresses of its own, so that
    the neighbours need not learn anew. It does IPv6 only if it takes over IPv6 addresses.

    :param mtu: bytes, of the bridge; None to leave it.
    :raises OSError: the kernel refused something; all is as before.
    """
    port, bridge = _found(port_name, bridge_name)
    with rtnetlink.Socket() as kernel, contextlib.ExitStack() as rollback:
        first = [] if bridge.addresses else [_set(bridge, rtnetlink.ADDRESS, *_macs(bridge, port))]
        joined = [] if port.attributes["master"] else [_membership(port, 0, bridge.index)]
        if mtu is not None:  # not before there is a port: older kernels bound it by theirs
            mtus = (int(bridge.attributes["mtu"]), mtu)
            joined.append(_set(bridge, rtnetlink.MTU, *map(rtnetlink.pack_u32, mtus)))
        _move(kernel, rollback, port, bridge, first=first, before_routes=joined)
        rollback.pop_all()


def leave(port_name: str, bridge_name: str) -> None:
    """Take the last interface out of a bridge; whatever fails, all of it is rolled back.

    :raises OSError: the kernel refused something, or the bridge has other ports, perhaps since a
        moment ago; all is as before.
    """
    port, bridge = _found(port_name, bridge_name)
    with rtnetlink.Socket() as kernel, contextlib.ExitStack() as rollback:
        left = [_membership(port, bridge.index, 0)] if port.attributes["master"] else []
        # Last, for a bridge without a carrier is none that everything could be led back to.
        _move(kernel, rollback, bridge, port, after_routes=left)
        if observe.ports(bridge.index):
            raise OSError(errno.EBUSY, f"{bridge.name} has other ports")
        rollback.pop_all()


def _found(port: str, bridge: str) -> tuple[Link, Link]:
    """Both links, of which the one is in no other bridge, and the other is a bridge."""
    found = observe.links((port, bridge), addressed=(port, bridge))
    for name in (port, bridge):
        if name not in found:
            raise OSError(errno.ENODEV, f"no device {name}")
    if found[bridge].kind != "bridge" or port == bridge:
        raise OSError(errno.EINVAL, f"{bridge} is not a bridge for {port}")
    if found[port].attributes["master"] not in ("", bridge):
        raise OSError(errno.EBUSY, f"it is in {found[port].attributes['master']}")
    return found[port], found[bridge]


def _move(
    kernel: rtnetlink.Socket,
    rollback: contextlib.ExitStack,
    old: Link,
    new: Link,
    *,
    first: Iterable[Change] = (),
    before_routes: Iterable[Change] = (),
    after_routes: Iterable[Change] = (),
) -> None:
    """Move addresses, routes and so on from one device to another.

    First the addresses arrive, which changes nothing for the host, whose routes through the old
    device come first; those of IPv6 become usable in the background. All else is one call: a
    daemon that is killed leaves the host on the old device or on the new one.

    :param first: what else is done before anything arrives.
    :param before_routes: what else is done before routes arrive.
    :param after_routes: what else is done before anything departs.
    """
    _configure_alike(new, old, rollback)
    here, there = Device(old.name, old.index), Device(new.name, new.index)
    # Routes of IPv6, of which it makes no use without an address, are left where they are.
    its = _read(kernel, here, there, with_ipv6=_does_ipv6(new))
    _change(kernel, rollback, [*first, *its.arriving()])
    _wait_until(lambda: its.usable_on(there))
    rollback.callback(_wait_until, lambda: its.usable_on(here))
    changes = [*before_routes, *its.following(), *after_routes, *its.departing()]
    # Addresses come back in their order only to where none of them was left.
    _change(kernel, rollback, changes, [move.depart.do for move in reversed(its.addresses)])
    # Without a cable there is nothing to wait for.
    _wait_until(lambda: _can_send(kernel, new) or not _can_send(kernel, old))


def _change(
    kernel: rtnetlink.Socket,
    rollback: contextlib.ExitStack,
    changes: Sequence[Change],
    before_rollback: Sequence[Request] = (),
) -> None:
    """Make changes in one call; they are rolled back in one call, too.

    :param before_rollback: what is asked for before they are rolled back.
    :raises OSError: the kernel refused one of them; the others are made nevertheless.
    """
    refusals = _request(kernel, [change.do for change in changes])
    asked = list(zip(changes, refusals, strict=True))
    # What was refused may have been done by another change: with a primary address go others.
    made = [change for change, why in asked if why is None or why.errno not in _DONE]
    back = [*before_rollback, *(change.inverse for change in reversed(made))]
    rollback.callback(_roll_back, kernel, back)
    for change, why in asked:
        if why is not None and why.errno not in _DONE and not change.optional:
            raise why


def _roll_back(kernel: rtnetlink.Socket, requests: Sequence[Request]) -> None:
    """Let nothing that goes wrong hide why it had to be rolled back."""
    with _logged():
        for why in _request(kernel, requests):
            with _logged():
                if why is not None and why.errno not in _DONE:
                    raise why


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        LOG.error("An address, a route or a bridge's port could not be rolled back: %s", err)


def _request(kernel: rtnetlink.Socket, requests: Sequence[Request]) -> list[OSError | None]:
    return kernel.change_all([(one.kind, one.flags, one.body) for one in requests])


@dataclass(frozen=True)
class _Moves:
    """What is on a device, on its way to another one."""

    prefixes: list[Move]
    addresses: list[Move]
    neighbours: list[Move]
    routes: list[Move]
    nexthops: list[Change]
    #: Whether the addresses can be used on a device.
    usable_on: Callable[[Device], bool]

    def arriving(self) -> Iterator[Change]:
        """Return what is made on the new device first."""
        # An address brings its own along, and would leave it behind if it were rolled back.
        yield from (move.arrive for move in self.prefixes)
        yield from (move.arrive for move in self.addresses)

    def following(self) -> Iterator[Change]:
        """Return what follows the addresses to the new device."""
        yield from (move.arrive for move in self.neighbours)
        yield from (move.arrive for move in self.routes)
        yield from self.nexthops

    def departing(self) -> Iterator[Change]:
        """Return what takes all of it from the old device."""
        yield from (move.depart for move in reversed([*self.prefixes, *self.routes]))
        yield from (move.depart for move in self.neighbours)
        # Deleting a primary IPv4 address would delete its secondary ones.
        yield from (move.depart for move in reversed(self.addresses))


def _read(kernel: rtnetlink.Socket, old: Device, new: Device, with_ipv6: bool) -> _Moves:
    def dump(kind: int, *bodies: bytes) -> list[bytes]:
        every = (one for body in bodies for one in kernel.dump(kind, body))
        return [one for one in every if with_ipv6 or not moves.is_ipv6(one)]

    addresses = moves.addresses_of(dump(moves.RTM_GETADDR, moves.EVERY_ADDRESS), old)
    neighbours = dump(moves.RTM_GETNEIGH, moves.EVERY_NEIGHBOUR, moves.EVERY_PROXY)
    routes = moves.routes_of(dump(moves.RTM_GETROUTE, moves.EVERY_ROUTE), old)
    to_prefix = [body for body in routes if moves.is_to_prefix(body)]
    others = [body for body in routes if not moves.is_to_prefix(body)]

    def usable_on(device: Device) -> bool:
        now = dump(moves.RTM_GETROUTE, moves.EVERY_ROUTE)
        return moves.are_usable(addresses, now, device)

    return _Moves(
        [moves.route(body, old, new) for body in to_prefix],
        [moves.address(body, old, new) for body in addresses],
        [moves.neighbour(body, old, new) for body in moves.neighbours_of(neighbours, old)],
        [moves.route(body, old, new) for body in others],
        [moves.nexthop(body, old, new) for body in moves.nexthops_of(_nexthops(dump), old)],
        usable_on,
    )


def _can_send(kernel: rtnetlink.Socket, link: Link) -> bool:
    """Return whether a link that is up has noticed that it has a carrier, if it had none before.

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
        return dump(moves.RTM_GETNEXTHOP, moves.EVERY_NEXTHOP)
    except OSError as err:
        if err.errno != errno.EOPNOTSUPP:  # before Linux 5.3
            raise
        return []


def _membership(port: Link, before: int, after: int) -> Change:
    """Put a link into the bridge of an index; 0 for none."""
    return _set(port, rtnetlink.MASTER, rtnetlink.pack_u32(before), rtnetlink.pack_u32(after))


def _set(link: Link, attribute: int, before: bytes, after: bytes) -> Change:
    header = rtnetlink.link_header(link.index)
    do, inverse = (header + rtnetlink.attribute(attribute, each) for each in (after, before))
    return Change(Request(rtnetlink.NEW_LINK, 0, do), Request(rtnetlink.NEW_LINK, 0, inverse))


def _macs(*links: Link) -> Iterator[bytes]:
    return (bytes.fromhex(str(link.attributes["mac"]).replace(":", "")) for link in links)


def _does_ipv6(link: Link) -> bool:
    return not sysctl.read(link.name, ("disable_ipv6",)).get("disable_ipv6", 1)


def _configure_alike(link: Link, other: Link, rollback: contextlib.ExitStack) -> None:
    """Let a link use addresses as the other one does, of each family of which it has none itself.

    Its IPv6 is switched on last.
    """
    for family in _families(other) - _families(link):
        wanted, found = (sysctl.of_addresses(each.name, family) for each in (other, link))
        for name in wanted.keys() & found.keys():
            if found[name] != wanted[name]:  # the kernel may act on being told the same again
                rollback.callback(_restore, link.name, family, name, found[name])
                sysctl.write_of_addresses(link.name, family, name, wanted[name])
    if other.has_ipv6 and link.attributes["disable_ipv6"]:
        rollback.callback(_restore, link.name, "ipv6", "disable_ipv6", "1")
        sysctl.write_of_addresses(link.name, "ipv6", "disable_ipv6", "0")


def _families(link: Link) -> set[str]:
    return {"ipv6" if ":" in address else "ipv4" for address in link.addresses}


def _restore(link: str, family: str, name: str, value: str) -> None:
    with _logged():
        sysctl.write_of_addresses(link, family, name, value)
