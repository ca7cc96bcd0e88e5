# SPDX-License-Identifier: Apache-2.0
"""The plugins that are installed under the entry-point group ``os_vif``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata

from oslo_log import log as logging
from stevedore import named

from os_vif import exception
from os_vif.plugin import PluginBase

LOG = logging.getLogger(__name__)

NAMESPACE = "os_vif"


@dataclass(frozen=True)
class Registry:
    """Loaded plugins by name, and why the others could not be loaded."""

    plugins: dict[str, PluginBase] = field(default_factory=dict)
    failures: dict[str, BaseException] = field(default_factory=dict)

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

    def failed(name: str, origin: str, cause: BaseException) -> None:
        LOG.error(
            "os-vif plugin %s (%s) could not be loaded: %s", name, origin, cause, exc_info=cause
        )
        registry.failures[name] = cause

    for name, (origin, cls) in plugin_classes(failed).items():
        try:
            registry.plugins[name] = cls.load(name)
        except Exception as cause:
            failed(name, origin, cause)
    return registry


def plugin_classes(
    failed: Callable[[str, str, BaseException], None],
) -> dict[str, tuple[str, type[PluginBase]]]:
    """Import the installed plugin classes: name -> (where from, class), none of them made.

    :param failed: called with name, origin and cause of each that cannot be imported.
    """
    found: dict[str, tuple[str, type[PluginBase]]] = {}
    for point in _entry_points():
        if point.name in found:
            LOG.warning(
                "Two os-vif plugins are called %s: %s is used, %s is ignored",
                point.name,
                found[point.name][0],
                point.value,
            )
            continue
        try:
            found[point.name] = (point.value, _plugin_class(point))
        except Exception as cause:
            failed(point.name, point.value, cause)
    return found


def _entry_points() -> list[metadata.EntryPoint]:
    # stevedore only finds them: when it loads them, an AssertionError of one ends all others.
    manager: named.NamedExtensionManager[PluginBase] = named.NamedExtensionManager(NAMESPACE, [])
    return list(manager.list_entry_points())


def _plugin_class(point: metadata.EntryPoint) -> type[PluginBase]:
    cls = point.load()
    if not (isinstance(cls, type) and issubclass(cls, PluginBase)):
        raise TypeError(f"{cls!r} is not a subclass of os_vif.plugin.PluginBase")
    return cls
