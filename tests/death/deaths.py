# SPDX-License-Identifier: Apache-2.0
"""Every point at which a process, its helper, or a program of that may die."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.death.survival import Outcome
from tests.rig.tracing import PASS, WATCH, Call, Tracer

#: Whose calls are counted -> who dies there. While one works for another, that only waits: so who
#: asked dies in its own calls, and all die at once in those of who works. A program that is left
#: alone comes to its end.
ALL = frozenset({"process", "helper", "program"})
VICTIMS = {
    role: [frozenset({role}), *([ALL] if role != "process" else [])]
    for role in ("process", "helper", "program")
}
#: So many calls more are tried than there were, for another run may have a few more.
MORE = 2


@dataclass(frozen=True)
class Death:
    """Of whom, and when: before the n-th call of a role, or right after the n-th to a peer.

    A peer goes on by itself: it may not have begun when the caller dies right after the call, and
    may have finished when that dies before its next one. The kernel has, when a call returns.

    :param every: harmless calls are counted, too.
    """

    role: str
    number: int
    victims: frozenset[str]
    after: bool = False
    every: bool = False

    def __str__(self) -> str:
        when = "after" if self.after else "before"
        return f"{self.kind} killed {when} call {self.number} of the {self.role}"

    @property
    def kind(self) -> str:
        """Who dies, in a word."""
        return "all" if len(self.victims) > 1 else "".join(self.victims)

    def run(self, work: Callable[[], object]) -> Outcome:
        """Do something in a process that may die of it."""
        left = self.number

        def act(call: Call) -> frozenset[str] | str:
            nonlocal left
            if call.returned is not None:
                return self.victims
            if call.role != self.role or (self.after and not call.is_to_peer()):
                return PASS
            left -= 1
            if left:
                return PASS
            return WATCH if self.after else self.victims

        trace = Tracer(act).run(work, every=self.every)
        hit = str(trace.killed) if trace.killed else None
        return Outcome(hit, left <= 0, trace.ended, trace.error)


def deaths(calls: Mapping[str, Sequence[bool]], every: bool = False) -> Iterator[Death]:
    """Return all deaths in a verb.

    :param calls: of each role, whether each of its calls is sent to a peer.
    """
    for role, sent in calls.items():
        for victims in VICTIMS[role]:
            for after, count in ((False, len(sent)), (True, sum(sent))):
                for number in range(1, count + 1 + MORE):
                    yield Death(role, number, victims, after, every)
