# SPDX-License-Identifier: Apache-2.0
"""Wirings and differences as text for people."""

from collections.abc import Iterable

from os_vif.wiring.compare import PRESENT, Difference


def report(differences: Iterable[Difference]) -> str:
    """Say of each difference what was wanted and what was found."""
    return "; ".join(_line(one) for one in differences)


def _line(one: Difference) -> str:
    if one.what == PRESENT:
        return f"{one.where} is missing"
    return f"{one.where}: {one.what} should be {one.wanted!r} and is {one.found!r}"
