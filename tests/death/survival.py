# SPDX-License-Identifier: Apache-2.0
"""What must be true after a verb in which something went wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from os_vif.exception import ExceptionBase
from os_vif.wiring.errors import OutcomeUnknown
from tests.death.hosts import Host
from tests.rig.snapshot import Facts, difference
from tests.rig.stopwatch import stopwatch
from tests.rig.tracing import PASS, Call, Tracer

#: Seconds for a verb beyond its deadline; the machine may be busy.
GRACE = 3.0


@dataclass(frozen=True)
class Outcome:
    """What became of a verb."""

    #: What went wrong; None if nothing did.
    hit: str | None
    #: Whether the verb came so far that it could.
    reached: bool
    #: Whether it ended by itself, and what it raised then.
    ended: bool
    error: Exception | None = None


class Disturbance(Protocol):
    """Lets something go wrong in a verb."""

    @property
    def kind(self) -> str:
        """Its column in the table of results."""

    def run(self, work: Callable[[], object]) -> Outcome: ...


@dataclass(frozen=True)
class States:
    """What a host looks like before and after verbs that nothing disturbs."""

    before: Facts
    after: dict[str, Facts]
    #: The calls of each verb by role, whether each is to a peer; another run may have a few more.
    calls: dict[str, dict[str, list[bool]]]

    def ahead_of(self, verb: str) -> Facts:
        """What the host looks like when that verb begins."""
        verbs = list(self.after)
        return self.after[verbs[verbs.index(verb) - 1]] if verb != verbs[0] else self.before


@dataclass
class Result:
    """What became of a host."""

    #: See `Outcome`.
    hit: str | None
    reached: bool
    problems: list[str] = field(default_factory=list)
    #: Addresses that did not answer before the verb was done again.
    silent: list[str] = field(default_factory=list)


def undisturbed(host: Host, every: bool = False) -> States:
    """Do all verbs of a host without disturbing them.

    :param every: count harmless calls, too.
    """
    after, calls = {}, {}
    made: dict[str, list[bool]] = {}

    def note(call: Call) -> frozenset[str]:
        made.setdefault(call.role, []).append(call.is_to_peer())
        return PASS

    with host.fresh():
        before = host.look()
        for verb, work in host.verbs.items():
            made.clear()
            trace = Tracer(note).run(work, every=every)
            if trace.error:
                raise trace.error
            after[verb], calls[verb] = host.look(), dict(made)
    return States(before, after, calls)


def survive(host: Host, states: States, verb: str, disturbance: Disturbance) -> Result:
    """Disturb a verb, judge what is left, do the verb again, and those that come after it."""
    verbs = list(host.verbs)
    with host.fresh() as machine:
        for former in verbs[: verbs.index(verb)]:
            host.do(former)
        with stopwatch() as lap:
            outcome = disturbance.run(host.verbs[verb])
        result = Result(outcome.hit, outcome.reached)
        if outcome.hit:
            result.silent = host.unreachable(machine)
        if outcome.ended:
            result.problems += _lies(host, states, verb, outcome)
        if lap.own > host.timeout + GRACE:
            result.problems.append(f"it took {lap}")
        for each in verbs[verbs.index(verb) :]:
            host.do(each)
            if left := difference(states.after[each], host.look()):
                result.problems.append(f"after {each}: {left}")
            if outcome.hit and (silent := host.unreachable(machine)):
                result.problems.append(f"after {each}, no answer from {silent}")
        return result


def _lies(host: Host, states: States, verb: str, outcome: Outcome) -> Iterator[str]:
    """Say what a verb that has ended by itself says and is not so.

    A removal that fails need not have removed nothing; garbage collection may raise anything.
    """
    error = outcome.error
    if error is None:
        if left := difference(states.after[verb], host.look()):
            yield f"it succeeded, but: {left}"
    elif not isinstance(error, ExceptionBase):
        if verb != "gc":
            yield f"it raised {error!r}"
    elif verb != "plug" or error.code == OutcomeUnknown.code:
        return
    elif left := difference(states.ahead_of(verb), host.look()):
        yield f"it raised {error}, but: {left}"
