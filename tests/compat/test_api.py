# SPDX-License-Identifier: Apache-2.0
"""The modules that code elsewhere imports: names, signatures, values."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat import facts

FACTS = facts("api")
#: What plugins outside of this repository are made of.
FACADES = [name for name in FACTS if name.startswith("vif_plug_ovs.")]
PRIVILEGED = "privileged "


def things() -> Iterator[Any]:
    for module, members in FACTS.items():
        for name, fact in members.items():
            yield pytest.param(module, name, fact, id=f"{module}.{name}")


def signature(function: Any) -> str:
    """As in the facts: names, order and defaults, without types."""
    # A class method is asked for itself, to see its first parameter too.
    found = inspect.signature(getattr(function, "__func__", function))
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    return str(inspect.Signature(bare))


def described(thing: Any, fact: Any) -> Any:
    """Say of a thing what the facts say of its namesake."""
    if isinstance(fact, str) and callable(thing):
        prefix = PRIVILEGED if fact.startswith(PRIVILEGED) else ""
        return prefix + signature(thing)
    if not isinstance(fact, dict):
        return thing
    if "exception" in fact:
        return fact  # tests/unit/test_exception.py has them
    return {
        "class": [name for name in fact["class"] if name in _bases(thing)],
        "methods": {name: signature(getattr(thing, name)) for name in fact["methods"]},
        "attributes": {name: getattr(thing, name) for name in fact["attributes"]},
    }


def _bases(cls: type) -> set[str]:
    return {base.__name__ for base in cls.__mro__[1:]}


@pytest.mark.parametrize(("module", "name", "fact"), list(things()))
def test_it_is_as_it_was(module: str, name: str, fact: Any) -> None:
    thing = getattr(importlib.import_module(module), name)
    assert described(thing, fact) == fact


@pytest.mark.parametrize("module", FACADES)
def test_it_can_be_imported_first(module: str) -> None:
    """No cycle of imports is met by a caller that begins with this module."""
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
