# SPDX-License-Identifier: Apache-2.0
"""Names and numbers that code outside of this package knows."""

from os_vif.wiring.state import DEAD_VLAN as DEAD_VLAN

PLUGIN_NAME = "ovs"

#: OVS datapaths: the kernel's module, and ovs-vswitchd's own in user space.
OVS_DATAPATH_SYSTEM = "system"
OVS_DATAPATH_NETDEV = "netdev"

#: Interface types of ovs-vswitchd.
OVS_DPDK_INTERFACE_TYPE = "dpdk"
OVS_VHOSTUSER_INTERFACE_TYPE = "dpdkvhostuser"
OVS_VHOSTUSER_CLIENT_INTERFACE_TYPE = "dpdkvhostuserclient"
OVS_PATCH_INTERFACE_TYPE = "patch"

#: What the name of a vhost-user port begins with.
OVS_VHOSTUSER_PREFIX = "vhu"

#: What the name of a trunk's bridge begins with: Neutron makes one for each trunk.
TRUNK_BR_PREFIX = "tbr-"
