# SPDX-License-Identifier: Apache-2.0
"""What each kind of VIF needs on the host, drawn as text."""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from os_vif.objects.vif import (
    DatapathOffloadRepresentor,
    VIFBase,
    VIFOpenVSwitch,
    VIFPortProfileFPOpenVSwitch,
    VIFPortProfileOVSRepresentor,
)
from os_vif.wiring.model import Wiring
from tests.drawing import draw
from tests.vifs import (
    instance,
    instance_id,
    interface_id,
    mac,
    vif_bridge,
    vif_host_device,
    vif_id,
    vif_open_vswitch,
    vif_vhost_user,
)
from vif_plug_ovs import shapes
from vif_plug_ovs.shapes import Settings
from vif_plug_ovs.shapes.request import DEAD, Facts

#: How the drawings name what is long. The patch port in front of a per-port bridge (PB) has the
#: VIF's id as its iface-id; what plug writes is what unplug looks for.
SHORT = {
    vif_id(): "VIF",
    interface_id(): "IFACE",
    instance_id(): "VM",
    mac(): "MAC",
    "identified_by={attached-mac=MAC iface-id=IFACE}": "KNOWN",
    "external_ids={attached-mac=MAC iface-id=IFACE iface-status=active vm-uuid=VM} KNOWN": "IDS",
    "external_ids={attached-mac=MAC iface-id=VIF iface-status=active vm-uuid=VM} "
    "identified_by={attached-mac=MAC iface-id=VIF}": "PB-IDS",
    "mark=ovs:perportbridge:VIF": "mark=PB",
    "external_ids={attached-mac=MAC bridge_name=tbr-0 iface-id=IFACE iface-status=active "
    "vm-uuid=VM} KNOWN": "TRUNK-IDS",
    str(DEAD): "DEAD",
}

TRUNK = "tbr-0"
PORT = {"create_port": True}
PORT_AND_TAP = {"create_port": True, "create_tap": True}
SYSTEM = {"datapath_type": "system"}
FIELDS = {"interface_id": interface_id(), "datapath_type": "netdev"}
OF_FAST_PATH = VIFPortProfileFPOpenVSwitch(**FIELDS)
OF_REPRESENTOR = VIFPortProfileOVSRepresentor(**FIELDS, representor_name="tapx")
OFFLOAD = DatapathOffloadRepresentor(representor_address="0000:03:00.2", representor_name="tapx")

# The profiles of tests.vifs are of datapath type netdev, so a port has no QoS unless it is said.
SETTINGS = Settings(network_device_mtu=1400)
PER_PORT_BRIDGE = Settings(per_port_bridge=True)
ISOLATED = Settings(isolate_vif=True)
HTB = Settings(default_qos_type="linux-htb")
FACTS = Facts("eth0_0", "0000:03:00.0", 1)


def vif_with_tap(profile: dict[str, Any] | None = None, **fields: Any) -> VIFOpenVSwitch:
    """A VIF whose port and tap os-vif makes."""
    return vif_open_vswitch(profile={**PORT_AND_TAP, **(profile or {})}, **fields)


def plugged(vif: VIFBase, settings: Settings) -> Wiring:
    return shapes.plugged(vif, instance(), settings, FACTS)


#: kind -> a VIF, the settings, the whole wiring
KINDS: dict[str, tuple[VIFBase, Settings, str]] = {
    "libvirt makes the port": (
        vif_open_vswitch(),
        SETTINGS,
        """
OvsBridge br-int datapath_type=netdev mark=ovs:openvswitch:VIF
leftover
  DeviceMtu tapa0000001-fe mtu=1450
  OvsBridge br-int datapath_type=netdev mark=ovs:openvswitch:VIF
  OvsPort tapa0000001-fe bridge=br-int device=False IDS mark=ovs:openvswitch:VIF
  OvsBridge br-int datapath_type=netdev mark=PB
  OvsBridge pba0000001-fee datapath_type=netdev joined_to=br-int mark=PB on_remove=DELETE
  OvsPort tapa0000001-fe bridge=pba0000001-fee device=False KNOWN mark=PB
  OvsPort pbpVIF bridge=pba0000001-fee interface_type=patch mark=PB options={peer=ibpVIF}
  OvsPort ibpVIF bridge=br-int PB-IDS interface_type=patch mark=PB options={peer=pbpVIF}
  Tap tapa0000001-fe mac=MAC mark=PB mtu=1450
  LinuxBridge qbra0000001-fe ageing=0 mark=ovs:hybrid:VIF
  VethPair qvba0000001-fe bridge=qbra0000001-fe mark=ovs:hybrid:VIF mtu=1450 peer=qvoa0000001-fe
  OvsBridge br-int datapath_type=netdev mark=ovs:hybrid:VIF
  OvsPort qvoa0000001-fe bridge=br-int IDS mark=ovs:hybrid:VIF
  Tap tapa0000001-fe mac=MAC mark=ovs:openvswitch:VIF mtu=1450
""",
    ),
    "create_tap": (
        vif_with_tap(),
        SETTINGS,
        """
Tap tapa0000001-fe mac=MAC mark=ovs:openvswitch:VIF mtu=1450
OvsBridge br-int datapath_type=netdev mark=ovs:openvswitch:VIF
OvsPort tapa0000001-fe bridge=br-int IDS mark=ovs:openvswitch:VIF
detected by OvsPort tapa0000001-fe, with device tapa0000001-fe
or
  Tap tapa0000001-fe mac=MAC mark=PB mtu=1450
  OvsBridge br-int datapath_type=netdev mark=PB
  OvsBridge pba0000001-fee datapath_type=netdev joined_to=br-int mark=PB on_remove=DELETE
  OvsPort tapa0000001-fe bridge=pba0000001-fee KNOWN mark=PB
  OvsPort pbpVIF bridge=pba0000001-fee interface_type=patch mark=PB options={peer=ibpVIF}
  OvsPort ibpVIF bridge=br-int PB-IDS interface_type=patch mark=PB options={peer=pbpVIF}
  detected by OvsBridge pba0000001-fee, with device tapa0000001-fe
  leftover
    Tap tapa0000001-fe mac=MAC mark=PB mtu=1450
or
  LinuxBridge qbra0000001-fe ageing=0 mark=ovs:hybrid:VIF
  VethPair qvba0000001-fe bridge=qbra0000001-fe mark=ovs:hybrid:VIF mtu=1450 peer=qvoa0000001-fe
  OvsBridge br-int datapath_type=netdev mark=ovs:hybrid:VIF
  OvsPort qvoa0000001-fe bridge=br-int IDS mark=ovs:hybrid:VIF
  detected by OvsPort qvoa0000001-fe, with device qbra0000001-fe
leftover
  Tap tapa0000001-fe mac=MAC mark=ovs:openvswitch:VIF mtu=1450
""",
    ),
    "per-port bridge": (
        vif_with_tap(),
        PER_PORT_BRIDGE,
        """
Tap tapa0000001-fe mac=MAC mark=PB mtu=1450
OvsBridge br-int datapath_type=netdev mark=PB
OvsBridge pba0000001-fee datapath_type=netdev joined_to=br-int mark=PB on_remove=DELETE
OvsPort tapa0000001-fe bridge=pba0000001-fee KNOWN mark=PB
OvsPort pbpVIF bridge=pba0000001-fee interface_type=patch mark=PB options={peer=ibpVIF}
OvsPort ibpVIF bridge=br-int PB-IDS interface_type=patch mark=PB options={peer=pbpVIF}
detected by OvsBridge pba0000001-fee, with device tapa0000001-fe
or
  Tap tapa0000001-fe mac=MAC mark=ovs:openvswitch:VIF mtu=1450
  OvsBridge br-int datapath_type=netdev mark=ovs:openvswitch:VIF
  OvsPort tapa0000001-fe bridge=br-int IDS mark=ovs:openvswitch:VIF
  detected by OvsPort tapa0000001-fe, with device tapa0000001-fe
  leftover
    Tap tapa0000001-fe mac=MAC mark=ovs:openvswitch:VIF mtu=1450
or
  LinuxBridge qbra0000001-fe ageing=0 mark=ovs:hybrid:VIF
  VethPair qvba0000001-fe bridge=qbra0000001-fe mark=ovs:hybrid:VIF mtu=1450 peer=qvoa0000001-fe
  OvsBridge br-int datapath_type=netdev mark=ovs:hybrid:VIF
  OvsPort qvoa0000001-fe bridge=br-int IDS mark=ovs:hybrid:VIF
  detected by OvsPort qvoa0000001-fe, with device qbra0000001-fe
leftover
  Tap tapa0000001-fe mac=MAC mark=PB mtu=1450
""",
    ),
    "no id: the device's name is the owner (Neutron's agent)": (
        vif_with_tap(unset="id", vif_name="tap-of-ours"),
        PER_PORT_BRIDGE,
        """
Tap tap-of-ours mac=MAC mark=ovs:openvswitch:tap-of-ours mtu=1450
OvsBridge br-int datapath_type=netdev mark=ovs:openvswitch:tap-of-ours
OvsPort tap-of-ours bridge=br-int IDS mark=ovs:openvswitch:tap-of-ours
detected by OvsPort tap-of-ours, with device tap-of-ours
leftover
  Tap tap-of-ours mac=MAC mark=ovs:openvswitch:tap-of-ours mtu=1450
""",
    ),
    "hybrid": (
        vif_bridge(),
        SETTINGS,
        """
LinuxBridge qbra0000001-fe ageing=0 mark=ovs:hybrid:VIF
VethPair qvba0000001-fe bridge=qbra0000001-fe mark=ovs:hybrid:VIF mtu=1450 peer=qvoa0000001-fe
OvsBridge br-int datapath_type=netdev mark=ovs:hybrid:VIF
OvsPort qvoa0000001-fe bridge=br-int IDS mark=ovs:hybrid:VIF
detected by OvsPort qvoa0000001-fe, with device qbra0000001-fe
or
  DeviceMtu tapa0000001-fe mtu=1450
  OvsBridge br-int datapath_type=netdev mark=ovs:openvswitch:VIF
  OvsPort tapa0000001-fe bridge=br-int device=False IDS mark=ovs:openvswitch:VIF
  detected by OvsPort tapa0000001-fe, with device tapa0000001-fe
  leftover
    Tap tapa0000001-fe mac=MAC mark=ovs:openvswitch:VIF mtu=1450
or
  DeviceMtu tapa0000001-fe mtu=1450
  OvsBridge br-int datapath_type=netdev mark=PB
  OvsBridge pba0000001-fee datapath_type=netdev joined_to=br-int mark=PB on_remove=DELETE
  OvsPort tapa0000001-fe bridge=pba0000001-fee device=False KNOWN mark=PB
  OvsPort pbpVIF bridge=pba0000001-fee interface_type=patch mark=PB options={peer=ibpVIF}
  OvsPort ibpVIF bridge=br-int PB-IDS interface_type=patch mark=PB options={peer=pbpVIF}
  detected by OvsBridge pba0000001-fee, with device tapa0000001-fe
  leftover
    Tap tapa0000001-fe mac=MAC mark=PB mtu=1450
""",
    ),
    "vhost-user": (
        vif_vhost_user(),
        SETTINGS,
        """
OvsBridge br-int datapath_type=netdev mark=ovs:vhostuser:VIF
OvsPort vhua0000001-fe bridge=br-int IDS interface_type=dpdkvhostuserclient \
mark=ovs:vhostuser:VIF mtu_request=1450 options={vhost-server-path=/run/vhu1}
""",
    ),
    "representor": (
        vif_host_device(profile=SYSTEM),
        SETTINGS,
        """
Representor eth0_0 mtu=1450
OvsBridge br-int datapath_type=system mark=ovs:representor:VIF
OvsPort eth0_0 bridge=br-int IDS mark=ovs:representor:VIF qos_type=linux-noop
""",
    ),
    "DPDK": (
        vif_host_device(),
        SETTINGS,
        """
OvsBridge br-int datapath_type=netdev mark=ovs:representor:VIF
OvsPort vfra0000001-fe bridge=br-int IDS interface_type=dpdk mark=ovs:representor:VIF \
mtu_request=1450 options={dpdk-devargs=0000:03:00.0,representor=[1]}
""",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_drawn(kind: str) -> None:
    vif, settings, text = KINDS[kind]
    assert draw(plugged(vif, settings), SHORT) == text.strip()


# What differs from the drawings above ------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A VIF and settings, and what they change in the drawing of the kind."""

    vif: VIFBase
    settings: Settings
    changes: list[str]


def case(vif: VIFBase, *changes: str, settings: Settings = SETTINGS) -> Case:
    return Case(vif, settings, list(changes))


LISTENS = (
    "OvsPort vhua0000001-fe interface_type=dpdkvhostuser -options={vhost-server-path=/run/vhu1}"
)
#: kind -> what is other
VARIATIONS: dict[str, dict[str, Case]] = {
    "libvirt makes the port": {
        "create_tap alone makes no tap": case(
            vif_open_vswitch(profile={"create_port": False, "create_tap": True})
        ),
        "libvirt's is not isolated": case(vif_open_vswitch(), settings=ISOLATED),
        "it has no bridge of its own": case(vif_open_vswitch(), settings=PER_PORT_BRIDGE),
        "the bridge of a trunk": case(
            vif_open_vswitch(network={"bridge": TRUNK}), "OvsBridge tbr-0 on_remove=DELETE"
        ),
    },
    "create_tap": {
        "create_port: the tap comes later, and gets its MTU if it is there": case(
            vif_open_vswitch(profile=PORT),
            "DeviceMtu tapa0000001-fe mtu=1450",
            "OvsPort tapa0000001-fe device=False",
        ),
        "for libvirt's tap, too, the configured MTU": case(
            vif_open_vswitch(network={"mtu": None}, profile=PORT),
            "DeviceMtu tapa0000001-fe mtu=1400",
            "OvsPort tapa0000001-fe device=False",
        ),
        "isolated before its tap comes": case(
            vif_open_vswitch(profile=PORT),
            "DeviceMtu tapa0000001-fe mtu=1450",
            "OvsPort tapa0000001-fe device=False vlan=DEAD",
            settings=ISOLATED,
        ),
        "multiqueue": case(
            vif_with_tap({"multiqueue": True}), "Tap tapa0000001-fe multiqueue=True"
        ),
        "the device bears vif_name": case(
            vif_with_tap(vif_name="nic0"), "Tap nic0", "OvsPort nic0"
        ),
        "without vif_name, named after the id": case(vif_with_tap(unset="vif_name")),
        "an empty vif_name is as good as none": case(vif_with_tap(vif_name="")),
        "no datapath type is system": case(
            vif_with_tap(unset="profile.datapath_type"),
            "OvsBridge br-int datapath_type=system",
            "OvsPort tapa0000001-fe qos_type=linux-noop",
        ),
        "the network's MTU": case(
            vif_with_tap(network={"mtu": 9000}), "Tap tapa0000001-fe mtu=9000"
        ),
        "for an MTU of None the configured one": case(
            vif_with_tap(network={"mtu": None}), "Tap tapa0000001-fe mtu=1400"
        ),
        "for an MTU of 0 the configured one": case(
            vif_with_tap(network={"mtu": 0}), "Tap tapa0000001-fe mtu=1400"
        ),
        "the OVS bridge is network.bridge, never bridge_name": case(
            vif_with_tap(network={"bridge": "br-0"}, bridge_name="br-other"),
            "OvsBridge br-0",
            "OvsPort tapa0000001-fe bridge=br-0",
        ),
        "a MAC address in capitals": case(vif_with_tap(address="FA:16:3E:00:00:01")),
        "the configured QoS": case(
            vif_with_tap(SYSTEM),
            "OvsBridge br-int datapath_type=system",
            "OvsPort tapa0000001-fe qos_type=linux-htb",
            settings=HTB,
        ),
        "no QoS in user space": case(vif_with_tap(), settings=HTB),
        "isolated": case(vif_with_tap(), "OvsPort tapa0000001-fe vlan=DEAD", settings=ISOLATED),
        "the bridge of a trunk goes with it, is found by an id, and isolates nothing": case(
            vif_with_tap(network={"bridge": TRUNK}),
            "OvsBridge tbr-0 on_remove=DELETE",
            "OvsPort tapa0000001-fe bridge=tbr-0 TRUNK-IDS -IDS",
            settings=ISOLATED,
        ),
        "tbr is not the name of a trunk": case(
            vif_with_tap(network={"bridge": "tbr"}),
            "OvsBridge tbr",
            "OvsPort tapa0000001-fe bridge=tbr vlan=DEAD",
            settings=ISOLATED,
        ),
    },
    "per-port bridge": {
        "multiqueue": case(
            vif_with_tap({"multiqueue": True}),
            "Tap tapa0000001-fe multiqueue=True",
            settings=PER_PORT_BRIDGE,
        ),
        "before its tap comes": case(
            vif_open_vswitch(profile=PORT),
            "DeviceMtu tapa0000001-fe mtu=1450",
            "OvsPort tapa0000001-fe device=False",
            settings=PER_PORT_BRIDGE,
        ),
        "it is named after the id, whatever the device's name": case(
            vif_with_tap(vif_name="nic0"), "Tap nic0", "OvsPort nic0", settings=PER_PORT_BRIDGE
        ),
        "QoS of the tap, not of the patch ports": case(
            vif_with_tap(SYSTEM),
            "OvsBridge br-int datapath_type=system",
            "OvsBridge pba0000001-fee datapath_type=system",
            "OvsPort tapa0000001-fe qos_type=linux-htb",
            settings=Settings(per_port_bridge=True, default_qos_type="linux-htb"),
        ),
        "the integration bridge's patch port is isolated": case(
            vif_with_tap(),
            "OvsPort ibpVIF vlan=DEAD",
            settings=Settings(per_port_bridge=True, isolate_vif=True),
        ),
        "before the bridge of a trunk": case(
            vif_with_tap(network={"bridge": TRUNK}),
            "OvsBridge tbr-0 on_remove=DELETE",
            "OvsBridge pba0000001-fee joined_to=tbr-0",
            "OvsPort ibpVIF bridge=tbr-0 external_ids={attached-mac=MAC bridge_name=tbr-0 "
            "iface-id=VIF iface-status=active vm-uuid=VM} identified_by={attached-mac=MAC "
            "iface-id=VIF} -PB-IDS",
            settings=Settings(per_port_bridge=True, isolate_vif=True),
        ),
    },
    "hybrid": {
        "the Linux bridge is bridge_name, the veths are named after the id": case(
            vif_bridge(unset="vif_name", bridge_name="qbr-mine", network={"mtu": 0}),
            "LinuxBridge qbr-mine",
            "VethPair qvba0000001-fe bridge=qbr-mine mtu=1400",
        ),
        "create_port and multiqueue change nothing": case(
            vif_bridge(profile={"create_port": True, "multiqueue": True})
        ),
        "isolated": case(vif_bridge(), "OvsPort qvoa0000001-fe vlan=DEAD", settings=ISOLATED),
        "no bridge of its own": case(vif_bridge(), settings=PER_PORT_BRIDGE),
        "the configured QoS": case(
            vif_bridge(profile=SYSTEM),
            "OvsBridge br-int datapath_type=system",
            "OvsPort qvoa0000001-fe qos_type=linux-htb",
            settings=HTB,
        ),
        "the bridge of a trunk": case(
            vif_bridge(network={"bridge": TRUNK}),
            "OvsBridge tbr-0 on_remove=DELETE",
            "OvsPort qvoa0000001-fe bridge=tbr-0 TRUNK-IDS -IDS",
            settings=ISOLATED,
        ),
        "a profile of a fast path": case(vif_bridge(profile=OF_FAST_PATH)),
        "a profile of a representor": case(vif_bridge(profile=OF_REPRESENTOR)),
    },
    "vhost-user": {
        "the guest is the client": case(vif_vhost_user(mode="client"), LISTENS),
        "ovs-vswitchd listens where it likes": case(
            vif_vhost_user(mode="client", unset="path"), LISTENS
        ),
        "without a datapath type it is user space, and has no QoS": case(
            vif_vhost_user(unset="profile.datapath_type"), settings=HTB
        ),
        "the network's MTU": case(
            vif_vhost_user(network={"mtu": 9000}), "OvsPort vhua0000001-fe mtu_request=9000"
        ),
        "the configured MTU": case(
            vif_vhost_user(network={"mtu": 0}), "OvsPort vhua0000001-fe mtu_request=1400"
        ),
        "the port is named after the id": case(vif_vhost_user(unset="vif_name")),
        "no bridge of its own": case(vif_vhost_user(), settings=PER_PORT_BRIDGE),
        "isolated": case(vif_vhost_user(), "OvsPort vhua0000001-fe vlan=DEAD", settings=ISOLATED),
    },
    "representor": {
        "the kernel's datapath by default": case(vif_host_device(unset="profile.datapath_type")),
        "the configured QoS": case(
            vif_host_device(profile=SYSTEM), "OvsPort eth0_0 qos_type=linux-htb", settings=HTB
        ),
        "isolated": case(
            vif_host_device(profile=SYSTEM), "OvsPort eth0_0 vlan=DEAD", settings=ISOLATED
        ),
        "no bridge of its own": case(vif_host_device(profile=SYSTEM), settings=PER_PORT_BRIDGE),
        "the configured MTU": case(
            vif_host_device(profile=SYSTEM, network={"mtu": None}), "Representor eth0_0 mtu=1400"
        ),
        "nothing is named by representor_name, which no device has": case(
            vif_host_device(profile={**SYSTEM, "datapath_offload": OFFLOAD})
        ),
    },
    "DPDK": {
        "nothing is named by representor_name": case(vif_host_device(profile=OF_REPRESENTOR)),
        "no QoS in user space": case(vif_host_device(), settings=HTB),
        "isolated, with the network's MTU": case(
            vif_host_device(network={"mtu": 9000}),
            "OvsPort vfra0000001-fe mtu_request=9000 vlan=DEAD",
            settings=ISOLATED,
        ),
    },
}
#: Blanks between fields, not those inside of a mapping.
FIELD_GAP = re.compile(" (?![^{]*})")


def every(cases: dict[str, dict[str, Case]]) -> list[tuple[str, str]]:
    return [(kind, what) for kind, varied in cases.items() for what in varied]


def differing(kind: str, wiring: Wiring) -> list[str]:
    """Return what is other than in the drawing of a kind: elements with the fields that differ."""
    vif, settings, _ = KINDS[kind]
    before, after = (
        draw(Wiring(one.elements), SHORT).splitlines() for one in (plugged(vif, settings), wiring)
    )
    return [_changes(*pair) for pair in zip(before, after, strict=True) if len(set(pair)) == 2]


def _changes(before: str, after: str) -> str:
    (kind, *was), (same_kind, name, *now) = (FIELD_GAP.split(line) for line in (before, after))
    if kind != same_kind:
        return after
    keys = {field.partition("=")[0] for field in now}
    gone = [f"-{field}" for field in was[1:] if field.partition("=")[0] not in keys]
    return " ".join([kind, name, *(field for field in now if field not in was), *gone])


@pytest.mark.parametrize(("kind", "what"), every(VARIATIONS))
def test_a_field_or_a_setting_changes_this_and_nothing_else(kind: str, what: str) -> None:
    varied = VARIATIONS[kind][what]
    assert differing(kind, plugged(varied.vif, varied.settings)) == varied.changes


# Unplugging, from names alone -------------------------------------------------------------------

FORGOTTEN = ["address", "network.mtu", "profile.interface_id"]

#: kind -> what is set
UNPLUGGED: dict[str, dict[str, Case]] = {
    "create_tap": {
        "everything is set": case(
            vif_with_tap(),
            "Tap tapa0000001-fe mtu=None",
            "OvsPort tapa0000001-fe external_ids={attached-mac=MAC iface-id=IFACE "
            "iface-status=active} KNOWN -IDS",
        ),
        "the name is made of the id": case(
            vif_open_vswitch(unset=["vif_name", *FORGOTTEN], profile=PORT),
            "DeviceMtu tapa0000001-fe mtu=None",
            "OvsPort tapa0000001-fe device=False external_ids={iface-status=active} -IDS",
        ),
        "what no name is made of may be nonsense": case(
            vif_open_vswitch(address=None, network={"mtu": 0}, profile=PORT),
            "DeviceMtu tapa0000001-fe mtu=None",
            "OvsPort tapa0000001-fe device=False external_ids={iface-id=IFACE "
            "iface-status=active} identified_by={iface-id=IFACE} -IDS",
        ),
    },
    "libvirt makes the port": {
        "names alone": case(vif_open_vswitch(unset=FORGOTTEN)),
        "the bridge of a trunk goes": case(
            vif_open_vswitch(network={"bridge": TRUNK}, unset=FORGOTTEN),
            "OvsBridge tbr-0 on_remove=DELETE",
        ),
    },
    "no id: the device's name is the owner (Neutron's agent)": {
        "names alone": case(
            vif_with_tap(unset=["id", *FORGOTTEN], vif_name="tap-of-ours"),
            "Tap tap-of-ours mac=None mtu=None",
            "OvsPort tap-of-ours external_ids={iface-status=active} -IDS",
        ),
    },
    "hybrid": {
        "create_tap, which plug refuses, is no reason to leave it there": case(
            vif_bridge(unset=["vif_name", *FORGOTTEN], profile={"create_tap": True}),
            "VethPair qvba0000001-fe mtu=None",
            "OvsPort qvoa0000001-fe external_ids={iface-status=active} -IDS",
        ),
    },
    "vhost-user": {
        "neither mode nor path is known": case(
            vif_vhost_user(unset=["vif_name", "mode", "path", *FORGOTTEN]),
            "OvsPort vhua0000001-fe external_ids={iface-status=active} "
            "interface_type=dpdkvhostuser -IDS -mtu_request=1450 "
            "-options={vhost-server-path=/run/vhu1}",
        ),
        "the server's path is not known": case(
            vif_vhost_user(unset=["path", *FORGOTTEN]),
            "OvsPort vhua0000001-fe external_ids={iface-status=active} "
            "options={vhost-server-path=None} -IDS -mtu_request=1450",
        ),
    },
    "representor": {
        "names alone": case(
            vif_host_device(unset=["profile.datapath_type", *FORGOTTEN]),
            "Representor eth0_0 mtu=None",
            "OvsPort eth0_0 external_ids={iface-status=active} -IDS",
        ),
    },
    "DPDK": {
        "names alone": case(
            vif_host_device(unset=FORGOTTEN),
            "OvsPort vfra0000001-fe external_ids={iface-status=active} -IDS -mtu_request=1450",
        ),
    },
}


@pytest.mark.parametrize(("kind", "what"), every(UNPLUGGED))
def test_unplug_is_drawn_from_what_is_set(kind: str, what: str) -> None:
    bare = UNPLUGGED[kind][what]
    drawn = shapes.unplugged(bare.vif, instance(unset=["uuid", "name"]), FACTS)
    assert differing(kind, drawn) == bare.changes


@pytest.mark.parametrize("kind", KINDS)
def test_unplug_looks_for_the_shapes_that_plug_may_find(kind: str) -> None:
    """In whatever order: plug prefers that of today's settings."""
    vif, settings, _ = KINDS[kind]

    def shapes_of(wiring: Wiring) -> set[frozenset[str]]:
        shapes = (wiring, *wiring.alternatives)
        return {frozenset(p for e in one.elements for p in e.scope.ports) for one in shapes}

    assert shapes_of(shapes.unplugged(vif, instance(), FACTS)) == shapes_of(plugged(vif, settings))
