# SPDX-License-Identifier: Apache-2.0
"""What ``tools/mutants.py`` replaces is in the code: a mutant that lags behind shows nothing."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
assert SPEC is not None
assert SPEC.loader is not None
mutants = sys.modules["mutants"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(mutants)


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_replaces_text_that_is_there_once(mutant: "mutants.Mutant") -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
