# SPDX-License-Identifier: Apache-2.0
"""Names on the wire, the same as those of os-vif 5.x, so that an upgrade finds what is there."""

import uuid

from vif_plug_ovs import constants

#: Linux takes 15 characters; Nova, Neutron and os-vif have always used 14.
NIC_NAME_LENGTH = 14
#: Patch ports are not devices, so their names are not bound to that.
PATCH_NAME_LENGTH = 64

#: The namespace of the UUIDs by which QoS rows belong to a device.
_QOS_NAMESPACE = uuid.UUID("68da264a-847f-42a8-8ab0-5e774aee3d95")


def prefixed(prefix: str, vif_id: str, length: int = NIC_NAME_LENGTH) -> str:
    """Return a prefix and as much of a VIF's id as fits."""
    return (prefix + vif_id)[:length]


def hybrid_bridge(vif_id: str) -> str:
    """Return the Linux bridge of a hybrid plug, as Nova names it."""
    return prefixed("qbr", vif_id)


def veth_pair(vif_id: str) -> tuple[str, str]:
    """Return the ends of a hybrid plug's veth pair: in the Linux bridge, in the OVS bridge."""
    return prefixed("qvb", vif_id), prefixed("qvo", vif_id)


def port_bridge(vif_id: str) -> str:
    """Return the OVS bridge that a VIF has for itself."""
    return prefixed("pb", vif_id)


def patch_pair(vif_id: str) -> tuple[str, str]:
    """Return the patch ports between a VIF's own bridge and the integration bridge, in this
    order."""
    return (
        prefixed("pbp", vif_id, PATCH_NAME_LENGTH),
        prefixed("ibp", vif_id, PATCH_NAME_LENGTH),
    )


def dpdk_representor(vif_id: str) -> str:
    """Return the port of a representor that DPDK drives: it is no device of the kernel."""
    return prefixed("vfr", vif_id)


def is_trunk_bridge(bridge_name: str) -> bool:
    """Return whether an OVS bridge is that of a trunk, made by Neutron or for it."""
    return bridge_name.startswith(constants.TRUNK_BR_PREFIX)


def qos_id(device: str) -> str:
    """Return the ``external_ids:id`` of a device's QoS row."""
    return str(uuid.uuid5(_QOS_NAMESPACE, device))
