# SPDX-License-Identifier: Apache-2.0
"""The start of the program os-vif, which comes before the library is imported.

A program that answers in a third of a second cannot import what it never uses. The versioned
objects import oslo.messaging for one class, the parent of a serializer; oslo.privsep and
python-ovs import eventlet if it is installed. Both take longer than all the rest, and the command
line uses neither. Two modules that are hardly ever used compile many regular expressions, which
takes a quarter of the rest: they are imported when something of them is used.
"""

import contextlib
import gc
import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

#: What imports them, and has to be imported before plugins of others are.
_IMPORTERS = ("oslo_versionedobjects.base", "oslo_privsep.daemon", "ovs.poller")


class _NoOpSerializer:
    """What is used of oslo.messaging."""

    def serialize_entity(self, context: Any, entity: Any) -> Any:
        return entity

    def deserialize_entity(self, context: Any, entity: Any) -> Any:
        return entity

    def serialize_context(self, context: Any) -> Any:
        return context

    def deserialize_context(self, context: Any) -> Any:
        return context


def _late(name: str) -> ModuleType:
    """Return a module that imports the real one when something of it is used."""

    def attribute_of_the_real(attribute: str) -> Any:
        _remove(name)
        return getattr(importlib.import_module(name), attribute)

    stand_in = ModuleType(name)
    stand_in.__getattr__ = attribute_of_the_real  # type: ignore[method-assign]
    return stand_in


_messaging = ModuleType("oslo_messaging")
_messaging.NoOpSerializer = _NoOpSerializer  # type: ignore[attr-defined]
#: None: not installed.
_STAND_INS: dict[str, ModuleType | None] = {
    "oslo_messaging": _messaging,
    "eventlet": None,
    "oslo_utils.strutils": _late("oslo_utils.strutils"),
    "rfc3986": _late("rfc3986"),
}


def use_stand_ins() -> None:
    """Have stand-ins imported in place of what is not used."""
    for name, stand_in in _STAND_INS.items():
        sys.modules.setdefault(name, stand_in)  # type: ignore[arg-type]


def end_stand_ins() -> None:
    """Have the real modules imported from now on, as plugins of others may want to."""
    if any(name in sys.modules and sys.modules[name] is one for name, one in _STAND_INS.items()):
        try:
            _import_importers()
        except ImportError:  # older versions of oslo.privsep need eventlet
            _remove("eventlet")
            with contextlib.suppress(ImportError):
                _import_importers()
    for name in _STAND_INS:
        _remove(name)


def _import_importers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # eventlet's, that it is deprecated
        for name in _IMPORTERS:
            importlib.import_module(name)


def _remove(name: str) -> None:
    if name in sys.modules and sys.modules[name] is _STAND_INS[name]:
        del sys.modules[name]


def main() -> int:
    """Run the program with the arguments of this process; return its exit status."""
    use_stand_ins()
    gc.disable()  # until all is imported: modules are no garbage
    try:
        from os_vif.cli.app import main as run
    except ModuleNotFoundError as err:
        needed = (err.name or "").partition(".")[0]
        if needed not in ("cliff", "rich", "graphviz"):
            raise
        print(f"os-vif needs {needed}: pip install 'os-vif[cli]'", file=sys.stderr)
        return 3
    return run(sys.argv[1:])
