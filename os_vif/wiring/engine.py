# SPDX-License-Identifier: Apache-2.0
"""What makes wirings so: observe, plan, execute; on failure roll back and raise.

A verb for one VIF is a batch of one. In a batch every VIF has its own plan and its own failure;
what they share is one observation, one privileged call, one transaction and one wait.

What may have taken effect is rolled back: a step counts as executed before it is sent, until an
answer tells that it was not. Hence an interruption at any point (the timeout of a greenthread,
KeyboardInterrupt) leaves nothing behind.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, cast

from oslo_log import log as logging

from os_vif import observers
from os_vif.wiring import errors, ownership
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.differences import OWNER, Difference, report
from os_vif.wiring.elements.element import Plan, Scope
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Whose
from os_vif.wiring.plan import damage, to_apply, to_remove
from os_vif.wiring.rollback import links_back, rows_back
from os_vif.wiring.rows_first import is_rows_first
from os_vif.wiring.state import Found, Link, Port
from os_vif.wiring.steps import (
    CreateBridge,
    CreatePort,
    DeleteLink,
    LinkStep,
    Removal,
    RemovePort,
    RowStep,
    SetLink,
)

LOG = logging.getLogger(__name__)

L = TypeVar("L", bound=LinkStep)

#: How often a verb looks again after another process has changed what it was about to change.
ATTEMPTS = 5
#: Seconds in which a failed verb is rolled back, even past its deadline.
ROLLBACK_SECONDS = 0.5
#: Seconds in which ovs-vswitchd notices a device that came after its row, before it is asked to go
#: over its whole configuration once more.
NOTICE_SECONDS = 0.5


class Links(Protocol):
    """The kernel's network devices."""

    def observe(self, names: Iterable[str], addressed: Collection[str] = ()) -> Mapping[str, Link]:
        """Read the links of these names that are there; needs no privilege.

        :param addressed: those whose addresses are to be read as well.
        """
        ...

    def execute(
        self, groups: Sequence[Sequence[LinkStep]], deadline: Deadline, *, go_on: bool = False
    ) -> list[Exception | None]:
        """Execute groups of steps in one privileged call; a failure ends its group only.

        :param deadline: for the answer of the privileged daemon.
        :param go_on: let a failure not even end its group.
        :returns: for each group None, or why it failed: LinkFailed, StateChanged where a link of
            that name has come or gone, InvalidValue where the daemon does not take such a step.
            Their ``executed``, 0 without it, says how many steps stay.
        :raises DeadlineExceeded: the daemon did not answer.
        :raises StateChanged: the daemon ended before it answered.
        :raises Exception: the daemon could not be started. After any of these, how many steps
            were executed is unknown.
        """


class Rows(Protocol):
    """The database of Open vSwitch and the daemon that follows it."""

    def observe(
        self, bridges: Collection[str], ports: Mapping[str, str], deadline: Deadline
    ) -> Found:
        """Read the rows of these names as the server has them now (and no links).

        :param ports: name -> the bridge where it is likely to be.
        :raises NotConnected: the server cannot be reached by the deadline.
        """

    def commit(self, steps: Sequence[RowStep], deadline: Deadline) -> int | None:
        """Execute the steps in one transaction; return the configuration number it made (None when
        there turned out to be nothing to do).

        :raises StateChanged: what the steps build on has changed; nothing was written.
        :raises TransactionRefused: nothing was written.
        :raises NotConnected: it could not be sent; nothing was written.
        :raises OutcomeUnknown: the server stopped answering after the transaction was sent.
        """

    def count_up(self, deadline: Deadline) -> int:
        """Have ovs-vswitchd go over its whole configuration once more: count ``next_cfg`` up, and
        change nothing else; return the number that it made.

        :raises WiringError: as :meth:`commit`.
        """
        ...

    def wait_for_vswitchd(self, cfg: int, deadline: Deadline) -> bool:
        """Wait until ovs-vswitchd has caught up with a configuration number; False if it
        has not by the deadline."""

    def device_states(
        self, ports: Mapping[str, int], deadline: Deadline, *, wait: bool
    ) -> Mapping[str, Port]:
        """Return what ovs-vswitchd says of these ports; those that are gone are left out.

        :param ports: name -> the index of its device; 0 for whichever device.
        :param wait: whether to wait, by the deadline, for each of them to work or to go.
        """
        ...


@dataclass(eq=False)
class _Job:
    """One wiring on its way through the engine; two equal wirings of one call are two jobs."""

    wiring: Wiring
    plan: Plan = field(default_factory=Plan)
    found: Found = field(default_factory=Found)
    failure: Exception | None = None
    #: Steps for the kernel that may have been executed, and whether their number was answered.
    links_executed: int = 0
    links_known: bool = True
    #: Whether the rows may have been written.
    rows_sent: bool = False
    #: What could not be rolled back, and why.
    left: str = ""
    #: The configuration number that ovs-vswitchd has to reach for this wiring.
    cfg: int | None = None

    @property
    def links_done(self) -> Sequence[LinkStep]:
        """The part of the plan for the kernel that may have taken effect."""
        return self.plan.links[: self.links_executed]


class _Attempts:
    """Wirings that go through the engine together, some of them more than once."""

    def __init__(self, wirings: Iterable[Wiring], deadline: Deadline) -> None:
        self._jobs = [_Job(wiring) for wiring in wirings]
        self._deadline = deadline

    def __iter__(self) -> Iterator[list[_Job]]:
        """Yield all jobs; then, for a few times, fresh ones of those that failed because another
        process was faster, or the server went away during a commit."""
        again = list(range(len(self._jobs)))
        for _ in range(ATTEMPTS):
            fresh = [_Job(self._jobs[i].wiring) for i in again]
            yield fresh
            for i, job in zip(again, fresh, strict=True):
                job.left = job.left or self._jobs[i].left
                if not _is_still_unknown(self._jobs[i].failure, job.failure):
                    self._jobs[i] = job
            again = [i for i in again if _is_worth_a_look(self._jobs[i].failure, self._deadline)]
            if not again:
                break
            LOG.info("%s; looking again", self._jobs[again[0]].failure)

    def outcomes(self) -> list[Exception | None]:
        """Return for each wiring None, or why it failed."""
        return [_raised(job) for job in self._jobs]


class Engine:
    """Applies and removes wirings with two backends.

    :param links: the kernel.
    :param rows: OVSDB; None where no wiring needs it.
    :param strict: whether a device that ovs-vswitchd cannot work with makes a verb fail; else it
        is logged.
    """

    def __init__(self, links: Links, rows: Rows | None = None, *, strict: bool = True) -> None:
        self._links = links
        self._rows = cast(Rows, rows)  # wirings of links alone never ask for it
        self._strict = strict

    def apply(self, wiring: Wiring, deadline: Deadline) -> None:
        """Make the host as described, all or nothing.

        :raises WiringError: see :mod:`os_vif.wiring.errors`; the host is as before, unless the
            error is OutcomeUnknown (or its NotRolledBack).
        """
        _raise_first(self.apply_all([wiring], deadline))

    def remove(self, wiring: Wiring, deadline: Deadline) -> None:
        """Remove the described, and what the VIF has from other settings.

        :raises WiringError: see :mod:`os_vif.wiring.errors`.
        """
        _raise_first(self.remove_all([wiring], deadline))

    def check(self, wiring: Wiring, deadline: Deadline) -> tuple[Difference, ...]:
        """Return what is not as it was built; nothing is changed.

        :raises NotConnected: the OVSDB server cannot be reached by the deadline.
        """
        return damage(wiring, self._observe([wiring], deadline))

    def apply_all(self, wirings: Sequence[Wiring], deadline: Deadline) -> list[Exception | None]:
        """Apply several wirings; one that fails is rolled back alone.

        :returns: for each wiring None, or what :meth:`apply` would have raised.
        """
        attempts = _Attempts(wirings, deadline)
        for jobs in attempts:
            try:
                found = self._plan(jobs, to_apply, deadline)
                _refuse_shared_ports(jobs)
                rows_first = is_rows_first([job.plan for job in _live(jobs)], found)
                if rows_first:
                    self._commit(jobs, deadline)
                self._change_links(jobs, deadline)
                if not rows_first:
                    self._commit(jobs, deadline)
                self._wait_for_vswitchd(jobs, deadline)
                final = not rows_first and any(job.rows_sent and job.cfg for job in _live(jobs))
                links = self._verify(jobs, deadline, final=final)
                self._set_up_again(jobs, links, deadline)
            except BaseException as interruption:  # a greenthread's timeout, for instance
                _fail(jobs, interruption)
                if not isinstance(interruption, Exception):
                    raise
            finally:
                self._roll_back(jobs, deadline)
        return attempts.outcomes()

    def remove_all(self, wirings: Sequence[Wiring], deadline: Deadline) -> list[Exception | None]:
        """Remove several wirings; one that fails stays alone.

        :returns: for each wiring None, or what :meth:`remove` would have raised.
        """
        attempts = _Attempts(wirings, deadline)
        for jobs in attempts:
            try:
                self._plan(jobs, to_remove, deadline)
                self._commit(jobs, deadline)
                # While ovs-vswitchd catches up.
                self._change_links(jobs, deadline, _only(DeleteLink))
                for job in self._behind(jobs, deadline):
                    _warn_of_late_removal(job, deadline)
                # Letting go of a device that stays, ovs-vswitchd writes back the flags it read.
                self._release(jobs, deadline)
            except Exception as failure:
                _fail(jobs, failure)
        return attempts.outcomes()

    def _release(self, jobs: list[_Job], deadline: Deadline) -> None:
        """Set down the devices that stay, but none that another process has plugged again: looked
        for before, and afterwards for what came in between."""
        releasing = [job for job in _live(jobs) if _only(SetLink)(job)]
        taken = self._taken_again(releasing, deadline)
        free = [job for job in releasing if job not in taken]
        self._change_links(free, deadline.at_least(ROLLBACK_SECONDS), _only(SetLink))
        taken = self._taken_again(_live(free), deadline)
        self._change_links(taken, deadline.at_least(ROLLBACK_SECONDS / 2), _former_attributes)

    def _taken_again(self, jobs: list[_Job], deadline: Deadline) -> list[_Job]:
        """Return those of whose devices, whose ports were removed, there is a port again."""
        ports = self._found_now(jobs, deadline.at_least(ROLLBACK_SECONDS / 4)).ports
        return [job for job in jobs if any(step.name in ports for step in _only(SetLink)(job))]

    def _plan(
        self, jobs: list[_Job], plan: Callable[[Wiring, Found], Plan], deadline: Deadline
    ) -> Found:
        found = self._observe([job.wiring for job in jobs], deadline)
        for job in jobs:
            job.found, job.plan = found, plan(job.wiring, found)
            if job.plan.refused:
                job.failure = _contradiction(job.plan.refused)
            elif job.plan.reported:
                LOG.warning("Left as it is: %s", report(job.plan.reported))
            if job.plan.awaited and not job.plan:  # another process has written it just now
                job.cfg = found.pending
        return found

    def _observe(self, wirings: Sequence[Wiring], deadline: Deadline) -> Found:
        scope = Scope.joined(wiring.scope for wiring in wirings)
        has_rows = scope.bridges or scope.ports
        rows = self._rows.observe(scope.bridges, scope.ports, deadline) if has_rows else Found()
        return replace(rows, links=self._links.observe(scope.links, scope.addressed))

    def _found_now(self, jobs: list[_Job], deadline: Deadline) -> Found:
        """Return what is found; nothing where that cannot be said."""
        with contextlib.suppress(errors.WiringError, OSError):
            return self._observe([job.wiring for job in jobs], deadline) if jobs else Found()
        return Found()

    def _observe_links(self, wirings: Iterable[Wiring]) -> Mapping[str, Link]:
        scope = Scope.joined(wiring.scope for wiring in wirings)
        return self._links.observe(scope.links, scope.addressed)

    def _change_links(
        self,
        jobs: list[_Job],
        deadline: Deadline,
        steps_of: Callable[[_Job], Sequence[LinkStep]] = lambda job: job.plan.links,
    ) -> None:
        every = [(job, steps_of(job)) for job in _live(jobs)]
        changing = [(job, steps) for job, steps in every if steps]
        if not changing:
            return
        for job, steps in changing:
            job.links_executed, job.links_known = job.links_executed + len(steps), False
        try:
            failures = self._links.execute([steps for _, steps in changing], deadline)
        except Exception as failure:
            for job, _ in changing:
                job.failure = failure
            return
        for (job, steps), failed in zip(changing, failures, strict=True):
            job.failure, job.links_known = failed, True
            if failed:
                job.links_executed += getattr(failed, "executed", 0) - len(steps)

    def _commit(self, jobs: list[_Job], deadline: Deadline) -> None:
        """Send the rows of all in one transaction; if that fails, of each half in its own."""
        writing = [job for job in _live(jobs) if job.plan.rows]
        if not writing:
            return
        steps: dict[RowStep | str, RowStep] = {}  # a bridge that several need is made once
        for job in writing:
            for i, step in enumerate(job.plan.rows):
                steps.setdefault(_new_bridge(step) or f"{id(job)} {i}", step)
        for job in writing:
            job.rows_sent = True
        try:
            cfg = self._transact(list(steps.values()), deadline)
        except (errors.NotConnected, errors.OutcomeUnknown) as failure:
            for job in writing:
                job.failure = failure
                job.rows_sent = isinstance(failure, errors.OutcomeUnknown)
        except Exception as failure:
            for job in writing:
                job.rows_sent = not isinstance(failure, _NOT_WRITTEN)
            if len(writing) == 1:
                writing[0].failure = failure
                return
            for half in _halves(writing):
                self._commit(half, deadline)
        else:
            for job in writing:
                job.cfg = cfg

    def _transact(self, steps: Sequence[RowStep], deadline: Deadline) -> int | None:
        observers.count("transactions")
        return self._rows.commit(steps, deadline)

    def _caught_up(self, cfg: int, deadline: Deadline) -> bool:
        observers.count("waits")
        return self._rows.wait_for_vswitchd(cfg, deadline)

    def _wait_for_vswitchd(self, jobs: list[_Job], deadline: Deadline) -> None:
        for job in self._behind(jobs, deadline):
            job.failure = _late("ovs-vswitchd has not acted on the new ports", deadline)

    def _behind(self, jobs: list[_Job], deadline: Deadline) -> list[_Job]:
        """Wait until ovs-vswitchd has caught up with all wirings; return those it has not."""
        waiting = {job.cfg for job in _live(jobs) if job.cfg is not None}
        behind = next((cfg for cfg in sorted(waiting) if not self._caught_up(cfg, deadline)), 0)
        return [job for job in _live(jobs) if behind and job.cfg and job.cfg >= behind]

    def _verify(self, jobs: list[_Job], deadline: Deadline, *, final: bool) -> Mapping[str, Link]:
        """See that ovs-vswitchd works with the devices; return the links as they are then.

        :param final: whether ovs-vswitchd has gone over its configuration since the devices were
            there, so that what it could not open it never will.
        """
        waiting = [job for job in _live(jobs) if job.plan.awaited]
        if not waiting:
            return {}
        found, links, unknown = self._opened(waiting, deadline, final=final)
        for job in waiting:
            if gone := [name for name in job.plan.awaited if name not in found]:
                job.failure = errors.StateChanged(what=f"OVS port {gone[0]} is gone")
                continue
            broken = [
                Difference(f"OVS port {name}", *_failure(found[name], _index(links, name)))
                for name in job.plan.awaited
                if not found[name].works_with(_index(links, name))
            ]
            # Nova plugs every running guest when it starts, and does not start if one fails.
            if broken and self._strict and job.plan:
                job.failure = unknown or errors.NotAsDescribed(
                    element=broken[0].where, report=report(broken)
                )
            elif broken:
                LOG.warning("Left as it is: %s", (job.plan and unknown) or report(broken))
        return links

    def _opened(
        self, jobs: list[_Job], deadline: Deadline, *, final: bool
    ) -> tuple[Mapping[str, Port], Mapping[str, Link], Exception | None]:
        """Look until ovs-vswitchd has opened the devices, or will not.

        :returns: what it says of them, the links, and why that is not its last word, if so.
        """
        wirings = [job.wiring for job in jobs]
        names = {name: bool(job.plan) for job in jobs for name in job.plan.awaited}
        found = self._rows.device_states(dict.fromkeys(names, 0), deadline, wait=False)
        links = self._observe_links(wirings)
        late = [
            name
            for name, port in found.items()
            if not port.works_with(_index(links, name)) and (port.works or not final)
        ]
        if not late:
            return found, links, None
        indexes = {name: _index(links, name) for name in names}
        soon = deadline.at_most(NOTICE_SECONDS)
        found = self._rows.device_states(indexes, soon, wait=True)
        unknown = None
        if any(names[name] and not found[name].works_with(indexes[name]) for name in found):
            unknown = self._look_again(deadline)
            found = self._rows.device_states(indexes, deadline, wait=False)
        return found, self._observe_links(wirings), unknown

    def _look_again(self, deadline: Deadline) -> Exception | None:
        """Have ovs-vswitchd go over its configuration once more; return why it has not."""
        try:
            observers.count("transactions")
            if self._caught_up(self._rows.count_up(deadline), deadline):
                return None
        except errors.WiringError as failure:
            if not deadline.expired:  # else the server may only have had no time to answer
                return failure
        return _late("ovs-vswitchd has not looked again at devices it had not opened", deadline)

    def _set_up_again(
        self, jobs: list[_Job], links: Mapping[str, Link], deadline: Deadline
    ) -> None:
        """Repair what ovs-vswitchd has changed: opening a device, it writes back the flags that
        it has read, though we may have set it up in between.

        :param links: as they are now.
        """

        def restored(job: _Job) -> list[LinkStep]:
            plan = to_apply(job.wiring, replace(job.found, links=links))
            return [step for step in plan.links if isinstance(step, SetLink)]

        opened = [job for job in _live(jobs) if job.plan and job.plan.awaited]
        self._change_links(opened, deadline.at_least(ROLLBACK_SECONDS), restored)

    def _roll_back(self, jobs: list[_Job], deadline: Deadline) -> None:
        """Roll back what failed wirings did, as far as that is possible."""
        failed = [job for job in jobs if job.failure]
        if not failed:
            return
        deadline = deadline.at_least(ROLLBACK_SECONDS)
        written = [step for job in _live(jobs) for step in job.plan.rows]
        kept = {name for step in written if (name := _new_bridge(step))}
        kept |= {step.name for step in written if isinstance(step, RemovePort)}
        self._roll_back_rows([job for job in failed if job.rows_sent], kept, deadline)
        changed = [
            job for job in failed if job.links_executed and not self._is_taken_over(job, deadline)
        ]
        try:
            self._roll_back_links(changed, deadline.at_least(ROLLBACK_SECONDS / 2))
        except Exception as err:
            _left(changed, "links", err)

    def _is_taken_over(self, job: _Job, deadline: Deadline) -> bool:
        """Return whether another process has plugged the VIF with the links that this one made.

        Without them its port would have no device, and it would roll that back.
        """
        if not isinstance(job.failure, errors.StateChanged):
            return False
        now = self._found_now([job], deadline)
        new = now.ports.keys() - job.found.ports.keys()
        return any(
            name in new and whose is Whose.THIS
            for element in job.wiring.all_elements
            for name, whose in element.owners(now).items()
        )

    def _roll_back_rows(self, jobs: list[_Job], kept: Collection[str], deadline: Deadline) -> None:
        """Roll the rows of all back in one transaction; if refused, those of each half in its own.

        :param kept: bridges that others need, and ports that they have removed.
        """
        try:
            _retry(lambda: self._write_back(jobs, kept, deadline))
        except _NOT_WRITTEN as err:
            if len(jobs) == 1:
                _left(jobs, "OVSDB", err)
                return
            for half in _halves(jobs):
                self._roll_back_rows(half, kept, deadline)
        except Exception as err:
            _left(jobs, "OVSDB", err)

    def _write_back(self, jobs: list[_Job], kept: Collection[str], deadline: Deadline) -> None:
        # This look waits for what was sent and not answered, as the server answers in order.
        now = self._observe([job.wiring for job in jobs], deadline) if jobs else Found()
        if rows := rows_back([(job.plan, job.found) for job in jobs], now, kept):
            for job in jobs:  # before: the answer may be lost
                job.left = job.left or _made_again(job, rows)
            try:
                self._transact(rows, deadline)
            except _NOT_WRITTEN:
                for job in jobs:
                    job.left = ""
                raise

    def _roll_back_links(self, jobs: list[_Job], deadline: Deadline) -> None:
        unknown = [job.wiring for job in jobs if not job.links_known]
        now = self._observe_links(unknown) if unknown else {}
        back = [
            (job, links_back(job.links_done, job.found, None if job.links_known else now))
            for job in jobs
        ]
        changing = [(job, steps) for job, steps in back if steps]
        if not changing:
            return
        failures = self._links.execute([steps for _, steps in changing], deadline, go_on=True)
        for (job, _), failed in zip(changing, failures, strict=True):
            if failed and not isinstance(failed, errors.StateChanged):
                _left([job], "links", failed)


#: After these nothing was written.
_NOT_WRITTEN = (errors.StateChanged, errors.TransactionRefused)


def _is_worth_a_look(failure: Exception | None, deadline: Deadline) -> bool:
    unknown = isinstance(failure, errors.OutcomeUnknown) and not deadline.expired
    return unknown or isinstance(failure, errors.StateChanged)


def _is_still_unknown(before: Exception | None, now: Exception | None) -> bool:
    """Return whether an outcome is unknown because the server could not be asked again."""
    return isinstance(before, errors.OutcomeUnknown) and isinstance(now, errors.NotConnected)


def _halves(jobs: list[_Job]) -> tuple[list[_Job], list[_Job]]:
    """Few transactions tell the one that the server refuses, or that makes all too large."""
    middle = len(jobs) // 2
    return jobs[:middle], jobs[middle:]


def _refuse_shared_ports(jobs: Iterable[_Job]) -> None:
    """Of two VIFs that want one port the later would take it from the other, unseen by either."""
    owners: dict[str, str] = {}
    for job in _live(jobs):
        marks = {name: mark for e in job.wiring.elements for name, mark in e.claims.items()}
        shared = [
            Difference(f"OVS port {name}", OWNER, owner, f"{owners[name]} of the same call")
            for name, owner in marks.items()
            if owners.get(name, owner) != owner
        ]
        if shared:
            job.failure = _contradiction(shared)
        else:
            owners |= marks


def _contradiction(differences: Sequence[Difference]) -> errors.Contradiction:
    return errors.Contradiction(element=differences[0].where, report=report(differences))


def _live(jobs: Iterable[_Job]) -> list[_Job]:
    return [job for job in jobs if job.failure is None]


def _only(kind: type[L]) -> Callable[[_Job], list[L]]:
    return lambda job: [step for step in job.plan.links if isinstance(step, kind)]


def _former_attributes(job: _Job) -> Sequence[LinkStep]:
    """Return the steps that roll those of ``_only(SetLink)`` back."""
    return links_back(_only(SetLink)(job), job.found, None)


def _new_bridge(step: RowStep) -> str | None:
    return step.bridge.name if isinstance(step, CreateBridge) else None


def _index(links: Mapping[str, Link], name: str) -> int:
    return links[name].index if name in links else 0


def _fail(jobs: Iterable[_Job], error: BaseException) -> None:
    """Let all that have not failed yet fail for the same reason."""
    failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
    for job in _live(jobs):
        job.failure = failure


def _raise_first(failures: Iterable[Exception | None]) -> None:
    for failure in failures:
        if failure is not None:
            raise failure


def _retry(attempt: Callable[[], object]) -> None:
    """Attempt what begins with a look again, when it met with others or was not answered."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(errors.StateChanged, errors.OutcomeUnknown):
            attempt()
            return
    attempt()


def _left(jobs: Iterable[_Job], what: str, err: Exception) -> None:
    LOG.error("A failed change of %s could not be rolled back: %s", what, err)
    for job in jobs:
        job.left = (
            "what had been done may still be there, because it could not be rolled back "
            f"({err}): the same call again, or unplug, will settle it"
        )


def _made_again(job: _Job, rows: Iterable[RowStep]) -> str:
    """Return what is not as before of the ports that a job replaced and a rollback makes again."""
    made = {step.port.name for step in rows if isinstance(step, CreatePort)}
    removed = (step.name for step in job.plan.rows if isinstance(step, RemovePort))
    ports = [job.found.ports[name] for name in removed if name in made]
    if not ports:
        return ""
    said = ", ".join(f"OVS port {port.name} of {ownership.owner_of(port)}" for port in ports)
    return f"{said} was made again, without what os-vif does not read of it, such as other_config"


def _raised(job: _Job) -> Exception | None:
    """Return what is raised of a job's failure; not as if the host were as before, when it is
    not."""
    failure = errors.final(job.failure)
    if failure is None or not job.left or isinstance(failure, errors.OutcomeUnknown):
        return failure
    return errors.NotRolledBack(failure=failure, reason=job.left)


def _late(what: str, deadline: Deadline) -> errors.DeadlineExceeded:
    if not deadline.expired:
        what += "; it did not move while other callers waited for it either"
    return errors.DeadlineExceeded(seconds=deadline.elapsed(), what=what)


def _warn_of_late_removal(job: _Job, deadline: Deadline) -> None:
    removed = (step.name for step in job.plan.rows if isinstance(step, Removal))
    LOG.warning(
        "ovs-vswitchd has not yet acted on the removal of %s after %s s",
        ", ".join(removed),
        deadline.elapsed(),
    )


def _failure(port: Port, index: int) -> tuple[str, object, object]:
    """What, wanted and found of a port that does not work."""
    if port.error:
        return "error", "", port.error
    if port.works:
        return "ifindex", index, port.ifindex
    return "ofport", "a number", "none: ovs-vswitchd could not set it up, its log says why"
