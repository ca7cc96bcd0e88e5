# SPDX-License-Identifier: Apache-2.0
"""What was measured, and the targets."""

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.client import FLOOR, OURS, PEER

#: The unit of how often vswitchd goes over its whole configuration.
RECONFIGURATIONS = "reconfigurations of vswitchd"


@dataclass(frozen=True)
class Case:
    """One thing that is measured of each library."""

    name: str
    ports: int
    daemon: bool = False  # whether what is privileged was done by oslo.privsep's daemon
    unit: str = "ms"


@dataclass(frozen=True)
class Target:
    """How much of the other's figure ours may be at the most."""

    case: Case
    ratio: float
    against: str = PEER


@dataclass
class Results:
    """All figures: case -> who -> one value for each repetition."""

    figures: dict[Case, dict[str, list[float]]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, case: Case, who: str, *values: float) -> None:
        """Add repetitions, times in seconds, memory in bytes."""
        factor = {"ms": 1000, "MiB": 2**-20, RECONFIGURATIONS: 1}[case.unit]
        found = self.figures.setdefault(case, {}).setdefault(who, [])
        found.extend(value * factor for value in values)

    def median(self, case: Case, who: str) -> float | None:
        """The median; None if it was not measured."""
        values = self.figures.get(case, {}).get(who)
        return statistics.median(values) if values else None

    def ratio(self, case: Case, against: str = PEER) -> float | None:
        """Ours divided by another's; None if either was not measured."""
        ours, other = self.median(case, OURS), self.median(case, against)
        return None if ours is None or not other else ours / other

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        cases = [{**asdict(case), "figures": found} for case, found in self.figures.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"facts": self.facts, "cases": cases}, indent=1))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; nothing if there is no such file."""
        self = cls()
        if path.exists():
            read = json.loads(path.read_text())
            self.facts = read["facts"]
            for one in read["cases"]:
                figures = one.pop("figures")
                self.figures[Case(**one)] = figures
        return self

    def update(self, newer: "Results") -> None:
        """Replace the cases and facts that were measured anew."""
        self.figures.update(newer.figures)
        profiles = {**self.facts.get("profiles", {}), **newer.facts.pop("profiles", {})}
        self.facts.update(newer.facts, profiles=profiles)


SIZES = (10, 200, 1000, 2000)
VERBS = ("plug", "re-plug", "unplug")
KINDS = ("tap", "hybrid", "per-port bridge")

IMPORT = Case("import + initialize", 10)
FIRST_PLUG = Case("import + initialize + first plug", 10)
FIRST_CONNECTION = Case("first connection", 2000)
MEMORY = Case("growth of resident memory by it", 2000, unit="MiB")
IDLE = Case("CPU of an idle client for each update of all statistics", 1000)
THREADS = Case("60 plugs from 10 threads", 2000)
BURST = Case("10 plugs from 10 threads", 2000)
PLUG_ALL = Case("plug_all of 100 VIFs", 1000)
UNPLUG_ALL = Case("unplug_all of 100 VIFs", 1000)


def verb(name: str, kind: str, ports: int, daemon: bool = False) -> Case:
    """The case of one verb."""
    return Case(f"{name} {kind}", ports, daemon)


def targets() -> Iterator[Target]:
    """The table of targets."""
    most = {"tap": 0.45, "hybrid": 0.45, "per-port bridge": 0.30}
    for kind, ratio in most.items():
        yield Target(verb("plug", kind, 1000), ratio)
        yield Target(verb("unplug", kind, 1000), ratio)
    for kind in KINDS:
        yield Target(verb("re-plug", kind, 1000), 0.05)
    yield Target(THREADS, 0.08)
    yield Target(PLUG_ALL, 0.05)
    yield Target(UNPLUG_ALL, 0.05)
    yield Target(verb("plug", "tap", 10), 0.6)
    yield Target(IMPORT, 0.6)
    yield Target(FIRST_CONNECTION, 0.5)
    yield Target(MEMORY, 0.7)
    yield Target(IDLE, 0.05)
    for kind in KINDS:
        yield Target(verb("plug", kind, 1000), 1.15, FLOOR)
        yield Target(verb("unplug", kind, 1000), 1.15, FLOOR)
