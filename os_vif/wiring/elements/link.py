# SPDX-License-Identifier: Apache-2.0
"""What all elements that consist of links have in common, and the steps that change links."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.wiring import ownership
from os_vif.wiring.differences import OWNER, PRESENT, Action, Difference
from os_vif.wiring.elements.element import Element, LinkStep, Plan, Removing, Scope
from os_vif.wiring.ownership import Mark, Whose
from os_vif.wiring.state import FIRST_GROUP, SYSCTLS, Attribute, Found, Link, Value

#: The kinds of links that os-vif makes, and may therefore delete.
KINDS = ("bridge", "veth", "tun", "vlan")
#: Bytes of a link's alias, less the closing NUL (``IFALIASZ`` in linux/if.h).
ALIAS_LENGTH = 255

#: The "what" of a veth that is not an end of its pair.
PEER = "peer"

# Steps -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateLink(LinkStep):
    """Make a link and write its alias (and, for a veth pair, its peer with the same alias)."""

    name: str
    kind: str
    alias: str
    peer: str = ""
    multiqueue: bool = False
    parent: str = ""  # of a VLAN device
    vlan: int = 0

    def __str__(self) -> str:
        peer = f" with its peer {self.peer}" if self.peer else ""
        return f"create {self.kind} {self.name}{peer}"

    def inverse(self, before: Found) -> Iterator[LinkStep]:
        """Delete it, but for a bridge that others use by now."""
        yield DeleteLink(self.name, self.kind, if_empty=self.kind == "bridge")

    def may_be_in_effect(self, now: Mapping[str, Link]) -> bool:
        """What is not there may still be made: it was asked for and not answered. What is there
        bears the mark, or is not finished: the process was killed before that."""
        link = now.get(self.name)
        return link is None or (
            link.kind == self.kind
            and (link.alias == self.alias or not (link.alias or link.attributes["up"]))
        )

    def checked(self) -> LinkStep:
        validate.device_name("name", self.name)
        kind = _checked_kind(self.kind)
        if kind == "veth":
            validate.device_name("peer", self.peer)
        elif self.peer:
            raise InvalidValue(field="peer", value=self.peer, reason=f"a {kind} has none")
        if kind == "vlan":
            validate.device_name("parent", self.parent)
            validate.vlan("vlan", self.vlan)
        elif self.parent or self.vlan:
            reason = f"a {kind} has none, nor a VLAN"
            raise InvalidValue(field="parent", value=self.parent, reason=reason)
        if validate.flag("multiqueue", self.multiqueue) and kind != "tun":
            raise InvalidValue(field="multiqueue", value=True, reason=f"a {kind} has no queues")
        if not isinstance(self.alias, str):
            raise InvalidValue(field="alias", value=self.alias, reason="it must be text")
        validate.text("alias", self.alias, ALIAS_LENGTH)
        return self


@dataclass(frozen=True)
class SetLink(LinkStep):
    """Set attributes of a link, in their order."""

    name: str
    attributes: Mapping[Attribute, Value]

    def __str__(self) -> str:
        wanted = ", ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"set {wanted} of {self.name}"

    def inverse(self, before: Found) -> Iterator[LinkStep]:
        """Set what was found before."""
        if link := before.links.get(self.name):
            known = link.attributes
            yield SetLink(self.name, {key: known[key] for key in self.attributes if key in known})

    def checked(self) -> LinkStep:
        its = self.attributes
        if not isinstance(its, Mapping):
            raise InvalidValue(field="attributes", value=its, reason="it must be a mapping")
        name = validate.device_name("name", self.name)
        return SetLink(name, {key: _checked_attribute(key, its[key]) for key in its})


@dataclass(frozen=True)
class DeleteLink(LinkStep):
    """Delete a link if it is (still) there and of this kind.

    :param if_empty: leave a bridge when others have put ports into it.
    """

    name: str
    kind: str
    if_empty: bool = False

    def __str__(self) -> str:
        return f"delete {self.kind} {self.name}"

    def inverse(self, before: Found) -> Iterator[LinkStep]:
        """Make a tap again; of other links only such are deleted that are of no use."""
        link = before.links.get(self.name)
        if self.kind == "tun" and link is not None:
            its = link.attributes
            multiqueue = bool(its.get("multiqueue"))
            yield CreateLink(self.name, link.kind, link.alias, multiqueue=multiqueue)
            settable = ("disable_ipv6", "mac", "mtu", "promisc", "up")
            yield SetLink(self.name, {key: its[key] for key in settable if key in its})

    def checked(self) -> LinkStep:
        validate.device_name("name", self.name)
        _checked_kind(self.kind)
        validate.flag("if_empty", self.if_empty)
        return self


def _checked_kind(value: object) -> str:
    if value not in KINDS:
        raise InvalidValue(field="kind", value=value, reason=f"os-vif makes only {KINDS}")
    return str(value)


def _checked_attribute(key: Attribute, value: object) -> Value:
    if key not in _CHECKS:
        raise InvalidValue(field=key, value=value, reason="there is no such attribute")
    return _CHECKS[key](key, value)


def _master(field: str, value: object) -> str:
    return "" if value == "" else validate.device_name(field, value)


def _no_group(field: str, value: object) -> int:
    if value != 0 or isinstance(value, bool):
        raise InvalidValue(field=field, value=value, reason="os-vif only takes links out of one")
    return 0


_CHECKS: dict[Attribute, Callable[[str, object], Value]] = {
    "mac": validate.mac,
    "mtu": validate.mtu,
    "up": validate.flag,
    "promisc": validate.flag,
    "master": _master,
    "group": _no_group,
    "ageing": validate.count,
    "forward_delay": validate.count,
    "stp": validate.flag,
    "mcast_snooping": validate.flag,
    **dict.fromkeys(SYSCTLS, validate.count),
}


# What is wanted ----------------------------------------------------------------------------------


#: Keeps the host's own stack out of a guest's Ethernet segment.
OF_HOST_STACK: Mapping[Attribute, int] = {"arp_ignore": 1, "arp_announce": 2}


@dataclass(frozen=True)
class Creation:
    """How a link is made, and by what it is told from another VIF's."""

    kind: str
    mark: Mark
    #: Whether its name is made of the VIF's id.
    named_after_id: bool = True
    #: Attributes that are corrected on a link without our mark; None for all.
    unmarked: frozenset[Attribute] | None = None
    #: Attributes that are set in the act of creation, and what is done when they differ.
    fixed: Mapping[Attribute, tuple[Value, Action]] = field(default_factory=dict)
    #: Whether it stays when its wiring is removed, because others use it, too.
    kept: bool = False

    def whose(self, found: Link) -> Whose:
        """See :func:`os_vif.wiring.ownership.of_link`."""
        return ownership.of_link(self.mark, found, named_after_id=self.named_after_id)

    def sets(self, key: Attribute, found: Link) -> bool:
        """Return whether an attribute of a link is ours to set.

        All are of a link that bears a mark of ours, or that is down, which means that the process
        that made it under that name was killed before it was marked.
        """
        by_mark = ownership.of_link(self.mark, found, named_after_id=False)
        unfinished = self.named_after_id and not found.attributes["up"]
        return (
            self.unmarked is None or key in self.unmarked or (by_mark is Whose.THIS or unfinished)
        )


@dataclass(frozen=True)
class LinkSpec:
    """What the kernel is to hold of one link."""

    name: str
    always: Mapping[Attribute, Value]
    #: Numbers that may be greater on the host.
    at_least: Mapping[Attribute, int] = field(default_factory=dict)
    #: For a link that is ours to make and to delete; None for one that only serves us.
    made: Creation | None = None
    #: Whether plugging is refused without it; what is made need not be there before.
    required: bool = False
    on_remove: Mapping[Attribute, Value] = field(default_factory=dict)

    def differences(self, found: Link | None) -> Iterator[Difference]:
        """Compare it with the link of its name."""
        where, made = f"link {self.name}", self.made
        if found is None:
            if made or self.required:
                action = Action.CORRECT if made else Action.REFUSE
                yield Difference(where, PRESENT, True, False, action)
            return
        if made and found.kind != made.kind:
            kind = found.kind or "hardware"
            yield Difference(where, "kind", made.kind, kind, Action.REFUSE)
            return
        if made and not made.kept and made.whose(found) is Whose.ANOTHERS:
            stale = made.kind == "tun" and not ownership.is_in_use(None, found)
            action = Action.CORRECT if stale else Action.REFUSE
            yield Difference(where, OWNER, made.mark.alias, found.alias, action)
            return
        for key, value in self.always.items():
            if self._is_wrong(key, value, found):
                yield Difference(where, key, value, found.attributes[key])
        if made and found.group >= FIRST_GROUP and found.alias.startswith(f"{Mark.KEY}:"):
            yield Difference(where, "group", 0, found.group)  # its deletion was killed half-way
        for key, least in self.at_least.items():
            if int(found.attributes[key]) < least:
                yield Difference(where, key, least, found.attributes[key])
        for key, (value, action) in made.fixed.items() if made else ():
            if found.attributes.get(key, value) != value:
                yield Difference(where, key, value, found.attributes[key], action)

    def _is_wrong(self, key: Attribute, value: Value, found: Link) -> bool:
        if found.attributes.get(key, value) == value:  # or this kernel has no such thing
            return False
        if key == "disable_ipv6" and found.has_ipv6:
            return False  # its addresses would be gone
        if key in OF_HOST_STACK and found.addresses:
            return False  # a bridge answers for the host's addresses as their interface did
        return self.made is None or self.made.sets(key, found)

    def removal(self, found: Link, *, expected: bool, mine: bool) -> LinkStep | None:
        """Return the step that deletes a link, or sets it as its wiring leaves it.

        :param expected: whether one of which it is unknown whose it is goes, too.
        :param mine: whether its port is this VIF's: then a mark of another is what that left.
        """
        if made := self.made:
            if made.kept or found.kind != made.kind:
                return None
            whose = made.whose(found)
            left = mine and whose is Whose.ANOTHERS
            going = left or whose is Whose.THIS or (expected and whose is Whose.UNKNOWN)
            return DeleteLink(self.name, made.kind) if going else None
        changed = any(found.attributes[key] != value for key, value in self.on_remove.items())
        return SetLink(self.name, self.on_remove) if changed else None


class LinkElement(Element):
    """An element that consists of links."""

    def _specs(self) -> tuple[LinkSpec, ...]:
        """Return its links, in the order in which they are made."""
        raise NotImplementedError

    @functools.cached_property
    def specs(self) -> tuple[LinkSpec, ...]:
        """Its links, in the order in which they are made."""
        return self._specs()

    @property
    def scope(self) -> Scope:
        return Scope(links=frozenset(spec.name for spec in self.specs))

    def differences(self, found: Found) -> Iterator[Difference]:
        for spec in self.specs:
            yield from self._differences_of(spec, found)

    def _differences_of(self, spec: LinkSpec, found: Found) -> Iterator[Difference]:
        return spec.differences(found.links.get(spec.name))

    def apply(self, found: Found, new_links: Collection[str]) -> Plan:
        wrong = [tuple(self._differences_of(spec, found)) for spec in self.specs]
        return Plan.of((one for some in wrong for one in some), self._steps(wrong, found))

    def _steps(self, wrong: Sequence[Sequence[Difference]], found: Found) -> Iterator[LinkStep]:
        """Return the steps that correct what is wrong with each link."""
        to_correct = [{d.what: d.wanted for d in s if d.action is Action.CORRECT} for s in wrong]
        made = self.specs[0].made
        if made and any({PRESENT, OWNER, PEER} & each.keys() for each in to_correct):
            yield from self._creation(made, found)
            return
        for spec, wanted in zip(self.specs, to_correct, strict=True):
            if wanted:
                yield SetLink(spec.name, cast(Mapping[Attribute, Value], wanted))

    def _creation(self, made: Creation, found: Found) -> Iterator[LinkStep]:
        # Half a veth pair is of no use: its other end went to another namespace, or is another's.
        there = (found.links[spec.name] for spec in self.specs if spec.name in found.links)
        yield from (DeleteLink(link.name, link.kind) for link in there)
        name, *peer = (spec.name for spec in self.specs)
        options: dict[str, Any] = {key: value for key, (value, _) in made.fixed.items()}
        yield CreateLink(name, made.kind, made.mark.alias, "".join(peer), **options)
        for spec in self.specs:
            yield SetLink(spec.name, spec.always)

    def remove(self, found: Found, removing: Removing) -> Plan:
        owners = {removing.owners.get(spec.name) for spec in self.specs}
        if Whose.ANOTHERS in owners:
            return Plan()
        mine = Whose.THIS in owners
        steps = (
            spec.removal(found.links[spec.name], expected=removing.expected, mine=mine)
            for spec in self.specs
            if spec.name in found.links
        )
        # A veth's peer goes with it.
        return Plan(links=tuple(step for step in steps if step)[:1])


def with_values(
    attributes: Mapping[Attribute, Value], **more: Value | None
) -> dict[Attribute, Value]:
    """Return attributes after those of others that are known."""
    return {**{key: value for key, value in more.items() if value is not None}, **attributes}


def created(steps: Iterable[LinkStep]) -> set[str]:
    """Return the names of the links that steps make."""
    made = (step for step in steps if isinstance(step, CreateLink))
    return {name for step in made for name in (step.name, step.peer) if name}
