# SPDX-License-Identifier: Apache-2.0
"""The plugin for Open vSwitch: it reads its configuration and drives the engine."""

from typing import ClassVar

from oslo_config import cfg

from os_vif.kernel.backend import KernelLinks
from os_vif.objects.host_info import HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFPortProfileOpenVSwitch
from os_vif.plugin import PluginBase, supported
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.engine import Engine
from vif_plug_ovs import constants, privileged, wiring
from vif_plug_ovs.ovsdb.backend import NativeRows
from vif_plug_ovs.wiring import names


class OvsPlugin(PluginBase):
    """Attaches VIFs to Open vSwitch."""

    NIC_NAME_LEN = names.NIC_NAME_LENGTH

    CONFIG_OPTS: ClassVar[tuple[cfg.Opt, ...]] = (
        cfg.IntOpt(
            "network_device_mtu",
            default=1500,
            help="MTU in bytes of the network devices of a VIF whose network names none.",
            deprecated_group="DEFAULT",
        ),
        cfg.IntOpt(
            "ovs_vsctl_timeout",
            default=120,
            help="Seconds that plugging or unplugging one VIF may take, all waits for "
            "ovsdb-server and ovs-vswitchd included. 0 waits for ever.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "ovsdb_connection",
            default="tcp:127.0.0.1:6640",
            help="Where ovsdb-server listens for OVSDB clients: tcp:<address>:<port>, with an "
            "IPv6 address in brackets, or unix:<path of its socket>.",
        ),
    )

    def describe(self) -> HostPluginInfo:
        """Tell which VIFs can be plugged, all with a port profile of Open vSwitch."""
        return HostPluginInfo(
            plugin_name=constants.PLUGIN_NAME,
            vif_info=[supported(kind, VIFPortProfileOpenVSwitch) for kind in wiring.KINDS],
        )

    def plug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Make the VIF's wiring so; see :func:`vif_plug_ovs.wiring.plugged`."""
        settings = wiring.Settings(self.config.network_device_mtu)
        wanted = wiring.plugged(vif, instance_info, settings)
        self._engine().apply(wanted, self._deadline())

    def unplug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Take the VIF's wiring away; see :func:`vif_plug_ovs.wiring.unplugged`."""
        wanted = wiring.unplugged(vif, instance_info)
        self._engine().remove(wanted, self._deadline())

    @staticmethod
    def gen_port_name(prefix: str, vif_id: str, max_length: int = NIC_NAME_LEN) -> str:
        """The name of a device or port: a prefix and as much of a VIF's id as fits."""
        return names.prefixed(prefix, vif_id, max_length)

    @staticmethod
    def get_veth_pair_names(vif: VIFBase) -> tuple[str, str]:
        """The names of a hybrid plug's veth pair: in the Linux bridge, in the OVS bridge."""
        return names.veth_pair(vif.id)

    def _engine(self) -> Engine:
        links = KernelLinks(privileged.change_links)
        return Engine(links, NativeRows(self.config.ovsdb_connection))

    def _deadline(self) -> Deadline:
        return Deadline(self.config.ovs_vsctl_timeout)
