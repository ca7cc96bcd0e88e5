# SPDX-License-Identifier: Apache-2.0
"""A virtual cable from a Linux bridge to elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass

from os_vif.wiring.differences import Difference
from os_vif.wiring.elements.link import PEER, Creation, LinkElement, LinkSpec, with_values
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Found


@dataclass(frozen=True)
class VethPair(LinkElement):
    """Two ends of a virtual cable, the first of them in a Linux bridge.

    The host does no neighbour discovery on them, towards tenants; os-vif 5.x let it happen.
    """

    name: str
    peer: str
    bridge: str
    mtu: int | None  # bytes
    mark: Mark

    def _differences_of(self, spec: LinkSpec, found: Found) -> Iterator[Difference]:
        yield from super()._differences_of(spec, found)
        here, there = found.links.get(self.name), found.links.get(self.peer)
        if spec.name != self.peer or here is None or there is None:
            return
        if there.kind == "veth" and there.peer_index not in (None, here.index):
            yield Difference(f"link {self.peer}", PEER, self.name, "another link")

    def _specs(self) -> tuple[LinkSpec, ...]:
        end = with_values({"promisc": True, "up": True}, mtu=self.mtu)
        made = Creation("veth", self.mark, unmarked=frozenset({*end, "master"}))
        return (
            LinkSpec(self.name, {"disable_ipv6": 1, **end, "master": self.bridge}, made=made),
            LinkSpec(self.peer, {"disable_ipv6": 1, **end}, made=made),
        )
