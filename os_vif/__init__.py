# SPDX-License-Identifier: Apache-2.0
"""Attach the network interfaces of virtual machines to a host.

:func:`initialize` once per process, then :func:`plug` and :func:`unplug` for each VIF, or
:func:`plug_all` and :func:`unplug_all` for many; :func:`host_info` tells what this host can plug.
All may be called from several threads. Importing this package does nothing else.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from oslo_log import log as logging

from os_vif import exception, objects, observers, registry
from os_vif.answers import Condition, Decision, Finding, Level, PluggedVif, Until
from os_vif.batch import Batch, Pair, Result
from os_vif.drawing import Drawing
from os_vif.objects.base import get
from os_vif.objects.host_info import HostInfo, HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase
from os_vif.observers import observe
from os_vif.plugin import PluginBase

__all__ = [
    "Result",
    "check",
    "drawings",
    "gc",
    "host_info",
    "initialize",
    "list_vifs",
    "observe",
    "plug",
    "plug_all",
    "status",
    "unplug",
    "unplug_all",
    "wait",
]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

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
    with observers.verb_for("plug", vif):
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
    with observers.verb_for("unplug", vif):
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


def check(vif: VIFBase, instance_info: InstanceInfo) -> tuple[Finding, ...]:
    """Return what is not as plugging a VIF has built it; nothing is changed.

    :raises NotSupported: the VIF's plugin cannot tell.
    :raises QueryFailed: everything else; the cause is its ``__cause__``.
    """
    with observers.verb_for("check", vif):
        plugin = _plugin_for(vif)
        with _asked("check", vif.plugin):
            return _every(Finding, plugin.check(vif, instance_info))


def wait(
    vif: VIFBase,
    instance_info: InstanceInfo,
    until: str = "attached",
    timeout: float = 120,
    settle: float = 0,
) -> None:
    """Wait until a VIF is attached, or wired: until the network service has done its part, too.

    :param until: ``attached``: the switch has opened the interface; or ``wired``: as OVN says by
        ``ovn-installed``, for ml2/ovs by a VLAN other than the dead one, for others as attached.
    :param timeout: seconds.
    :param settle: seconds for which it must stay so: OVN says so up to a second before the last
        flow is there.
    :raises InvalidValue: ``until``, ``timeout`` or ``settle`` is malformed.
    :raises NotSupported: the VIF's plugin cannot tell.
    :raises QueryFailed: it is not by then (the cause says what was seen last), or another error.
    """
    with observers.verb_for("wait", vif):
        plugin, wanted = _plugin_for(vif), _until(until)
        _seconds("timeout", timeout)
        _seconds("settle", settle)
        with _asked("wait", vif.plugin):
            plugin.wait(vif, instance_info, until=wanted, timeout=timeout, settle=settle)


def list_vifs(plugin: str | None = None) -> tuple[PluggedVif, ...]:
    """Return everything that os-vif has made on this host, VIF by VIF.

    Plugins that do not support it are left out.

    :param plugin: the name of the only plugin to ask; on a host without Open vSwitch, for
        instance, the plugin ``ovs`` cannot tell.
    :raises NoMatchingPlugin: there is no such plugin.
    :raises QueryFailed: a plugin cannot tell; the cause is its ``__cause__``.
    """
    return tuple(one for found in _answers("list_vifs", PluggedVif, plugin) for one in found)


def drawings(plugin: str | None = None) -> tuple[Drawing, ...]:
    """Return what each VIF looks like on this host that os-vif has made anything for.

    Plugins that do not support it are left out.

    :param plugin: see :func:`list_vifs`.
    :raises NoMatchingPlugin: there is no such plugin.
    :raises QueryFailed: a plugin cannot tell; the cause is its ``__cause__``.
    """
    return tuple(one for found in _answers("drawings", Drawing, plugin) for one in found)


def gc(
    valid: Iterable[VIFBase | str],
    dry_run: bool = True,
    grace: float = 300,
    allow_empty: bool = False,
    plugin: str | None = None,
) -> tuple[Decision, ...]:
    """Remove what os-vif has made on this host for VIFs that are not among the valid ones.

    What a guest is seen to use stays, and so does what is new, and what nothing proves to be ours.

    :param valid: the VIFs of this host, or their ids, those that are about to be plugged too.
    :param dry_run: only say what would be removed.
    :param grace: seconds for which what is new stays.
    :param allow_empty: whether ``valid`` may be empty: a caller whose own list has failed must not
        lose a host.
    :param plugin: the name of the only plugin to ask.
    :returns: what was decided of each VIF, and why. That a plugin cannot tell what it has made, or
        could not be loaded, is a decision with an ``error`` and without a ``vif_id``.
    :raises InvalidValue: ``valid`` is empty, or holds what is neither a VIF nor an id.
    :raises NoMatchingPlugin: there is no such ``plugin``, or (as ``PluginLoadFailed``) it could
        not be loaded.
    """
    wanted = _valid(valid, allow_empty)
    _seconds("grace", grace)
    loaded = _loaded()
    if plugin is not None:
        loaded.get(plugin)
    names = sorted({*loaded.plugins, *loaded.failures}) if plugin is None else [plugin]
    return tuple(one for name in names for one in _collected(name, wanted, dry_run, grace))


def _collected(
    name: str, valid: list[VIFBase | str], dry_run: bool, grace: float
) -> list[Decision]:
    """Return what a plugin has decided; that it cannot is a decision without a VIF, so that what
    the others have done is known."""
    try:
        with observers.verb("gc", name) as running, _asked("gc", name):
            answer = _loaded().get(name).collect(valid, dry_run=dry_run, grace=grace)
            decided = list(_every(Decision, answer))
            if codes := [one.code for one in decided if one.error]:
                running.outcome = next(filter(None, codes), "refused")
            return decided
    except exception.NotSupported as err:
        LOG.debug("%s", err)
        return []
    except exception.QueryFailed as err:
        LOG.error("%s", err, exc_info=True)
        reason = "the plugin cannot tell what it has made"
        return [Decision("", name, False, reason, error=str(err), code=err.code)]


def status() -> tuple[Condition, ...]:
    """Return whether this host can plug now, plugin by plugin, and what stands in its way."""
    registry = _loaded()
    found = [
        Condition(name, "plugin", Level.ERROR, str(cause), "Mend it, and restart the service.")
        for name, cause in sorted(registry.failures.items())
    ]
    for name, plugin in sorted(registry.plugins.items()):
        try:
            with observers.verb("status", name), _asked("status", name):
                found += _every(Condition, plugin.status())
        except exception.NotSupported as err:
            found.append(Condition(name, "plugin", Level.OK, f"loaded; {err}"))
        except exception.QueryFailed as err:
            LOG.error("%s", err, exc_info=True)
            remedy = "The log of this program says where it failed."
            found.append(Condition(name, "plugin", Level.ERROR, str(err), remedy))
    return tuple(found)


#: How verbs are called whose method has another name in a plugin.
_SHOWN = {"list_vifs": "list", "collect": "gc"}


def _answers(verb: str, kind: type[T], only: str | None) -> Iterator[tuple[T, ...]]:
    """Ask each plugin that has a verb.

    :param kind: what it answers several of.
    :param only: the name of the only plugin to ask; None for all.
    :raises QueryFailed: one cannot answer: what the others say would pass for the whole.
    """
    if only is None and (failed := sorted(_loaded().failures)):
        _loaded().get(failed[0])  # raises why: it may have made something here
    every = _loaded().plugins if only is None else {only: _loaded().get(only)}
    for name, plugin in sorted(every.items()):
        try:
            with observers.verb(_SHOWN.get(verb, verb), name), _asked(verb, name):
                answer = _every(kind, getattr(plugin, verb)())
        except exception.NotSupported as err:
            if only is not None:
                raise
            LOG.debug("%s", err)
        else:
            yield answer


@contextmanager
def _asked(verb: str, plugin: str) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as err:
        raise exception.NotSupported(plugin=plugin, verb=verb) from err
    except (Exception, SystemExit) as err:
        raise exception.QueryFailed(verb=verb, plugin=plugin, err=err) from err


def _every(kind: type[T], answer: Iterable[T]) -> tuple[T, ...]:
    """Return a plugin's answer, which may be anything.

    :raises TypeError: it does not consist of what it has to.
    """
    every = tuple(answer)
    for one in every:
        if not isinstance(one, kind):
            raise TypeError(f"{one!r} is not a {kind.__name__}")
    return every


def _seconds(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        reason = "it must be a number of seconds, 0 or more"
        raise exception.InvalidValue(field=field, value=value, reason=reason)


def _until(wanted: str) -> Until:
    try:
        return Until(wanted)
    except ValueError:
        reason = f"it must be one of {', '.join(Until)}"
        raise exception.InvalidValue(field="until", value=wanted, reason=reason) from None


def _valid(given: Iterable[VIFBase | str], allow_empty: bool) -> list[VIFBase | str]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        reason = "it must be several VIFs or ids, in a list for instance"
        raise exception.InvalidValue(field="valid", value=given, reason=reason)
    valid = list(given)
    for one in valid:
        vif_id = get(one, "id") if isinstance(one, VIFBase) else one
        if not (isinstance(vif_id, str) and vif_id.strip()):
            reason = "it must be a VIF with an id, or an id"
            raise exception.InvalidValue(field="valid", value=one, reason=reason)
    if not (valid or allow_empty):
        reason = "no VIF is valid: say so by allow_empty, if it is meant"
        raise exception.InvalidValue(field="valid", value=valid, reason=reason)
    return valid


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
        only = pairs[0][0] if len(pairs) == 1 else None
        with observers.verb(verb.__name__, name, only, len(pairs)) as running:
            results = _results(getattr(_loaded().get(name), verb.__name__), pairs)
            for i, (vif, error) in zip(indexes, results, strict=True):
                if error is not None:
                    failure = outcomes[i] = _failure(wrapper, vif, error)
                    running.outcome = failure.code
                    LOG.error("%s", failure)
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
