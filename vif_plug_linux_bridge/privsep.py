# SPDX-License-Identifier: Apache-2.0
"""The privileged context, configured in ``[vif_plug_linux_bridge_privileged]``.

The programs of iptables need more than the daemon itself: the legacy ones open a raw socket
(``CAP_NET_RAW``) and ``/run/xtables.lock``, which is root's alone. No capability is asked for on
their account, because it would not reach them: a program that the daemon starts as root has all
that root may have there, and one that it starts as another user (the option ``user``) has none.
So filtering needs a daemon that runs as root.
"""

from oslo_privsep import capabilities, priv_context

vif_plug = priv_context.PrivContext(
    "vif_plug_linux_bridge",
    cfg_section="vif_plug_linux_bridge_privileged",
    pypath=f"{__name__}.vif_plug",
    capabilities=[capabilities.CAP_NET_ADMIN],
)
