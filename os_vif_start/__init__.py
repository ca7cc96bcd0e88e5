# SPDX-License-Identifier: Apache-2.0
"""The start of the program os-vif, which comes before the library is imported.

A program that answers in a third of a second cannot import what it never uses. The versioned
objects import oslo.messaging for one class, the parent of a serializer, and oslo.privsep imports
eventlet if it is installed. Both take longer than all the rest; the command line uses neither.
"""

import gc
import sys
from types import ModuleType
from typing import Any


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


def _replace_what_is_not_used() -> None:
    messaging = ModuleType("oslo_messaging")
    messaging.NoOpSerializer = _NoOpSerializer  # type: ignore[attr-defined]
    sys.modules.setdefault("oslo_messaging", messaging)
    sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]


def main() -> int:
    """Run the program with the arguments of this process; return its exit status."""
    _replace_what_is_not_used()
    gc.disable()  # modules are no garbage, and the process ends soon
    try:
        from os_vif.cli.app import main as run
    except ModuleNotFoundError as err:
        if err.name not in ("cliff", "rich", "graphviz"):
            raise
        print(f"os-vif needs {err.name}: pip install 'os-vif[cli]'", file=sys.stderr)
        return 3
    return run(sys.argv[1:])
