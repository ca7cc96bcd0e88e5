# SPDX-License-Identifier: Apache-2.0
"""A VLAN device on an interface of the host."""

from dataclasses import dataclass

from os_vif.wiring.differences import Action
from os_vif.wiring.elements.link import Creation, LinkElement, LinkSpec, with_values
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Attribute, Value


@dataclass(frozen=True)
class VlanDevice(LinkElement):
    """A device whose frames travel through another one with a tag; others use it too."""

    name: str
    parent: str
    vlan: int
    mtu: int | None  # bytes
    mark: Mark
    mac: str | None = None  # None: that of its parent

    def _specs(self) -> tuple[LinkSpec, ...]:
        fixed: dict[Attribute, tuple[Value, Action]] = {
            "parent": (self.parent, Action.REFUSE),
            "vlan": (self.vlan, Action.REFUSE),
        }
        made = Creation("vlan", self.mark, fixed=fixed, kept=True)
        wanted = with_values({"up": True}, mac=self.mac, mtu=self.mtu)
        return (LinkSpec(self.name, wanted, made=made),)
