# SPDX-License-Identifier: Apache-2.0
"""The addresses, routes and so on of a host, as plain data: what must not get lost in a move.

``assert not changes(before.moved("eth0", "br0"), addressing())``
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.rig import run, wait_until
from tests.rig.snapshot import Facts

#: What the kernel makes for each device that does IPv6, whoever asked for that.
_OF_ANY_DEVICE = re.compile(r"fe80::/64|ff00::/8|multicast|anycast|fe80::[0-9a-f:]*ff:fe")
_NOT_CONFIGURED = {"tentative", "nodad", "nh_info"}
_LEARNED = {"REACHABLE", "STALE", "DELAY", "PROBE"}
#: Looked for in vain, or of multicast.
_NOT_NEIGHBOURS = {"INCOMPLETE", "FAILED", "NOARP"}
#: Seconds; lives are told apart by so much.
_COARSE = 300


@dataclass(frozen=True)
class Addressing:
    """What is configured, as lists of JSON texts that tell the devices."""

    addresses: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    neighbours: list[str] = field(default_factory=list)
    nexthops: list[str] = field(default_factory=list)

    def moved(self, old: str, new: str) -> "Addressing":
        """The same with one device in another one's place, by name and in labels."""
        names = re.compile(rf'"{re.escape(old)}(:[^"]*)?"')
        there = ([names.sub(rf'"{new}\1"', one) for one in each] for each in vars(self).values())
        addresses, *others = there
        return Addressing(_by_device(addresses), *map(sorted, others))

    def of(self, device: str) -> list[str]:
        """All that tells of one device."""
        every = (one for each in vars(self).values() for one in each)
        return [one for one in every if f'"{device}"' in one]


def changes(before: Addressing, after: Addressing) -> str:
    """Return one line for each thing that came (+) or went (-), or for another order (~)."""
    lines = []
    for what, was in vars(before).items():
        now = getattr(after, what)
        lines += [f"- {what}: {one}" for one in (Counter(was) - Counter(now)).elements()]
        lines += [f"+ {what}: {one}" for one in (Counter(now) - Counter(was)).elements()]
        if not lines and was != now:
            lines.append(f"~ {what}: {was} -> {now}")
    return "\n".join(lines)


def settled(wanted: Addressing, timeout: float = 2.0) -> str:
    """Wait for it, because the kernel adds some of IPv6 in the background; say what is different.

    :param timeout: seconds.
    """
    last = time.monotonic() + timeout
    while (different := changes(wanted, addressing())) and time.monotonic() < last:
        time.sleep(0.01)
    return different


def complete() -> Addressing:
    """Look once the kernel has added what belongs to each address; of IPv6 it does so later."""
    return wait_until(_complete, what="addresses of IPv6 to be usable")


def _complete() -> Addressing | None:
    now = addressing()
    routes = map(json.loads, now.routes)
    there = {(one["dev"], one["dst"]) for one in routes if one["type"] == "local"}
    wanted = {
        (link["ifname"], one["local"])
        for link in _ip("-6", "address")
        for one in link["addr_info"]
        if not _is_automatic(one) and not one.get("tentative")
    }
    return now if wanted <= there else None


def addressing() -> Addressing:
    """Look at the calling thread's network namespace."""
    links = _ip("address")
    addresses = [
        {"dev": link["ifname"], **_configured(one)}
        for link in links
        for family in ("inet", "inet6")
        for one in _in_order(family, link["addr_info"])
        if not _is_automatic(one)
    ]
    routes = [
        _configured(route)
        for family in ("-4", "-6")
        for route in _ip(family, "route", "show", "table", "all")
        if not _OF_ANY_DEVICE.search(f"{route['dst']} {route['type']}")
    ]
    neighbours = [
        {**neighbour, "state": "learned" if _LEARNED.intersection(state) else state}
        for which in (["nud", "all"], ["proxy"])
        for neighbour in _ip("neighbour", "show", *which)
        if not _NOT_NEIGHBOURS.intersection(state := neighbour.get("state", []))
        and not _OF_ANY_DEVICE.match(neighbour["dst"])  # it introduced itself
    ]
    return Addressing(
        _by_device(_texts(addresses)),
        sorted(_texts(routes)),
        sorted(_texts(neighbours)),
        sorted(_texts(map(_configured, _ip("nexthop")))),
    )


def _ip(*words: str) -> list[Facts]:
    said = run(["ip", "-json", "-details", *words]).stdout
    found: list[Facts] = json.loads(said or "[]")
    return [one for one in found if one]


def _in_order(family: str, addresses: list[Facts]) -> list[Facts]:
    return [one for one in addresses if one.get("family") == family]


def _is_automatic(address: Facts) -> bool:
    local = address["local"]
    return bool(_OF_ANY_DEVICE.match(local)) or local in ("127.0.0.1", "::1")


def _configured(facts: Facts) -> Facts:
    """Less what comes and goes by itself, and with seconds that are left in larger units."""
    its = {key: value for key, value in facts.items() if key not in _NOT_CONFIGURED}
    for hop in (its, *its.get("nexthops", ())):
        hop["flags"] = [flag for flag in hop.get("flags", ()) if flag != "linkdown"]
    if "nexthops" in its:
        its["nexthops"] = sorted(its["nexthops"], key=str)
    for key in its.keys() & {"valid_life_time", "preferred_life_time", "expires"}:
        its[key] = round(its[key] / _COARSE)
    return its


def _by_device(texts: list[str]) -> list[str]:
    """Sorted by device; of one device, in the order in which the kernel has them."""
    return sorted(texts, key=lambda text: (json.loads(text)["dev"], json.loads(text)["family"]))


def _texts(facts: Iterable[Any]) -> list[str]:
    return [json.dumps(one, sort_keys=True) for one in facts]
