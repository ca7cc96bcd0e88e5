# SPDX-License-Identifier: Apache-2.0
"""What a VIF still lacks, from what OVSDB says of it."""

from dataclasses import replace

import pytest

from os_vif.answers import Until
from os_vif.wiring.model import Wiring
from os_vif.wiring.state import DEAD_VLAN, Found, Port, Vlan
from tests.unit.wiring.values import IBP, IDS, MARK, PBP
from vif_plug_ovs import readiness
from vif_plug_ovs.health import Switch

MARKED = {"os-vif": str(MARK)}
OF_PATCH = Port("pbp1", "pb1", MARKED, interface_type="patch", ofport=1)
WITH_IDS = Port("ibp1", "br-int", MARKED, interface_type="patch", interface_ids=IDS, ofport=2)


@pytest.mark.parametrize("of_patch", [None, DEAD_VLAN])
@pytest.mark.parametrize("with_ids", [7, DEAD_VLAN])
def test_the_port_with_ids_is_the_one_that_is_wired(with_ids: int, of_patch: int | None) -> None:
    found = Found(
        ports={
            "pbp1": replace(OF_PATCH, vlan=Vlan(of_patch)),
            "ibp1": replace(WITH_IDS, vlan=Vlan(with_ids)),
        }
    )
    switch = Switch("3.1.0", dpdk=False)
    said = readiness.missing(
        Wiring((PBP, IBP)), found, switch, Until.WIRED, has_agent=lambda: True
    )
    assert said == ("" if with_ids == 7 else f"ibp1 is on the dead VLAN {DEAD_VLAN}")
