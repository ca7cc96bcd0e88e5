# SPDX-License-Identifier: Apache-2.0
"""The deprecated driver with the real privileged daemon, for a caller without privilege.

Each test forks: the client and its channel to the daemon live and end in the child.
"""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from os_vif import exception
from os_vif.exception import InvalidValue
from os_vif.kernel import daemon
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from tests.rig import command_lines, wait_until
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import GROUP, HYBRID, OsVif, deviations
from tests.rig.privsep import PrivsepHelper
from tests.rig.snapshot import difference, snapshot
from vif_plug_ovs import privsep
from vif_plug_ovs.ovsdb import client, drivers

NOBODY, OPENVSWITCH = 65534, 12345  # user ids: the caller's, and one that ovsdb-server may have
SHORT, AMPLE = 1, 20  # seconds

Unprivileged = Callable[[Callable[[OsVif], Any]], Any]


@pytest.fixture
def unprivileged(ovs: PrivateOvs, helper: PrivsepHelper) -> Unprivileged:
    """Do something in a child that has a privileged daemon, and no privilege of its own."""
    if len(Path("/proc/self/uid_map").read_text().splitlines()) > 1:
        pytest.skip("there is no other user")

    def in_a_child(work: Callable[[OsVif], Any]) -> Any:
        def child(osvif: OsVif) -> Any:
            osvif.configure(ovsdb_interface="vsctl")
            privsep.vif_plug.start()
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            return work(osvif)

        return helper.in_a_child(ovs.remote, child)

    return in_a_child


@pytest.fixture(params=[0, OPENVSWITCH], ids=["root", "another"])
def closed(request: pytest.FixtureRequest, ovs: PrivateOvs, br_int: str) -> Iterator[None]:
    """The socket of ovsdb-server is its owner's alone."""
    before = os.stat(ovs.rundir).st_uid
    for path, mode in ((f"{ovs.rundir}/db.sock", 0o600), (ovs.rundir, 0o700)):
        os.chown(path, request.param, request.param)
        os.chmod(path, mode)
    yield
    os.chown(ovs.rundir, before, before)


def test_a_socket_that_is_closed_to_the_caller_is_opened_by_the_daemon(
    ovs: PrivateOvs, closed: None, unprivileged: Unprivileged
) -> None:
    before = snapshot(ovs)

    def plug(osvif: OsVif) -> None:
        with socket.socket(socket.AF_UNIX) as own, pytest.raises(PermissionError):
            own.connect(ovs.remote.removeprefix("unix:"))
        osvif.plug(HYBRID.vif())
        osvif.plug(HYBRID.vif())

    unprivileged(plug)
    assert deviations(ovs, HYBRID) == []
    unprivileged(lambda osvif: osvif.unplug(HYBRID.vif()))
    assert not difference(before, snapshot(ovs))


def test_a_server_that_is_frozen_is_an_error_by_the_deadline(
    ovs: PrivateOvs, br_int: str, unprivileged: Unprivileged
) -> None:
    def plug(osvif: OsVif) -> str:
        osvif.configure(ovs_vsctl_timeout=SHORT)
        with pytest.raises(exception.PlugException) as failure:
            osvif.plug(HYBRID.vif())
        assert isinstance(failure.value.__cause__, errors.NotConnected)
        return str(failure.value)

    ovs.freeze("ovsdb-server")
    assert "does not answer" in unprivileged(plug)
    wait_until(lambda: not programs(ovs), what="the program to be killed")
    ovs.thaw("ovsdb-server")


def programs(ovs: PrivateOvs) -> list[str]:
    """The programs that speak with the server."""
    lines = command_lines()
    return [line for line in lines if ovs.remote in line and client.PROGRAM in line.split("\0")[0]]


def test_what_ovsdb_cannot_hold_is_refused_before_the_daemon(
    ovs: PrivateOvs, br_int: str, unprivileged: Unprivileged
) -> None:
    def read(osvif: OsVif) -> None:
        rows = drivers.rows(cfg.CONF[GROUP])
        with pytest.raises(errors.TransactionRefused):
            rows.names_of("\ud800", Deadline(AMPLE))

    unprivileged(read)


def test_the_daemon_refuses_what_os_vif_does_not_ask_for(
    ovs: PrivateOvs, br_int: str, unprivileged: Unprivileged
) -> None:
    before = ovs.dump()
    forged = {"op": "delete", "table": "Bridge", "where": []}

    def send(_: OsVif) -> None:
        with pytest.raises(InvalidValue, match="os-vif does not do that"):
            daemon.call(client.transact, ovs.remote, [], [forged], deadline=Deadline(AMPLE))

    unprivileged(send)
    assert not difference(before, ovs.dump())
