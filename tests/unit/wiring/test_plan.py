# SPDX-License-Identifier: Apache-2.0
"""From wanted and found to steps: tables, and properties on a kernel and an OVSDB in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.differences import PRESENT, Action, Difference
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
from os_vif.wiring.elements.element import Plan
from os_vif.wiring.engine import Engine
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.plan import differences, present_shape, to_apply, to_remove
from os_vif.wiring.rows_first import is_rows_first
from os_vif.wiring.state import Bridge, Found, Link, Port, Value, Vlan
from os_vif.wiring.steps import (
    CreateBridge,
    CreateLink,
    CreatePort,
    DeleteLink,
    LinkStep,
    RemoveBridge,
    RemovePort,
    RemoveQos,
    ReopenPort,
    SetLink,
    SetPort,
)
from tests.fakes import NO_HOST_STACK, FakeHost, FakeRows, inverse, new_link

MARK = Mark("ovs", "hybrid", "a1")
EARLIER = Mark("ovs", "openvswitch", "a1")  # the same VIF under other settings
OTHER = Mark("ovs", "hybrid", "a2")
MAC = "fa:16:3e:00:00:01"
IDS = {"iface-id": "b1", "iface-status": "active", "attached-mac": MAC, "vm-uuid": "c1"}
#: Those by which a port is recognised.
KNOWN = {"iface-id": "b1", "attached-mac": MAC}

QBR = LinuxBridge("qbr1", MARK, ageing=0)
VETH = VethPair("qvb1", "qvo1", "qbr1", 1450, MARK)
TAP = Tap("tap1", MAC, 1450, MARK)
BR_INT = OvsBridge("br-int", "system", MARK)
PORT = OvsPort("qvo1", "br-int", MARK, external_ids=IDS, identified_by=KNOWN)
QVO_AS_IT_WAS = replace(
    PORT, interface_type="", identified_by={}, vlan=Vlan(), qos_type="linux-noop"
)
TAP_PORT = replace(PORT, name="tap1")
LATER_PORT = replace(TAP_PORT, device=False)
VF = Representor("eth0_0", 1450)
VF_PORT = replace(PORT, name="eth0_0")
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

ON_QBR = {
    **NO_HOST_STACK,
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


def found(*there: Link | Bridge | Port | str) -> Found:
    """What is there; a string is a device with a QoS row."""
    return Found(
        {one.name: one for one in there if isinstance(one, Link)},
        {one.name: one for one in there if isinstance(one, Bridge)},
        {one.name: one for one in there if isinstance(one, Port)},
        {one: "linux-noop" for one in there if isinstance(one, str)},
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


#: An iface-id that is not this VIF's is no mistake in its row: the row is another's.
ANOTHERS = ("iface-id", "other")
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
        (QVB_LINK, "disable_ipv6", 0, 1),
        (QVO_LINK, "disable_ipv6", 0, 1),
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
        Difference(f"link {link.name}", attribute, right, wrong, Action.CORRECT),
    )
    assert to_apply(wiring, now) == Plan(links=(SetLink(link.name, {attribute: right}),))


@pytest.mark.parametrize("link", [QVB_LINK, QVO_LINK], ids=["qvb", "qvo"])
def test_ipv6_of_veths_that_os_vif_5_made_is_left_as_it_is(link: Link) -> None:
    now = where(HYBRID, ALL_OF_HYBRID, but(link, "", disable_ipv6=0))
    assert to_apply(HYBRID, now) == Plan()


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


def test_a_tap_of_somebody_else_is_treated_like_libvirts() -> None:
    alias = "uplink to rack 7"
    now = where(DIRECT, ALL_OF_DIRECT, but(TAP_LINK, alias, mac="fe:16:3e:00:00:01", mtu=9000))
    assert to_apply(DIRECT, now) == Plan(links=(SetLink("tap1", {"mtu": 1450}),))


def test_a_tap_that_another_vif_has_left_is_replaced() -> None:
    now = where(DIRECT, ALL_OF_DIRECT, but(TAP_LINK, OTHER.alias))
    again = (DeleteLink("tap1", "tun"), CREATE_TAP, SetLink("tap1", ON_TAP))
    assert to_apply(DIRECT, now).links == again


@pytest.mark.parametrize(
    ("wiring", "there", "link"),
    [
        (DIRECT, ALL_OF_DIRECT, replace(but(TAP_LINK, OTHER.alias), carrier=True)),
        (HYBRID, ALL_OF_HYBRID, but(QVO_LINK, OTHER.alias)),
        (HYBRID, ALL_OF_HYBRID, but(QBR_LINK, OTHER.alias)),
    ],
    ids=["a tap with a carrier", "a veth", "a bridge"],
)
def test_a_link_of_another_vif_that_may_be_in_use_is_refused(
    wiring: Wiring, there: Any, link: Link
) -> None:
    where_it_is = f"link {link.name}"
    refused = Difference(where_it_is, "owner", MARK.alias, OTHER.alias, Action.REFUSE)
    assert to_apply(wiring, where(wiring, there, link)).refused == (refused,)


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
    assert plan == Plan(refused=(Difference(f"link {name}", "kind", wanted, said, Action.REFUSE),))


@pytest.mark.parametrize(("datapath", "told"), [("system", False), ("netdev", True)])
@pytest.mark.parametrize("name", ["qvb1", "qvo1"])
def test_half_a_veth_pair_is_replaced(name: str, datapath: str, told: bool) -> None:
    there = [one for one in ALL_OF_HYBRID if not (isinstance(one, Link) and one.name == name)]
    there = [replace(one, datapath_type=datapath) if one is BRIDGE_ROW else one for one in there]
    wiring = replace(HYBRID, elements=(QBR, VETH, replace(BR_INT, datapath_type=datapath), PORT))
    rest = "qvo1" if name == "qvb1" else "qvb1"
    assert to_apply(wiring, found(*there)) == Plan(
        links=(
            DeleteLink(rest, "veth"),
            CREATE_QVB,
            SetLink("qvb1", {"disable_ipv6": 1, **ON_QVB}),
            SetLink("qvo1", {"disable_ipv6": 1, **ON_QVO}),
        ),
        # Whichever half is missing, the device of the port is a new one.
        rows=(ReopenPort("qvo1"),) if told else (),
        awaited=("qvo1",),
    )


def test_the_number_of_queues_is_reported_because_it_cannot_be_changed() -> None:
    now = where(DIRECT, ALL_OF_DIRECT, but(TAP_LINK, multiqueue=True))
    assert to_apply(DIRECT, now) == Plan(
        reported=(Difference("link tap1", "multiqueue", False, True, Action.REPORT),)
    )


@pytest.mark.parametrize(("type_there", "wanted"), [("netdev", "system"), ("", "netdev")])
def test_the_datapath_type_of_a_bridge_is_reported_and_not_changed(
    type_there: str, wanted: str
) -> None:
    wiring = Wiring((replace(BR_INT, datapath_type=wanted),))
    difference = Difference(
        "OVS bridge br-int", "datapath_type", wanted, type_there, Action.REPORT
    )
    assert to_apply(wiring, found(Bridge("br-int", type_there))) == Plan(reported=(difference,))


def test_no_datapath_type_is_system() -> None:
    assert to_apply(Wiring((BR_INT,)), found(Bridge("br-int", ""))) == Plan()


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in IDS for value in ("other", None) if (key, value) != ANOTHERS],
)
def test_one_wrong_id_of_a_port_is_corrected_and_nothing_else(key: str, value: str | None) -> None:
    ids = {k: v for k, v in {**IDS, key: value}.items() if v is not None}
    now = where(HYBRID, ALL_OF_HYBRID, replace(PORT_ROW, interface_ids=ids))
    assert differences(HYBRID, now) == (
        Difference("OVS port qvo1", f"external_ids:{key}", IDS[key], value, Action.CORRECT),
    )
    assert to_apply(HYBRID, now) == Plan(
        rows=(SetPort("qvo1", {f"external_ids:{key}": IDS[key]}),), awaited=("qvo1",)
    )


def test_a_port_on_another_bridge_is_refused_by_the_names_of_both() -> None:
    plan = to_apply(HYBRID, where(HYBRID, ALL_OF_HYBRID, replace(PORT_ROW, bridge="br-ex")))
    assert plan == Plan(
        refused=(Difference("OVS port qvo1", "bridge", "br-int", "br-ex", Action.REFUSE),)
    )


def test_a_bond_under_the_ports_name_is_refused() -> None:
    bond = Port("qvo1", "br-int", bond=True)
    refused = to_apply(HYBRID, where(HYBRID, ALL_OF_HYBRID, bond)).refused
    assert refused == (
        Difference("OVS port qvo1", "interface", "qvo1", "those of a bond", Action.REFUSE),
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
    difference = Difference("OVS port tap1", "error", "", "No such device", Action.REPORT)
    plan = to_apply(Wiring((port,)), found(row, *links))
    assert plan == Plan(reported=(difference,) if reported else ())


NETDEV_ROW = Bridge("br-int", "netdev")
IN_USER_SPACE = Wiring((TAP, replace(BR_INT, datapath_type="netdev"), TAP_PORT))


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
            (BRIDGE_ROW, replace(TAP_PORT_ROW, ofport=-1, error="No such device")),
            (),
            ("tap1",),
            id="only the device was missing: nothing is written, the port is awaited",
        ),
        pytest.param(
            DIRECT,
            (BRIDGE_ROW, TAP_PORT_ROW),
            (),
            ("tap1",),
            id="what the kernel's datapath says of it is about to change",
        ),
        pytest.param(
            IN_USER_SPACE,
            (NETDEV_ROW, replace(TAP_PORT_ROW, ofport=-1, error="No such device")),
            (),
            ("tap1",),
            id="user space has noticed",
        ),
        pytest.param(
            IN_USER_SPACE,
            (NETDEV_ROW, TAP_PORT_ROW),
            (ReopenPort("tap1"),),
            ("tap1",),
            id="user space has not noticed that the device was missing: it is told",
        ),
        pytest.param(
            IN_USER_SPACE,
            (NETDEV_ROW, replace(TAP_PORT_ROW, interface_ids={**IDS, "vm-uuid": "c2"})),
            (SetPort("tap1", {"external_ids:vm-uuid": "c1"}), ReopenPort("tap1")),
            ("tap1",),
            id="it is told so when an id is wrong, too",
        ),
        pytest.param(
            LATER,
            (BRIDGE_ROW, TAP_PORT_ROW),
            (),
            (),
            id="somebody else's device is missing: that is no concern of ours",
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


# Which shape stands -----------------------------------------------------------------------------

CHOICE = replace(LATER, alternatives=(OWN, HYBRID))
PB_ROW = Bridge("pb1", "system")


@pytest.mark.parametrize(
    ("there", "shape"),
    [
        pytest.param((), CHOICE, id="nothing stands: the one that is wanted"),
        pytest.param((BRIDGE_ROW,), CHOICE, id="the bridge is no evidence"),
        pytest.param((BRIDGE_ROW, TAP_PORT_ROW), CHOICE, id="the one that is wanted"),
        pytest.param((BRIDGE_ROW, PB_ROW), OWN, id="a bridge of its own"),
        pytest.param((BRIDGE_ROW, PORT_ROW), HYBRID, id="hybrid"),
        pytest.param((PB_ROW, PORT_ROW), OWN, id="two stand: the first of them"),
        pytest.param((PB_ROW, TAP_PORT_ROW), CHOICE, id="two stand: the one that is wanted"),
        pytest.param(
            (replace(PORT_ROW, bridge="br-ex"),),
            CHOICE,
            id="a port on another bridge is no evidence",
        ),
        pytest.param((Port("qvo1", "br-int"),), CHOICE, id="a port of nobody is no evidence"),
        pytest.param(
            (Port("qvo1", "br-int", {"os-vif": str(OTHER)}),), CHOICE, id="nor is another VIF's"
        ),
        pytest.param((QBR_LINK, QVB_LINK, QVO_LINK), CHOICE, id="nor are links"),
        pytest.param(
            (Port("qvo1", "br-int", {"os-vif": str(EARLIER)}),), HYBRID, id="known by its mark"
        ),
        *(
            pytest.param(
                (Port("qvo1", "br-int", interface_ids={key: value}),), HYBRID, id=f"known by {key}"
            )
            for key, value in KNOWN.items()
        ),
    ],
)
def test_the_shape_that_stands(there: Any, shape: Wiring) -> None:
    assert present_shape(CHOICE, found(*there)) is shape


def test_a_wiring_without_a_sign_never_stands() -> None:
    wiring = Wiring((BR_INT, PORT), alternatives=(Wiring((BR_INT, TAP_PORT)), OWN))
    assert present_shape(wiring, found(BRIDGE_ROW, PORT_ROW, TAP_PORT_ROW)) is wiring
    assert present_shape(wiring, found(PORT_ROW, PB_ROW)) is OWN


def test_a_vif_keeps_its_shape_when_settings_change() -> None:
    wiring = replace(OWN, alternatives=(LATER, HYBRID))
    assert to_apply(wiring, found(*ALL_OF_HYBRID)) == Plan()
    assert to_apply(wiring, found(BRIDGE_ROW, TAP_PORT_ROW, TAP_LINK)) == Plan()


def test_the_shape_that_stands_is_the_one_that_is_corrected() -> None:
    there = where(HYBRID, ALL_OF_HYBRID, but(QVB_LINK, mtu=1500))
    assert to_apply(CHOICE, there) == Plan(links=(SetLink("qvb1", {"mtu": 1450}),))


# Kinds with a device that is not ours -----------------------------------------------------------

VF_LINK = new_link("eth0_0", "", mtu=1450, up=True)


@pytest.mark.parametrize(
    ("there", "plan"),
    [
        pytest.param((VF_LINK,), Plan(), id="as it should be"),
        pytest.param(
            (but(VF_LINK, up=False, mtu=1500),),
            Plan(links=(SetLink("eth0_0", {"mtu": 1450, "up": True}),)),
            id="down",
        ),
        pytest.param(
            (but(VF_LINK, "uplink to rack 7", mtu=9000),),
            Plan(links=(SetLink("eth0_0", {"mtu": 1450}),)),
            id="an administrator's alias stays",
        ),
        pytest.param(
            (),
            Plan(refused=(Difference("link eth0_0", PRESENT, True, False, Action.REFUSE),)),
            id="it must be there",
        ),
    ],
)
def test_a_representor_is_set_up_and_never_made(there: Any, plan: Plan) -> None:
    assert to_apply(Wiring((VF,)), found(*there)) == plan


@pytest.mark.parametrize(
    ("mtu", "there", "plan"),
    [
        pytest.param(1450, (), Plan(), id="the device is yet to come"),
        pytest.param(
            1450,
            (new_link("tap1", "tun", mtu=1500, mac="fe:16:3e:00:00:01", up=False),),
            Plan(links=(SetLink("tap1", {"mtu": 1450}),)),
            id="the MTU and nothing else",
        ),
        pytest.param(1450, (new_link("tap1", "tun", mtu=1450),), Plan(), id="as it should be"),
        pytest.param(None, (new_link("tap1", "tun", mtu=1500),), Plan(), id="any MTU will do"),
        pytest.param(
            1450,
            (new_link("tap1", "", mtu=1500),),
            Plan(links=(SetLink("tap1", {"mtu": 1450}),)),
            id="whatever kind of device it is",
        ),
    ],
)
def test_the_mtu_of_somebody_elses_device(mtu: int | None, there: Any, plan: Plan) -> None:
    assert to_apply(Wiring((DeviceMtu("tap1", mtu),)), found(*there)) == plan


def test_a_port_of_somebody_elses_device_is_awaited_only_if_it_is_there() -> None:
    assert to_apply(LATER, found(BRIDGE_ROW)).awaited == ()
    assert to_apply(LATER, found(BRIDGE_ROW, TAP_LINK)).awaited == ("tap1",)


# Columns of the Interface row -------------------------------------------------------------------

VHU = Wiring((BR_INT, VHU_PORT))
VHU_ROW = Port(
    "vhu1",
    "br-int",
    {"os-vif": str(MARK)},
    interface_type="dpdkvhostuserclient",
    interface_ids=IDS,
    options={"vhost-server-path": "/run/vhu1"},
    mtu_request=1450,
    ofport=1,
)


@pytest.mark.parametrize(
    ("changed", "values", "was"),
    [
        ({"interface_type": "dpdkvhostuser"}, {"type": "dpdkvhostuserclient"}, "dpdkvhostuser"),
        ({"mtu_request": 1500}, {"mtu_request": 1450}, 1500),
        ({"mtu_request": None}, {"mtu_request": 1450}, None),
        ({"options": {}}, {"options:vhost-server-path": "/run/vhu1"}, None),
        (
            {"options": {"vhost-server-path": "/tmp", "n_rxq": "2"}},
            {"options:vhost-server-path": "/run/vhu1"},
            "/tmp",
        ),
    ],
)
def test_one_wrong_column_of_a_port_is_corrected_and_nothing_else(
    changed: dict[str, Any], values: dict[str, Any], was: object
) -> None:
    now = found(BRIDGE_ROW, replace(VHU_ROW, **changed))
    ((what, wanted),) = values.items()
    assert differences(VHU, now) == (
        Difference("OVS port vhu1", what, wanted, was, Action.CORRECT),
    )
    assert to_apply(VHU, now) == Plan(rows=(SetPort("vhu1", values),), awaited=("vhu1",))


def test_several_wrong_values_of_a_port_are_corrected_in_one_step() -> None:
    now = found(BRIDGE_ROW, replace(VHU_ROW, mtu_request=None, options={}, interface_ids={}))
    assert to_apply(VHU, now).rows == (
        SetPort(
            "vhu1",
            {
                **{f"external_ids:{key}": value for key, value in IDS.items()},
                "options:vhost-server-path": "/run/vhu1",
                "mtu_request": 1450,
            },
        ),
    )


def test_options_and_mtu_of_others_are_kept() -> None:
    now = found(BRIDGE_ROW, replace(VHU_ROW, options={**VHU_ROW.options, "n_rxq": "2"}))
    assert to_apply(VHU, now) == Plan()
    now = found(BRIDGE_ROW, replace(TAP_PORT_ROW, mtu_request=1400), TAP_LINK)
    assert to_apply(DIRECT, now) == Plan()


def test_what_is_set_on_creation_only_is_no_difference_later() -> None:
    wanted = Wiring((BR_INT, replace(PORT, vlan=Vlan(4095), qos_type="linux-htb")))
    assert to_apply(wanted, found(BRIDGE_ROW, PORT_ROW)) == Plan()


def test_on_an_empty_host_a_bridge_of_its_own_is_made_in_its_order() -> None:
    assert to_apply(OWN, found()) == Plan(
        links=(CREATE_TAP, SetLink("tap1", ON_TAP)),
        rows=(
            CreateBridge(BR_INT),
            CreateBridge(PB),
            CreatePort(IN_PB),
            CreatePort(PBP),
            CreatePort(IBP),
        ),
        awaited=("br-int", "pb1", "tap1", "pbp1", "ibp1"),
    )


def test_an_unknown_column_is_not_guessed() -> None:
    with pytest.raises(KeyError, match="ingress_policing_rate"):
        PORT_ROW.interface("ingress_policing_rate")


# The order --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wirings", "there", "ports", "expected"),
    [
        pytest.param((DIRECT,), (), 300, True, id="a tap"),
        pytest.param((DIRECT,), (), 299, False, id="a tap, too few ports"),
        pytest.param((DIRECT,), (BRIDGE_ROW,), 300, True, id="the bridge is there"),
        pytest.param((HYBRID,), (), 600, True, id="a bridge and a veth pair"),
        pytest.param((HYBRID,), (), 599, False, id="a bridge and a veth pair, too few ports"),
        pytest.param((OWN,), (), 300, True, id="a bridge of its own"),
        pytest.param((DIRECT, HYBRID), (), 900, True, id="a batch"),
        pytest.param((DIRECT, HYBRID), (), 899, False, id="a batch, too few ports"),
        pytest.param((DIRECT, LATER), (), 300, True, id="a batch, one needs no link"),
        pytest.param((LATER,), (), 10**6, False, id="no link"),
        pytest.param((), (), 10**6, False, id="nothing"),
        pytest.param((DIRECT,), ALL_OF_DIRECT, 10**6, False, id="all is there"),
        pytest.param(
            (DIRECT,), (BRIDGE_ROW, TAP_PORT_ROW), 10**6, False, id="only the device is missing"
        ),
        pytest.param(
            (DIRECT, HYBRID),
            (BRIDGE_ROW, TAP_PORT_ROW),
            10**6,
            False,
            id="a batch, of one only the device is missing",
        ),
        pytest.param(
            (OWN,),
            (BRIDGE_ROW, PB_ROW, replace(TAP_PORT_ROW, bridge="pb1")),
            10**6,
            False,
            id="a row is missing, but not the device's",
        ),
        pytest.param((Wiring((QBR,)),), (), 10**6, False, id="links alone"),
    ],
)
def test_rows_come_first_where_vswitchd_is_slow_and_looks_at_new_rows_only(
    wirings: Sequence[Wiring],
    there: Sequence[Link | Bridge | Port],
    ports: int,
    expected: bool,
) -> None:
    state = replace(found(*there), port_count=ports)
    assert is_rows_first([to_apply(wiring, state) for wiring in wirings], state) is expected


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
    pytest.param({"interface_ids": {"vm-uuid": "c1", "iface-status": "active"}}, id="same VM"),
]
ANOTHERS = [
    pytest.param({"external_ids": {"os-vif": str(OTHER)}}, id="another VIF's mark"),
    pytest.param(
        {"interface_ids": {"iface-id": "b2", "attached-mac": "fa:16:3e:00:00:02"}},
        id="another VIF's ids",
    ),
]


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a_port_of_this_vif_is_removed_wherever_it_sits(identity: dict[str, Any]) -> None:
    there = found(Port("qvo1", "br-ex", **identity))
    assert to_remove(HYBRID, there) == Plan(rows=(RemovePort("qvo1", "br-ex"),))


@pytest.mark.parametrize("identity", STRANGERS)
def test_a_strangers_port_on_another_bridge_is_left_and_refused(
    identity: dict[str, Any],
) -> None:
    refused = Difference("OVS port qvo1", "bridge", "br-int", "br-ex", Action.REFUSE)
    assert to_remove(HYBRID, found(Port("qvo1", "br-ex", **identity))) == Plan(refused=(refused,))


@pytest.mark.parametrize("bridge", ["br-int", "br-ex"])
@pytest.mark.parametrize("identity", ANOTHERS)
def test_the_port_of_another_vif_is_left_and_reported_wherever_it_sits(
    identity: dict[str, Any], bridge: str
) -> None:
    """A late unplug must not fail because the name serves another VIF by now."""
    plan = to_remove(HYBRID, found(Port("qvo1", bridge, **identity)))
    assert plan == Plan(reported=plan.reported)
    assert [(one.where, one.what) for one in plan.reported] == [("OVS port qvo1", "owner")]


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


@pytest.mark.parametrize("identity", [*STRANGERS, *ANOTHERS])
@pytest.mark.parametrize("bridge", ["br-int", "br-ex"])
def test_a_left_over_port_of_a_stranger_is_left_alone(
    identity: dict[str, Any], bridge: str
) -> None:
    assert to_remove(LEFT, found(Port("tap1", bridge, **identity))) == Plan()


@pytest.mark.parametrize(
    ("alias", "removed"), [(MARK.alias, True), (EARLIER.alias, True), ("", False), ("x", False)]
)
def test_a_left_over_tap_is_removed_if_it_bears_our_mark(alias: str, removed: bool) -> None:
    plan = to_remove(LEFT, found(but(TAP_LINK, alias)))
    assert plan == Plan(links=(DeleteLink("tap1", "tun"),) if removed else ())


def test_a_left_over_tap_of_another_vif_is_left_alone() -> None:
    assert to_remove(LEFT, found(but(TAP_LINK, OTHER.alias))) == Plan()


@pytest.mark.parametrize("alias", [MARK.alias, EARLIER.alias, ""])
def test_left_over_links_of_a_hybrid_plug_are_known_by_their_names(alias: str) -> None:
    """os-vif 5.x made them of the VIF's id, and did not mark them."""
    links = [but(link, alias) for link in (QBR_LINK, QVB_LINK, QVO_LINK)]
    steps = (DeleteLink("qvb1", "veth"), DeleteLink("qbr1", "bridge"))
    assert to_remove(LEFT, found(*links)) == Plan(links=steps)


def test_left_over_links_of_another_kind_are_left_alone() -> None:
    links = [new_link(name, "dummy", MARK.alias) for name in ("qbr1", "qvb1", "qvo1", "tap1")]
    assert to_remove(LEFT, found(*links)) == Plan()


@pytest.mark.parametrize("identity", [*IDENTITIES, *STRANGERS, *ANOTHERS])
def test_whatever_sits_on_a_bridge_that_goes_goes_with_it(identity: dict[str, Any]) -> None:
    for wiring in (
        OWN,
        Wiring((BR_INT,), alternatives=(OWN,)),
        Wiring((), leftovers=OWN.elements),
    ):
        there = found(Bridge("pb1", "system"), Port("tap1", "pb1", **identity))
        assert to_remove(wiring, there) == Plan(
            rows=(RemovePort("tap1", "pb1"), RemoveBridge("pb1"))
        )


def test_a_bridge_that_others_use_stays_as_a_leftover_too() -> None:
    assert to_remove(Wiring((), leftovers=(BR_INT,)), found(BRIDGE_ROW)) == Plan()


def test_what_two_shapes_have_in_common_is_removed_once() -> None:
    wiring = replace(DIRECT, alternatives=(OWN, HYBRID, LATER), leftovers=(TAP,))
    there = found(
        *ALL_OF_HYBRID,
        TAP_LINK,
        TAP_PORT_ROW,
        "ibp1",
        Bridge("pb1", "system"),
        Port("pbp1", "pb1"),
    )
    assert to_remove(wiring, there) == Plan(
        links=(
            DeleteLink("qvb1", "veth"),
            DeleteLink("qbr1", "bridge"),
            DeleteLink("tap1", "tun"),
        ),
        rows=(
            RemovePort("tap1", "br-int"),
            RemovePort("qvo1", "br-int"),
            RemoveQos("ibp1"),
            RemovePort("pbp1", "pb1"),
            RemoveBridge("pb1"),
        ),
    )


def test_ports_go_before_a_bridge_that_two_shapes_have_in_common() -> None:
    """The shapes differ in the bridge's mark, so it is drawn twice."""
    tap_port, qvo_port = (replace(port, bridge="tbr-1") for port in (TAP_PORT, PORT))
    hybrid = Wiring((QBR, VETH, replace(TRUNK, mark=EARLIER), qvo_port), detected_by=qvo_port)
    wiring = Wiring((TAP, TRUNK, tap_port), detected_by=tap_port, alternatives=(hybrid,))
    there = found(Bridge("tbr-1", "system"), replace(TAP_PORT_ROW, bridge="tbr-1"))
    assert to_remove(wiring, there).rows == (RemovePort("tap1", "tbr-1"), RemoveBridge("tbr-1"))


def test_a_link_that_two_shapes_have_in_common_is_deleted_once() -> None:
    earlier = Wiring((replace(TAP, mark=EARLIER, multiqueue=True), BR_INT))
    wiring = replace(DIRECT, alternatives=(earlier,))
    assert to_remove(wiring, found(TAP_LINK)) == Plan(links=(DeleteLink("tap1", "tun"),))


def test_the_mark_of_an_earlier_shape_is_the_vifs() -> None:
    plain = replace(DIRECT, alternatives=(HYBRID,))
    row = Port("qvo1", "br-ex", {"os-vif": str(EARLIER)})
    assert to_remove(plain, found(row)).rows == (RemovePort("qvo1", "br-ex"),)


@pytest.mark.parametrize(
    "wiring",
    [DIRECT, Wiring((BR_INT,), leftovers=(TAP_PORT,)), Wiring((BR_INT,), alternatives=(DIRECT,))],
    ids=["element", "leftover", "alternative"],
)
def test_qos_that_is_left_of_a_port_is_removed(wiring: Wiring) -> None:
    assert to_remove(wiring, found("tap1")) == Plan(rows=(RemoveQos("tap1"),))
    assert to_remove(wiring, found("tap2")) == Plan()


def test_qos_goes_with_its_port() -> None:
    there = found(TAP_PORT_ROW, "tap1")
    assert to_remove(DIRECT, there) == Plan(rows=(RemovePort("tap1", "br-int"),))


def test_qos_of_a_strangers_port_is_left_alone() -> None:
    there = found(Port("tap1", "br-int"), "tap1")
    assert to_remove(Wiring((BR_INT,), leftovers=(TAP_PORT,)), there) == Plan()


@pytest.mark.parametrize(
    ("there", "links"),
    [
        ((new_link("eth0_0", "", up=True, mtu=9000),), (SetLink("eth0_0", {"up": False}),)),
        ((new_link("eth0_0", "", up=False),), ()),
        ((), ()),
    ],
    ids=["up", "down", "gone"],
)
def test_a_representor_is_set_down_and_never_deleted(there: Any, links: Any) -> None:
    for wiring in (Wiring((VF,)), Wiring((), leftovers=(VF,))):
        assert to_remove(wiring, found(*there)) == Plan(links=links)


@pytest.mark.parametrize("kind", ["tun", "dummy", ""])
def test_a_device_of_somebody_else_is_not_removed(kind: str) -> None:
    there = found(new_link("tap1", kind, MARK.alias, up=True))
    assert to_remove(Wiring((DeviceMtu("tap1", 1450),)), there) == Plan()


# Undoing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "there", "back"),
    [
        pytest.param(Plan(), (), Plan(), id="nothing"),
        pytest.param(
            to_apply(HYBRID, found()),
            (),
            Plan(
                links=(DeleteLink("qvb1", "veth"), DeleteLink("qbr1", "bridge", if_empty=True)),
                rows=(RemovePort("qvo1", "br-int"), RemoveBridge("br-int", if_empty=True)),
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
            Plan(
                rows=(
                    SetPort("qvo1", {"external_ids:iface-id": "b9", "external_ids:vm-uuid": "c9"}),
                )
            ),
            (replace(PORT_ROW, interface_ids={"iface-id": "b1"}),),
            Plan(
                rows=(
                    SetPort("qvo1", {"external_ids:iface-id": "b1", "external_ids:vm-uuid": None}),
                )
            ),
            id="ids become what they were, or go",
        ),
        pytest.param(
            Plan(
                rows=(SetPort("qvo1", {"type": "patch", "options:peer": "p", "mtu_request": 9}),)
            ),
            (replace(PORT_ROW, interface_type="dpdk", options={"peer": "q"}),),
            Plan(
                rows=(SetPort("qvo1", {"type": "dpdk", "options:peer": "q", "mtu_request": None}),)
            ),
            id="so do columns and options",
        ),
        pytest.param(
            to_apply(OWN, found(BRIDGE_ROW, TAP_LINK)),
            (BRIDGE_ROW, TAP_LINK),
            Plan(
                rows=(
                    RemovePort("ibp1", "br-int"),
                    RemovePort("pbp1", "pb1"),
                    RemovePort("tap1", "pb1"),
                    RemoveBridge("pb1", if_empty=True),
                )
            ),
            id="a bridge of its own goes after its ports",
        ),
        pytest.param(
            Plan(rows=(ReopenPort("qvo1"), SetPort("qvo1", {"mtu_request": 9}))),
            (PORT_ROW,),
            Plan(rows=(SetPort("qvo1", {"mtu_request": None}),)),
            id="a port is not given back the device that was gone",
        ),
        pytest.param(
            Plan(rows=(RemovePort("qvo1", "br-int"),)),
            (PORT_ROW, "qvo1"),
            Plan(rows=(CreatePort(QVO_AS_IT_WAS),)),
            id="a port that was replaced is made again with its QoS",
        ),
        pytest.param(
            to_apply(Wiring((VF,)), found(new_link("eth0_0", "", up=False, mtu=9000))),
            (new_link("eth0_0", "", up=False, mtu=9000),),
            Plan(links=(SetLink("eth0_0", {"mtu": 9000, "up": False}),)),
            id="a representor becomes what it was",
        ),
    ],
)
def test_the_inverse_of_a_plan(plan: Plan, there: Any, back: Plan) -> None:
    assert inverse(plan, found(*there)) == back


@pytest.mark.parametrize(
    "step", [RemovePort("tap9", "br-int"), RemoveBridge("br-9"), RemoveQos("qvo1")]
)
def test_the_removal_of_what_was_not_seen_is_not_rolled_back(step: Any) -> None:
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
def ports(draw: st.DrawFn, name: str, *bridges: str) -> list[Port]:
    """A port of this name on one of these bridges, or none."""
    marks = st.sampled_from([{}, *({"os-vif": str(mark)} for mark in (MARK, EARLIER, OTHER))])
    ids = st.fixed_dictionaries(
        {}, optional={k: st.sampled_from([v, "x"]) for k, v in IDS.items()}
    )
    more = st.sampled_from([{}, {"ovn-installed": "true"}])
    mark = draw(marks)
    row = Port(
        name,
        draw(st.sampled_from(bridges)),
        mark,
        interface_type=draw(st.sampled_from(["", "patch", "internal", "dpdkvhostuser"])),
        interface_ids={**draw(ids), **draw(more), **mark},
        vlan=draw(st.sampled_from([Vlan(), Vlan(tag=5)])),
        options=draw(st.sampled_from([{}, {"peer": "x"}, {"vhost-server-path": "/tmp"}])),
        mtu_request=draw(st.sampled_from([None, 1450, 9000])),
    )
    return draw(st.sampled_from([[], [row]]))


@st.composite
def hosts(draw: st.DrawFn) -> FakeHost:
    """What may stand there before: of the VIF, under whatever settings, and of others."""
    there: list[Any] = [
        new_link("eth0", ""),
        new_link("eth0_0", "", mtu=draw(_MTUS), up=draw(_FLAGS)),
        Bridge("br-ex", "system"),
        Port("eth0", "br-ex"),
    ]
    there += draw(links("qbr1", kind="bridge"))
    there += draw(links("qvb1", "qvo1", kind="veth"))
    there += draw(links("tap1", kind="tun"))
    on: dict[str, list[str]] = {"br-int": ["qvo1", "tap1", "eth0_0", "vhu1", "ibp1"]}
    on |= {"pb1": ["tap1", "pbp1"], "tbr-1": ["tap1"]}
    sat = set()
    for bridge, names in on.items():
        if not draw(_FLAGS):
            continue
        there.append(Bridge(bridge, draw(st.sampled_from(["", "system", "netdev"]))))
        there.append(Port(bridge, bridge, interface_type="internal"))
        for name in names:
            row = draw(ports(name, bridge)) if name not in sat else []
            there += row
            sat |= {port.name for port in row}
    host = FakeHost(*there)
    host.rows.qos = dict.fromkeys(draw(st.sets(st.sampled_from(["tap1", "qvo1", "eth0"]))), "x")
    return host


WIRINGS = st.sampled_from(
    [
        HYBRID,
        DIRECT,
        LATER,
        OWN,
        Wiring((VF, BR_INT, VF_PORT)),
        VHU,
        Wiring((TAP, TRUNK, replace(TAP_PORT, bridge="tbr-1"))),
        CHOICE,
        replace(OWN, alternatives=(DIRECT, HYBRID), leftovers=(TAP,)),
        replace(HYBRID, alternatives=(LATER, OWN)),
        Wiring((BR_INT,), leftovers=(TAP, LATER_PORT)),
        Wiring((BR_INT,), leftovers=CHOICE.all_elements),
        Wiring((BR_INT, LATER_PORT), leftovers=(TAP,)),
        Wiring((replace(TAP, mac=None, mtu=None, multiqueue=True), BR_INT, TAP_PORT)),
        Wiring((replace(QBR, ageing=None), replace(VETH, mtu=None), BR_INT, PORT)),
    ]
)


def change_links(host: FakeHost, steps: Sequence[LinkStep]) -> None:
    """Take steps of which the kernel refuses none."""
    assert host.links.execute([steps], Deadline.never()) == [None]


def take(host: FakeHost, plan: Plan) -> None:
    """Take a plan's steps in the engine's order."""
    assume(not plan.refused)
    change_links(host, plan.links)
    host.rows.commit(plan.rows, NOW)


def to_be_corrected(wiring: Wiring, host: FakeHost) -> list[Difference]:
    shape = present_shape(wiring, host.found)
    return [d for d in differences(shape, host.found) if d.action is not Action.REPORT]


def kept(state: Found, *names: str) -> tuple[Any, ...]:
    """A state without what ovs-vswitchd and the kernel choose, and without some names."""
    return (
        {name: replace(link, index=0) for name, link in state.links.items() if name not in names},
        {name: row for name, row in state.bridges.items() if name not in names},
        {
            name: replace(row, ofport=None, error="")
            for name, row in state.ports.items()
            if name not in names
        },
        {name: kind for name, kind in state.qos.items() if name not in names},
    )


def ports_of(wiring: Wiring) -> Iterator[OvsPort]:
    return (e for e in wiring.all_elements if isinstance(e, OvsPort))


def named(wiring: Wiring) -> set[str]:
    """All names that a wiring may touch."""
    specs = wiring.scope.links
    return specs | {e.name for e in wiring.all_elements}


@given(wiring=WIRINGS, host=hosts(), ipv6=_FLAGS)
def test_applying_leaves_nothing_to_do_and_others_alone(
    wiring: Wiring, host: FakeHost, ipv6: bool
) -> None:
    host.links.lacking = set() if ipv6 else {"disable_ipv6"}
    before = host.found
    take(host, to_apply(wiring, before))
    assert to_be_corrected(wiring, host) == []
    again = to_apply(wiring, host.found)
    assert (again.links, again.rows, again.awaited, again.refused) == ((), (), (), ())
    assert kept(host.found, *named(wiring)) == kept(before, *named(wiring))


@given(wiring=WIRINGS)
def test_on_an_empty_host_there_is_no_difference_at_all(wiring: Wiring) -> None:
    host = FakeHost(new_link("eth0_0", ""))
    take(host, to_apply(wiring, host.found))
    # The device of a port that waits for it may be yet to come; it is no difference then.
    assert differences(wiring, host.found) == ()
    assert to_apply(wiring, host.found) == Plan()
    made = {e.name: e.qos_type for e in wiring.elements if isinstance(e, OvsPort) and e.qos_type}
    assert host.rows.qos == made


@given(wiring=WIRINGS, host=hosts())
def test_the_inverse_leads_back(wiring: Wiring, host: FakeHost) -> None:
    before = host.found
    plan = to_apply(wiring, before)
    take(host, plan)
    back = inverse(plan, before, host.found)
    host.rows.commit(back.rows, NOW)
    change_links(host, back.links)
    made = {step.port.name for step in plan.rows if isinstance(step, CreatePort)}
    # QoS that was left of an earlier port is not brought back.
    qos = {name: kind for name, kind in before.qos.items() if name not in made - set(before.ports)}
    assert kept(host.found) == (*kept(before)[:3], qos)


@given(wiring=WIRINGS, host=hosts(), data=st.data())
def test_the_inverse_of_half_a_plan_leads_back_too(
    wiring: Wiring, host: FakeHost, data: st.DataObject
) -> None:
    before = host.found
    plan = to_apply(wiring, before)
    done = data.draw(st.integers(0, len(plan.links)))
    change_links(host, plan.links[:done])
    change_links(host, inverse(plan, before).links)
    assert kept(host.found) == kept(before)


@given(half=st.sampled_from(["qvb1", "qvo1"]), done=st.integers(0, 5))
def test_the_inverse_works_too_where_half_a_veth_pair_was_deleted(half: str, done: int) -> None:
    """The half stays away, for nobody can give it its other end back; all else is as before."""
    host = FakeHost(new_link(half, "veth", MARK.alias), BRIDGE_ROW)
    before = host.found
    plan = to_apply(HYBRID, before)
    change_links(host, plan.links[:done])
    change_links(host, inverse(plan, before).links)
    assert kept(host.found, half) == kept(before, half)


def whose(element: OvsPort, port: Port) -> str:
    """Whether a port is "this" VIF's, or "another's"; else nothing says."""
    types = {"patch", "internal"} - {element.interface_type}
    iface_ids = [ids.get("iface-id") for ids in (element.identified_by, port.interface_ids)]
    mark = port.external_ids.get("os-vif")
    if port.interface_type in types:
        return "another's"
    if None not in iface_ids:
        return "this" if iface_ids[0] == iface_ids[1] else "another's"
    if mark:
        return "another's" if mark == str(OTHER) else "this"
    mac = element.identified_by.get("attached-mac")
    return "this" if mac and mac == port.interface_ids.get("attached-mac") else ""


def nothing_is_left(wiring: Wiring, host: FakeHost) -> None:
    """Check that a wiring, its alternatives and its leftovers are gone as far as they are ours."""
    state = host.found
    for element in wiring.all_elements:
        expected = element in wiring.elements
        name = element.name
        match element:
            case OvsBridge():
                assert element.on_remove is OnRemove.KEEP or name not in state.bridges
            case OvsPort():
                port = state.ports.get(name)
                assert port is None or not (
                    (expected and port.bridge == element.bridge and not whose(element, port))
                    or whose(element, port) == "this"
                    or port.bridge not in state.bridges
                )
                assert port is not None or name not in state.qos
            case LinuxBridge() | VethPair():
                names = {name, getattr(element, "peer", name)}
                left = [state.links[one] for one in names & state.links.keys()]
                others = {link.name for link in left if link.alias == OTHER.alias}
                assert not left or others or names & others_ports(wiring, state)
            case Tap():
                link = state.links.get(name)
                assert (
                    link is None
                    or name in others_ports(wiring, state)
                    or not ((expected and not link.alias) or link.alias in OURS)
                )
            case Representor():
                up = state.links[name].attributes["up"]
                assert not up or name in others_ports(wiring, state)


def others_ports(wiring: Wiring, state: Found) -> set[str]:
    ports = ((e, state.ports.get(e.name)) for e in ports_of(wiring))
    return {e.name for e, port in ports if port and whose(e, port) == "another's"}


OURS = (MARK.alias, EARLIER.alias)


@given(wiring=WIRINGS, host=hosts(), plugged=_FLAGS)
def test_removing_leaves_nothing_of_the_vif_and_everything_of_others(
    wiring: Wiring, host: FakeHost, plugged: bool
) -> None:
    before = host.found
    if plugged:
        take(host, to_apply(wiring, before))
    there = host.found
    take(host, to_remove(wiring, there))
    event(f"plugged: {plugged}, gone: {len(there.ports) - len(host.found.ports)} ports")
    nothing_is_left(wiring, host)
    assert kept(host.found, *named(wiring)) == kept(before, *named(wiring))
    assert {b for b in there.bridges if b not in ("pb1", "tbr-1")} <= host.found.bridges.keys()
    again = to_remove(wiring, host.found)
    assert (again.links, again.rows) == ((), ())


@given(wiring=WIRINGS)
def test_removing_leads_back_to_an_empty_host_but_for_the_bridge(wiring: Wiring) -> None:
    host = FakeHost(new_link("eth0_0", ""))
    take(host, to_apply(wiring, host.found))
    take(host, to_remove(wiring, host.found))
    shared = {"br-int"} & {element.name for element in wiring.elements}
    assert (set(host.found.links), set(host.found.bridges), set(host.found.ports)) == (
        {"eth0_0"},
        shared,
        shared,
    )
    assert host.rows.qos == {}


@given(then=WIRINGS, now=WIRINGS)
def test_what_one_shape_made_another_that_knows_of_it_removes(then: Wiring, now: Wiring) -> None:
    assume(set(map(repr, then.elements)) <= set(map(repr, now.all_elements)))
    host = FakeHost(new_link("eth0_0", ""), BRIDGE_ROW)
    before = host.found
    take(host, to_apply(then, before))
    take(host, to_remove(now, host.found))
    down = {"up": False} if VF in now.elements else {}
    assert kept(host.found, "eth0_0") == kept(before, "eth0_0")
    assert host.found.links["eth0_0"].attributes.items() >= down.items()


# What others do between our look and our commit.


def others(what: str, wiring: Wiring, number: int, rows: FakeRows) -> None:
    """Change a port of the wiring, or the bridge that it shares with others."""
    elements = [e for e in wiring.elements if isinstance(e, OvsPort)]
    port = elements[number % len(elements)] if elements else None
    if what == "make the bridge" and "br-int" not in rows.bridges:
        rows.add(Bridge("br-int", "netdev"), Port("br-int", "br-int", interface_type="internal"))
    elif what == "remove the bridge":
        rows._take(RemoveBridge("br-int"))
    elif what == "make a port" and port and port.bridge in rows.bridges:
        if port.name not in rows.ports:
            rows.add(Port(port.name, port.bridge, interface_ids={"theirs": "kept"}))
    elif what == "remove a port" and port:
        rows.ports.pop(port.name, None)


DISTURBANCES = st.lists(
    st.tuples(
        st.sampled_from(["make the bridge", "remove the bridge", "make a port", "remove a port"]),
        st.integers(0, 5),
    ),
    max_size=4,
)


@given(wiring=WIRINGS, host=hosts(), disturbances=DISTURBANCES)
def test_after_whatever_interference_the_next_verb_converges(
    wiring: Wiring, host: FakeHost, disturbances: list[tuple[str, int]]
) -> None:
    assume(not to_apply(wiring, host.found).refused)
    for what, number in disturbances:
        host.rows.others.append(
            lambda rows, what=what, number=number: others(what, wiring, number, rows)
        )
    engine = Engine(host.links, host.rows)
    try:
        engine.apply(wiring, NOW)
        event("applied at once")
    except errors.WiringError as err:
        event(type(err).__name__)
    host.rows.others.clear()
    assume(not to_apply(wiring, host.found).refused)
    engine.apply(wiring, NOW)
    assert to_be_corrected(wiring, host) == []
    # Plugged in another shape, it may find somebody else's port where its own would be.
    assume(not to_remove(wiring, host.found).refused)
    engine.remove(wiring, NOW)
    nothing_is_left(wiring, host)


# Shapes that are dead ---------------------------------------------------------------------------

HYBRID_ON = replace(HYBRID, device="qbr1")
LATER_ON = replace(LATER, device="tap1")
OWN_ON = replace(OWN, device="tap1")


@pytest.mark.parametrize(
    ("there", "shape"),
    [
        ((PORT_ROW, BRIDGE_ROW), LATER_ON),
        ((PORT_ROW, BRIDGE_ROW, QBR_LINK), HYBRID_ON),
        ((TAP_PORT_ROW, BRIDGE_ROW, TAP_LINK), LATER_ON),
        ((Bridge("pb1", "system"), TAP_LINK), OWN_ON),
        ((Bridge("pb1", "system"),), LATER_ON),
    ],
)
def test_a_shape_stands_only_with_its_device(there: Any, shape: Wiring) -> None:
    assert present_shape(replace(LATER_ON, alternatives=(HYBRID_ON, OWN_ON)), found(*there)) in (
        shape,
        replace(shape, alternatives=(HYBRID_ON, OWN_ON)),
    )


def test_rows_of_a_dead_shape_go_in_the_transaction_that_makes_the_wanted_one() -> None:
    wiring = replace(LATER_ON, alternatives=(HYBRID_ON, OWN_ON))
    pb = (Bridge("pb1", "system"), Port("pbp1", "pb1"), Port("tap1", "pb1"))
    plan = to_apply(wiring, found(BRIDGE_ROW, PORT_ROW, *pb))
    assert plan.rows == (
        RemovePort("pbp1", "pb1"),
        RemovePort("tap1", "pb1"),
        RemovePort("qvo1", "br-int"),
        RemoveBridge("pb1"),
        CreatePort(LATER_PORT),
    )
    assert dict(plan.rows[2].ids or {}) == IDS  # type: ignore[union-attr]


def test_rows_of_another_vif_under_a_dead_shapes_names_stay() -> None:
    wiring = replace(LATER_ON, alternatives=(HYBRID_ON,))
    others = replace(PORT_ROW, interface_ids={**IDS, "iface-id": "b2"})
    assert to_apply(wiring, found(BRIDGE_ROW, others)).rows == (CreatePort(LATER_PORT),)


def test_a_new_bridge_takes_the_type_of_the_one_that_it_is_joined_to() -> None:
    own = replace(PB, joined_to="br-int")
    wiring = Wiring((BR_INT, own))
    [step] = to_apply(wiring, found(Bridge("br-int", "netdev"))).rows
    assert step == CreateBridge(replace(own, datapath_type="netdev"))
    both = to_apply(wiring, found()).rows
    assert both == (CreateBridge(BR_INT), CreateBridge(own))
