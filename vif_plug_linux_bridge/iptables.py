# SPDX-License-Identifier: Apache-2.0
"""The historic interface to iptables, for callers outside of this repository."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from functools import partial
from typing import Any

from oslo_log import log as logging

from os_vif.exception import InvalidValue
from os_vif.wiring.deadline import Deadline
from vif_plug_linux_bridge import filtering, firewall, privsep
from vif_plug_linux_bridge.filtering import Changes, Text

LOG = logging.getLogger(__name__)

_PROGRAMS = (firewall.IPV4, firewall.IPV6)

#: Seconds for callers who know of no deadline.
SECONDS = 120

_TABLES = {
    firewall.FILTER: ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
}


def get_binary_name() -> str:
    """What the names of our chains begin with, in whatever process."""
    return filtering.PREFIX


def iptables_save() -> tuple[str, str]:
    """Return what ``iptables-save`` prints, with counters, and an empty string."""
    return _save_all(firewall.IPV4), ""


def ip6tables_save() -> tuple[str, str]:
    """Return what ``ip6tables-save`` prints, with counters, and an empty string."""
    return _save_all(firewall.IPV6), ""


def iptables_restore(input: str) -> None:
    """Replace whole tables: what is not in the input is gone. Nothing of os-vif uses this.

    :param input: for ``iptables-restore``, with counters.
    """
    _restore_all(firewall.IPV4, input)


def ip6tables_restore(input: str) -> None:
    """Replace whole tables of IPv6; see :func:`iptables_restore`."""
    _restore_all(firewall.IPV6, input)


@privsep.vif_plug.entrypoint
def _save_all(program: str) -> str:
    return firewall.call([f"{_program(program)}-save", "--counters"], "", Deadline(SECONDS))


@privsep.vif_plug.entrypoint
def _restore_all(program: str, text: str) -> None:
    argv = [f"{_program(program)}-restore", "--counters", f"--wait={SECONDS}"]
    firewall.call(argv, text, Deadline(SECONDS))


def _program(name: str) -> str:
    if name not in _PROGRAMS:
        raise InvalidValue(field="program", value=name, reason=f"none of {_PROGRAMS}")
    return name


@privsep.vif_plug.entrypoint
def _apply(jobs: Iterable[Sequence[Any]], top: str, bottom: str) -> None:
    """Make changes of tables.

    :param jobs: the program, the table and :func:`_packed` changes of each.
    :raises InvalidValue: they are none such; nothing was written.
    """
    checked = _checked(jobs)
    deadline = Deadline(SECONDS)
    with firewall.turn(deadline):
        for program, table, changes in checked:
            plan = partial(_merge_texts, table, changes, (top, bottom))
            saved = firewall.save(program, table, deadline)
            firewall.settle(program, table, plan, deadline, saved)


def _checked(jobs: Iterable[Sequence[Any]]) -> list[tuple[str, str, Changes]]:
    try:
        return [
            (_program(program), _table_name(table), _unpacked(packed))
            for program, table, packed in jobs
        ]
    except (TypeError, ValueError) as err:
        raise InvalidValue(field="changes", value=jobs, reason=f"they are none: {err}") from err


def _table_name(name: str) -> str:
    if name not in _TABLES:
        raise InvalidValue(field="table", value=name, reason=f"none of {[*_TABLES]}")
    return name


def _merge_texts(table: str, changes: Changes, regexes: tuple[str, str], saved: str) -> str | None:
    return filtering.merge_texts(saved, table, changes, *regexes)


def _packed(changes: Changes) -> tuple[Any, ...]:
    """Changes as values that msgpack knows."""
    return astuple(changes)


def _unpacked(packed: Sequence[Any]) -> Changes:
    chains, rules, lost_chains, lost_rules = packed
    return Changes(
        tuple(chains),
        tuple(Text(*rule) for rule in rules),
        tuple(lost_chains),
        tuple(Text(*rule) for rule in lost_rules),
    )


class IptablesRule:
    """A rule in the words of a caller.

    :param chain: its chain; with ``wrap``, less the prefix that ours have.
    :param rule: what follows ``-A <chain>``.
    :param top: whether it goes before other rules when it is added.
    """

    def __init__(self, chain: str, rule: str, wrap: bool = True, top: bool = False) -> None:
        self.chain = chain
        self.rule = rule
        self.wrap = wrap
        self.top = top

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IptablesRule) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    def __str__(self) -> str:
        return f"-A {self.full_chain} {self.rule}"

    def __repr__(self) -> str:
        return f"<IptablesRule {self}>"

    @property
    def full_chain(self) -> str:
        return filtering.own_chain(self.chain) if self.wrap else self.chain

    @property
    def _values(self) -> tuple[str, str, bool, bool]:
        return self.chain, self.rule, self.wrap, self.top


class IptablesTable:
    """Chains and rules that a caller wants in a table, and those he does not want any more.

    Chains belong to all processes of the host, so what a caller has said nothing about stays.
    Rules go to chains of ours, to which the chains of the kernel jump, unless ``wrap`` is false.
    """

    def __init__(self) -> None:
        self.rules: list[IptablesRule] = []
        self.remove_rules: list[IptablesRule] = []
        self.chains: set[str] = set()
        self.unwrapped_chains: set[str] = set()
        self.remove_chains: set[str] = set()
        self.dirty = True

    def has_chain(self, name: str, wrap: bool = True) -> bool:
        """Whether a chain has been added."""
        return name in self._chains(wrap)

    def add_chain(self, name: str, wrap: bool = True) -> None:
        """Add a chain; its full name has a prefix, unless ``wrap`` is false."""
        self._chains(wrap).add(name)
        self.remove_chains.discard(self._full(name, wrap))
        self.dirty = True

    def remove_chain(self, name: str, wrap: bool = True) -> None:
        """Remove a chain, its rules and our rules that jump to it."""
        if not self.has_chain(name, wrap):
            LOG.warning("There is no chain %s to be removed", name)
            return
        self.empty_chain(name, wrap)
        full = self._full(name, wrap)
        self.remove_rules_regex(rf"-[jg] {re.escape(full)}(?!\S)")
        self._chains(wrap).remove(name)
        self.remove_chains.add(full)

    def add_rule(self, chain: str, rule: str, wrap: bool = True, top: bool = False) -> None:
        """Add a rule; ``$name`` in it is the full name of our chain of that name.

        :raises ValueError: no such chain has been added.
        """
        if wrap and not self.has_chain(chain):
            raise ValueError(f"Unknown chain: {chain!r}")
        new = self._rule(chain, rule, wrap, top)
        self.rules.append(new)
        self.remove_rules = [old for old in self.remove_rules if not _same(old, new)]
        self.dirty = True

    def remove_rule(self, chain: str, rule: str, wrap: bool = True, top: bool = False) -> None:
        """Remove a rule, whichever process added it."""
        self._remove([self._rule(chain, rule, wrap, top)])

    def remove_rules_regex(self, regex: str | re.Pattern[str]) -> int:
        """Remove the rules added here that match; return how many."""
        return self._remove([rule for rule in self.rules if re.search(regex, str(rule))])

    def empty_chain(self, chain: str, wrap: bool = True) -> None:
        """Remove the rules added here to a chain."""
        wanted = (chain, wrap)
        self._remove([rule for rule in self.rules if (rule.chain, rule.wrap) == wanted])

    def changes(self, builtin: Sequence[str]) -> Changes:
        """What :mod:`~vif_plug_linux_bridge.filtering` is to bring about.

        :param builtin: the chains of the kernel; ours beside them are made when they are needed.
        """
        wrapped = sorted(filtering.own_chain(name) for name in self.chains - set(builtin))
        return Changes(
            (*wrapped, *sorted(self.unwrapped_chains - set(builtin))),
            tuple(_text(rule) for rule in self.rules),
            tuple(sorted(self.remove_chains)),
            tuple(_text(rule) for rule in self.remove_rules),
        )

    def _remove(self, rules: Sequence[IptablesRule]) -> int:
        self.rules = [old for old in self.rules if not any(_same(old, rule) for rule in rules)]
        self.remove_rules += rules
        self.dirty = True
        return len(rules)

    def _rule(self, chain: str, rule: str, wrap: bool, top: bool) -> IptablesRule:
        own = re.sub(r"\$(\S+)", lambda found: filtering.own_chain(found[1]), rule)
        return IptablesRule(chain, own, wrap, top)

    def _chains(self, wrap: bool) -> set[str]:
        return self.chains if wrap else self.unwrapped_chains

    @staticmethod
    def _full(name: str, wrap: bool) -> str:
        return filtering.own_chain(name) if wrap else name


def _same(one: IptablesRule, other: IptablesRule) -> bool:
    return (one.full_chain, one.rule) == (other.full_chain, other.rule)


def _text(rule: IptablesRule) -> Text:
    return Text(rule.full_chain, rule.rule, rule.top)


class IptablesManager:
    """Tables for callers with rules of their own; bridges have :func:`ensure`.

    ``ipv4`` and ``ipv6`` hold an :class:`IptablesTable` for each of filter, nat, mangle and raw.
    The parameters are the options of the plugin.
    """

    def __init__(
        self,
        use_ipv6: bool = False,
        iptables_top_regex: str | None = None,
        iptables_bottom_regex: str | None = None,
        iptables_drop_action: str = "DROP",
        forward_bridge_interface: Iterable[str] | None = None,
    ) -> None:
        self.use_ipv6 = use_ipv6
        self.iptables_top_regex = iptables_top_regex or ""
        self.iptables_bottom_regex = iptables_bottom_regex or ""
        self.iptables_drop_action = iptables_drop_action
        self.forward_bridge_interface = tuple(forward_bridge_interface or (filtering.ALL,))
        self.iptables_apply_deferred = False
        self.ipv4 = {name: _table(chains) for name, chains in _TABLES.items()}
        self.ipv6 = {name: _table(chains) for name, chains in _TABLES.items()}

    def defer_apply_on(self) -> None:
        """Let :meth:`apply` do nothing for now."""
        self.iptables_apply_deferred = True

    def defer_apply_off(self) -> None:
        """Apply, now and from now on."""
        self.iptables_apply_deferred = False
        self.apply()

    def dirty(self) -> bool:
        """Whether a table has changes that were not applied."""
        return any(table.dirty for _, _, table in self._tables())

    def apply(self) -> None:
        """Write what was added and removed, unless that is deferred.

        :raises CommandFailed: iptables refused; the tables before the one that failed are written.
        """
        if self.iptables_apply_deferred:
            return
        changed = [
            (program, name, table, table.changes(_TABLES[name]))
            for program, name, table in self._tables()
            if table.dirty
        ]
        jobs = [
            (program, name, _packed(changes))
            for program, name, _, changes in changed
            if changes != Changes()
        ]
        if jobs:
            _apply(jobs, self.iptables_top_regex, self.iptables_bottom_regex)
        for _, _, table, _ in changed:
            table.remove_rules, table.remove_chains, table.dirty = [], set(), False

    def get_gateway_rules(self, bridge: str) -> list[tuple[str, str]]:
        """The rules for a bridge that traffic may be forwarded to: chains and texts."""
        rules = filtering.rules_for(
            bridge, True, self.forward_bridge_interface, self.iptables_drop_action
        )
        return [("FORWARD", rule.words) for rule in rules]

    def _tables(self) -> Iterator[tuple[str, str, IptablesTable]]:
        yield from ((firewall.IPV4, name, table) for name, table in self.ipv4.items())
        if self.use_ipv6:
            yield from ((firewall.IPV6, name, table) for name, table in self.ipv6.items())


def _table(chains: Iterable[str]) -> IptablesTable:
    table = IptablesTable()
    for name in chains:
        table.add_chain(name)
    table.dirty = False
    return table
