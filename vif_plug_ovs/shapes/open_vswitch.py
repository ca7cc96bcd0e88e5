# SPDX-License-Identifier: Apache-2.0
"""VIFOpenVSwitch: the guest's tap is a port of the OVS bridge."""

from os_vif.wiring.elements import DeviceMtu, Tap
from os_vif.wiring.model import Wiring
from vif_plug_ovs.shapes.request import Request

KIND = "openvswitch"


def shape(request: Request) -> Wiring:
    """
    ::

        guest === tap --- port | br-int (OVS)

    The tap is made here when the profile says ``create_tap``, else by the hypervisor, later: the
    port is there before its tap comes (bugs 1734320 and 1815989).
    """
    mark = request.mark(KIND)
    tap = Tap(request.need_device(), request.mac, request.mtu, mark, multiqueue=request.multiqueue)
    port = request.port(tap.name, mark, device=request.create_tap, qos_type=request.qos_type)
    return Wiring(
        (
            tap if request.create_tap else DeviceMtu(tap.name, request.mtu),
            request.ovs_bridge(mark),
            port,
        ),
        detected_by=port,
        device=tap.name,
        leftovers=(tap,),
    )
