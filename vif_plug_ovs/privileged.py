# SPDX-License-Identifier: Apache-2.0
"""The privileged line: what is called here runs inside the plugin's privsep daemon."""

from typing import Any

from vif_plug_ovs import privsep


@privsep.vif_plug.entrypoint
def change_links(groups: list[Any], go_on: bool = False) -> list[tuple[int, str, int]]:
    """Take groups of packed steps; see :func:`os_vif.kernel.execute.execute`."""
    # Here, because only the daemon needs pyroute2: half of the time that importing us would take.
    from os_vif.kernel import execute

    return execute.execute(groups, go_on)
