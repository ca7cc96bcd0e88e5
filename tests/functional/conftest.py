# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the functional tests: all of them need a private network."""

from collections.abc import Iterator

import pytest

from tests.rig.fixtures import (
    helper,
    in_process,
    netns,
    off_the_host,
    ovs,
    ovs_dpdk,
    ovs_dummy,
    unhurried,
)
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import OsVif, initialized

__all__ = [
    "helper",
    "in_process",
    "netns",
    "off_the_host",
    "ovs",
    "ovs_dpdk",
    "ovs_dummy",
    "unhurried",
]


@pytest.fixture(autouse=True, scope="session")
def _guard(off_the_host: None) -> None:
    """Also for tests that ask for no fixture."""


@pytest.fixture
def osvif(ovs: PrivateOvs) -> Iterator[OsVif]:
    """os_vif in this process; its bridges forward packets."""
    with initialized(ovs.remote) as verbs:
        yield verbs


@pytest.fixture
def osvif_dummy(ovs_dummy: PrivateOvs) -> Iterator[OsVif]:
    """os_vif in this process; nothing is forwarded, every datapath type works."""
    with initialized(ovs_dummy.remote) as verbs:
        yield verbs


@pytest.fixture
def br_int(ovs: PrivateOvs) -> str:
    """An integration bridge, as Neutron's agent would have made it before.

    Its MAC address is fixed; else it would be the lowest one of its ports.
    """
    ovs.vsctl(
        "add-br", "br-int", "--",
        "set", "Bridge", "br-int", "datapath_type=netdev", "other_config:hwaddr=02:00:00:00:00:01",
    )  # fmt: skip
    return "br-int"
