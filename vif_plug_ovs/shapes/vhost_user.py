# SPDX-License-Identifier: Apache-2.0
"""VIFVHostUser: the guest's memory is shared with ovs-vswitchd over a socket."""

from os_vif.objects.fields import VIFVHostUserMode
from os_vif.objects.vif import VIFPortProfileOpenVSwitch, VIFPortProfileOVSRepresentor
from os_vif.wiring.model import Wiring
from vif_plug_ovs import constants
from vif_plug_ovs.shapes.request import NETDEV, Kind, Request

KIND = "vhostuser"


def shape(request: Request) -> Wiring:
    """
    ::

        guest === socket === port | br-int (OVS, user space)

    Where the guest is the server, ovs-vswitchd connects to its socket, and either may restart.
    Where it is the client, ovs-vswitchd makes the socket, in a directory of its own choice.

    :raises InvalidValue: mode, or the server's path, is not set.
    """
    mark = request.mark(KIND)
    how: dict[str, object] = {"interface_type": constants.OVS_VHOSTUSER_INTERFACE_TYPE}
    if request.need("vif.mode", request.vhost_mode) == VIFVHostUserMode.SERVER:
        how = {
            "interface_type": constants.OVS_VHOSTUSER_CLIENT_INTERFACE_TYPE,
            "options": {"vhost-server-path": request.need("vif.path", request.vhost_path)},
        }
    port = request.port(request.need_device(), mark, mtu_request=request.mtu, **how)
    return Wiring((request.ovs_bridge(mark), port))


VIF_KIND = Kind(
    shape,
    device_prefix=constants.OVS_VHOSTUSER_PREFIX,
    datapath_type=NETDEV,
    # What Nova still describes by the deprecated profile.
    profiles=(VIFPortProfileOpenVSwitch, VIFPortProfileOVSRepresentor),
)
