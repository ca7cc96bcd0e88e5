# SPDX-License-Identifier: Apache-2.0
"""The elements of a wiring are values, and a mark says whose something is."""

import dataclasses

import pytest

from os_vif.wiring import elements
from os_vif.wiring.elements import LinuxBridge, OvsBridge, OvsPort, Tap
from os_vif.wiring.elements.element import unique
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark

MARK = Mark("ovs", "hybrid", "a0000001-feed")


def test_a_mark_reads_plugin_kind_and_owner_and_as_an_alias_os_vif_too() -> None:
    assert str(MARK) == "ovs:hybrid:a0000001-feed"
    assert MARK.alias == "os-vif:ovs:hybrid:a0000001-feed"


@pytest.mark.parametrize("mark", [MARK, Mark("ovs", "hybrid", "a:b")])
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.read({"os-vif": str(mark), "iface-id": "b"}) == mark


@pytest.mark.parametrize("text", ["", "ovs", "ovs:hybrid", "ovs:hybrid:", "uplink to rack 7"])
def test_what_is_no_mark_is_not_read_as_one(text: str) -> None:
    assert Mark.read({"os-vif": text}) is None
    assert Mark.read({}) is None


@pytest.mark.parametrize("name", sorted(set(elements.__all__) - {"Element", "OnRemove"}))
def test_an_element_is_a_frozen_value(name: str) -> None:
    element = getattr(elements, name)
    assert dataclasses.is_dataclass(element)
    assert element.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_each_of_some_values_once_in_their_order() -> None:
    assert unique([2, 1, 2, 3, 1]) == (2, 1, 3)
    # Elements with mappings in them cannot be hashed.
    port = OvsPort("tap1", "br-int", MARK, external_ids={"iface-id": "b1"})
    assert unique([port, dataclasses.replace(port)]) == (port,)
    assert unique([]) == ()


BRIDGE, TAP = OvsBridge("br-int", "system", MARK), Tap("tap1", None, None, MARK)
PORT, QBR = OvsPort("tap1", "br-int", MARK), LinuxBridge("qbr1", MARK)


EVERY = {
    "nothing": (Wiring(()), ()),
    "elements": (Wiring((TAP, BRIDGE)), (TAP, BRIDGE)),
    "its elements, then those of alternatives, then leftovers": (
        Wiring((TAP,), alternatives=(Wiring((QBR,)),), leftovers=(PORT,)),
        (TAP, QBR, PORT),
    ),
    "leftovers of alternatives too": (
        Wiring((BRIDGE,), alternatives=(Wiring((QBR, BRIDGE), leftovers=(TAP,)),)),
        (BRIDGE, QBR, TAP),
    ),
    "alternatives of alternatives too": (
        Wiring((BRIDGE,), alternatives=(Wiring((TAP,), alternatives=(Wiring((QBR,)),)),)),
        (BRIDGE, TAP, QBR),
    ),
    "each once": (Wiring((BRIDGE, PORT), leftovers=(PORT, BRIDGE)), (BRIDGE, PORT)),
}


@pytest.mark.parametrize(("wiring", "every"), EVERY.values(), ids=EVERY)
def test_all_that_may_be_there_comes_in_order_and_once_each(
    wiring: Wiring, every: tuple[object, ...]
) -> None:
    assert wiring.all_elements == every
