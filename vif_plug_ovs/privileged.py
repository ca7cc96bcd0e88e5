# SPDX-License-Identifier: Apache-2.0
"""The privileged line: what is called here runs inside the plugin's privsep daemon."""

from typing import Any

from oslo_privsep import comm

from os_vif.wiring.errors import DeadlineExceeded
from vif_plug_ovs import privsep

#: Seconds; so long we wait for an answer even past a verb's deadline.
SHORTEST = 0.1

Outcome = tuple[int, str, int]


def change_links(
    groups: list[Any], go_on: bool = False, timeout: float | None = None
) -> list[Outcome]:
    """Take groups of packed steps; see :func:`os_vif.kernel.execute.execute`.

    :param timeout: seconds for the daemon to answer, None for no limit. A daemon that is killed
        with a request unread would not be missed otherwise.
    :raises DeadlineExceeded: it did not answer.
    """
    limit = None if timeout is None else max(timeout, SHORTEST)
    try:
        outcomes: list[Outcome] = _change_links(groups, go_on, _wrap_timeout=limit)
    except comm.PrivsepTimeout as err:
        raise DeadlineExceeded(seconds=limit, what="the privileged daemon is silent") from err
    return outcomes


@privsep.vif_plug.entrypoint
def _change_links(groups: list[Any], go_on: bool) -> list[Outcome]:
    # Here, because only the daemon needs pyroute2: half of the time that importing us would take.
    from os_vif.kernel import execute

    return execute.execute(groups, go_on)
