# SPDX-License-Identifier: Apache-2.0
"""Plug and unplug leave exactly what they describe, and write no more than that."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import vifs
from tests.rig import run, wait_until
from tests.rig.guest import TapGuest
from tests.rig.namespace import NetworkNamespace
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    BRIDGE_ONLY,
    HYBRID,
    KINDS,
    MULTIQUEUE,
    OF_THE_SWITCH,
    PER_PORT_KINDS,
    PORT_ONLY,
    SYSCTLS,
    TAP,
    WITH_LINKS,
    Kind,
    OsVif,
    deviations,
    filled,
    of,
    sysctl,
)
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import stopwatch

AT_ONCE = 0.5  # seconds; a verb that waits for vswitchd takes longer when that is frozen


all_kinds = of(*KINDS, *PER_PORT_KINDS)
with_links = of(*WITH_LINKS)
NAMES_ONLY = ["address", "network.mtu", "profile.interface_id"]


def timed(act: Callable[[], None]) -> float:
    with stopwatch() as lap:
        act()
    return lap.own


def set_link(name: str, *arguments: str) -> None:
    run(["ip", "link", "set", name, *arguments])


def assert_free(ovs: PrivateOvs, osvif: OsVif, verb: Callable[[], None]) -> None:
    """A verb with nothing to do writes nothing, asks for no privilege and waits for nothing."""
    before, cfg, calls = snapshot(ovs), ovs.next_cfg(), len(osvif.privileged_calls)
    ovs.freeze("vswitchd")
    try:
        assert timed(verb) < AT_ONCE
    finally:
        ovs.thaw("vswitchd")
    assert ovs.next_cfg() == cfg
    assert len(osvif.privileged_calls) == calls
    assert not difference(before, snapshot(ovs))


# Plugging ---------------------------------------------------------------------------------------


@pytest.mark.bug(2069718)
@all_kinds
def test_plug_makes_exactly_what_it_describes_and_unplug_leaves_the_host_as_it_was(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """One transaction and one privileged call each, the second time none. A tap that os-vif makes
    is there, with an ofport, before the guest. Unplug needs names only."""
    before, cfg = snapshot(ovs), ovs.next_cfg()
    writes, calls = bool(kind.ports), bool(kind.link_prefixes)
    osvif.plug_kind(kind)
    assert deviations(ovs, kind) == []
    assert ovs.next_cfg() == cfg + writes == ovs.cur_cfg()
    assert len(osvif.privileged_calls) == calls
    after, bridges = snapshot(ovs), kind.bridge_names()
    assert set(after["links"]) - set(before["links"]) == set(kind.links()) | bridges
    made = {"Bridge": {}, **kind.rows()}
    for table, rows in after["ovs"].items():
        new = {name: rows.pop(name) for name in set(rows) - set(before["ovs"][table])}
        of_bridges = bridges if table in {"Bridge", "Port", "Interface"} else set()
        assert set(new) == {*made.get(table, ()), *of_bridges}
    after["ovs"]["Bridge"][br_int]["ports"] = [br_int]
    after["ovs"]["Open_vSwitch"]["bridges"] = [br_int]
    assert not difference(before["ovs"], after["ovs"])
    assert_free(ovs, osvif, lambda: osvif.plug(kind.vif()))

    osvif.unplug(kind.vif(unset=NAMES_ONLY))
    assert not difference(before, snapshot(ovs))
    assert ovs.next_cfg() == cfg + 2 * writes == ovs.cur_cfg()
    assert len(osvif.privileged_calls) == 2 * calls
    assert_free(ovs, osvif, lambda: osvif.unplug(kind.vif()))


@all_kinds
def test_unplug_of_what_was_never_plugged_writes_nothing(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif
) -> None:
    assert_free(ovs, osvif, lambda: osvif.unplug(kind.vif()))


@with_links
@pytest.mark.parametrize("unset", [None, 0])
def test_the_mtu_is_that_of_the_configuration_when_the_network_has_none(
    unset: int | None, kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug(kind.vif(network={"mtu": unset}))
    assert {links()[name]["mtu"] for name in kind.link_names()} == {1500}


@pytest.mark.bug(2159024)
@of(TAP, MULTIQUEUE)
def test_a_multiqueue_tap_takes_two_queues_and_any_other_one(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug(kind.vif())
    guest = TapGuest(kind.port(), vifs.mac(), "192.0.2.1/24", multi_queue=True, queues=2)
    if kind is TAP:
        with pytest.raises(OSError, match="Invalid argument"), guest:
            pass
        return
    with guest:
        queues = Path(f"/sys/class/net/{kind.port()}/queues").glob("rx-*")
        assert len(list(queues)) == 2
        assert deviations(ovs, kind) == []


# The OVS bridge ---------------------------------------------------------------------------------


@all_kinds
def test_a_missing_bridge_is_made_of_the_profiles_type_and_stays(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif
) -> None:
    osvif.plug_kind(kind)
    assert deviations(ovs, kind) == []
    rows, mark = ovs.dump(), {"os-vif": kind.mark_of()}
    ports = sorted(["br-int", *([kind.tagged_port()] if kind.ports else [])])
    assert filled(rows["Bridge"]["br-int"]) == {
        "name": "br-int",
        "datapath_type": "netdev",
        "external_ids": mark,
        "ports": ports,
    }
    for table in ("Port", "Interface"):
        assert rows[table]["br-int"]["external_ids"] == mark
    assert rows["Interface"]["br-int"]["type"] == "internal"
    assert ovs.interface("br-int")["ofport"] == 65534
    osvif.unplug(kind.vif())
    assert set(links()) == OF_THE_SWITCH
    left = ovs.dump()
    assert list(left["Bridge"]) == list(left["Port"]) == list(left["Interface"]) == ["br-int"]


def test_a_bridge_without_a_datapath_type_in_the_profile_is_of_type_system(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    osvif_dummy.plug(PORT_ONLY.vif(unset=["profile.datapath_type"]))
    assert ovs_dummy.dump()["Bridge"]["br-int"]["datapath_type"] == "system"


@of(*KINDS)
@pytest.mark.parametrize("asked", ["system", "netdev"])
def test_an_existing_bridge_is_left_as_it_is(
    kind: Kind,
    asked: str,
    ovs: PrivateOvs,
    osvif: OsVif,
    br_int: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ovs.vsctl(
        "set-controller", br_int, "tcp:127.0.0.1:1", "--", "set-fail-mode", br_int, "secure", "--",
        "br-set-external-id", br_int, "whose", "neutron",
    )  # fmt: skip
    before = snapshot(ovs)
    osvif.plug(kind.vif(profile={"datapath_type": asked}))
    assert deviations(ovs, kind, qos="linux-noop" if asked == "system" else "") == []
    said = "OVS bridge br-int: datapath_type should be 'system' and is 'netdev'"
    assert (said in caplog.text) == (asked == "system")
    now = ovs.dump()["Bridge"][br_int]
    assert {**now, "ports": []} == {**before["ovs"]["Bridge"][br_int], "ports": []}
    assert "os-vif" not in now["external_ids"]
    osvif.unplug(kind.vif())
    assert not difference(before, snapshot(ovs))


# What others made -------------------------------------------------------------------------------


def port_of_libvirt(ovs: PrivateOvs, iface_id: str, mac: str) -> None:
    """Tap and port as libvirt makes them, under the name of VIF 1."""
    name = vifs.device("tap")
    run(["ip", "tuntap", "add", name, "mode", "tap"])
    set_link(name, "address", f"fe{mac[2:]}", "up")
    ids = {"iface-id": iface_id, "attached-mac": mac, "iface-status": "active"}
    settings = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
    ovs.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, *settings)


@of(BRIDGE_ONLY, PORT_ONLY, TAP)
def test_a_port_that_libvirt_made_goes_at_unplug_and_its_tap_is_libvirts(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug(BRIDGE_ONLY.vif())
    before = snapshot(ovs)
    port_of_libvirt(ovs, vifs.interface_id(), vifs.mac())
    osvif.unplug(kind.vif())
    assert vifs.device("tap") not in ovs.dump()["Port"]
    if kind is not TAP:
        assert vifs.device("tap") in links()
        run(["ip", "link", "delete", vifs.device("tap")])
    assert not difference(before, snapshot(ovs))


def test_a_foreign_port_of_that_name_is_left(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    port_of_libvirt(ovs, vifs.interface_id(7), vifs.mac(7))
    assert_free(ovs, osvif, lambda: osvif.unplug(BRIDGE_ONLY.vif()))


def test_replug_leaves_the_mac_of_a_tap_that_libvirt_made(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    port_of_libvirt(ovs, vifs.interface_id(), vifs.mac())
    osvif.plug(TAP.vif())
    tap = links()[TAP.port()]
    assert tap["mac"] == f"fe{vifs.mac()[2:]}"
    assert tap["alias"] is None
    assert tap["mtu"] == vifs.MTU


# A plug under one setting, an unplug under another ----------------------------------------------


@pytest.mark.parametrize("plugged", [TAP, MULTIQUEUE, PORT_ONLY], ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "unplugged", [TAP, MULTIQUEUE, PORT_ONLY, BRIDGE_ONLY], ids=lambda kind: kind.name
)
def test_unplug_under_other_settings_strands_nothing(
    plugged: Kind, unplugged: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    before = snapshot(ovs)
    osvif.plug(plugged.vif())
    osvif.unplug(unplugged.vif())
    assert not difference(before, snapshot(ovs))


# Neighbours -------------------------------------------------------------------------------------


@of(TAP, HYBRID)
@pytest.mark.parametrize("neighbour", WITH_LINKS, ids=lambda kind: f"beside-{kind.name}")
def test_a_neighbour_is_untouched_by_all_that_is_done(
    kind: Kind, neighbour: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug(neighbour.vif(2), 2)
    before = snapshot(ovs)
    uuid = ovs.interface(neighbour.port(2))["_uuid"]
    ofport = ovs.interface(neighbour.port(2))["ofport"]
    osvif.plug(kind.vif())
    osvif.plug(kind.vif())
    set_link(kind.link_names()[-1], "down")
    osvif.plug(kind.vif())
    assert deviations(ovs, kind) == deviations(ovs, neighbour, 2) == []
    osvif.unplug(kind.vif())
    osvif.unplug(kind.vif())
    assert not difference(before, snapshot(ovs))
    row = ovs.interface(neighbour.port(2))
    assert (row["_uuid"], row["ofport"]) == (uuid, ofport)


# Deviations that a re-plug corrects -------------------------------------------------------------


def lose_links(kind: Kind) -> None:
    for name in {kind.link_names()[0], kind.link_names()[-1]}:
        run(["ip", "link", "delete", name])


@with_links
def test_links_that_vanished_are_made_again_and_vswitchd_is_notified_once(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """In user space vswitchd holds on to the dead device, and says that all is well."""
    osvif.plug(kind.vif())
    for times in (1, 2):
        lose_links(kind)
        cfg, calls, neighbours = ovs.next_cfg(), len(osvif.privileged_calls), ovs.dump()["Port"]
        osvif.plug(kind.vif())
        assert deviations(ovs, kind, reopened=True) == [], f"lost {times} times"
        assert ovs.next_cfg() == cfg + 1 == ovs.cur_cfg()
        # A device that vswitchd opens while it is made may have to be set up a second time.
        _, *later = osvif.privileged_calls[calls:]
        assert {step for call in later for step, _ in call} <= {"SetLink"}
        assert ovs.dump()["Port"] == neighbours
    assert_free(ovs, osvif, lambda: osvif.plug(kind.vif()))


@with_links
def test_links_that_vanished_in_a_reboot_are_made_again_and_nothing_is_written(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """conf.db is kept, links are not; vswitchd has missed them and sees them come."""
    osvif.plug(kind.vif())
    ovs.kill("vswitchd")
    lose_links(kind)
    ovs.start_vswitchd()
    wait_until(lambda: ovs.interface(kind.port())["error"], what="vswitchd to miss it")
    rows, cfg = ovs.dump(), ovs.next_cfg()
    osvif.plug(kind.vif())
    assert deviations(ovs, kind) == []
    assert not ovs.interface(kind.port())["error"]
    assert not difference(rows, ovs.dump())
    assert ovs.next_cfg() == cfg


DEVIATIONS = [
    (TAP, "tap", ["down"]),
    (TAP, "tap", ["mtu", "1280"]),
    (TAP, "tap", ["address", "02:00:00:00:00:77"]),
    (MULTIQUEUE, "tap", ["down"]),
    (HYBRID, "qbr", ["down"]),
    (HYBRID, "qbr", ["type", "bridge", "ageing_time", "30000"]),
    (HYBRID, "qbr", ["type", "bridge", "stp_state", "1"]),
    (HYBRID, "qbr", ["type", "bridge", "forward_delay", "1500"]),
    (HYBRID, "qbr", ["type", "bridge", "mcast_snooping", "1"]),
    (HYBRID, "qvb", ["down"]),
    (HYBRID, "qvb", ["nomaster"]),
    (HYBRID, "qvb", ["promisc", "off"]),
    (HYBRID, "qvb", ["mtu", "1280"]),
    (HYBRID, "qvo", ["down"]),
    (HYBRID, "qvo", ["mtu", "9000"]),
]


@pytest.mark.parametrize(
    ("kind", "prefix", "change"),
    DEVIATIONS,
    ids=[f"{prefix}-{'-'.join(change)}" for _, prefix, change in DEVIATIONS],
)
def test_a_link_that_was_changed_is_corrected(
    kind: Kind, prefix: str, change: list[str], ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug(kind.vif())
    cfg, calls = ovs.next_cfg(), len(osvif.privileged_calls)
    set_link(vifs.device(prefix), *change)
    assert deviations(ovs, kind) != []
    osvif.plug(kind.vif())
    assert deviations(ovs, kind) == []
    assert ovs.next_cfg() == cfg
    assert len(osvif.privileged_calls) == calls + 1


@pytest.mark.parametrize("path", SYSCTLS["qbr"])
def test_a_sysctl_of_the_linux_bridge_is_corrected(
    path: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug(HYBRID.vif())
    sysctl(vifs.device("qbr"), path).write_text("0")
    osvif.plug(HYBRID.vif())
    assert deviations(ovs, HYBRID) == []


@pytest.mark.parametrize("key", TAP.external_ids())
def test_an_id_that_was_changed_or_removed_is_corrected_and_those_of_others_are_kept(
    key: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug(TAP.vif())
    # With another iface-id the whole row is another's.
    others = {} if key == "iface-id" else {"ovn-installed": "true"}
    for verb, *change in (["set", f"external_ids:{key}=wrong"], ["remove", "external_ids", key]):
        ovs.vsctl("set", "Interface", TAP.port(), "external_ids:ovn-installed=true")
        cfg, calls = ovs.next_cfg(), len(osvif.privileged_calls)
        ovs.vsctl("--no-wait", verb, "Interface", TAP.port(), *change)
        osvif.plug(TAP.vif())
        found = ovs.dump()["Interface"][TAP.port()]["external_ids"]
        assert found == {**found, **TAP.external_ids(), "os-vif": TAP.mark_of(), **others}
        assert (ovs.next_cfg(), len(osvif.privileged_calls)) == (cfg + 1, calls)


def test_half_a_veth_pair_is_replaced(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    osvif.plug(HYBRID.vif())
    with NetworkNamespace() as elsewhere:
        fd = elsewhere.fd
        run(
            ["ip", "link", "set", vifs.device("qvo"), "netns", f"/proc/self/fd/{fd}"],
            pass_fds=(fd,),
        )
        cfg = ovs.next_cfg()
        osvif.plug(HYBRID.vif())
        assert deviations(ovs, HYBRID, reopened=True) == []
        assert ovs.next_cfg() == cfg + 1
