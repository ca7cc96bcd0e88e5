# SPDX-License-Identifier: Apache-2.0
"""``gc`` removes what is ours, unwanted and unused, and nothing else."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

import os_vif
from os_vif.answers import Decision
from tests import vifs
from tests.rig import run
from tests.rig.guest import TapGuest
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    HYBRID,
    MULTIQUEUE,
    PER_PORT,
    PER_PORT_ONLY,
    PORT_ONLY,
    TAP,
    Child,
    Kind,
    OsVif,
    initialized,
    on_system,
)
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import within
from vif_plug_ovs import collection
from vif_plug_ovs.ovs import OvsPlugin
from vif_plug_ovs.ovsdb import connection
from vif_plug_ovs.shapes import names

ALL = (TAP, MULTIQUEUE, PORT_ONLY, HYBRID, PER_PORT, PER_PORT_ONLY)
kinds = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "PAUSE_SECONDS", 0.2)


@kinds
def test_what_is_not_valid_goes_and_what_is_stays(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(kind, 1)
    one = snapshot(ovs)
    osvif.plug_kind(kind, 2)
    both = snapshot(ovs)
    (would,) = [x for x in os_vif.gc([vifs.vif_id(1)], grace=0) if x.removes]
    assert (would.vif_id, would.error) == (vifs.vif_id(2), None)
    assert not difference(both, snapshot(ovs))
    (done,) = [x for x in os_vif.gc([vifs.vif_id(1)], dry_run=False, grace=0) if x.removes]
    assert done == would
    ovs.catch_up()
    assert not difference(one, snapshot(ovs))


@kinds
def test_what_is_younger_than_the_grace_period_stays(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(kind)
    before = snapshot(ovs)
    (kept,) = os_vif.gc(["x"], dry_run=False, grace=60)
    assert not kept.removes
    assert "younger than 60 s" in kept.reason
    assert not difference(before, snapshot(ovs))


@kinds
def test_what_a_guest_uses_stays(kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    osvif.plug_kind(kind)
    with kind.guest():
        ovs.catch_up()
        before = snapshot(ovs)
        (kept,) = os_vif.gc(["x"], dry_run=False, grace=0)
        assert not kept.removes
        assert "in use" in kept.reason
        assert not difference(before, snapshot(ovs))


@kinds
def test_what_a_guest_has_come_to_use_since_the_second_look_stays(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    osvif.plug_kind(kind)
    guest, looked, real = kind.guest(), [], OvsPlugin._look

    def look(plugin: OvsPlugin, *only: Any) -> collection.Look:
        found = real(plugin, *only)
        looked.append(only)
        if len(looked) == 2:
            stack.enter_context(guest)
            ovs.catch_up()
        return found

    monkeypatch.setattr(OvsPlugin, "_look", look)
    with ExitStack() as stack:
        (kept,) = os_vif.gc(["x"], dry_run=False, grace=0)
        assert "in use" in str(kept.error)
        assert len(looked) == 3
        assert kind.port() in ovs.dump()["Port"]


def test_what_goes_at_once_is_of_one_kind(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that ovs-vswitchd, at the flags of taps, does not wait for bridges of the kernel."""
    monkeypatch.setattr("vif_plug_ovs.ovs.CHUNK", 2)
    monkeypatch.setattr("vif_plug_ovs.collection.next_size", lambda size, _: size)
    chunks, real = list[set[str]](), OvsPlugin._collect_chunk

    def collect(plugin: OvsPlugin, going: Sequence[Any], *more: Any) -> dict[str, str]:
        chunks.append({one.kind for one in going})
        return real(plugin, going, *more)

    monkeypatch.setattr(OvsPlugin, "_collect_chunk", collect)
    for number in range(1, 9):
        osvif.plug_kind((TAP, HYBRID)[number % 2], number)
    decided = os_vif.gc(["x"], dry_run=False, grace=0)
    assert [(one.removes, one.error) for one in decided] == [(True, None)] * 8
    assert chunks == [{"hybrid"}, {"hybrid"}, {"openvswitch"}, {"openvswitch"}]
    assert os_vif.list_vifs() == ()


@pytest.mark.parametrize("kind", [TAP, HYBRID, PER_PORT], ids=lambda kind: kind.name)
def test_the_links_of_a_plug_that_has_not_come_to_its_rows_stay(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Of whichever process it is; they are older than the pause, and as young as the VIF."""
    kept: list[Decision] = []

    def collect() -> None:
        time.sleep(0.5)
        kept.extend(os_vif.gc(["x"], dry_run=False, grace=60))

    osvif.after_links = collect
    osvif.plug_kind(kind)
    assert [(one.removes, "it may be younger than 60 s" in one.reason) for one in kept] == [
        (False, True)
    ]
    assert os_vif.check(kind.vif(), vifs.instance()) == ()


def test_links_without_a_port_go_when_they_are_known_for_the_grace_period(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(HYBRID)
    ovs.vsctl("del-port", HYBRID.port())
    (kept,) = os_vif.gc(["x"], dry_run=False, grace=1)
    assert not kept.removes
    time.sleep(1)
    (gone,) = os_vif.gc(["x"], dry_run=False, grace=1)
    assert (gone.removes, gone.error) == (True, None)
    assert os_vif.list_vifs() == ()


@pytest.mark.parametrize("driver", ["native", "vsctl"])
@pytest.mark.parametrize("kind", [TAP, PORT_ONLY, HYBRID, PER_PORT], ids=lambda kind: kind.name)
def test_a_qos_row_that_is_left_of_a_port_goes(
    kind: Kind, driver: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """ovs-vsctl leaves it when it removes the port."""
    osvif_dummy.configure(ovsdb_interface=driver)
    ovs_dummy.vsctl("add-br", "br-int")
    before = snapshot(ovs_dummy)
    osvif_dummy.plug_kind(on_system(kind))
    osvif_dummy.plug_kind(on_system(kind), 2)
    rows = ovs_dummy.dump()
    for port in rows["Port"].keys() - rows["Bridge"].keys():
        if vifs.vif_id()[:8] in port:
            ovs_dummy.vsctl("del-port", port)
    one = next(one for one in os_vif.list_vifs() if one.vif_id == vifs.vif_id())
    assert any(device.startswith("QoS of ") for device in one.devices)
    for valid in (vifs.vif_id(2), "x"):
        decided = os_vif.gc([valid], dry_run=False, grace=0)
        assert [one.error for one in decided if one.error] == []
    assert not difference(before, snapshot(ovs_dummy))


def test_a_bridge_of_its_own_with_ports_of_others_stays(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(PER_PORT)
    run(["ip", "tuntap", "add", "dev", "theirs", "mode", "tap"])
    ovs.vsctl("add-port", names.port_bridge(vifs.vif_id()), "theirs")
    with TapGuest("theirs", vifs.mac(9), "192.0.2.9/24"):
        (kept,) = os_vif.gc(["x"], dry_run=False, grace=0)
        assert "the port theirs of others is on its bridge" in kept.reason


def test_what_others_made_is_not_looked_at(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    run(["ip", "tuntap", "add", "dev", "tap-theirs", "mode", "tap"])
    libvirts = {"iface-id": vifs.interface_id(9), "attached-mac": vifs.mac(9), "vm-id": "x"}
    ids = [f"external_ids:{key}={value!r}".replace("'", '"') for key, value in libvirts.items()]
    ovs.vsctl("add-port", "br-int", "tap-theirs", "--", "set", "Interface", "tap-theirs", *ids)
    before = snapshot(ovs)
    assert os_vif.gc(["x"], dry_run=False, grace=0) == ()
    assert not difference(before, snapshot(ovs))


def test_links_without_a_port_go(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    before = snapshot(ovs)
    osvif.plug_kind(HYBRID)
    osvif.plug_kind(TAP, 2)
    for port in (HYBRID.port(), TAP.port(2)):
        ovs.vsctl("del-port", port)
    assert {one.state for one in os_vif.list_vifs()} == {"orphan"}
    assert all(one.removes for one in os_vif.gc(["x"], dry_run=False, grace=0))
    ovs.catch_up()
    assert not difference(before, snapshot(ovs))
    assert not set(links()) & {*HYBRID.link_names(), TAP.port(2)}


# What comes after the last look ------------------------------------------------------------------


def after_the_last_look(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, when it has been decided that a VIF goes."""
    real, acts = OvsPlugin._unplugged, [act]

    def unplugged(plugin: OvsPlugin, *arguments: Any) -> Any:
        if acts:
            acts.pop()()
        return real(plugin, *arguments)

    monkeypatch.setattr(OvsPlugin, "_unplugged", unplugged)


@pytest.mark.parametrize("kind", [TAP, PORT_ONLY, HYBRID, PER_PORT], ids=lambda kind: kind.name)
def test_what_another_process_plugs_anew_meanwhile_stays(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    osvif.plug_kind(kind)
    for port in ovs.dump()["Port"].keys() - {br_int}:
        ovs.vsctl("set", "Port", port, "external_ids:os-vif-since=1000000000")

    def plug_anew() -> None:
        connection.close_all()

        def work() -> None:
            with initialized(ovs.remote, timeout=20) as other:
                other.unplug(kind.vif())
                other.plug_kind(kind)

        with Child(work) as child:
            child.result()

    after_the_last_look(monkeypatch, plug_anew)
    (one,) = os_vif.gc(["x"], dry_run=False, grace=0)
    assert one.error
    ovs.catch_up()
    assert os_vif.check(kind.vif(), vifs.instance()) == ()


@pytest.mark.parametrize("kind", [TAP, PORT_ONLY], ids=lambda kind: kind.name)
def test_a_guest_that_starts_meanwhile_keeps_its_port(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    osvif.plug_kind(kind)
    with ExitStack() as stack:
        after_the_last_look(monkeypatch, lambda: stack.enter_context(kind.guest()))
        (one,) = os_vif.gc(["x"], dry_run=False, grace=0)
        assert "in use" in str(one.error)
        assert one.code == "contradiction"
        assert kind.port() in ovs.dump()["Port"]


def test_what_another_process_has_removed_meanwhile_is_no_error(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    osvif.plug_kind(PORT_ONLY)
    real = OvsPlugin._collect_chunk

    def collect(plugin: OvsPlugin, *arguments: Any) -> Any:
        ovs.vsctl("del-port", PORT_ONLY.port())
        return real(plugin, *arguments)

    monkeypatch.setattr(OvsPlugin, "_collect_chunk", collect)
    (one,) = os_vif.gc(["x"], dry_run=False, grace=0)
    assert (one.removes, one.error) == (True, None)


def test_a_server_that_is_silent_costs_one_look_for_each_chunk(
    ovs_dummy: PrivateOvs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with initialized(ovs_dummy.remote, timeout=2) as osvif:
        for number in range(1, 6):
            osvif.plug_kind(PORT_ONLY, number)
        real = OvsPlugin._collect_chunk

        def collect(plugin: OvsPlugin, *arguments: Any) -> Any:
            ovs_dummy.freeze("ovsdb-server")
            return real(plugin, *arguments)

        monkeypatch.setattr(OvsPlugin, "_collect_chunk", collect)
        with within(8):  # two for the look, and two for what is left
            decided = os_vif.gc(["x"], dry_run=False, grace=0)
        ovs_dummy.thaw("ovsdb-server")
        assert len([one.error for one in decided if one.error]) == 5


@pytest.mark.parametrize("driver", ["native", "vsctl"])
def test_a_qos_row_that_is_left_costs_the_next_port_of_that_name_nothing(
    driver: str, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.configure(ovsdb_interface=driver)
    run(["ip", "tuntap", "add", "dev", "rep0", "mode", "tap"])
    osvif_dummy.plug(on_system(PORT_ONLY).vif(1, vif_name="rep0"), 1)
    ovs_dummy.vsctl("del-port", "rep0")
    ovs_dummy.vsctl("add-port", vifs.BRIDGE, "rep0")
    (one,) = os_vif.gc([vifs.vif_id(2)], dry_run=False, grace=0)
    assert "has the same name: rep0" in one.reason
    assert "rep0" in ovs_dummy.dump()["Port"]
