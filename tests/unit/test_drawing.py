# SPDX-License-Identifier: Apache-2.0
"""What the wiring of a VIF looks like, as text; and what a check marks in it."""

import pytest

from os_vif import drawing
from os_vif.answers import Finding
from os_vif.drawing import Drawing, Node, Sign
from os_vif.wiring.state import Vlan

TAP = Node("tap", "tap1", (("mtu", 1450), ("up", True), ("open", False)))
PORT = Node("OVS port", "tap1", (("ofport", None), ("iface-id", "x" * 36)))
BRIDGE = Node("OVS bridge", "br-int", (("datapath_type", "system"),), shared=True)
VIF = Drawing("1", "ovs", "openvswitch", "idle", (TAP, PORT, BRIDGE))


def text(one: Drawing, width: int = 80) -> list[str]:
    return [line.text for line in drawing.lines(one, width)]


def finding(element: str, attribute: str, wanted: object, found: object) -> Finding:
    return Finding(element, attribute, wanted, found, repairable=True)


def test_as_text() -> None:
    assert text(VIF) == [
        "VIF 1 (openvswitch): idle",
        "  o tap tap1",
        "  |   mtu 1450, up, not open",
        "  o OVS port tap1",
        f"  |   no ofport, iface-id {'x' * 36}",
        "  o OVS bridge br-int",
        "      datapath_type system",
    ]
    assert not VIF.differs


def test_a_narrow_text_breaks_between_facts() -> None:
    lines = text(VIF, 30)
    assert lines[4:6] == ["  |   no ofport,", f"  |   iface-id {'x' * 36}"]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (finding("link tap1", "mtu", 1450, 1300), "! |   mtu should be 1450 and is 1300"),
        (
            finding("OVS port tap1", "vlan", Vlan(), Vlan(7)),
            "! |   vlan should be none and is tag 7",
        ),
        (finding("OVS port tap1", "present", True, False), "- o OVS port tap1 (missing)"),
        (finding("OVS port tap1", "present", False, True), "+ o OVS port tap1 (left over)"),
        (finding("link qbr1", "present", True, False), "- o link qbr1 (missing)"),
        (finding("sysctl x", "value", 1, 0), "! sysctl x: value should be 1 and is 0"),
    ],
)
def test_a_finding_is_marked(found: Finding, line: str) -> None:
    marked = drawing.compared(VIF, [found])
    assert marked.differs
    assert line in text(marked)
    assert [each.text for each in drawing.lines(marked) if each.sign][-1] == line
    assert set(text(VIF)) - set(text(marked)) <= {f"  o {node.title}" for node in VIF.nodes}


def test_of_nothing() -> None:
    missing = [finding(f"link {name}", "present", True, False) for name in ("qbr1", "qvb1")]
    one = drawing.compared(drawing.nothing("1", "ovs"), missing)
    assert [node.name for node in one.nodes] == ["qbr1", "qvb1"]
    assert {node.sign for node in one.nodes} == {Sign.MISSING}


def test_as_primitives() -> None:
    nodes = VIF.as_dict()["nodes"]
    assert nodes[0]["facts"] == {"mtu": 1450, "up": True, "open": False}
