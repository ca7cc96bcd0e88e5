# SPDX-License-Identifier: Apache-2.0
"""wait returns as soon as a VIF is attached, or wired, and not before."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import os_vif
from os_vif import exception
from os_vif.wiring import errors
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, PER_PORT_ONLY, PORT_ONLY, TAP, Kind, OsVif
from tests.rig.stopwatch import within
from vif_plug_ovs.ovsdb import connection

TAP1, AMPLE = vifs.device("tap", 1), 20.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


def wait(kind: Kind, number: int = 1, **how: Any) -> None:
    how = {"timeout": AMPLE, **how}
    os_vif.wait(kind.vif(number), vifs.instance(number), **how)


def fails(kind: Kind, seen: str, **how: Any) -> None:
    with pytest.raises(exception.QueryFailed, match=seen) as failure:
        wait(kind, **{"timeout": 0.3, **how})
    assert isinstance(failure.value.__cause__, errors.NotReady)
    assert (failure.value.code, failure.value.retryable) == ("not_ready", True)


def is_done_by(waiting: Future[None], act: Callable[[], object]) -> None:
    """It waits until that is done."""
    with pytest.raises(TimeoutError):
        waiting.result(0.3)
    act()
    with within(2):
        waiting.result(AMPLE)


@pytest.mark.parametrize("driver", ["native", "vsctl"])
@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
@pytest.mark.parametrize("until", ["attached", "wired"])
def test_what_is_ready_is_not_waited_for(
    kind: Kind, driver: str, until: str, osvif: OsVif, br_int: str
) -> None:
    osvif.configure(ovsdb_interface=driver)
    osvif.plug_kind(kind)
    with within(1):
        wait(kind, until=until)
        wait(kind, until=until, timeout=0)
    fails(kind, r"after 0(\.\d)? s: it has no port", number=2, timeout=0)


@pytest.mark.parametrize("driver", ["native", "vsctl"])
@pytest.mark.parametrize("kind", [PORT_ONLY, PER_PORT_ONLY], ids=lambda kind: kind.name)
def test_a_port_is_attached_when_libvirts_tap_comes(
    kind: Kind, driver: str, osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.configure(ovsdb_interface=driver)
    osvif.plug_kind(kind)
    fails(kind, rf"Not attached after 0\.\d s: {TAP1}")
    waiting = pool.submit(wait, kind)
    is_done_by(waiting, lambda: run(["ip", "tuntap", "add", "dev", TAP1, "mode", "tap"]))


def test_a_port_that_is_not_there_yet_is_waited_for(
    osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    fails(TAP, "it has no port")
    waiting = pool.submit(wait, TAP)
    is_done_by(waiting, lambda: osvif.plug_kind(TAP))


def test_with_ovn_it_is_wired_when_ovn_says_so(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.plug_kind(TAP)
    ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-remote=tcp:127.0.0.1:6642")
    wait(TAP)
    fails(TAP, "ovn-controller has not set ovn-installed", until="wired")
    installed = "external_ids:ovn-installed=true"
    waiting = pool.submit(wait, TAP, until="wired")
    is_done_by(waiting, lambda: ovs.vsctl("set", "Interface", TAP1, installed))


def test_with_a_per_port_bridge_it_is_wired_before_libvirts_tap_is_there(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """The port that bears the iface-id counts: the tap comes only when the guest starts."""
    ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-remote=tcp:127.0.0.1:6642")
    osvif.plug_kind(PER_PORT_ONLY)
    port = PER_PORT_ONLY.tagged_port()
    fails(PER_PORT_ONLY, f"{port}: ovn-controller has not set ovn-installed", until="wired")
    ovs.vsctl("set", "Interface", port, "external_ids:ovn-installed=true")
    wait(PER_PORT_ONLY, until="wired")
    fails(PER_PORT_ONLY, f"Not attached .*{TAP1}")


def test_ovn_may_go_meanwhile(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.plug_kind(TAP)
    ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-remote=tcp:127.0.0.1:6642")
    waiting = pool.submit(wait, TAP, until="wired")
    remove = ("remove", "Open_vSwitch", ".", "external_ids", "ovn-remote")
    is_done_by(waiting, lambda: ovs.vsctl(*remove))


def test_an_isolated_port_is_wired_when_it_has_a_vlan(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.configure(isolate_vif=True)
    osvif.plug_kind(TAP)
    wait(TAP)
    fails(TAP, "dead VLAN 4095", until="wired")
    ovs.vsctl("clear", "Port", TAP1, "tag", "--", "clear", "Port", TAP1, "trunks", "vlan_mode")
    fails(TAP, "has not given it a VLAN", until="wired")
    waiting = pool.submit(wait, TAP, until="wired")
    is_done_by(waiting, lambda: ovs.vsctl("set", "Port", TAP1, "tag=7"))


def test_what_neutrons_agent_moves_elsewhere_it_will_move_here(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.plug_kind(TAP)
    wait(TAP, until="wired")
    osvif.plug_kind(TAP, 2)
    ovs.vsctl("set", "Port", vifs.device("tap", 2), "tag=3", "other_config:tag=3")
    fails(TAP, "has not given it a VLAN", until="wired")


def test_it_must_stay_so_for_the_settle_time(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.plug_kind(TAP)
    began = time.monotonic()
    wait(TAP, settle=0.3)
    assert time.monotonic() - began >= 0.3
    fails(TAP, "it has not been so for 1 s", settle=1)
    ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-remote=tcp:127.0.0.1:6642")
    installed = "external_ids:ovn-installed=true"
    ovs.vsctl("set", "Interface", TAP1, installed)
    waiting = pool.submit(wait, TAP, until="wired", settle=1)
    time.sleep(0.3)
    ovs.vsctl("remove", "Interface", TAP1, "external_ids", "ovn-installed")
    time.sleep(1)
    assert not waiting.done()
    ovs.vsctl("set", "Interface", TAP1, installed)
    waiting.result(AMPLE)


def test_a_restart_of_the_server_is_survived(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.plug_kind(PORT_ONLY)
    waiting = pool.submit(wait, PORT_ONLY)
    time.sleep(0.3)
    ovs.kill("ovsdb-server")
    ovs.start_server()
    is_done_by(waiting, lambda: run(["ip", "tuntap", "add", "dev", TAP1, "mode", "tap"]))


def test_a_connection_that_is_closed_ends_it(
    osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.plug_kind(PORT_ONLY)
    waiting = pool.submit(wait, PORT_ONLY)
    time.sleep(0.3)
    connection.close_all()
    with within(2), pytest.raises(exception.QueryFailed, match="was closed") as failure:
        waiting.result(AMPLE)
    assert failure.value.code == "not_connected"


def test_a_server_that_is_away_at_the_end_is_the_reason(
    ovs: PrivateOvs, osvif: OsVif, br_int: str, pool: ThreadPoolExecutor
) -> None:
    osvif.plug_kind(PORT_ONLY)
    waiting = pool.submit(wait, PORT_ONLY, timeout=1)
    time.sleep(0.3)
    ovs.kill("ovsdb-server")
    with pytest.raises(exception.QueryFailed, match=r"No such file|refused") as failure:
        waiting.result(AMPLE)
    assert failure.value.code == "not_connected"


@pytest.mark.parametrize(
    ("until", "timeout"), [("plugged", 1), ("attached", "soon"), ("wired", -1)]
)
def test_bad_input_is_refused(until: str, timeout: Any, osvif: OsVif) -> None:
    with pytest.raises(exception.InvalidValue, match="until" if timeout == 1 else "timeout"):
        os_vif.wait(TAP.vif(), vifs.instance(), until=until, timeout=timeout)
