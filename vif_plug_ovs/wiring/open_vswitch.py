# SPDX-License-Identifier: Apache-2.0
"""VIFOpenVSwitch: the guest's tap is a port of the OVS bridge."""

from os_vif.wiring.model import OvsBridge, OvsPort, Tap, Wiring
from vif_plug_ovs.wiring.request import Request

KIND = "openvswitch"


def wiring(vif: Request) -> Wiring:
    """
    ::

        guest === tap --- port | br-int (OVS)

    The tap is made here when the profile says ``create_tap``, else by the hypervisor, later. The
    port is made here when it says ``create_port``; else libvirt makes port and tap, and only the
    bridge is seen to.
    """
    mark = vif.mark(KIND)
    bridge = OvsBridge(vif.bridge, vif.datapath_type, mark)
    tap = Tap(vif.device, vif.mac, vif.mtu, mark, multiqueue=vif.multiqueue)
    port = OvsPort(vif.device, vif.bridge, mark, vif.external_ids, device=vif.create_tap)
    if not vif.create_port:
        return Wiring((bridge,), leftovers=(tap, port))
    if not vif.create_tap:
        return Wiring((bridge, port), leftovers=(tap,))
    return Wiring((tap, bridge, port))
