# SPDX-License-Identifier: Apache-2.0
"""What the engine promises, on a host in memory and on a real one."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from os_vif.wiring import errors, rows_first
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import (
    BridgePort,
    ForwardingFilter,
    HostInterface,
    LinuxBridge,
    OnRemove,
    OvsBridge,
    OvsPort,
    Representor,
    Tap,
    VethPair,
)
from os_vif.wiring.engine import Engine
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.plan import differences
from tests.contract.worlds import (
    LONG,
    SHORT,
    FakeWorld,
    RealWorld,
    World,
    apply,
    apply_all,
    before_first,
    found,
    opening,
    remove,
    remove_all,
)
from tests.rig.stopwatch import within
from vif_plug_ovs.ovsdb.backend import NativeRows
from vif_plug_ovs.ovsdb.operations import SINCE
from vif_plug_ovs.ovsdb.vsctl import VsctlRows

MARK = Mark("ovs", "test", "a0000001-feed-4bee-8fad-000000000001")
IDS = {"iface-id": "b0000001-feed-4bee-8fad-000000000001", "attached-mac": "fa:16:3e:00:00:01"}

BRIDGE = OvsBridge("br-int", "netdev", MARK)
TAP = Tap("tapa0000001-fe", "fa:16:3e:00:00:01", 1450, MARK, multiqueue=True)
TAP_PORT = OvsPort(TAP.name, BRIDGE.name, MARK, external_ids=IDS, identified_by=IDS)
LINUX_BRIDGE = LinuxBridge("qbra0000001-fe", MARK, ageing=0)
VETH = VethPair("qvba0000001-fe", "qvoa0000001-fe", LINUX_BRIDGE.name, 1450, MARK)
VETH_PORT = OvsPort(VETH.peer, BRIDGE.name, MARK, external_ids=IDS, identified_by=IDS)

WIRINGS = {
    "tap": Wiring((TAP, BRIDGE, TAP_PORT)),
    "hybrid": Wiring((LINUX_BRIDGE, VETH, BRIDGE, VETH_PORT)),
    "port_only": Wiring((BRIDGE, replace(TAP_PORT, device=False))),
}

#: A device that serves one VIF after another.
DEVICE = "eth5"
NEXT = Mark("ovs", "test", "a0000002-feed-4bee-8fad-000000000002")


def representor(mark: Mark) -> Wiring:
    """The wiring of a VIF whose iface-id is that of its mark."""
    ids = {"iface-id": mark.owner}
    port = OvsPort(DEVICE, BRIDGE.name, mark, external_ids=ids, identified_by=ids)
    return Wiring((Representor(DEVICE, 1450), BRIDGE, port))


DRIVERS = {"native": NativeRows, "vsctl": VsctlRows}


@pytest.fixture(params=["fake", *DRIVERS, "fake rows-first", "native rows-first"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A host without a bridge of Open vSwitch; it may take itself for one with many ports."""
    kind, *order = request.param.split()
    if order:
        monkeypatch.setattr(rows_first, "PORTS_PER_LINK", 0)
    if kind == "fake":
        yield FakeWorld()
        return
    request.getfixturevalue("in_process")
    request.getfixturevalue("unhurried")
    real = RealWorld(request.getfixturevalue("ovs"), DRIVERS[kind])
    yield real
    real.close()


@pytest.fixture(params=WIRINGS)
def wiring(request: pytest.FixtureRequest) -> Wiring:
    return WIRINGS[request.param]


def may_be_set_back(world: World) -> bool:
    """Return whether a device may have to be set up a second time: ovs-vswitchd, which opens it
    while it is made, writes back the flags that it has read."""
    return isinstance(world, RealWorld) and rows_first.PORTS_PER_LINK == 0


def test_applying_takes_one_transaction_and_at_most_one_privileged_call(
    world: World, wiring: Wiring
) -> None:
    before = world.transactions
    assert differences(wiring, found(world, wiring))
    apply(world, wiring)
    assert differences(wiring, found(world, wiring)) == ()
    assert world.transactions == before + 1
    most = 1 + may_be_set_back(world)
    calls = [0] if wiring is WIRINGS["port_only"] else range(1, 1 + most)
    assert world.privileged_calls in calls


def test_applying_again_writes_nothing_and_does_not_need_vswitchd(
    world: World, wiring: Wiring
) -> None:
    apply(world, wiring)
    before = world.everything(), world.transactions, world.privileged_calls
    with world.stuck():
        apply(world, wiring, SHORT)
    assert (world.everything(), world.transactions, world.privileged_calls) == before


def test_removing_leads_back_and_removing_again_writes_nothing(
    world: World, wiring: Wiring
) -> None:
    world.add_bridge(BRIDGE.name)
    before = world.everything()
    apply(world, wiring)
    assert world.everything() != before
    remove(world, wiring)
    assert world.everything() == before
    written = world.transactions, world.privileged_calls
    remove(world, wiring)
    assert world.everything() == before
    assert (world.transactions, world.privileged_calls) == written


def test_a_bridge_that_was_missing_is_kept_for_others(world: World, wiring: Wiring) -> None:
    apply(world, wiring)
    remove(world, wiring)
    assert found(world, wiring).bridges[BRIDGE.name].external_ids == {"os-vif": str(MARK)}


@pytest.mark.parametrize(
    ("which", "link", "attributes"),
    [
        ("tap", TAP.name, {"mtu": 1400}),
        ("tap", TAP.name, {"up": False}),
        ("hybrid", VETH.name, {"mtu": 1400}),
        ("hybrid", VETH.name, {"master": ""}),
        ("hybrid", VETH.peer, {"up": False}),
        ("hybrid", LINUX_BRIDGE.name, {"up": False}),
    ],
)
def test_a_changed_link_is_corrected(
    world: World, which: str, link: str, attributes: dict[str, object]
) -> None:
    wiring = WIRINGS[which]
    apply(world, wiring)
    as_described, written = found(world, wiring), world.transactions
    world.set_link(link, **attributes)
    assert found(world, wiring) != as_described
    apply(world, wiring)
    assert found(world, wiring) == as_described
    assert world.transactions == written


@pytest.mark.parametrize(
    ("which", "link"), [("tap", TAP.name), ("hybrid", VETH.peer), ("hybrid", LINUX_BRIDGE.name)]
)
def test_a_lost_link_is_made_again(world: World, which: str, link: str) -> None:
    """And its port reopened where the datapath, in user space, holds on to what is gone."""
    wiring = WIRINGS[which]
    apply(world, wiring)
    written = world.transactions
    world.delete_link(link)
    apply(world, wiring)
    state = found(world, wiring)
    assert differences(wiring, state) == ()
    assert all(state.ports[port].works for port in state.ports)
    holds_on = isinstance(world, RealWorld) and link in state.ports
    assert world.transactions == written + holds_on


@pytest.mark.parametrize(
    ("which", "link"), [("tap", TAP.name), ("hybrid", VETH.name), ("hybrid", VETH.peer)]
)
def test_a_link_that_vswitchd_sets_back_while_it_opens_it_is_set_up_again(
    world: World, which: str, link: str
) -> None:
    wiring = WIRINGS[which]
    apply(world, wiring, rows=opening(world.rows, lambda: world.set_link(link, up=False)))
    assert differences(wiring, found(world, wiring)) == ()
    assert world.privileged_calls == 2


@pytest.mark.parametrize(("which", "link"), [("tap", TAP.name), ("hybrid", LINUX_BRIDGE.name)])
def test_a_link_that_goes_while_vswitchd_opens_it_is_an_error_and_all_is_rolled_back(
    world: World, which: str, link: str
) -> None:
    wiring = WIRINGS[which]
    world.add_bridge(BRIDGE.name)
    before = found(world, wiring)
    with pytest.raises(errors.LinkFailed, match=f"no device {link}"):
        apply(world, wiring, rows=opening(world.rows, lambda: world.delete_link(link)))
    assert found(world, wiring) == before


def test_a_lost_port_is_made_again(world: World, wiring: Wiring) -> None:
    apply(world, wiring)
    world.remove_port(wiring.elements[-1].name)
    apply(world, wiring)
    assert differences(wiring, found(world, wiring)) == ()


def test_ids_of_a_port_are_corrected_and_those_of_others_kept(
    world: World, wiring: Wiring
) -> None:
    world.add_bridge(BRIDGE.name)
    port = wiring.elements[-1].name
    world.add_port(BRIDGE.name, port, {"attached-mac": "another", "theirs": "kept"})
    apply(world, wiring)
    assert found(world, wiring).ports[port].interface_ids == {**IDS, "theirs": "kept"}


# Another VIF's -----------------------------------------------------------------------------------

ANOTHERS = {"iface-id": "another", "attached-mac": IDS["attached-mac"], "theirs": "gone"}


@pytest.fixture(params=[BRIDGE.name, "br-other"])
def left_on(request: pytest.FixtureRequest, world: World) -> str:
    """The bridge on which another VIF's row stands."""
    for name in {BRIDGE.name, request.param}:
        world.add_bridge(name)
    return str(request.param)


def test_a_row_that_another_vif_has_left_is_replaced_in_one_transaction(
    world: World, wiring: Wiring, left_on: str
) -> None:
    port = wiring.elements[-1].name
    world.add_port(left_on, port, ANOTHERS)
    written = world.transactions
    apply(world, wiring)
    row = found(world, wiring).ports[port]
    assert (row.bridge, row.interface_ids) == (BRIDGE.name, {**IDS, "os-vif": str(MARK)})
    assert {**row.external_ids, SINCE: ""} == {"os-vif": str(MARK), SINCE: ""}
    assert world.transactions == written + 1
    apply(world, wiring)
    assert world.transactions == written + 1


def test_a_row_of_another_vif_whose_guest_runs_is_refused(world: World, left_on: str) -> None:
    wiring = WIRINGS["tap"]
    world.add_port(left_on, TAP.name, ANOTHERS)
    with world.open_tap(TAP.name):
        before = world.everything()
        with pytest.raises(errors.Contradiction, match=r"owner.*another \(in use\)"):
            apply(world, wiring)
        assert world.everything() == before
    apply(world, wiring)
    assert differences(wiring, found(world, wiring)) == ()


def test_a_replacement_that_fails_gives_the_former_row_back(
    world: World, wiring: Wiring, left_on: str
) -> None:
    port = wiring.elements[-1].name
    world.add_port(left_on, port, ANOTHERS)
    before = found(world, wiring).ports[port]
    said = f"Not done after .*{port} of another was made again, without"
    with world.stuck(), pytest.raises(errors.NotRolledBack, match=said):
        apply(world, wiring, SHORT)
    row = found(world, wiring).ports[port]
    assert (row.interface_ids, row.external_ids) == (before.interface_ids, before.external_ids)
    assert (row.bridge, row.interface_type) == (before.bridge, before.interface_type)


def test_removing_leaves_another_vifs_port_and_its_device(
    world: World, wiring: Wiring, caplog: pytest.LogCaptureFixture
) -> None:
    apply(world, wiring)
    port = wiring.elements[-1].name
    world.set_ids(port, {"iface-id": "another"})
    before = found(world, wiring)
    remove(world, wiring)
    state = found(world, wiring)
    assert state.ports == before.ports
    assert state.links.get(port) == before.links.get(port)
    assert f"OVS port {port}: owner should be {IDS['iface-id']!r} and is 'another'" in caplog.text


def test_a_port_that_becomes_anothers_meanwhile_is_not_removed(
    world: World, wiring: Wiring
) -> None:
    apply(world, wiring)
    port = wiring.elements[-1].name
    before = found(world, wiring)
    rows = before_first(world.rows, lambda: world.set_ids(port, {"iface-id": "another"}))
    Engine(world.links, rows).remove(wiring, Deadline(LONG))
    state = found(world, wiring)
    assert state.ports[port].interface_ids["iface-id"] == "another"
    assert state.links.get(port) == before.links.get(port)


@pytest.mark.parametrize("had", [{}, {"iface-id": IDS["iface-id"]}], ids=["no id", "the VIF's"])
def test_a_port_that_becomes_anothers_meanwhile_is_replaced_not_overwritten(
    world: World, wiring: Wiring, had: dict[str, str]
) -> None:
    """Some columns set in it would make a row of two VIFs."""
    world.add_bridge(BRIDGE.name)
    port = wiring.elements[-1].name
    world.add_port(BRIDGE.name, port, {**had, "attached-mac": "old", "theirs": "gone"})
    rows = before_first(world.rows, lambda: world.set_ids(port, {"iface-id": "another"}))
    apply(world, wiring, rows=rows)
    assert found(world, wiring).ports[port].interface_ids == {**IDS, "os-vif": str(MARK)}


@pytest.mark.parametrize("owner", [MARK, NEXT], ids=["the same VIF", "another VIF"])
@pytest.mark.parametrize("moment", ["wait_for_vswitchd", "execute"])
def test_a_device_that_another_process_plugs_again_meanwhile_stays_up(
    world: World, moment: str, owner: Mark
) -> None:
    """Between the transaction that removes the port and the device that is set down."""
    world.add_interface(DEVICE, "192.0.2.5/24")
    apply(world, representor(MARK))
    again, calls = representor(owner), world.privileged_calls
    links, rows = world.links, world.rows
    if moment == "wait_for_vswitchd":
        rows = before_first(rows, lambda: apply(world, again), moment)
    else:
        links = before_first(links, lambda: apply(world, again), moment)
    Engine(links, rows).remove(representor(MARK), Deadline(LONG))
    assert differences(again, found(world, again)) == ()
    if moment == "wait_for_vswitchd":  # nor was it down for a moment
        assert world.privileged_calls == calls


@pytest.mark.parametrize("verb", [apply, remove])
def test_a_strange_port_on_another_bridge_is_named_and_nothing_is_changed(
    world: World, wiring: Wiring, verb: Callable[[World, Wiring], None]
) -> None:
    world.add_bridge("br-other")
    world.add_port("br-other", wiring.elements[-1].name, {})
    before = world.everything()
    with pytest.raises(errors.Contradiction, match=r"br-int.*br-other"):
        verb(world, wiring)
    assert world.everything() == before


@pytest.mark.parametrize("key", IDS)
def test_a_port_that_is_the_vifs_is_removed_from_any_bridge(
    world: World, wiring: Wiring, key: str
) -> None:
    world.add_bridge("br-other")
    before = world.everything()
    world.add_port("br-other", wiring.elements[-1].name, {key: IDS[key]})
    remove(world, wiring)
    assert world.everything() == before


def test_leftovers_go_when_they_are_marked(world: World) -> None:
    world.add_bridge(BRIDGE.name)
    before = world.everything()
    apply(world, WIRINGS["tap"])
    remove(world, Wiring((BRIDGE,), leftovers=(TAP, TAP_PORT)))
    assert world.everything() == before


def test_leftovers_stay_when_they_are_somebody_elses(world: World) -> None:
    other = Mark("ovs", "test", "somebody")
    apply(
        world,
        Wiring((Tap(TAP.name, TAP.mac, 1450, other), BRIDGE, OvsPort(TAP.name, "br-int", other))),
    )
    before = world.everything()
    remove(world, Wiring((BRIDGE,), leftovers=(TAP, TAP_PORT)))
    assert world.everything() == before


def test_what_vswitchd_does_not_act_on_is_rolled_back(world: World, wiring: Wiring) -> None:
    world.add_bridge(BRIDGE.name)
    before = world.everything()
    with (
        within(SHORT + 1),
        world.stuck(),
        pytest.raises(errors.DeadlineExceeded, match="ovs-vswitchd"),
    ):
        apply(world, wiring, SHORT)
    assert world.everything() == before


def test_a_removal_that_vswitchd_has_not_acted_on_is_a_warning(
    world: World, wiring: Wiring, caplog: pytest.LogCaptureFixture
) -> None:
    world.add_bridge(BRIDGE.name)
    before = found(world, wiring)
    apply(world, wiring)
    with world.stuck(), caplog.at_level(logging.WARNING):
        remove(world, wiring, SHORT)
    assert found(world, wiring) == before
    assert f"removal of {wiring.elements[-1].name}" in caplog.text


def test_what_the_kernel_refuses_is_rolled_back_without_a_wait_for_vswitchd(world: World) -> None:
    world.add_bridge(BRIDGE.name)
    before = world.everything()
    no_bridge = VethPair(VETH.name, VETH.peer, "no-such-bridge", 1450, MARK)
    refused = pytest.raises(errors.LinkFailed, match=f"set .* of {VETH.name}.*no-such-bridge")
    with within(LONG / 2), world.stuck(), refused:
        apply(world, Wiring((TAP, no_bridge, BRIDGE, VETH_PORT)))
    assert world.everything() == before


def test_what_was_changed_on_the_way_is_changed_back(world: World) -> None:
    """Undoing restores attributes of links that were there before."""
    apply(world, WIRINGS["tap"])
    world.set_link(TAP.name, mtu=1400)
    no_bridge = VethPair(VETH.name, VETH.peer, "no-such-bridge", 1450, MARK)
    wiring = Wiring((TAP, no_bridge))
    before = found(world, wiring)
    with pytest.raises(errors.LinkFailed):
        apply(world, wiring)
    assert found(world, wiring) == before


def test_a_link_of_another_kind_is_refused(world: World) -> None:
    apply(world, Wiring((LinuxBridge(TAP.name, MARK),)))
    before = world.everything()
    with pytest.raises(errors.Contradiction, match=r"kind should be 'tun' and is 'bridge'"):
        apply(world, WIRINGS["tap"])
    assert world.everything() == before


def test_whoever_was_faster_is_joined_not_overrun(world: World, wiring: Wiring) -> None:
    """Neutron's agent makes the same bridge or port at the same moment (bugs 1869244, 2095000)."""
    port = wiring.elements[-1].name

    def others() -> None:
        world.add_bridge(BRIDGE.name)
        world.add_port(BRIDGE.name, port, {"theirs": "kept"})

    apply(world, wiring, rows=before_first(world.rows, others))
    state = found(world, wiring)
    assert differences(wiring, state) == ()
    assert state.ports[port].interface_ids["theirs"] == "kept"
    assert "os-vif" not in state.bridges[BRIDGE.name].external_ids


def test_another_process_that_plugs_the_vif_meanwhile_keeps_its_devices(
    world: World, wiring: Wiring
) -> None:
    """It finds the links that this verb has made, and is the first to write the rows."""
    plugged: dict[str, int] = {}

    def indexes() -> dict[str, int]:
        return {name: link.index for name, link in found(world, wiring).links.items()}

    def another() -> None:
        apply(world, wiring)
        plugged.update(indexes())

    apply(world, wiring, rows=before_first(world.rows, another))
    assert indexes() == plugged
    assert differences(wiring, found(world, wiring)) == ()


def test_a_bridge_that_goes_meanwhile_is_made_again(world: World, wiring: Wiring) -> None:
    world.add_bridge(BRIDGE.name)
    rows = before_first(world.rows, lambda: _remove_bridge(world))
    apply(world, wiring, rows=rows)
    assert differences(wiring, found(world, wiring)) == ()


def _remove_bridge(world: World) -> None:
    if isinstance(world, RealWorld):
        world._ovs.vsctl("del-br", BRIDGE.name)
    else:
        assert isinstance(world, FakeWorld)
        del world.rows.bridges[BRIDGE.name], world.rows.ports[BRIDGE.name]


# Several at once --------------------------------------------------------------------------------


def numbered(number: int) -> Wiring:
    """A tap and its port, told apart by a number."""
    mark = Mark("ovs", "test", f"owner-{number}")
    tap = Tap(f"tap{number}", f"fa:16:3e:00:00:{number:02x}", 1450, mark)
    ids = {"iface-id": f"iface-{number}"}
    port = OvsPort(tap.name, BRIDGE.name, mark, external_ids=ids, identified_by=ids)
    return Wiring((tap, OvsBridge(BRIDGE.name, "netdev", mark), port))


BATCH = [numbered(number) for number in range(1, 9)]


def test_a_batch_shares_one_transaction_and_one_privileged_call(world: World) -> None:
    world.add_bridge(BRIDGE.name)
    before, written = world.everything(), world.transactions
    assert apply_all(world, BATCH) == [None] * len(BATCH)
    for wiring in BATCH:
        assert differences(wiring, found(world, wiring)) == ()
    assert world.transactions == written + 1
    made = world.privileged_calls
    assert 1 <= made <= 1 + may_be_set_back(world)
    assert apply_all(world, BATCH) == [None] * len(BATCH)
    assert (world.transactions, world.privileged_calls) == (written + 1, made)
    assert remove_all(world, BATCH) == [None] * len(BATCH)
    assert world.everything() == before
    assert (world.transactions, world.privileged_calls) == (written + 2, made + 1)


def test_a_bridge_that_all_of_a_batch_need_is_made_once(world: World) -> None:
    assert apply_all(world, BATCH) == [None] * len(BATCH)
    assert world.transactions == 1 + WRITTEN_BEFORE[type(world)]


#: A fresh Open vSwitch has been initialised by one transaction.
WRITTEN_BEFORE = {FakeWorld: 0, RealWorld: 1}


def test_whoever_of_a_batch_fails_is_rolled_back_alone(world: World) -> None:
    """In the kernel, for a contradiction, and for a device that ovs-vswitchd cannot open."""
    mark = Mark("ovs", "test", "bad")
    ids = {"iface-id": "bad"}
    no_bridge = Wiring((VethPair("qvb9", "qvo9", "no-such-bridge", 1450, mark),))
    elsewhere = Wiring((BRIDGE, OvsPort("moved", BRIDGE.name, mark, external_ids=ids)))
    no_device = Wiring((BRIDGE, OvsPort("ghost", BRIDGE.name, mark, external_ids=ids)))
    world.add_bridge(BRIDGE.name)
    world.add_bridge("br-other")
    world.add_port("br-other", "moved", {})
    apply(world, BATCH[0])
    expected = found(world, BATCH[0])
    remove(world, BATCH[0])

    failures = apply_all(world, [no_bridge, BATCH[0], elsewhere, BATCH[1], no_device])
    assert [type(failure) for failure in failures] == [
        errors.LinkFailed,
        type(None),
        errors.Contradiction,
        type(None),
        errors.NotAsDescribed,
    ]
    assert "ghost" in str(failures[4])
    assert differences(BATCH[0], found(world, BATCH[0])) == ()
    assert (
        found(world, BATCH[0]).ports["tap1"].interface_ids == expected.ports["tap1"].interface_ids
    )
    assert "ghost" not in found(world, no_device).ports
    assert found(world, no_bridge).links == {}
    assert found(world, elsewhere).ports["moved"].bridge == "br-other"


def test_a_bad_wiring_does_not_take_the_bridge_that_it_made_for_others(world: World) -> None:
    mark = Mark("ovs", "test", "bad")
    bad = Wiring((OvsBridge(BRIDGE.name, "netdev", mark), OvsPort("ghost", BRIDGE.name, mark)))
    failures = apply_all(world, [bad, *BATCH])
    assert [type(failure) for failure in failures] == [errors.NotAsDescribed, *[type(None)] * 8]
    for wiring in BATCH:
        assert differences(wiring, found(world, wiring)) == ()
    assert "ghost" not in found(world, bad).ports


def test_the_same_wiring_twice_in_a_batch_is_applied_once(world: World) -> None:
    world.add_bridge(BRIDGE.name)
    before = world.everything()
    assert apply_all(world, [BATCH[0], BATCH[0]]) == [None, None]
    assert differences(BATCH[0], found(world, BATCH[0])) == ()
    assert remove_all(world, [BATCH[0], BATCH[0]]) == [None, None]
    assert world.everything() == before


def test_a_batch_fails_as_a_whole_when_vswitchd_hangs_and_is_rolled_back(world: World) -> None:
    world.add_bridge(BRIDGE.name)
    before = world.everything()
    with world.stuck():
        failures = apply_all(world, BATCH, SHORT)
    assert {type(failure) for failure in failures} == {errors.DeadlineExceeded}
    assert world.everything() == before


# A bridge of the host's own interface ------------------------------------------------------------

INTERFACE, ADDRESSES = "eth7", ("192.0.2.1/24",)
SHARED_MARK = Mark("linux_bridge", "bridge", "br100")
SHARED_BRIDGE = LinuxBridge("br100", SHARED_MARK, on_remove=OnRemove.KEEP)
FLAT = Wiring(
    (
        HostInterface(INTERFACE, 1400),
        SHARED_BRIDGE,
        ForwardingFilter("br100", {"bridge": "br100"}),
        BridgePort(INTERFACE, "br100", 1400),
    )
)
UNFILTERED = replace(
    FLAT, elements=tuple(e for e in FLAT.elements if not isinstance(e, ForwardingFilter))
)


@pytest.mark.parametrize("flat", [FLAT, UNFILTERED], ids=["filtered", "unfiltered"])
def test_a_hosts_interface_joins_a_bridge_with_its_addresses(world: World, flat: Wiring) -> None:
    world.add_interface(INTERFACE, *ADDRESSES)
    apply(world, flat)
    state = found(world, flat)
    assert differences(flat, state) == ()
    assert state.links["br100"].addresses == ADDRESSES
    assert world.filtered == ({"br100": {"bridge": "br100"}} if flat is FLAT else {})
    before = world.everything()
    if flat is UNFILTERED:  # the daemon is asked for rules in any case
        apply(world, flat)
    remove(world, flat)
    assert world.everything() == before
    assert (world.privileged_calls, world.transactions) == (1, WRITTEN_BEFORE[type(world)])


@pytest.mark.parametrize(
    ("link", "attributes"),
    [
        (INTERFACE, {"mtu": 1300}),
        (INTERFACE, {"up": False}),
        (INTERFACE, {"master": ""}),
        ("br100", {"mtu": 1300}),
        ("br100", {"up": False}),
    ],
)
def test_of_a_joined_interface_a_change_is_corrected(
    world: World, link: str, attributes: dict[str, object]
) -> None:
    world.add_interface(INTERFACE, *ADDRESSES)
    apply(world, UNFILTERED)
    world.set_link(link, **attributes)
    assert differences(UNFILTERED, found(world, UNFILTERED))
    apply(world, UNFILTERED)
    assert differences(UNFILTERED, found(world, UNFILTERED)) == ()


def test_an_interface_that_is_missing_is_named_and_nothing_is_made(world: World) -> None:
    before = world.everything()
    with pytest.raises(errors.Contradiction, match=f"link {INTERFACE} is missing"):
        apply(world, FLAT)
    assert world.everything() == before
    assert world.privileged_calls == 0


def test_an_interface_of_another_bridge_is_named_and_nothing_is_changed(world: World) -> None:
    apply(world, Wiring((LinuxBridge("br-other", SHARED_MARK),)))
    world.add_interface(INTERFACE, *ADDRESSES)
    world.set_link(INTERFACE, master="br-other")
    before = world.everything()
    with pytest.raises(errors.Contradiction, match=r"should be 'br100' and is 'br-other'"):
        apply(world, FLAT)
    assert world.everything() == before


def test_a_join_that_fails_takes_the_bridge_and_its_rules_back(world: World) -> None:
    """The other end of a veth pair cannot be put into a bridge that is no bridge."""
    world.add_interface(INTERFACE, *ADDRESSES)
    before = world.everything()
    no_bridge = Wiring((*FLAT.elements[:3], BridgePort(INTERFACE, "no-such-bridge", 1400)))
    with pytest.raises(errors.LinkFailed, match=f"put {INTERFACE} into bridge no-such-bridge"):
        apply(world, no_bridge)
    assert world.everything() == before
    assert world.filtered == {"br100": None}


def test_a_batch_of_guests_of_one_bridge(world: World) -> None:
    world.add_interface(INTERFACE, *ADDRESSES)
    assert apply_all(world, [FLAT, FLAT, UNFILTERED]) == [None] * 3
    state = found(world, FLAT)
    assert differences(FLAT, state) == ()
    assert state.links["br100"].addresses == ADDRESSES


def test_others_bridge_is_joined_and_keeps_its_settings(world: World) -> None:
    others = LinuxBridge("br100", Mark("libvirt", "network", "x"))
    apply(world, Wiring((others,)))
    world.add_interface(INTERFACE, *ADDRESSES)
    settings = dict(found(world, FLAT).links["br100"].attributes)
    apply(world, FLAT)
    link = found(world, FLAT).links["br100"]
    assert link.alias == "os-vif:libvirt:network:x"
    kept = settings.keys() - {"mtu", "mac"}
    assert {key: link.attributes[key] for key in kept} == {key: settings[key] for key in kept}
