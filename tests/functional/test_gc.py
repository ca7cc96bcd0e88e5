# SPDX-License-Identifier: Apache-2.0
"""``gc`` removes what is ours, unwanted and unused, and nothing else."""

import pytest

import os_vif
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    HYBRID,
    MULTIQUEUE,
    PER_PORT,
    PER_PORT_ONLY,
    PORT_ONLY,
    TAP,
    Kind,
    OsVif,
)
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs import collection

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
