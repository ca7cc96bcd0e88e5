# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the fault suite."""

import pytest

from tests.rig.fixtures import netns, off_the_host, ovs

__all__ = ["netns", "off_the_host", "ovs"]


@pytest.fixture(autouse=True, scope="session")
def _guard(off_the_host: None) -> None:
    """Also for tests that ask for no fixture."""
