# SPDX-License-Identifier: Apache-2.0
"""What of a host is removed when only some VIFs are still wanted. Everything here is pure.

Twice one looks, with a pause: what moves in between is in use, and what comes or goes in between
is being plugged or unplugged by somebody. What remains is removed by unplugging the VIF that a
mark, or ids, say that it belongs to; so all that unplug takes care of is taken care of here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from os_vif.answers import Decision
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.network import Network
from os_vif.objects.vif import (
    VIFBase,
    VIFBridge,
    VIFHostDevice,
    VIFOpenVSwitch,
    VIFPortProfileOpenVSwitch,
    VIFVHostUser,
)
from os_vif.wiring.ownership import IFACE_ID
from os_vif.wiring.state import Found
from vif_plug_ovs import constants
from vif_plug_ovs.inventory import Holding, holdings, use
from vif_plug_ovs.shapes import host_device, hybrid, names, vhost_user

#: Seconds between two looks.
PAUSE_SECONDS = 2.0

#: The bridge of a VIF without a port: unplug wants a name, and never deletes a shared bridge.
_SOME_BRIDGE = "br-int"


@dataclass(frozen=True)
class Look:
    """A host at one time.

    :param at: seconds since 1970.
    :param received: packets that each device has received from its guest.
    :param drivers: driver of the virtual function behind each representor; empty if it has none,
        None if nobody can tell.
    """

    found: Found
    at: float
    received: Mapping[str, int] = field(default_factory=dict)
    drivers: Mapping[str, str | None] = field(default_factory=dict)


def decisions(
    first: Look, second: Look, valid: Collection[str], grace: float
) -> list[tuple[Holding, Decision]]:
    """Decide of each VIF whether it is removed, and say why, or why not.

    :param valid: ids of VIFs (or iface-ids) that stay.
    :param grace: seconds for which what is new stays.
    """
    before = {one.owner: one for one in holdings(first.found)}
    decided = []
    for one in holdings(second.found):
        kept = _kept(one, before.get(one.owner), first, second, valid, grace)
        reason = kept or "it is not among the valid VIFs, and nothing uses it"
        decision = Decision(one.owner, constants.PLUGIN_NAME, not kept, reason, one.devices)
        decided.append((one, decision))
    return decided


def _kept(
    one: Holding,
    before: Holding | None,
    first: Look,
    second: Look,
    valid: Collection[str],
    grace: float,
) -> str:
    """Return why a VIF stays; empty if it does not."""
    iface_ids = {port.interface_ids.get(IFACE_ID) for port in one.ports.values()}
    if one.owner in valid or not iface_ids.isdisjoint(valid):
        return "it is valid"
    if one.owner in one.devices:
        return "it was plugged without a VIF id: nothing tells whether it is wanted"
    if any(names.is_trunk_bridge(port.bridge) for port in one.ports.values()):
        return "it is on the bridge of a trunk, which Neutron removes"
    if using := use(one, second.found):
        return f"it is in use: {using}"
    for device in one.devices:
        if second.received.get(device, 0) != first.received.get(device, 0):
            return f"it is in use: {device} has received packets"
        driver = second.drivers.get(device, "")
        if driver is None:
            return f"nobody can tell whether a guest has the virtual function behind {device}"
        if driver in GUEST_DRIVERS:
            return f"it is in use: the virtual function behind {device} is bound to {driver}"
    if one.since is not None and second.at - one.since < grace:
        return f"it is {second.at - one.since:.0f} s old, which is younger than {grace:g} s"
    if before is None or _identity(before) != _identity(one):
        return "it has changed while it was looked at: somebody is plugging or unplugging it"
    return ""


#: Drivers of a virtual function that a guest has.
GUEST_DRIVERS = frozenset({"vfio-pci", "uio_pci_generic", "igb_uio"})


def _identity(one: Holding) -> object:
    """Return what stays the same of what nobody touches."""
    links = {name: link.index for name, link in one.links.items()}
    ports = {name: (port.bridge, port.interface_ids) for name, port in one.ports.items()}
    return links, ports, set(one.bridges)


def vif_of(one: Holding) -> tuple[VIFBase, InstanceInfo]:
    """Return a VIF whose unplugging removes what one has."""
    port = one.port
    profile = VIFPortProfileOpenVSwitch(create_port=True)
    if port and IFACE_ID in port.interface_ids:
        profile.interface_id = port.interface_ids[IFACE_ID]
    fields = {
        "id": one.owner,
        "network": Network(bridge=port.bridge if port else _SOME_BRIDGE),
        "plugin": constants.PLUGIN_NAME,
        "port_profile": profile,
    }
    instance = InstanceInfo(uuid=one.instance or one.owner, name="")
    if one.kind == hybrid.KIND:
        bridges = [link.name for link in one.links.values() if link.kind == "bridge"]
        bridge = next(iter([*bridges, names.hybrid_bridge(one.owner)]))
        return VIFBridge(bridge_name=bridge, **fields), instance
    if one.kind == host_device.KIND:
        return VIFHostDevice(**fields), instance
    taps = [link.name for link in one.links.values() if link.kind == "tun"]
    of_bridges = ("internal", constants.OVS_PATCH_INTERFACE_TYPE)
    ports = [its.name for its in one.ports.values() if its.interface_type not in of_bridges]
    if taps or ports:
        fields["vif_name"] = [*taps, *ports][0]
    cls = VIFVHostUser if one.kind == vhost_user.KIND else VIFOpenVSwitch
    return cls(**fields), instance


def ids_of(valid: Iterable[VIFBase | str]) -> frozenset[str]:
    """Return the ids of VIFs that are given as objects, or by id."""
    return frozenset(str(one.id) if isinstance(one, VIFBase) else str(one) for one in valid)
