# SPDX-License-Identifier: Apache-2.0
"""The plugins that are installed under the entry-point group ``os_vif``."""

from dataclasses import dataclass, field
from importlib import metadata

from oslo_log import log as logging
from stevedore import named

from os_vif import exception
from os_vif.plugin import PluginBase

LOG = logging.getLogger(__name__)

NAMESPACE = "os_vif"
#: Where the plugins of this distribution are; stevedore's cache does not tell the distribution.
OWN_PACKAGES = frozenset({"vif_plug_linux_bridge", "vif_plug_noop", "vif_plug_ovs"})


#: Name of a plugin, where it is from, and why it cannot be used.
Failure = tuple[str, str, Exception]


@dataclass(frozen=True)
class Registry:
    """Loaded plugins by name, and why the others could not be loaded."""

    plugins: dict[str, PluginBase] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)

    def get(self, name: str) -> PluginBase:
        """Return the plugin of that name.

        :raises PluginLoadFailed: it is installed but could not be loaded.
        :raises NoMatchingPlugin: no plugin of that name is installed.
        """
        if name in self.plugins:
            return self.plugins[name]
        if name in self.failures:
            cause = self.failures[name]
            raise exception.PluginLoadFailed(
                plugin_name=name, cause=f"{type(cause).__name__}: {cause}"
            ) from cause
        raise exception.NoMatchingPlugin(plugin_name=name)


def load() -> Registry:
    """Load every installed plugin; one that fails is logged and remembered with its cause."""
    registry = Registry()
    classes, failures = plugin_classes()
    for name, (origin, cls) in classes.items():
        try:
            registry.plugins[name] = cls.load(name)
        except Exception as err:
            failures.append((name, origin, err))
    for name, origin, cause in failures:
        LOG.error(
            "os-vif plugin %s (%s) could not be loaded: %s", name, origin, cause, exc_info=cause
        )
        registry.failures[name] = cause
    loaded = [f"{name} ({classes[name][0]})" for name in sorted(registry.plugins)]
    LOG.info("os-vif plugins that were loaded: %s", ", ".join(loaded) or "none")
    return registry


def plugin_classes() -> tuple[dict[str, tuple[str, type[PluginBase]]], list[Failure]]:
    """Import the installed plugin classes: name -> (where from, class), none of them made.

    Of several plugins of one name os-vif's own is used, even if it cannot be imported: nothing
    that happens to be installed beside it may plug in its place. Among others the first that can
    be imported is used, in the order of ``sys.path``.

    :returns: those, and what could not be imported.
    """
    found: dict[str, tuple[str, type[PluginBase]]] = {}
    failures: list[Failure] = []
    used: dict[str, str] = {}
    for point in sorted(_entry_points(), key=_is_own, reverse=True):
        if point.name in used:
            LOG.warning(
                "Two os-vif plugins are called %s: %s is used, %s is ignored",
                point.name,
                used[point.name],
                point.value,
            )
            continue
        try:
            found[point.name] = (point.value, _plugin_class(point))
        except Exception as cause:
            failures.append((point.name, point.value, cause))
        if point.name in found or _is_own(point):
            used[point.name] = point.value
    return found, failures


def _is_own(point: metadata.EntryPoint) -> bool:
    return point.module.partition(".")[0] in OWN_PACKAGES


def _entry_points() -> list[metadata.EntryPoint]:
    # stevedore only finds them: when it loads them, an AssertionError of one ends all others.
    manager: named.NamedExtensionManager[PluginBase] = named.NamedExtensionManager(NAMESPACE, [])
    return list(manager.list_entry_points())


def _plugin_class(point: metadata.EntryPoint) -> type[PluginBase]:
    cls = point.load()
    if not (isinstance(cls, type) and issubclass(cls, PluginBase)):
        raise TypeError(f"{cls!r} is not a subclass of os_vif.plugin.PluginBase")
    return cls
