# SPDX-License-Identifier: Apache-2.0
"""The MTU of a device that is not made by os-vif."""

from dataclasses import dataclass

from os_vif.wiring.elements.link import LinkElement, LinkSpec, with_values


@dataclass(frozen=True)
class DeviceMtu(LinkElement):
    """The MTU of a device that libvirt makes, sooner or later: its tap.

    Nothing else of it is ours to set: its MAC address begins with ``fe:`` on purpose.
    """

    name: str
    mtu: int | None  # bytes

    def _specs(self) -> tuple[LinkSpec, ...]:
        return (LinkSpec(self.name, with_values({}, mtu=self.mtu)),)
