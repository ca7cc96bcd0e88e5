# SPDX-License-Identifier: Apache-2.0
"""Every use of every object has the outcome that it has in os-vif 5.

``facts/outcomes.json`` is what :mod:`tests.compat.probe` found there.
"""

import re

import pytest

from tests.compat import facts, probe

THEIRS = facts("outcomes")

#: Where os-vif 5 is wrong: (class, use) -> why ours is another outcome. Both are patterns.
BETTER = {
    (
        ".*",
        r"(full|default): (primitive of |obj_make_compatible\()\d\.\d\)?",
    ): "os-vif 5 has no rules for nested objects, so an object that holds one converts to no "
    "older version; ours convert down to what facts/history.json says",
    (
        "os_vif.host_info",
        r"(profile|vif) 1\.\d to 1\.\d",
    ): "os-vif 5 offers the newest version only, though objects convert down; so two hosts of "
    "different releases could not agree",
    (
        "os_vif.host_info",
        r"(has|get)_port_profile\(.*\)",
    ): "os-vif 5 cannot be asked for the port profiles that it lists",
}


def reason(name: str, use: str) -> str | None:
    """Return why an outcome may be another one; None if it must be the same."""
    found = (
        why
        for (classes, uses), why in BETTER.items()
        if re.fullmatch(classes, name) and re.fullmatch(uses, use)
    )
    return next(found, None)


@pytest.fixture(scope="module")
def ours() -> dict[str, dict[str, probe.Outcome]]:
    return probe.outcomes()


@pytest.mark.parametrize("name", THEIRS)
def test_every_use_has_the_same_outcome(
    name: str, ours: dict[str, dict[str, probe.Outcome]]
) -> None:
    different = {
        use: {"os-vif 5": outcome, "ours": ours[name].get(use, "cannot be tried")}
        for use, outcome in THEIRS[name].items()
        if ours[name].get(use) != outcome and not reason(name, use)
    }
    assert not different


def test_what_is_better_only_works_where_os_vif_5_fails(
    ours: dict[str, dict[str, probe.Outcome]],
) -> None:
    used = set()
    for name, outcomes in THEIRS.items():
        for use, outcome in outcomes.items():
            if ours[name].get(use) != outcome:
                used.add(reason(name, use))
                assert "raises" in outcome, f"{name}: {use}"
    assert used == set(BETTER.values())
