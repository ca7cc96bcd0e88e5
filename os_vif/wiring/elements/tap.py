# SPDX-License-Identifier: Apache-2.0
"""A tap that os-vif makes."""

from dataclasses import dataclass

from os_vif.wiring.differences import Action
from os_vif.wiring.elements.link import Creation, LinkElement, LinkSpec, with_values
from os_vif.wiring.ownership import Mark


@dataclass(frozen=True)
class Tap(LinkElement):
    """A persistent tap device, made before the guest opens it (bug 2069718).

    It has no IPv6, so that the host does no duplicate address detection for the guest's MAC. Of a
    tap without our mark only the MTU is set: libvirt's MAC address, which begins with ``fe:``, is
    on purpose.
    """

    name: str
    mac: str | None
    mtu: int | None  # bytes
    mark: Mark
    multiqueue: bool = False

    def _specs(self) -> tuple[LinkSpec, ...]:
        made = Creation(
            "tun",
            self.mark,
            named_after_id=False,
            unmarked=frozenset({"mtu"}),
            # The kernel takes it at creation only (IFF_MULTI_QUEUE in tun.c).
            fixed={"multiqueue": (self.multiqueue, Action.REPORT)},
        )
        always = with_values({"up": True}, mac=self.mac, disable_ipv6=1, mtu=self.mtu)
        return (LinkSpec(self.name, always, made=made),)
