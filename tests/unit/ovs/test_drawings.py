# SPDX-License-Identifier: Apache-2.0
"""What VIFs look like on the host, kind by kind."""

from collections.abc import Iterable

import pytest

from os_vif import drawing
from os_vif.drawing import Drawing
from os_vif.wiring.state import Bridge, Found, Link, Port, Vlan
from tests import vifs
from vif_plug_ovs import drawings
from vif_plug_ovs.shapes import names

ID = vifs.vif_id()
IDS = {"iface-id": ID, "attached-mac": vifs.mac(), "vm-uuid": vifs.instance_id()}
TAP, QVO, QVB, QBR = (names.prefixed(one, ID) for one in ("tap", "qvo", "qvb", "qbr"))
PB, (PBP, IBP) = names.port_bridge(ID), names.patch_pair(ID)
VHU, VFR = names.prefixed("vhu", ID), names.dpdk_representor(ID)
UP = {"mac": vifs.mac(), "mtu": 1450, "up": True}


def mark(kind: str) -> dict[str, str]:
    return {"os-vif": f"ovs:{kind}:{ID}"}


def found(
    ports: Iterable[Port] = (), links: Iterable[Link] = (), bridges: Iterable[Bridge] = ()
) -> Found:
    every = (Bridge("br-int", ""), *bridges)
    return Found(
        links={one.name: one for one in links},
        bridges={one.name: one for one in every},
        ports={one.name: one for one in ports},
    )


PLUGGED = {
    "tap": found(
        [Port(TAP, "br-int", mark("openvswitch"), interface_ids=IDS, ofport=3, vlan=Vlan(7))],
        [Link(TAP, "tun", f"os-vif:ovs:openvswitch:{ID}", UP, carrier=True)],
    ),
    "without its device": found(
        [Port(TAP, "br-int", mark("openvswitch"), interface_ids=IDS, ofport=-1, error="no dev")]
    ),
    "per-port bridge": found(
        [
            Port(TAP, PB, mark("perportbridge"), ofport=1),
            Port(PBP, PB, mark("perportbridge"), interface_type="patch", options={"peer": IBP}),
            Port(
                IBP,
                "br-int",
                mark("perportbridge"),
                interface_type="patch",
                options={"peer": PBP},
                interface_ids=IDS,
            ),
        ],
        [Link(TAP, "tun", "", UP)],
        [Bridge(PB, "netdev", mark("perportbridge"))],
    ),
    "vhost-user": found(
        [
            Port(
                VHU,
                "br-int",
                mark("vhostuser"),
                interface_type="dpdkvhostuserclient",
                interface_ids=IDS,
                connected=True,
                mtu_request=1450,
            )
        ]
    ),
    "links that are left": found((), [Link(QBR, "bridge", f"os-vif:ovs:hybrid:{ID}", UP)]),
}

INSTANCE, BR_INT = f"instance {vifs.instance_id()}", "OVS bridge br-int"
TITLES = {
    "tap": [INSTANCE, f"tap {TAP}", f"OVS port {TAP}", BR_INT],
    "without its device": [INSTANCE, f"device {TAP}", f"OVS port {TAP}", BR_INT],
    "per-port bridge": [
        INSTANCE,
        f"tap {TAP}",
        f"OVS port {TAP}",
        f"OVS bridge {PB}",
        f"OVS port {PBP}",
        f"OVS port {IBP}",
        BR_INT,
    ],
    "vhost-user": [INSTANCE, f"OVS port {VHU}", BR_INT],
    "links that are left": [
        f"Linux bridge {QBR}",
        f"veth {QVB}",
        f"veth {QVO}",
        f"OVS port {QVO}",
    ],
}


def drawn(which: str) -> Drawing:
    (one,) = drawings.drawn(PLUGGED[which])
    assert one.vif_id == ID
    return one


@pytest.mark.parametrize("which", PLUGGED)
def test_from_the_guest_to_the_bridge(which: str) -> None:
    assert [node.title for node in drawn(which).nodes] == TITLES[which]


@pytest.mark.parametrize(
    ("which", "lines"),
    [
        ("tap", [f"  |   mac {vifs.mac()}, mtu 1450, up, open", "      datapath_type system"]),
        ("without its device", [f"- o device {TAP} (missing)", "! |   error: no dev"]),
        ("per-port bridge", [f"  |   no ofport, type patch, peer {IBP}"]),
        ("links that are left", [f"- o veth {QVB} (missing)", f"- o OVS port {QVO} (missing)"]),
        (
            "vhost-user",
            ["  |   no ofport, type dpdkvhostuserclient, mtu_request 1450, connected,"],
        ),
    ],
)
def test_what_is_said_of_it(which: str, lines: list[str]) -> None:
    text = [line.text for line in drawing.lines(drawn(which))]
    assert set(lines) <= set(text)


@pytest.mark.parametrize(
    ("which", "differs"),
    [("tap", False), ("vhost-user", False), ("without its device", True)],
)
def test_what_is_broken_is_marked(which: str, differs: bool) -> None:
    assert drawn(which).differs is differs
