# SPDX-License-Identifier: Apache-2.0
"""Whether a VIF's port is ready, from what OVSDB says of it. Everything here is pure."""

from collections.abc import Callable

from os_vif.answers import Until
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import IFACE_ID, Whose
from os_vif.wiring.state import DEAD_VLAN, Found, Port
from vif_plug_ovs.health import Switch

#: What ovn-controller writes on an interface when it has installed the port's flows; it can be up
#: to a second before the last of them is there.
OVN_INSTALLED = "ovn-installed"
#: Among the ``external_ids`` of the switch: OVN's integration bridge.
OVN_BRIDGE, OVN_DEFAULT_BRIDGE = "ovn-bridge", "br-int"


def missing(
    wiring: Wiring,
    found: Found,
    switch: Switch,
    until: Until,
    *,
    has_agent: Callable[[], bool],
) -> str:
    """Return what a VIF still lacks; empty when it is ready.

    :param has_agent: whether Neutron's agent is known to give ports on this bridge their VLAN; it
        is asked only where that matters, as it looks at all of them.
    """
    owners = {name: its for e in wiring.all_elements for name, its in e.owners(found).items()}
    ports = [found.ports[name] for name, whose in owners.items() if whose is Whose.THIS]
    if not ports:
        return "it has no port"
    if until is Until.WIRED:  # libvirt's tap, before a per-port bridge, comes with the guest
        ports = [port for port in ports if IFACE_ID in port.interface_ids] or ports
    for port in ports:
        if port.error:
            return f"{port.name}: {port.error}"
        link = found.links.get(port.name)
        of_kernel = not port.interface_type  # in user space ovs-vswitchd holds on to what is gone
        if not port.works_with(link.index if link else 0) or (of_kernel and link is None):
            return f"{port.name} has no OpenFlow port: ovs-vswitchd has not found its device"
    if until is Until.ATTACHED:
        return ""
    return _not_wired(ports[0], switch, has_agent)


def _not_wired(port: Port, switch: Switch, has_agent: Callable[[], bool]) -> str:
    if port.interface_ids.get(OVN_INSTALLED) == "true":
        return ""
    ovn_bridge = switch.external_ids.get(OVN_BRIDGE, OVN_DEFAULT_BRIDGE)
    if switch.has_ovn and port.bridge == ovn_bridge:
        return f"{port.name}: ovn-controller has not set {OVN_INSTALLED}"
    if port.vlan.tag == DEAD_VLAN:
        return f"{port.name} is on the dead VLAN {DEAD_VLAN}"
    if port.vlan.tag is None and has_agent():
        return f"{port.name}: Neutron's agent has not given it a VLAN"
    return ""
