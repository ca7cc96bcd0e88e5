# SPDX-License-Identifier: Apache-2.0
"""The privileged line: what is called here runs inside the plugin's privsep daemon."""

from typing import Any

from os_vif.kernel import execute
from vif_plug_ovs import privsep


@privsep.vif_plug.entrypoint
def change_links(groups: list[Any], go_on: bool = False) -> list[execute.Outcome]:
    """Take groups of packed steps; see :func:`os_vif.kernel.execute.execute`."""
    return execute.execute(groups, go_on)
