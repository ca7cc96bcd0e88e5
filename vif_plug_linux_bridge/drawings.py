# SPDX-License-Identifier: Apache-2.0
"""What the bridges of networks look like on the host, from the guests to the wire. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from os_vif.drawing import Drawing, Node, link_node
from os_vif.wiring.state import Link
from vif_plug_linux_bridge.shapes import gc as garbage


def drawn(host: garbage.Host) -> tuple[Drawing, ...]:
    """Return the drawing of each bridge that os-vif has made."""
    return tuple(
        Drawing(
            vif_id=one.vif_id,
            plugin=one.plugin,
            kind=one.kind,
            state=f"{one.state}, {one.reason}" if one.reason else str(one.state),
            nodes=tuple(_chain(one.vif_id, host)),
        )
        for one in garbage.listed(host)
        if one.kind == "bridge"
    )


def _chain(bridge: str, host: garbage.Host) -> Iterator[Node]:
    ports = host.ports(bridge)
    uplinks = [one for one in ports if _is_uplink(one, host)]
    guests = " ".join(sorted(one.name for one in ports if one not in uplinks))
    node = link_node(bridge, host.links)
    yield replace(node, facts=(*node.facts, ("guests", guests or None)))
    for one in uplinks:
        yield link_node(one.name, host.links)
        parent = str(one.attributes.get("parent") or "") if one.kind == "vlan" else ""
        if parent:
            yield replace(link_node(parent, host.links), shared=True)


def _is_uplink(link: Link, host: garbage.Host) -> bool:
    """Return whether a port of a bridge leads to the network; libvirt's taps lead to guests."""
    return link.kind in ("", "vlan", "bond") or link.name == host.interface
