# SPDX-License-Identifier: Apache-2.0
"""Attach the network interfaces of virtual machines to a host.

:func:`initialize` once per process, then :func:`plug` and :func:`unplug` for each VIF, or
:func:`plug_all` and :func:`unplug_all` for many; :func:`host_info` tells what this host can plug.
All may be called from several threads. Importing this package does nothing else.
"""

import threading
from collections.abc import Callable, Collection, Iterable

from oslo_log import log as logging

from os_vif import exception, objects, registry
from os_vif.batch import Batch, Pair, Result
from os_vif.objects.host_info import HostInfo, HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase
from os_vif.plugin import PluginBase

__all__ = ["Result", "host_info", "initialize", "plug", "plug_all", "unplug", "unplug_all"]

LOG = logging.getLogger(__name__)

_VerbError = exception.PlugException | exception.UnplugException

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
    :raises InvalidValue: it is not a VIF, or does not name its plugin.
    :raises NoMatchingPlugin: there is no such plugin, or (as its subclass ``PluginLoadFailed``) it
        is installed but could not be loaded.
    :raises PlugException: everything else; the cause is its ``__cause__``.
    """
    plugin = _plugin_for(vif)
    try:
        plugin.plug(vif, instance_info)
    except Exception as err:
        failure = _failure(exception.PlugException, vif, err)
        LOG.error("%s", failure, exc_info=err)
        raise failure from err


def unplug(vif: VIFBase, instance_info: InstanceInfo) -> None:
    """Detach a VIF from the host. Unplugging what is not there changes nothing.

    :param vif: what to detach; of its fields only those that names are made of need be set.
    :param instance_info: the virtual machine that the VIF belongs to.
    :raises LibraryNotInitialized: :func:`initialize` was not called.
    :raises InvalidValue, NoMatchingPlugin: as in :func:`plug`.
    :raises UnplugException: everything else; the cause is its ``__cause__``.
    """
    plugin = _plugin_for(vif)
    try:
        plugin.unplug(vif, instance_info)
    except Exception as err:
        failure = _failure(exception.UnplugException, vif, err)
        LOG.error("%s", failure, exc_info=err)
        raise failure from err


def plug_all(pairs: Iterable[tuple[VIFBase, InstanceInfo]], /) -> list[Result]:
    """Plug the VIFs of an instance, or of a host: like :func:`plug` for each, and much faster.

    A VIF that fails is rolled back alone, and the others are plugged without it. A plugin's
    deadline holds for each of the chunks into which it divides its VIFs.

    :param pairs: VIFs, each with the virtual machine that it belongs to.
    :returns: for each pair, in order, whether and why it failed.
    :raises LibraryNotInitialized: :func:`initialize` was not called.
    """
    return _all(Batch(pairs), PluginBase.plug_all, exception.PlugException)


def unplug_all(pairs: Iterable[tuple[VIFBase, InstanceInfo]], /) -> list[Result]:
    """Unplug the VIFs of an instance, or of a host: like :func:`unplug` for each, and faster.

    :param pairs: VIFs, each with the virtual machine that it belongs to.
    :returns: for each pair, in order, whether and why it failed.
    :raises LibraryNotInitialized: :func:`initialize` was not called.
    """
    return _all(Batch(pairs), PluginBase.unplug_all, exception.UnplugException)


def host_info(permitted_vif_type_names: Collection[str] | None = None) -> HostInfo:
    """Return which VIF and port profile classes this host can plug, in which versions.

    A plugin that cannot say so is logged and left out.

    :param permitted_vif_type_names: names of the VIF classes to tell of; None for all.
    :raises LibraryNotInitialized: :func:`initialize` was not called.
    """
    described = []
    for name, plugin in sorted(_loaded().plugins.items()):
        try:
            description = plugin.describe()
            if not isinstance(description, HostPluginInfo):
                raise TypeError(f"{description!r} is not a HostPluginInfo")
            described.append(description)
        except Exception:
            LOG.exception("os-vif plugin %s cannot describe itself and is left out", name)
    info = HostInfo(plugin_info=described)
    if permitted_vif_type_names is not None:
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


def _all(
    batch: Batch,
    verb: Callable[[PluginBase, list[Pair]], list[Result]],
    wrapper: type[_VerbError],
) -> list[Result]:
    """Give each plugin its VIFs.

    An error of a plugin is wrapped as in the verb for one VIF; that there is no plugin is not.
    """
    _loaded()
    of_plugin: dict[str, list[int]] = {}
    for i in batch.each(lambda vif, _: _plugin_for(vif)):
        of_plugin.setdefault(batch.pairs[i][0].plugin, []).append(i)
    outcomes: dict[int, Exception | None] = {}
    for name, indexes in of_plugin.items():
        pairs = [batch.pairs[i] for i in indexes]
        results = _results(getattr(_loaded().get(name), verb.__name__), pairs)
        for i, (vif, error) in zip(indexes, results, strict=True):
            if error is not None:
                outcomes[i] = _failure(wrapper, vif, error)
                LOG.error("%s", outcomes[i])
    return batch.results(outcomes)


def _results(verb: Callable[[list[Pair]], Iterable[Result]], pairs: list[Pair]) -> list[Result]:
    """Return a plugin's results, which may be anything.

    Those that it gave before it raised count: their VIFs may be plugged.
    """
    given: list[Result] = []
    try:
        for result in verb(pairs):
            given.append(result)
    except Exception as err:
        given += [Result(vif, err) for vif, _ in pairs[len(given) :]]
    try:
        for (vif, _), result in zip(pairs, given, strict=True):
            if not isinstance(result, Result) or result.vif is not vif:
                raise TypeError(f"{result!r} is not a Result of the VIF")
            if not isinstance(result.error, Exception | None):
                raise TypeError(f"{result.error!r} is neither an exception nor None")
    except Exception as err:
        return [Result(vif, err) for vif, _ in pairs]
    return given


def _failure(wrapper: type[_VerbError], vif: VIFBase, err: Exception) -> _VerbError:
    """Return what a verb raises: only subclasses of ExceptionBase, and they name the VIF."""
    failure = wrapper(vif=vif, err=err)
    failure.__cause__ = err
    return failure
