# SPDX-License-Identifier: Apache-2.0
"""How each kind of VIF reaches Open vSwitch: one file per shape, one entry in a table per kind.

Everything here is pure. To add a kind, write a :class:`.request.Kind` in a file of its own and
enter it below.
"""

from dataclasses import replace

from os_vif.exception import NoMatchingVIFClass
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import (
    VIFBase,
    VIFBridge,
    VIFHostDevice,
    VIFOpenVSwitch,
    VIFVHostUser,
)
from os_vif.wiring.model import Wiring
from vif_plug_ovs import constants, exception
from vif_plug_ovs.shapes import host_device, hybrid, open_vswitch, per_port_bridge, vhost_user
from vif_plug_ovs.shapes.request import Facts, Kind, Request, Settings, read

__all__ = ["KINDS", "Facts", "Settings", "kind_of", "plugged", "unplugged"]


def plugged(
    vif: VIFBase, instance: InstanceInfo, settings: Settings, facts: Facts | None = None
) -> Wiring:
    """Return the wiring of a VIF that is to be plugged.

    :raises NoMatchingVIFClass: this plugin does not know the VIF's class.
    :raises InvalidValue: a field is missing or has an impossible value.
    """
    kind = kind_of(vif)
    return kind.wiring(read(kind, vif, instance, settings, facts, complete=True))


def unplugged(vif: VIFBase, instance: InstanceInfo, facts: Facts | None = None) -> Wiring:
    """Return the wiring of a VIF that is to be unplugged: drawn from names alone.

    It does not depend on settings; what the VIF may have under any of them is in it.

    :raises NoMatchingVIFClass: this plugin does not know the VIF's class.
    :raises InvalidValue: a field that names are made of is missing or impossible.
    """
    kind = kind_of(vif)
    return kind.wiring(read(kind, vif, instance, Settings(), facts, complete=False))


def kind_of(vif: VIFBase) -> Kind:
    """Return what is particular to a VIF's kind.

    :raises NoMatchingVIFClass: this plugin does not know the VIF's class.
    """
    for cls, kind in KINDS.items():
        if isinstance(vif, cls):
            return kind
    raise NoMatchingVIFClass.by_plugin(constants.PLUGIN_NAME, type(vif).__name__)


def _open_vswitch(request: Request) -> Wiring:
    """Return the tap in the OVS bridge, or in a bridge of its own; hybrid where it was so
    before."""
    plain = open_vswitch.shape(request)
    if not request.create_port:  # libvirt makes the port: only the bridge is seen to
        others = _choice(plain, *_made_of_the_id(request)).all_elements
        return Wiring((request.ovs_bridge(request.mark(open_vswitch.KIND)),), leftovers=others)
    if request.vif_id is None:
        return plain
    own_bridge, filtered = _made_of_the_id(request)
    if request.settings.per_port_bridge:
        return _choice(own_bridge, plain, filtered)
    return _choice(plain, own_bridge, filtered)


def _bridge(request: Request) -> Wiring:
    """Hybrid, or what it was before the firewall driver changed.

    :raises TapCreationNotSupported: the profile asks for a tap made by os-vif.
    """
    if request.create_tap and request.complete:
        raise exception.TapCreationNotSupported(vif_type=request.vif_class)
    wanted = hybrid.shape(request)
    return _choice(wanted, open_vswitch.shape(request), per_port_bridge.shape(request))


def _made_of_the_id(request: Request) -> tuple[Wiring, ...]:
    """Return the shapes whose names are made of the VIF's id."""
    return (per_port_bridge.shape(request), hybrid.shape(request)) if request.vif_id else ()


def _choice(wanted: Wiring, *others: Wiring) -> Wiring:
    """One shape, and those that the VIF may have from a plug under other settings."""
    return replace(wanted, alternatives=others)


#: What is plugged, and how.
KINDS: dict[type[VIFBase], Kind] = {
    VIFOpenVSwitch: Kind(_open_vswitch),
    VIFBridge: Kind(_bridge, gives_linux_bridge=True),
    VIFVHostUser: vhost_user.VIF_KIND,
    VIFHostDevice: host_device.VIF_KIND,
}
