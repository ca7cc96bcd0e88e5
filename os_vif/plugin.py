# SPDX-License-Identifier: Apache-2.0
"""What a plugin is."""

import abc
from collections.abc import Collection, Sequence
from typing import ClassVar, Self

from oslo_config import cfg

from os_vif.answers import Condition, Decision, Finding, PluggedVif, Until
from os_vif.batch import Batch, Pair, Result
from os_vif.drawing import Drawing
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

    # What a plugin may offer besides. One that does not is answered "not supported".

    def check(self, vif: VIFBase, instance_info: InstanceInfo) -> Sequence[Finding]:
        """Return what is not as plug has built it; change nothing."""
        raise NotImplementedError

    def wait(
        self,
        vif: VIFBase,
        instance_info: InstanceInfo,
        *,
        until: Until,
        timeout: float,
        settle: float,
    ) -> None:
        """Wait until a VIF is attached, or wired; see :func:`os_vif.wait`.

        :raises NotReady: it is not by then.
        """
        raise NotImplementedError

    def list_vifs(self) -> Sequence[PluggedVif]:
        """Return everything that this plugin has made on the host."""
        raise NotImplementedError

    def drawings(self) -> Sequence[Drawing]:
        """Return what each VIF that this plugin has made looks like on the host."""
        raise NotImplementedError

    def collect(
        self, valid: Collection[VIFBase | str], *, dry_run: bool, grace: float
    ) -> Sequence[Decision]:
        """Remove what this plugin has made for other VIFs than these; see :func:`os_vif.gc`."""
        raise NotImplementedError

    def status(self) -> Sequence[Condition]:
        """Return whether this plugin can plug on this host now, and what stands in its way."""
        raise NotImplementedError

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
