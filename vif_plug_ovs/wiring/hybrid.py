# SPDX-License-Identifier: Apache-2.0
"""VIFBridge, the hybrid plug: a Linux bridge, where iptables can filter, before the OVS bridge."""

from os_vif.wiring.elements import LinuxBridge, VethPair
from os_vif.wiring.model import Wiring
from vif_plug_ovs.wiring import names
from vif_plug_ovs.wiring.request import Request

KIND = "hybrid"


def shape(vif: Request) -> Wiring:
    """
    ::

        guest === tap --- | qbr (Linux) | --- qvb === qvo --- port | br-int (OVS)

    The hypervisor makes the tap and puts it into the Linux bridge, which forgets every MAC address
    at once: with two ports, flooding is forwarding, and a guest that has moved is not looked for
    where it was.

    :raises InvalidValue: the VIF has no id or no bridge name.
    """
    mark = vif.mark(KIND)
    qvb, qvo = names.veth_pair(vif.need_id())
    qbr = LinuxBridge(vif.need_linux_bridge(), mark, ageing=0)
    port = vif.port(qvo, mark, qos_type=vif.qos_type)
    return Wiring(
        (
            qbr,
            VethPair(qvb, qvo, qbr.name, vif.mtu, mark),
            vif.ovs_bridge(mark),
            port,
        ),
        sign=port,
        device=qbr.name,
    )
