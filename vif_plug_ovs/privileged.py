# SPDX-License-Identifier: Apache-2.0
"""Privileged calls: what is called here runs inside the plugin's privsep daemon."""

import math
from typing import Any

from os_vif.kernel import execute, packing
from os_vif.wiring.steps import CreateLink, DeleteLink, SetLink
from vif_plug_ovs import constants, privsep

#: The host's own interfaces, their addresses and VLANs are none of this daemon's business.
ALLOWED = packing.Allowed(
    plugin=constants.PLUGIN_NAME,
    steps=frozenset({CreateLink, SetLink, DeleteLink}),
    kinds=frozenset({"bridge", "veth", "tun"}),
)


@privsep.vif_plug.entrypoint
def may_change_links(until: float = math.inf) -> bool:
    """Return whether the kernel lets this daemon change network devices; see
    :func:`os_vif.kernel.execute.is_allowed`.

    :param until: the end of the deadline; nothing here waits.
    """
    return execute.is_allowed()


@privsep.vif_plug.entrypoint
def change_links(groups: list[Any], go_on: bool = False, until: float = math.inf) -> list[Any]:
    """Execute groups of packed steps; see :func:`os_vif.kernel.execute.execute`.

    :param until: the end of the deadline; nothing here waits.
    """
    return execute.execute(groups, go_on, allowed=ALLOWED)
