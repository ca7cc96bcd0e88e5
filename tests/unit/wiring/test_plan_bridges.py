# SPDX-License-Identifier: Apache-2.0
"""From wanted and found to steps, for bridges of the host's own interfaces."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.differences import Action, Difference
from os_vif.wiring.elements import (
    BridgePort,
    ForwardingFilter,
    HostInterface,
    LinuxBridge,
    OnRemove,
    VlanDevice,
)
from os_vif.wiring.elements.element import Plan
from os_vif.wiring.engine import Engine
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.plan import differences, to_apply, to_remove
from os_vif.wiring.state import Found, Link, Value
from os_vif.wiring.steps import CreateLink, DeleteLink, FilterBridge, JoinBridge, LinkStep, SetLink
from tests.fakes import NO_HOST_STACK, FakeLinks, inverse, new_link

MARK, VLAN_MARK = Mark("linux_bridge", "bridge", "br1"), Mark("linux_bridge", "vlan", "vlan7")
ETH0 = HostInterface("eth0", 1450)
PARENT = HostInterface("eth0", 1450, shared=True)
BR = LinuxBridge("br1", MARK, on_remove=OnRemove.KEEP)
RULES = ForwardingFilter("br1", {"bridge": "br1", "gateway": True})
PORT = BridgePort("eth0", "br1", 1450)
VLAN = VlanDevice("vlan7", "eth0", 7, 1450, VLAN_MARK)
VLAN_PORT = BridgePort("vlan7", "br1", 1450)

FLAT = Wiring((ETH0, BR, RULES, PORT))
UNFILTERED = Wiring((ETH0, BR, PORT))
TAGGED = Wiring((PARENT, VLAN, BR, VLAN_PORT))

ON_BR = {
    **NO_HOST_STACK,
    "stp": False,
    "forward_delay": 0,
    "mcast_snooping": False,
    "up": True,
}
ETH0_LINK = new_link("eth0", "", mtu=1450, up=True)
BR_LINK = new_link("br1", "bridge", MARK.alias, mtu=1450, **ON_BR)
VLAN_LINK = new_link("vlan7", "vlan", VLAN_MARK.alias, parent="eth0", vlan=7, mtu=1450, up=True)
JOINED = replace(ETH0_LINK, attributes={**ETH0_LINK.attributes, "master": "br1"})
VLAN_JOINED = replace(VLAN_LINK, attributes={**VLAN_LINK.attributes, "master": "br1"})

CREATE_BR = CreateLink("br1", "bridge", MARK.alias)
CREATE_VLAN = CreateLink("vlan7", "vlan", VLAN_MARK.alias, parent="eth0", vlan=7)
FILTER = FilterBridge("br1", RULES.settings)
JOIN, JOIN_VLAN = JoinBridge("eth0", "br1", 1450), JoinBridge("vlan7", "br1", 1450)


def found(*links: Link) -> Found:
    return Found({link.name: link for link in links})


def but(
    link: Link, alias: str | None = None, addresses: tuple[str, ...] = (), **attributes: Value
) -> Link:
    """A link with some things changed."""
    alias = link.alias if alias is None else alias
    return replace(
        link, alias=alias, addresses=addresses, attributes={**link.attributes, **attributes}
    )


# Applying ----------------------------------------------------------------------------------------


def test_a_flat_bridge_is_made_in_its_order() -> None:
    """Deaf and filtered before anything comes in, and the host's addresses last."""
    plan = to_apply(FLAT, found(but(ETH0_LINK, mtu=1500, up=False)))
    assert plan == Plan(
        links=(
            SetLink("eth0", {"mtu": 1450, "up": True}),
            CREATE_BR,
            SetLink("br1", ON_BR),
            FILTER,
            JOIN,
        )
    )


def test_a_bridge_on_a_vlan_is_made_in_its_order() -> None:
    plan = to_apply(TAGGED, found(but(ETH0_LINK, mtu=1400)))
    assert plan.links == (
        SetLink("eth0", {"mtu": 1450}),
        CREATE_VLAN,
        SetLink("vlan7", {"mtu": 1450, "up": True}),
        CREATE_BR,
        SetLink("br1", ON_BR),
        JOIN_VLAN,
    )


def test_the_mtu_of_a_bridge_waits_for_a_port() -> None:
    steps = to_apply(FLAT, found(ETH0_LINK)).links
    assert all("mtu" not in s.attributes for s in steps if isinstance(s, SetLink))


@pytest.mark.parametrize("mtu", [1450, 1500, 9000])
def test_the_mtu_of_a_shared_interface_is_raised_never_lowered(mtu: int) -> None:
    assert to_apply(Wiring((PARENT,)), found(but(ETH0_LINK, mtu=mtu))) == Plan()


def test_without_an_mtu_none_is_set() -> None:
    elements = (HostInterface("eth0", None), BR, BridgePort("eth0", "br1", None))
    assert to_apply(Wiring(elements), found(ETH0_LINK)).links == (
        CREATE_BR,
        SetLink("br1", ON_BR),
        JoinBridge("eth0", "br1", None),
    )
    assert to_apply(Wiring(elements), found(JOINED, but(BR_LINK, mtu=9000))) == Plan()
    assert (
        to_apply(Wiring((HostInterface("eth0", None, shared=True),)), found(ETH0_LINK)) == Plan()
    )


def test_the_mac_address_of_a_vlan_device_is_set_where_one_is_asked_for() -> None:
    mac = "02:00:00:00:00:07"
    (_, steps) = to_apply(Wiring((replace(VLAN, mac=mac),)), found(ETH0_LINK)).links
    assert steps == SetLink("vlan7", {"mac": mac, "mtu": 1450, "up": True})


@pytest.mark.parametrize(
    ("wiring", "there"),
    [(UNFILTERED, (JOINED, BR_LINK)), (TAGGED, (ETH0_LINK, VLAN_JOINED, BR_LINK))],
    ids=["flat", "vlan"],
)
def test_then_there_is_nothing_to_do(wiring: Wiring, there: tuple[Link, ...]) -> None:
    assert differences(wiring, found(*there)) == ()
    assert to_apply(wiring, found(*there)) == Plan()


def test_then_the_rules_are_looked_at_by_who_can() -> None:
    assert to_apply(FLAT, found(JOINED, BR_LINK)) == Plan(links=(FILTER,))


@pytest.mark.parametrize(
    ("link", "attribute", "wrong", "step"),
    [
        (JOINED, "mtu", 1500, SetLink("eth0", {"mtu": 1450})),
        (JOINED, "up", False, SetLink("eth0", {"up": True})),
        (JOINED, "master", "", JOIN),
        (BR_LINK, "mtu", 1500, JOIN),
        (BR_LINK, "up", False, SetLink("br1", {"up": True})),
        (BR_LINK, "stp", True, SetLink("br1", {"stp": False})),
        (BR_LINK, "forward_delay", 15, SetLink("br1", {"forward_delay": 0})),
        (BR_LINK, "mcast_snooping", True, SetLink("br1", {"mcast_snooping": False})),
        (BR_LINK, "arp_ignore", 0, SetLink("br1", {"arp_ignore": 1})),
        (BR_LINK, "arp_announce", 0, SetLink("br1", {"arp_announce": 2})),
        (BR_LINK, "disable_ipv6", 0, SetLink("br1", {"disable_ipv6": 1})),
    ],
    ids=lambda value: value.name if isinstance(value, Link) else None,
)
def test_one_thing_that_is_wrong_is_corrected(
    link: Link, attribute: str, wrong: Value, step: LinkStep
) -> None:
    there = {one.name: one for one in (JOINED, BR_LINK)}
    there[link.name] = but(link, **{attribute: wrong})
    assert to_apply(UNFILTERED, Found(there)) == Plan(links=(step,))


@pytest.mark.parametrize("attribute", ["ageing", "mac", "promisc"])
def test_of_our_bridge_the_rest_is_the_kernels(attribute: str) -> None:
    other: Value = {"ageing": 0, "mac": "02:00:00:00:00:99", "promisc": True}[attribute]
    assert to_apply(UNFILTERED, found(JOINED, but(BR_LINK, **{attribute: other}))) == Plan()


@pytest.mark.parametrize(
    ("address", "steps"),
    [("2001:db8::1/64", ()), ("192.0.2.1/24", (SetLink("br1", {"disable_ipv6": 1}),))],
)
def test_ipv6_of_a_bridge_that_has_addresses_of_ipv6_stays_on(
    address: str, steps: tuple[LinkStep, ...]
) -> None:
    there = but(BR_LINK, addresses=(address,), disable_ipv6=0)
    assert to_apply(UNFILTERED, found(JOINED, there)).links == steps


def test_addresses_that_are_left_on_the_interface_are_a_difference() -> None:
    """Whoever moved them was killed; or a DHCP client has put one there."""
    there = found(but(JOINED, addresses=("192.0.2.1/24",)), BR_LINK)
    assert differences(UNFILTERED, there) == (
        Difference("link eth0", "addresses", (), ("192.0.2.1/24",)),
    )
    assert to_apply(UNFILTERED, there) == Plan(links=(JOIN,))


@pytest.mark.parametrize("alias", ["", "uplink to rack 7", Mark("ovs", "hybrid", "a").alias])
def test_a_bridge_of_others_keeps_its_settings(alias: str) -> None:
    others: dict[str, Value] = {
        "stp": True,
        "forward_delay": 15,
        "mcast_snooping": True,
        "disable_ipv6": 0,
        "arp_ignore": 0,
        "arp_announce": 0,
    }
    there = but(BR_LINK, alias, **others)
    assert to_apply(UNFILTERED, found(JOINED, there)) == Plan()
    assert to_apply(UNFILTERED, found(ETH0_LINK, there)) == Plan(links=(JOIN,))


REFUSED: dict[str, tuple[Wiring, tuple[Link, ...], Difference]] = {
    "no interface": (
        UNFILTERED,
        (BR_LINK,),
        Difference("link eth0", "present", True, False, Action.REFUSE),
    ),
    "no parent": (TAGGED, (), Difference("link eth0", "present", True, False, Action.REFUSE)),
    "in another bridge": (
        UNFILTERED,
        (but(ETH0_LINK, master="br2"), BR_LINK),
        Difference("link eth0", "master", "br1", "br2", Action.REFUSE),
    ),
    "no bridge": (
        UNFILTERED,
        (ETH0_LINK, new_link("br1", "dummy", up=True)),
        Difference("link br1", "kind", "bridge", "dummy", Action.REFUSE),
    ),
    "another parent": (
        TAGGED,
        (ETH0_LINK, but(VLAN_LINK, parent="eth1")),
        Difference("link vlan7", "parent", "eth0", "eth1", Action.REFUSE),
    ),
    "another vlan": (
        TAGGED,
        (ETH0_LINK, but(VLAN_LINK, vlan=8)),
        Difference("link vlan7", "vlan", 7, 8, Action.REFUSE),
    ),
    "no vlan device": (
        TAGGED,
        (ETH0_LINK, new_link("vlan7", "veth")),
        Difference("link vlan7", "kind", "vlan", "veth", Action.REFUSE),
    ),
    "a vlan device in another bridge": (
        TAGGED,
        (ETH0_LINK, but(VLAN_LINK, master="br2"), BR_LINK),
        Difference("link vlan7", "master", "br1", "br2", Action.REFUSE),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_is_refused(case: str) -> None:
    wiring, there, difference = REFUSED[case]
    assert to_apply(wiring, found(*there)).refused == (difference,)


# Removing, undoing -------------------------------------------------------------------------------


@pytest.mark.parametrize("wiring", [FLAT, UNFILTERED, TAGGED])
def test_nothing_is_removed_for_others_use_it(wiring: Wiring) -> None:
    for there in ((JOINED, BR_LINK), (ETH0_LINK, VLAN_JOINED, BR_LINK), ()):
        assert to_remove(wiring, found(*there)) == Plan()


def test_what_was_made_before_a_failure_is_rolled_back() -> None:
    before = found(but(ETH0_LINK, mtu=1500, up=False))
    plan = to_apply(FLAT, before)
    done = replace(plan, links=plan.links[:-1])
    assert inverse(done, before).links == (
        DeleteLink("br1", "bridge", if_empty=True),
        SetLink("eth0", {"mtu": 1500, "up": False}),
        FilterBridge("br1", None),
    )


def test_the_rules_of_a_bridge_that_was_there_are_not_rolled_back() -> None:
    """What they were is not known; iptables itself takes back what it could not finish."""
    before = found(ETH0_LINK, BR_LINK)
    plan = to_apply(FLAT, before)
    assert plan.links == (FILTER, JOIN)
    assert inverse(replace(plan, links=(FILTER,)), before) == Plan()


def test_what_the_hosts_addresses_are_on_is_not_rolled_back() -> None:
    before = found(ETH0_LINK)
    assert inverse(to_apply(FLAT, before), before) == Plan()


# The engine, on a kernel in memory ---------------------------------------------------------------

ADDRESSES = ("192.0.2.1/24", "2001:db8::1/64")


def a_host(*more: Link, **eth0: Value) -> FakeLinks:
    return FakeLinks(but(ETH0_LINK, addresses=ADDRESSES, **{"mtu": 1500, **eth0}), *more)


@pytest.mark.parametrize("wiring", [FLAT, UNFILTERED, TAGGED], ids=["flat", "unfiltered", "vlan"])
def test_applied_once_there_is_nothing_to_write_again(wiring: Wiring) -> None:
    links = a_host()
    Engine(links).apply(wiring, Deadline(1))
    assert links.executed == 1
    state, taken = dict(links.links), len(links.taken)
    Engine(links).apply(wiring, Deadline(1))
    assert links.links == state
    assert links.taken[taken:] == ([FILTER] if wiring is FLAT else [])
    Engine(links).remove(wiring, Deadline(1))
    assert links.links == state


def test_the_hosts_addresses_go_to_a_flat_bridge_and_stay_beside_a_vlan() -> None:
    for wiring, (on_eth0, on_bridge) in ((FLAT, ((), ADDRESSES)), (TAGGED, (ADDRESSES, ()))):
        links = a_host()
        Engine(links).apply(wiring, Deadline(1))
        assert links.links["eth0"].addresses == on_eth0
        assert links.links["br1"].addresses == on_bridge


def test_two_vlans_of_one_interface() -> None:
    links = a_host(mtu=1400)
    other = Mark("linux_bridge", "bridge", "br2")
    second = Wiring(
        (
            HostInterface("eth0", 1300, shared=True),
            VlanDevice("vlan8", "eth0", 8, 1300, VLAN_MARK),
            LinuxBridge("br2", other, on_remove=OnRemove.KEEP),
            BridgePort("vlan8", "br2", 1300),
        )
    )
    for wiring in (TAGGED, second, TAGGED, second):
        Engine(links).apply(wiring, Deadline(1))
    assert links.executed == 2
    assert links.links["eth0"].attributes["mtu"] == 1450


@given(
    wiring=st.sampled_from([FLAT, UNFILTERED, TAGGED]),
    failing=st.integers(0, 6),
    there=st.sampled_from([(), (BR_LINK,), (but(BR_LINK, "", stp=True, mtu=1500),)]),
    mtu=st.sampled_from([1400, 1450, 9000]),
    up=st.booleans(),
)
def test_whichever_step_fails_all_is_as_before_and_the_next_verb_converges(
    wiring: Wiring, failing: int, there: tuple[Link, ...], mtu: int, up: bool
) -> None:
    links = a_host(*there, mtu=mtu, up=up)
    before = dict(links.links)
    plan = to_apply(wiring, Found(links.observe(("eth0", "br1"), ("eth0", "br1"))))
    doomed = plan.links[failing] if failing < len(plan.links) else None
    links.refuse = lambda step: step == doomed
    if doomed:
        with pytest.raises(errors.LinkFailed):
            Engine(links).apply(wiring, Deadline(1))
        assert links.links == before
        assert not any(links.filtered.values()) or there
    links.refuse = lambda step: False
    Engine(links).apply(wiring, Deadline(1))
    state = Found(links.observe(("eth0", "br1", "vlan7"), ("eth0", "br1", "vlan7")))
    assert differences(wiring, state) == ()


@pytest.mark.parametrize("alias", ["", MARK.alias], ids=["others", "ours"])
def test_a_bridge_that_comes_meanwhile_is_joined(alias: str) -> None:
    links = a_host()
    real, calls = links.execute, []

    def execute(groups: Any, deadline: Deadline, *, go_on: bool = False) -> Any:
        if not calls:
            links.links["br1"] = but(BR_LINK, alias)
        calls.append(groups)
        return real(groups, deadline, go_on=go_on)

    links.execute = execute  # type: ignore[method-assign]
    Engine(links).apply(UNFILTERED, Deadline(1))
    assert links.links["eth0"].attributes["master"] == "br1"
    assert links.links["br1"].addresses == ADDRESSES
    assert links.links["br1"].alias == alias
