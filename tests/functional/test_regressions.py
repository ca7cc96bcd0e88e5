# SPDX-License-Identifier: Apache-2.0
"""Bugs of os-vif's past, one test each; where it is cheap, the fault is shown by hand as well."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from os_vif import exception
from tests import vifs
from tests.functional.test_eventlet import STALL, both, many_callers
from tests.rig import kept, run, wait_until
from tests.rig.fakesys import make_tap, mlx5, mounted
from tests.rig.guest import TapGuest
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
from vif_plug_ovs import representors
from vif_plug_ovs.shapes.names import qos_id

TRUNK = "tbr-0123abcd-4"
DEAD = {"tag": 4095, "vlan_mode": "trunk", "trunks": [4095]}
SYSTEM = {"datapath_type": "system"}


@contextmanager
def first_seen(ovs: PrivateOvs, table: str, name: str, column: str) -> Iterator[Callable[[], str]]:
    """Watch for a row, as ovs-vswitchd does; tell what a column held when it came into being."""
    argv = ["ovsdb-client", "monitor", ovs.remote, "Open_vSwitch", table, f"name,{column}"]
    watching = subprocess.Popen(
        kept([*argv, "--format=csv", "--no-headings"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=ovs.environment(),
    )
    seen: list[str] = []
    assert watching.stdout is not None
    os.set_blocking(watching.stdout.fileno(), False)

    def look() -> str | None:
        assert watching.stdout is not None
        seen.extend(watching.stdout.readlines())
        ours = (line.strip().split(",", 3) for line in seen if f",insert,{name}," in line)
        return next((line[3] for line in ours), None)

    def tell() -> str:
        wait_until(lambda: look() is not None, what=f"{name} to be seen")
        return look() or ""

    try:
        # It has subscribed as soon as it has told what is there: the canary.
        wait_until(lambda: look() or any("canary" in line for line in seen), what="the monitor")
        yield tell
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


@pytest.fixture
def canary(ovs: PrivateOvs) -> None:
    """A bridge that `first_seen` sees at once."""
    ovs.vsctl("add-br", "canary", "--", "set", "Bridge", "canary", "datapath_type=netdev")


# The process ------------------------------------------------------------------------------------


@both
def test_bug_1929446_nothing_stalls_while_the_connection_is_being_made(
    kind_of_threads: str, ovs_dummy: PrivateOvs
) -> None:
    report = many_callers(kind_of_threads, "refusal", f"{ovs_dummy.remote}-not-there")
    assert len(report["raised"]) == 12
    assert report["gap"] < STALL


def test_bug_1929446_by_hand_a_wait_in_the_systems_poll_stalls_a_green_process(
    ovs_dummy: PrivateOvs,
) -> None:
    report = many_callers("green", "native_poll", ovs_dummy.remote)
    assert report["gap"] > STALL


# MTU --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("canary")
def test_bug_1959586_a_dpdk_port_comes_with_its_mtu(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """DPDK takes the memory pool of the MTU that it sees first."""
    osvif.configure(verify_interface=False)
    name, written = vifs.device("vhu"), ovs.next_cfg()
    with first_seen(ovs, "Interface", name, "mtu_request") as first:
        osvif.plug(vifs.vif_vhost_user())
        assert first() == str(vifs.MTU)
    assert ovs.next_cfg() == written + 1


@pytest.mark.usefixtures("canary")
def test_bug_1959586_by_hand_an_mtu_in_a_second_transaction_comes_too_late(
    ovs: PrivateOvs, br_int: str
) -> None:
    with first_seen(ovs, "Interface", "vhu1", "mtu_request") as first:
        ovs.vsctl(
            "add-port", br_int, "vhu1", "--", "set", "Interface", "vhu1", "type=dpdkvhostuser"
        )
        ovs.vsctl("set", "Interface", "vhu1", "mtu_request=1450")
        assert first() == "[]"


# Trunks -----------------------------------------------------------------------------------------


def test_bug_1869244_a_trunk_bridge_that_goes_while_its_port_is_added_is_made_again(
    ovs: PrivateOvs, osvif: OsVif
) -> None:
    """Neutron's agent deletes a trunk bridge without ports; plug said OK and had no port."""
    ovs.vsctl("add-br", TRUNK, "--", "set", "Bridge", TRUNK, "datapath_type=netdev")
    osvif.once_before_links(lambda: ovs.vsctl("del-br", TRUNK))
    osvif.plug(TAP.vif(network={"bridge": TRUNK}))
    assert TAP.port() in ovs.dump()["Bridge"][TRUNK]["ports"]
    assert ovs.interface(TAP.port())["ofport"] > 0


def test_bug_2087944_an_interface_of_a_trunk_names_its_bridge(
    ovs: PrivateOvs, osvif: OsVif
) -> None:
    osvif.plug(TAP.vif(1, network={"bridge": TRUNK}), 1)
    osvif.plug(TAP.vif(2), 2)
    assert ovs.interface(TAP.port(1))["external_ids"]["bridge_name"] == TRUNK
    assert "bridge_name" not in ovs.interface(TAP.port(2))["external_ids"]


@pytest.mark.parametrize("per_port_bridge", [False, True])
def test_bug_2069543_no_port_of_a_trunk_is_parked_on_the_dead_vlan(
    per_port_bridge: bool, ovs: PrivateOvs, osvif: OsVif
) -> None:
    osvif.configure(isolate_vif=True, per_port_bridge=per_port_bridge)
    osvif.plug(TAP.vif(network={"bridge": TRUNK}))
    for name, row in ovs.dump()["Port"].items():
        assert (row["tag"], row["vlan_mode"], row["trunks"]) == (None, None, []), name


# What runs is left alone ------------------------------------------------------------------------


def test_bug_2017868_a_new_port_gets_the_default_qos_and_an_old_one_keeps_its_own(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    """Without a QoS row the device has whatever qdisc the host's default is."""
    osvif_dummy.plug(TAP.vif(1, profile=SYSTEM), 1)
    rows = ovs_dummy.dump()
    assert rows["Port"][TAP.port(1)]["qos"] == qos_id(TAP.port(1))
    assert rows["QoS"][qos_id(TAP.port(1))]["type"] == "linux-noop"
    ovs_dummy.vsctl(
        "add-port", vifs.BRIDGE, TAP.port(2), "--", "set", "Port", TAP.port(2), "qos=@q", "--",
        "--id=@q", "create", "QoS", "type=linux-htb", "other_config:max-rate=1000000",
    )  # fmt: skip
    ovs_dummy.vsctl("add-port", vifs.BRIDGE, TAP.port(3))
    before = {name: ovs_dummy.dump()["Port"][TAP.port(name)]["qos"] for name in (2, 3)}
    for number in (2, 3):
        osvif_dummy.plug(TAP.vif(number, profile=SYSTEM), number)
    after = {name: ovs_dummy.dump()["Port"][TAP.port(name)]["qos"] for name in (2, 3)}
    assert before == after == {2: "linux-htb", 3: None}


@pytest.mark.parametrize("tag", [7, 0, None])
def test_bug_2023300_a_replug_of_a_running_guest_leaves_its_vlan(
    tag: int | None, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """nova-compute plugs every guest again when it starts."""
    osvif.plug(TAP.vif())
    if tag is not None:
        ovs.vsctl("set", "Port", TAP.port(), f"tag={tag}")
    before = snapshot(ovs)
    osvif.configure(isolate_vif=True)
    osvif.plug(TAP.vif())
    assert not difference(before, snapshot(ovs))
    assert ovs.dump()["Port"][TAP.port()]["tag"] == tag


def test_bug_2133225_a_port_on_a_bridge_of_its_own_is_known_to_exist(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The peer asked the integration bridge, found no such port, and parked it again."""
    osvif.configure(per_port_bridge=True, isolate_vif=True)
    osvif.plug(PER_PORT.vif())
    patch = PER_PORT.tagged_port()
    assert {key: ovs.dump()["Port"][patch][key] for key in DEAD} == DEAD
    ovs.vsctl("set", "Port", patch, "tag=7", "--", "clear", "Port", patch, "vlan_mode", "trunks")
    # By hand: what the peer asked, and what it should have asked.
    assert PER_PORT.port() not in ovs.vsctl("list-ports", br_int).split()
    assert ovs.vsctl("port-to-br", PER_PORT.port()) == vifs.device("pb")
    before, written = snapshot(ovs), ovs.next_cfg()
    osvif.plug(PER_PORT.vif())
    assert not difference(before, snapshot(ovs))
    assert ovs.next_cfg() == written


# Taps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TAP, PER_PORT], ids=lambda kind: kind.name)
def test_bug_2069718_the_tap_is_there_before_the_guest(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """With an OpenFlow port, so that the controller has its flows in before the guest moves."""
    osvif.plug_kind(kind)
    tap = links()[kind.port()]
    assert (tap["type"], tap["persist"], tap["up"]) == ("tap", True, True)
    assert (tap["mac"], tap["mtu"]) == (vifs.mac(), vifs.MTU)
    assert ovs.interface(kind.port())["ofport"] > 0


def attach_two_queues(name: str) -> None:
    with TapGuest(name, vifs.mac(), "192.0.2.1/24", multi_queue=True, queues=2):
        pass


def test_bug_2159024_a_multiqueue_tap_takes_two_queues(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The option was given to a netlink message that ignored it."""
    osvif.plug(MULTIQUEUE.vif())
    attach_two_queues(MULTIQUEUE.port())


def test_bug_2159024_by_hand_a_tap_without_the_flag_takes_one_queue(ovs: PrivateOvs) -> None:
    run(["ip", "tuntap", "add", "tap1", "mode", "tap"])
    with pytest.raises(OSError, match="Invalid argument"):
        attach_two_queues("tap1")


# Bridges ----------------------------------------------------------------------------------------


def test_bug_1914886_nothing_deletes_the_integration_bridge(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """A libvirt-made port and a foreign one sit on it, too; the last of ours goes, it stays."""
    ovs.vsctl("add-port", br_int, "patch0", "--", "set", "Interface", "patch0", "type=patch")
    uuid = ovs.vsctl("get", "Bridge", br_int, "_uuid")
    for kind in (TAP, HYBRID, PORT_ONLY, MULTIQUEUE, PER_PORT, PER_PORT_ONLY):
        osvif.plug_kind(kind)
        osvif.unplug(kind.vif())
        osvif.unplug(kind.vif())
    with pytest.raises(exception.PlugException):  # and its rollback
        osvif.plug(PORT_ONLY.vif(2, vif_name="ovs-netdev", profile={"create_tap": True}), 2)
    assert ovs.vsctl("get", "Bridge", br_int, "_uuid") == uuid
    assert ovs.vsctl("list-ports", br_int) == "patch0"


@pytest.mark.parametrize("beside", [True, False], ids=["since 5.8", "before 5.8"])
def test_bug_1892132_the_representor_is_not_confused_with_the_uplink(
    beside: bool, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Since kernel 5.8 both are listed below the PF, in an order that changes."""
    taps = ("enpf0", "pf0vf0", "pf0vf1")
    for name in taps:
        make_tap(name)
    with mounted(mlx5(beside=beside)):
        assert representors.look_up("0000:03:00.2").device == "pf0vf0"
        osvif.plug(vifs.vif_host_device(1, profile={"datapath_type": "system"}))
    assert set(ovs.dump()["Bridge"][br_int]["ports"]) == {br_int, "pf0vf0"}
    there = links()
    assert {name: there[name]["up"] for name in taps} == {
        **dict.fromkeys(taps, False),
        "pf0vf0": True,
    }


# Other tenants, and flows in time ---------------------------------------------------------------


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("kind", [TAP, HYBRID, PORT_ONLY, PER_PORT], ids=lambda kind: kind.name)
def test_bug_1734320_a_new_port_is_never_seen_outside_the_dead_vlan(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """A port without a tag is a trunk of all VLANs: it sees the traffic of every tenant."""
    osvif.configure(isolate_vif=True)
    with first_seen(ovs, "Port", kind.tagged_port(), "tag") as first:
        osvif.configure(**kind.options)
        osvif.plug(kind.vif())
        assert first() == "4095"
    assert {key: ovs.dump()["Port"][kind.tagged_port()][key] for key in DEAD} == DEAD


def test_bug_1933517_the_port_of_the_vif_has_an_ofport_before_its_tap_exists(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(PER_PORT_ONLY)
    assert PER_PORT_ONLY.port() not in links()
    row = ovs.interface(PER_PORT_ONLY.tagged_port())
    assert row["ofport"] > 0
    assert row["external_ids"]["iface-id"] == vifs.vif_id()
    # By hand: without a bridge of its own the port stands, and has no number yet.
    osvif.configure(per_port_bridge=False)
    osvif.plug(PORT_ONLY.vif(2), 2)
    assert (ovs.interface(PORT_ONLY.port(2))["ofport"] or 0) <= 0
