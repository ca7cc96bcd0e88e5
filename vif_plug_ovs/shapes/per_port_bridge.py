# SPDX-License-Identifier: Apache-2.0
"""VIFOpenVSwitch with ``per_port_bridge``: a bridge of its own before the integration bridge.

A port gets its OpenFlow number only when its device is there. Patch ports need none, so the SDN
controller can install the VIF's flows before the guest's tap exists (bug 1933517).
"""

from dataclasses import replace

from os_vif.wiring.elements import DeviceMtu, OnRemove, OvsBridge, OvsPort, Tap
from os_vif.wiring.model import Wiring
from vif_plug_ovs import constants
from vif_plug_ovs.shapes import names
from vif_plug_ovs.shapes.request import Request

KIND = "perportbridge"


def shape(request: Request) -> Wiring:
    """
    ::

        guest === tap --- port | pb (OVS) | pbp ~~~ ibp | br-int (OVS)

    The patch port on the integration bridge stands for the VIF: it has the ids (the iface-id is
    the VIF's own here), and it is the one that is isolated. The tap's port has no ids.
    """
    mark = request.mark(KIND)
    pbp, ibp = names.patch_pair(request.need_id())
    tap = Tap(request.need_device(), request.mac, request.mtu, mark, multiqueue=request.multiqueue)
    pb = OvsBridge(
        names.port_bridge(request.need_id()),
        request.datapath_type,
        mark,
        OnRemove.DELETE,
        joined_to=request.bridge,
    )
    patch = constants.OVS_PATCH_INTERFACE_TYPE
    return Wiring(
        (
            tap if request.create_tap else DeviceMtu(tap.name, request.mtu),
            request.ovs_bridge(mark),
            pb,
            OvsPort(
                tap.name,
                pb.name,
                mark,
                device=request.create_tap,
                identified_by=request.identified_by,
                qos_type=request.qos_type,
            ),
            OvsPort(pbp, pb.name, mark, patch, options={"peer": ibp}),
            replace(
                request.port(ibp, mark, interface_type=patch, options={"peer": pbp}),
                external_ids={**request.external_ids, "iface-id": request.need_id()},
                identified_by={**request.identified_by, "iface-id": request.need_id()},
            ),
        ),
        detected_by=pb,
        device=tap.name,
        leftovers=(tap,),
    )
