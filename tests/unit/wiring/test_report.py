# SPDX-License-Identifier: Apache-2.0
"""Differences read as sentences with what was wanted and what was found."""

import pytest

from os_vif.wiring.differences import PRESENT, Difference, report


@pytest.mark.parametrize(
    ("differences", "text"),
    [
        ([], ""),
        ([Difference("link tap1", PRESENT, True, False)], "link tap1 is missing"),
        (
            [Difference("link tap1", "mtu", 1450, 1500)],
            "link tap1: mtu should be 1450 and is 1500",
        ),
        (
            [Difference("OVS port tap1", "external_ids:iface-id", "b1", None)],
            "OVS port tap1: external_ids:iface-id should be 'b1' and is None",
        ),
        (
            [
                Difference("OVS bridge br-int", "datapath_type", "netdev", ""),
                Difference("OVS port tap1", PRESENT, True, False),
            ],
            "OVS bridge br-int: datapath_type should be 'netdev' and is ''; "
            "OVS port tap1 is missing",
        ),
    ],
)
def test_a_report_names_place_wanted_and_found(differences: list[Difference], text: str) -> None:
    assert report(differences) == text
