# SPDX-License-Identifier: Apache-2.0
"""Steps as msgpack primitives, which is what crosses into the privileged daemon.

The daemon trusts nobody: :func:`unpack` returns only steps that have checked all of their values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from os_vif.exception import InvalidValue
from os_vif.wiring.elements.link import KINDS
from os_vif.wiring.ownership import Mark
from os_vif.wiring.steps import LINK_STEPS, CreateLink, DeleteLink, LinkStep

Packed = tuple[str, dict[str, Any]]

_STEPS: dict[str, Callable[..., LinkStep]] = {cls.__name__: cls for cls in LINK_STEPS}


@dataclass(frozen=True)
class Allowed:
    """What a plugin's daemon takes: the steps that are its job.

    :param plugin: whose mark is on what it makes; empty for that of any.
    :param steps: their classes.
    :param kinds: of links that it makes and deletes.
    :param only_marked: whether it deletes only what bears the plugin's mark. What os-vif 5 made
        bears none.
    :param checks: class of steps -> what raises InvalidValue if more of such a step is wrong than
        the step itself can know.
    """

    plugin: str = ""
    steps: frozenset[type[LinkStep]] = LINK_STEPS
    kinds: frozenset[str] = frozenset(KINDS)
    only_marked: bool = False
    checks: Mapping[type[LinkStep], Callable[[Any], object]] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """What the alias of each link that it makes begins with."""
        return f"{Mark.KEY}:{self.plugin}:" if self.plugin else f"{Mark.KEY}:"

    def may_delete(self, alias: str) -> bool:
        """Return whether a link of that alias may be deleted."""
        return not self.only_marked or alias.startswith(self.mark)

    def check(self, step: LinkStep) -> None:
        """Refuse what is another plugin's job.

        :raises InvalidValue: with field, value and the broken rule.
        """
        name = type(step).__name__
        if type(step) not in self.steps:
            raise InvalidValue(
                field="step", value=name, reason=f"{self.plugin} takes no such step"
            )
        if isinstance(step, CreateLink | DeleteLink) and step.kind not in self.kinds:
            reason = f"{self.plugin} makes only {', '.join(sorted(self.kinds))}"
            raise InvalidValue(field="kind", value=step.kind, reason=reason)
        if isinstance(step, CreateLink) and not step.alias.startswith(self.mark):
            raise InvalidValue(field="alias", value=step.alias, reason=f"no mark {self.mark}...")
        if check := self.checks.get(type(step)):
            check(step)


#: For tests, and for a process that executes its own steps.
ANYTHING = Allowed()


def pack(step: LinkStep) -> Packed:
    """Turn a step into primitives."""
    return type(step).__name__, {
        key: dict(value) if isinstance(value, Mapping) else value
        for key, value in vars(step).items()
    }


def unpack(packed: Sequence[Any], allowed: Allowed = ANYTHING) -> LinkStep:
    """Turn primitives into a step whose every value is checked.

    :raises InvalidValue: a step, a field or a value is not one that os-vif makes, or not one that
        is allowed.
    """
    try:
        name, fields = packed
        step = _STEPS[name](**fields).checked()
    except (KeyError, TypeError, ValueError) as err:
        raise InvalidValue(field="step", value=packed, reason="there is no such step") from err
    allowed.check(step)
    return step


def unpack_groups(
    packed: Iterable[Iterable[Sequence[Any]]], allowed: Allowed = ANYTHING
) -> list[list[LinkStep]]:
    """Turn groups of primitives into groups of checked steps.

    :raises InvalidValue: see :func:`unpack`; or they are not groups.
    """
    for value in (packed, *(packed if isinstance(packed, Sequence) else ())):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise InvalidValue(field="steps", value=value, reason="they must be lists of steps")
    return [[unpack(one, allowed) for one in group] for group in packed]
