# SPDX-License-Identifier: Apache-2.0
"""Whose a port or a link is."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.wiring.elements import OvsPort
from os_vif.wiring.ownership import Mark, Whose, is_in_use, of_link
from os_vif.wiring.state import Link, Port

MARK, EARLIER = Mark("ovs", "hybrid", "a1"), Mark("ovs", "openvswitch", "a1")
OTHER, BY_NAME = Mark("ovs", "hybrid", "a2"), Mark("ovs", "openvswitch", "tap1")
MINE = {"iface-id": "b1", "attached-mac": "fa:16:3e:00:00:01"}
ONLY_MAC = {"attached-mac": MINE["attached-mac"]}
THEIRS = {"iface-id": "b2", "attached-mac": "fa:16:3e:00:00:02"}
WANTED = OvsPort("tap1", "br-int", MARK, identified_by=MINE)
#: What unplug knows when a VIF came without ids, and what a plugin knows that has no VIFs.
BARE = replace(WANTED, identified_by={})
NAMED = replace(WANTED, mark=BY_NAME)
FACADE = OvsPort("tap1", "br-int", BY_NAME, None)

THIS, ANOTHERS, UNKNOWN = Whose.THIS, Whose.ANOTHERS, Whose.UNKNOWN


def port(mark: Mark | None = None, ids: dict[str, str] | None = None, **more: Any) -> Port:
    external_ids = {} if mark is None else {"os-vif": str(mark)}
    return Port("tap1", "br-int", external_ids, interface_ids=ids or {}, **more)


PORTS = {
    "nothing says": (WANTED, port(), UNKNOWN),
    "os-vif 5's": (WANTED, port(ids=MINE), THIS),
    "our mark": (WANTED, port(MARK), THIS),
    "our mark under other settings": (WANTED, port(EARLIER), THIS),
    "another's mark": (WANTED, port(OTHER), ANOTHERS),
    "the iface-id before the mark": (WANTED, port(MARK, THEIRS), ANOTHERS),
    "and before another's mark": (WANTED, port(OTHER, MINE), THIS),
    "and before the MAC address": (WANTED, port(ids={**MINE, "iface-id": "b2"}), ANOTHERS),
    "the MAC address": (WANTED, port(ids=ONLY_MAC), THIS),
    "another's mark before the MAC address": (
        WANTED,
        port(OTHER, ONLY_MAC),
        ANOTHERS,
    ),
    "a MAC address may have changed": (WANTED, port(ids={"attached-mac": "x"}), UNKNOWN),
    "an agent's, plugged without an id": (WANTED, port(BY_NAME), UNKNOWN),
    "another's, without an id": (WANTED, port(BY_NAME, THEIRS), ANOTHERS),
    "asked for without an id": (NAMED, port(MARK), UNKNOWN),
    "without an id, but with the iface-id": (NAMED, port(MARK, MINE), THIS),
    "unplug of what has no ids any more": (BARE, port(MARK, MINE), THIS),
    "and of another's": (BARE, port(OTHER, THEIRS), ANOTHERS),
    "no ids of ours to compare with": (BARE, port(ids=THEIRS), UNKNOWN),
    "another plugin's mark": (WANTED, port(Mark("linux_bridge", "x", "a2")), UNKNOWN),
    "internal": (WANTED, port(ids=ONLY_MAC, interface_type="internal"), ANOTHERS),
    "patch": (WANTED, port(ids=ONLY_MAC, interface_type="patch"), ANOTHERS),
    "made internal": (WANTED, port(ids=MINE, interface_type="internal"), THIS),
    "made internal, without ids": (WANTED, port(MARK, interface_type="internal"), THIS),
    "a patch port that is wanted": (
        replace(WANTED, interface_type="patch"),
        port(MARK, MINE, interface_type="patch"),
        THIS,
    ),
    "the bridge's own device": (WANTED, replace(port(MARK), bridge="tap1"), ANOTHERS),
    "a facade knows of no VIFs": (FACADE, port(OTHER, THEIRS), UNKNOWN),
    "nor of types": (FACADE, port(interface_type="internal"), UNKNOWN),
    "made by a facade": (FACADE, port(BY_NAME), THIS),
}


@pytest.mark.parametrize(("wanted", "found", "answer"), PORTS.values(), ids=PORTS)
def test_whose_a_port_is(wanted: OvsPort, found: Port, answer: Whose) -> None:
    assert wanted.whose(found) is answer


MARKS = st.sampled_from([None, MARK, EARLIER, OTHER, BY_NAME])
IDS = st.dictionaries(st.sampled_from(["iface-id", "attached-mac", "ovn"]), st.sampled_from("ab"))


@given(mark=MARKS, ids=IDS, mine=IDS, bridge=st.sampled_from(["br-int", "br-ex"]))
def test_an_iface_id_decides_whatever_else_is_said(
    mark: Mark | None, ids: dict[str, str], mine: dict[str, str], bridge: str
) -> None:
    wanted = replace(WANTED, identified_by={**mine, "iface-id": "b1"})
    found = replace(port(mark, ids), bridge=bridge)
    answer = wanted.whose(found)
    if "iface-id" in ids:
        assert answer is ANOTHERS
        same = replace(wanted, identified_by={**mine, "iface-id": ids["iface-id"]})
        assert same.whose(found) is THIS
    else:
        assert (answer is ANOTHERS) == (mark == OTHER)


@given(one=MARKS, other=MARKS, ids=IDS, others=IDS)
def test_no_port_is_of_two_vifs_whose_iface_ids_differ(
    one: Mark | None, other: Mark | None, ids: dict[str, str], others: dict[str, str]
) -> None:
    found = port(one, {**others, "iface-id": "b1"})
    wanted = [
        replace(WANTED, mark=m, identified_by={"iface-id": i})
        for m, i in ((one, "b1"), (other, "b2"))
    ]
    assert [each.whose(found) for each in wanted] == [THIS, ANOTHERS]


@pytest.mark.parametrize(
    ("alias", "by_id", "by_choice"),
    [
        (MARK.alias, THIS, THIS),
        (EARLIER.alias, THIS, THIS),
        (OTHER.alias, ANOTHERS, ANOTHERS),
        (BY_NAME.alias, THIS, UNKNOWN),
        ("", THIS, UNKNOWN),
        ("uplink to rack 7", THIS, UNKNOWN),
        ("os-vif:linux_bridge:x:a2", THIS, UNKNOWN),
    ],
)
def test_whose_a_link_is(alias: str, by_id: Whose, by_choice: Whose) -> None:
    """A name made of the VIF's id is its own, unless a mark says otherwise."""
    link = Link("tap1", "tun", alias)
    assert of_link(MARK, link, named_after_id=True) is by_id
    assert of_link(MARK, link, named_after_id=False) is by_choice


@pytest.mark.parametrize(
    ("row", "link", "used"),
    [
        (port(), None, False),
        (port(), Link("tap1", "tun"), False),
        (port(), Link("tap1", "tun", carrier=True), True),
        (port(), Link("tap1", "", carrier=True), False),  # a representor: it does not say
        (port(interface_type="dpdkvhostuserclient", connected=True), None, True),
        (port(interface_type="dpdkvhostuser", connected=True), None, True),
        (port(interface_type="dpdkvhostuserclient"), None, False),
        (port(interface_type="dpdk", connected=True), None, False),
        (None, Link("tap1", "tun", carrier=True), True),
    ],
)
def test_what_is_seen_to_be_in_use(row: Port | None, link: Link | None, used: bool) -> None:
    assert is_in_use(row, link) is used
