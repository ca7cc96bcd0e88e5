# SPDX-License-Identifier: Apache-2.0
"""What makes a wiring so: observe, plan, execute; on failure undo and raise."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from oslo_log import log as logging

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.model import OvsBridge, OvsPort, Wiring
from os_vif.wiring.plan import (
    Difference,
    LinkStep,
    Plan,
    RowStep,
    inverse,
    link_specs,
    to_apply,
    to_remove,
)
from os_vif.wiring.report import report
from os_vif.wiring.state import Found, Link, Port

LOG = logging.getLogger(__name__)

#: How often a verb looks again after somebody else has changed what it was about to change.
ATTEMPTS = 5
#: Seconds in which a failed verb takes back what it did, even past its deadline.
UNDO_SECONDS = 0.8


class Links(Protocol):
    """The kernel's network devices."""

    def observe(self, names: Iterable[str]) -> Mapping[str, Link]:
        """Read the links of these names that are there; needs no privilege."""

    def execute(self, steps: Sequence[LinkStep], *, go_on: bool = False) -> None:
        """Take the steps in one privileged call.

        :param go_on: take the others, too, when one fails.
        :raises LinkFailed: the kernel refused one; its ``taken`` says how many stay.
        :raises StateChanged: the same, because somebody else has made a link of that name.
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

    def working(self, ports: Collection[str], deadline: Deadline | None) -> Mapping[str, Port]:
        """Tell what ovs-vswitchd says of these ports.

        :param deadline: wait so long for all of them to work; None not to wait.
        """
        ...


class Engine:
    """Applies and removes wirings with two backends.

    :param links: the kernel.
    :param rows: OVSDB.
    :param strict: whether a device that ovs-vswitchd cannot work with makes a verb fail; else it
        is logged.
    """

    def __init__(self, links: Links, rows: Rows, *, strict: bool = True) -> None:
        self._links = links
        self._rows = rows
        self._strict = strict

    def apply(self, wiring: Wiring, deadline: Deadline) -> None:
        """Make the host as described, all or nothing.

        :raises WiringError: see :mod:`os_vif.wiring.errors`; the host is as before, unless the
            error is OutcomeUnknown.
        """
        self._until_unchanged(lambda: self._apply_once(wiring, deadline))

    def remove(self, wiring: Wiring, deadline: Deadline) -> None:
        """Take the described away, and what the VIF has from other settings.

        :raises WiringError: see :mod:`os_vif.wiring.errors`.
        """
        self._until_unchanged(lambda: self._remove_once(wiring, deadline))

    def _apply_once(self, wiring: Wiring, deadline: Deadline) -> None:
        found = self._observe(wiring, deadline)
        plan = to_apply(wiring, found)
        self._look_at(plan)
        if not plan:
            return
        committed = False
        try:
            if plan.links:
                self._links.execute(plan.links)
            if plan.rows:
                cfg = self._rows.commit(plan.rows, deadline)
                committed = True
                self._wait_for(cfg, deadline)
            # What ovs-vswitchd says after a new configuration is final; without one it has yet
            # to notice that a device has come.
            self._verify(plan.awaited, None if committed else deadline)
        except BaseException as failure:
            taken = failure.taken if isinstance(failure, errors.WiringError) else None
            sent = committed or isinstance(failure, errors.OutcomeUnknown)
            done = replace(plan, links=plan.links[:taken], rows=plan.rows if sent else ())
            self._undo(done, found, deadline)
            raise

    def _remove_once(self, wiring: Wiring, deadline: Deadline) -> None:
        found = self._observe(wiring, deadline)
        plan = to_remove(wiring, found)
        self._look_at(plan)
        cfg = self._rows.commit(plan.rows, deadline) if plan.rows else None
        if plan.links:
            self._links.execute(plan.links)  # while ovs-vswitchd catches up
        if cfg is not None and not self._rows.settled(cfg, deadline):
            LOG.warning(
                "ovs-vswitchd has not yet acted on the removal of %s after %s s",
                ", ".join(str(step.name) for step in plan.rows if hasattr(step, "name")),
                deadline.seconds,
            )

    def _observe(self, wiring: Wiring, deadline: Deadline) -> Found:
        elements = wiring.all_elements
        ports = {e.name: e.bridge for e in elements if isinstance(e, OvsPort)}
        bridges = {e.name for e in elements if isinstance(e, OvsBridge)}
        names = {spec.name for element in elements for spec in link_specs(element)}
        rows = self._rows.observe(bridges, ports, deadline) if bridges or ports else Found()
        return replace(rows, links=self._links.observe({*names, *ports}))

    @staticmethod
    def _look_at(plan: Plan) -> None:
        if plan.refused:
            raise errors.Contradiction(report=report(plan.refused))
        if plan.reported:
            LOG.warning("Left as it is: %s", report(plan.reported))

    def _wait_for(self, cfg: int | None, deadline: Deadline) -> None:
        if cfg is not None and not self._rows.settled(cfg, deadline):
            raise errors.DeadlineExceeded(
                seconds=deadline.seconds, what="ovs-vswitchd has not acted on the new ports"
            )

    def _verify(self, ports: Collection[str], deadline: Deadline | None) -> None:
        if not ports:
            return
        found = self._rows.working(ports, deadline)
        failures = [
            Difference(f"OVS port {name}", *_failure(found.get(name)))
            for name in ports
            if name not in found or not found[name].works
        ]
        if failures and self._strict:
            raise errors.NotAsDescribed(report=report(failures))
        if failures:
            LOG.warning("Not verified, as configured: %s", report(failures))

    def _undo(self, done: Plan, found: Found, deadline: Deadline) -> None:
        """Take back what was done, as far as that is possible."""
        back = inverse(done, found)
        deadline = deadline.at_least(UNDO_SECONDS)
        with _logging("A failed change of OVSDB could not be taken back"):
            if back.rows:
                self._until_unchanged(lambda: self._rows.commit(back.rows, deadline))
        with _logging("A failed change of links could not be taken back"):
            if back.links:
                self._links.execute(back.links, go_on=True)

    @staticmethod
    def _until_unchanged(attempt: Callable[[], object]) -> None:
        for _ in range(ATTEMPTS - 1):
            try:
                attempt()
                return
            except errors.StateChanged as err:
                LOG.info("%s; looking again", err)
        attempt()


@contextmanager
def _logging(what: str) -> Iterator[None]:
    """Let nothing that goes wrong while undoing hide the error that made it necessary."""
    try:
        yield
    except Exception as err:
        LOG.error("%s: %s", what, err)


def _failure(port: Port | None) -> tuple[str, object, object]:
    """What, wanted and found of a port that does not work."""
    if port is None:
        return "present", True, False
    if port.error:
        return "error", "", port.error
    return "ofport", "a number", "none: ovs-vswitchd could not set it up, its log says why"
