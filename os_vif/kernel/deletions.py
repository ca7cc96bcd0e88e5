# SPDX-License-Identifier: Apache-2.0
"""Delete many links at the price of one.

The kernel waits for grace periods before a link is gone: 16 ms for a tap or a veth, 32 ms for a
bridge. Links of one group (``IFLA_GROUP``) that are deleted by one request share that wait: 100
taps take 80 ms instead of 1,600.
"""

import contextlib
import random
from collections.abc import Iterable
from typing import Any, Protocol

from pyroute2.netlink.exceptions import NetlinkError

from os_vif.kernel import observe
from os_vif.wiring.model import Mark
from os_vif.wiring.steps import DeleteLink, LinkStep

#: The kinds whose deletions are known to share the wait.
KINDS = {"bridge", "veth", "tun"}
#: Fewer deletions than this are not worth the look at all links of the host.
WORTHWHILE = 4


class Netlink(Protocol):
    """What is asked of pyroute2."""

    def link(self, command: str, **details: Any) -> Any: ...


def together(netlink: Netlink, steps: Iterable[LinkStep]) -> None:
    """Delete those links at once whose deletion is asked for, as far as they are ours.

    Whatever is not deleted here, for whatever reason, is as before and left to be deleted alone.
    Only links that bear an os-vif mark and are of the kind that was asked for enter the group,
    which nobody else uses: it is random, and its members are read back.
    """
    deleted = (step for step in steps if isinstance(step, DeleteLink))
    wanted = {step.name: step.kind for step in deleted if step.kind in KINDS and not step.if_empty}
    if len(wanted) < WORTHWHILE:
        return
    group = random.SystemRandom().randrange(1 << 30, 1 << 31)
    ours: dict[int, int] = {}
    try:
        before = observe.groups()
        if group in before.values():
            return
        ours = {
            link.index: before[link.index]
            for link in observe.links(wanted).values()
            if link.kind == wanted[link.name]
            and link.alias.startswith(f"{Mark.KEY}:")
            and link.index in before
        }
        for index in ours:
            netlink.link("set", index=index, group=group)
        members = {index for index, its_group in observe.groups().items() if its_group == group}
        if members == set(ours):
            netlink.link("del", group=group)
            return
    except (NetlinkError, OSError):
        pass  # they are deleted one by one
    for index, its_group in ours.items():
        with contextlib.suppress(NetlinkError, OSError):
            netlink.link("set", index=index, group=its_group)
