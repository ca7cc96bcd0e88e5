# SPDX-License-Identifier: Apache-2.0
"""What a plugin is."""

import abc
from collections.abc import Sequence
from typing import ClassVar, Self

from oslo_config import cfg

from os_vif.batch import Batch, Pair, Result
from os_vif.objects.host_info import HostPluginInfo, HostPortProfileInfo, HostVIFInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFPortProfileBase

__all__ = ["Pair", "PluginBase", "Result", "option_group", "supported"]


def option_group(plugin_name: str) -> str:
    """Return the name of the configuration group of a plugin."""
    return f"os_vif_{plugin_name}"


def supported(vif: type[VIFBase], *profiles: type[VIFPortProfileBase]) -> HostVIFInfo:
    """Return that a plugin takes a VIF class, with these port profiles, in every version so far.

    Older versions of our classes lack fields but change no meaning, so all of them are taken.
    """
    return HostVIFInfo(
        vif_object_name=vif.obj_name(),
        min_version="1.0",
        max_version=vif.VERSION,
        supported_port_profiles=[
            HostPortProfileInfo(
                profile_object_name=profile.obj_name(),
                min_version="1.0",
                max_version=profile.VERSION,
            )
            for profile in profiles
        ],
    )


class PluginBase(abc.ABC):
    """A way to attach VIFs to a host, found by its entry point in the group ``os_vif``.

    The name of the entry point is what ``vif.plugin`` must be. Of two plugins of one name only one
    is used, and a warning names both: os-vif's own plugins (``linux_bridge``, ``noop``, ``ovs``)
    always win; of others the one that is found first on ``sys.path`` and can be imported.
    """

    #: The plugin's options, registered under ``[os_vif_<name of its entry point>]``.
    CONFIG_OPTS: ClassVar[Sequence[cfg.Opt]] = ()

    def __init__(self, config: cfg.ConfigOpts.GroupAttr) -> None:
        """
        :param config: the plugin's option group.
        """
        self.config = config

    @abc.abstractmethod
    def describe(self) -> HostPluginInfo:
        """Return which VIF and port profile classes this plugin plugs, in which versions."""

    @abc.abstractmethod
    def plug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Attach a VIF. Whatever this raises reaches the caller inside a PlugException."""

    @abc.abstractmethod
    def unplug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Detach a VIF. Whatever this raises reaches the caller inside an UnplugException."""

    def plug_all(self, pairs: Sequence[Pair], /) -> list[Result]:
        """Plug several VIFs; a plugin that can do better than one after the other overrides it.

        :returns: one result for each pair, in order.
        """
        batch = Batch(pairs)
        batch.each(self.plug)
        return batch.results()

    def unplug_all(self, pairs: Sequence[Pair], /) -> list[Result]:
        """Unplug several VIFs; see :meth:`plug_all`."""
        batch = Batch(pairs)
        batch.each(self.unplug)
        return batch.results()

    @classmethod
    def load(cls, plugin_name: str) -> Self:
        """Register the plugin's options and make an instance with them.

        A plugin without options registers no group, and is given an empty one.

        :param plugin_name: the name of its entry point.
        """
        group = option_group(plugin_name)
        if not cls.CONFIG_OPTS:
            return cls(cfg.ConfigOpts.GroupAttr(cfg.CONF, cfg.OptGroup(group)))
        cfg.CONF.register_opts(cls.CONFIG_OPTS, group=group)
        return cls(getattr(cfg.CONF, group))
