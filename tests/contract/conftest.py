# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the contract tests.

The runs on fakes need no namespace, so only those that ask for a real network are guarded.
"""

from tests.rig.fixtures import in_process, netns, off_the_host, ovs, ovs_dummy, unhurried

__all__ = ["in_process", "netns", "off_the_host", "ovs", "ovs_dummy", "unhurried"]
