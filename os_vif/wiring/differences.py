# SPDX-License-Identifier: Apache-2.0
"""What is not as described, as values and as text for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from os_vif.answers import Finding


class Action(Enum):
    """What applying a wiring does about a difference."""

    CORRECT = auto()
    REPORT = auto()  # set on creation only, or not changeable: it is logged
    FOLLOW = auto()  # it ends when rows of the wiring are corrected; as REPORT where none are
    REFUSE = auto()  # it contradicts the wiring: nothing is changed


@dataclass(frozen=True)
class Difference:
    """One thing that is not as described."""

    where: str
    what: str
    wanted: object
    found: object
    action: Action = Action.CORRECT


#: The "what" of an element that is not there at all, and of one that is another VIF's.
PRESENT, OWNER = "present", "owner"


def report(differences: Iterable[Difference]) -> str:
    """Return of each difference what was wanted and what was found, as one text."""
    return "; ".join(str(finding(one)) for one in differences)


def finding(one: Difference) -> Finding:
    """Return a difference for people."""
    repairable = one.action is Action.CORRECT
    return Finding(one.where, one.what, one.wanted, one.found, repairable)
