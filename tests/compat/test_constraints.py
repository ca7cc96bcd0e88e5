# SPDX-License-Identifier: Apache-2.0
"""What is declared can be installed beside every release of OpenStack that we are meant for."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.rig.releases import CONSTRAINTS, RELEASES

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {
    canonicalize_name(each.name): each
    for each in map(
        Requirement, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cli"]]
    )
}
#: Of the command line alone, and not in the copies of the pins, which are cut to what the library
#: needs: pip takes the newest versions that go with them.
UNPINNED = {"cliff", "graphviz", "rich"}


def constraints(name: str) -> dict[str, Requirement]:
    lines = (CONSTRAINTS / f"{name}.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(each.name): each for each in found}


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    return specifier.version


@pytest.mark.parametrize("release", [each.name for each in RELEASES])
def test_what_a_release_pins_is_what_we_declare(release: str) -> None:
    pins = constraints(release)
    refused = {
        name: (str(pins[name]), str(declared.specifier))
        for name, declared in DECLARED.items()
        if name not in UNPINNED and not declared.specifier.contains(version(pins[name]))
    }
    assert refused == {}


def test_the_tests_have_what_the_command_line_declares() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert groups["cli"] == PROJECT["optional-dependencies"]["cli"]


def test_the_lowest_versions_are_the_declared_bounds() -> None:
    bounds = {name: str(each.specifier) for name, each in DECLARED.items()}
    assert bounds == {name: f">={version(pin)}" for name, pin in constraints("lowest").items()}


def test_there_is_a_copy_of_the_pins_of_each_release_and_no_other() -> None:
    copies = {path.stem for path in CONSTRAINTS.glob("*.txt")}
    assert copies == {"lowest", *(each.name for each in RELEASES)}
