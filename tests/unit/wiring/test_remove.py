# SPDX-License-Identifier: Apache-2.0
"""From what is found to the steps of an unplug."""

from dataclasses import replace
from typing import Any

import pytest

from os_vif.wiring.differences import Action, Difference
from os_vif.wiring.elements import DeviceMtu, OnRemove
from os_vif.wiring.elements.element import Plan
from os_vif.wiring.model import Wiring
from os_vif.wiring.plan import to_remove
from os_vif.wiring.state import Port
from os_vif.wiring.steps import DeleteLink, RemoveBridge, RemovePort, RemoveQos, SetLink
from tests.fakes import new_link
from tests.unit.wiring.values import (
    ALL_OF_DIRECT,
    ALL_OF_HYBRID,
    BR_INT,
    BRIDGE_ROW,
    COMPLETE,
    DIRECT,
    EARLIER,
    FLAT,
    HYBRID,
    LATER,
    MAC,
    MARK,
    OTHER,
    OWN,
    PB_ROW,
    PORT,
    PORT_ROW,
    QBR,
    QBR_LINK,
    QVB_LINK,
    QVO_LINK,
    TAGGED,
    TAP,
    TAP_LINK,
    TAP_PORT,
    TAP_PORT_ROW,
    TRUNK,
    UNFILTERED,
    VETH,
    VF,
    VF_LINK,
    but,
    found,
)

TAKE_TAP, TAKE_QVB = DeleteLink("tap1", "tun"), DeleteLink("qvb1", "veth")
TAKE_QBR = DeleteLink("qbr1", "bridge")
LEFT = Wiring((BR_INT,), leftovers=(QBR, VETH, TAP, TAP_PORT))
ON_ANOTHER_BRIDGE = Difference("OVS port qvo1", "bridge", "br-int", "br-ex", Action.REFUSE)
TO_BE_DELETED = replace(BR_INT, on_remove=OnRemove.DELETE)

REMOVED = {
    "nothing is there": (HYBRID, (), Plan()),
    "hybrid, in the opposite order; the bridge is kept": (
        HYBRID,
        ALL_OF_HYBRID,
        Plan(links=(TAKE_QVB, TAKE_QBR), rows=(RemovePort("qvo1", "br-int"),)),
    ),
    "tap": (DIRECT, ALL_OF_DIRECT, Plan(links=(TAKE_TAP,), rows=(RemovePort("tap1", "br-int"),))),
    "a bridge of its own": (
        Wiring((TO_BE_DELETED, PORT)),
        ALL_OF_HYBRID,
        Plan(rows=(RemovePort("qvo1", "br-int"), RemoveBridge("br-int"))),
    ),
    "a bridge of its own that is gone": (Wiring((TO_BE_DELETED,)), (), Plan()),
    "half a veth pair": (
        HYBRID,
        (QVO_LINK, PORT_ROW),
        Plan(links=(DeleteLink("qvo1", "veth"),), rows=(RemovePort("qvo1", "br-int"),)),
    ),
    "what os-vif 5 made and did not mark": (
        HYBRID,
        (but(QBR_LINK, ""), but(QVB_LINK, ""), but(QVO_LINK, "")),
        Plan(links=(TAKE_QVB, TAKE_QBR)),
    ),
    "a link of another kind is never deleted": (
        DIRECT,
        (new_link("tap1", "dummy", MARK.alias),),
        Plan(),
    ),
    "an unmarked port without ids on its bridge": (
        HYBRID,
        (Port("qvo1", "br-int"),),
        Plan(rows=(RemovePort("qvo1", "br-int"),)),
    ),
    "no ids wanted and none found are not the same identity": (
        Wiring((replace(PORT, external_ids={}),)),
        (Port("qvo1", "br-ex"),),
        Plan(refused=(ON_ANOTHER_BRIDGE,)),
    ),
    "the mark of an earlier shape is the VIF's": (
        replace(DIRECT, alternatives=(HYBRID,)),
        (Port("qvo1", "br-ex", {"os-vif": str(EARLIER)}),),
        Plan(rows=(RemovePort("qvo1", "br-ex"),)),
    ),
    "QoS goes with its port": (
        DIRECT,
        (TAP_PORT_ROW, "tap1"),
        Plan(rows=(RemovePort("tap1", "br-int"),)),
    ),
    "QoS that is left of a port": (DIRECT, ("tap1", "tap2"), Plan(rows=(RemoveQos("tap1"),))),
    "QoS of a leftover": (LEFT, ("tap1", "tap2"), Plan(rows=(RemoveQos("tap1"),))),
    "QoS of an alternative": (
        Wiring((BR_INT,), alternatives=(DIRECT,)),
        ("tap1", "tap2"),
        Plan(rows=(RemoveQos("tap1"),)),
    ),
    "QoS of a stranger's port is left alone": (LEFT, (Port("tap1", "br-int"), "tap1"), Plan()),
    "a bridge that others use stays as a leftover too": (
        Wiring((), leftovers=(BR_INT,)),
        (BRIDGE_ROW,),
        Plan(),
    ),
    "a left-over tap with our mark": (LEFT, (TAP_LINK,), Plan(links=(TAKE_TAP,))),
    "and from other settings": (LEFT, (but(TAP_LINK, EARLIER.alias),), Plan(links=(TAKE_TAP,))),
    "not one of another VIF": (LEFT, (but(TAP_LINK, OTHER.alias),), Plan()),
    "nor an administrator's": (LEFT, (but(TAP_LINK, "x"),), Plan()),
    "nor one without an alias": (LEFT, (but(TAP_LINK, ""),), Plan()),
    # os-vif 5.x made them of the VIF's id, and did not mark them.
    **{
        f"left-over links of a hybrid plug, by their names, with alias {alias!r}": (
            LEFT,
            [but(link, alias) for link in (QBR_LINK, QVB_LINK, QVO_LINK)],
            Plan(links=(TAKE_QVB, TAKE_QBR)),
        )
        for alias in (MARK.alias, EARLIER.alias, "")
    },
    "left-over links of another kind are left alone": (
        LEFT,
        [new_link(name, "dummy", MARK.alias) for name in ("qbr1", "qvb1", "qvo1", "tap1")],
        Plan(),
    ),
    "what two shapes have in common is removed once": (
        replace(DIRECT, alternatives=(OWN, HYBRID, LATER), leftovers=(TAP,)),
        (*ALL_OF_HYBRID, TAP_LINK, TAP_PORT_ROW, "ibp1", PB_ROW, Port("pbp1", "pb1")),
        Plan(
            links=(TAKE_QVB, TAKE_QBR, TAKE_TAP),
            rows=(
                RemovePort("tap1", "br-int"),
                RemovePort("qvo1", "br-int"),
                RemoveQos("ibp1"),
                RemovePort("pbp1", "pb1"),
                RemoveBridge("pb1"),
            ),
        ),
    ),
    "a link that two shapes make in different ways is deleted once": (
        replace(
            DIRECT, alternatives=(Wiring((replace(TAP, mark=EARLIER, multiqueue=True), BR_INT)),)
        ),
        (TAP_LINK,),
        Plan(links=(TAKE_TAP,)),
    ),
    **{
        f"a representor that is {what} is set down and never deleted, {whose}": (
            wiring,
            there,
            Plan(links=links),
        )
        for whose, wiring in (
            ("described", Wiring((VF,))),
            ("a leftover", Wiring((), leftovers=(VF,))),
        )
        for what, there, links in (
            ("up", (but(VF_LINK, mtu=9000),), (SetLink("eth0_0", {"up": False}),)),
            ("down", (but(VF_LINK, up=False),), ()),
            ("gone", (), ()),
        )
    },
    **{
        f"a device of libvirt of kind {kind!r} is not removed": (
            Wiring((DeviceMtu("tap1", 1450),)),
            (new_link("tap1", kind, MARK.alias, up=True),),
            Plan(),
        )
        for kind in ("tun", "dummy", "")
    },
}


@pytest.mark.parametrize(("wiring", "there", "plan"), REMOVED.values(), ids=REMOVED)
def test_what_is_removed(wiring: Wiring, there: Any, plan: Plan) -> None:
    assert to_remove(wiring, found(*there)) == plan


@pytest.mark.parametrize("wiring", [FLAT, UNFILTERED, TAGGED])
def test_a_bridge_of_the_hosts_interface_is_kept_for_others(wiring: Wiring) -> None:
    for there in (COMPLETE["flat"][1], COMPLETE["vlan"][1], ()):
        assert to_remove(wiring, found(*there)) == Plan()


# Whose a port is ---------------------------------------------------------------------------------

THIS_VIFS = {
    "mark": {"external_ids": {"os-vif": str(MARK)}},
    "mark of other settings": {"external_ids": {"os-vif": str(EARLIER)}},
    "iface-id": {"interface_ids": {"iface-id": "b1"}},
    "attached-mac": {"interface_ids": {"attached-mac": MAC}},
}
STRANGERS = {
    "no ids at all": {},
    "same VM": {"interface_ids": {"vm-uuid": "c1", "iface-status": "active"}},
}
ANOTHERS = {
    "another VIF's mark": {"external_ids": {"os-vif": str(OTHER)}},
    "another VIF's ids": {
        "interface_ids": {"iface-id": "b2", "attached-mac": "fa:16:3e:00:00:02"}
    },
}
IDENTITIES: dict[str, dict[str, Any]] = {**THIS_VIFS, **STRANGERS, **ANOTHERS}


@pytest.mark.parametrize("bridge", ["br-int", "br-ex"])
@pytest.mark.parametrize("whose", IDENTITIES)
def test_a_port_is_removed_wherever_it_sits_if_it_is_this_vifs(whose: str, bridge: str) -> None:
    port = Port("qvo1", bridge, **IDENTITIES[whose])
    plan = to_remove(HYBRID, found(port))
    if whose in THIS_VIFS or (whose in STRANGERS and bridge == "br-int"):
        assert plan == Plan(rows=(RemovePort("qvo1", bridge),))
    elif whose in STRANGERS:
        assert plan == Plan(refused=(ON_ANOTHER_BRIDGE,))
    else:
        # A late unplug must not fail because the name serves another VIF by now.
        assert plan == Plan(reported=plan.reported)
        assert [(one.where, one.what) for one in plan.reported] == [("OVS port qvo1", "owner")]


@pytest.mark.parametrize("bridge", ["br-int", "br-ex"])
@pytest.mark.parametrize("whose", IDENTITIES)
def test_a_left_over_port_is_removed_if_it_is_this_vifs(whose: str, bridge: str) -> None:
    plan = to_remove(LEFT, found(Port("tap1", bridge, **IDENTITIES[whose])))
    assert plan == Plan(rows=(RemovePort("tap1", bridge),) if whose in THIS_VIFS else ())


@pytest.mark.parametrize(
    "wiring",
    [OWN, Wiring((BR_INT,), alternatives=(OWN,)), Wiring((), leftovers=OWN.elements)],
    ids=["wanted", "alternative", "leftover"],
)
@pytest.mark.parametrize("whose", IDENTITIES)
def test_whatever_sits_on_a_bridge_that_goes_goes_with_it(whose: str, wiring: Wiring) -> None:
    there = found(PB_ROW, Port("tap1", "pb1", **IDENTITIES[whose]))
    steps = (RemovePort("tap1", "pb1"), RemoveBridge("pb1"))
    assert to_remove(wiring, there) == Plan(rows=steps)


def test_ports_go_before_a_bridge_that_two_shapes_have_in_common() -> None:
    """The shapes differ in the bridge's mark, so it is drawn twice."""
    tap_port, qvo_port = (replace(port, bridge="tbr-1") for port in (TAP_PORT, PORT))
    hybrid = Wiring((QBR, VETH, replace(TRUNK, mark=EARLIER), qvo_port), detected_by=qvo_port)
    wiring = Wiring((TAP, TRUNK, tap_port), detected_by=tap_port, alternatives=(hybrid,))
    there = found(replace(PB_ROW, name="tbr-1"), replace(TAP_PORT_ROW, bridge="tbr-1"))
    assert to_remove(wiring, there).rows == (RemovePort("tap1", "tbr-1"), RemoveBridge("tbr-1"))
