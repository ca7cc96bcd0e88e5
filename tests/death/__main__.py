# SPDX-License-Identifier: Apache-2.0
"""Let every verb of every kind die, and fail, at every point; print the points and what is wrong.

``tools/private-namespace python -m tests.death [--only NAME] [--every] [--sample N --seed N]``
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from tests.death.deaths import MORE, deaths
from tests.death.hosts import Host, of_linux_bridge, of_ovs
from tests.death.refusals import refusals
from tests.death.survival import Disturbance, Result, States, survive, undisturbed

COLUMNS = ("process", "helper", "all", "program", "netlink", "OVSDB")


@dataclass
class Tally:
    """The points of a verb of a host, by who died or what failed."""

    host: str
    verb: str
    points: Counter[str] = field(default_factory=Counter)
    #: Points after which something was wrong: what.
    wrong: list[str] = field(default_factory=list)
    #: Points after which an address did not answer until the next call.
    silent: list[str] = field(default_factory=list)

    def add(self, what: Disturbance, result: Result) -> None:
        """Count a point, if it was one."""
        self.points[what.kind] += result.hit is not None
        where = f"{self.host}, {self.verb}: {what} ({result.hit})"
        self.wrong += [f"{where}: {problem}" for problem in result.problems]
        self.silent += [where] * bool(result.silent)

    def __str__(self) -> str:
        counts = "".join(f"{self.points[column]:>9}" for column in COLUMNS)
        return f"{self.host:<42}{self.verb:<8}{counts}{len(self.silent):>8}{len(self.wrong):>7}"


HEADER = f"{'host':<42}{'verb':<8}" + "".join(
    f"{name:>{width}}"
    for name, width in [*((each, 9) for each in COLUMNS), ("silent", 8), ("wrong", 7)]
)


def rows(
    host: Host, states: States, verb: str, every: bool
) -> Iterator[tuple[int, Iterator[Disturbance]]]:
    """Return all rows of disturbances, each with how many times it may be in vain at its end."""
    yield sys.maxsize, deaths(states.calls[verb], every)
    if not every:
        for row in refusals(host):
            yield MORE, row


def tried(host: Host, verb: str, states: States, every: bool) -> Tally:
    """Try all points of a verb."""
    tally = Tally(host.name, verb)
    for patience, row in rows(host, states, verb, every):
        left = patience
        for what in row:
            result = attempt(host, states, verb, what)
            tally.add(what, result)
            left -= not result.reached
            if not left:
                break
    return tally


def attempt(host: Host, states: States, verb: str, what: Disturbance) -> Result:
    """Try one point; whatever it raises is a problem, too."""
    try:
        return survive(host, states, verb, what)
    except Exception as error:
        result = Result("?", True, [repr(error)])
        for each in list(host.verbs)[1:]:  # to begin the next point as ever
            try:
                host.do(each)
            except Exception as another:
                result.problems.append(f"then {each}: {another!r}")
        return result


def sampled(host: Host, states: States, number: int, choose: random.Random) -> Iterator[Tally]:
    """Try some points of a host, of which some may turn out to be none."""
    tallies = {verb: Tally(host.name, verb) for verb in host.verbs}
    busy = [verb for verb, calls in states.calls.items() if len(calls["process"]) > 1]
    for _ in range(number):
        verb = choose.choice(busy)
        some, *others = ([*islice(row, 1000)] for _, row in rows(host, states, verb, every=False))
        # What may be refused or lost first are the verb's questions, then its changes.
        what = choose.choice(choose.choice([some, some, *(row[:8] for row in others)]))
        tallies[verb].add(what, attempt(host, states, verb, what))
    yield from tallies.values()


def hosts(only: Iterable[str]) -> Iterator[Host]:
    """Return all hosts, or those of these names."""
    names = set(only)
    for host in chain(of_ovs(), of_linux_bridge()):
        if not names or host.name in names:
            yield host


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="names of hosts")
    parser.add_argument("--every", action="store_true", help="deaths at harmless calls, too")
    parser.add_argument("--sample", type=int, help="so many points of each host")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    choose, tallies, began = random.Random(arguments.seed), [], time.monotonic()
    print(HEADER, flush=True)
    for host in hosts(arguments.only):
        states = undisturbed(host, arguments.every)
        if arguments.sample:
            some = sampled(host, states, arguments.sample, choose)
        else:
            some = (tried(host, verb, states, arguments.every) for verb in host.verbs)
        for tally in some:
            tallies.append(tally)
            print(tally, *tally.wrong, sep="\n", flush=True)
    points = sum(sum(tally.points.values()) for tally in tallies)
    wrong = [each for tally in tallies for each in tally.wrong]
    silent = [each for tally in tallies for each in tally.silent]
    print(f"{points} points in {time.monotonic() - began:.0f} s, {len(wrong)} wrong")
    print(
        f"{len(silent)} after which an address was silent until the next call", *silent, sep="\n"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
