# SPDX-License-Identifier: Apache-2.0
"""The privileged context of the plugin, configured in ``[vif_plug_ovs_privileged]``."""

from oslo_privsep import capabilities, priv_context

vif_plug = priv_context.PrivContext(
    "vif_plug_ovs",
    cfg_section="vif_plug_ovs_privileged",
    pypath=f"{__name__}.vif_plug",
    capabilities=[capabilities.CAP_NET_ADMIN],
)
