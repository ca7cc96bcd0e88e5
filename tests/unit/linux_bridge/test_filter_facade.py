# SPDX-License-Identifier: Apache-2.0
"""The historic interface to iptables, less iptables."""

import importlib
from typing import Any

import pytest

from os_vif.exception import InvalidValue
from tests.compat import facts
from tests.unit.ovs.test_facade_signatures import described
from vif_plug_linux_bridge import firewall, iptables, privsep
from vif_plug_linux_bridge.filtering import Changes, Text
from vif_plug_linux_bridge.iptables import IptablesManager, IptablesRule, IptablesTable

MODULE = "vif_plug_linux_bridge.iptables"
OWN = "os-vif-FORWARD"


@pytest.mark.parametrize("name", facts("api")[MODULE])
def test_it_is_as_it_was(name: str) -> None:
    fact: Any = facts("api")[MODULE][name]
    assert described(getattr(importlib.import_module(MODULE), name), fact) == fact


def table(*chains: str) -> IptablesTable:
    made = IptablesTable()
    for chain in chains:
        made.add_chain(chain)
    return made


NOTHING: tuple[Any, ...] = ((), (), (), ())


@pytest.mark.parametrize(
    "jobs",
    [
        *[None, 7, "iptables", [None], [7], ["x"], [()], [("iptables", "filter")]],
        *[[("iptables", "filter", packed)] for packed in (None, 7, (), ((), ()), "more")],
        *[[("iptables", "filter", ((), rules, (), ()))] for rules in (None, 7, [7], [()], ["x"])],
        [("iptables", "filter", ((), [("os-vif-FORWARD", 7, True)], (), ()))],
        [("iptables", "filter", ([7], (), (), ()))],
        *[[(program, "filter", NOTHING)] for program in ("sh", None, [], 7)],
        *[[("iptables", table, NOTHING)] for table in ("security", None, [], 7)],
        [("iptables", "filter", NOTHING), None],
    ],
    ids=repr,
)
def test_the_daemon_refuses_what_are_no_changes(
    jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has started any program."""
    monkeypatch.setattr(firewall, "save", lambda *_: pytest.fail("it was started"))
    monkeypatch.setattr(privsep.vif_plug, "client_mode", False)
    with pytest.raises(InvalidValue):
        iptables._apply(jobs, "", "")


def test_the_prefix_is_no_process_name() -> None:
    assert iptables.get_binary_name() == "os-vif"


def test_a_rule_is_its_words() -> None:
    assert str(IptablesRule("FORWARD", "-j DROP")) == f"-A {OWN} -j DROP"
    assert str(IptablesRule("FORWARD", "-j DROP", wrap=False)) == "-A FORWARD -j DROP"
    assert IptablesRule("A", "b") == IptablesRule("A", "b")
    assert IptablesRule("A", "b") != IptablesRule("A", "b", top=True)
    assert len({IptablesRule("A", "b"), IptablesRule("A", "b")}) == 1
    assert IptablesRule("A", "b") != "-A A b"


def test_chains_of_ours_have_the_prefix_and_those_of_the_kernel_are_there() -> None:
    filled = table("FORWARD", "mine")
    filled.add_chain("plain", wrap=False)
    filled.add_rule("FORWARD", "-j $mine")
    filled.add_rule("plain", "-j DROP", wrap=False, top=True)
    assert filled.changes(["FORWARD"]) == Changes(
        ("os-vif-mine", "plain"), (Text(OWN, "-j os-vif-mine"), Text("plain", "-j DROP", True))
    )
    assert (filled.has_chain("mine"), filled.has_chain("mine", wrap=False)) == (True, False)


def test_a_chain_must_be_known() -> None:
    with pytest.raises(ValueError, match="mine"):
        table().add_rule("mine", "-j DROP")


def test_what_is_removed_is_removed_from_the_host_too() -> None:
    filled = table("FORWARD", "mine")
    for rule in ("-j $mine", "-i a -j DROP", "-i b -j DROP"):
        filled.add_rule("FORWARD", rule)
    filled.add_rule("mine", "-j DROP")
    assert filled.remove_rules_regex("-i [ac]") == 1
    filled.remove_rule("FORWARD", "-i somebody-elses-run -j DROP")
    filled.remove_chain("mine")
    changes = filled.changes(["FORWARD"])
    assert changes.chains == ()
    assert changes.rules == (Text(OWN, "-i b -j DROP"),)
    assert changes.lost_chains == ("os-vif-mine",)
    assert {rule.words for rule in changes.lost_rules} == {
        "-i a -j DROP", "-i somebody-elses-run -j DROP", "-j os-vif-mine", "-j DROP",
    }  # fmt: skip


def test_what_is_added_again_is_not_removed() -> None:
    filled = table("FORWARD", "mine")
    filled.add_rule("FORWARD", "-j DROP")
    filled.remove_rule("FORWARD", "-j DROP")
    filled.add_rule("FORWARD", "-j DROP")
    filled.remove_chain("mine")
    filled.add_chain("mine")
    filled.remove_chain("unknown")
    expected = Changes(("os-vif-mine",), (Text(OWN, "-j DROP"),))
    assert filled.changes(["FORWARD"]) == expected


def test_the_rules_of_a_gateway_are_for_add_rule() -> None:
    manager = IptablesManager(iptables_drop_action="REJECT", forward_bridge_interface=["eth0"])
    assert manager.get_gateway_rules("br0") == [
        ("FORWARD", "-i br0 -o br0 -j ACCEPT"),
        ("FORWARD", "-i br0 -o eth0 -j ACCEPT"),
        ("FORWARD", "-i eth0 -o br0 -j ACCEPT"),
        ("FORWARD", "-i br0 -j REJECT"),
        ("FORWARD", "-o br0 -j REJECT"),
    ]
    assert IptablesManager().get_gateway_rules("br0") == [
        ("FORWARD", "-i br0 -j ACCEPT"),
        ("FORWARD", "-o br0 -j ACCEPT"),
    ]


def test_only_changed_tables_are_sent_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(iptables, "_apply", lambda jobs, *regexes: sent.append((jobs, regexes)))
    manager = IptablesManager(iptables_top_regex="top")
    manager.ipv4["nat"].add_rule("POSTROUTING", "-j MASQUERADE")
    manager.ipv6["filter"].add_rule("FORWARD", "-j DROP")  # without use_ipv6
    manager.defer_apply_on()
    manager.apply()
    assert not sent
    assert manager.dirty()
    manager.defer_apply_off()
    manager.apply()
    packed = ((), (("os-vif-POSTROUTING", "-j MASQUERADE", False),), (), ())
    assert sent == [([("iptables", "nat", packed)], ("top", ""))]
    assert not manager.dirty()


def test_the_daemon_runs_nothing_but_iptables_on_tables_that_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(privsep.vif_plug, "client_mode", False)
    for act in (
        lambda: iptables._save_all("ls"),
        lambda: iptables._restore_all("../iptables", ""),
        lambda: iptables._apply([("sh", "filter", ((), (), (), ()))], "", ""),
        lambda: iptables._apply([("iptables", "x", ((), (), (), ()))], "", ""),
    ):
        with pytest.raises(InvalidValue):
            act()


def test_a_table_that_failed_stays_dirty(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise firewall.CommandFailed(command="x", code=1, stderr="y")

    monkeypatch.setattr(iptables, "_apply", fail)
    manager = IptablesManager()
    manager.ipv4["filter"].add_rule("FORWARD", "-j DROP")
    with pytest.raises(firewall.CommandFailed):
        manager.apply()
    assert manager.dirty()
