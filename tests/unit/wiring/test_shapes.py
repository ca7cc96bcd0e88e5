# SPDX-License-Identifier: Apache-2.0
"""Which of its shapes a VIF has on the host, and what becomes of the others."""

from dataclasses import replace
from typing import Any

import pytest

from os_vif.wiring.elements.element import Plan
from os_vif.wiring.model import Wiring
from os_vif.wiring.plan import present_shape, to_apply
from os_vif.wiring.state import Port
from os_vif.wiring.steps import CreatePort, RemoveBridge, RemovePort, SetLink
from tests.unit.wiring.values import (
    BR_INT,
    BRIDGE_ROW,
    CHOICE,
    EARLIER,
    HYBRID,
    IDS,
    IN_PB,
    KNOWN,
    LATER,
    LATER_PORT,
    OTHER,
    OWN,
    PB_ROW,
    PORT,
    PORT_ROW,
    QBR_LINK,
    QVB_LINK,
    QVO_LINK,
    TAP_LINK,
    TAP_PORT,
    TAP_PORT_ROW,
    but,
    changed,
    found,
)

#: The same shapes, each of them dead without its device.
HYBRID_ON, OWN_ON = replace(HYBRID, device="qbr1"), replace(OWN, device="tap1")
CHOICE_ON = replace(LATER, device="tap1", alternatives=(HYBRID_ON, OWN_ON))

PRESENT = {
    "nothing is present: the one that is wanted": (CHOICE, (), CHOICE),
    "the bridge is no evidence": (CHOICE, (BRIDGE_ROW,), CHOICE),
    "the one that is wanted": (CHOICE, (BRIDGE_ROW, TAP_PORT_ROW), CHOICE),
    "a bridge of its own": (CHOICE, (BRIDGE_ROW, PB_ROW), OWN),
    "hybrid": (CHOICE, (BRIDGE_ROW, PORT_ROW), HYBRID),
    "two are present: the first of them": (CHOICE, (PB_ROW, PORT_ROW), OWN),
    "two are present: the one that is wanted": (CHOICE, (PB_ROW, TAP_PORT_ROW), CHOICE),
    "a port on another bridge is no evidence": (
        CHOICE,
        (replace(PORT_ROW, bridge="br-ex"),),
        CHOICE,
    ),
    "a port without ids is no evidence": (CHOICE, (Port("qvo1", "br-int"),), CHOICE),
    "nor is another VIF's": (CHOICE, (Port("qvo1", "br-int", {"os-vif": str(OTHER)}),), CHOICE),
    "nor are links": (CHOICE, (QBR_LINK, QVB_LINK, QVO_LINK), CHOICE),
    "known by its mark": (CHOICE, (Port("qvo1", "br-int", {"os-vif": str(EARLIER)}),), HYBRID),
    **{
        f"known by its {key}": (
            CHOICE,
            (Port("qvo1", "br-int", interface_ids={key: value}),),
            HYBRID,
        )
        for key, value in KNOWN.items()
    },
    "hybrid without its Linux bridge": (CHOICE_ON, (PORT_ROW, BRIDGE_ROW), CHOICE_ON),
    "hybrid with its Linux bridge": (CHOICE_ON, (PORT_ROW, BRIDGE_ROW, QBR_LINK), HYBRID_ON),
    "the one that is wanted, with its tap": (CHOICE_ON, (TAP_PORT_ROW, TAP_LINK), CHOICE_ON),
    "a bridge of its own with its tap": (CHOICE_ON, (PB_ROW, TAP_LINK), OWN_ON),
    "a bridge of its own without its tap": (CHOICE_ON, (PB_ROW,), CHOICE_ON),
}


def test_a_port_is_looked_for_where_the_wanted_shape_has_it_first() -> None:
    assert IN_PB.name == LATER_PORT.name
    assert CHOICE.scope.ports[LATER_PORT.name] == LATER_PORT.bridge
    assert replace(OWN, alternatives=(LATER,)).scope.ports[IN_PB.name] == IN_PB.bridge


@pytest.mark.parametrize(("wiring", "there", "shape"), PRESENT.values(), ids=PRESENT)
def test_the_shape_that_is_present(wiring: Wiring, there: Any, shape: Wiring) -> None:
    assert present_shape(wiring, found(*there)) is shape


def test_a_wiring_that_nothing_detects_is_never_present() -> None:
    wiring = Wiring((BR_INT, PORT), alternatives=(Wiring((BR_INT, TAP_PORT)), OWN))
    assert present_shape(wiring, found(BRIDGE_ROW, PORT_ROW, TAP_PORT_ROW)) is wiring
    assert present_shape(wiring, found(PORT_ROW, PB_ROW)) is OWN


def test_the_shape_that_is_present_is_the_one_that_is_corrected() -> None:
    _, there = changed("hybrid", but(QVB_LINK, mtu=1500))
    assert to_apply(CHOICE, there) == Plan(links=(SetLink("qvb1", {"mtu": 1450}),))


def test_rows_of_a_dead_shape_go_in_the_transaction_that_makes_the_wanted_one() -> None:
    pb = (PB_ROW, Port("pbp1", "pb1"), Port("tap1", "pb1"))
    plan = to_apply(CHOICE_ON, found(BRIDGE_ROW, PORT_ROW, *pb))
    assert plan.rows == (
        RemovePort("pbp1", "pb1"),
        RemovePort("tap1", "pb1"),
        RemovePort("qvo1", "br-int"),
        RemoveBridge("pb1"),
        CreatePort(LATER_PORT),
    )
    assert dict(plan.rows[2].ids or {}) == IDS  # type: ignore[union-attr]


def test_rows_of_another_vif_under_a_dead_shapes_names_stay() -> None:
    others = replace(PORT_ROW, interface_ids={**IDS, "iface-id": "b2"})
    assert to_apply(CHOICE_ON, found(BRIDGE_ROW, others)).rows == (CreatePort(LATER_PORT),)
