# SPDX-License-Identifier: Apache-2.0
"""Attach the network interfaces of virtual machines to a host.

Four verbs: :func:`initialize` once per process, then :func:`plug` and :func:`unplug` for each
VIF, and :func:`host_info` to learn what this host can plug. All may be called from several
threads. Importing this package does nothing else.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from oslo_log import log as logging

from os_vif import exception, objects, registry
from os_vif.objects.host_info import HostInfo, HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase
from os_vif.plugin import PluginBase

__all__ = ["host_info", "initialize", "plug", "unplug"]

LOG = logging.getLogger(__name__)

_initializing = threading.Lock()
_plugins: registry.Registry | None = None


def initialize(reset: bool = False) -> None:
    """Load the installed plugins and register the versioned objects.

    A second call does nothing. A plugin that cannot be loaded is logged with its cause and harms
    no other.

    :param reset: load all plugins anew, with the configuration of now.
    """
    global _plugins
    with _initializing:
        if _plugins is None or reset:
            objects.register_all()
            _plugins = registry.load()


def plug(vif: VIFBase, instance_info: InstanceInfo) -> None:
    """Attach a VIF to the host. Plugging a plugged VIF again changes nothing.

    When it returns, the work is done and was seen to be done; when it raises, the host is as it
    was before, unless the error says that the outcome is unknown.

    :param vif: what to attach; ``vif.plugin`` names the plugin that does it.
    :param instance_info: the virtual machine that the VIF belongs to.
    :raises LibraryNotInitialized: :func:`initialize` was not called.
    :raises InvalidValue: it is no VIF, or does not name its plugin.
    :raises NoMatchingPlugin: there is no such plugin, or (as its subclass ``PluginLoadFailed``) it
        is installed but could not be loaded.
    :raises PlugException: everything else; the cause is its ``__cause__``.
    """
    plugin = _plugin_for(vif)
    with _errors_as(exception.PlugException, vif):
        plugin.plug(vif, instance_info)


def unplug(vif: VIFBase, instance_info: InstanceInfo) -> None:
    """Detach a VIF from the host. Unplugging what is not there changes nothing.

    :param vif: what to detach; of its fields only those that names are made of need be set.
    :param instance_info: the virtual machine that the VIF belongs to.
    :raises LibraryNotInitialized: :func:`initialize` was not called.
    :raises InvalidValue, NoMatchingPlugin: as in :func:`plug`.
    :raises UnplugException: everything else; the cause is its ``__cause__``.
    """
    plugin = _plugin_for(vif)
    with _errors_as(exception.UnplugException, vif):
        plugin.unplug(vif, instance_info)


def host_info(permitted_vif_type_names: Collection[str] | None = None) -> HostInfo:
    """Tell which VIF and port profile classes this host can plug, in which versions.

    A plugin that cannot say so is logged and left out.

    :param permitted_vif_type_names: names of the VIF classes to tell of; None for all.
    :raises LibraryNotInitialized: :func:`initialize` was not called.
    """
    described = []
    for name, plugin in sorted(_loaded().plugins.items()):
        try:
            description = plugin.describe()
            if not isinstance(description, HostPluginInfo):
                raise TypeError(f"{description!r} is no HostPluginInfo")
            described.append(description)
        except Exception:
            LOG.exception("os-vif plugin %s cannot describe itself and is left out", name)
    info = HostInfo(plugin_info=described)
    info.filter_vif_types(permitted_vif_type_names)
    return info


def _loaded() -> registry.Registry:
    if _plugins is None:
        raise exception.LibraryNotInitialized()
    return _plugins


def _plugin_for(vif: VIFBase) -> PluginBase:
    plugins = _loaded()
    if not isinstance(vif, VIFBase):
        raise exception.InvalidValue(field="vif", value=vif, reason="it is not a VIF")
    if "plugin" not in vif:
        raise exception.InvalidValue(field="vif.plugin", value=None, reason="it is not set")
    return plugins.get(vif.plugin)


@contextmanager
def _errors_as(
    wrapper: type[exception.PlugException | exception.UnplugException], vif: VIFBase
) -> Iterator[None]:
    """Only subclasses of ExceptionBase leave a verb, and they name the VIF."""
    try:
        yield
    except Exception as err:
        failure = wrapper(vif=vif, err=err)
        LOG.error("%s", failure, exc_info=True)
        raise failure from err
