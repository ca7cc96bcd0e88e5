# SPDX-License-Identifier: Apache-2.0
"""A wiring: what one VIF needs on the host, as a frozen value."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from os_vif.wiring.elements.element import Element, Scope, unique
from os_vif.wiring.state import Found


@dataclass(frozen=True)
class Wiring:
    """What one VIF needs on the host; applying it is plug, removing it is unplug.

    A VIF may have been plugged under other settings than those of today. It keeps the shape that
    it has until it is unplugged, and unplug removes all that it may have.

    :param elements: in the order in which they are made; they are removed in the opposite order.
    :param detected_by: the element that is on the host when this shape is.
    :param device: the link without which the shape is dead though its rows are there: a reboot
        removes devices and leaves rows.
    :param alternatives: shapes that this VIF may have instead; where one of them is present,
        applying applies that one.
    :param leftovers: elements that applying leaves alone.

    Removing removes the elements, and those of alternatives and leftovers wherever a mark or
    ids say that they are this VIF's.
    """

    elements: tuple[Element, ...]
    detected_by: Element | None = None
    device: str | None = None
    alternatives: tuple["Wiring", ...] = ()
    leftovers: tuple[Element, ...] = ()

    @functools.cached_property
    def all_elements(self) -> tuple[Element, ...]:
        """Everything that may be there, each element once."""
        return unique(self._elements())

    @functools.cached_property
    def scope(self) -> Scope:
        """All names that have to be looked at."""
        return Scope.joined(element.scope for element in self._elements())

    def _elements(self) -> Iterator[Element]:
        yield from self.elements
        for other in self.alternatives:
            yield from other._elements()
        yield from self.leftovers

    def is_present(self, found: Found) -> bool:
        """Return whether the VIF has this shape on the host already."""
        if self.device is not None and self.device not in found.links:
            return False
        return self.detected_by is not None and self.detected_by.is_present(found)
