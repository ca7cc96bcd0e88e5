# SPDX-License-Identifier: Apache-2.0
"""Names on the wire, the same as those of os-vif 5.x, so that an upgrade finds what is there."""

#: Linux takes 15 characters; Nova, Neutron and os-vif have always used 14.
NIC_NAME_LENGTH = 14


def prefixed(prefix: str, vif_id: str, length: int = NIC_NAME_LENGTH) -> str:
    """A prefix and as much of a VIF's id as fits."""
    return (prefix + vif_id)[:length]


def tap(vif_id: str) -> str:
    """The guest's device, where the VIF does not name it."""
    return prefixed("tap", vif_id)


def veth_pair(vif_id: str) -> tuple[str, str]:
    """The ends of a hybrid plug's veth pair: in the Linux bridge, in the OVS bridge."""
    return prefixed("qvb", vif_id), prefixed("qvo", vif_id)
