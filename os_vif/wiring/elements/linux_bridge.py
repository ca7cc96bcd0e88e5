# SPDX-License-Identifier: Apache-2.0
"""A bridge of the kernel."""

from dataclasses import dataclass

from os_vif.wiring.elements.element import OnRemove
from os_vif.wiring.elements.link import OF_HOST_STACK, Creation, LinkElement, LinkSpec, with_values
from os_vif.wiring.ownership import Mark


@dataclass(frozen=True)
class LinuxBridge(LinkElement):
    """A bridge of the kernel; its own network stack is kept out of the guests' traffic.

    One that others use too (``on_remove`` is KEEP) keeps its settings if os-vif has not made it:
    the administrator's STP may be all that holds a loop open.
    """

    name: str
    mark: Mark
    ageing: int | None = None  # seconds before a MAC address is forgotten; None: the kernel's
    on_remove: OnRemove = OnRemove.DELETE

    def _specs(self) -> tuple[LinkSpec, ...]:
        kept = self.on_remove is OnRemove.KEEP
        unmarked = frozenset({"up"}) if kept else None
        wanted = {
            **{"disable_ipv6": 1, **OF_HOST_STACK, "stp": False, "forward_delay": 0},
            **with_values({"mcast_snooping": False, "up": True}, ageing=self.ageing),
        }
        made = Creation("bridge", self.mark, unmarked=unmarked, kept=kept)
        return (LinkSpec(self.name, wanted, made=made),)
