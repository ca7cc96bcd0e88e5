# SPDX-License-Identifier: Apache-2.0
"""The representor of a virtual function."""

from dataclasses import dataclass

from os_vif.wiring.elements.link import LinkElement, LinkSpec, with_values


@dataclass(frozen=True)
class Representor(LinkElement):
    """The host's end of a virtual function in a NIC's switch: the driver's, never ours.

    It is set up on plug and down on unplug; it is neither made nor deleted nor marked.
    """

    name: str
    mtu: int | None  # bytes

    def _specs(self) -> tuple[LinkSpec, ...]:
        up = with_values({"up": True}, mtu=self.mtu)
        return (LinkSpec(self.name, up, required=True, on_remove={"up": False}),)
