# SPDX-License-Identifier: Apache-2.0
"""What each kind of VIF needs on the host, as whole values."""

from typing import Any

import pytest

from os_vif.objects.vif import (
    DatapathOffloadRepresentor,
    VIFBase,
    VIFPortProfileFPOpenVSwitch,
    VIFPortProfileOVSRepresentor,
)
from os_vif.wiring.elements import (
    DeviceMtu,
    Element,
    LinuxBridge,
    OnRemove,
    OvsBridge,
    OvsPort,
    Representor,
    Tap,
    VethPair,
)
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
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
from vif_plug_ovs.shapes import Facts, Settings
from vif_plug_ovs.shapes.request import DEAD

# What is expected, by names that say what differs; the profiles of tests.vifs are of datapath type
# netdev, so a port has no QoS unless it is said otherwise. --------------------------------------

IDS = {
    "iface-id": interface_id(1),
    "iface-status": "active",
    "attached-mac": mac(1),
    "vm-uuid": instance_id(1),
}
#: Those by which a port is recognised.
KNOWN = {"iface-id": interface_id(1), "attached-mac": mac(1)}
TRUNK = "tbr-0123abcd-4"

TAP, QBR, QVB, QVO = "tapa0000001-fe", "qbra0000001-fe", "qvba0000001-fe", "qvoa0000001-fe"
PB, PBP, IBP = "pba0000001-fee", "pbp" + vif_id(1), "ibp" + vif_id(1)
VHU, VFR = "vhua0000001-fe", "vfra0000001-fe"

PLAIN = Mark("ovs", "openvswitch", vif_id(1))
PLAIN_BY_NAME = Mark("ovs", "openvswitch", "tap-of-ours")
OWN = Mark("ovs", "perportbridge", vif_id(1))
HYBRID = Mark("ovs", "hybrid", vif_id(1))
VHOST = Mark("ovs", "vhostuser", vif_id(1))
VF = Mark("ovs", "representor", vif_id(1))


def a_tap(name: str = TAP, mark: Mark = PLAIN, mtu: int | None = 1450, **more: Any) -> Tap:
    """A tap that os-vif makes."""
    return Tap(name, **{"mac": mac(1), "mtu": mtu, "mark": mark, **more})


def a_bridge(
    name: str = "br-int",
    mark: Mark = PLAIN,
    datapath: str = "netdev",
    goes: bool = False,
    joined_to: str = "",
) -> OvsBridge:
    """An OVS bridge; one that goes is deleted by unplug."""
    on_remove = OnRemove.DELETE if goes else OnRemove.KEEP
    return OvsBridge(name, datapath, mark, on_remove, joined_to)


def a_port(name: str = TAP, mark: Mark = PLAIN, bridge: str = "br-int", **more: Any) -> OvsPort:
    """A port that stands for the VIF, with its ids."""
    return OvsPort(name, bridge, mark, **{"external_ids": IDS, "identified_by": KNOWN, **more})


def hybrid(qbr: str = QBR, mtu: int | None = 1450, **port: Any) -> tuple[Element, ...]:
    """The hybrid plug on a bridge of the datapath in user space."""
    return (
        LinuxBridge(qbr, HYBRID, ageing=0),
        VethPair(QVB, QVO, qbr, mtu, HYBRID),
        a_bridge(mark=HYBRID),
        a_port(QVO, HYBRID, **port),
    )


def own_bridge(
    device: Tap | DeviceMtu,
    datapath: str = "netdev",
    qos_type: str | None = None,
    integration: OvsBridge | None = None,
    ids: dict[str, str] = IDS,
    **patch: Any,
) -> tuple[Element, ...]:
    """A per-port bridge between a device and the integration bridge."""
    integration = integration or a_bridge(mark=OWN, datapath=datapath)
    ours = isinstance(device, Tap)
    return (
        device,
        integration,
        a_bridge(PB, OWN, datapath, goes=True, joined_to=integration.name),
        a_port(device.name, OWN, PB, external_ids={}, device=ours, qos_type=qos_type),
        OvsPort(PBP, PB, OWN, "patch", options={"peer": IBP}),
        a_port(
            IBP,
            OWN,
            integration.name,
            interface_type="patch",
            external_ids={**ids, "iface-id": vif_id(1)},
            # What plug writes is what unplug has to look for.
            identified_by={**KNOWN, "iface-id": vif_id(1)},
            options={"peer": PBP},
            **patch,
        ),
    )


PORT = {"create_port": True}
PORT_AND_TAP = {"create_port": True, "create_tap": True}
SYSTEM = {"datapath_type": "system"}

SETTINGS = Settings(network_device_mtu=1400)
PER_PORT_BRIDGE = Settings(per_port_bridge=True)
ISOLATED = Settings(isolate_vif=True)
HTB = Settings(default_qos_type="linux-htb")

KERNEL_VF = Facts("eth0_0", "0000:03:00.0", 1)
DPDK_VF = Facts(pf_address="0000:03:00.0", vf_number=1)


# VIFOpenVSwitch ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vif", "settings", "elements"),
    [
        pytest.param(vif_open_vswitch(), SETTINGS, (a_bridge(),), id="libvirt makes port and tap"),
        pytest.param(
            vif_open_vswitch(profile={"create_port": False, "create_tap": False}),
            SETTINGS,
            (a_bridge(),),
            id="switches that are off are as good as unset",
        ),
        pytest.param(
            vif_open_vswitch(profile={"create_tap": True}),
            SETTINGS,
            (a_bridge(),),
            id="create_tap alone makes no tap",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT),
            SETTINGS,
            (DeviceMtu(TAP, 1450), a_bridge(), a_port(device=False)),
            id="create_port: the tap comes later, and gets its MTU if it is there",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            SETTINGS,
            (a_tap(), a_bridge(), a_port()),
            id="create_tap: the tap comes first",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT_AND_TAP, "multiqueue": True}),
            SETTINGS,
            (a_tap(multiqueue=True), a_bridge(), a_port()),
            id="multiqueue",
        ),
        pytest.param(
            vif_open_vswitch(vif_name="nic0", profile=PORT_AND_TAP),
            SETTINGS,
            (a_tap("nic0"), a_bridge(), a_port("nic0")),
            id="the device bears vif_name",
        ),
        pytest.param(
            vif_open_vswitch(unset="vif_name", profile=PORT_AND_TAP),
            SETTINGS,
            (a_tap(), a_bridge(), a_port()),
            id="without vif_name the device is named after the id",
        ),
        pytest.param(
            vif_open_vswitch(vif_name="", profile=PORT_AND_TAP),
            SETTINGS,
            (a_tap(), a_bridge(), a_port()),
            id="an empty vif_name is as good as none",
        ),
        pytest.param(
            vif_open_vswitch(unset="id", vif_name="tap-of-ours", profile=PORT_AND_TAP),
            SETTINGS,
            (
                a_tap("tap-of-ours", PLAIN_BY_NAME),
                a_bridge(mark=PLAIN_BY_NAME),
                a_port("tap-of-ours", PLAIN_BY_NAME),
            ),
            id="without an id the device's name is the owner (Neutron's agent)",
        ),
        pytest.param(
            vif_open_vswitch(unset="profile.datapath_type", profile=PORT_AND_TAP),
            SETTINGS,
            (a_tap(), a_bridge(datapath="system"), a_port(qos_type="linux-noop")),
            id="no datapath type is system",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT_AND_TAP, "datapath_type": None}),
            SETTINGS,
            (a_tap(), a_bridge(datapath="system"), a_port(qos_type="linux-noop")),
            id="a datapath type of None is system",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT_AND_TAP, "datapath_type": ""}),
            SETTINGS,
            (a_tap(), a_bridge(datapath="system"), a_port(qos_type="linux-noop")),
            id="an empty datapath type is system",
        ),
        pytest.param(
            vif_open_vswitch(network={"mtu": 9000}, profile=PORT_AND_TAP),
            SETTINGS,
            (a_tap(mtu=9000), a_bridge(), a_port()),
            id="the network's MTU",
        ),
        *(
            pytest.param(
                vif_open_vswitch(network={"mtu": unset}, profile=PORT_AND_TAP),
                SETTINGS,
                (a_tap(mtu=1400), a_bridge(), a_port()),
                id=f"for {unset} the configured MTU",
            )
            for unset in (None, 0)
        ),
        pytest.param(
            vif_open_vswitch(network={"mtu": None}, profile=PORT),
            SETTINGS,
            (DeviceMtu(TAP, 1400), a_bridge(), a_port(device=False)),
            id="for somebody else's tap too",
        ),
        pytest.param(
            vif_open_vswitch(
                network={"bridge": "br-0"}, bridge_name="br-other", profile=PORT_AND_TAP
            ),
            SETTINGS,
            (a_tap(), a_bridge("br-0"), a_port(bridge="br-0")),
            id="the OVS bridge is network.bridge, never bridge_name",
        ),
        pytest.param(
            vif_open_vswitch(address="FA:16:3E:00:00:01", profile=PORT_AND_TAP),
            SETTINGS,
            (a_tap(), a_bridge(), a_port()),
            id="a MAC address in capitals",
        ),
        # default_qos_type
        pytest.param(
            vif_open_vswitch(profile={**PORT_AND_TAP, **SYSTEM}),
            HTB,
            (a_tap(), a_bridge(datapath="system"), a_port(qos_type="linux-htb")),
            id="the configured QoS",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT, **SYSTEM}),
            HTB,
            (
                DeviceMtu(TAP, 1450),
                a_bridge(datapath="system"),
                a_port(device=False, qos_type="linux-htb"),
            ),
            id="the configured QoS of a tap that comes later",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            HTB,
            (a_tap(), a_bridge(), a_port()),
            id="no QoS in user space",
        ),
        # isolate_vif
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            ISOLATED,
            (a_tap(), a_bridge(), a_port(vlan=DEAD)),
            id="isolated",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT),
            ISOLATED,
            (DeviceMtu(TAP, 1450), a_bridge(), a_port(device=False, vlan=DEAD)),
            id="isolated before its tap comes",
        ),
        pytest.param(vif_open_vswitch(), ISOLATED, (a_bridge(),), id="libvirt's is not isolated"),
        # trunks
        pytest.param(
            vif_open_vswitch(network={"bridge": TRUNK}, profile=PORT_AND_TAP),
            SETTINGS,
            (
                a_tap(),
                a_bridge(TRUNK, goes=True),
                a_port(bridge=TRUNK, external_ids={**IDS, "bridge_name": TRUNK}),
            ),
            id="the bridge of a trunk goes with it, and Neutron finds it by an id",
        ),
        pytest.param(
            vif_open_vswitch(network={"bridge": TRUNK}, profile=PORT_AND_TAP),
            ISOLATED,
            (
                a_tap(),
                a_bridge(TRUNK, goes=True),
                a_port(bridge=TRUNK, external_ids={**IDS, "bridge_name": TRUNK}),
            ),
            id="nothing is isolated on the bridge of a trunk",
        ),
        pytest.param(
            vif_open_vswitch(network={"bridge": TRUNK}),
            SETTINGS,
            (a_bridge(TRUNK, goes=True),),
            id="the bridge of a trunk whose port libvirt makes",
        ),
        pytest.param(
            vif_open_vswitch(network={"bridge": "tbr"}, profile=PORT_AND_TAP),
            ISOLATED,
            (a_tap(), a_bridge("tbr"), a_port(bridge="tbr", vlan=DEAD)),
            id="tbr is no trunk",
        ),
        # per_port_bridge
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            PER_PORT_BRIDGE,
            own_bridge(a_tap(mark=OWN)),
            id="a bridge of its own",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT_AND_TAP, "multiqueue": True}),
            PER_PORT_BRIDGE,
            own_bridge(a_tap(mark=OWN, multiqueue=True)),
            id="a bridge of its own, multiqueue",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT),
            PER_PORT_BRIDGE,
            own_bridge(DeviceMtu(TAP, 1450)),
            id="a bridge of its own before its tap comes",
        ),
        pytest.param(
            vif_open_vswitch(vif_name="nic0", profile=PORT_AND_TAP),
            PER_PORT_BRIDGE,
            own_bridge(a_tap("nic0", OWN)),
            id="a bridge of its own is named after the id, whatever the device's name",
        ),
        pytest.param(
            vif_open_vswitch(profile={**PORT_AND_TAP, **SYSTEM}),
            Settings(per_port_bridge=True, default_qos_type="linux-htb"),
            own_bridge(a_tap(mark=OWN), datapath="system", qos_type="linux-htb"),
            id="a bridge of its own: QoS of the tap, not of the patch ports",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            Settings(per_port_bridge=True, isolate_vif=True),
            own_bridge(a_tap(mark=OWN), vlan=DEAD),
            id="a bridge of its own: the integration bridge's patch port is isolated",
        ),
        pytest.param(
            vif_open_vswitch(network={"bridge": TRUNK}, profile=PORT_AND_TAP),
            Settings(per_port_bridge=True, isolate_vif=True),
            own_bridge(
                a_tap(mark=OWN),
                integration=a_bridge(TRUNK, OWN, goes=True),
                ids={**IDS, "bridge_name": TRUNK},
            ),
            id="a bridge of its own before the bridge of a trunk",
        ),
        pytest.param(
            vif_open_vswitch(unset="id", vif_name="tap-of-ours", profile=PORT_AND_TAP),
            PER_PORT_BRIDGE,
            (
                a_tap("tap-of-ours", PLAIN_BY_NAME),
                a_bridge(mark=PLAIN_BY_NAME),
                a_port("tap-of-ours", PLAIN_BY_NAME),
            ),
            id="no bridge of its own without an id to name it after",
        ),
        pytest.param(
            vif_open_vswitch(),
            PER_PORT_BRIDGE,
            (a_bridge(),),
            id="no bridge of its own if libvirt makes the port",
        ),
    ],
)
def test_open_vswitch(vif: VIFBase, settings: Settings, elements: tuple[Element, ...]) -> None:
    assert shapes.plugged(vif, instance(), settings).elements == elements


# VIFBridge --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vif", "settings", "elements"),
    [
        pytest.param(vif_bridge(), SETTINGS, hybrid(), id="hybrid"),
        pytest.param(
            vif_bridge(unset="vif_name", bridge_name="qbr-mine", network={"mtu": 0}),
            SETTINGS,
            hybrid("qbr-mine", 1400),
            id="the Linux bridge is bridge_name, the veths are named after the id",
        ),
        pytest.param(
            vif_bridge(profile={"create_port": True, "multiqueue": True}),
            SETTINGS,
            hybrid(),
            id="create_port and multiqueue change nothing",
        ),
        pytest.param(vif_bridge(), ISOLATED, hybrid(vlan=DEAD), id="isolated"),
        pytest.param(vif_bridge(), PER_PORT_BRIDGE, hybrid(), id="no bridge of its own"),
        pytest.param(
            vif_bridge(profile=SYSTEM),
            HTB,
            (
                *hybrid()[:2],
                a_bridge(mark=HYBRID, datapath="system"),
                a_port(QVO, HYBRID, qos_type="linux-htb"),
            ),
            id="the configured QoS",
        ),
        pytest.param(
            vif_bridge(network={"bridge": TRUNK}),
            ISOLATED,
            (
                *hybrid()[:2],
                a_bridge(TRUNK, HYBRID, goes=True),
                a_port(QVO, HYBRID, TRUNK, external_ids={**IDS, "bridge_name": TRUNK}),
            ),
            id="the bridge of a trunk",
        ),
    ],
)
def test_bridge(vif: VIFBase, settings: Settings, elements: tuple[Element, ...]) -> None:
    assert shapes.plugged(vif, instance(), settings).elements == elements


@pytest.mark.parametrize(
    "profile",
    [
        VIFPortProfileFPOpenVSwitch(interface_id=interface_id(1), datapath_type="netdev"),
        VIFPortProfileOVSRepresentor(interface_id=interface_id(1), datapath_type="netdev"),
    ],
    ids=lambda profile: type(profile).__name__,
)
def test_a_special_port_profile_is_one_of_open_vswitch_too(profile: Any) -> None:
    assert shapes.plugged(vif_bridge(profile=profile), instance(), SETTINGS) == shapes.plugged(
        vif_bridge(), instance(), SETTINGS
    )


# VIFVHostUser -----------------------------------------------------------------------------------


def vhost(datapath: str = "netdev", mtu: int | None = 1450, **port: Any) -> tuple[Element, ...]:
    """A vhost-user port that connects to the guest's socket."""
    connects = {
        "interface_type": "dpdkvhostuserclient",
        "options": {"vhost-server-path": "/run/vhu1"},
    }
    return (
        a_bridge(mark=VHOST, datapath=datapath),
        a_port(VHU, VHOST, **{**connects, "mtu_request": mtu, **port}),
    )


LISTENS = {"interface_type": "dpdkvhostuser", "options": {}}


@pytest.mark.parametrize(
    ("vif", "settings", "elements"),
    [
        pytest.param(vif_vhost_user(), SETTINGS, vhost(), id="the guest is the server"),
        pytest.param(
            vif_vhost_user(mode="client"), SETTINGS, vhost(**LISTENS), id="the guest is the client"
        ),
        pytest.param(
            vif_vhost_user(mode="client", unset="path"),
            SETTINGS,
            vhost(**LISTENS),
            id="ovs-vswitchd listens where it likes",
        ),
        pytest.param(
            vif_vhost_user(unset="profile.datapath_type"),
            HTB,
            vhost(),
            id="without a datapath type it is user space, and has no QoS",
        ),
        pytest.param(
            vif_vhost_user(network={"mtu": 9000}), SETTINGS, vhost(mtu=9000), id="network's MTU"
        ),
        pytest.param(
            vif_vhost_user(network={"mtu": 0}), SETTINGS, vhost(mtu=1400), id="configured MTU"
        ),
        pytest.param(
            vif_vhost_user(unset="vif_name"),
            SETTINGS,
            vhost(),
            id="the port is named after the id",
        ),
        pytest.param(
            vif_vhost_user(), PER_PORT_BRIDGE, vhost(), id="no bridge of its own, no QoS"
        ),
        pytest.param(vif_vhost_user(), ISOLATED, vhost(vlan=DEAD), id="isolated"),
        pytest.param(
            vif_vhost_user(network={"bridge": TRUNK}),
            ISOLATED,
            (
                a_bridge(TRUNK, VHOST, goes=True),
                a_port(
                    VHU,
                    VHOST,
                    TRUNK,
                    interface_type="dpdkvhostuserclient",
                    options={"vhost-server-path": "/run/vhu1"},
                    mtu_request=1450,
                    external_ids={**IDS, "bridge_name": TRUNK},
                ),
            ),
            id="the bridge of a trunk",
        ),
    ],
)
def test_vhost_user(vif: VIFBase, settings: Settings, elements: tuple[Element, ...]) -> None:
    assert shapes.plugged(vif, instance(), settings) == Wiring(elements)


# VIFHostDevice ----------------------------------------------------------------------------------


def kernel_vf(name: str = "eth0_0", mtu: int | None = 1450, **port: Any) -> tuple[Element, ...]:
    """A representor that is a device of the kernel, with a VIF that says nothing of datapaths."""
    return (
        Representor(name, mtu),
        a_bridge(mark=VF, datapath="system"),
        a_port(name, VF, **{"qos_type": "linux-noop", **port}),
    )


DPDK = {
    "interface_type": "dpdk",
    "options": {"dpdk-devargs": "0000:03:00.0,representor=[1]"},
    "mtu_request": 1450,
}
OFFLOAD = DatapathOffloadRepresentor(representor_address="0000:03:00.2", representor_name="tapx")


@pytest.mark.parametrize(
    ("vif", "settings", "facts", "elements"),
    [
        pytest.param(
            vif_host_device(unset="profile.datapath_type"),
            SETTINGS,
            KERNEL_VF,
            kernel_vf(),
            id="the kernel's datapath by default",
        ),
        pytest.param(
            vif_host_device(profile=SYSTEM),
            HTB,
            KERNEL_VF,
            kernel_vf(qos_type="linux-htb"),
            id="QoS",
        ),
        pytest.param(
            vif_host_device(profile=SYSTEM),
            ISOLATED,
            KERNEL_VF,
            kernel_vf(vlan=DEAD),
            id="isolated",
        ),
        pytest.param(
            vif_host_device(profile=SYSTEM),
            PER_PORT_BRIDGE,
            KERNEL_VF,
            kernel_vf(),
            id="no own bridge",
        ),
        pytest.param(
            vif_host_device(profile=SYSTEM, network={"mtu": None}),
            SETTINGS,
            KERNEL_VF,
            kernel_vf(mtu=1400),
            id="the configured MTU",
        ),
        pytest.param(
            vif_host_device(profile={**SYSTEM, "datapath_offload": OFFLOAD}),
            SETTINGS,
            KERNEL_VF,
            kernel_vf(),
            id="nothing is named by representor_name, which no device has",
        ),
        pytest.param(
            vif_host_device(
                profile=VIFPortProfileOVSRepresentor(
                    interface_id=interface_id(1), representor_name="tapx"
                )
            ),
            SETTINGS,
            KERNEL_VF,
            kernel_vf(),
            id="nor by that of the deprecated profile",
        ),
        pytest.param(
            vif_host_device(),
            HTB,
            DPDK_VF,
            (a_bridge(mark=VF), a_port(VFR, VF, **DPDK)),
            id="user space: DPDK drives the representor, and there is no QoS",
        ),
        pytest.param(
            vif_host_device(),
            SETTINGS,
            KERNEL_VF,
            (a_bridge(mark=VF), a_port(VFR, VF, **DPDK)),
            id="user space: a device of the kernel has no part in it",
        ),
        pytest.param(
            vif_host_device(network={"mtu": 9000}),
            ISOLATED,
            DPDK_VF,
            (a_bridge(mark=VF), a_port(VFR, VF, **{**DPDK, "mtu_request": 9000}, vlan=DEAD)),
            id="user space: isolated, with the network's MTU",
        ),
    ],
)
def test_host_device(
    vif: VIFBase, settings: Settings, facts: Facts, elements: tuple[Element, ...]
) -> None:
    assert shapes.plugged(vif, instance(), settings, facts) == Wiring(elements)


# What a VIF may have instead --------------------------------------------------------------------


def kind(shape: Wiring) -> str:
    """A shape by the kind in the mark of the element that says that it stands."""
    assert isinstance(shape.detected_by, OvsPort | OvsBridge)
    return shape.detected_by.mark.kind


@pytest.mark.parametrize(
    ("vif", "settings", "wanted", "others"),
    [
        (
            vif_open_vswitch(profile=PORT),
            SETTINGS,
            "openvswitch",
            ["perportbridge", "hybrid"],
        ),
        (
            vif_open_vswitch(profile=PORT_AND_TAP),
            PER_PORT_BRIDGE,
            "perportbridge",
            ["openvswitch", "hybrid"],
        ),
        (vif_bridge(), SETTINGS, "hybrid", ["openvswitch", "perportbridge"]),
        (vif_bridge(), PER_PORT_BRIDGE, "hybrid", ["openvswitch", "perportbridge"]),
        (
            vif_open_vswitch(unset="id", profile=PORT_AND_TAP),
            PER_PORT_BRIDGE,
            "openvswitch",
            [],
        ),
    ],
    ids=["plain", "own bridge", "hybrid", "hybrid whatever is configured", "no id"],
)
def test_the_shapes_that_a_vif_may_have(
    vif: VIFBase, settings: Settings, wanted: str, others: list[str]
) -> None:
    drawn = shapes.plugged(vif, instance(), settings)
    assert kind(drawn) == wanted
    assert [kind(other) for other in drawn.alternatives] == others
    assert all(other.detected_by in other.elements for other in (drawn, *drawn.alternatives))


@pytest.mark.parametrize(
    ("vif", "facts"),
    [
        (vif_open_vswitch(), None),
        (vif_open_vswitch(unset="id"), None),
        (vif_vhost_user(), None),
        (vif_host_device(), DPDK_VF),
        (vif_host_device(profile=SYSTEM), KERNEL_VF),
    ],
    ids=["libvirt's", "libvirt's without an id", "vhost-user", "DPDK", "representor"],
)
def test_some_have_one_shape_only(vif: VIFBase, facts: Facts | None) -> None:
    drawn = shapes.plugged(vif, instance(), SETTINGS, facts)
    assert (drawn.detected_by, drawn.alternatives) == (None, ())


def test_an_alternative_is_a_whole_shape_for_the_same_vif() -> None:
    vif = vif_open_vswitch(profile=PORT_AND_TAP)
    drawn = shapes.plugged(vif, instance(), SETTINGS)
    assert [shape.elements for shape in drawn.alternatives] == [
        own_bridge(a_tap(mark=OWN)),
        hybrid(),
    ]
    assert [shape.detected_by for shape in drawn.alternatives] == [
        a_bridge(PB, OWN, goes=True, joined_to="br-int"),
        a_port(QVO, HYBRID),
    ]
    assert [shape.device for shape in (drawn, *drawn.alternatives)] == [TAP, TAP, QBR]
    assert drawn.detected_by == a_port()


def test_a_hybrid_vif_may_have_a_tap_in_the_ovs_bridge() -> None:
    drawn = shapes.plugged(vif_bridge(), instance(), SETTINGS)
    assert [shape.elements for shape in drawn.alternatives] == [
        (DeviceMtu(TAP, 1450), a_bridge(), a_port(device=False)),
        own_bridge(DeviceMtu(TAP, 1450)),
    ]


def test_a_tap_that_was_made_under_another_profile_is_a_leftover() -> None:
    drawn = shapes.plugged(vif_open_vswitch(profile=PORT), instance(), SETTINGS)
    assert drawn.leftovers == (a_tap(),)
    assert [shape.leftovers for shape in drawn.alternatives] == [(a_tap(mark=OWN),), ()]


def test_where_libvirt_makes_the_port_every_other_shape_is_a_leftover() -> None:
    drawn = shapes.plugged(vif_open_vswitch(), instance(), PER_PORT_BRIDGE)
    created = shapes.plugged(vif_open_vswitch(profile=PORT), instance(), SETTINGS)
    assert drawn.leftovers == created.all_elements


# Unplugging, from names alone -------------------------------------------------------------------

#: What unplug can tell of the ids when instance and address are not known.
STATUS = {"iface-status": "active"}
LEAST = {"external_ids": STATUS, "identified_by": {}}
FORGOTTEN = ["address", "network.mtu", "profile.interface_id"]


@pytest.mark.parametrize(
    ("vif", "facts", "elements"),
    [
        pytest.param(
            vif_open_vswitch(profile=PORT_AND_TAP),
            None,
            (
                a_tap(mtu=None),
                a_bridge(),
                a_port(external_ids={**KNOWN, **STATUS}),
            ),
            id="everything is set",
        ),
        pytest.param(
            vif_open_vswitch(profile=PORT),
            None,
            (
                DeviceMtu(TAP, None),
                a_bridge(),
                a_port(external_ids={**KNOWN, **STATUS}, device=False),
            ),
            id="create_port",
        ),
        pytest.param(vif_open_vswitch(), None, (a_bridge(),), id="libvirt's"),
        pytest.param(
            vif_open_vswitch(
                unset=["id", *FORGOTTEN], vif_name="tap-of-ours", profile=PORT_AND_TAP
            ),
            None,
            (
                a_tap("tap-of-ours", PLAIN_BY_NAME, mtu=None, mac=None),
                a_bridge(mark=PLAIN_BY_NAME),
                a_port("tap-of-ours", PLAIN_BY_NAME, **LEAST),
            ),
            id="names alone, without an id",
        ),
        pytest.param(
            vif_open_vswitch(unset=["vif_name", *FORGOTTEN], profile=PORT),
            None,
            (DeviceMtu(TAP, None), a_bridge(), a_port(**LEAST, device=False)),
            id="the name is made of the id",
        ),
        pytest.param(
            vif_open_vswitch(address=None, network={"mtu": 0}, profile=PORT),
            None,
            (
                DeviceMtu(TAP, None),
                a_bridge(),
                a_port(
                    external_ids={"iface-id": interface_id(1), **STATUS},
                    identified_by={"iface-id": interface_id(1)},
                    device=False,
                ),
            ),
            id="what no name is made of may be nonsense",
        ),
        pytest.param(
            vif_open_vswitch(network={"bridge": TRUNK}, unset=FORGOTTEN),
            None,
            (a_bridge(TRUNK, goes=True),),
            id="the bridge of a trunk goes",
        ),
        pytest.param(
            vif_bridge(unset=["vif_name", *FORGOTTEN]),
            None,
            hybrid(mtu=None, **LEAST),
            id="hybrid",
        ),
        pytest.param(
            vif_bridge(unset=FORGOTTEN, profile={"create_tap": True}),
            None,
            hybrid(mtu=None, **LEAST),
            id="hybrid: create_tap, which plug refuses, is no reason to leave it there",
        ),
        pytest.param(
            vif_vhost_user(unset=["vif_name", "mode", "path", *FORGOTTEN]),
            None,
            vhost(mtu=None, **LISTENS, **LEAST),
            id="vhost-user",
        ),
        pytest.param(
            vif_vhost_user(unset=["path", *FORGOTTEN]),
            None,
            vhost(mtu=None, options={"vhost-server-path": None}, **LEAST),
            id="vhost-user: the server's path is not known",
        ),
        pytest.param(
            vif_host_device(unset=["profile.datapath_type", *FORGOTTEN]),
            KERNEL_VF,
            kernel_vf(mtu=None, **LEAST),
            id="representor",
        ),
        pytest.param(
            vif_host_device(profile=SYSTEM, unset=["address", "network.mtu"]),
            Facts("eth0_0"),
            kernel_vf(
                mtu=None,
                external_ids={"iface-id": interface_id(1), **STATUS},
                identified_by={"iface-id": interface_id(1)},
            ),
            id="representor: found by its iface-id when the VF is gone",
        ),
        pytest.param(
            vif_host_device(unset=FORGOTTEN),
            DPDK_VF,
            (
                a_bridge(mark=VF),
                a_port(VFR, VF, **{**DPDK, "mtu_request": None}, **LEAST),
            ),
            id="DPDK",
        ),
    ],
)
def test_an_unplugged_vif_from_names_alone(
    vif: VIFBase, facts: Facts | None, elements: tuple[Element, ...]
) -> None:
    drawn = shapes.unplugged(vif, instance(unset=["uuid", "name"]), facts)
    # A QoS type is of creation, and no name.
    assert without_qos(drawn.elements) == without_qos(elements)


def without_qos(elements: tuple[Element, ...]) -> list[dict[str, Any]]:
    return [
        {"class": type(e), **{k: v for k, v in vars(e).items() if k != "qos_type"}}
        for e in elements
    ]


@pytest.mark.parametrize(
    ("vif", "others"),
    [
        (vif_open_vswitch(profile=PORT, unset=FORGOTTEN), ["perportbridge", "hybrid"]),
        (vif_bridge(unset=FORGOTTEN), ["openvswitch", "perportbridge"]),
    ],
    ids=["plain", "hybrid"],
)
def test_unplug_looks_for_the_same_shapes(vif: VIFBase, others: list[str]) -> None:
    drawn = shapes.unplugged(vif, instance(unset=["uuid"]))
    assert [kind(other) for other in drawn.alternatives] == others


EVERY_KIND = [
    pytest.param(vif_bridge, {}, None, id="hybrid"),
    pytest.param(vif_open_vswitch, {}, None, id="libvirt's"),
    pytest.param(vif_open_vswitch, {"profile": PORT}, None, id="create_port"),
    pytest.param(vif_open_vswitch, {"profile": PORT_AND_TAP}, None, id="create_tap"),
    pytest.param(
        vif_open_vswitch, {"profile": {**PORT_AND_TAP, "multiqueue": True}}, None, id="multiqueue"
    ),
    pytest.param(vif_vhost_user, {}, None, id="vhost-user, server"),
    pytest.param(vif_vhost_user, {"mode": "client"}, None, id="vhost-user, client"),
    pytest.param(vif_host_device, {}, DPDK_VF, id="DPDK"),
    pytest.param(vif_host_device, {"profile": SYSTEM}, KERNEL_VF, id="representor"),
]
EVERY_SETTING = [
    pytest.param(
        Settings(per_port_bridge=own, isolate_vif=isolated, default_qos_type=qos),
        id=f"{own and 'own bridge'}-{isolated and 'isolated'}-{qos}",
    )
    for own in (False, True)
    for isolated in (False, True)
    for qos in ("linux-noop", "linux-htb")
]


def names(elements: tuple[Element, ...]) -> set[tuple[Any, ...]]:
    """What the two sides must agree about."""
    return {
        (
            type(e),
            e.name,
            getattr(e, "mark", None),
            getattr(e, "bridge", None),
            getattr(e, "peer", None),
        )
        for e in elements
    }


@pytest.mark.parametrize("settings", EVERY_SETTING)
@pytest.mark.parametrize(("make", "fields", "facts"), EVERY_KIND)
def test_unplug_names_all_that_a_plug_may_make_under_any_settings(
    make: Any, fields: dict[str, Any], facts: Facts | None, settings: Settings
) -> None:
    vif = make(**fields)
    plugged = shapes.plugged(vif, instance(), settings, facts)
    unplugged = shapes.unplugged(vif, instance(), facts)
    assert names(plugged.elements) <= names(unplugged.all_elements)
    assert names(plugged.all_elements) == names(unplugged.all_elements)


@pytest.mark.parametrize(("make", "fields", "facts"), EVERY_KIND)
@pytest.mark.parametrize("other", [1, 2])
def test_two_vifs_share_the_ovs_bridge_and_nothing_else(
    make: Any, fields: dict[str, Any], facts: Facts | None, other: int
) -> None:
    their_facts = Facts(f"eth0_{other - 1}", "0000:03:00.0", other)
    mine = {e.name for e in shapes.unplugged(make(**fields), instance(), facts).all_elements}
    theirs = {
        e.name
        for e in shapes.unplugged(
            make(number=other, **fields), instance(other), their_facts
        ).all_elements
    }
    assert (mine & theirs == {"br-int"}) is (other != 1)


@pytest.mark.parametrize("settings", EVERY_SETTING)
@pytest.mark.parametrize(("make", "fields", "facts"), EVERY_KIND)
def test_unplug_knows_a_port_by_ids_that_plug_wrote(
    make: Any, fields: dict[str, Any], facts: Facts | None, settings: Settings
) -> None:
    vif = make(**fields)
    plugged = shapes.plugged(vif, instance(), settings, facts).elements
    written = {e.name: e.external_ids for e in plugged if isinstance(e, OvsPort)}
    for e in shapes.unplugged(vif, instance(), facts).all_elements:
        if isinstance(e, OvsPort) and written.get(e.name):
            assert e.identified_by.items() <= written[e.name].items()
