# SPDX-License-Identifier: Apache-2.0
"""Delete many links at the price of one.

The kernel waits for grace periods before a link is gone: 16 ms for a tap or a veth, 32 ms for a
bridge. Links of one group (``IFLA_GROUP``) that are deleted by one request share that wait: 100
taps take 80 ms instead of 1,600. But who is in a group can be told only by a look at all links of
the host, which the kernel does not filter by it.

Each bridge still waits for a barrier of its own, 16 ms (``br_multicast_dev_del``), and while a
request lasts nobody else changes a link. ovs-vswitchd waits for that, and with it the traffic of
its datapath in user space; so few bridges go into one request.
"""

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from os_vif.kernel import observe, rtnetlink, sysctl
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import FIRST_GROUP, Link
from os_vif.wiring.steps import DeleteLink, LinkStep

#: The kinds whose deletions are known to share the wait, and seconds that one alone takes.
SECONDS_ALONE = {"bridge": 0.032, "veth": 0.016, "tun": 0.016}
#: Bridges that are deleted by one request.
BRIDGES_AT_ONCE = 8
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
    portions = list(_portions(wanted))
    first = new_group(len(portions))
    group_of = {name: first + i for i, portion in enumerate(portions) for name in portion}
    ours: dict[int, Link] = {}
    try:
        if not is_worthwhile(wanted.values(), sysctl.count_links()):
            return
        ours = {
            link.index: link
            for link in observe.links(wanted).values()
            if link.kind == wanted[link.name] and link.alias.startswith(f"{Mark.KEY}:")
        }
        for index, link in ours.items():
            netlink.set(index, rtnetlink.group(group_of[link.name]))
        found = observe.groups()
        for group in sorted({group_of[link.name] for link in ours.values()}):
            members = {index for index, link in ours.items() if group_of[link.name] == group}
            if {index for index, its in found.items() if its == group} == members:
                netlink.delete(group=group)
                for index in members:
                    del ours[index]
    except OSError:
        pass  # they are deleted one by one
    for index, link in ours.items():
        with contextlib.suppress(OSError):
            its_group = link.group if link.group < FIRST_GROUP else 0
            netlink.set(index, rtnetlink.group(its_group))


def _portions(wanted: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the names of links, by name with their kinds, that one request deletes."""
    bridges = [name for name, kind in wanted.items() if kind == "bridge"]
    portion = [name for name, kind in wanted.items() if kind != "bridge"]
    for start in range(0, max(len(bridges), 1), BRIDGES_AT_ONCE):
        yield [*portion, *bridges[start : start + BRIDGES_AT_ONCE]]
        portion = []


def new_group(count: int = 1) -> int:
    """Return the number of a group that nobody uses: it is random, of 30 bits.

    :param count: how many in a row are wanted.
    """
    return random.SystemRandom().randrange(FIRST_GROUP, 2 * FIRST_GROUP - count)


def is_worthwhile(kinds: Iterable[str], links: int) -> bool:
    """Return whether it takes less time to delete links together than one by one.

    :param kinds: theirs.
    :param links: how many the host has.
    """
    alone = sum(SECONDS_ALONE[kind] for kind in kinds)
    return SECONDS_TOGETHER + links * SECONDS_PER_LINK < alone
