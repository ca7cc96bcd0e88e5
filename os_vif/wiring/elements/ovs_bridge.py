# SPDX-License-Identifier: Apache-2.0
"""An Open vSwitch bridge."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from os_vif.wiring.differences import PRESENT, Action, Difference
from os_vif.wiring.elements.element import Element, OnRemove, Plan, Removing, RowStep, Scope
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Bridge, Found


@dataclass(frozen=True)
class CreateBridge(RowStep):
    """Insert the rows of an OVS bridge."""

    bridge: OvsBridge

    @property
    def name(self) -> str:
        return self.bridge.name

    def inverse(self, before: Found) -> Iterator[RowStep]:
        yield RemoveBridge(self.name, if_empty=True)

    def in_effect(self, now: Found, rows: Collection[RowStep]) -> RowStep | None:
        there = now.bridges.get(self.name)
        marked = there and Mark.KEY in there.external_ids  # that of any plan of the batch
        return self if marked else None


@dataclass(frozen=True)
class RemoveBridge(RowStep):
    """Take an OVS bridge out of the switch.

    :param if_empty: leave it when others have put ports on it.
    """

    name: str
    if_empty: bool = False

    def inverse(self, before: Found) -> Iterable[RowStep]:
        bridge = before.bridges.get(self.name)
        return [CreateBridge(_as_it_was(bridge))] if bridge else super().inverse(before)

    def in_effect(self, now: Found, rows: Collection[RowStep]) -> RowStep | None:
        return None if self.name in now.bridges else self


@dataclass(frozen=True)
class OvsBridge(Element):
    """An Open vSwitch bridge: made when it is missing, left as it is when it is there."""

    name: str
    datapath_type: str
    mark: Mark | None  # None: a bridge that had none is made again
    on_remove: OnRemove = OnRemove.KEEP
    #: A bridge that it is joined to by patch ports: where that is found with another datapath
    #: type, a new one takes that type, because patch ports between types never work.
    joined_to: str = ""

    @property
    def scope(self) -> Scope:
        return Scope(bridges=frozenset({self.name}))

    @property
    def removed_bridge(self) -> str | None:
        return self.name if self.on_remove is OnRemove.DELETE else None

    def differences(self, found: Found) -> Iterator[Difference]:
        where = f"OVS bridge {self.name}"
        bridge, datapath_type = found.bridges.get(self.name), self._datapath_type(found)
        if bridge is None:
            yield Difference(where, PRESENT, True, False)
        elif (bridge.datapath_type or "system") != datapath_type:
            # Another type would take down every port of the bridge.
            its = bridge.datapath_type
            yield Difference(where, "datapath_type", datapath_type, its, Action.REPORT)

    def apply(self, found: Found, new_links: Collection[str]) -> Plan:
        wrong = tuple(self.differences(found))
        if self.name in found.bridges:
            return Plan.of(wrong)
        new = replace(self, datapath_type=self._datapath_type(found))
        return Plan.of(wrong, rows=[CreateBridge(new)], awaited=[self.name])

    def remove(self, found: Found, removing: Removing) -> Plan:
        gone = self.name in found.bridges and self.name in removing.bridges
        return Plan(rows=(RemoveBridge(self.name),)) if gone else Plan()

    def is_present(self, found: Found) -> bool:
        return self.name in found.bridges

    def _datapath_type(self, found: Found) -> str:
        neighbour = found.bridges.get(self.joined_to)
        return self.datapath_type if neighbour is None else neighbour.datapath_type or "system"


def _as_it_was(bridge: Bridge) -> OvsBridge:
    mark = Mark.read(bridge.external_ids)
    return OvsBridge(bridge.name, bridge.datapath_type, mark, OnRemove.DELETE)
