# SPDX-License-Identifier: Apache-2.0
"""How each kind of VIF reaches Open vSwitch: one file per kind, one entry in this table.

Everything here is pure. To add a kind, write a function from :class:`.request.Request` to
:class:`os_vif.wiring.model.Wiring` in a file of its own and enter it below.
"""

from collections.abc import Callable

from os_vif.exception import NoMatchingVIFClass
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFBridge, VIFOpenVSwitch
from os_vif.wiring.model import Wiring
from vif_plug_ovs.wiring import hybrid, open_vswitch
from vif_plug_ovs.wiring.request import Request, Settings, for_plug, for_unplug

__all__ = ["KINDS", "Settings", "plugged", "unplugged"]

KINDS: dict[type[VIFBase], Callable[[Request], Wiring]] = {
    VIFOpenVSwitch: open_vswitch.wiring,
    VIFBridge: hybrid.wiring,
}


def plugged(vif: VIFBase, instance: InstanceInfo, settings: Settings) -> Wiring:
    """The wiring of a VIF that is to be plugged.

    :raises NoMatchingVIFClass: this plugin does not know the VIF's class.
    :raises InvalidValue: a field is missing or has an impossible value.
    """
    kind = _kind(vif)
    return kind(for_plug(vif, instance, settings))


def unplugged(vif: VIFBase, instance: InstanceInfo) -> Wiring:
    """The wiring of a VIF that is to be unplugged: the same, drawn from names alone.

    :raises NoMatchingVIFClass: this plugin does not know the VIF's class.
    :raises InvalidValue: a field that names are made of is missing or impossible.
    """
    kind = _kind(vif)
    return kind(for_unplug(vif, instance))


def _kind(vif: VIFBase) -> Callable[[Request], Wiring]:
    for cls, kind in KINDS.items():
        if isinstance(vif, cls):
            return kind
    raise NoMatchingVIFClass(name=type(vif).__name__)
