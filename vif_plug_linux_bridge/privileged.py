# SPDX-License-Identifier: Apache-2.0
"""Privileged calls: what is called here runs inside the plugin's privsep daemon."""

import math
from typing import Any

from os_vif.kernel import execute, observe, packing
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.steps import FilterBridge
from vif_plug_linux_bridge import constants, iptables_runner, privsep
from vif_plug_linux_bridge.forwarding_rules import Filtering


def _settings(step: FilterBridge) -> Filtering | None:
    return None if step.settings is None else Filtering.unpacked(step.bridge, step.settings)


#: What it makes serves all guests of a network and stays, so it deletes nothing without a mark.
ALLOWED = packing.Allowed(
    plugin=constants.PLUGIN_NAME,
    kinds=frozenset({"bridge", "vlan"}),
    only_marked=True,
    checks={FilterBridge: _settings},
)

#: Seconds past the deadline in which the daemon rolls back what iptables did not finish, and says
#: so.
GRACE = 0.6


@privsep.vif_plug.entrypoint
def may_change_links(until: float = math.inf) -> bool:
    """Return whether the kernel lets this daemon change network devices; see
    :func:`os_vif.kernel.execute.is_allowed`.

    :param until: as of :func:`filtered`; nothing here waits.
    """
    return execute.is_allowed()


@privsep.vif_plug.entrypoint
def filtered(until: float = math.inf) -> list[str]:
    """Return the bridges that have rules of ours.

    :param until: the end of the deadline, by ``time.monotonic()``.
    :raises CommandFailed: iptables refused to show its rules.
    :raises DeadlineExceeded: it did not answer.
    """
    return list(iptables_runner.bridges(Deadline.until(until)))


@privsep.vif_plug.entrypoint
def missing_rules(bridge: str, settings: Any, until: float = math.inf) -> list[str]:
    """Return the programs of iptables in whose tables the rules of a bridge are not as described.

    :param settings: see :class:`.forwarding_rules.Filtering`, as primitives.
    :param until: as of :func:`filtered`.
    :raises InvalidValue: os-vif does not make such rules.
    """
    wanted = Filtering.unpacked(bridge, settings)
    return list(iptables_runner.missing(wanted, Deadline.until(until)))


@privsep.vif_plug.entrypoint
def change_links(
    groups: list[Any], go_on: bool = False, until: float = math.inf
) -> list[execute.Outcome]:
    """Execute groups of packed steps; see :func:`os_vif.kernel.execute.execute`.

    :param until: as of :func:`filtered`; iptables may have to be waited for.
    """
    deadline = Deadline.until(until)

    def filter_bridge(step: FilterBridge) -> None:
        if settings := _settings(step):
            iptables_runner.ensure(settings, deadline)
        elif not observe.links([step.bridge]):
            iptables_runner.remove(step.bridge, deadline)

    return execute.execute(groups, go_on, filter_bridge, ALLOWED)
