# SPDX-License-Identifier: Apache-2.0
"""``gc`` between plugs, unplugs, guests that come and go, accidents and restarts, at random.

No VIF that is valid or in use is ever touched, and what nobody wants is gone after two runs.
``OS_VIF_GC_STEPS`` says how many steps (5000 take some minutes), ``OS_VIF_GC_SEED`` which.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

import os_vif
from tests import vifs
from tests.rig import run, wait_until
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, MULTIQUEUE, PER_PORT, PORT_ONLY, TAP, Kind, OsVif
from tests.rig.snapshot import links
from vif_plug_ovs import collection

STEPS = int(os.environ.get("OS_VIF_GC_STEPS", "300"))
SEED = int(os.environ.get("OS_VIF_GC_SEED", "1"))
NUMBERS = range(1, 9)
KINDS = (TAP, MULTIQUEUE, PORT_ONLY, HYBRID, PER_PORT)


@dataclass
class Host:
    """What was done to a host, and what must be on it."""

    ovs: PrivateOvs
    osvif: OsVif
    random: random.Random
    kinds: dict[int, Kind] = field(default_factory=dict)
    #: What Nova still knows.
    valid: set[int] = field(default_factory=set)
    guests: dict[int, ExitStack] = field(default_factory=dict)
    #: What has lost a part, and is no longer looked at.
    damaged: set[int] = field(default_factory=set)
    #: How many runs of gc what nobody wants or uses has outlived.
    outlived: Counter[int] = field(default_factory=Counter)
    history: list[str] = field(default_factory=list)

    def pick(self, numbers: set[int]) -> int | None:
        return self.random.choice(sorted(numbers)) if numbers else None

    def plug(self) -> None:
        number = self.pick(set(NUMBERS) - self.guests.keys() - (self.kinds.keys() - self.valid))
        if number is None:
            return
        kind = self.kinds.get(number) or self.random.choice(KINDS)
        self.osvif.plug_kind(kind, number)
        self.kinds[number] = kind
        self.valid.add(number)
        self.damaged.discard(number)

    def unplug(self) -> None:
        if number := self.pick(self.valid - self.guests.keys()):
            self.osvif.unplug(self.kinds.pop(number).vif(number), number)
            self.valid.discard(number)
            self.damaged.discard(number)

    def forget(self) -> None:
        """Nova deletes an instance while the host is away."""
        if number := self.pick(self.valid):
            self.valid.discard(number)

    def start(self) -> None:
        usable = self.kinds.keys() - self.guests.keys() - self.damaged
        if number := self.pick(usable & self.valid):
            stack = ExitStack()
            stack.enter_context(self.kinds[number].guest(number))
            self.guests[number] = stack

    def stop(self) -> None:
        if number := self.pick(set(self.guests)):
            self.guests.pop(number).close()

    def lose_a_part(self) -> None:
        """Of what is not in use a port or a link goes."""
        number = self.pick(self.kinds.keys() - self.guests.keys() - self.valid)
        if number is None:
            return
        kind, there = self.kinds[number], links()
        names = [name for name in kind.link_names(number) if name in there]
        if names and self.random.random() < 0.5:
            run(["ip", "link", "delete", self.random.choice(names)])
        else:
            self.ovs.vsctl("--if-exists", "del-port", kind.port(number))
        self.damaged.add(number)

    def restart(self) -> None:
        self.ovs.kill("vswitchd")
        self.ovs.start_vswitchd()
        self.ovs.catch_up()

    def collect(self) -> None:
        ids = [vifs.vif_id(number) for number in self.valid] or ["none"]
        decided = os_vif.gc(ids, dry_run=False, grace=0)
        assert [one.error for one in decided if one.error] == []
        gone = {one.vif_id for one in decided if one.removes}
        for number in list(self.kinds):
            if vifs.vif_id(number) in gone:
                assert number not in self.valid | self.guests.keys()
                del self.kinds[number]
                self.damaged.discard(number)
        there = {one.vif_id for one in os_vif.list_vifs()}
        orphans = {
            number
            for number in self.kinds.keys() - self.valid - self.guests.keys()
            if vifs.vif_id(number) in there
        }
        self.outlived = Counter({number: self.outlived[number] + 1 for number in orphans})
        assert max(self.outlived.values(), default=0) < 2

    def look(self) -> None:
        """What is wanted or used is as it was built."""
        for number in (self.valid | self.guests.keys()) - self.damaged:
            kind = self.kinds[number]
            self.osvif.configure(per_port_bridge=kind is PER_PORT)
            vif, instance = kind.vif(number), vifs.instance(number)
            wait_until(
                lambda vif=vif, instance=instance: not os_vif.check(vif, instance),  # type: ignore[misc]
                what=f"{kind.name} {number} to be as built: {os_vif.check(vif, instance)}",
            )


@pytest.mark.timeout(60 + STEPS)
def test_no_live_port_is_touched_and_every_orphan_goes(
    ovs_dummy: PrivateOvs, osvif_dummy: OsVif, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "PAUSE_SECONDS", 0.0)
    ovs_dummy.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    host = Host(ovs_dummy, osvif_dummy, random.Random(SEED))
    acts: list[Callable[[], None]] = [host.plug] * 6 + [host.start] * 4 + [host.stop] * 3
    acts += [host.unplug, host.forget, host.forget, host.lose_a_part, host.collect, host.collect]
    try:
        for step in range(STEPS):
            act = host.restart if step % 100 == 99 else host.random.choice(acts)
            host.history.append(act.__name__)
            act()
            host.look()
        for stack in host.guests.values():
            stack.close()
        host.guests.clear()
        for _ in range(2):
            host.collect()
        listed = {one.vif_id for one in os_vif.list_vifs()}
        assert listed == {vifs.vif_id(number) for number in host.valid}
    except BaseException:
        print(f"seed {SEED}, step {len(host.history)}: {host.history[-20:]}")
        raise
    finally:
        for stack in host.guests.values():
            stack.close()
