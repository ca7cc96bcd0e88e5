# SPDX-License-Identifier: Apache-2.0
"""The privileged line: what is called here runs inside the plugin's privsep daemon."""

import time
from typing import Any

from os_vif.kernel import door, packing
from os_vif.kernel.gate import gate
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.steps import FilterBridge
from vif_plug_linux_bridge import constants, privsep
from vif_plug_linux_bridge.filtering import Filtering

Outcome = tuple[int, str, int]


def _settings(step: FilterBridge) -> Filtering | None:
    return None if step.settings is None else Filtering.unpacked(step.bridge, step.settings)


#: What it makes serves all guests of a network and stays, so it deletes nothing without a mark.
ALLOWED = packing.Allowed(
    plugin=constants.PLUGIN_NAME,
    kinds=frozenset({"bridge", "vlan"}),
    only_marked=True,
    check_filter=_settings,
)

#: Seconds past the deadline in which the daemon takes back what iptables did not finish, and says
#: so.
GRACE = 0.6


def change_links(
    groups: list[Any], go_on: bool = False, timeout: float | None = None
) -> list[Outcome]:
    """Take groups of packed steps; see :func:`os_vif.kernel.execute.execute`.

    :param timeout: seconds for the daemon to answer; see :func:`os_vif.kernel.door.ask`.
    :raises DeadlineExceeded: it did not answer.
    """
    patience = None if timeout is None else timeout + GRACE
    outcomes: list[Outcome] = door.ask(
        _change_links, groups, go_on, _until(timeout), timeout=patience
    )
    return outcomes


def filtered(timeout: float | None = None) -> list[str]:
    """The bridges that have rules of ours.

    :param timeout: as of :func:`change_links`.
    :raises CommandFailed: iptables refused to show its rules.
    :raises DeadlineExceeded: it did not answer.
    """
    patience = None if timeout is None else timeout + GRACE
    names: list[str] = door.ask(_filtered, _until(timeout), timeout=patience)
    return names


def _until(timeout: float | None) -> float | None:
    """Return the end of it, which does not move while a request waits for the daemon."""
    return None if timeout is None else time.monotonic() + timeout


@privsep.vif_plug.entrypoint
def _filtered(until: float | None) -> list[str]:
    from vif_plug_linux_bridge import firewall  # only the daemon needs it

    return list(firewall.bridges(use_ipv6=False, deadline=Deadline.until(until)))


@privsep.vif_plug.entrypoint
def _change_links(groups: list[Any], go_on: bool, until: float | None) -> list[Outcome]:
    # Here, because only the daemon needs them: importing them would take half of our time.
    with gate:
        from os_vif.kernel import execute, observe
        from vif_plug_linux_bridge import firewall

    deadline = Deadline.until(until)

    def filter_bridge(step: FilterBridge) -> None:
        if settings := _settings(step):
            firewall.ensure(settings, deadline)
        elif not observe.links([step.bridge]):
            firewall.remove(step.bridge, use_ipv6=False, deadline=deadline)

    return execute.execute(groups, go_on, filter_bridge, ALLOWED)
