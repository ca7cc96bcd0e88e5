# SPDX-License-Identifier: Apache-2.0
"""What our figures are made of, by cProfile."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.client import OURS, Worker
from benchmarks.host import KINDS, Host, Pair
from benchmarks.results import Results

Line = list[Any]  # file, function, own seconds, cumulative seconds

#: Of the calling thread: what a verb does or waits for, by the function that all of it is under.
_CALLER = {
    "waiting for vswitchd": [
        ("ovsdb/connection.py", "wait_for_vswitchd"),
        ("ovsdb/backend.py", "device_states"),
    ],
    "OVSDB round trip, to read": [("ovsdb/backend.py", "observe")],
    "OVSDB round trip, to write": [("ovsdb/backend.py", "commit")],
    "links: read": [("kernel/daemon.py", "observe")],
    "links: change": [("kernel/daemon.py", "execute")],
    "describing": [("vif_plug_ovs/shapes/__init__.py", "plugged"), ("__init__.py", "unplugged")],
    "planning": [("wiring/plan.py", "to_apply"), ("wiring/plan.py", "to_remove")],
}
#: Of a first connection: what is done, by the file of the function that does it.
_CONNECTING = {
    "parsing JSON": ["ovsdb/messages.py", "re.Pattern", "json/", "raw_decode"],
    "rows of the replica": ["ovs/db/", "ovs/ovsuuid.py", "uuid.py", "sortedcontainers"],
    "ours: index keys and the verb": ["vif_plug_ovs", "os_vif", "threading.py"],
    "the socket": ["ovs/stream.py", "ovs/socket_util.py", "ovs/jsonrpc.py", "recv"],
    "waiting for ovsdb-server": ["ovs/poller.py", "poll"],
}


def measure(here: Host, found: Results, times: int = 5) -> None:
    """Profile our verbs, without the privileged daemon."""
    with Worker(OURS, here.ovs.remote) as one:
        for kind, options in KINDS.items():
            one.call("configure", options=options)
            _turn(here, one, kind)  # to warm up
            turns = [_turn(here, one, kind) for _ in range(times)]
            here.check_clean()
            for verb in turns[0]:
                parts = [_by_function(turn[verb]) for turn in turns]
                _note(found, f"{kind} with {here.ports} ports: {verb}", _medians(parts))


def first_connection(here: Host, pairs: list[Pair], found: Results) -> None:
    """Profile our first verb: who waits receives, so the caller's thread does all of it."""
    with Worker(OURS, here.ovs.remote) as one:
        profile = one.call("profile", verb="plug", pairs=pairs)
    parts = _by_file(profile["caller"])
    _note(found, f"first connection with {here.ports} ports: under cProfile", parts)


def _turn(here: Host, one: Worker, kind: str) -> dict[str, Any]:
    pairs = here.pairs(kind)
    profiles = {}
    for verb in ("plug", "re-plug", "unplug"):
        here.settle()
        profiles[verb] = one.call("profile", verb=verb.removeprefix("re-"), pairs=pairs)
    return profiles


def _by_function(profile: Mapping[str, Any]) -> dict[str, float]:
    """Milliseconds by what the caller's thread does."""
    parts = {
        part: 1000 * sum(_cumulative(profile["caller"], *one) for one in functions)
        for part, functions in _CALLER.items()
    }
    parts["the rest"] = 1000 * profile["seconds"] - sum(parts.values())
    return parts


def _cumulative(lines: Iterable[Line], file: str, function: str) -> float:
    return sum(float(line[3]) for line in lines if line[0].endswith(file) and line[1] == function)


def _by_file(lines: Iterable[Line]) -> dict[str, float]:
    """Milliseconds by where the functions of a thread are."""
    parts = dict.fromkeys([*_CONNECTING, "the rest"], 0.0)
    for file, function, own, _ in lines:
        parts[_part(file, function)] += 1000 * own
    return parts


def _part(file: str, function: str) -> str:
    for part, places in _CONNECTING.items():
        if any(place in file or (file == "~" and place in function) for place in places):
            return part
    return "the rest"


def _medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {part: statistics.median(turn[part] for turn in turns) for part in turns[0]}


def _note(found: Results, what: str, parts: Mapping[str, float]) -> None:
    found.facts.setdefault("profiles", {})[what] = dict(parts)
