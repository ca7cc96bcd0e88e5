# SPDX-License-Identifier: Apache-2.0
"""Mutants: does some test notice when the library breaks a promise?

Each mutant is one small change of the library that breaks one behaviour. It is applied to a copy
of the tree, and the tests that are the most likely to notice run there. A mutant that no test
notices (it survives) shows a behaviour that nothing pins. Run it by hand, before and after tests
are rewritten, with an environment that has the tests' requirements::

    .tox/unit/bin/python tools/mutants.py [--list] [--only NAME ...] [--output FILE]

What a mutant is, is the behaviour that it breaks; file, texts and tests follow the code. The old
text must occur exactly once in its file. The tests are arguments of pytest.
"""

import argparse
import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("os_vif", "os_vif_start", "vif_plug_linux_bridge", "vif_plug_noop", "vif_plug_ovs")
NOT_COPIED = (".git", ".hypothesis", ".pytest_cache", ".tox", ".venv-run", "build")
#: So many mutants run at once.
AT_ONCE = 2
#: Seconds for one test, and for all tests of one mutant: what takes longer hangs.
TEST_SECONDS, MUTANT_SECONDS = 60, 240

KILLED, HUNG, SURVIVED, BROKEN = "killed", "killed (hangs)", "SURVIVED", "BROKEN"


class Mutant(NamedTuple):
    """A change of the library."""

    name: str
    of: str  # the promise, the element or the part
    breaks: str  # the behaviour
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    # Promise 1 -----------------------------------------------------------------------------------
    Mutant(
        "refused-device",
        "promise 1, truth",
        "plug says OK although ovs-vswitchd refused the device",
        "os_vif/wiring/engine.py",
        "if broken and self._strict and job.plan:",
        "if False:",
        "tests/functional/test_ovs_truth.py -k 'cannot_make or vswitchd_refuses'",
    ),
    Mutant(
        "late-vswitchd",
        "promise 1, truth",
        "plug returns although ovs-vswitchd has not caught up by the deadline",
        "os_vif/wiring/engine.py",
        "        self._wait_for_vswitchd(jobs, deadline)\n                final",
        "        final",
        "tests/contract/test_engine.py -k 'vswitchd_does_not_act'",
    ),
    Mutant(
        "unseen-port",
        "promise 1, truth",
        "a re-plug does not wait for a port that ovs-vswitchd has not looked at yet",
        "os_vif/wiring/elements/ovs_port.py",
        "unseen = port is not None and port.is_unseen",
        "unseen = False",
        "tests/contract/test_rollback.py -k 'vswitchd_has_not_looked_at'",
    ),
    Mutant(
        "former-device",
        "promise 1, truth",
        "an ofport that belongs to a former device of the same name counts as working",
        "os_vif/wiring/state.py",
        "return self.works and (not index or not self.ifindex or self.ifindex == index)",
        "return self.works",
        "tests/contract/test_rollback.py -k 'must_be_the_one_that_is_there'",
    ),
    Mutant(
        "set-down-again",
        "promise 1, truth",
        "a device whose flags ovs-vswitchd wrote back while it opened it stays down",
        "os_vif/wiring/engine.py",
        "                self._set_up_again(jobs, links, deadline)\n",
        "",
        "tests/contract/test_engine.py -k 'sets_back'",
    ),
    Mutant(
        "unplug-raises",
        "promise 1, truth",
        "unplug fails, instead of warning, when ovs-vswitchd has not caught up by the deadline",
        "os_vif/wiring/engine.py",
        "    removed = (step.name for step in job.plan.rows if isinstance(step, Removal))\n",
        "    job.failure = errors.DeadlineExceeded(seconds=0, what='')\n    removed = ()\n",
        "tests/contract/test_engine.py -k 'removal_that_vswitchd'",
    ),
    Mutant(
        "stuck-vswitchd",
        "promise 1, truth",
        "each further verb waits its whole time for an ovs-vswitchd that is known to be stuck",
        "vif_plug_ovs/ovsdb/connection.py",
        "self._stuck_at_cfg = cfg_seen",
        "pass",
        "tests/functional/test_deadlines.py -k 'stays_stuck and native'",
    ),
    # Promise 2 -----------------------------------------------------------------------------------
    Mutant(
        "rows-stay",
        "promise 2, all or nothing",
        "a failed plug leaves its rows in the database",
        "os_vif/wiring/engine.py",
        "[job for job in failed if job.rows_sent], kept",
        "[], kept",
        "tests/contract/test_engine.py -k 'vswitchd_does_not_act'",
    ),
    Mutant(
        "links-stay",
        "promise 2, all or nothing",
        "a failed plug leaves its links on the host",
        "os_vif/wiring/engine.py",
        "job for job in failed if job.links_executed and",
        "job for job in failed if False and",
        "tests/contract/test_engine.py -k 'kernel_refuses_is_rolled_back'",
    ),
    Mutant(
        "interrupted",
        "promise 2, all or nothing",
        "a plug that KeyboardInterrupt or a greenthread's timeout ends is not rolled back",
        "os_vif/wiring/engine.py",
        "except BaseException as interruption:",
        "except Exception as interruption:",
        "tests/contract/test_rollback.py -k 'at_any_call and KeyboardInterrupt and tap'",
    ),
    Mutant(
        "batch-fails",
        "promise 2, all or nothing",
        "one VIF whose rows the server refuses fails all VIFs of its batch",
        "os_vif/wiring/engine.py",
        "            if len(writing) == 1:\n                writing[0].failure = failure\n",
        "            if writing:\n                for job in writing:\n"
        "                    job.failure = failure\n",
        "tests/contract/test_rollback.py -k 'each_of_several_commits'",
    ),
    Mutant(
        "unknown-outcome",
        "promise 2, all or nothing",
        "a verb whose commit was not answered does not look whether it took effect",
        "os_vif/wiring/engine.py",
        "unknown = isinstance(failure, errors.OutcomeUnknown) and",
        "unknown = False and",
        "tests/functional/test_sessions.py -k 'during_its_commit'",
    ),
    # Promise 3 -----------------------------------------------------------------------------------
    Mutant(
        "writes-again",
        "promise 3, idempotent",
        "a re-plug writes ids to the database that are there already",
        "os_vif/wiring/elements/ovs_port.py",
        "if port.interface(key) != value:",
        "if key:",
        "tests/contract/test_engine.py -k 'applying_again'",
    ),
    Mutant(
        "counts-up",
        "promise 3, idempotent",
        "a transaction without changes is sent, and counts next_cfg up",
        "vif_plug_ovs/ovsdb/connection.py",
        "            if not wanted:\n",
        "            if not wanted and not writes:\n",
        "tests/functional/test_connection.py -k 'without_operations'",
    ),
    Mutant(
        "asks-the-daemon",
        "promise 3, idempotent",
        "a re-plug that finds nothing to do makes a privileged call",
        "os_vif/wiring/elements/link.py",
        "            if wanted:\n                yield SetLink",
        "            yield SetLink",
        "tests/contract/test_engine.py -k 'applying_again'",
    ),
    # Promise 4 -----------------------------------------------------------------------------------
    Mutant(
        "frozen-server",
        "promise 4, deadlines",
        "a verb outlives its deadline while ovsdb-server does not answer",
        "vif_plug_ovs/ovsdb/connection.py",
        "return deadline.expired or self._closed.is_set()",
        "return self._closed.is_set()",
        "tests/functional/test_deadlines.py -k 'frozen and server and native and unix'",
    ),
    Mutant(
        "expired-is-never",
        "promise 4, deadlines",
        "a deadline that has expired counts as no deadline",
        "os_vif/wiring/deadline.py",
        "min(LONGEST, max(0.0, self.at - time.monotonic()))",
        "min(LONGEST, max(0.0, self.at - time.monotonic()) or LONGEST)",
        "tests/unit/wiring/test_deadline.py",
    ),
    Mutant(
        "silent-daemon",
        "promise 4, deadlines",
        "a verb waits without end for a privileged daemon that hangs",
        "os_vif/kernel/daemon.py",
        "_wrap_timeout=limit)",
        "_wrap_timeout=None)",
        "tests/functional/test_deadlines.py -k 'frozen and privileged'",
    ),
    # Promise 5 -----------------------------------------------------------------------------------
    Mutant(
        "wait-locks",
        "promise 5, concurrent callers",
        "a caller that waits for the server or ovs-vswitchd holds the connection meanwhile",
        "vif_plug_ovs/ovsdb/connection.py",
        "self._changed.unlocked(poller.block)",
        "poller.block()",
        "tests/functional/test_connection.py -k 'holds_up_nobody'",
    ),
    Mutant(
        "two-threads-one-vif",
        "promise 5, concurrent callers",
        "two threads work on the same VIF at once",
        "os_vif/locks.py",
        "            self._changed.wait_for(lambda: wanted.isdisjoint(self._held), "
        "deadline.remaining())\n            mine = wanted - self._held",
        "            mine = set(wanted)",
        "tests/unit/test_locks.py -k 'one_thread_at_a_time or waits_for_it'",
    ),
    Mutant(
        "transaction-per-vif",
        "promise 5, concurrent callers",
        "each VIF of a batch has a transaction of its own",
        "os_vif/wiring/engine.py",
        "        if not writing:\n            return\n",
        "        if not writing:\n            return\n        if len(writing) > 1:\n"
        "            for half in _halves(writing):\n                self._commit(half, deadline)\n"
        "            return\n",
        "tests/contract/test_engine.py -k 'of_a_batch or batch_shares'",
    ),
    # Promise 6 -----------------------------------------------------------------------------------
    Mutant(
        "statistics",
        "promise 6, cost",
        "the statistics of all interfaces are monitored",
        "vif_plug_ovs/ovsdb/rows.py",
        '"status": _MAP,\n',
        '"status": _MAP,\n                "statistics": {"type": {"key": "string", '
        '"value": "integer", "min": 0, "max": "unlimited"}},\n',
        "tests/functional/test_connection.py -k 'statistics'",
    ),
    Mutant(
        "scan-for-names",
        "promise 6, cost",
        "a row is looked up by going through all rows of its table",
        "vif_plug_ovs/ovsdb/rows.py",
        "return next(iter(replica.tables[table].rows.indexes[_NAME].get(name)), None)",
        "every = replica.tables[table].rows.values()\n"
        "    return next((row for row in every if _name(row) == name), None)",
        "tests/unit/ovs/test_rows.py",
    ),
    # Promise 7 -----------------------------------------------------------------------------------
    Mutant(
        "qos-stays",
        "promise 7, nothing left behind",
        "unplug leaves the QoS row",
        "vif_plug_ovs/ovsdb/operations.py",
        "        yield from self._remove_qos(name)\n        if port:",
        "        if port:",
        "tests/functional/test_kinds.py -k 'each_kind and native-hybrid'",
    ),
    Mutant(
        "orphaned-qos",
        "promise 7, nothing left behind",
        "unplug leaves the QoS row of a port that is gone already",
        "os_vif/wiring/elements/ovs_port.py",
        "rows=(RemoveQos(self.name),) if self.name in found.qos else ()",
        "rows=()",
        "tests/functional/test_kinds.py -k 'orphan'",
    ),
    Mutant(
        "deletion-killed",
        "promise 7, nothing left behind",
        "a link stays in the link group of a deletion that was killed half-way",
        "os_vif/wiring/elements/link.py",
        'yield Difference(where, "group", 0, found.group)',
        "pass",
        "tests/functional/test_deletions.py -k 'killed'",
    ),
    Mutant(
        "creation-killed",
        "promise 7, nothing left behind",
        "a link whose creation was killed before it was marked is never set up",
        "os_vif/wiring/elements/link.py",
        'self.named_after_id and not found.attributes["up"]',
        "False",
        "tests/functional/test_linux_bridge.py -k 'made_ready'",
    ),
    Mutant(
        "other-settings",
        "promise 7, nothing left behind",
        "unplug leaves what the VIF has from a plug under other settings",
        "vif_plug_ovs/shapes/__init__.py",
        "return replace(wanted, alternatives=others)",
        "return wanted",
        "tests/unit/ovs/test_round_trips.py",
    ),
    # Promise 8 -----------------------------------------------------------------------------------
    Mutant(
        "name-with-slash",
        "promise 8, privileged checks",
        "the privileged daemon takes a device name with a slash",
        "os_vif/validate.py",
        r'r"[/:%\s]"',
        r'r"[:%\s]"',
        "tests/unit/kernel/test_packing.py -k 'bad_name'",
    ),
    Mutant(
        "other-plugins-step",
        "promise 8, privileged checks",
        "a plugin's daemon executes steps that are another plugin's job",
        "os_vif/kernel/packing.py",
        "    allowed.check(step)\n",
        "",
        "tests/unit/kernel/test_packing.py -k 'job'",
    ),
    Mutant(
        "unmarked-deleted",
        "promise 8, privileged checks",
        "the linux_bridge daemon deletes a bridge that does not bear its mark",
        "os_vif/kernel/execute.py",
        "if not call.allowed.may_delete(link.alias):",
        "if False:",
        "tests/functional/test_kernel.py -k 'mark'",
    ),
    Mutant(
        "tap-for-all",
        "promise 8, privileged checks",
        "any user can attach to a tap",
        "os_vif/kernel/tap.py",
        "        fcntl.ioctl(device, TUNSETOWNER, _ROOT)\n",
        "",
        "tests/functional/test_tap.py -k 'another_user or belongs'",
    ),
    Mutant(
        "any-column",
        "promise 8, privileged checks",
        "the privileged daemon writes columns that os-vif never writes",
        "vif_plug_ovs/ovsdb/client.py",
        "        and written <= columns\n",
        "",
        "tests/unit/ovs/test_client.py",
    ),
    # Promise 9 -----------------------------------------------------------------------------------
    Mutant(
        "import-initialises",
        "promise 9, imports",
        "importing the library loads the plugins and registers their options",
        "os_vif/__init__.py",
        "    return failure\n",
        "    return failure\n\n\ninitialize()\n",
        "tests/unit/test_verbs.py -k 'an_import'",
    ),
    Mutant(
        "patches-python-ovs",
        "promise 9, imports",
        "TLS settings of os-vif take effect for all users of python-ovs in the process",
        "vif_plug_ovs/ovsdb/tls.py",
        'method = f"{remotes.TLS_METHOD}{next(_numbers)}"',
        'method = "ssl"',
        "tests/functional/test_tls.py -k 'side_by_side or nothing_of_python_ovs'",
    ),
    # Elements ------------------------------------------------------------------------------------
    Mutant(
        "arp-flux",
        "element: Linux bridge",
        "a Linux bridge answers ARP for the host's other addresses",
        "os_vif/wiring/elements/link.py",
        '{"arp_ignore": 1, "arp_announce": 2}',
        '{"arp_announce": 2}',
        "tests/functional/test_facades.py -k 'keeps_out_of_the_traffic'",
    ),
    Mutant(
        "veth-not-promiscuous",
        "element: veth pair",
        "the ends of a veth pair are not promiscuous",
        "os_vif/wiring/elements/veth_pair.py",
        'with_values({"promisc": True, "up": True}',
        'with_values({"up": True}',
        "tests/unit/wiring/test_apply.py -k 'in_its_order and hybrid'",
    ),
    Mutant(
        "mac-of-libvirts-tap",
        "element: tap",
        "plug changes the MAC address of a tap that libvirt made",
        "os_vif/wiring/elements/tap.py",
        'unmarked=frozenset({"mtu"}),',
        "unmarked=None,",
        "tests/functional/test_ovs_plug.py -k 'mac_of_a_tap'",
    ),
    Mutant(
        "other-vlan",
        "element: VLAN device",
        "plug uses a VLAN device of the right name and another VLAN",
        "os_vif/wiring/elements/vlan_device.py",
        '"vlan": (self.vlan, Action.REFUSE),',
        '"vlan": (self.vlan, Action.REPORT),',
        "tests/unit/wiring/test_apply.py -k 'contradicts'",
    ),
    Mutant(
        "mtu-lowered",
        "element: host interface",
        "the MTU of an interface that several VLANs share is lowered",
        "os_vif/wiring/elements/host_interface.py",
        "mtu=None if self.shared else self.mtu",
        "mtu=self.mtu",
        "tests/unit/wiring/test_apply.py -k 'never_lowered'",
    ),
    Mutant(
        "taken-from-bridge",
        "element: bridge port",
        "an interface that is in another bridge is not refused",
        "os_vif/wiring/elements/bridge_port.py",
        "action = Action.REFUSE if master else Action.CORRECT",
        "action = Action.CORRECT",
        "tests/contract/test_engine.py -k 'interface_of_another_bridge'",
    ),
    Mutant(
        "not-filtered",
        "element: forwarding filter",
        "plug makes no rules for what a bridge forwards",
        "os_vif/wiring/elements/forwarding_filter.py",
        "return Plan(links=(FilterBridge(self.bridge, self.settings),))",
        "return Plan()",
        "tests/functional/test_linux_bridge.py -k 'up_to_the_options'",
    ),
    Mutant(
        "representor-stays-up",
        "element: representor",
        "unplug leaves the representor up",
        "os_vif/wiring/elements/representor.py",
        'on_remove={"up": False}',
        "on_remove={}",
        "tests/unit/wiring/test_remove.py -k 'representor'",
    ),
    Mutant(
        "mtu-of-libvirts-tap",
        "element: device MTU",
        "plug does not set the MTU of a tap that libvirt made",
        "os_vif/wiring/elements/device_mtu.py",
        "with_values({}, mtu=self.mtu)",
        "{}",
        "tests/unit/wiring/test_apply.py -k 'what_is_corrected and libvirt'",
    ),
    Mutant(
        "br-int-deleted",
        "element: OVS bridge",
        "unplug deletes the integration bridge",
        "vif_plug_ovs/shapes/request.py",
        "OnRemove.DELETE if trunk else OnRemove.KEEP",
        "OnRemove.DELETE",
        "tests/functional/test_kinds.py -k 'integration_bridge'",
    ),
    Mutant(
        "port-on-another-bridge",
        "element: OVS port",
        "plug says OK although the port is on another bridge",
        "os_vif/wiring/elements/ovs_port.py",
        'yield self._differs("bridge", self.bridge, port.bridge, Action.REFUSE)',
        "pass",
        "tests/contract/test_engine.py -k 'on_another_bridge'",
    ),
    # Parts ---------------------------------------------------------------------------------------
    Mutant(
        "another-vifs-port",
        "ownership",
        "a port with another VIF's iface-id counts as this VIF's when the MAC address fits",
        "os_vif/wiring/elements/ovs_port.py",
        "return Whose.THIS if mine[IFACE_ID] == its[IFACE_ID] else Whose.ANOTHERS",
        "if mine[IFACE_ID] == its[IFACE_ID]:\n                return Whose.THIS",
        "tests/unit/wiring/test_ownership.py",
    ),
    Mutant(
        "used-port-replaced",
        "ownership",
        "plug takes over the port of another VIF whose guest runs",
        "os_vif/wiring/ownership.py",
        "return opened or (port is not None and vhost_user and bool(port.connected))",
        "return False",
        "tests/contract/test_engine.py -k 'whose_guest_runs'",
    ),
    Mutant(
        "vlan-lost",
        "rollback",
        "a port that was replaced comes back without its VLAN",
        "os_vif/wiring/elements/ovs_port.py",
        "        vlan=port.vlan,\n",
        "",
        "tests/functional/test_ownership.py -k 'gives_the_former'",
    ),
    Mutant(
        "hidden-leftover",
        "rollback",
        "an error does not say that the rollback failed",
        "os_vif/wiring/engine.py",
        "return errors.NotRolledBack(failure=failure, reason=job.left)",
        "return failure",
        "tests/contract/test_rollback.py -k 'before_the_rollback or whose_rollback'",
    ),
    Mutant(
        "sent-twice",
        "connection",
        "a transaction that was sent and not answered is sent again",
        "vif_plug_ovs/ovsdb/connection.py",
        "if answered or (writes and was_sent) or self._must_end(deadline):",
        "if answered or self._must_end(deadline):",
        "tests/functional/test_sessions.py -k 'not_sent_again'",
    ),
    Mutant(
        "forked",
        "connection",
        "a forked process uses the connection of its parent",
        "vif_plug_ovs/ovsdb/connection.py",
        "    _connecting = threading.Lock()\n    _connections.clear()",
        "    _connecting = threading.Lock()",
        "tests/functional/test_connection.py -k 'forked'",
    ),
    Mutant(
        "vsctl-lost-answer",
        "vsctl driver",
        "a transaction that was never sent is taken for done when its answer is missing",
        "vif_plug_ovs/ovsdb/vsctl.py",
        "if writes and said.startswith(client.NOT_ANSWERED):\n"
        "                raise errors.OutcomeUnknown(remote=self._remote)",
        "if writes and said.startswith(client.NOT_ANSWERED):\n                return []",
        "tests/functional/test_vsctl.py -k 'outcome_of_its_commit or starts_again_meanwhile'",
    ),
    Mutant(
        "vsctl-race",
        "vsctl driver",
        "what another process changed meanwhile is a refusal, and is not looked at again",
        "vif_plug_ovs/ovsdb/vsctl.py",
        'if result["error"] == "timed out":',
        "if False:",
        "tests/functional/test_vsctl.py -k 'between_reading_and_writing'",
    ),
    Mutant(
        "facade-deletes-device",
        "facades",
        "delete_ovs_vif_port deletes a device that is to stay",
        "vif_plug_ovs/ovsdb/ovsdb_lib.py",
        "if delete_netdev:",
        "if True:",
        "tests/functional/test_facades.py -k 'device_may_stay'",
    ),
    Mutant(
        "facade-raises",
        "facades",
        "a method of BaseOVS raises when ovs-vswitchd is late",
        "vif_plug_ovs/ovsdb/ovsdb_lib.py",
        "        return True\n",
        "        return False\n",
        "tests/functional/test_facades.py -k 'late_vswitchd'",
    ),
    Mutant(
        "newer-fields",
        "objects",
        "an object converted to an older version keeps the fields that version lacks",
        "os_vif/objects/base.py",
        "primitive.pop(name, None)",
        "pass",
        "tests/compat/test_history.py -k 'convert_down'",
    ),
    Mutant(
        "half-filtered",
        "iptables filtering",
        "rules of IPv4 stay when those of IPv6 are refused",
        "vif_plug_linux_bridge/iptables_runner.py",
        "            _roll_back(before, wanted.bridge, deadline.at_least(ROLLBACK_SECONDS))\n",
        "",
        "tests/functional/test_linux_bridge_filtering.py -k 'both_families'",
    ),
    Mutant(
        "address-tentative",
        "address migration",
        "an IPv6 address that moves to a bridge is unusable during duplicate address detection",
        "os_vif/kernel/address_migration.py",
        "(_IFA_F_NODAD if _is_known_to_be_free(body) else 0)",
        "0",
        "tests/unit/kernel/test_address_migration.py -k 'ipv6_address'",
    ),
    Mutant(
        "half-moved",
        "address migration",
        "addresses and routes stay half moved when the kernel refuses one of them",
        "os_vif/kernel/bridge_membership.py",
        "    rollback.callback(_roll_back, kernel, back)\n",
        "",
        "tests/functional/test_linux_bridge_moves.py -k 'whatever_fails and ipv'",
    ),
)


class Outcome(NamedTuple):
    """What became of a run of tests."""

    result: str
    seconds: float = 0
    why: str = ""  # the first test that failed, or what else ended the run


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="only say what each mutant breaks")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these mutants")
    parser.add_argument("--tests", help="these instead, as arguments of pytest")
    parser.add_argument("--output", type=Path, help="also write the table into this file")
    arguments = parser.parse_args()
    if unknown := set(arguments.only or ()) - {one.name for one in MUTANTS}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [one for one in MUTANTS if one.name in (arguments.only or [one.name])]
    if arguments.tests:
        chosen = [one._replace(tests=arguments.tests) for one in chosen]
    if misfits := [one.name for one in MUTANTS if mutated(one, ROOT) is None]:
        parser.error(f"the old text is not exactly once in the file: {', '.join(misfits)}")
    if arguments.list:
        print("\n".join(f"{one.name:24}{one.of}: {one.breaks}" for one in chosen))
        return 0
    with copy(ROOT) as original:  # so that work may go on meanwhile
        outcomes = run(original, chosen)
    text = "\n".join(table(outcomes))
    print(f"\n{text}")
    if arguments.output:
        arguments.output.write_text(f"{text}\n")
    return any(outcome.result in (SURVIVED, BROKEN) for _, outcome in outcomes)


def mutated(mutant: Mutant, tree: Path) -> str | None:
    """Return the text of a mutant's file; None if the old text is not in it exactly once."""
    text = (tree / mutant.file).read_text()
    return text.replace(mutant.old, mutant.new) if text.count(mutant.old) == 1 else None


def run(original: Path, mutants: Sequence[Mutant]) -> list[tuple[Mutant, Outcome]]:
    """Run each selection of tests without a mutant, and then with each mutant."""
    selections = list(dict.fromkeys(one.tests for one in mutants))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        whole = pool.map(functools.partial(run_tests, original), selections)
        baselines = dict(zip(selections, whole, strict=True))
        outcomes = pool.map(functools.partial(try_mutant, original, baselines), mutants)
        return list(zip(mutants, outcomes, strict=True))


def try_mutant(original: Path, baselines: Mapping[str, Outcome], mutant: Mutant) -> Outcome:
    """Run a mutant's tests, which mean something only if they pass without it."""
    baseline = baselines[mutant.tests]
    if baseline.result == SURVIVED:
        return run_tests(original, mutant.tests, mutant)
    return Outcome(BROKEN, why=f"without a mutant: {baseline.result}: {baseline.why}")


def run_tests(original: Path, tests: str, mutant: Mutant | None = None) -> Outcome:
    """Run tests in a copy of the tree, of the whole library or of a mutant."""
    with copy(original) as tree:
        if mutant:
            (tree / mutant.file).write_text(mutated(mutant, tree) or "")
        must_be_imported(tree)
        outcome = run_pytest(tree, tests)
    name, result = (mutant.name, outcome.result) if mutant else (tests, outcome.result)
    if not mutant:
        result = "green" if outcome.result == SURVIVED else "NOT GREEN"
    print(f"{name}: {result} after {outcome.seconds:.0f} s {outcome.why}", flush=True)
    return outcome


@contextlib.contextmanager
def copy(original: Path) -> Iterator[Path]:
    """Make a copy of a tree; compiled files stay valid, but for that of a file that is changed."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder, "tree")
        shutil.copytree(original, tree, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
        yield tree


def environment(tree: Path) -> dict[str, str]:
    """Let all processes, privileged daemons too, import the library from the copy."""
    return {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "400"}


_SAY_WHERE = """
import sys
from importlib.util import find_spec
print(*(find_spec(package).origin for package in sys.argv[1:]), sep="\\n")
"""


def must_be_imported(tree: Path) -> None:
    """Raise if the library that is installed would be tested, and not the copy."""
    argv = [sys.executable, "-c", _SAY_WHERE, *PACKAGES]
    # Not from the tree: privileged daemons do not look into their working directory.
    done = subprocess.run(argv, cwd="/", env=environment(tree), capture_output=True, text=True)
    wanted = [str(tree / package / "__init__.py") for package in PACKAGES]
    if done.stdout.split() != wanted:
        raise RuntimeError(f"{sys.executable} imports {done.stdout}{done.stderr}, not {wanted}")


def run_pytest(tree: Path, tests: str) -> Outcome:
    """Run tests until the first one fails."""
    argv = [str(tree / "tools" / "private-namespace"), sys.executable, "-m", "pytest", "-x", "-q"]
    argv += ["-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}", *shlex.split(tests)]
    argv += ["--assert=plain"]  # to show how two long texts differ may take a minute
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as said:  # daemons may outlive the tests
        process = subprocess.Popen(
            argv,
            cwd=tree,
            env=environment(tree),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(MUTANT_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome(HUNG, MUTANT_SECONDS, "all tests together")
        finally:
            with contextlib.suppress(ProcessLookupError):  # all have ended, as they should
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return judged(code, said.read(), time.monotonic() - began)


def judged(code: int, said: str, seconds: float) -> Outcome:
    """Return what pytest's exit code and its summary mean."""
    lines = said.splitlines()
    failed = next((one for one in lines if one.startswith(("FAILED tests", "ERROR tests"))), "")
    if code == 0:
        return Outcome(SURVIVED, seconds)
    if code == 1 and failed:
        test = failed.partition(" ")[2].partition(" - ")[0]
        return Outcome(HUNG if f"Timeout (>{TEST_SECONDS}" in failed else KILLED, seconds, test)
    # 2 to 5: nothing could be collected, or nothing was selected
    return Outcome(BROKEN, seconds, failed or next(reversed(lines), f"exit code {code}"))


def table(outcomes: Sequence[tuple[Mutant, Outcome]]) -> Iterator[str]:
    """Return the outcomes as lines of text."""
    for mutant, outcome in outcomes:
        yield f"{mutant.name:24}{outcome.result:16}{outcome.seconds:4.0f} s  {mutant.of}"
        yield f"    {mutant.breaks}"
        if outcome.why:
            yield f"    {outcome.why}"
    results = [outcome.result for _, outcome in outcomes]
    counts = ((result, results.count(result)) for result in (KILLED, HUNG, SURVIVED, BROKEN))
    yield ", ".join(f"{result}: {count}" for result, count in counts) + f", of {len(results)}"


if __name__ == "__main__":
    sys.exit(main())
