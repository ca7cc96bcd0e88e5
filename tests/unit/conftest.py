# SPDX-License-Identifier: Apache-2.0
"""Plugins that are installed for one test."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stevedore import _cache
from stevedore.extension import ExtensionManager

import os_vif

#: A plugin that remembers what was asked of it; ``{name}`` is the name of its entry point.
GOOD = """
import time

from oslo_config import cfg

from os_vif import plugin
from os_vif.objects.host_info import HostPluginInfo
from os_vif.objects.vif import VIFOpenVSwitch, VIFPortProfileOpenVSwitch


class Plugin(plugin.PluginBase):
    CONFIG_OPTS = (cfg.IntOpt("answer", default=42),)
    made = []
    calls = []

    def __init__(self, config):
        super().__init__(config)
        time.sleep(0.01)
        self.made.append(self)

    def describe(self):
        return HostPluginInfo(
            plugin_name="{name}",
            vif_info=[plugin.supported(VIFOpenVSwitch, VIFPortProfileOpenVSwitch)],
        )

    def plug(self, vif, instance_info):
        self.calls.append(("plug", vif, instance_info))

    def unplug(self, vif, instance_info):
        self.calls.append(("unplug", vif, instance_info))
"""


class Installed:
    """Directories on ``sys.path`` with distributions that offer plugins.

    :param first: the directory that is searched first.
    :param path: the other one.
    """

    def __init__(self, first: Path, path: Path) -> None:
        self._first, self._path = first, path
        self._modules: list[str] = []

    def add(
        self,
        name: str,
        source: str = GOOD,
        module: str = "",
        attribute: str = "Plugin",
        *,
        first: bool = False,
    ) -> str:
        """Install a plugin as pip would; return the name of its module.

        :param name: of its entry point.
        :param source: of its module, with ``{name}`` in it replaced.
        :param first: whether it is found before all that are added without.
        """
        module = module or f"fake_{name}"
        self._modules.append(module)
        path = self._first if first else self._path
        (path / f"{module}.py").write_text(source.replace("{name}", name))
        metadata = path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n"
        )
        (metadata / "entry_points.txt").write_text(f"[os_vif]\n{name} = {module}:{attribute}\n")
        return module

    def initialize(self, *names: str, **sources: str) -> None:
        """Install good plugins, and some with sources of their own; initialise the library."""
        for name, source in (dict.fromkeys(names, GOOD) | sources).items():
            self.add(name, source)
        os_vif.initialize()

    def plugin(self, name: str) -> Any:
        """The class of a plugin that was added by :meth:`add` and has been loaded."""
        module: ModuleType = sys.modules[f"fake_{name}"]
        return module.Plugin

    def forget(self) -> None:
        for module in self._modules:
            sys.modules.pop(module, None)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """Install plugins for one test, in a process that has not initialised the library.

    stevedore caches entry points for the life of a process and beyond; a test gets its own cache.
    """
    first, packages = tmp_path / "first", tmp_path / "site-packages"
    for path in (packages, first):
        path.mkdir()
        monkeypatch.syspath_prepend(path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(
        _cache, "get_group_all", _cache.Cache(str(tmp_path / "cache")).get_group_all
    )
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    monkeypatch.setattr(os_vif, "_plugins", None)
    plugins = Installed(first, packages)
    yield plugins
    plugins.forget()
