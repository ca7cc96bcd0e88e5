# SPDX-License-Identifier: Apache-2.0
"""Run tests of another project with unittest, and say what became of each, as JSON.

A program for the environment of that project:
``python tests/consumers/suite.py FILE PATTERN NAME ...`` writes it to a file; `Suite` says what
patterns and names are. The tests are made with testtools, whose cases pytest refuses.
"""

import importlib
import json
import pkgutil
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Outcomes(unittest.TestResult):
    """What became of each test: nothing to say of one that passed."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, str] = {}

    def addSuccess(self, test: Any, *_: Any, **__: Any) -> None:
        self.said.setdefault(test.id(), "")

    def addSkip(self, test: Any, reason: Any = "", **__: Any) -> None:
        self.said[test.id()] = f"skipped: {reason}"

    def addError(self, test: Any, err: Any, *_: Any, **__: Any) -> None:
        said = self._exc_info_to_string(err, test).rstrip().splitlines()
        self.said[test.id()] = f"failed: {said[-1] if said else err}"

    addFailure = addError


def modules(name: str) -> Iterator[str]:
    """A module, or the test modules of a package and of those in it."""
    found = importlib.import_module(name)
    if not hasattr(found, "__path__"):
        yield name
        return
    for one in pkgutil.walk_packages(found.__path__, f"{name}."):
        if one.name.rpartition(".")[2].startswith("test_") and not one.ispkg:
            yield one.name


def main(output: str, pattern: str, *names: str) -> None:
    left_out = {name[1:] for name in names if name.startswith("-")}
    wanted = [one for name in names if not name.startswith("-") for one in modules(name)]
    loader, outcomes = unittest.TestLoader(), Outcomes()
    loader.testNamePatterns = [pattern]
    loader.loadTestsFromNames([one for one in wanted if one not in left_out]).run(outcomes)
    Path(output).write_text(json.dumps(outcomes.said))


if __name__ == "__main__":
    main(*sys.argv[1:])
