# SPDX-License-Identifier: Apache-2.0
"""VIFBridge, the hybrid plug: a Linux bridge, where iptables can filter, before the OVS bridge."""

from os_vif import validate
from os_vif.wiring.elements import LinuxBridge, VethPair
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from vif_plug_ovs.shapes import names
from vif_plug_ovs.shapes.request import Request

KIND = "hybrid"


def shape(request: Request) -> Wiring:
    """
    ::

        guest === tap --- | qbr (Linux) | --- qvb === qvo --- port | br-int (OVS)

    The hypervisor makes the tap and puts it into the Linux bridge.

    :raises InvalidValue: the VIF has no id or no bridge name.
    """
    mark = request.mark(KIND)
    qvb, qvo = names.veth_pair(request.need_id())
    bridge = str(validate.required("vif.bridge_name", request.linux_bridge))
    qbr = linux_bridge(bridge, mark)
    port = request.port(qvo, mark, qos_type=request.qos_type)
    return Wiring(
        (
            qbr,
            VethPair(qvb, qvo, qbr.name, request.mtu, mark),
            request.ovs_bridge(mark),
            port,
        ),
        detected_by=port,
        device=qbr.name,
    )


def linux_bridge(name: str, mark: Mark) -> LinuxBridge:
    """Return a Linux bridge between two devices.

    It forgets every MAC address at once: with two ports, flooding is forwarding, and a guest that
    has moved is not looked for where it was.
    """
    return LinuxBridge(name, mark, ageing=0)
