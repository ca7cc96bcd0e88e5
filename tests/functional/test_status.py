# SPDX-License-Identifier: Apache-2.0
"""status says whether a host can plug, and what to do if it cannot."""

import time

import pytest

import os_vif
from os_vif import exception
from os_vif.answers import Condition
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import TAP, OsVif
from tests.rig.stopwatch import within
from vif_plug_linux_bridge import linux_bridge
from vif_plug_linux_bridge import privileged as linux_bridge_privileged
from vif_plug_ovs import examination, health, privileged

PATIENCE = examination.PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "PATIENCE_SECONDS", 1.0)


def conditions() -> dict[str, Condition]:
    return {one.subject: one for one in os_vif.status() if one.plugin == "ovs"}


@pytest.mark.parametrize("driver", ["native", "vsctl"])
def test_a_host_that_is_well(driver: str, ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    osvif.configure(ovsdb_interface=driver)
    osvif.plug_kind(TAP)
    ovs.vsctl("set", "Open_vSwitch", ".", "ovs_version=3.1.0")
    before = ovs.dump(), ovs.next_cfg()
    found = conditions()
    bad = [one.subject for one in found.values() if one.level != "ok"]
    assert bad == (["ovsdb_interface"] if driver == "vsctl" else [])
    assert found["OVSDB"].value is not None
    assert 0 < found["OVSDB"].value < 1
    assert "Open vSwitch 3." in found["versions"].summary
    assert found["DPDK"].summary == ("not initialised" if driver == "native" else "not known")
    assert "may change network devices" in found["capabilities"].summary
    assert "Linux " in found["versions"].summary
    assert (ovs.dump(), ovs.next_cfg()) == before


def test_a_server_that_is_away(ovs: PrivateOvs, osvif: OsVif) -> None:
    ovs.kill("ovsdb-server")
    found = conditions()
    assert (found["OVSDB"].level, "ovs-vswitchd" in found) == ("error", False)
    assert "ovsdb_connection" in found["OVSDB"].remedy


def test_a_vswitchd_that_does_not_keep_up(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    ovs.freeze("vswitchd")
    osvif.configure(ovs_vsctl_timeout=1)
    with pytest.raises(exception.PlugException) as failure:
        osvif.plug_kind(TAP)
    assert failure.value.code == "deadline"
    assert failure.value.retryable
    found = conditions()["ovs-vswitchd"]
    assert found.level == "error"
    assert "which was asked for, in 1." in found.summary


def test_a_privileged_daemon_that_cannot_be_started(
    ovs: PrivateOvs, osvif: OsVif, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("sudo: a password is required")

    monkeypatch.setattr(privileged, "may_change_links", refuse)
    found = conditions()["privileged daemon"]
    assert (found.level, found.summary) == ("error", "sudo: a password is required")


def test_a_privileged_daemon_that_has_to_be_started_is_not_slow(
    ovs: PrivateOvs, osvif: OsVif, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def starts(until: float) -> bool:
        asked.append(until)
        time.sleep(health.SLOW_SECONDS + 0.1 if len(asked) == 1 else 0)
        return True

    monkeypatch.setattr(examination, "PATIENCE_SECONDS", PATIENCE)
    monkeypatch.setattr(privileged, "may_change_links", starts)
    assert conditions()["privileged daemon"].level == "ok"


def test_it_answers_in_time_where_nothing_else_does(
    ovs: PrivateOvs, osvif: OsVif, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the patience that it really has, 15 seconds and what the daemon for iptables has to
    roll back."""
    most = 2 * PATIENCE + linux_bridge.STATUS_SECONDS + linux_bridge_privileged.GRACE
    assert most < 16

    def freezes(until: float) -> None:
        time.sleep(until - time.monotonic())
        raise TimeoutError("it does not answer")

    monkeypatch.setattr(linux_bridge, "STATUS_SECONDS", 1)
    monkeypatch.setattr(linux_bridge_privileged, "may_change_links", freezes)
    monkeypatch.setattr(privileged, "may_change_links", freezes)
    ovs.freeze("ovsdb-server")
    with within(4):
        every = os_vif.status()
    bad = [(one.plugin, one.subject) for one in every if one.level == "error" and one.remedy]
    assert sorted(bad) == [
        ("linux_bridge", "privileged daemon"),
        ("ovs", "OVSDB"),
        ("ovs", "privileged daemon"),
    ]


@pytest.mark.parametrize(
    ("option", "ovn", "level"),
    [
        ("isolate_vif", True, "error"),
        ("isolate_vif", False, None),
        ("per_port_bridge", True, None),
        ("per_port_bridge", False, "warning"),
    ],
)
def test_options_that_contradict_the_network_service(
    option: str, ovn: bool, level: str | None, ovs: PrivateOvs, osvif: OsVif
) -> None:
    if ovn:
        ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-remote=ssl:192.0.2.1:6642")
    osvif.configure(**{option: True})
    found = conditions()
    assert (found[option].level if option in found else None) == level
