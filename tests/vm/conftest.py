# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests in the virtual machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.fixtures import netns, off_the_host, ovs_kernel
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import OsVif, initialized
from tests.rig.vm import MARK

__all__ = ["netns", "off_the_host", "ovs_kernel"]

#: Seconds; ``ovs_vsctl_timeout``
PATIENCE = 60


@pytest.fixture(autouse=True, scope="session")
def _guard(off_the_host: None) -> None:
    """Refuse to run elsewhere: a kernel that lacks modules would fail in ways that mislead."""
    if MARK not in Path("/proc/cmdline").read_text().split():
        pytest.exit(
            "these tests run in a virtual machine: start them with tox, or with "
            "'python -m tests.rig.vm tools/private-namespace python -m pytest ...'",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )


@pytest.fixture
def osvif(ovs_kernel: PrivateOvs) -> Iterator[OsVif]:
    """os_vif in this process, on a switch that forwards in the kernel."""
    with initialized(ovs_kernel.remote, timeout=PATIENCE) as verbs:
        yield verbs


@pytest.fixture
def br_int(ovs_kernel: PrivateOvs) -> str:
    """An integration bridge, as Neutron's agent would have made it before.

    Its MAC address is fixed; else it would be the lowest one of its ports.
    """
    ovs_kernel.vsctl(
        "add-br", "br-int", "--",
        "set", "Bridge", "br-int", "datapath_type=system", "other_config:hwaddr=02:00:00:00:00:01",
    )  # fmt: skip
    return "br-int"
