# SPDX-License-Identifier: Apache-2.0
"""Change links. This runs inside a plugin's privileged daemon."""

import contextlib
import errno
import functools
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from os_vif.kernel import bridge_membership, deletions, observe, packing, rtnetlink, sysctl, tap
from os_vif.wiring.errors import WiringError
from os_vif.wiring.state import SYSCTLS, Value
from os_vif.wiring.steps import (
    CreateLink,
    DeleteLink,
    FilterBridge,
    JoinBridge,
    LeaveBridge,
    LinkStep,
    SetLink,
)

#: attribute -> (its number in linux/if_link.h, bytes, factor); only bridges have these
_BRIDGE_OPTIONS = {
    "ageing": (4, 4, 100),  # USER_HZ
    "forward_delay": (1, 4, 100),
    "stp": (5, 4, 1),
    "mcast_snooping": (23, 1, 1),
}

#: In the data of a veth pair and of a VLAN device (linux/veth.h, linux/if_link.h).
_VETH_PEER, _VLAN_ID = 1, 1

_FLAGS = {"up": rtnetlink.UP, "promisc": rtnetlink.PROMISC}

#: The daemon's threads change links one call after the other.
_ONE_CALL = threading.Lock()


Outcome = tuple[int, str, int]


#: Makes a firewall's rules about a bridge so, or raises why it could not.
Filter = Callable[[FilterBridge], object]


def _no_filter(step: FilterBridge) -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


#: An index that the kernel gives no link before it has made 2,147,483,646 others.
_NO_LINK = 2**31 - 1


def is_allowed() -> bool:
    """Return whether the kernel lets this process change links: whether it has CAP_NET_ADMIN where
    its network namespace belongs to.

    A change of a link that does not exist is asked for: the kernel looks at the privilege first
    (``rtnetlink_rcv_msg`` in net/core/rtnetlink.c).
    """
    try:
        with rtnetlink.Socket() as kernel:
            kernel.change(rtnetlink.NEW_LINK, 0, rtnetlink.link_header(_NO_LINK))
    except OSError as err:
        return err.errno != errno.EPERM
    return True


def execute(
    packed: Iterable[Iterable[Sequence[Any]]],
    go_on: bool = False,
    filter_bridge: Filter = _no_filter,
    allowed: packing.Allowed = packing.ANYTHING,
) -> list[Outcome]:
    """Execute groups of steps, in their order; a failure ends its group, and steps before it stay.

    All are checked before the first is executed. A failure is returned, not raised, because the
    caller has to know how far each group went.

    :param packed: groups of steps as :func:`os_vif.kernel.packing.pack` makes them.
    :param go_on: let a failure not even end its group.
    :param filter_bridge: how this plugin filters.
    :param allowed: the steps that are this plugin's job.
    :returns: for each group how many steps were executed; of the first that failed what and why
        (or nothing), and its errno.
    :raises InvalidValue: one is not a step that os-vif makes, or not one that is allowed.
    """
    groups = packing.unpack_groups(packed, allowed)
    outcomes: list[Outcome] = []
    with _ONE_CALL, _Call(allowed, filter_bridge) as call:
        deletions.together(call, [step for group in groups for step in group])
        for group in groups:
            executed, reason, code = 0, "", 0
            for step in group:
                try:
                    _EXECUTORS[type(step)](call, step)
                    executed += 1
                except (OSError, WiringError) as err:
                    executed += _may_be_half_done(step, err)  # so that it is rolled back, too
                    if not reason:
                        reason, code = f"{step}: {err.args[-1] if err.args else err}", _code(err)
                    if not go_on:
                        break
            outcomes.append((executed, reason, code))
    return outcomes


class _Call(contextlib.ExitStack):
    """What one call may do, and its socket."""

    def __init__(self, allowed: packing.Allowed, filter_bridge: Filter) -> None:
        super().__init__()
        self.allowed = allowed
        self.filter_bridge = filter_bridge

    @functools.cached_property
    def _kernel(self) -> rtnetlink.Socket:
        return self.enter_context(rtnetlink.Socket())

    def make(self, attributes: bytes, group: int, alias: str) -> None:
        """Make a link in a group, and mark whatever is in that, in one call of netlink: a process
        that is killed leaves no link without its mark.

        :raises OSError: the kernel refused it; what was made is gone.
        """
        mark = rtnetlink.attribute(rtnetlink.ALIAS, alias.encode())
        its_group, exclusively = rtnetlink.group(group), rtnetlink.CREATE | rtnetlink.EXCLUSIVE
        requests = [(exclusively, attributes), (0, mark)]
        every = [
            (rtnetlink.NEW_LINK, flags, rtnetlink.link_header(0) + its_group + each)
            for flags, each in requests
        ]
        refusals = [why for why in self._kernel.change_all(every) if why]
        if refusals:
            with contextlib.suppress(OSError):  # usually there is none
                self.delete(group=group)
            raise refusals[0]

    def delete(self, index: int = 0, group: int = 0) -> None:
        """Delete a link, or all links of a group.

        :raises OSError: the kernel refused it.
        """
        members = rtnetlink.group(group) if group else b""
        self._kernel.change(rtnetlink.DELETE_LINK, 0, rtnetlink.link_header(index) + members)

    def set(self, index: int, attributes: bytes, flags: int = 0, change: int = 0) -> None:
        """Set attributes and flags of a link, in one message.

        :raises OSError: the kernel refused it.
        """
        body = rtnetlink.link_header(index, flags, change) + attributes
        self._kernel.change(rtnetlink.NEW_LINK, 0, body)


def _may_be_half_done(step: LinkStep, err: Exception) -> bool:
    """Return whether a link may have got attributes before the one that was refused.

    All other steps are all or nothing in themselves.
    """
    if not isinstance(step, SetLink):
        return False
    nothing = _code(err) in (errno.ENODEV, errno.EPERM)
    return isinstance(err, rtnetlink.AnswerLost) or (len(step.attributes) > 1 and not nothing)


def _code(err: Exception) -> int:
    return int(getattr(err, "errno", None) or 0)


def _create(call: _Call, step: CreateLink) -> None:
    if step.kind == "tun":
        with tap.created(step.name, multiqueue=step.multiqueue):
            if step.multiqueue:
                _refuse_strangers(call, step.name)
            mark = rtnetlink.attribute(rtnetlink.ALIAS, step.alias.encode())
            call.set(_index(step.name), mark)
        return
    group = deletions.new_group()
    call.make(_new(step, group), group, step.alias)
    try:
        for name in filter(None, (step.name, step.peer)):
            call.set(_index(name), rtnetlink.group(0))
    except BaseException:
        call.delete(group=group)
        raise


def _new(step: CreateLink, group: int) -> bytes:
    """Return the attributes by which a link is made; its peer is in the same group."""
    data, parent = b"", b""
    if step.peer:
        peer = rtnetlink.link_header(0) + _name(step.peer) + rtnetlink.group(group)
        data = rtnetlink.attribute(_VETH_PEER, peer)
    elif step.parent:
        index = rtnetlink.pack_u32(_index(step.parent))
        parent = rtnetlink.attribute(rtnetlink.PARENT, index)
        data = rtnetlink.attribute(_VLAN_ID, step.vlan.to_bytes(2, sys.byteorder))
    return _name(step.name) + parent + rtnetlink.link_info(step.kind, data)


def _name(name: str) -> bytes:
    return rtnetlink.attribute(rtnetlink.NAME, name.encode() + b"\0")


def _refuse_strangers(call: _Call, name: str) -> None:
    """Delete a tap to which another process attached before it had an owner."""
    if observe.queues(name) > 1:
        call.delete(_index(name))
        raise OSError(errno.EBUSY, f"another process opened {name} while it was made")


def _set(call: _Call, step: SetLink) -> None:
    index, attributes = _index(step.name), b"".join(_common(step))
    for key in step.attributes.keys() & SYSCTLS:
        if key == "disable_ipv6" and step.attributes[key] and _has_ipv6(step.name):
            continue  # another process was faster, and its addresses would be gone
        sysctl.write(observe.own_name(step.name), key, int(step.attributes[key]))
    for options in _bridge_options(step):
        call.set(index, rtnetlink.link_info("bridge", options))
    change = sum(bit for key, bit in _FLAGS.items() if key in step.attributes)
    if attributes or change:
        flags = sum(bit for key, bit in _FLAGS.items() if step.attributes.get(key))
        call.set(index, attributes, flags, change)


def _bridge_options(step: SetLink) -> Iterator[bytes]:
    """Return a bridge's options, message by message.

    With STP on, the kernel refuses a forward delay below 2 s; and within one message it looks at
    the delay first. So STP goes off before it. On it may go at any time: the kernel raises the
    delay to 2 s then (br_stp_if.c, br_stp_start).
    """
    asked = [key for key in _BRIDGE_OPTIONS if key in step.attributes]
    for keys in (["stp"] if "stp" in asked else [], [key for key in asked if key != "stp"]):
        if keys:
            yield b"".join(_bridge_option(key, step.attributes[key]) for key in keys)


def _bridge_option(key: str, value: Value) -> bytes:
    number, size, factor = _BRIDGE_OPTIONS[key]
    return rtnetlink.attribute(number, (int(value) * factor).to_bytes(size, sys.byteorder))


def _common(step: SetLink) -> Iterator[bytes]:
    """Return the attributes that every link has, as rtnetlink has them."""
    attributes = step.attributes
    if "mac" in attributes:
        mac = bytes.fromhex(str(attributes["mac"]).replace(":", ""))
        yield rtnetlink.attribute(rtnetlink.ADDRESS, mac)
    if "mtu" in attributes:
        yield rtnetlink.attribute(rtnetlink.MTU, rtnetlink.pack_u32(int(attributes["mtu"])))
    if "group" in attributes:
        yield rtnetlink.group(int(attributes["group"]))
    if "master" in attributes:
        master = _index(str(attributes["master"])) if attributes["master"] else 0
        yield rtnetlink.attribute(rtnetlink.MASTER, rtnetlink.pack_u32(master))


def _delete(call: _Call, step: DeleteLink) -> None:
    link = observe.links([step.name]).get(step.name)
    if link is None:
        return
    if link.kind != step.kind:
        raise OSError(errno.EPERM, f"it is a {link.kind or 'hardware'} device")
    if not call.allowed.may_delete(link.alias):
        raise OSError(errno.EPERM, f"it does not bear the mark {call.allowed.mark}...")
    if step.if_empty and observe.ports(link.index):
        return
    try:
        call.delete(link.index)
    except OSError as err:
        if err.errno != errno.ENODEV:
            raise


def _has_ipv6(name: str) -> bool:
    return any(link.has_ipv6 for link in observe.links([name], addressed=[name]).values())


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as err:
        raise OSError(errno.ENODEV, f"no device {name}") from err


_EXECUTORS: Mapping[type[LinkStep], Callable[[_Call, Any], object]] = {
    CreateLink: _create,
    SetLink: _set,
    DeleteLink: _delete,
    FilterBridge: lambda call, step: call.filter_bridge(step),
    JoinBridge: lambda _, step: bridge_membership.join(step.name, step.bridge, step.mtu),
    LeaveBridge: lambda _, step: bridge_membership.leave(step.name, step.bridge),
}
