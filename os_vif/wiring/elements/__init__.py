# SPDX-License-Identifier: Apache-2.0
"""The elements of which a wiring consists, one file each.

An element's file says what it is, what the kernel or OVSDB must hold of it and why, how what was
found differs, and by which steps it is made and removed.

``element``            what they have in common
``link``               what those that consist of links have in common
``linux_bridge``       a bridge of the kernel
``veth_pair``          a virtual cable from a Linux bridge to elsewhere
``tap``                a tap that os-vif makes
``vlan_device``        a VLAN device on an interface of the host
``host_interface``     an interface of the host that leads to a physical network
``bridge_port``        an interface of the host in a Linux bridge
``forwarding_filter``  what a firewall lets a Linux bridge forward
``representor``        the representor of a virtual function
``device_mtu``         the MTU of a device that is not made by os-vif
``ovs_bridge``         an Open vSwitch bridge
``ovs_port``           a port of an Open vSwitch bridge
``unchanged``          what must be as it was when something was decided about it
"""

from os_vif.wiring.elements.bridge_port import BridgePort
from os_vif.wiring.elements.device_mtu import DeviceMtu
from os_vif.wiring.elements.element import Element, OnRemove
from os_vif.wiring.elements.forwarding_filter import ForwardingFilter
from os_vif.wiring.elements.host_interface import HostInterface
from os_vif.wiring.elements.linux_bridge import LinuxBridge
from os_vif.wiring.elements.ovs_bridge import OvsBridge
from os_vif.wiring.elements.ovs_port import OvsPort
from os_vif.wiring.elements.representor import Representor
from os_vif.wiring.elements.tap import Tap
from os_vif.wiring.elements.unchanged import Unchanged
from os_vif.wiring.elements.veth_pair import VethPair
from os_vif.wiring.elements.vlan_device import VlanDevice

__all__ = [
    "BridgePort",
    "DeviceMtu",
    "Element",
    "ForwardingFilter",
    "HostInterface",
    "LinuxBridge",
    "OnRemove",
    "OvsBridge",
    "OvsPort",
    "Representor",
    "Tap",
    "Unchanged",
    "VethPair",
    "VlanDevice",
]
