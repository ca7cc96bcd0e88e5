# SPDX-License-Identifier: Apache-2.0
"""VIFOpenVSwitch: the guest's tap is a port of the OVS bridge."""

from os_vif.wiring.elements import DeviceMtu, Tap
from os_vif.wiring.model import Wiring
from vif_plug_ovs.wiring.request import Request

KIND = "openvswitch"


def shape(vif: Request) -> Wiring:
    """
    ::

        guest === tap --- port | br-int (OVS)

    The tap is made here when the profile says ``create_tap``, else by the hypervisor, later: the
    port stands before its tap comes (bugs 1734320 and 1815989).
    """
    mark = vif.mark(KIND)
    tap = Tap(vif.need_device(), vif.mac, vif.mtu, mark, multiqueue=vif.multiqueue)
    port = vif.port(tap.name, mark, device=vif.create_tap, qos_type=vif.qos_type)
    return Wiring(
        (
            tap if vif.create_tap else DeviceMtu(tap.name, vif.mtu),
            vif.ovs_bridge(mark),
            port,
        ),
        sign=port,
        device=tap.name,
        leftovers=(tap,),
    )
