# SPDX-License-Identifier: Apache-2.0
"""From wanted and found to steps: tables, and properties on a kernel and an OVSDB in memory."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.wiring.deadline import Deadline
from os_vif.wiring.model import (
    Element,
    LinuxBridge,
    Mark,
    OnRemove,
    OvsBridge,
    OvsPort,
    Tap,
    VethPair,
    Wiring,
)
from os_vif.wiring.plan import (
    PRESENT,
    CreateBridge,
    CreateLink,
    CreatePort,
    Cure,
    DeleteLink,
    Difference,
    Plan,
    RemoveBridge,
    RemovePort,
    SetLink,
    SetPort,
    differences,
    inverse,
    to_apply,
    to_remove,
)
from os_vif.wiring.state import Bridge, Found, Link, Port, Value
from tests.fakes import FakeHost, new_link

MARK = Mark("ovs", "hybrid", "a1")
EARLIER = Mark("ovs", "openvswitch", "a1")  # the same VIF under other settings
OTHER = Mark("ovs", "hybrid", "a2")
MAC = "fa:16:3e:00:00:01"
IDS = {"iface-id": "b1", "iface-status": "active", "attached-mac": MAC, "vm-uuid": "c1"}

QBR = LinuxBridge("qbr1", MARK, ageing=0)
VETH = VethPair("qvb1", "qvo1", "qbr1", 1450, MARK)
TAP = Tap("tap1", MAC, 1450, MARK)
BR_INT = OvsBridge("br-int", "system", MARK)
PORT = OvsPort("qvo1", "br-int", MARK, IDS)
TAP_PORT = OvsPort("tap1", "br-int", MARK, IDS)
LATER_PORT = replace(TAP_PORT, device=False)

HYBRID = Wiring((QBR, VETH, BR_INT, PORT))
DIRECT = Wiring((TAP, BR_INT, TAP_PORT))

ON_QBR = {
    "disable_ipv6": 1,
    "arp_ignore": 1,
    "arp_announce": 2,
    "stp": False,
    "forward_delay": 0,
    "ageing": 0,
    "mcast_snooping": False,
    "up": True,
}
ON_QVO = {"mtu": 1450, "promisc": True, "up": True}
ON_QVB = {**ON_QVO, "master": "qbr1"}
ON_TAP = {"disable_ipv6": 1, "mac": MAC, "mtu": 1450, "up": True}

QBR_LINK = new_link("qbr1", "bridge", MARK.alias, **ON_QBR)
QVB_LINK = new_link("qvb1", "veth", MARK.alias, **ON_QVB, disable_ipv6=1)
QVO_LINK = new_link("qvo1", "veth", MARK.alias, **ON_QVO, disable_ipv6=1)
TAP_LINK = new_link("tap1", "tun", MARK.alias, **ON_TAP, multiqueue=False)
BRIDGE_ROW = Bridge("br-int", "system")
PORT_ROW = Port("qvo1", "br-int", {"os-vif": str(MARK)}, interface_ids=IDS, ofport=1)
TAP_PORT_ROW = replace(PORT_ROW, name="tap1")

CREATE_QVB = CreateLink("qvb1", "veth", MARK.alias, peer="qvo1")
CREATE_TAP = CreateLink("tap1", "tun", MARK.alias)


def found(*there: Link | Bridge | Port) -> Found:
    return Found(
        {one.name: one for one in there if isinstance(one, Link)},
        {one.name: one for one in there if isinstance(one, Bridge)},
        {one.name: one for one in there if isinstance(one, Port)},
    )


def but(link: Link, alias: str | None = None, **attributes: Value) -> Link:
    """A link with some attributes changed."""
    return replace(
        link,
        alias=link.alias if alias is None else alias,
        attributes={**link.attributes, **attributes},
    )


def less(link: Link, *attributes: str) -> Link:
    """A link of a kernel that does not have some attributes."""
    return replace(
        link, attributes={k: v for k, v in link.attributes.items() if k not in attributes}
    )


ALL_OF_HYBRID = (QBR_LINK, QVB_LINK, QVO_LINK, BRIDGE_ROW, PORT_ROW)
ALL_OF_DIRECT = (TAP_LINK, BRIDGE_ROW, TAP_PORT_ROW)


# Applying ---------------------------------------------------------------------------------------


def test_on_an_empty_host_a_hybrid_wiring_is_made_in_its_order() -> None:
    assert to_apply(HYBRID, found()) == Plan(
        links=(
            CreateLink("qbr1", "bridge", MARK.alias),
            SetLink("qbr1", ON_QBR),
            CREATE_QVB,
            SetLink("qvb1", {"disable_ipv6": 1, **ON_QVB}),
            SetLink("qvo1", {"disable_ipv6": 1, **ON_QVO}),
        ),
        rows=(CreateBridge(BR_INT), CreatePort(PORT)),
        awaited=("br-int", "qvo1"),
    )


def test_on_an_empty_host_a_direct_wiring_is_made_in_its_order() -> None:
    assert to_apply(DIRECT, found()) == Plan(
        links=(CREATE_TAP, SetLink("tap1", ON_TAP)),
        rows=(CreateBridge(BR_INT), CreatePort(TAP_PORT)),
        awaited=("br-int", "tap1"),
    )


def test_a_bridge_is_brought_up_last() -> None:
    """Until it is deaf and does not learn, nothing may pass through it."""
    (bridge,) = (
        s for s in to_apply(HYBRID, found()).links if isinstance(s, SetLink) and s.name == "qbr1"
    )
    assert list(bridge.attributes)[-1] == "up"


@pytest.mark.parametrize(
    ("element", "attributes"),
    [
        pytest.param(
            replace(QBR, ageing=None),
            {k: v for k, v in ON_QBR.items() if k != "ageing"},
            id="a bridge with the kernel's ageing",
        ),
        pytest.param(
            replace(TAP, mac=None, mtu=None),
            {"disable_ipv6": 1, "up": True},
            id="a tap of any MAC and MTU",
        ),
        pytest.param(
            replace(VETH, mtu=None),
            {"disable_ipv6": 1, "promisc": True, "up": True, "master": "qbr1"},
            id="veths of any MTU",
        ),
    ],
)
def test_what_is_not_described_is_not_set(
    element: Element, attributes: Mapping[str, Value]
) -> None:
    steps = to_apply(Wiring((element,)), found()).links
    assert steps[1] == SetLink(steps[0].name, attributes)


def test_a_multiqueue_tap_is_made_as_one() -> None:
    steps = to_apply(Wiring((replace(TAP, multiqueue=True),)), found()).links
    assert steps[0] == replace(CREATE_TAP, multiqueue=True)


@pytest.mark.parametrize(
    ("wiring", "there"), [(HYBRID, ALL_OF_HYBRID), (DIRECT, ALL_OF_DIRECT)], ids=["hybrid", "tap"]
)
class TestEverythingIsThere:
    def test_then_there_is_nothing_to_do(self, wiring: Wiring, there: Any) -> None:
        assert differences(wiring, found(*there)) == ()
        assert to_apply(wiring, found(*there)) == Plan()

    def test_more_than_described_is_fine(self, wiring: Wiring, there: Any) -> None:
        there = [
            replace(one, interface_ids={**IDS, "ovn-installed": "true"})
            if isinstance(one, Port)
            else one
            for one in there
        ]
        more = [new_link("eth0", ""), Port("patch", "br-int"), Bridge("br-ex", "netdev")]
        assert to_apply(wiring, found(*there, *more)) == Plan()

    def test_what_os_vif_5_made_is_not_marked(self, wiring: Wiring, there: Any) -> None:
        unmarked = [
            replace(one, alias="") if isinstance(one, Link) else replace(one, external_ids={})
            for one in there
        ]
        assert to_apply(wiring, found(*unmarked)) == Plan()

    def test_a_kernel_without_ipv6_is_no_difference(self, wiring: Wiring, there: Any) -> None:
        there = [less(one, "disable_ipv6") if isinstance(one, Link) else one for one in there]
        assert to_apply(wiring, found(*there)) == Plan()


def where(wiring: Wiring, there: tuple[Any, ...], changed: Link | Bridge | Port) -> Found:
    """What is there, with one thing exchanged for another of its name and type."""
    same = [one for one in there if (type(one), one.name) != (type(changed), changed.name)]
    return found(*same, changed)


@pytest.mark.parametrize(
    ("link", "attribute", "wrong", "right"),
    [
        (QBR_LINK, "disable_ipv6", 0, 1),
        (QBR_LINK, "arp_ignore", 0, 1),
        (QBR_LINK, "arp_announce", 0, 2),
        (QBR_LINK, "stp", True, False),
        (QBR_LINK, "forward_delay", 15, 0),
        (QBR_LINK, "ageing", 300, 0),
        (QBR_LINK, "mcast_snooping", True, False),
        (QBR_LINK, "up", False, True),
        (QVB_LINK, "mtu", 1500, 1450),
        (QVB_LINK, "promisc", False, True),
        (QVB_LINK, "up", False, True),
        (QVB_LINK, "master", "", "qbr1"),
        (QVB_LINK, "master", "br-other", "qbr1"),
        (QVO_LINK, "mtu", 1500, 1450),
        (QVO_LINK, "promisc", False, True),
        (QVO_LINK, "up", False, True),
        (TAP_LINK, "disable_ipv6", 0, 1),
        (TAP_LINK, "mac", "fe:16:3e:00:00:01", MAC),
        (TAP_LINK, "mtu", 1500, 1450),
        (TAP_LINK, "up", False, True),
    ],
    ids=lambda value: value.name if isinstance(value, Link) else None,
)
def test_one_wrong_attribute_is_corrected_and_nothing_else(
    link: Link, attribute: str, wrong: Value, right: Value
) -> None:
    wiring, there = (DIRECT, ALL_OF_DIRECT) if link is TAP_LINK else (HYBRID, ALL_OF_HYBRID)
    now = where(wiring, there, but(link, **{attribute: wrong}))
    assert differences(wiring, now) == (
        Difference(f"link {link.name}", attribute, right, wrong, Cure.CORRECT),
    )
    assert to_apply(wiring, now) == Plan(links=(SetLink(link.name, {attribute: right}),))


@pytest.mark.parametrize("link", [QVB_LINK, QVO_LINK], ids=["qvb", "qvo"])
def test_ipv6_of_a_veth_is_set_on_creation_only(link: Link) -> None:
    assert to_apply(HYBRID, where(HYBRID, ALL_OF_HYBRID, but(link, disable_ipv6=0))) == Plan()


def test_several_wrong_attributes_are_corrected_in_one_step_a_link() -> None:
    now = found(
        but(QBR_LINK, up=False, stp=True),
        but(QVB_LINK, mtu=1500, master=""),
        QVO_LINK,
        BRIDGE_ROW,
        PORT_ROW,
    )
    assert to_apply(HYBRID, now).links == (
        SetLink("qbr1", {"stp": False, "up": True}),
        SetLink("qvb1", {"mtu": 1450, "master": "qbr1"}),
    )


def test_of_a_tap_that_libvirt_made_only_the_mtu_is_corrected() -> None:
    libvirts = new_link("tap1", "tun", mac="fe:16:3e:00:00:01", multiqueue=False)
    now = where(DIRECT, ALL_OF_DIRECT, libvirts)
    assert to_apply(DIRECT, now) == Plan(links=(SetLink("tap1", {"mtu": 1450}),))


@pytest.mark.parametrize("alias", [OTHER.alias, "uplink to rack 7"])
def test_a_tap_of_somebody_else_is_treated_like_libvirts(alias: str) -> None:
    now = where(DIRECT, ALL_OF_DIRECT, but(TAP_LINK, alias, mac="fe:16:3e:00:00:01", mtu=9000))
    assert to_apply(DIRECT, now) == Plan(links=(SetLink("tap1", {"mtu": 1450}),))


def test_a_tap_of_this_vif_from_other_settings_is_corrected_wholly() -> None:
    now = where(DIRECT, ALL_OF_DIRECT, but(TAP_LINK, EARLIER.alias, mac="fe:16:3e:00:00:01"))
    assert to_apply(DIRECT, now) == Plan(links=(SetLink("tap1", {"mac": MAC}),))


@pytest.mark.parametrize(
    ("wiring", "there", "name", "wanted"),
    [
        (HYBRID, ALL_OF_HYBRID, "qbr1", "bridge"),
        (HYBRID, ALL_OF_HYBRID, "qvb1", "veth"),
        (HYBRID, ALL_OF_HYBRID, "qvo1", "veth"),
        (DIRECT, ALL_OF_DIRECT, "tap1", "tun"),
    ],
)
@pytest.mark.parametrize(("kind", "said"), [("dummy", "dummy"), ("", "hardware")])
def test_a_link_of_another_kind_is_refused(
    wiring: Wiring, there: Any, name: str, wanted: str, kind: str, said: str
) -> None:
    plan = to_apply(wiring, where(wiring, there, new_link(name, kind)))
    assert plan == Plan(refused=(Difference(f"link {name}", "kind", wanted, said, Cure.REFUSE),))


@pytest.mark.parametrize("name", ["qvb1", "qvo1"])
def test_half_a_veth_pair_is_replaced(name: str) -> None:
    there = [one for one in ALL_OF_HYBRID if not (isinstance(one, Link) and one.name == name)]
    rest = "qvo1" if name == "qvb1" else "qvb1"
    assert to_apply(HYBRID, found(*there)) == Plan(
        links=(
            DeleteLink(rest, "veth"),
            CREATE_QVB,
            SetLink("qvb1", {"disable_ipv6": 1, **ON_QVB}),
            SetLink("qvo1", {"disable_ipv6": 1, **ON_QVO}),
        ),
        awaited=("qvo1",) if name == "qvo1" else (),
    )


def test_the_number_of_queues_is_reported_because_it_cannot_be_changed() -> None:
    now = where(DIRECT, ALL_OF_DIRECT, but(TAP_LINK, multiqueue=True))
    assert to_apply(DIRECT, now) == Plan(
        reported=(Difference("link tap1", "multiqueue", False, True, Cure.REPORT),)
    )


@pytest.mark.parametrize(("type_there", "wanted"), [("netdev", "system"), ("", "netdev")])
def test_the_datapath_type_of_a_bridge_is_reported_and_not_changed(
    type_there: str, wanted: str
) -> None:
    wiring = Wiring((replace(BR_INT, datapath_type=wanted),))
    difference = Difference("OVS bridge br-int", "datapath_type", wanted, type_there, Cure.REPORT)
    assert to_apply(wiring, found(Bridge("br-int", type_there))) == Plan(reported=(difference,))


def test_no_datapath_type_is_system() -> None:
    assert to_apply(Wiring((BR_INT,)), found(Bridge("br-int", ""))) == Plan()


@pytest.mark.parametrize("key", IDS)
@pytest.mark.parametrize("value", ["other", None])
def test_one_wrong_id_of_a_port_is_corrected_and_nothing_else(key: str, value: str | None) -> None:
    ids = {k: v for k, v in {**IDS, key: value}.items() if v is not None}
    now = where(HYBRID, ALL_OF_HYBRID, replace(PORT_ROW, interface_ids=ids))
    assert differences(HYBRID, now) == (
        Difference("OVS port qvo1", f"external_ids:{key}", IDS[key], value, Cure.CORRECT),
    )
    assert to_apply(HYBRID, now) == Plan(
        rows=(SetPort("qvo1", {key: IDS[key]}),), awaited=("qvo1",)
    )


def test_a_port_on_another_bridge_is_refused_by_the_names_of_both() -> None:
    plan = to_apply(HYBRID, where(HYBRID, ALL_OF_HYBRID, replace(PORT_ROW, bridge="br-ex")))
    assert plan == Plan(
        refused=(Difference("OVS port qvo1", "bridge", "br-int", "br-ex", Cure.REFUSE),)
    )


def test_a_bond_under_the_ports_name_is_refused() -> None:
    bond = Port("qvo1", "br-int", bond=True)
    refused = to_apply(HYBRID, where(HYBRID, ALL_OF_HYBRID, bond)).refused
    assert refused == (
        Difference("OVS port qvo1", "interface", "qvo1", "those of a bond", Cure.REFUSE),
    )


@pytest.mark.parametrize(
    ("port", "links", "reported"),
    [
        pytest.param(TAP_PORT, (), True, id="the device should be there"),
        pytest.param(LATER_PORT, (TAP_LINK,), True, id="the device has come"),
        pytest.param(LATER_PORT, (), False, id="the device is yet to come"),
    ],
)
def test_an_error_of_a_port_is_reported_if_its_device_should_work(
    port: OvsPort, links: Any, reported: bool
) -> None:
    row = replace(TAP_PORT_ROW, ofport=-1, error="No such device")
    difference = Difference("OVS port tap1", "error", "", "No such device", Cure.REPORT)
    plan = to_apply(Wiring((port,)), found(row, *links))
    assert plan == Plan(reported=(difference,) if reported else ())


@pytest.mark.parametrize(
    ("wiring", "there", "rows", "awaited"),
    [
        pytest.param(
            Wiring((LATER_PORT,)),
            (BRIDGE_ROW,),
            (CreatePort(LATER_PORT),),
            (),
            id="the device is yet to come",
        ),
        pytest.param(
            Wiring((LATER_PORT,)),
            (BRIDGE_ROW, TAP_LINK),
            (CreatePort(LATER_PORT),),
            ("tap1",),
            id="the device is there before its time",
        ),
        pytest.param(
            Wiring((BR_INT, LATER_PORT)),
            (),
            (CreateBridge(BR_INT), CreatePort(LATER_PORT)),
            ("br-int",),
            id="a new bridge has a device of its own",
        ),
        pytest.param(
            DIRECT,
            (BRIDGE_ROW, TAP_PORT_ROW),
            (),
            ("tap1",),
            id="only the device was missing: nothing is written, the port is awaited",
        ),
    ],
)
def test_a_port_is_awaited_when_its_device_should_be_there(
    wiring: Wiring, there: Any, rows: Any, awaited: tuple[str, ...]
) -> None:
    plan = to_apply(wiring, found(*there))
    assert (plan.rows, plan.awaited) == (rows, awaited)


def test_leftovers_are_neither_made_nor_looked_at() -> None:
    wiring = Wiring((BR_INT,), leftovers=(TAP, TAP_PORT))
    assert to_apply(wiring, found(BRIDGE_ROW)) == Plan()
    wrong = (but(TAP_LINK, mtu=9000), replace(TAP_PORT_ROW, bridge="br-ex"))
    assert differences(wiring, found(BRIDGE_ROW, *wrong)) == ()
    assert to_apply(wiring, found(BRIDGE_ROW, *wrong)) == Plan()


def test_a_plan_of_reports_alone_is_nothing_to_do() -> None:
    assert not Plan(reported=(Difference("x", PRESENT, True, False),), awaited=("x",))
    assert Plan(links=(DeleteLink("x", "tun"),))
    assert Plan(rows=(RemoveBridge("x"),))


# Removing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wiring", "there", "plan"),
    [
        pytest.param(HYBRID, (), Plan(), id="nothing is there"),
        pytest.param(
            HYBRID,
            ALL_OF_HYBRID,
            Plan(
                links=(DeleteLink("qvb1", "veth"), DeleteLink("qbr1", "bridge")),
                rows=(RemovePort("qvo1", "br-int"),),
            ),
            id="hybrid, in the opposite order; the bridge is kept",
        ),
        pytest.param(
            DIRECT,
            ALL_OF_DIRECT,
            Plan(links=(DeleteLink("tap1", "tun"),), rows=(RemovePort("tap1", "br-int"),)),
            id="tap",
        ),
        pytest.param(
            Wiring((replace(BR_INT, on_remove=OnRemove.DELETE), PORT)),
            ALL_OF_HYBRID,
            Plan(rows=(RemovePort("qvo1", "br-int"), RemoveBridge("br-int"))),
            id="a bridge of its own",
        ),
        pytest.param(
            Wiring((replace(BR_INT, on_remove=OnRemove.DELETE),)),
            (),
            Plan(),
            id="a bridge of its own that is gone",
        ),
        pytest.param(
            HYBRID,
            (QVO_LINK, PORT_ROW),
            Plan(links=(DeleteLink("qvo1", "veth"),), rows=(RemovePort("qvo1", "br-int"),)),
            id="half a veth pair",
        ),
        pytest.param(
            HYBRID,
            (but(QBR_LINK, ""), but(QVB_LINK, ""), but(QVO_LINK, "")),
            Plan(links=(DeleteLink("qvb1", "veth"), DeleteLink("qbr1", "bridge"))),
            id="what os-vif 5 made and did not mark",
        ),
        pytest.param(
            DIRECT,
            (new_link("tap1", "dummy", MARK.alias),),
            Plan(),
            id="a link of another kind is never deleted",
        ),
        pytest.param(
            HYBRID,
            (Port("qvo1", "br-int"),),
            Plan(rows=(RemovePort("qvo1", "br-int"),)),
            id="an unmarked port without ids on its bridge",
        ),
    ],
)
def test_what_is_removed(wiring: Wiring, there: Any, plan: Plan) -> None:
    assert to_remove(wiring, found(*there)) == plan


IDENTITIES = [
    pytest.param({"external_ids": {"os-vif": str(MARK)}}, id="mark"),
    pytest.param({"external_ids": {"os-vif": str(EARLIER)}}, id="mark of other settings"),
    pytest.param({"interface_ids": {"iface-id": "b1"}}, id="iface-id"),
    pytest.param({"interface_ids": {"attached-mac": MAC}}, id="attached-mac"),
]
STRANGERS = [
    pytest.param({}, id="no ids at all"),
    pytest.param({"external_ids": {"os-vif": str(OTHER)}}, id="another VIF's mark"),
    pytest.param(
        {"interface_ids": {"iface-id": "b2", "attached-mac": "fa:16:3e:00:00:02"}},
        id="another VIF's ids",
    ),
    pytest.param({"interface_ids": {"vm-uuid": "c1", "iface-status": "active"}}, id="same VM"),
]


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a_port_of_this_vif_is_removed_wherever_it_sits(identity: dict[str, Any]) -> None:
    there = found(Port("qvo1", "br-ex", **identity))
    assert to_remove(HYBRID, there) == Plan(rows=(RemovePort("qvo1", "br-ex"),))


@pytest.mark.parametrize("identity", STRANGERS)
def test_a_strangers_port_on_another_bridge_is_left_and_refused(
    identity: dict[str, Any],
) -> None:
    refused = Difference("OVS port qvo1", "bridge", "br-int", "br-ex", Cure.REFUSE)
    assert to_remove(HYBRID, found(Port("qvo1", "br-ex", **identity))) == Plan(refused=(refused,))


def test_no_ids_wanted_and_none_found_are_not_the_same_identity() -> None:
    wiring = Wiring((replace(PORT, external_ids={}),))
    assert to_remove(wiring, found(Port("qvo1", "br-ex"))).rows == ()


LEFT = Wiring((BR_INT,), leftovers=(QBR, VETH, TAP, TAP_PORT))


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("bridge", ["br-int", "br-ex"])
def test_a_left_over_port_is_removed_if_it_is_this_vifs(
    identity: dict[str, Any], bridge: str
) -> None:
    there = found(Port("tap1", bridge, **identity))
    assert to_remove(LEFT, there) == Plan(rows=(RemovePort("tap1", bridge),))


@pytest.mark.parametrize("identity", STRANGERS)
@pytest.mark.parametrize("bridge", ["br-int", "br-ex"])
def test_a_left_over_port_of_a_stranger_is_left_alone(
    identity: dict[str, Any], bridge: str
) -> None:
    assert to_remove(LEFT, found(Port("tap1", bridge, **identity))) == Plan()


@pytest.mark.parametrize(
    ("alias", "removed"),
    [(MARK.alias, True), (EARLIER.alias, True), (OTHER.alias, False), ("", False), ("x", False)],
)
def test_a_left_over_link_is_removed_if_it_bears_our_mark(alias: str, removed: bool) -> None:
    links = [but(link, alias) for link in (QBR_LINK, QVB_LINK, QVO_LINK, TAP_LINK)]
    steps = (DeleteLink("tap1", "tun"), DeleteLink("qvb1", "veth"), DeleteLink("qbr1", "bridge"))
    assert to_remove(LEFT, found(*links)) == Plan(links=steps if removed else ())


# Undoing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "there", "back"),
    [
        pytest.param(Plan(), (), Plan(), id="nothing"),
        pytest.param(
            to_apply(HYBRID, found()),
            (),
            Plan(
                links=(DeleteLink("qvb1", "veth"), DeleteLink("qbr1", "bridge")),
                rows=(RemovePort("qvo1", "br-int"), RemoveBridge("br-int")),
            ),
            id="everything was made: all of it goes, last made first",
        ),
        pytest.param(
            Plan(links=(SetLink("tap1", {"mtu": 9000, "up": True}),)),
            (but(TAP_LINK, mtu=1500, up=False),),
            Plan(links=(SetLink("tap1", {"mtu": 1500, "up": False}),)),
            id="attributes become what they were",
        ),
        pytest.param(
            Plan(links=(SetLink("tap1", {"disable_ipv6": 1, "up": True}),)),
            (less(TAP_LINK, "disable_ipv6"),),
            Plan(links=(SetLink("tap1", {"up": True}),)),
            id="but for those that were not known",
        ),
        pytest.param(
            Plan(rows=(SetPort("qvo1", {"iface-id": "b9", "vm-uuid": "c9"}),)),
            (replace(PORT_ROW, interface_ids={"iface-id": "b1"}),),
            Plan(rows=(SetPort("qvo1", {"iface-id": "b1", "vm-uuid": None}),)),
            id="ids become what they were, or go",
        ),
    ],
)
def test_the_inverse_of_a_plan(plan: Plan, there: Any, back: Plan) -> None:
    assert inverse(plan, found(*there)) == back


@pytest.mark.parametrize("step", [RemovePort("qvo1", "br-int"), RemoveBridge("br-int")])
def test_a_removal_of_rows_is_not_taken_back(step: Any) -> None:
    with pytest.raises(TypeError, match="has no inverse"):
        inverse(Plan(rows=(step,)), found(*ALL_OF_HYBRID))


# Properties, on a kernel and an OVSDB in memory -------------------------------------------------

NOW = Deadline(1)

_ALIASES = st.sampled_from(["", MARK.alias, EARLIER.alias, OTHER.alias])
_FLAGS = st.booleans()
_MTUS = st.sampled_from([1450, 1500, 9000])
_IPV6 = st.sampled_from([0, 1])
_ATTRIBUTES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "bridge": {
        "disable_ipv6": _IPV6,
        "arp_ignore": _IPV6,
        "arp_announce": st.sampled_from([0, 2]),
        "stp": _FLAGS,
        "forward_delay": st.sampled_from([0, 15]),
        "ageing": st.sampled_from([0, 300]),
        "mcast_snooping": _FLAGS,
        "up": _FLAGS,
    },
    "veth": {"disable_ipv6": _IPV6, "mtu": _MTUS, "promisc": _FLAGS, "up": _FLAGS},
    "tun": {
        "disable_ipv6": _IPV6,
        "mac": st.sampled_from([MAC, "fe:16:3e:00:00:01"]),
        "mtu": _MTUS,
        "up": _FLAGS,
        "multiqueue": _FLAGS,
    },
}


@st.composite
def links(draw: st.DrawFn, *names: str, kind: str) -> list[Link]:
    """Links of these names with some attributes, or none of them."""
    if not draw(_FLAGS):
        return []
    return [
        new_link(name, kind, draw(_ALIASES), **draw(st.fixed_dictionaries(_ATTRIBUTES[kind])))
        for name in names
    ]


@st.composite
def ports(draw: st.DrawFn, name: str) -> list[Port]:
    """A port of this name on br-int, or none."""
    marks = st.sampled_from([{}, {"os-vif": str(MARK)}, {"os-vif": str(EARLIER)}])
    ids = st.fixed_dictionaries(
        {}, optional={k: st.sampled_from([v, "x"]) for k, v in IDS.items()}
    )
    more = st.sampled_from([{}, {"ovn-installed": "true"}])
    row = Port(name, "br-int", draw(marks), interface_ids={**draw(ids), **draw(more)})
    return draw(st.sampled_from([[], [row]]))


@st.composite
def hosts(draw: st.DrawFn) -> tuple[Any, ...]:
    """What may stand there before: of the VIF, under whatever settings, and of others."""
    there: list[Any] = [new_link("eth0", ""), Bridge("br-ex", "system"), Port("eth0", "br-ex")]
    there += draw(links("qbr1", kind="bridge"))
    there += draw(links("qvb1", "qvo1", kind="veth"))
    there += draw(links("tap1", kind="tun"))
    if draw(_FLAGS):
        there.append(Bridge("br-int", draw(st.sampled_from(["", "system", "netdev"]))))
        there += draw(ports("qvo1")) + draw(ports("tap1"))
    return tuple(there)


WIRINGS = st.sampled_from(
    [
        HYBRID,
        DIRECT,
        Wiring((BR_INT,), leftovers=(TAP, LATER_PORT)),
        Wiring((BR_INT, LATER_PORT), leftovers=(TAP,)),
        Wiring((replace(TAP, mac=None, mtu=None, multiqueue=True), BR_INT, TAP_PORT)),
        Wiring((replace(QBR, ageing=None), replace(VETH, mtu=None), BR_INT, PORT)),
    ]
)


def take(host: FakeHost, plan: Plan) -> None:
    """Take a plan's steps in the engine's order."""
    assert plan.refused == ()
    host.links.execute(plan.links)
    host.rows.commit(plan.rows, NOW)


def to_be_corrected(wiring: Wiring, host: FakeHost) -> Iterator[Difference]:
    return (d for d in differences(wiring, host.found) if d.cure is not Cure.REPORT)


def kept(state: Found, *names: str) -> tuple[Any, ...]:
    """A state without what ovs-vswitchd says, and without some names."""
    return (
        {name: link for name, link in state.links.items() if name not in names},
        {name: row for name, row in state.bridges.items() if name not in names},
        {
            name: replace(row, ofport=None, error="")
            for name, row in state.ports.items()
            if name not in names
        },
    )


@given(wiring=WIRINGS, there=hosts(), ipv6=_FLAGS)
def test_applying_leaves_nothing_to_do(wiring: Wiring, there: Any, ipv6: bool) -> None:
    host = FakeHost(*there)
    host.links.lacking = set() if ipv6 else {"disable_ipv6"}
    take(host, to_apply(wiring, host.found))
    assert list(to_be_corrected(wiring, host)) == []
    again = to_apply(wiring, host.found)
    assert (again.links, again.rows, again.awaited, again.refused) == ((), (), (), ())


@given(wiring=WIRINGS, there=hosts())
def test_the_inverse_leads_back(wiring: Wiring, there: Any) -> None:
    host = FakeHost(*there)
    before = host.found
    plan = to_apply(wiring, before)
    take(host, plan)
    back = inverse(plan, before)
    host.rows.commit(back.rows, NOW)
    host.links.execute(back.links)
    assert kept(host.found) == kept(before)


@given(wiring=WIRINGS, there=hosts(), data=st.data())
def test_the_inverse_of_half_a_plan_leads_back_too(
    wiring: Wiring, there: Any, data: st.DataObject
) -> None:
    host = FakeHost(*there)
    before = host.found
    plan = to_apply(wiring, before)
    done = data.draw(st.integers(0, len(plan.links)))
    host.links.execute(plan.links[:done])
    host.links.execute(inverse(plan, before).links)
    assert kept(host.found) == kept(before)


@given(half=st.sampled_from(["qvb1", "qvo1"]), done=st.integers(0, 5))
def test_the_inverse_works_too_where_half_a_veth_pair_was_deleted(half: str, done: int) -> None:
    """The half stays away, for nobody can give it its other end back; all else is as before."""
    host = FakeHost(new_link(half, "veth", MARK.alias), BRIDGE_ROW)
    before = host.found
    plan = to_apply(HYBRID, before)
    host.links.execute(plan.links[:done])
    host.links.execute(inverse(plan, before).links)
    assert kept(host.found, half) == kept(before, half)


@given(wiring=WIRINGS, there=hosts())
def test_removing_leaves_nothing_of_the_vif_and_everything_of_others(
    wiring: Wiring, there: Any
) -> None:
    host = FakeHost(*there)
    before = host.found
    take(host, to_apply(wiring, before))
    take(host, to_remove(wiring, host.found))
    made = {name for e in wiring.elements for name in (e.name, getattr(e, "peer", e.name))}
    left = {e.name for e in wiring.leftovers}
    made -= {"br-int", *left}
    assert not made & {*host.found.links, *host.found.ports}
    assert kept(host.found, *made, *left, "br-int") == kept(before, *made, *left, "br-int")
    assert "br-int" in host.rows.bridges
    again = to_remove(wiring, host.found)
    assert (again.links, again.rows) == ((), ())


@given(wiring=WIRINGS)
def test_removing_leads_back_to_an_empty_host_but_for_the_bridge(wiring: Wiring) -> None:
    host = FakeHost()
    take(host, to_apply(wiring, host.found))
    take(host, to_remove(wiring, host.found))
    assert (host.found.links, set(host.found.bridges), set(host.found.ports)) == (
        {},
        {"br-int"},
        {"br-int"},
    )
