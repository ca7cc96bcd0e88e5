# SPDX-License-Identifier: Apache-2.0
"""The start of the program os-vif, which comes before the library is imported.

A program that answers in a third of a second cannot import what it never uses. The versioned
objects import oslo.messaging for one class, the parent of a serializer; oslo.privsep and
python-ovs import eventlet if it is installed. Both take longer than all the rest, and the command
line uses neither. Two modules that are hardly ever used compile many regular expressions, which
takes a quarter of the rest: they are imported when something of them is used.
"""

import gc
import importlib
import sys
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


def _module(name: str, **contents: Any) -> ModuleType:
    """Return a module that has these contents."""
    module = ModuleType(name)
    vars(module).update(contents)
    return module


def _late(name: str) -> ModuleType:
    """Return a module that imports the real one when something of it is used."""

    def attribute_of_the_real(attribute: str) -> Any:
        _remove(name)
        return getattr(importlib.import_module(name), attribute)

    return _module(name, __getattr__=attribute_of_the_real)


_patcher = _module("patcher", is_monkey_patched=lambda module: False)
_STAND_INS = {
    "oslo_messaging": _module("oslo_messaging", NoOpSerializer=_NoOpSerializer),
    "eventlet": _module("eventlet", patcher=_patcher),
    "oslo_utils.strutils": _late("oslo_utils.strutils"),
    "rfc3986": _late("rfc3986"),
}


def use_stand_ins() -> None:
    """Have stand-ins imported in place of what is not used."""
    for name, stand_in in _STAND_INS.items():
        sys.modules.setdefault(name, stand_in)


def end_stand_ins() -> None:
    """Have the real modules imported from now on, as plugins of others may want to."""
    for name in _IMPORTERS:
        importlib.import_module(name)
    for name in _STAND_INS:
        _remove(name)


def _remove(name: str) -> None:
    if sys.modules.get(name) is _STAND_INS[name]:
        del sys.modules[name]


def main() -> int:
    """Run the program with the arguments of this process; return its exit status."""
    use_stand_ins()
    gc.disable()  # until all is imported: modules are no garbage
    try:
        from os_vif.cli.app import main as run
    except ModuleNotFoundError as err:
        if not (err.name or "").startswith("cliff"):
            raise
        print("os-vif needs cliff: pip install 'os-vif[cli]'", file=sys.stderr)
        return 3
    return run(sys.argv[1:])
