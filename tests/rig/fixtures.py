# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the functional and contract tests; the conftest files name the ones they offer.

Each test has its own namespace and its own daemons. Teardown asserts nothing: tests do.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from os_vif.wiring import engine
from tests.rig.namespace import NetworkNamespace, private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import ROOT
from tests.rig.privsep import PrivsepHelper
from vif_plug_ovs import privsep


@pytest.fixture(scope="session")
def off_the_host() -> None:
    """Refuse to run in the host's own network namespace.

    Every test has a private one anyway; this guards the machine of whoever runs pytest by hand
    against a test, or a daemon of the library under test, that escapes.
    """
    try:
        host = os.readlink("/proc/1/ns/net")
    except OSError:  # no right to look at pid 1, as in many containers
        return
    if host == os.readlink("/proc/self/ns/net"):
        pytest.exit(
            "these tests change network devices: run them in a namespace of their own, "
            "with 'unshare --net --mount -- python -m pytest ...' or tox",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a rollback more time than it has: for tests of what it leaves, which must not fail
    because a neighbour keeps the processors busy."""
    monkeypatch.setattr(engine, "ROLLBACK_SECONDS", 5.0)


@pytest.fixture
def netns(off_the_host: None) -> Iterator[NetworkNamespace]:
    """Put the test's thread into a fresh network namespace with a /sys that shows it."""
    with private_network() as here:
        yield here


@pytest.fixture
def ovs(netns: NetworkNamespace) -> Iterator[PrivateOvs]:
    """A private Open vSwitch that forwards packets on bridges of type ``netdev``."""
    with PrivateOvs("netdev", listen_tcp=True) as running:
        yield running


@pytest.fixture
def ovs_dpdk(netns: NetworkNamespace) -> Iterator[PrivateOvs]:
    """A private Open vSwitch with DPDK, for vhost-user ports."""
    with PrivateOvs("dpdk", listen_tcp=True) as running:
        yield running


@pytest.fixture
def ovs_dummy(netns: NetworkNamespace) -> Iterator[PrivateOvs]:
    """A private Open vSwitch on which every datapath type works and nothing is forwarded."""
    with PrivateOvs("dummy", listen_tcp=True) as running:
        yield running


@pytest.fixture
def ovs_kernel(netns: NetworkNamespace) -> Iterator[PrivateOvs]:
    """A private Open vSwitch that forwards in the kernel, on bridges of type ``system``."""
    with PrivateOvs("system") as running:
        yield running


@pytest.fixture
def in_process() -> Iterator[None]:
    """The privileged calls of the ``ovs`` plugin are made in this process, without a daemon."""
    privsep.vif_plug.set_client_mode(False)
    yield
    privsep.vif_plug.set_client_mode(True)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivsepHelper:
    """The program that becomes the privileged daemon."""
    found = PrivsepHelper(tmp_path)
    if not found.program.exists():
        pytest.skip(f"there is no {found.program}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    return found
