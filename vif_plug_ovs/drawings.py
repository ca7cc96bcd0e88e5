# SPDX-License-Identifier: Apache-2.0
"""What VIFs look like on the host, from the guest to the integration bridge. Pure."""

from collections.abc import Iterator

from os_vif.drawing import Drawing, Fact, Node, Sign, link_node
from os_vif.wiring.ownership import ATTACHED_MAC, IFACE_ID
from os_vif.wiring.state import Bridge, Found, Port
from vif_plug_ovs import constants, inventory
from vif_plug_ovs.inventory import Holding
from vif_plug_ovs.shapes import hybrid, names, per_port_bridge


def drawn(found: Found) -> tuple[Drawing, ...]:
    """Return the drawing of each VIF that something on the host belongs to."""
    return tuple(_drawing(one, found) for one in inventory.holdings(found))


def _drawing(one: Holding, found: Found) -> Drawing:
    state, reason = inventory.state(one, found)
    nodes = list(dict.fromkeys(_chain(one, found)))
    drawn_names = {node.name for node in nodes}
    left = [name for name in one.devices if name not in drawn_names]
    return Drawing(
        vif_id=one.owner,
        plugin=constants.PLUGIN_NAME,
        kind=one.kind,
        state=f"{state}, {reason}" if reason else str(state),
        nodes=tuple(nodes),
        remarks=tuple(f"{name} belongs to it, too" for name in left),
    )


def _chain(one: Holding, found: Found) -> Iterator[Node]:
    """Yield the nodes from the guest to the bridge of the network."""
    if one.instance:
        yield Node("instance", one.instance)
    if one.kind == hybrid.KIND:
        yield from _hybrid(one, found)
    elif one.kind == per_port_bridge.KIND:
        yield from _per_port_bridge(one, found)
    else:
        yield from _plain(one, found)
    port = one.port
    if port is not None:
        yield _ovs_bridge(port.bridge, found)


def _hybrid(one: Holding, found: Found) -> Iterator[Node]:
    qvb, qvo = names.veth_pair(one.owner)
    bridge = inventory.linux_bridge(qvb, found) or names.hybrid_bridge(one.owner)
    yield from _members(bridge, found, {qvb})
    for name, what in ((bridge, "Linux bridge"), (qvb, "veth"), (qvo, "veth")):
        yield link_node(name, found.links, what)
    yield _port(qvo, found)


def _per_port_bridge(one: Holding, found: Found) -> Iterator[Node]:
    bridge, patches = names.port_bridge(one.owner), names.patch_pair(one.owner)
    for port in found.ports.values():
        if port.bridge == bridge and port.name not in (*patches, bridge):
            yield from _port_with_link(port, found)
    yield _ovs_bridge(bridge, found, shared=False)
    for name in patches:
        yield _port(name, found)


def _plain(one: Holding, found: Found) -> Iterator[Node]:
    ports = [one.port] if one.port else []
    for name in one.links:
        if name not in one.ports:
            yield link_node(name, found.links)
    for port in ports:
        yield from _port_with_link(port, found)


def _members(bridge: str, found: Found, but: set[str]) -> Iterator[Node]:
    for link in found.links.values():
        if link.attributes.get("master") == bridge and link.name not in but:
            yield link_node(link.name, found.links)


def _port_with_link(port: Port, found: Found) -> Iterator[Node]:
    # A vhost-user socket and what DPDK drives are no devices of the kernel.
    if port.name in found.links or not port.interface_type:
        yield link_node(port.name, found.links)
    yield _port(port.name, found)


def _port(name: str, found: Found) -> Node:
    port = found.ports.get(name)
    if port is None:
        return Node("OVS port", name, sign=Sign.MISSING)
    return Node(
        "OVS port",
        name,
        tuple(_port_facts(port)),
        sign=Sign.DIFFERS if port.error else Sign.NONE,
        remarks=(f"error: {port.error}",) if port.error else (),
    )


def _port_facts(port: Port) -> Iterator[Fact]:
    yield "ofport", port.ofport
    vlan = port.vlan
    for key, value in (
        ("type", port.interface_type),
        ("peer", port.options.get("peer")),
        ("tag", vlan.tag),
        ("trunks", " ".join(map(str, vlan.trunks))),
        ("vlan_mode", vlan.mode),
        ("mtu_request", port.mtu_request),
        ("qos", port.qos_type),
        ("connected", port.connected),
        (IFACE_ID, port.interface_ids.get(IFACE_ID)),
        (ATTACHED_MAC, port.interface_ids.get(ATTACHED_MAC)),
    ):
        if value not in (None, "", False):
            yield key, value


def _ovs_bridge(name: str, found: Found, shared: bool = True) -> Node:
    bridge: Bridge | None = found.bridges.get(name)
    if bridge is None:
        return Node("OVS bridge", name, sign=Sign.MISSING, shared=shared)
    # An empty type is "system": ovs-vswitchd.conf.db(5).
    datapath = ("datapath_type", bridge.datapath_type or "system")
    return Node("OVS bridge", name, (datapath,), shared=shared)
