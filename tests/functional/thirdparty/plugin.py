# SPDX-License-Identifier: Apache-2.0
"""A plugin as an SDN vendor would write it, on the public helpers of os-vif."""

from typing import Any

from oslo_config import cfg

from os_vif import objects, plugin
from os_vif.internal.ip.api import ip as ip_lib
from vif_plug_ovs import constants, linux_net, ovs
from vif_plug_ovs.ovsdb import ovsdb_lib

GROUP_NAME = "thirdparty"


class Hybrid(plugin.PluginBase):
    """A Linux bridge in front of the OVS bridge, tagged."""

    CONFIG_OPTS = (
        *ovs.OvsPlugin.CONFIG_OPTS,
        cfg.IntOpt("vlan", default=42, help="VLAN of every port."),
    )

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.ovsdb = ovsdb_lib.BaseOVS(self.config)

    def describe(self) -> Any:
        return objects.host_info.HostPluginInfo(plugin_name=GROUP_NAME, vif_info=[])

    @staticmethod
    def ends(vif: Any) -> tuple[str, str]:
        return ovs.OvsPlugin.get_veth_pair_names(vif)

    def plug(self, vif: Any, instance_info: Any) -> None:
        inside, outside = self.ends(vif)
        mtu = vif.network.mtu or self.config.network_device_mtu
        linux_net.ensure_bridge(vif.bridge_name)
        if not ip_lib.exists(outside):
            linux_net.create_veth_pair(inside, outside, mtu)
        linux_net.add_bridge_port(vif.bridge_name, inside)
        linux_net.set_device_mtu(vif.bridge_name, mtu)
        self.ovsdb.ensure_ovs_bridge(vif.network.bridge, constants.OVS_DATAPATH_NETDEV)
        self.ovsdb.create_ovs_vif_port(
            vif.network.bridge,
            outside,
            vif.id,
            vif.address,
            instance_info.uuid,
            mtu,
            tag=self.config.vlan,
        )

    def unplug(self, vif: Any, instance_info: Any) -> None:
        _, outside = self.ends(vif)
        self.ovsdb.delete_ovs_vif_port(vif.network.bridge, outside, delete_netdev=False)
        self.unplug_devices(vif)

    def unplug_devices(self, vif: Any) -> None:
        inside, outside = self.ends(vif)
        linux_net.delete_bridge(vif.bridge_name, inside)
        linux_net.delete_net_dev(outside)
