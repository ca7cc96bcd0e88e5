# SPDX-License-Identifier: Apache-2.0
"""VIFBridge, the hybrid plug: a Linux bridge, where iptables can filter, before the OVS bridge."""

from os_vif.wiring.model import LinuxBridge, OvsBridge, OvsPort, VethPair, Wiring
from vif_plug_ovs import exception
from vif_plug_ovs.wiring import names
from vif_plug_ovs.wiring.request import Request

KIND = "hybrid"


def wiring(vif: Request) -> Wiring:
    """
    ::

        guest === tap --- | qbr (Linux) | --- qvb === qvo --- port | br-int (OVS)

    The hypervisor makes the tap and puts it into the Linux bridge. That bridge forgets no MAC
    address wrongly because it learns none: with two ports, flooding is forwarding.

    :raises TapCreationNotSupported: the profile asks for a tap made by os-vif.
    :raises InvalidValue: the VIF has no id or no bridge name.
    """
    if vif.create_tap:
        raise exception.TapCreationNotSupported(vif_type=vif.vif_class)
    mark = vif.mark(KIND)
    qbr = vif.need_linux_bridge()
    qvb, qvo = names.veth_pair(vif.need_id())
    return Wiring(
        (
            LinuxBridge(qbr, mark, ageing=0),
            VethPair(qvb, qvo, bridge=qbr, mtu=vif.mtu, mark=mark),
            OvsBridge(vif.bridge, vif.datapath_type, mark),
            OvsPort(qvo, vif.bridge, mark, vif.external_ids),
        )
    )
