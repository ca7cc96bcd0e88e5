# SPDX-License-Identifier: Apache-2.0
"""What makes wirings so: observe, plan, execute; on failure undo and raise.

A verb for one VIF is a batch of one. In a batch every VIF has its own plan and its own failure;
what they share is one observation, one privileged call, one transaction and one wait.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from oslo_log import log as logging

from os_vif.wiring import errors
from os_vif.wiring.compare import Difference, link_specs
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.model import BridgePort, Element, OvsBridge, OvsPort, Wiring
from os_vif.wiring.plan import Plan, inverse, is_rows_first, to_apply, to_remove
from os_vif.wiring.report import report
from os_vif.wiring.state import Found, Link, Port
from os_vif.wiring.steps import (
    CreateBridge,
    DeleteLink,
    LinkStep,
    Removal,
    RemoveBridge,
    RowStep,
    SetLink,
)

LOG = logging.getLogger(__name__)

#: How often a verb looks again after somebody else has changed what it was about to change.
ATTEMPTS = 5
#: Seconds in which a failed verb takes back what it did, even past its deadline.
UNDO_SECONDS = 0.5
#: Seconds in which ovs-vswitchd finds a device that came after its row, if it can work with it.
LATE_SECONDS = 5


class Links(Protocol):
    """The kernel's network devices."""

    def observe(self, names: Iterable[str], addressed: Collection[str] = ()) -> Mapping[str, Link]:
        """Read the links of these names that are there; needs no privilege.

        :param addressed: those whose addresses are to be read as well.
        """
        ...

    def execute(
        self, groups: Sequence[Sequence[LinkStep]], deadline: Deadline, *, go_on: bool = False
    ) -> list[errors.WiringError | None]:
        """Take groups of steps in one privileged call; a failure ends its group only.

        :param deadline: for the answer of the privileged daemon.
        :param go_on: let a failure not even end its group.
        :returns: for each group None, or why it failed: LinkFailed, or StateChanged where a link
            of that name has come into being. Their ``taken`` says how many steps stay.
        :raises DeadlineExceeded: the daemon did not answer.
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
        """Take the steps in one transaction; return the configuration number it made (None when
        there turned out to be nothing to do).

        :raises StateChanged: what the steps build on has changed; nothing was written.
        :raises TransactionRefused: nothing was written.
        :raises OutcomeUnknown: the server fell silent after the transaction was sent.
        """

    def settled(self, cfg: int, deadline: Deadline) -> bool:
        """Wait until ovs-vswitchd has caught up with a configuration number; False if it
        has not by the deadline."""

    def working(self, ports: Mapping[str, int], deadline: Deadline | None) -> Mapping[str, Port]:
        """Tell what ovs-vswitchd says of these ports.

        :param ports: name -> the index of its device; 0 for whichever device.
        :param deadline: wait so long for all of them to work; None not to wait.
        """
        ...


class _NoRows:
    """The database for wirings that are of links alone."""

    def observe(
        self, bridges: Collection[str], ports: Mapping[str, str], deadline: Deadline
    ) -> Found:
        return Found()

    def commit(self, steps: Sequence[RowStep], deadline: Deadline) -> int | None:
        return None

    def settled(self, cfg: int, deadline: Deadline) -> bool:
        return True

    def working(self, ports: Mapping[str, int], deadline: Deadline | None) -> Mapping[str, Port]:
        return {}


@dataclass
class _Job:
    """One wiring on its way through the engine."""

    wiring: Wiring
    plan: Plan = field(default_factory=Plan)
    found: Found = field(default_factory=Found)
    failure: Exception | None = None
    links_taken: int = 0
    rows_sent: bool = False

    @property
    def done(self) -> Plan:
        """The part of the plan that may have taken effect."""
        links = self.plan.links[: self.links_taken]
        return replace(self.plan, links=links, rows=self.plan.rows if self.rows_sent else ())


class Engine:
    """Applies and removes wirings with two backends.

    :param links: the kernel.
    :param rows: OVSDB; None where no wiring needs it.
    :param strict: whether a device that ovs-vswitchd cannot work with makes a verb fail; else it
        is logged.
    """

    def __init__(self, links: Links, rows: Rows | None = None, *, strict: bool = True) -> None:
        self._links = links
        self._rows: Rows = rows or _NoRows()
        self._strict = strict

    def apply(self, wiring: Wiring, deadline: Deadline) -> None:
        """Make the host as described, all or nothing.

        :raises WiringError: see :mod:`os_vif.wiring.errors`; the host is as before, unless the
            error is OutcomeUnknown.
        """
        _raise_first(self.apply_all([wiring], deadline))

    def remove(self, wiring: Wiring, deadline: Deadline) -> None:
        """Take the described away, and what the VIF has from other settings.

        :raises WiringError: see :mod:`os_vif.wiring.errors`.
        """
        _raise_first(self.remove_all([wiring], deadline))

    def apply_all(self, wirings: Sequence[Wiring], deadline: Deadline) -> list[Exception | None]:
        """Apply several wirings; one that fails is undone alone.

        :returns: for each wiring None, or what :meth:`apply` would have raised.
        """
        return self._until_unchanged(wirings, lambda jobs: self._apply(jobs, deadline), deadline)

    def remove_all(self, wirings: Sequence[Wiring], deadline: Deadline) -> list[Exception | None]:
        """Remove several wirings; one that fails stays alone.

        :returns: for each wiring None, or what :meth:`remove` would have raised.
        """
        return self._until_unchanged(wirings, lambda jobs: self._remove(jobs, deadline), deadline)

    def _apply(self, jobs: list[_Job], deadline: Deadline) -> None:
        try:
            found = self._plan(jobs, to_apply, deadline)
            if is_rows_first([job.plan for job in _live(jobs)], found):
                committed = self._commit(jobs, deadline)
                self._change_links(jobs, deadline)
                notices: Deadline | None = deadline.at_most(LATE_SECONDS)
            else:
                self._change_links(jobs, deadline)
                committed = self._commit(jobs, deadline)
                notices = None if committed else deadline
            self._wait_for(jobs, committed, deadline)
            self._verify(jobs, notices)
            self._set_up_again(jobs, deadline)
        except BaseException as interruption:  # a greenthread's timeout, for instance
            for job in _live(jobs):
                job.failure = _as_exception(interruption)
            raise
        finally:
            self._undo(jobs, deadline)

    def _remove(self, jobs: list[_Job], deadline: Deadline) -> None:
        self._plan(jobs, to_remove, deadline)
        committed = self._commit(jobs, deadline)
        self._change_links(jobs, deadline, _only(DeleteLink))  # while ovs-vswitchd catches up
        if committed and not self._rows.settled(max(committed), deadline):
            removed = (step for job in _live(jobs) for step in job.plan.rows)
            LOG.warning(
                "ovs-vswitchd has not yet acted on the removal of %s after %s s",
                ", ".join(step.name for step in removed if isinstance(step, Removal)),
                deadline.seconds,
            )
        # Letting go of a device that stays, ovs-vswitchd writes back the flags that it read.
        self._change_links(jobs, deadline.at_least(UNDO_SECONDS), _only(SetLink))

    def _plan(
        self, jobs: list[_Job], plan: Callable[[Wiring, Found], Plan], deadline: Deadline
    ) -> Found:
        found = self._observe([job.wiring for job in jobs], deadline)
        for job in jobs:
            job.found, job.plan = found, plan(job.wiring, found)
            if job.plan.refused:
                job.failure = errors.Contradiction(report=report(job.plan.refused))
            elif job.plan.reported:
                LOG.warning("Left as it is: %s", report(job.plan.reported))
        return found

    def _observe(self, wirings: Sequence[Wiring], deadline: Deadline) -> Found:
        elements = [element for wiring in wirings for element in wiring.all_elements]
        ports = {e.name: e.bridge for e in elements if isinstance(e, OvsPort)}
        bridges = {e.name for e in elements if isinstance(e, OvsBridge)}
        rows = self._rows.observe(bridges, ports, deadline) if bridges or ports else Found()
        return replace(rows, links=self._observe_links(elements))

    def _observe_links(self, elements: Collection[Element]) -> Mapping[str, Link]:
        names = {spec.name for element in elements for spec in link_specs(element)}
        names |= {e.name for e in elements if isinstance(e, OvsPort)}
        joined = [e for e in elements if isinstance(e, BridgePort)]
        addressed = {name for e in joined for name in (e.name, e.bridge)}
        return self._links.observe(names, addressed)

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
        failures = self._links.execute([steps for _, steps in changing], deadline)
        for (job, steps), failure in zip(changing, failures, strict=True):
            job.failure = failure
            job.links_taken += failure.taken if failure else len(steps)

    def _commit(self, jobs: list[_Job], deadline: Deadline) -> list[int]:
        """Send the rows of all in one transaction; if that is refused, of each in its own."""
        writing = [job for job in _live(jobs) if job.plan.rows]
        if not writing:
            return []
        steps: dict[RowStep | str, RowStep] = {}  # a bridge that several need is made once
        for job in writing:
            for i, step in enumerate(job.plan.rows):
                steps.setdefault(_new_bridge(step) or f"{id(job)} {i}", step)
        for job in writing:
            job.rows_sent = True  # until it is known that they were not
        try:
            cfg = self._rows.commit(list(steps.values()), deadline)
        except (errors.StateChanged, errors.TransactionRefused) as failure:
            for job in writing:
                job.rows_sent = False
            if len(writing) > 1:
                return [cfg for job in writing for cfg in self._commit([job], deadline)]
            writing[0].failure = failure
            return []
        except errors.WiringError as failure:
            unsent = isinstance(failure, errors.NotConnected)
            for job in writing:
                job.failure, job.rows_sent = failure, not unsent
            return []
        return [] if cfg is None else [cfg]

    def _wait_for(self, jobs: list[_Job], committed: list[int], deadline: Deadline) -> None:
        waiting = [job for job in _live(jobs) if job.rows_sent]
        if not (waiting and committed) or self._rows.settled(max(committed), deadline):
            return
        for job in waiting:
            job.failure = errors.DeadlineExceeded(
                seconds=deadline.seconds, what="ovs-vswitchd has not acted on the new ports"
            )

    def _verify(self, jobs: list[_Job], deadline: Deadline | None) -> None:
        """See that ovs-vswitchd works with the devices.

        :param deadline: how long it may take to notice that a device has come, perhaps even that
            the former one is gone; None where what it says is final.
        """
        ports = {port: 0 for job in _live(jobs) for port in job.plan.awaited}
        if not ports:
            return
        if deadline is not None:
            devices = self._links.observe(ports)
            ports |= {name: device.index for name, device in devices.items()}
        found = self._rows.working(ports, deadline)
        for job in _live(jobs):
            broken = [
                Difference(f"OVS port {name}", *_failure(found.get(name), ports[name]))
                for name in job.plan.awaited
                if name not in found or not found[name].works_with(ports[name])
            ]
            if broken and self._strict:
                job.failure = errors.NotAsDescribed(report=report(broken))
            elif broken:
                LOG.warning("Not verified, as configured: %s", report(broken))

    def _set_up_again(self, jobs: list[_Job], deadline: Deadline) -> None:
        """Repair what ovs-vswitchd has set back: opening a device, it writes back the flags that
        it has read, though we may have set it up in between."""
        opened = [job for job in _live(jobs) if job.plan.awaited]
        if not opened:
            return
        links = self._observe_links([e for job in opened for e in job.wiring.all_elements])

        def set_back(job: _Job) -> list[LinkStep]:
            plan = to_apply(job.wiring, replace(job.found, links=links))
            return [step for step in plan.links if isinstance(step, SetLink)]

        self._change_links(opened, deadline.at_least(UNDO_SECONDS), set_back)

    def _undo(self, jobs: list[_Job], deadline: Deadline) -> None:
        """Take back what failed wirings did, as far as that is possible."""
        deadline = deadline.at_least(UNDO_SECONDS)
        back = [inverse(job.done, job.found) for job in jobs if job.failure]
        needed = {_new_bridge(step) for job in _live(jobs) for step in job.plan.rows}
        with _logging("A failed change of OVSDB could not be taken back"):
            undone = (step for plan in reversed(back) for step in plan.rows)
            rows = [s for s in undone if not (isinstance(s, RemoveBridge) and s.name in needed)]
            if rows:
                _retry(lambda: self._rows.commit(rows, deadline))
        with _logging("A failed change of links could not be taken back"):
            groups = [plan.links for plan in back if plan.links]
            if groups:
                _raise_first(self._links.execute(groups, deadline, go_on=True))

    @staticmethod
    def _until_unchanged(
        wirings: Sequence[Wiring], attempt: Callable[[list[_Job]], None], deadline: Deadline
    ) -> list[Exception | None]:
        """Attempt again, for a few times, what failed because somebody else was faster, or the
        server went away during a commit."""
        jobs = [_Job(wiring) for wiring in wirings]
        again = list(range(len(jobs)))
        for _ in range(ATTEMPTS):
            fresh = [_Job(wirings[i]) for i in again]
            try:
                attempt(fresh)
            except errors.WiringError as failure:  # of all: nothing could be observed
                for job in fresh:
                    job.failure = job.failure or failure
            for i, job in zip(again, fresh, strict=True):
                if not _is_still_unknown(jobs[i].failure, job.failure):
                    jobs[i] = job
            again = [i for i in again if _is_worth_a_look(jobs[i].failure, deadline)]
            if not again:
                break
            LOG.info("%s; looking again", jobs[again[0]].failure)
        return [job.failure for job in jobs]


def _is_worth_a_look(failure: Exception | None, deadline: Deadline) -> bool:
    unknown = isinstance(failure, errors.OutcomeUnknown) and deadline.remaining() != 0
    return unknown or isinstance(failure, errors.StateChanged)


def _is_still_unknown(before: Exception | None, now: Exception | None) -> bool:
    """Whether an outcome is unknown because the server could not be asked again."""
    return isinstance(before, errors.OutcomeUnknown) and isinstance(now, errors.NotConnected)


def _live(jobs: Iterable[_Job]) -> list[_Job]:
    return [job for job in jobs if job.failure is None]


def _only(kind: type[LinkStep]) -> Callable[[_Job], list[LinkStep]]:
    return lambda job: [step for step in job.plan.links if isinstance(step, kind)]


def _new_bridge(step: RowStep) -> str | None:
    return step.bridge.name if isinstance(step, CreateBridge) else None


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _raise_first(failures: Iterable[Exception | None]) -> None:
    for failure in failures:
        if failure is not None:
            raise failure


def _retry(attempt: Callable[[], object]) -> None:
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(errors.StateChanged):
            attempt()
            return
    attempt()


@contextlib.contextmanager
def _logging(what: str) -> Iterator[None]:
    """Let nothing that goes wrong while undoing hide the error that made it necessary."""
    try:
        yield
    except Exception as err:
        LOG.error("%s: %s", what, err)


def _failure(port: Port | None, index: int) -> tuple[str, object, object]:
    """What, wanted and found of a port that does not work."""
    if port is None:
        return "present", True, False
    if port.error:
        return "error", "", port.error
    if port.works:
        return "ifindex", index, port.ifindex
    return "ofport", "a number", "none: ovs-vswitchd could not set it up, its log says why"
