# SPDX-License-Identifier: Apache-2.0
"""The plugin for Linux bridges: it reads its configuration and drives the engine."""

import socket
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from oslo_config import cfg

from os_vif.exception import NoMatchingVIFClass
from os_vif.kernel import daemon
from os_vif.kernel.daemon import KernelLinks
from os_vif.kernel.observe import own_name
from os_vif.locks import KeyedLocks
from os_vif.objects.host_info import HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFBridge
from os_vif.plugin import PluginBase, supported
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.engine import Engine
from os_vif.wiring.errors import StateChanged
from os_vif.wiring.model import Wiring
from os_vif.wiring.steps import DeleteLink, FilterBridge
from vif_plug_linux_bridge import constants, privileged, shapes
from vif_plug_linux_bridge.shapes import gc

#: Seconds that plugging may take; the default of the plugin for Open vSwitch.
TIMEOUT = 120
#: Of the bridges that a thread of this process is making.
LOCKS = KeyedLocks()


class LinuxBridgePlugin(PluginBase):
    """Connects VIFs to physical networks through Linux bridges, flat or VLAN.

    libvirt puts the guest's tap into the bridge; what is between that and the network is made
    here, for the first guest, and stays for the others.
    """

    CONFIG_OPTS: ClassVar[tuple[cfg.Opt, ...]] = (
        cfg.BoolOpt(
            "use_ipv6",
            default=False,
            help="Filter the IPv6 traffic of bridges as well.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "iptables_top_regex",
            default="",
            help="Rules of the chain FORWARD that match this regular expression, in the notation "
            "of iptables-save, are another program's that must stay above ours.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "iptables_bottom_regex",
            default="",
            help="Rules of the chain FORWARD that match this regular expression, in the notation "
            "of iptables-save, are another program's that must stay below ours.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "iptables_drop_action",
            default="DROP",
            help="The target of iptables for traffic that is not to be forwarded: DROP, REJECT, "
            "or a chain of yours, which may log it.",
            deprecated_group="DEFAULT",
        ),
        cfg.MultiStrOpt(
            "forward_bridge_interface",
            default=["all"],
            help="An interface to which and from which a bridge's traffic may be forwarded; may "
            "be given several times. all: any of them.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "vlan_interface",
            help="The interface on which VLAN devices are made; without it, that which the "
            "network names.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "flat_interface",
            help="The interface that is put into flat bridges, with its addresses and routes; "
            "without it, that which the network names.",
            deprecated_group="DEFAULT",
        ),
        cfg.IntOpt(
            "network_device_mtu",
            default=1500,
            help="MTU in bytes of the network devices of a VIF whose network names none.",
            deprecated_group="DEFAULT",
        ),
    )

    def describe(self) -> HostPluginInfo:
        """Return which VIFs can be plugged; they need no port profile."""
        return HostPluginInfo(plugin_name=constants.PLUGIN_NAME, vif_info=[supported(VIFBridge)])

    def plug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Make sure of the VIF's bridge, unless Neutron provides its network.

        :raises NoMatchingVIFClass: it is not a VIFBridge.
        :raises InvalidValue: a field or an option is missing or has an impossible value.
        :raises WiringError: see :mod:`os_vif.wiring.errors`.
        """
        if not isinstance(vif, VIFBridge):
            raise NoMatchingVIFClass.by_plugin(constants.PLUGIN_NAME, type(vif).__name__)
        if shapes.is_provided(vif):
            wanted = shapes.read(vif, self._settings())
            bridge, interface = map(own_name, (wanted.bridge, wanted.interface))
            apply(shapes.described(replace(wanted, bridge=bridge, interface=interface)), bridge)

    def unplug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Leave the bridge: other guests use it."""

    def gc(self, wanted: Iterable[VIFBase]) -> tuple[str, ...]:
        """Remove the bridges, VLAN devices and rules of ours that nothing uses any more.

        What is in use or wanted stays, and so does what others made. Addresses and routes
        that a bridge took over move back to its interface: hardware, bond, team, VLAN device or
        ``flat_interface``; a bridge with another kind of port is taken to have a guest.

        :param wanted: the VIFs of this host, those that are about to be plugged too.
        :returns: what was removed, as in ``bridge br100``, ``vlan vlan12``, ``rules of br7``.
        :raises WiringError: something could not be removed (all else was); see
            :mod:`os_vif.wiring.errors`.
        """
        deadline = Deadline(TIMEOUT)
        links = _links()
        names = [name for _, name in socket.if_nameindex()]
        host = gc.Host(
            links=links.observe(names, names),
            filtered=frozenset(
                daemon.call(privileged.filtered, deadline=deadline, grace=privileged.GRACE)
            ),
            wanted=frozenset(map(own_name, gc.names_of(wanted))),
            interface=own_name(self.config.flat_interface or ""),
        )
        groups = gc.removals(host)
        for failure in links.execute(groups, deadline) if groups else ():
            if failure is not None:
                raise failure
        steps = [step for group in groups for step in group]
        deleted = {step.name: step.kind for step in steps if isinstance(step, DeleteLink)}
        if again := links.observe(deleted):
            raise StateChanged(what=f"in use again: {', '.join(again)}")
        rules = [step.bridge for step in steps if isinstance(step, FilterBridge)]
        devices = (f"{kind} {name}" for name, kind in deleted.items())
        return (*devices, *(f"rules of {bridge}" for bridge in rules))

    def _settings(self) -> shapes.Settings:
        names = shapes.Settings.__dataclass_fields__
        return shapes.Settings(**{name: getattr(self.config, name) for name in names})


def apply(wanted: Wiring, bridge: str) -> None:
    """Make a bridge's wiring so; two threads that want the same bridge wait for each other."""
    deadline = Deadline(TIMEOUT)
    with LOCKS.hold({bridge}, deadline, f"bridge {bridge}"):
        Engine(_links()).apply(wanted, deadline)


def _links() -> KernelLinks:
    return KernelLinks(privileged.change_links, privileged.GRACE)
