# SPDX-License-Identifier: Apache-2.0
"""The house rules of who knows whom.

Describing and planning are pure: such modules import nothing that acts. What is particular to an
element is in its own file. No module imports itself by way of others.
"""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from os_vif.wiring import elements

ROOT = Path(__file__).parents[2]
PACKAGES = ("os_vif/wiring", "vif_plug_ovs/shapes", "vif_plug_linux_bridge/shapes")

#: What touches a host, or is a way to it.
ACTS = {
    "asyncio",
    "builtins.open",
    "ctypes",
    "fcntl",
    "os",
    "os_vif.kernel",
    "os_vif.internal",
    "oslo_concurrency",
    "oslo_config",
    "oslo_privsep",
    "ovs",
    "ovsdbapp",
    "pathlib",
    "pyroute2",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "vif_plug_linux_bridge.iptables_runner",
    "vif_plug_linux_bridge.iptables",
    "vif_plug_linux_bridge.privileged",
    "vif_plug_linux_bridge.privsep",
    "vif_plug_ovs.ovsdb",
    "vif_plug_ovs.privileged",
    "vif_plug_ovs.privsep",
}

MODULES = [
    *sorted(
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    ),
    "os_vif/drawing.py",
    "vif_plug_linux_bridge/drawings.py",
    "vif_plug_linux_bridge/forwarding_rules.py",
    "vif_plug_ovs/drawings.py",
]


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


#: The files of our modules, by the modules' names.
SOURCES = {
    _name(path): path
    for package in (
        "os_vif",
        "os_vif_start",
        "vif_plug_ovs",
        "vif_plug_linux_bridge",
        "vif_plug_noop",
    )
    for path in (each.relative_to(ROOT).as_posix() for each in (ROOT / package).rglob("*.py"))
}


def imported(source: str) -> Iterator[str]:
    """The full names of modules (and of what is imported from them), wherever in the source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)


def acting(source: str) -> set[str]:
    """What of a source acts: imports, and the built-in functions that read, write or import."""
    names = {
        name
        for name in imported(source)
        if name.startswith(".") or any(name == one or name.startswith(f"{one}.") for one in ACTS)
    }
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return names | calls & {"open", "__import__", "exec", "eval", "print", "input"}


@pytest.mark.parametrize("module", MODULES)
def test_a_pure_module_imports_nothing_that_acts(module: str) -> None:
    assert {"os_vif/wiring/plan.py", "vif_plug_ovs/shapes/request.py"} <= set(MODULES)
    assert acting((ROOT / module).read_text()) == set()


@pytest.mark.parametrize(
    ("source", "acts"),
    [
        ("import os.path", True),
        ("from os import path", True),
        ("def f():\n    import subprocess", True),
        ("from os_vif import kernel", True),
        ("from . import privileged", True),
        ("open('/sys/class/net')", True),
        ("import ossaudit", False),
        ("from os_vif.wiring import plan", False),
        ("x.open()", False),
    ],
)
def test_the_rule_sees_what_acts(source: str, acts: bool) -> None:
    assert bool(acting(source)) is acts


# One element, one file ---------------------------------------------------------------------------

#: Where elements are told apart by their classes: nowhere but in their own files.
ELEMENTS = set(elements.__all__) - {"Element", "OnRemove"}


def told_apart(source: str) -> set[str]:
    """The names of classes by which a source tells objects apart."""
    tree = ast.parse(source)
    calls = [
        node.args[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("isinstance", "issubclass")
    ]
    cases = [node.cls for node in ast.walk(tree) if isinstance(node, ast.MatchClass)]
    every = [node for one in (*calls, *cases) for node in ast.walk(one)]
    names = {node.id for node in every if isinstance(node, ast.Name)}
    return names | {node.attr for node in every if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("path", SOURCES.values())
def test_elements_are_distinguished_by_class_nowhere(path: str) -> None:
    assert told_apart((ROOT / path).read_text()) & ELEMENTS == set()


@pytest.mark.parametrize(
    "source",
    ["isinstance(x, Tap)", "isinstance(x, A | b.Tap)", "match x:\n  case Tap():\n    pass"],
)
def test_the_rule_sees_how_elements_are_distinguished(source: str) -> None:
    assert told_apart(source) & ELEMENTS == {"Tap"}


# Import cycles -----------------------------------------------------------------------------------


def imports(module: str) -> set[str]:
    """Our modules that one of ours imports, wherever in its source."""
    found = set()
    for name in imported((ROOT / SOURCES[module]).read_text()):
        parent = name.rpartition(".")[0]
        found |= {one for one in (name, parent if name not in SOURCES else name) if one in SOURCES}
    return found - {module}


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module: imports(module) for module in SOURCES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(SOURCES)
