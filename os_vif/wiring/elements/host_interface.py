# SPDX-License-Identifier: Apache-2.0
"""An interface of the host that leads to a physical network."""

from dataclasses import dataclass

from os_vif.wiring.elements.link import LinkElement, LinkSpec, with_values


@dataclass(frozen=True)
class HostInterface(LinkElement):
    """An interface through which guests reach a physical network: the host's, never ours."""

    name: str
    mtu: int | None  # bytes
    #: Whether others use it too: then its MTU is raised to that, never lowered.
    shared: bool = False

    def _specs(self) -> tuple[LinkSpec, ...]:
        always = with_values({"up": True}, mtu=None if self.shared else self.mtu)
        raised = {"mtu": self.mtu} if self.shared and self.mtu is not None else {}
        return (LinkSpec(self.name, always, at_least=raised, required=True),)
