# SPDX-License-Identifier: Apache-2.0
"""What iptables has to say about a bridge, and what to tell it so that it does. Nothing acts here.

Our rules are in a chain of our own, ``os-vif-FORWARD``, to which FORWARD jumps once::

    -A FORWARD -m comment --comment "os-vif:generation:7" -j os-vif-FORWARD
    -A os-vif-FORWARD -i br1 -o br1 -m comment --comment "os-vif:br1" -j ACCEPT
    -A os-vif-FORWARD -i br1 -m comment --comment "os-vif:br1" -j DROP
    -A os-vif-FORWARD -o br1 -m comment --comment "os-vif:br1" -j DROP
    -A os-vif-FORWARD -i br2 -m comment --comment "os-vif:br2" -j ACCEPT
    -A os-vif-FORWARD -o br2 -m comment --comment "os-vif:br2" -j ACCEPT

A comment says whose a rule is: what has none of ours is another program's and is never touched,
wherever it is. The chain has three parts: what single pairs of interfaces may do, what bridges may
not, what bridges may. So a packet passes only if both bridges that it crosses let it, whichever
was plugged first.

The text of iptables-save goes in, the input of ``iptables-restore --noflush`` comes out, which
each of the backends carries out as a whole or not at all. Rules are added and deleted one by one,
so that other rules keep their counters. A process that writes puts a jump of the next generation
in place of the one that it has read. Where another has written meanwhile, there is no such jump to
delete (or, the first time, no such chain to make), and iptables-restore fails: nobody's rules
can get lost, with no lock that all processes, versions and containers would have to agree on.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.wiring.errors import WiringError

#: What the names of our chains and our comments begin with.
PREFIX = "os-vif"
#: ``forward_bridge_interface``: no interface in particular.
ALL = "all"
#: Bytes of a chain's name, less the closing NUL (``XT_EXTENSION_MAXNAMELEN`` in x_tables.h).
CHAIN_LENGTH = 28

_FORWARD = "FORWARD"
#: Our chain beside it.
OWN_FORWARD = f"{PREFIX}-{_FORWARD}"
_GENERATION = "generation:"

#: Less than the kernel takes: iptables must not find a wildcard (a closing "+"), a negation or a
#: quotation mark in it.
_INTERFACE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@=+-]*(?<!\+)")
#: A rule as both backends print it: the interfaces first, the match "comment" last.
_ENTRY = re.compile(
    r"(?P<match>.*?) ?"
    rf'-m comment --comment "?{PREFIX}:(?P<mark>[^\s"]+)"?'
    r"(?P<more>.*?)(?: -j (?P<target>\S+).*)?"
)
_TO_OURS = re.compile(rf"-[jg] {OWN_FORWARD}(?!\S)")
_MATCH = re.compile(r"(?:-i (\S+))? ?(?:-o (\S+))?")
_CHAIN = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{CHAIN_LENGTH - 1}}}")


class UnreadableRules(WiringError):
    code = "refused"
    msg_fmt = "iptables cannot show the table %(table)s: %(said)s"


# Values ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """A rule for the packets that come in from one interface and go out to another.

    :param bridge: the bridge for whose sake it is there.
    :param target: what becomes of a packet.
    :param in_interface: and ``out_interface``; empty for any.
    """

    bridge: str
    target: str
    in_interface: str = ""
    out_interface: str = ""

    @property
    def text(self) -> str:
        """The rule in the order in which iptables-save prints it."""
        options = (("-i", self.in_interface), ("-o", self.out_interface))
        named = [f"{option} {name}" for option, name in options if name]
        return " ".join((*named, _comment(self.bridge), f"-j {self.target}"))

    @property
    def rank(self) -> tuple[int, str, bool, str, str, str]:
        """Where it stands among the rules of all bridges."""
        if self.target != "ACCEPT":
            part = 1
        else:
            part = 0 if self.in_interface and self.out_interface else 2
        incoming, outgoing = self.in_interface, self.out_interface
        return part, self.bridge, not incoming, incoming, outgoing, self.target


@dataclass(frozen=True)
class Filtering:
    """The filtering of one bridge, checked: it can be sent to the privileged daemon and back.

    :param bridge: the name of the bridge.
    :param gateway: whether traffic may be forwarded to and from it at all.
    :param forward_bridge_interface: to and from which interfaces; ``all`` among them for any. The
        option of that name, as the following ones.

    :raises InvalidValue: one of them could not be written as a single word of one rule, or is no
        regular expression.
    """

    bridge: str
    gateway: bool = True
    forward_bridge_interface: tuple[str, ...] = (ALL,)
    iptables_drop_action: str = "DROP"
    iptables_top_regex: str = ""
    iptables_bottom_regex: str = ""
    use_ipv6: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "forward_bridge_interface", tuple(self.forward_bridge_interface))
        interface("bridge", self.bridge)
        target("iptables_drop_action", self.iptables_drop_action)
        for name in self._named:
            interface("forward_bridge_interface", name)
        regex("iptables_top_regex", self.iptables_top_regex)
        regex("iptables_bottom_regex", self.iptables_bottom_regex)

    @classmethod
    def unpacked(cls, bridge: str, settings: Mapping[str, Any]) -> "Filtering":
        """Return what the settings of a FilterBridge say, which the privileged daemon is sent.

        :raises InvalidValue: see :class:`Filtering`; or there is no such setting.
        """
        try:
            return cls(**{**settings, "bridge": bridge})
        except TypeError as err:
            raise InvalidValue(field="settings", value=settings, reason=str(err)) from err

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the bridge, in their order.

        What stays within the bridge is accepted always. It gets to iptables where br_netfilter is
        loaded and ``bridge-nf-call-iptables`` is on, the kernel's default; nova-network's rules
        for a bridge without a gateway dropped it there, and guests of one network lost each other.
        """
        bridge, drop = self.bridge, self.iptables_drop_action
        if self.gateway and ALL in self._named:
            rules = {Rule(bridge, "ACCEPT", bridge), Rule(bridge, "ACCEPT", "", bridge)}
        else:
            rules = {Rule(bridge, "ACCEPT", bridge, bridge)}
            rules |= {Rule(bridge, drop, bridge), Rule(bridge, drop, "", bridge)}
            for name in self._named if self.gateway else ():
                rules |= {
                    Rule(bridge, "ACCEPT", bridge, name),
                    Rule(bridge, "ACCEPT", name, bridge),
                }
        return tuple(sorted(rules, key=lambda rule: rule.rank))

    @property
    def _named(self) -> list[str]:
        return [name for name in self.forward_bridge_interface if name]


# Checks ------------------------------------------------------------------------------------------


def interface(field: str, value: object) -> str:
    """Check the name of an interface, which iptables has to take for nothing else.

    :raises InvalidValue: with field, value and the broken rule.
    """
    name = validate.device_name(field, value)
    if not _INTERFACE.fullmatch(name):
        reason = "for iptables it must be letters, digits and any of _.@=+-, with _ or . the only "
        reason += "ones of these to begin with, and no + at the end, which is a wildcard"
        raise InvalidValue(field=field, value=value, reason=reason)
    return name


def target(field: str, value: object) -> str:
    """Check a target: a plain word, such as DROP, REJECT or the name of an administrator's chain.

    :raises InvalidValue: with field, value and the broken rule.
    """
    if value == OWN_FORWARD:
        raise InvalidValue(field=field, value=value, reason="that chain would jump to itself")
    if not isinstance(value, str) or not _CHAIN.fullmatch(value):
        reason = f"it must be at most {CHAIN_LENGTH} letters, digits and any of _.-"
        raise InvalidValue(field=field, value=value, reason=reason)
    return value


def regex(field: str, value: object) -> re.Pattern[str] | None:
    """Check a regular expression; None if it is empty: it matches nothing then.

    :raises InvalidValue: with field, value and what is wrong with it.
    """
    try:
        return re.compile(str(value)) if value else None
    except re.error as err:
        raise InvalidValue(
            field=field, value=value, reason=f"no regular expression: {err}"
        ) from None


# What there is -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One rule that iptables-save has printed.

    :param text: as it was printed, less ``-A`` and the chain.
    :param mark: what follows ``os-vif:`` in its comment; empty if it is not ours.
    :param rule: the rule that it is, if it is one such as we make for a bridge.
    """

    text: str
    mark: str = ""
    rule: Rule | None = None

    @property
    def generation(self) -> int | None:
        """The number in the mark of a jump to our chain."""
        number = self.mark.removeprefix(_GENERATION)
        return int(number) if number != self.mark and number.isdecimal() else None

    @property
    def leads_to_ours(self) -> bool:
        return _TO_OURS.search(self.text) is not None

    @property
    def is_jump(self) -> bool:
        """Whether it is our jump to our chain."""
        return self.generation is not None and self.leads_to_ours


Chains = Mapping[str, Sequence[Entry]]


def parse(saved: str) -> dict[str, list[Entry]]:
    """Return the chains of the table ``filter`` in the text of iptables-save.

    :raises UnreadableRules: the table holds what only ``nft`` understands.
    """
    lines = saved.split("\n")
    if "*filter" not in lines:
        if "incompatible" in saved:  # said by iptables-nft-save, which exits with 0 nevertheless
            raise UnreadableRules(table="filter", said=saved.strip())
        return {}  # how some versions show a table that nobody has used yet
    chains: dict[str, list[Entry]] = {}
    for line in lines[lines.index("*filter") + 1 :]:
        word, _, rest = line.partition(" ")
        if word == "COMMIT":
            break
        if word.startswith(":"):
            chains[word[1:]] = []
        elif word == "-A":
            name, _, text = rest.partition(" ")
            chains.setdefault(name, []).append(_entry(text))
    return chains


def _entry(text: str) -> Entry:
    found = _ENTRY.fullmatch(text) if f"{PREFIX}:" in text else None
    if not found:
        return Entry(text)
    interfaces = _MATCH.fullmatch(found["match"])
    if ":" in found["mark"] or found["more"] or not found["target"] or not interfaces:
        return Entry(text, found["mark"])
    incoming, outgoing = interfaces.groups(default="")
    return Entry(text, found["mark"], Rule(found["mark"], found["target"], incoming, outgoing))


def bridges(saved: str) -> tuple[str, ...]:
    """Return the bridges that have rules of ours."""
    entries = parse(saved).get(OWN_FORWARD, ())
    return tuple(sorted({entry.mark for entry in entries if entry.mark and ":" not in entry.mark}))


def rules_of(saved: str, bridge: str) -> tuple[Rule, ...]:
    """Return the rules that a bridge has."""
    entries = parse(saved).get(OWN_FORWARD, ())
    return tuple(entry.rule for entry in entries if entry.rule and entry.mark == bridge)


# What to do --------------------------------------------------------------------------------------


def merge(
    saved: str,
    bridge: str,
    rules: Iterable[Rule],
    iptables_top_regex: str = "",
    iptables_bottom_regex: str = "",
) -> str | None:
    """Return what to tell ``iptables-restore --noflush`` so that a bridge has these rules and no
    others.

    The jump to our chain is put below the rules of FORWARD that match ``iptables_top_regex`` and
    above those that match ``iptables_bottom_regex``, as ``iptables-save`` prints them. It is the
    jump that moves: to the first place that will do, or nowhere if the one that it has will do.
    Where the last rule for the top is below the first for the bottom, the former counts.

    :param saved: the text of ``iptables-save -t filter``.
    :param rules: of this bridge; none to remove them, and with the last rule of all bridges
        the chain.
    :returns: None if there is nothing to do.
    :raises UnreadableRules: the table holds what only ``nft`` understands.
    """
    chains = parse(saved)
    there = chains.get(OWN_FORWARD, ())
    wanted = sorted(rules, key=lambda rule: rule.rank)
    others = [entry for entry in there if entry.mark != bridge]
    becomes = _placed(others, wanted)
    was = [entry.rule for entry in there if entry.rule or entry.mark == bridge]
    lines: list[str] = []
    if was != [rule for item in becomes if (rule := _rule(item))]:
        lines += [f"-D {OWN_FORWARD} {entry.text}" for entry in there if entry.mark == bridge]
        lines += _insertions(becomes)
    elif not wanted:
        return None
    regexes = (iptables_top_regex, iptables_bottom_regex)
    lines = _with_jump(chains, lines, bool(becomes), regexes)
    return "\n".join(("*filter", *lines, "COMMIT", "")) if lines else None


def _rule(item: Entry | Rule) -> Rule | None:
    return item if isinstance(item, Rule) else item.rule


def _placed(others: Sequence[Entry], rules: Iterable[Rule]) -> list[Entry | Rule]:
    """Put rules among those of other bridges, by rank; what is not ours stays where it is."""
    items: list[Entry | Rule] = list(others)
    for new in rules:
        ranks = ((i, _rule(item)) for i, item in enumerate(items))
        above = (i for i, rule in ranks if rule and rule.rank > new.rank)
        items.insert(next(above, len(items)), new)
    return items


def _insertions(items: Sequence[Entry | Rule]) -> Iterable[str]:
    """Insert the rules among the entries."""
    length = sum(isinstance(item, Entry) for item in items)
    for i, item in enumerate(items):
        if isinstance(item, Rule):
            where = f"-A {OWN_FORWARD}" if i == length else f"-I {OWN_FORWARD} {i + 1}"
            yield f"{where} {item.text}"
            length += 1


def _with_jump(
    chains: Chains, lines: Sequence[str], needed: bool, regexes: tuple[str, str]
) -> list[str]:
    """Join changes of our chain with the one of the jump to it, by which they stand or fall.

    :param needed: whether something is left in our chain then.
    """
    entries = chains.get(_FORWARD, ())
    jumps = [i for i, entry in enumerate(entries) if entry.is_jump]
    others = [entry for entry in entries if not entry.is_jump]
    low, high = _bounds([f"-A {_FORWARD} {entry.text}" for entry in others], *regexes)
    at = jumps[0] if jumps else low
    place = max(low, min(at, high))
    if not lines and (not needed or (len(jumps) == 1 and place == at)):
        return []
    before = [] if OWN_FORWARD in chains else [f"-N {OWN_FORWARD}"]
    before += [f"-D {_FORWARD} {entries[i].text}" for i in jumps]
    if needed:
        last = max((entries[i].generation or 0 for i in jumps), default=0)
        where = f"-A {_FORWARD}" if place == len(others) else f"-I {_FORWARD} {place + 1}"
        jump = f"{_comment(f'{_GENERATION}{last + 1}')} -j {OWN_FORWARD}"
        return [*before, *lines, f"{where} {jump}"]
    elsewhere = (entry for name in chains if name != _FORWARD for entry in chains[name])
    used = any(entry.leads_to_ours for entry in [*others, *elsewhere])
    return [*before, *lines, *([] if used else [f"-X {OWN_FORWARD}"])]


def _bounds(lines: Sequence[str], top: str, bottom: str) -> tuple[int, int]:
    """Above how many of these rules the jump must not be, and below how many it may be."""
    upper, lower = regex("iptables_top_regex", top), regex("iptables_bottom_regex", bottom)
    low = max((i + 1 for i, line in enumerate(lines) if upper and upper.search(line)), default=0)
    below = (i for i, line in enumerate(lines) if lower and lower.search(line))
    return low, next(below, len(lines))


def _comment(mark: str) -> str:
    return f'-m comment --comment "{PREFIX}:{mark}"'
