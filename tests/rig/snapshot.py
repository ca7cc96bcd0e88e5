# SPDX-License-Identifier: Apache-2.0
"""What a host looks like, as plain data that can be compared.

The question "did this leave anything behind?" becomes
``assert not difference(before, snapshot(ovs))``.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.rig import run
from tests.rig.ovs import PrivateOvs

Facts = dict[str, Any]

_DETAILS = {
    "bridge": ("ageing_time", "stp_state", "forward_delay", "mcast_snooping"),
    "tun": ("type", "multi_queue", "persist", "pi"),
    "vlan": ("id",),
}


def links() -> dict[str, Facts]:
    """Return name and facts of every link in the calling thread's network namespace."""
    found = json.loads(run(["ip", "-details", "-json", "link"]).stdout)
    return {link["ifname"]: _facts(link) for link in found}


def sysctls(link: str, names: Iterable[str]) -> dict[str, int]:
    """Return sysctls of a link by name, whichever family's they are."""
    files = {name: Path("/proc/sys/net").glob(f"ipv?/conf/{link}/{name}") for name in names}
    return {name: int(file.read_text()) for name, found in files.items() for file in found}


def snapshot(ovs: PrivateOvs | None = None) -> Facts:
    """Return the links, and what a private Open vSwitch is configured to."""
    facts: Facts = {"links": links()}
    if ovs is not None:
        facts["ovs"] = ovs.dump()
    return facts


def settled(ovs: PrivateOvs) -> Facts:
    """Return the host once ovs-vswitchd has caught up, which a rollback does not wait for."""
    ovs.catch_up()
    return snapshot(ovs)


def difference(before: Any, after: Any) -> str:
    """Return one line for each thing that came (+), went (-) or changed (~); "" when equal."""
    return "\n".join(_lines(before, after, ""))


def _facts(link: Facts) -> Facts:
    info = link.get("linkinfo", {})
    kind = info.get("info_kind")
    data = info.get("info_data", {})
    return {
        "kind": kind,
        "mtu": link["mtu"],
        "mac": link.get("address"),
        "up": "UP" in link["flags"],
        # The flag that a user sets; ``promiscuity`` also counts bridges and vswitchd.
        "promisc": "PROMISC" in link["flags"],
        "master": link.get("master"),
        "alias": link.get("ifalias"),
        "group": link.get("group"),
        "parent": link.get("link"),
        **{name: data.get(name) for name in _DETAILS.get(kind, ())},
    }


def _lines(before: Any, after: Any, path: str) -> Iterator[str]:
    if before == after:
        return
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield f"~ {path}: {_short(before)} -> {_short(after)}"
        return
    for key in sorted(before.keys() | after.keys()):
        inner = f"{path}/{key}" if path else str(key)
        if key not in after:
            yield f"- {inner}: {_short(before[key])}"
        elif key not in before:
            yield f"+ {inner}: {_short(after[key])}"
        else:
            yield from _lines(before[key], after[key], inner)


def _short(value: Any) -> str:
    """Leave out what is unset: an OVSDB row has some twenty columns and uses three."""
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if item or type(item) is int}
    return repr(value)
