# SPDX-License-Identifier: Apache-2.0
"""Name what the modules have, as anybody who imports them sees it.

The same program runs on os-vif 5 and on this library; ``test_names.py`` compares. To make
``facts/names.json`` anew::

    python -m tests.rig.peer
    .tox/peer/bin/python tests/compat/names.py > tests/compat/facts/names.json
"""

import __future__

import importlib
import json
import logging
import pkgutil
import types
from collections.abc import Iterable, Iterator
from typing import Any

PACKAGES = ("os_vif", "vif_plug_noop", "vif_plug_ovs")


def names() -> dict[str, list[str]]:
    """Return the public names of each module, those of methods with their class."""
    return {module: sorted(_names_in(module)) for module in _modules(PACKAGES)}


def _modules(found: Iterable[str]) -> Iterator[str]:
    for name in found:
        try:
            module = importlib.import_module(name)
        except Exception:  # os-vif 5 has a module that nobody may import
            continue
        yield name
        inner = pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}.")
        yield from _modules(one.name for one in inner if one.name.split(".")[-1] != "tests")


def _names_in(module: str) -> Iterator[str]:
    for name, value in vars(importlib.import_module(module)).items():
        if _is_public(name) and _is_of(module, value):
            yield name
            if isinstance(value, type):
                yield from (f"{name}.{member}" for member in vars(value) if _is_public(member))


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in {"LOG", "TYPE_CHECKING"}


def _is_of(module: str, value: Any) -> bool:
    if isinstance(value, types.ModuleType | logging.LoggerAdapter | __future__._Feature):
        return False
    if getattr(value, "__module__", None) == "typing":
        return False
    if isinstance(value, type | types.FunctionType):
        return value.__module__ == module
    return True


if __name__ == "__main__":
    print(json.dumps(names(), indent=1))
