# SPDX-License-Identifier: Apache-2.0
"""A plugin that does nothing, for VIFs that need no host action."""

from os_vif import plugin
from os_vif.objects.host_info import HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFVHostUser

PLUGIN_NAME = "noop"


class NoOpPlugin(plugin.PluginBase):
    """Accepts every VIF and does nothing.

    It describes itself as the plugin for vhost-user VIFs, whose socket the hypervisor and the
    virtual switch make between them.
    """

    def describe(self) -> HostPluginInfo:
        return HostPluginInfo(plugin_name=PLUGIN_NAME, vif_info=[plugin.supported(VIFVHostUser)])

    def plug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Do nothing."""

    def unplug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Do nothing."""
