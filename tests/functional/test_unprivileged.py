# SPDX-License-Identifier: Apache-2.0
"""An ordinary user who may read OVSDB looks at a host; no privileged daemon is started for it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
from os_vif.answers import Until
from os_vif.kernel import execute
from tests import vifs
from tests.functional.test_tap import NOBODY, has_other_users
from tests.rig import linux_bridge
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, TAP, Child, initialized


@pytest.fixture
def as_nobody(ovs: PrivateOvs, br_int: str) -> Callable[[Callable[[], Any]], Any]:
    """Do something as a user without rights, whose privileged daemon cannot be started, and
    return as well whether it was tried; on a host with two VIFs."""
    if not has_other_users():
        pytest.skip("there is one user only")
    with initialized(ovs.remote) as osvif:
        osvif.plug_kind(TAP, 1)
        osvif.plug_kind(HYBRID, 2)
    folder = Path(ovs.rundir)
    folder.chmod(0o777)
    (folder / "db.sock").chmod(0o666)
    program = folder / "sudo"
    program.write_text(f"#!/bin/sh\ntouch {folder}/started\nexit 1\n")
    program.chmod(0o755)

    def child(work: Callable[[], Any]) -> Any:
        with initialized(ovs.remote, in_process=False):
            for plugin in ("ovs", "linux_bridge"):
                group = f"vif_plug_{plugin}_privileged"
                cfg.CONF.set_override("helper_command", str(program), group=group)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            return work(), (folder / "started").exists()

    def run(work: Callable[[], Any]) -> Any:
        with Child(lambda: child(work)) as process:
            return process.result()

    return run


def test_looking_starts_no_daemon(as_nobody: Callable[[Callable[[], Any]], Any]) -> None:
    def look() -> Any:
        for until in Until:
            os_vif.wait(TAP.vif(1), vifs.instance(1), until=until, timeout=5)
        found = [*os_vif.check(TAP.vif(1), vifs.instance(1))]
        found += os_vif.check(HYBRID.vif(2), vifs.instance(2))
        return found, [one.vif_id for one in os_vif.list_vifs()], len(os_vif.gc([vifs.vif_id(1)]))

    (found, listed, decided), started = as_nobody(look)
    assert (found, sorted(listed)) == ([], [vifs.vif_id(1), vifs.vif_id(2)])
    assert (decided, started) == (2, False)


def test_a_daemon_without_the_capability_is_told_from_one_with_it(
    as_nobody: Callable[[Callable[[], Any]], Any],
) -> None:
    assert execute.is_allowed()
    assert as_nobody(execute.is_allowed) == (False, False)


def test_what_needs_the_daemon_is_said_to_be_missing(
    as_nobody: Callable[[Callable[[], Any]], Any],
) -> None:
    """Rules of iptables are not looked at; all else that matters to those who plug is."""
    bridge = linux_bridge.vif(has_traffic_filtering=False)

    def look() -> Any:
        return os_vif.check(bridge, vifs.instance()), os_vif.status()

    (found, conditions), started = as_nobody(look)
    assert started
    assert [one.note[:15] for one in found if one.attribute == "rules"] == ["not looked at: "]
    bad = {(one.plugin, one.subject) for one in conditions if one.level == "error"}
    assert bad == {
        ("linux_bridge", "privileged daemon"),
        ("ovs", "privileged daemon"),
    }
    assert all(one.remedy for one in conditions if one.level != "ok")
    assert {"OVSDB", "ovs-vswitchd"} <= {one.subject for one in conditions}
