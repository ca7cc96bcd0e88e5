# SPDX-License-Identifier: Apache-2.0
"""What of a host is removed when only some VIFs are still wanted. Everything here is pure.

Twice one looks, with a pause: what moves in between is in use, and what comes or goes in between
is being plugged or unplugged by somebody. What remains is removed by unplugging the VIF that a
mark, or ids, say that it belongs to; so all that unplug takes care of is taken care of here.

What is younger than the grace period stays. Ports bear the time at which they were written. A plug
makes links before its rows, and it may wait long between them; links without a port have no age
but the one that the kernel's sysfs proves (:func:`os_vif.kernel.sysfs.known_since`), which holds
for plugs of all processes. Another attribute of the link would have to be written by every plug,
and people see those: an alias is one already, a group has other users, and alternative names are
looked up as names.
"""

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

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
from os_vif.wiring.elements import Unchanged
from os_vif.wiring.ownership import IFACE_ID
from os_vif.wiring.state import Found, Port
from vif_plug_ovs import constants
from vif_plug_ovs.inventory import Holding, holdings, linux_bridge, names_of
from vif_plug_ovs.shapes import host_device, hybrid, names, vhost_user

#: Seconds between two looks.
PAUSE_SECONDS = 2.0

#: Seconds that the removal of a chunk is to take: ovs-vswitchd may be busy with it for so long.
CHUNK_SECONDS = 1.0
#: VIFs of a chunk.
_FEWEST, _MOST = 10, 400

#: The bridge of a VIF without a port: unplug wants a name, and never deletes a shared bridge.
_SOME_BRIDGE = "br-int"


@dataclass(frozen=True)
class Look:
    """A host at one time.

    :param at: seconds since 1970.
    :param received: packets that each device has received from its guest.
    :param known_since: when devices are known to have been there, in seconds since 1970; None
        where nobody can tell.
    :param holders: what holds the virtual function behind each representor; empty if nothing
        does, None if nobody can tell.
    """

    found: Found
    at: float
    received: Mapping[str, int] = field(default_factory=dict)
    known_since: Mapping[str, float | None] = field(default_factory=dict)
    holders: Mapping[str, str | None] = field(default_factory=dict)

    @functools.cached_property
    def holdings(self) -> Mapping[str, Holding]:
        """What each VIF has, by owner."""
        return {one.owner: one for one in holdings(self.found)}


def decisions(
    first: Look, second: Look, valid: Collection[str], grace: float
) -> list[tuple[Holding, Decision]]:
    """Decide of each VIF whether it is removed, and say why, or why not.

    :param valid: ids of VIFs (or iface-ids) that stay.
    :param grace: seconds for which what is new stays.
    """
    ids = frozenset(map(_comparable, valid))
    taken = frozenset(name for one in ids for name in names_of(one))
    decided = []
    for one in second.holdings.values():
        kept = _kept(one, first.holdings.get(one.owner), first, second, ids, taken, grace)
        reason = kept or "it is not among the valid VIFs, and nothing uses it"
        decision = Decision(one.owner, constants.PLUGIN_NAME, not kept, reason, one.devices)
        decided.append((one, decision))
    return decided


def _kept(
    one: Holding,
    before: Holding | None,
    first: Look,
    second: Look,
    valid: frozenset[str],
    taken: frozenset[str],
    grace: float,
) -> str:
    """Return why a VIF stays; empty if it does not.

    :param valid: ids as they are compared.
    :param taken: the names that are made of the valid ids.
    """
    ids = {one.owner, *(port.interface_ids.get(IFACE_ID, "") for port in one.ports.values())}
    if not {_comparable(each) for each in ids}.isdisjoint(valid):
        return "it is valid"
    if theirs := taken.intersection(one.devices):
        return f"a valid VIF has the same name: {', '.join(sorted(theirs))}"
    if one.owner in one.devices or one.owner in one.qos:
        return "it was plugged without a VIF id: nothing tells whether it is wanted"
    if any(names.is_trunk_bridge(port.bridge) for port in one.ports.values()):
        return "it is on the bridge of a trunk, which Neutron removes"
    if one.use:
        return f"it is in use: {one.use}"
    if others := {*one.links, *one.qos} & second.found.ports.keys() - one.ports.keys():
        return f"a port that is not its own has the same name: {', '.join(sorted(others))}"
    for port in one.ports.values():
        if kept := _kept_port(one, port, first, second):
            return kept
    if kept := _kept_young(one, second, grace):
        return kept
    if before is None or _identity(before) != _identity(one):
        return "it has changed while it was looked at: somebody is plugging or unplugging it"
    return ""


def _kept_young(one: Holding, look: Look, grace: float) -> str:
    """Return why a VIF stays because of its age; empty if it does not.

    A plug makes links before its rows, and a port that was there before the host started keeps its
    row, so links count as well.
    """
    if not grace:
        return ""
    if one.since is not None and look.at < one.since:
        return "it is from the future: the clock was set back, or nobody can tell how old it is"
    if one.since is not None and look.at - one.since < grace:
        return f"it is {look.at - one.since:.0f} s old, which is younger than {grace:g} s"
    for name in sorted({*one.links, *one.ports} & look.found.links.keys()):
        since = look.known_since.get(name)
        if since is not None and look.at - since < grace:
            known = f"{name} is known for {look.at - since:.0f} s"
            return f"{known}: it may be younger than {grace:g} s"
        if since is None and not one.ports:
            return f"nobody can tell how old {name} is: /sys does not show it"
    return ""


def _kept_port(one: Holding, port: Port, first: Look, second: Look) -> str:
    """Return why a VIF stays because of one of its ports; empty if it does not."""
    name, link = port.name, second.found.links.get(port.name)
    moved = second.received.get(name, 0) != first.received.get(name, 0)
    if moved and not _hears_a_bridge_only(one, name, second.found):
        return f"it is in use: {name} has received packets"
    holder = second.holders.get(name, "")
    if holder is None:
        return f"nobody can tell whether a guest has the virtual function behind {name}"
    if holder:
        return f"it is in use: {holder}"
    refused = port.error and second.found.pending is None  # by ovs-vswitchd as it runs
    vhost_user = port.interface_type.startswith("dpdkvhostuser")
    if vhost_user and port.connected is None and not refused:
        return f"nobody can tell whether a guest is connected to {name}"
    if port.bond:
        return f"{name} is a bond"
    known = link is None or link.kind in ("tun", "openvswitch") or name in second.holders
    if not known and name not in one.links:  # the end of a container's veth, for instance
        return f"nobody can tell who uses the device {name}, which os-vif has not made"
    return ""


def _hears_a_bridge_only(one: Holding, port: str, found: Found) -> bool:
    """Return whether a port is the end of a veth pair behind a bridge of the kernel: a guest in
    that is seen there, and the bridge itself sends what the host's IPv6 has to say."""
    qvb, qvo = names.veth_pair(one.owner)
    return port == qvo and bool(linux_bridge(qvb, found))


def _comparable(one: str) -> str:
    """Return an id as it is compared: what holds VIF ids may write them in capitals."""
    return one.strip().lower()


def _identity(one: Holding) -> object:
    """Return what stays the same of what nobody touches."""
    links = {name: link.index for name, link in one.links.items()}
    ports = {
        name: (port.bridge, port.interface_ids, port.external_ids)
        for name, port in one.ports.items()
    }
    return links, ports, set(one.bridges)


def vif_of(one: Holding) -> tuple[VIFBase, InstanceInfo]:
    """Return a VIF whose unplugging removes what one has."""
    port = one.port
    taps = [link.name for link in one.links.values() if link.kind == "tun"]
    profile = VIFPortProfileOpenVSwitch(create_port=True, create_tap=bool(taps))
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
    if one.kind == host_device.KIND and one.ports:
        return VIFHostDevice(**fields), instance
    of_bridges = ("internal", constants.OVS_PATCH_INTERFACE_TYPE)
    ports = [its.name for its in one.ports.values() if its.interface_type not in of_bridges]
    if devices := [*taps, *ports, *sorted(one.qos)]:
        fields["vif_name"] = devices[0]
    # Of a QoS row that is left alone the port was that of a device, of whichever kind.
    cls = VIFVHostUser if one.kind == vhost_user.KIND else VIFOpenVSwitch
    return cls(**fields), instance


def unchanged(one: Holding) -> Unchanged:
    """Return what has to be as it was when it was decided that a VIF goes."""
    ports = dict.fromkeys((*one.links, *one.qos)) | {
        name: port.external_ids for name, port in one.ports.items()
    }
    devices = {*ports, names.prefixed("tap", one.owner)} - one.bridges.keys()
    indexes = {name: link.index for name, link in one.links.items()}
    return Unchanged(indexes, ports, idle=frozenset(devices))


def next_size(size: int, seconds: float) -> int:
    """Return how many VIFs are removed next at once, from how long it took to remove some.

    Each chunk costs ovs-vswitchd that it goes over all its ports twice, and each port besides what
    there is to close: nothing if its device is gone, a socket (12 ms) in a userspace datapath.

    :param size: how many those were.
    """
    return max(_FEWEST, min(_MOST, 2 * size, int(size * CHUNK_SECONDS / max(seconds, 0.001))))


def result(decision: Decision, errors: Mapping[str, Exception], left: Collection[str]) -> Decision:
    """Return what has become of a VIF.

    :param errors: why VIFs were not removed, by id.
    :param left: ids of those of which something is there still.
    """
    if not decision.removes:
        return decision
    if error := errors.get(decision.vif_id):
        return replace(decision, error=str(error), code=getattr(error, "code", ""))
    left_over = "something of it is there still" if decision.vif_id in left else None
    return replace(decision, error=left_over)


def ids_of(valid: Iterable[VIFBase | str]) -> frozenset[str]:
    """Return the ids of VIFs that are given as objects, or by id."""
    return frozenset(str(one.id) if isinstance(one, VIFBase) else str(one) for one in valid)
