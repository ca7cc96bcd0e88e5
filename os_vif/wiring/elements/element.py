# SPDX-License-Identifier: Apache-2.0
"""What all elements have in common: what is looked at, what differs, the steps there and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, TypeVar

from os_vif.wiring.differences import Action, Difference
from os_vif.wiring.ownership import Whose
from os_vif.wiring.state import Found, Link

T = TypeVar("T")


class OnRemove(Enum):
    """What becomes of an element when its wiring is removed."""

    DELETE = auto()
    KEEP = auto()  # others use it: the integration bridge


class LinkStep:
    """A change of the kernel's links; :mod:`os_vif.kernel.execute` executes it."""

    #: Whether a plan is done when it is: nothing is rolled back after it.
    is_last: ClassVar[bool] = False
    #: Whether its inverse comes after those of all other steps.
    is_rolled_back_last: ClassVar[bool] = False

    def inverse(self, before: Found) -> Iterable[LinkStep]:
        """Return the steps that lead back to what was found before it."""
        return ()

    def may_be_in_effect(self, now: Mapping[str, Link]) -> bool:
        """Return whether it may have taken effect, by the links that are found after it."""
        return True

    def checked(self) -> LinkStep:
        """Return it with every value checked: the privileged daemon trusts nobody.

        :raises InvalidValue: a value is not one that os-vif makes.
        """
        raise NotImplementedError


class RowStep:
    """A change of OVSDB's rows; :mod:`vif_plug_ovs.ovsdb.operations` makes operations of it."""

    if TYPE_CHECKING:  # else it would be the default of a dataclass's field

        @property
        def name(self) -> str:
            """The name of the bridge or port that it changes."""

    def inverse(self, before: Found) -> Iterable[RowStep]:
        """Return the steps that lead back to what was found before it."""
        raise TypeError(f"{self} has no inverse: a removal is not rolled back")

    def in_effect(self, now: Found, rows: Collection[RowStep]) -> RowStep | None:
        """Return what of it took effect and nobody else has changed since.

        :param now: what is found after it.
        :param rows: all steps of its transaction.
        """
        return self


@dataclass(frozen=True)
class Plan:
    """Steps to execute, and what was seen on the way to them."""

    links: tuple[LinkStep, ...] = ()
    rows: tuple[RowStep, ...] = ()
    #: OVS interfaces whose device must work afterwards.
    awaited: tuple[str, ...] = ()
    #: Differences that forbid the plan, and those that it leaves as they are.
    refused: tuple[Difference, ...] = ()
    reported: tuple[Difference, ...] = ()

    @classmethod
    def of(
        cls,
        differences: Iterable[Difference] = (),
        links: Iterable[LinkStep] = (),
        rows: Iterable[RowStep] = (),
        awaited: Iterable[str] = (),
    ) -> Plan:
        """Return the plan of one element."""
        every = tuple(differences)
        refused = tuple(one for one in every if one.action is Action.REFUSE)
        reported = tuple(one for one in every if one.action in (Action.REPORT, Action.FOLLOW))
        return cls(tuple(links), tuple(rows), tuple(awaited), refused, reported)

    @classmethod
    def joined(cls, parts: Iterable[Plan]) -> Plan:
        """Return the plan of several elements; what two of them have in common is there once."""
        every = tuple(parts)
        return cls(
            unique(step for part in every for step in part.links),
            unique(step for part in every for step in part.rows),
            unique(name for part in every for name in part.awaited),
            unique(one for part in every for one in part.refused),
            unique(one for part in every for one in part.reported),
        )

    def __bool__(self) -> bool:
        return bool(self.links or self.rows)


@dataclass(frozen=True)
class Scope:
    """The names that have to be looked at on the host."""

    links: frozenset[str] = frozenset()
    #: Links whose addresses are to be read as well.
    addressed: frozenset[str] = frozenset()
    bridges: frozenset[str] = frozenset()
    #: Ports, each with the bridge that it is likely to be on: that of the first who names it.
    ports: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Iterable[Scope]) -> Scope:
        """Return the names of several elements, or wirings."""
        every = tuple(parts)
        ports: dict[str, str] = {}
        for part in reversed(every):
            ports |= part.ports
        return cls(
            frozenset().union(*(part.links for part in every)),
            frozenset().union(*(part.addressed for part in every)),
            frozenset().union(*(part.bridges for part in every)),
            ports,
        )


@dataclass(frozen=True)
class Removing:
    """What removing one element depends on beside itself and the host."""

    #: Whether the VIF has it by the settings of today; else only what is known to be the VIF's
    #: is taken.
    expected: bool
    #: OVS bridges that go as a whole, with whatever is on them.
    bridges: Collection[str]
    #: Whose the ports under the VIF's names are; so are their devices.
    owners: Mapping[str, Whose]


class Element:
    """Something that a wiring consists of: what is wanted, as a frozen value.

    Its methods are pure: they compare it with what was found, and return steps.
    """

    @property
    def scope(self) -> Scope:
        """The names that have to be looked at."""
        return Scope()

    def differences(self, found: Found) -> Iterator[Difference]:
        """Compare by the partial-match rule: more than described is fine."""
        yield from ()

    def damage(self, found: Found) -> Iterator[Difference]:
        """Compare what applying leaves as it is once it was made; for people."""
        yield from ()

    def apply(self, found: Found, new_links: Collection[str]) -> Plan:
        """Return the steps that make it so.

        :param new_links: the links that elements before it make.
        """
        raise NotImplementedError

    def remove(self, found: Found, removing: Removing) -> Plan:
        """Return the steps that remove it, as far as it is the VIF's."""
        return Plan()

    # Of what has rows only.

    def is_present(self, found: Found) -> bool:
        """Return whether it is there, and the VIF's."""
        return False

    def owners(self, found: Found) -> Mapping[str, Whose]:
        """Return whose the ports under its names are that are there."""
        return {}

    @property
    def claims(self) -> Mapping[str, str]:
        """Ports that it wants for itself, each with the owner that its mark names."""
        return {}

    @property
    def removed_bridge(self) -> str | None:
        """The OVS bridge that goes with it, and with whatever is on that."""
        return None


def unique(items: Iterable[T]) -> tuple[T, ...]:
    """Return each of some values once, hashable or not."""
    found: list[T] = []
    for item in items:
        if item not in found:
            found.append(item)
    return tuple(found)
