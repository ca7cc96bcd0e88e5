# SPDX-License-Identifier: Apache-2.0
"""The elements of a wiring are values, and a mark says whose something is."""

import dataclasses

import pytest

from os_vif.wiring import elements
from os_vif.wiring.elements import (
    BridgePort,
    DeviceMtu,
    ForwardingFilter,
    HostInterface,
    LinuxBridge,
    OnRemove,
    OvsBridge,
    OvsPort,
    Representor,
    Tap,
    VethPair,
    VlanDevice,
)
from os_vif.wiring.elements.element import unique
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark

MARK = Mark("ovs", "hybrid", "a0000001-feed")


def test_a_mark_reads_plugin_kind_and_owner() -> None:
    assert str(MARK) == "ovs:hybrid:a0000001-feed"


def test_a_mark_as_an_alias_says_that_it_is_os_vifs() -> None:
    assert MARK.alias == "os-vif:ovs:hybrid:a0000001-feed"


@pytest.mark.parametrize("mark", [MARK, Mark("ovs", "hybrid", "a:b")])
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.read({"os-vif": str(mark), "iface-id": "b"}) == mark


@pytest.mark.parametrize("text", ["", "ovs", "ovs:hybrid", "ovs:hybrid:", "uplink to rack 7"])
def test_what_is_no_mark_is_not_read_as_one(text: str) -> None:
    assert Mark.read({"os-vif": text}) is None
    assert Mark.read({}) is None


ELEMENTS = [
    LinuxBridge("qbr1", MARK),
    VethPair("qvb1", "qvo1", "qbr1", 1450, MARK),
    Tap("tap1", None, None, MARK),
    Representor("eth0_0", 1450),
    DeviceMtu("tap1", 1450),
    OvsBridge("br-int", "system", MARK),
    OvsPort("tap1", "br-int", MARK),
    HostInterface("eth1", 1450),
    VlanDevice("vlan5", "eth1", 5, 1450, MARK),
    BridgePort("vlan5", "br100", 1450),
    ForwardingFilter("br100", {}),
]


def test_the_list_of_elements_is_complete() -> None:
    names = {type(element).__name__ for element in ELEMENTS}
    assert names == set(elements.__all__) - {"Element", "OnRemove"}


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: type(element).__name__)
def test_an_element_is_a_frozen_value(element: object) -> None:
    assert element == dataclasses.replace(element)  # type: ignore[type-var]
    with pytest.raises(dataclasses.FrozenInstanceError):
        element.name = "other"  # type: ignore[attr-defined]


def test_a_bridge_that_others_use_is_kept_unless_it_is_said_otherwise() -> None:
    assert OvsBridge("br-int", "system", MARK).on_remove is OnRemove.KEEP


def test_a_port_is_as_open_vswitch_makes_it_unless_it_is_said_otherwise() -> None:
    port = OvsPort("tap1", "br-int", MARK)
    assert (port.vlan, port.qos_type, port.mtu_request, port.device) == (None, None, None, True)


def test_each_of_some_values_once_in_their_order() -> None:
    assert unique([2, 1, 2, 3, 1]) == (2, 1, 3)
    # Elements with mappings in them cannot be hashed.
    port = OvsPort("tap1", "br-int", MARK, external_ids={"iface-id": "b1"})
    assert unique([port, dataclasses.replace(port)]) == (port,)
    assert unique([]) == ()


BRIDGE, TAP, PORT, QBR = ELEMENTS[5], ELEMENTS[2], ELEMENTS[6], ELEMENTS[0]


@pytest.mark.parametrize(
    ("wiring", "every"),
    [
        pytest.param(Wiring(()), (), id="nothing"),
        pytest.param(Wiring((TAP, BRIDGE)), (TAP, BRIDGE), id="elements"),
        pytest.param(
            Wiring((TAP,), alternatives=(Wiring((QBR,)),), leftovers=(PORT,)),
            (TAP, QBR, PORT),
            id="its elements, then those of alternatives, then leftovers",
        ),
        pytest.param(
            Wiring((BRIDGE,), alternatives=(Wiring((QBR, BRIDGE), leftovers=(TAP,)),)),
            (BRIDGE, QBR, TAP),
            id="leftovers of alternatives too",
        ),
        pytest.param(
            Wiring((BRIDGE,), alternatives=(Wiring((TAP,), alternatives=(Wiring((QBR,)),)),)),
            (BRIDGE, TAP, QBR),
            id="alternatives of alternatives too",
        ),
        pytest.param(
            Wiring((BRIDGE, PORT), leftovers=(PORT, BRIDGE)), (BRIDGE, PORT), id="each once"
        ),
    ],
)
def test_all_that_may_be_there_comes_in_order_and_once_each(
    wiring: Wiring, every: tuple[object, ...]
) -> None:
    assert wiring.all_elements == every
