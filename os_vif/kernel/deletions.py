# SPDX-License-Identifier: Apache-2.0
"""Delete many links at the price of one.

The kernel waits for grace periods before a link is gone: 16 ms for a tap or a veth, 32 ms for a
bridge. Links of one group (``IFLA_GROUP``) that are deleted by one request share that wait: 100
taps take 80 ms instead of 1,600. But who is in a group can be told only by a look at all links of
the host, which the kernel does not filter by it.
"""

import contextlib
import random
from collections.abc import Iterable
from typing import Protocol

from os_vif.kernel import observe, rtnetlink, sysctl
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import FIRST_GROUP
from os_vif.wiring.steps import DeleteLink, LinkStep

#: The kinds whose deletions are known to share the wait, and seconds that one alone takes.
SECONDS_ALONE = {"bridge": 0.032, "veth": 0.016, "tun": 0.016}
#: Seconds that they take together, and for the look for each link of the host.
SECONDS_TOGETHER, SECONDS_PER_LINK = 0.035, 20e-6


class Netlink(Protocol):
    """What is asked of the sockets of a call."""

    def delete(self, *, group: int) -> None: ...

    def set(self, index: int, attributes: bytes) -> None: ...


def together(netlink: Netlink, steps: Iterable[LinkStep]) -> None:
    """Delete those links at once whose deletion is asked for, as far as they are ours.

    Whatever is not deleted here, for whatever reason, is as before and left to be deleted alone.
    Only links that bear an os-vif mark and are of the kind that was asked for enter the group,
    which nobody else uses: it is random, and its members are read back. What a call that was
    killed has left in such a group goes back to 0, here or in the next plug.
    """
    asked = (step for step in steps if isinstance(step, DeleteLink) and not step.if_empty)
    wanted = {step.name: step.kind for step in asked if step.kind in SECONDS_ALONE}
    if len(wanted) < 2:
        return
    group = new_group()
    ours: dict[int, int] = {}
    try:
        if not is_worthwhile(wanted.values(), sysctl.count_links()):
            return
        ours = {
            link.index: link.group if link.group < FIRST_GROUP else 0
            for link in observe.links(wanted).values()
            if link.kind == wanted[link.name] and link.alias.startswith(f"{Mark.KEY}:")
        }
        for index in ours:
            netlink.set(index, rtnetlink.group(group))
        if observe.members(group) == ours.keys():
            netlink.delete(group=group)
            return
    except OSError:
        pass  # they are deleted one by one
    for index, its_group in ours.items():
        with contextlib.suppress(OSError):
            netlink.set(index, rtnetlink.group(its_group))


def new_group() -> int:
    """Return the number of a group that nobody uses: it is random, of 30 bits."""
    return random.SystemRandom().randrange(FIRST_GROUP, 2 * FIRST_GROUP)


def is_worthwhile(kinds: Iterable[str], links: int) -> bool:
    """Return whether it takes less time to delete links together than one by one.

    :param kinds: theirs.
    :param links: how many the host has.
    """
    alone = sum(SECONDS_ALONE[kind] for kind in kinds)
    return SECONDS_TOGETHER + links * SECONDS_PER_LINK < alone
