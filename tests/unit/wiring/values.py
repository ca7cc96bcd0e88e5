# SPDX-License-Identifier: Apache-2.0
"""Wirings, and the links and rows that are on a host where they are applied."""

from dataclasses import replace

from os_vif.wiring.elements import (
    BridgePort,
    DeviceMtu,
    ForwardingFilter,
    HostInterface,
    LinuxBridge,
    OnRemove,
    OvsBridge,
    OvsPort,
    Representor,
    Tap,
    VethPair,
    VlanDevice,
)
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Bridge, Found, Link, Port, Value
from os_vif.wiring.steps import CreateLink, FilterBridge, JoinBridge
from tests.fakes import NO_HOST_STACK, new_link

MARK = Mark("ovs", "hybrid", "a1")
EARLIER = Mark("ovs", "openvswitch", "a1")  # the same VIF under other settings
OTHER = Mark("ovs", "hybrid", "a2")
MAC, LIBVIRTS_MAC = "fa:16:3e:00:00:01", "fe:16:3e:00:00:01"
IDS = {"iface-id": "b1", "iface-status": "active", "attached-mac": MAC, "vm-uuid": "c1"}
#: Those by which a port is recognised.
KNOWN = {"iface-id": "b1", "attached-mac": MAC}

# Open vSwitch ------------------------------------------------------------------------------------

QBR = LinuxBridge("qbr1", MARK, ageing=0)
VETH = VethPair("qvb1", "qvo1", "qbr1", 1450, MARK)
TAP = Tap("tap1", MAC, 1450, MARK)
BR_INT = OvsBridge("br-int", "system", MARK)
PORT = OvsPort("qvo1", "br-int", MARK, external_ids=IDS, identified_by=KNOWN)
TAP_PORT = replace(PORT, name="tap1")
LATER_PORT = replace(TAP_PORT, device=False)
VF = Representor("eth0_0", 1450)
VHU_PORT = replace(
    PORT,
    name="vhu1",
    interface_type="dpdkvhostuserclient",
    options={"vhost-server-path": "/run/vhu1"},
    mtu_request=1450,
)
PB = OvsBridge("pb1", "system", MARK, OnRemove.DELETE)
IN_PB = OvsPort("tap1", "pb1", MARK, identified_by=KNOWN, qos_type="linux-noop")
PBP = OvsPort("pbp1", "pb1", MARK, "patch", options={"peer": "ibp1"})
IBP = replace(PORT, name="ibp1", interface_type="patch", options={"peer": "pbp1"})
TRUNK = OvsBridge("tbr-1", "system", MARK, OnRemove.DELETE)

HYBRID = Wiring((QBR, VETH, BR_INT, PORT), detected_by=PORT)
DIRECT = Wiring((TAP, BR_INT, TAP_PORT), detected_by=TAP_PORT)
LATER = Wiring(
    (DeviceMtu("tap1", 1450), BR_INT, LATER_PORT), detected_by=LATER_PORT, leftovers=(TAP,)
)
OWN = Wiring((TAP, BR_INT, PB, IN_PB, PBP, IBP), detected_by=PB)
VHU = Wiring((BR_INT, VHU_PORT))
CHOICE = replace(LATER, alternatives=(OWN, HYBRID))

ON_QBR = {
    **NO_HOST_STACK,
    "stp": False,
    "forward_delay": 0,
    "ageing": 0,
    "mcast_snooping": False,
    "up": True,
}
ON_QVO = {"disable_ipv6": 1, "mtu": 1450, "promisc": True, "up": True}
ON_QVB = {**ON_QVO, "master": "qbr1"}
ON_TAP = {"disable_ipv6": 1, "mac": MAC, "mtu": 1450, "up": True}

QBR_LINK = new_link("qbr1", "bridge", MARK.alias, **ON_QBR)
QVB_LINK = new_link("qvb1", "veth", MARK.alias, **ON_QVB)
QVO_LINK = new_link("qvo1", "veth", MARK.alias, **ON_QVO)
TAP_LINK = new_link("tap1", "tun", MARK.alias, **ON_TAP, multiqueue=False)
LIBVIRTS_TAP = new_link("tap1", "tun", mac=LIBVIRTS_MAC, mtu=1450, multiqueue=False)
VF_LINK = new_link("eth0_0", "", mtu=1450, up=True)
BRIDGE_ROW = Bridge("br-int", "system")
PB_ROW = Bridge("pb1", "system")
PORT_ROW = Port("qvo1", "br-int", {"os-vif": str(MARK)}, interface_ids=IDS, ofport=1)
TAP_PORT_ROW = replace(PORT_ROW, name="tap1")
VHU_ROW = replace(
    PORT_ROW,
    name="vhu1",
    interface_type="dpdkvhostuserclient",
    options={"vhost-server-path": "/run/vhu1"},
    mtu_request=1450,
)

CREATE_QBR = CreateLink("qbr1", "bridge", MARK.alias)
CREATE_QVB = CreateLink("qvb1", "veth", MARK.alias, peer="qvo1")
CREATE_TAP = CreateLink("tap1", "tun", MARK.alias)

# Bridges of the host's own interfaces ------------------------------------------------------------

BR_MARK, VLAN_MARK = Mark("linux_bridge", "bridge", "br1"), Mark("linux_bridge", "vlan", "vlan7")
ETH0 = HostInterface("eth0", 1450)
PARENT = HostInterface("eth0", 1450, shared=True)
BR = LinuxBridge("br1", BR_MARK, on_remove=OnRemove.KEEP)
RULES = ForwardingFilter("br1", {"bridge": "br1", "gateway": True})
ETH0_PORT = BridgePort("eth0", "br1", 1450)
VLAN = VlanDevice("vlan7", "eth0", 7, 1450, VLAN_MARK)
VLAN_PORT = BridgePort("vlan7", "br1", 1450)

FLAT = Wiring((ETH0, BR, RULES, ETH0_PORT))
UNFILTERED = Wiring((ETH0, BR, ETH0_PORT))
TAGGED = Wiring((PARENT, VLAN, BR, VLAN_PORT))

ON_BR = {key: value for key, value in ON_QBR.items() if key != "ageing"}
ETH0_LINK = new_link("eth0", "", mtu=1450, up=True)
BR_LINK = new_link("br1", "bridge", BR_MARK.alias, mtu=1450, **ON_BR)
VLAN_LINK = new_link("vlan7", "vlan", VLAN_MARK.alias, parent="eth0", vlan=7, mtu=1450, up=True)

CREATE_BR = CreateLink("br1", "bridge", BR_MARK.alias)
CREATE_VLAN = CreateLink("vlan7", "vlan", VLAN_MARK.alias, parent="eth0", vlan=7)
FILTER = FilterBridge("br1", RULES.settings)
JOIN, JOIN_VLAN = JoinBridge("eth0", "br1", 1450), JoinBridge("vlan7", "br1", 1450)


# What is found -----------------------------------------------------------------------------------


def found(*there: Link | Bridge | Port | str) -> Found:
    """What is there; a string is a device with a QoS row."""
    return Found(
        {one.name: one for one in there if isinstance(one, Link)},
        {one.name: one for one in there if isinstance(one, Bridge)},
        {one.name: one for one in there if isinstance(one, Port)},
        {one: "linux-noop" for one in there if isinstance(one, str)},
    )


def but(
    link: Link, alias: str | None = None, addresses: tuple[str, ...] = (), **attributes: Value
) -> Link:
    """A link with some things changed."""
    return replace(
        link,
        alias=link.alias if alias is None else alias,
        addresses=addresses,
        attributes={**link.attributes, **attributes},
    )


def less(link: Link, *attributes: str) -> Link:
    """A link of a kernel that does not have some attributes."""
    return replace(
        link, attributes={k: v for k, v in link.attributes.items() if k not in attributes}
    )


JOINED, VLAN_JOINED = but(ETH0_LINK, master="br1"), but(VLAN_LINK, master="br1")

#: Wirings, and all that is there when they are applied.
COMPLETE: dict[str, tuple[Wiring, tuple[Link | Bridge | Port, ...]]] = {
    "hybrid": (HYBRID, (QBR_LINK, QVB_LINK, QVO_LINK, BRIDGE_ROW, PORT_ROW)),
    "tap": (DIRECT, (TAP_LINK, BRIDGE_ROW, TAP_PORT_ROW)),
    "device of libvirt": (Wiring((DeviceMtu("tap1", 1450),)), (LIBVIRTS_TAP,)),
    "representor": (Wiring((VF,)), (VF_LINK,)),
    "vhost-user": (VHU, (BRIDGE_ROW, VHU_ROW)),
    "flat": (UNFILTERED, (JOINED, BR_LINK)),
    "vlan": (TAGGED, (ETH0_LINK, VLAN_JOINED, BR_LINK)),
}
ALL_OF_HYBRID, ALL_OF_DIRECT = COMPLETE["hybrid"][1], COMPLETE["tap"][1]


def changed(which: str, *changes: Link | Bridge | Port) -> tuple[Wiring, Found]:
    """A complete wiring, and what is there with some things exchanged for those of their names."""
    wiring, there = COMPLETE[which]
    instead = {(type(one), one.name) for one in changes}
    return wiring, found(*(one for one in there if (type(one), one.name) not in instead), *changes)
