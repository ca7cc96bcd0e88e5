# SPDX-License-Identifier: Apache-2.0
"""Where the docstring of a package lists modules, it lists each module that is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def listed(init: Path) -> list[str]:
    """The names that start a line of a package's docstring, as an entry of a list does."""
    docstring = ast.get_docstring(ast.parse(init.read_text())) or ""
    return re.findall(r"^``(\w+)`` {2,}", docstring, re.MULTILINE)


WITH_A_LIST = [
    init.parent.relative_to(ROOT).as_posix()
    for package in ("os_vif", "vif_plug_linux_bridge", "vif_plug_noop", "vif_plug_ovs")
    for init in sorted((ROOT / package).rglob("__init__.py"))
    if listed(init)
]


def test_these_packages_have_a_list() -> None:
    assert {"os_vif/kernel", "os_vif/wiring", "vif_plug_ovs/ovsdb"} <= set(WITH_A_LIST)


@pytest.mark.parametrize("package", WITH_A_LIST)
def test_a_list_of_modules_is_complete(package: str) -> None:
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    found = listed(ROOT / package / "__init__.py")
    assert sorted(found) == sorted(modules | packages)
