# SPDX-License-Identifier: Apache-2.0
"""The house rule that describing and planning are pure: such modules import nothing that acts."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("os_vif/wiring", "vif_plug_ovs/wiring", "vif_plug_linux_bridge/wiring")

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
    "vif_plug_linux_bridge.firewall",
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
    "vif_plug_linux_bridge/filtering.py",
]


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


def test_there_are_modules_to_look_at() -> None:
    assert {"os_vif/wiring/plan.py", "vif_plug_ovs/wiring/request.py"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_pure_module_imports_nothing_that_acts(module: str) -> None:
    assert acting((ROOT / module).read_text()) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path",
        "from os import path",
        "import socket as s",
        "def f():\n    import subprocess",
        "from ovs.db import idl",
        "from os_vif.kernel import execute",
        "from os_vif import kernel",
        "from vif_plug_ovs import privileged",
        "from . import privileged",
        "open('/sys/class/net')",
    ],
)
def test_the_rule_sees_what_acts(source: str) -> None:
    assert acting(source)


@pytest.mark.parametrize(
    "source", ["import ossaudit", "from os_vif.wiring import plan", "opened()", "x.open()"]
)
def test_the_rule_sees_what_does_not(source: str) -> None:
    assert not acting(source)
