# SPDX-License-Identifier: Apache-2.0
"""The manual has every error that can reach a caller, and says whether a retry helps."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from os_vif.exception import CODES, ExceptionBase

PACKAGES = ("os_vif", "vif_plug_linux_bridge", "vif_plug_noop", "vif_plug_ovs")
PAGE = Path(__file__).parents[2] / "doc" / "source" / "reference" / "exceptions.rst"
ROW = re.compile(
    r"^   \* - :class:`(?P<name>[\w.]+)`\n"
    r"     - (?P<meaning>.+?)\n"
    r"     - (?P<retry>.+?)\n(?=\n|   \*)",
    re.MULTILINE | re.DOTALL,
)
BRANCH = re.compile(r"^    (?P<indent> *)(?P<name>(?:os_vif|vif_plug_\w+)\.[\w.]+)$", re.MULTILINE)


def modules() -> Iterator[str]:
    for package in PACKAGES:
        yield package
        path = importlib.import_module(package).__path__
        yield from (found.name for found in pkgutil.walk_packages(path, f"{package}."))


def errors() -> list[str]:
    """Name every public error class of the packages, with the module that defines it."""
    found = set()
    for module in modules():
        for name, value in vars(importlib.import_module(module)).items():
            is_error = isinstance(value, type) and issubclass(value, ExceptionBase)
            if is_error and not name.startswith("_") and value.__module__ == module:
                found.add(f"{module}.{name}")
    return sorted(found)


ROWS = {row["name"]: row for row in ROW.finditer(PAGE.read_text())}


@pytest.mark.parametrize("error", errors())
def test_the_page_says_what_an_error_means_and_whether_a_retry_helps(error: str) -> None:
    row = ROWS[error]
    assert len(row["meaning"]) > 20
    assert re.match(r"(Yes|No|As for|It does not occur)\b", row["retry"])
    cls = pkgutil.resolve_name(error)
    assert cls.code in CODES
    assert row["retry"].startswith("Yes") or not cls.retryable


def test_the_page_says_what_each_code_means() -> None:
    rows = re.findall(r"^   \* - ``(\w+)``\n     - (.+)$", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == dict(CODES)
    used = {pkgutil.resolve_name(error).code for error in errors()}
    assert set(CODES) == used


def test_the_page_names_no_error_that_does_not_exist() -> None:
    assert set(ROWS) == set(errors())


def test_the_page_draws_the_tree() -> None:
    drawn, above = {}, [""]
    for branch in BRANCH.finditer(PAGE.read_text()):
        depth = len(branch["indent"]) // 4
        drawn[branch["name"]] = above[depth]
        above[depth + 1 :] = [branch["name"]]
    parents = {name: pkgutil.resolve_name(name).__base__ for name in errors()}
    names = {name: f"{parent.__module__}.{parent.__name__}" for name, parent in parents.items()}
    assert drawn == names | {"os_vif.exception.ExceptionBase": ""}
