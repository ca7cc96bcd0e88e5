# SPDX-License-Identifier: Apache-2.0
"""Properties of applying, removing and rolling back, on a kernel and an OVSDB in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.differences import Action, Difference
from os_vif.wiring.elements import (
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
from os_vif.wiring.plan import differences, present_shape, to_apply, to_remove
from os_vif.wiring.state import Bridge, Found, Link, Port, Value, Vlan
from os_vif.wiring.steps import CreatePort, LinkStep, RemoveBridge
from tests.fakes import NO_HOST_STACK, FakeHost, FakeLinks, FakeRows, inverse, new_link
from tests.unit.wiring.values import (
    BR_INT,
    BR_LINK,
    BR_MARK,
    BRIDGE_ROW,
    CHOICE,
    DIRECT,
    EARLIER,
    ETH0_LINK,
    FLAT,
    HYBRID,
    IDS,
    LATER,
    LATER_PORT,
    LIBVIRTS_MAC,
    MAC,
    MARK,
    OTHER,
    OWN,
    PORT,
    QBR,
    TAGGED,
    TAP,
    TAP_PORT,
    TRUNK,
    UNFILTERED,
    VETH,
    VF,
    VHU,
    but,
)

NOW = Deadline(1)

_ALIASES = st.sampled_from(["", MARK.alias, EARLIER.alias, OTHER.alias])
_FLAGS = st.booleans()
_MTUS = st.sampled_from([1450, 1500, 9000])
_IPV6 = st.sampled_from([0, 1])
_ATTRIBUTES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "bridge": {
        **{key: st.sampled_from([0, value]) for key, value in NO_HOST_STACK.items()},
        "stp": _FLAGS,
        "forward_delay": st.sampled_from([0, 15]),
        "ageing": st.sampled_from([0, 300]),
        "mcast_snooping": _FLAGS,
        "up": _FLAGS,
    },
    "veth": {"disable_ipv6": _IPV6, "mtu": _MTUS, "promisc": _FLAGS, "up": _FLAGS},
    "tun": {
        "disable_ipv6": _IPV6,
        "mac": st.sampled_from([MAC, LIBVIRTS_MAC]),
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
        Wiring((VF, BR_INT, replace(PORT, name="eth0_0"))),
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


def execute_links(host: FakeHost, steps: Sequence[LinkStep]) -> None:
    """Execute steps of which the kernel refuses none."""
    assert host.links.execute([steps], Deadline.never()) == [None]


def execute(host: FakeHost, plan: Plan) -> None:
    """Execute a plan in the engine's order."""
    assume(not plan.refused)
    execute_links(host, plan.links)
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
    return wiring.scope.links | {e.name for e in wiring.all_elements}


@given(wiring=WIRINGS, host=hosts(), ipv6=_FLAGS)
def test_applying_leaves_nothing_to_do_and_others_alone(
    wiring: Wiring, host: FakeHost, ipv6: bool
) -> None:
    host.links.lacking = set() if ipv6 else {"disable_ipv6"}
    before = host.found
    execute(host, to_apply(wiring, before))
    assert to_be_corrected(wiring, host) == []
    again = to_apply(wiring, host.found)
    assert (again.links, again.rows, again.awaited, again.refused) == ((), (), (), ())
    assert kept(host.found, *named(wiring)) == kept(before, *named(wiring))


@given(wiring=WIRINGS)
def test_on_an_empty_host_all_is_made_and_all_but_the_bridge_removed(wiring: Wiring) -> None:
    host = FakeHost(new_link("eth0_0", ""))
    execute(host, to_apply(wiring, host.found))
    # The device of a port that waits for it may be yet to come; it is no difference then.
    assert differences(wiring, host.found) == ()
    assert to_apply(wiring, host.found) == Plan()
    made = {e.name: e.qos_type for e in wiring.elements if isinstance(e, OvsPort) and e.qos_type}
    assert host.rows.qos == made
    execute(host, to_remove(wiring, host.found))
    shared = {"br-int"} & {element.name for element in wiring.elements}
    left = host.found
    assert (set(left.links), set(left.bridges), set(left.ports)) == ({"eth0_0"}, shared, shared)
    assert host.rows.qos == {}


@given(wiring=WIRINGS, host=hosts())
def test_the_inverse_leads_back(wiring: Wiring, host: FakeHost) -> None:
    before = host.found
    plan = to_apply(wiring, before)
    execute(host, plan)
    back = inverse(plan, before, host.found)
    host.rows.commit(back.rows, NOW)
    execute_links(host, back.links)
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
    execute_links(host, plan.links[:done])
    execute_links(host, inverse(plan, before).links)
    assert kept(host.found) == kept(before)


@given(half=st.sampled_from(["qvb1", "qvo1"]), done=st.integers(0, 5))
def test_the_inverse_works_too_where_half_a_veth_pair_was_deleted(half: str, done: int) -> None:
    """The half cannot be given its other end back: it stays away. All else is as before."""
    host = FakeHost(new_link(half, "veth", MARK.alias), BRIDGE_ROW)
    before = host.found
    plan = to_apply(HYBRID, before)
    execute_links(host, plan.links[:done])
    execute_links(host, inverse(plan, before).links)
    assert kept(host.found, half) == kept(before, half)


def whose(element: OvsPort, port: Port) -> str:
    """Return "this" or "another's" for the VIF whose a port is, else nothing."""
    types = {"patch", "internal"} - {element.interface_type}
    iface_ids = [ids.get("iface-id") for ids in (element.identified_by, port.interface_ids)]
    mark = port.external_ids.get("os-vif")
    if port.name == port.bridge:
        return "another's"
    if None not in iface_ids:
        return "this" if iface_ids[0] == iface_ids[1] else "another's"
    if mark:
        return "another's" if mark == str(OTHER) else "this"
    if port.interface_type in types:
        return "another's"
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
        execute(host, to_apply(wiring, before))
    there = host.found
    execute(host, to_remove(wiring, there))
    event(f"plugged: {plugged}, gone: {len(there.ports) - len(host.found.ports)} ports")
    nothing_is_left(wiring, host)
    assert kept(host.found, *named(wiring)) == kept(before, *named(wiring))
    assert {b for b in there.bridges if b not in ("pb1", "tbr-1")} <= host.found.bridges.keys()
    again = to_remove(wiring, host.found)
    assert (again.links, again.rows) == ((), ())


@given(then=WIRINGS, now=WIRINGS)
def test_what_one_shape_made_another_that_knows_of_it_removes(then: Wiring, now: Wiring) -> None:
    assume(set(map(repr, then.elements)) <= set(map(repr, now.all_elements)))
    host = FakeHost(new_link("eth0_0", ""), BRIDGE_ROW)
    before = host.found
    execute(host, to_apply(then, before))
    execute(host, to_remove(now, host.found))
    down = {"up": False} if VF in now.elements else {}
    assert kept(host.found, "eth0_0") == kept(before, "eth0_0")
    assert host.found.links["eth0_0"].attributes.items() >= down.items()


# What others do between our look and our commit --------------------------------------------------


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
    # Plugged in another shape, it may find another's port where its own would be.
    assume(not to_remove(wiring, host.found).refused)
    engine.remove(wiring, NOW)
    nothing_is_left(wiring, host)


# Bridges of the host's own interfaces ------------------------------------------------------------

ADDRESSES = ("192.0.2.1/24", "2001:db8::1/64")


def a_host(*more: Link, **eth0: Value) -> FakeLinks:
    return FakeLinks(but(ETH0_LINK, addresses=ADDRESSES, **{"mtu": 1500, **eth0}), *more)


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


@pytest.mark.parametrize("alias", ["", BR_MARK.alias], ids=["others", "ours"])
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
