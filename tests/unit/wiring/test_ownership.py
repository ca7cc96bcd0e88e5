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


@pytest.mark.parametrize(
    ("wanted", "found", "answer"),
    [
        pytest.param(WANTED, port(), UNKNOWN, id="nothing says"),
        pytest.param(WANTED, port(ids=MINE), THIS, id="os-vif 5's"),
        pytest.param(WANTED, port(MARK), THIS, id="our mark"),
        pytest.param(WANTED, port(EARLIER), THIS, id="our mark under other settings"),
        pytest.param(WANTED, port(OTHER), ANOTHERS, id="another's mark"),
        pytest.param(WANTED, port(MARK, THEIRS), ANOTHERS, id="the iface-id before the mark"),
        pytest.param(WANTED, port(OTHER, MINE), THIS, id="and before another's mark"),
        pytest.param(
            WANTED, port(ids={**MINE, "iface-id": "b2"}), ANOTHERS, id="and before the MAC address"
        ),
        pytest.param(
            WANTED, port(ids={"attached-mac": MINE["attached-mac"]}), THIS, id="the MAC address"
        ),
        pytest.param(
            WANTED,
            port(OTHER, {"attached-mac": MINE["attached-mac"]}),
            ANOTHERS,
            id="another's mark before the MAC address",
        ),
        pytest.param(
            WANTED, port(ids={"attached-mac": "x"}), UNKNOWN, id="a MAC address may have changed"
        ),
        pytest.param(WANTED, port(BY_NAME), UNKNOWN, id="an agent's, plugged without an id"),
        pytest.param(WANTED, port(BY_NAME, THEIRS), ANOTHERS, id="another's, without an id"),
        pytest.param(NAMED, port(MARK), UNKNOWN, id="asked for without an id"),
        pytest.param(NAMED, port(MARK, MINE), THIS, id="without an id, but with the iface-id"),
        pytest.param(BARE, port(MARK, MINE), THIS, id="unplug of what has no ids any more"),
        pytest.param(BARE, port(OTHER, THEIRS), ANOTHERS, id="and of another's"),
        pytest.param(BARE, port(ids=THEIRS), UNKNOWN, id="no ids of ours to compare with"),
        pytest.param(
            WANTED, port(Mark("linux_bridge", "x", "a2")), UNKNOWN, id="another plugin's mark"
        ),
        pytest.param(WANTED, port(MARK, MINE, interface_type="internal"), ANOTHERS, id="internal"),
        pytest.param(WANTED, port(MARK, MINE, interface_type="patch"), ANOTHERS, id="patch"),
        pytest.param(
            replace(WANTED, interface_type="patch"),
            port(MARK, MINE, interface_type="patch"),
            THIS,
            id="a patch port that is wanted",
        ),
        pytest.param(
            WANTED, replace(port(MARK), bridge="tap1"), ANOTHERS, id="the bridge's own device"
        ),
        pytest.param(FACADE, port(OTHER, THEIRS), UNKNOWN, id="a facade knows of no VIFs"),
        pytest.param(FACADE, port(interface_type="internal"), UNKNOWN, id="nor of types"),
        pytest.param(FACADE, port(BY_NAME), THIS, id="made by a facade"),
    ],
)
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
        (port(), Link("tap1", "", carrier=True), False),  # a representor: nobody can tell
        (port(interface_type="dpdkvhostuserclient", connected=True), None, True),
        (port(interface_type="dpdkvhostuser", connected=True), None, True),
        (port(interface_type="dpdkvhostuserclient"), None, False),
        (port(interface_type="dpdk", connected=True), None, False),
        (None, Link("tap1", "tun", carrier=True), True),
    ],
)
def test_what_is_seen_to_be_in_use(row: Port | None, link: Link | None, used: bool) -> None:
    assert is_in_use(row, link) is used
