# SPDX-License-Identifier: Apache-2.0
"""From a plan that was executed, and what was found before it, to the steps back."""

from dataclasses import replace
from typing import Any

import pytest

from os_vif.wiring.elements.element import Plan
from os_vif.wiring.model import Wiring
from os_vif.wiring.plan import to_apply
from os_vif.wiring.state import Vlan
from os_vif.wiring.steps import (
    CreatePort,
    DeleteLink,
    FilterBridge,
    RemoveBridge,
    RemovePort,
    RemoveQos,
    ReopenPort,
    SetLink,
    SetPort,
)
from tests.fakes import inverse
from tests.unit.wiring.values import (
    ALL_OF_HYBRID,
    BR_LINK,
    BRIDGE_ROW,
    ETH0_LINK,
    FILTER,
    FLAT,
    HYBRID,
    OWN,
    PORT,
    PORT_ROW,
    TAP_LINK,
    VF,
    VF_LINK,
    but,
    found,
    less,
)

ETH0_DOWN = but(ETH0_LINK, mtu=1500, up=False)
VF_DOWN = but(VF_LINK, up=False, mtu=9000)
QVO_AS_IT_WAS = replace(
    PORT,
    interface_type="",
    identified_by={},
    vlan=Vlan(),
    qos_type="linux-noop",
    port_ids=PORT_ROW.external_ids,
)

BACK = {
    "nothing": (Plan(), (), Plan()),
    "everything was made: all of it goes, last made first": (
        to_apply(HYBRID, found()),
        (),
        Plan(
            links=(DeleteLink("qvb1", "veth"), DeleteLink("qbr1", "bridge", if_empty=True)),
            rows=(RemovePort("qvo1", "br-int"), RemoveBridge("br-int", if_empty=True)),
        ),
    ),
    "attributes become what they were": (
        Plan(links=(SetLink("tap1", {"mtu": 9000, "up": True}),)),
        (but(TAP_LINK, mtu=1500, up=False),),
        Plan(links=(SetLink("tap1", {"mtu": 1500, "up": False}),)),
    ),
    "but for those that were not known": (
        Plan(links=(SetLink("tap1", {"disable_ipv6": 1, "up": True}),)),
        (less(TAP_LINK, "disable_ipv6"),),
        Plan(links=(SetLink("tap1", {"up": True}),)),
    ),
    "ids become what they were, or go": (
        Plan(
            rows=(SetPort("qvo1", {"external_ids:iface-id": "b9", "external_ids:vm-uuid": "c9"}),)
        ),
        (replace(PORT_ROW, interface_ids={"iface-id": "b1"}),),
        Plan(
            rows=(SetPort("qvo1", {"external_ids:iface-id": "b1", "external_ids:vm-uuid": None}),)
        ),
    ),
    "so do columns and options": (
        Plan(rows=(SetPort("qvo1", {"type": "patch", "options:peer": "p", "mtu_request": 9}),)),
        (replace(PORT_ROW, interface_type="dpdk", options={"peer": "q"}),),
        Plan(rows=(SetPort("qvo1", {"type": "dpdk", "options:peer": "q", "mtu_request": None}),)),
    ),
    "a bridge of its own goes after its ports": (
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
    ),
    "a port is not given back the device that was gone": (
        Plan(rows=(ReopenPort("qvo1"), SetPort("qvo1", {"mtu_request": 9}))),
        (PORT_ROW,),
        Plan(rows=(SetPort("qvo1", {"mtu_request": None}),)),
    ),
    "a port that was replaced is made again with its QoS": (
        Plan(rows=(RemovePort("qvo1", "br-int"),)),
        (PORT_ROW, "qvo1"),
        Plan(rows=(CreatePort(QVO_AS_IT_WAS),)),
    ),
    "a representor becomes what it was": (
        to_apply(Wiring((VF,)), found(VF_DOWN)),
        (VF_DOWN,),
        Plan(links=(SetLink("eth0_0", {"mtu": 9000, "up": False}),)),
    ),
    "a bridge whose port was not put into it": (
        Plan(links=to_apply(FLAT, found(ETH0_DOWN)).links[:-1]),
        (ETH0_DOWN,),
        Plan(
            links=(
                DeleteLink("br1", "bridge", if_empty=True),
                SetLink("eth0", {"mtu": 1500, "up": False}),
                FilterBridge("br1", None),
            )
        ),
    ),
    # What they were is not known; iptables itself takes back what it could not finish.
    "not the rules of a bridge that was there": (
        Plan(links=(FILTER,)),
        (ETH0_LINK, BR_LINK),
        Plan(),
    ),
    "not what the host's addresses are on": (
        to_apply(FLAT, found(ETH0_LINK)),
        (ETH0_LINK,),
        Plan(),
    ),
}


@pytest.mark.parametrize(("plan", "there", "back"), BACK.values(), ids=BACK)
def test_the_inverse_of_a_plan(plan: Plan, there: Any, back: Plan) -> None:
    assert inverse(plan, found(*there)) == back


@pytest.mark.parametrize(
    "step", [RemovePort("tap9", "br-int"), RemoveBridge("br-9"), RemoveQos("qvo1")]
)
def test_the_removal_of_what_was_not_seen_is_not_rolled_back(step: Any) -> None:
    with pytest.raises(TypeError, match="has no inverse"):
        inverse(Plan(rows=(step,)), found(*ALL_OF_HYBRID))
