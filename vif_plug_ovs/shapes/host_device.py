# SPDX-License-Identifier: Apache-2.0
"""VIFHostDevice: a virtual function in the guest, its representor in the OVS bridge."""

from os_vif.objects.vif import VIFPortProfileOpenVSwitch, VIFPortProfileOVSRepresentor
from os_vif.wiring.elements import Representor
from os_vif.wiring.model import Wiring
from vif_plug_ovs import constants
from vif_plug_ovs.shapes import names
from vif_plug_ovs.shapes.request import NETDEV, Facts, Kind, Request

KIND = "representor"


def shape(request: Request) -> Wiring:
    """
    ::

        guest === VF === representor --- port | br-int (OVS)

    With the datapath in user space DPDK drives the representor, which then is no device of the
    kernel: it is named by the physical function and the number of the VF. The port that a
    representor has left under a former name goes: another's representor may have that name now.
    """
    mark = request.mark(KIND)
    bridge = request.ovs_bridge(mark)
    former = (name for name in request.facts.ports if name != request.device)
    renamed = tuple(Wiring((request.port(name, mark),)) for name in former)
    name = request.need_device()
    if request.datapath_type == NETDEV:
        devargs = f"{request.facts.pf_address},representor=[{request.facts.vf_number}]"
        port = request.port(
            name,
            mark,
            interface_type=constants.OVS_DPDK_INTERFACE_TYPE,
            options={"dpdk-devargs": devargs},
            mtu_request=request.mtu,
        )
        return Wiring((bridge, port), alternatives=renamed)
    port = request.port(name, mark, qos_type=request.qos_type)
    return Wiring((Representor(name, request.mtu), bridge, port), alternatives=renamed)


def device(vif_id: str | None, facts: Facts) -> str | None:
    """Return the kernel's name of the representor; DPDK's has one that is made of the VIF's id.

    ``vif.vif_name`` is not asked: Nova makes it up.
    """
    return facts.representor or (vif_id and names.dpdk_representor(vif_id))


VIF_KIND = Kind(
    shape,
    device=device,
    has_representor=True,
    # What Nova still describes by the deprecated profile.
    profiles=(VIFPortProfileOpenVSwitch, VIFPortProfileOVSRepresentor),
)
