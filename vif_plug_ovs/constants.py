# SPDX-License-Identifier: Apache-2.0
"""Names and numbers that code outside of this package knows."""

PLUGIN_NAME = "ovs"

#: OVS datapaths: the kernel's module, and ovs-vswitchd's own in user space.
OVS_DATAPATH_SYSTEM = "system"
OVS_DATAPATH_NETDEV = "netdev"
