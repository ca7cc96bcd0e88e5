# SPDX-License-Identifier: Apache-2.0
"""The versioned objects that say what to plug, and where.

Importing this package loads nothing. After :func:`register_all` each sub-module and each class is
an attribute of it, as in ``os_vif.objects.vif.VIFBridge`` and ``os_vif.objects.VIFBridge``.
"""

import importlib
from typing import Any

_MODULES = (
    "fixed_ip",
    "host_info",
    "instance_info",
    "network",
    "route",
    "subnet",
    "vif",
)


def register_all() -> None:
    """Load all objects, so that each can be found in the registry of oslo.versionedobjects."""
    for name in _MODULES:
        importlib.import_module(f"{__name__}.{name}")


def __getattr__(name: str) -> Any:
    # The classes are set here by the registry: see base.VersionedObjectRegistry.
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r} (os_vif.objects.register_all() loads all)"
    )
