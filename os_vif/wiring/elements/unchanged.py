# SPDX-License-Identifier: Apache-2.0
"""What must be as it was when something was decided about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from os_vif.wiring import ownership
from os_vif.wiring.differences import PRESENT, Action, Difference
from os_vif.wiring.elements.element import Element, Plan, Removing, Scope
from os_vif.wiring.state import Found


@dataclass(frozen=True)
class Unchanged(Element):
    """Links and ports of which nothing is removed if one is another by now; they may be gone.

    Garbage collection decides about a VIF that it has looked at. Another process may unplug that
    and plug it anew before it is removed, or start its guest.

    :param links: name -> index.
    :param ports: name -> ``external_ids`` of the row Port, with the time at which it was written;
        None for one that there must not be.
    :param idle: links and ports that no guest may use.
    """

    links: Mapping[str, int]
    ports: Mapping[str, Mapping[str, str] | None]
    idle: frozenset[str] = frozenset()

    @property
    def scope(self) -> Scope:
        return Scope(links=self.idle.union(self.links), ports=dict.fromkeys(self.ports, ""))

    def remove(self, found: Found, removing: Removing) -> Plan:
        return Plan.of(self._changes(found))

    def _changes(self, found: Found) -> Iterator[Difference]:
        for name, index in self.links.items():
            link = found.links.get(name)
            if link and link.index != index:
                yield Difference(f"link {name}", "ifindex", index, link.index, Action.REFUSE)
        for name, ids in self.ports.items():
            port, element = found.ports.get(name), f"OVS port {name}"
            if port and ids is None:
                yield Difference(element, PRESENT, False, True, Action.REFUSE)
            elif port and port.external_ids != ids:
                its = port.external_ids
                yield Difference(element, "external_ids", ids, its, Action.REFUSE)
        for name in sorted(self.idle):
            if ownership.is_in_use(found.ports.get(name), found.links.get(name)):
                yield Difference(f"device {name}", "in use", False, True, Action.REFUSE)
