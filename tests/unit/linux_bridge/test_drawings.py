# SPDX-License-Identifier: Apache-2.0
"""What the bridge of a network on a VLAN looks like."""

from os_vif import drawing
from os_vif.wiring.state import Link
from vif_plug_linux_bridge import drawings
from vif_plug_linux_bridge.shapes.gc import Host

NONE = {"master": "", "mac": "02:00:00:00:00:01", "mtu": 1500, "up": True}
LINKS = (
    Link("eth0", "", "", NONE),
    Link(
        "vlan7",
        "vlan",
        "os-vif:linux_bridge:vlan:vlan7",
        NONE
        | {
            "master": "br7",
            "vlan": 7,
            "parent": "eth0",
        },
    ),
    Link("br7", "bridge", "os-vif:linux_bridge:bridge:br7", NONE),
    Link("tap1", "tun", "", NONE | {"master": "br7"}),
    Link("br8", "bridge", "", NONE),
)


def test_of_a_vlan() -> None:
    host = Host({one.name: one for one in LINKS}, frozenset(), frozenset(), "eth0")
    (drawn,) = drawings.drawn(host)
    assert [line.text for line in drawing.lines(drawn)] == [
        "VIF br7 (bridge): in use",
        "  o Linux bridge br7",
        "  |   mac 02:00:00:00:00:01, mtu 1500, up, guests tap1",
        "  o VLAN device vlan7",
        "  |   mac 02:00:00:00:00:01, mtu 1500, vlan 7, up",
        "  o device eth0",
        "      mac 02:00:00:00:00:01, mtu 1500, up",
    ]
    assert drawn.nodes[-1].shared
