# SPDX-License-Identifier: Apache-2.0
"""The measurements: each takes a plan and adds to the results."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from benchmarks import profiles, results
from benchmarks.client import FLOOR, OURS, PEER, Worker
from benchmarks.host import KINDS, Host, Pair, StatisticsWriter, host
from benchmarks.results import Results

LIBRARIES = (OURS, PEER)


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    :param sizes: numbers of ports on the bridge.
    :param budget: seconds after which a case repeats no more; each is done once at least.
    """

    rounds: int = 5
    sizes: tuple[int, ...] = results.SIZES
    modes: tuple[bool, ...] = (False, True)
    budget: float = 90.0

    def repeat(self) -> Iterator[int]:
        """The numbers of the rounds, as long as there is time."""
        end = time.monotonic() + self.budget
        for number in range(self.rounds):
            if number and time.monotonic() >= end:
                return
            yield number

    def size(self, wanted: int) -> int:
        """The size nearest to the wanted one that is measured at all."""
        return min(self.sizes, key=lambda size: abs(size - wanted))


# plug, re-plug, unplug --------------------------------------------------------------------------


def verbs(plan: Plan, found: Results) -> None:
    """Plug, re-plug and unplug one VIF, of each kind, with more and more ports."""
    for size in plan.sizes:
        with host(size) as here:
            for daemon in plan.modes:
                with workers(here, (OURS, PEER, FLOOR), daemon) as those:
                    _verbs(plan, found, here, those, daemon)
                    if size == plan.size(1000):
                        _count(found, here, those)
            if size == plan.size(1000):
                profiles.measure(here, found)


def _verbs(plan: Plan, found: Results, here: Host, those: list[Worker], daemon: bool) -> None:
    for kind in KINDS:
        for one in those:
            _prove(here, one, kind)
        for _ in plan.repeat():
            for one, verb, pairs in _turns(here, those, kind):
                here.settle()
                took = one.call("each", verb=verb.removeprefix("re-"), pairs=pairs)
                found.add(results.verb(verb, kind, here.ports, daemon), one.who, *took)


def _turns(here: Host, those: list[Worker], kind: str) -> Iterator[tuple[Worker, str, list[Pair]]]:
    """Who does what in one round; each has a VIF of its own."""
    for one in those:
        pairs = here.pairs(kind)
        for verb in results.VERBS:
            yield one, verb, pairs


def _prove(here: Host, one: Worker, kind: str) -> None:
    """Warm up, and see that the work is done."""
    pairs = here.pairs(kind)
    one.call("configure", options=KINDS[kind])
    one.call("each", verb="plug", pairs=pairs)
    here.check_plugged(pairs, kind)
    one.call("each", verb="unplug", pairs=pairs)
    here.check_clean()


def _count(found: Results, here: Host, those: list[Worker]) -> None:
    """Count what each verb asks of vswitchd, and how much work it makes of it."""
    counted = found.facts.setdefault("configurations", {})
    for kind, options in KINDS.items():
        for one in those:
            one.call("configure", options=options)
        for one, verb, pairs in _turns(here, those, kind):
            before = here.reconfigurations(), here.ovs.next_cfg()
            one.call("each", verb=verb.removeprefix("re-"), pairs=pairs)
            after = here.reconfigurations(), here.ovs.next_cfg()
            asked, made = after[1] - before[1], after[0] - before[0]
            counted.setdefault(f"{verb} {kind}", {})[one.who] = f"{asked} / {made}"


# Many at once -----------------------------------------------------------------------------------


def threads(plan: Plan, found: Results) -> None:
    """10 threads, 1 and 6 VIFs each."""
    with host(plan.size(results.THREADS.ports)) as here:
        for daemon in plan.modes:
            with workers(here, LIBRARIES, daemon) as those:
                _warm_up(here, those)
                for _ in plan.repeat():
                    for one in those:
                        _at_once(found, here, one, replace(results.BURST, daemon=daemon), 10)
                        _at_once(found, here, one, replace(results.THREADS, daemon=daemon), 60)


def _at_once(found: Results, here: Host, one: Worker, case: results.Case, count: int) -> None:
    """Plug from 10 threads; count the reconfigurations of vswitchd that it took."""
    pairs = here.pairs("tap", count)
    before = here.reconfigurations()
    took = one.call("together", verb="plug", pairs=pairs, threads=10)
    made = here.reconfigurations() - before
    case = replace(case, ports=here.ports)
    found.add(case, one.who, took)
    found.add(replace(case, unit=results.RECONFIGURATIONS), one.who, made)
    here.clear(pairs)


def plug_all(plan: Plan, found: Results) -> None:
    """100 VIFs in one call; the release has only one by one."""
    with host(plan.size(results.PLUG_ALL.ports)) as here:
        for daemon in plan.modes:
            with workers(here, LIBRARIES, daemon) as those:
                _warm_up(here, those)
                for _ in plan.repeat():
                    for one in those:
                        _all(found, here, one, daemon)


def _all(found: Results, here: Host, one: Worker, daemon: bool) -> None:
    pairs = here.pairs("tap", 100)
    for verb, case in (("plug", results.PLUG_ALL), ("unplug", results.UNPLUG_ALL)):
        if one.who == OURS:
            took = one.call("all", verb=verb, pairs=pairs)
            if took is None:
                found.facts["plug_all"] = "not there yet"
                return
        else:
            took = sum(one.call("each", verb=verb, pairs=pairs))
        found.add(replace(case, ports=here.ports, daemon=daemon), one.who, took)
    here.check_clean()


# One process ------------------------------------------------------------------------------------


def imports(plan: Plan, found: Results) -> None:
    """Import and initialize in a fresh process, and the first plug, so that nothing hides."""
    with host(results.IMPORT.ports) as here:
        for daemon in plan.modes:
            for number in range(-1, plan.rounds):  # the first round makes the byte code
                for who in LIBRARIES:
                    with Worker(who, here.ovs.remote, daemon) as one:
                        pairs = here.pairs("tap")
                        (first,) = one.call("each", verb="plug", pairs=pairs)
                        one.call("each", verb="unplug", pairs=pairs)
                    if number < 0:
                        found.facts.setdefault("versions", {})[who] = one.started["versions"]
                        continue
                    took = one.started["seconds"]
                    found.add(replace(results.IMPORT, daemon=daemon), who, took)
                    found.add(replace(results.FIRST_PLUG, daemon=daemon), who, took + first)


def first_connection(plan: Plan, found: Results) -> None:
    """The first verb of a process, less the second: a re-plug, which writes nothing."""
    with host(plan.size(results.FIRST_CONNECTION.ports)) as here:
        pairs = here.pairs("tap")
        with workers(here, [PEER]) as (plugger,):
            plugger.call("each", verb="plug", pairs=pairs)
        for _ in plan.repeat():
            for who in LIBRARIES:
                with Worker(who, here.ovs.remote) as one:
                    before = one.call("resident")
                    (first,) = one.call("each", verb="plug", pairs=pairs)
                    grown = one.call("resident") - before
                    (second,) = one.call("each", verb="plug", pairs=pairs)
                case = replace(results.FIRST_CONNECTION, ports=here.ports)
                found.add(case, who, first - second)
                found.add(replace(results.MEMORY, ports=here.ports), who, grown)
        profiles.first_connection(here, pairs, found)


def idle(plan: Plan, found: Results) -> None:
    """Clients that do nothing, while a writer updates the statistics of all ports every 5 s."""
    with host(plan.size(results.IDLE.ports)) as here, workers(here, LIBRARIES) as those:
        _warm_up(here, those)
        writer = StatisticsWriter(here.ovs)
        case = replace(results.IDLE, ports=here.ports)
        for _ in range(plan.rounds):
            before = [one.call("cpu") for one in those]
            writer.write()
            time.sleep(5)
            for one, used in zip(those, before, strict=True):
                found.add(case, one.who, one.call("cpu") - used)
        writer.close()


@contextmanager
def workers(here: Host, whose: Iterable[str], daemon: bool = False) -> Iterator[list[Worker]]:
    """Start processes that are connected to a host."""
    with ExitStack() as stack:
        yield [stack.enter_context(Worker(who, here.ovs.remote, daemon)) for who in whose]


def _warm_up(here: Host, those: list[Worker]) -> None:
    for one in those:
        pairs = here.pairs("tap")
        one.call("each", verb="plug", pairs=pairs)
        one.call("each", verb="unplug", pairs=pairs)


CASES = {
    "verbs": verbs,
    "threads": threads,
    "plug_all": plug_all,
    "imports": imports,
    "first_connection": first_connection,
    "idle": idle,
}
