# SPDX-License-Identifier: Apache-2.0
"""Random sequences of plug, re-plug, unplug and option changes, against a model.

The model knows names only: which bridges, ports, QoS rows and links each plugged VIF has. What a
VIF has is settled when its device comes and stays so until it is unplugged, whatever options and
profile say in between.

In a second machine two VIFs share a device's name, others write rows and open the device, and
verbs come at once. Its model knows whose the device is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from os_vif.exception import PlugException
from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.rig import run
from tests.rig.guest import TapGuest
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    BRIDGE_ONLY,
    HYBRID,
    PER_PORT,
    PER_PORT_ONLY,
    PORT_ONLY,
    TAP,
    VHOST_SERVER,
    Kind,
    OsVif,
    on_system,
    on_trunk,
)
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs.shapes import names

LONG = settings(
    max_examples=settings.default.max_examples // 5,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NUMBERS = range(1, 7)


@dataclass(frozen=True)
class Has:
    """What one VIF has on the host, by name."""

    bridges: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    qos: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Options:
    per_port_bridge: bool = False
    isolate_vif: bool = False
    default_qos_type: str = "linux-noop"


def tap(options: Options, create_tap: bool) -> Kind:
    if options.per_port_bridge:
        return on_system(PER_PORT if create_tap else PER_PORT_ONLY)
    return on_system(TAP if create_tap else PORT_ONLY)


def trunk(options: Options, create_tap: bool) -> Kind:
    return on_trunk(tap(options, create_tap))


#: What each VIF, by its number, is.
KINDS: dict[int, Callable[[Options, bool], Kind]] = {
    1: tap,
    2: tap,
    3: trunk,
    4: lambda options, create_tap: on_system(HYBRID),
    5: lambda options, create_tap: VHOST_SERVER,
    6: lambda options, create_tap: on_system(BRIDGE_ONLY),
}


def make(number: int, create_tap: bool) -> VIFBase:
    return KINDS[number](Options(), create_tap).vif(number)


def has(number: int, options: Options, create_tap: bool) -> Has:
    kind = KINDS[number](options, create_tap)
    rows, bridges = kind.rows(number), frozenset(kind.bridge_names(number))
    links = frozenset(kind.link_names(number))
    return Has(bridges, bridges.union(rows["Port"]), frozenset(rows["QoS"]), links)


numbers = st.sampled_from(NUMBERS)
drivers = st.sampled_from(["native"] * 9 + ["vsctl"])


def machine(verbs: OsVif, ovs: PrivateOvs, steps: list[int]) -> type[RuleBasedStateMachine]:
    """The state machine, on one Open vSwitch for all its runs."""
    initial = snapshot(ovs)

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.options = Options()
            self.plugged: dict[int, Has] = {}
            verbs.configure(ovsdb_interface="native", **vars(self.options))

        @rule(number=numbers, create_tap=st.booleans())
        def plug(self, number: int, create_tap: bool) -> None:
            before = ovs.next_cfg(), len(verbs.privileged_calls)
            verbs.plug(make(number, create_tap), number)
            old = self.plugged.get(number)
            if old is None or self._lacks_its_tap(number):  # no shape stands without its device
                self.plugged[number] = has(number, self.options, create_tap)
            if self.plugged[number] == old:
                assert (ovs.next_cfg(), len(verbs.privileged_calls)) == before
            steps.append(number)

        def _lacks_its_tap(self, number: int) -> bool:
            return KINDS[number] in (tap, trunk) and not self.plugged[number].links

        @rule(number=numbers, create_tap=st.booleans())
        def unplug(self, number: int, create_tap: bool) -> None:
            before = ovs.next_cfg(), len(verbs.privileged_calls)
            verbs.unplug(make(number, create_tap), number)
            if self.plugged.pop(number, Has()) == Has():
                assert (ovs.next_cfg(), len(verbs.privileged_calls)) == before
            steps.append(number)

        @rule(
            per_port_bridge=st.booleans(),
            isolate_vif=st.booleans(),
            default_qos_type=st.sampled_from(["linux-noop", "linux-htb"]),
            driver=drivers,
        )
        def configure(self, driver: str, **options: Any) -> None:
            self.options = Options(**options)
            verbs.configure(ovsdb_interface=driver, **options)
            steps.append(0)

        @invariant()
        def the_host_has_what_the_model_has(self) -> None:
            rows, has = ovs.dump(), self.plugged.values()
            assert set(rows["Bridge"]) == {vifs.BRIDGE}.union(*(one.bridges for one in has))
            assert set(rows["Port"]) == {vifs.BRIDGE}.union(*(one.ports for one in has))
            assert set(rows["Interface"]) == set(rows["Port"])
            assert set(rows["QoS"]) == set().union(*(one.qos for one in has))
            assert set(links()) == {"lo"}.union(*(one.links for one in has))

        def teardown(self) -> None:
            verbs.configure(ovsdb_interface="native")
            for number in NUMBERS:
                verbs.unplug(make(number, True), number)
            assert not difference(initial, snapshot(ovs))

    return Machine


def test_no_sequence_of_verbs_and_options_diverges_from_the_model(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs
) -> None:
    ovs_dummy.vsctl("add-br", vifs.BRIDGE)
    osvif_dummy.configure(verify_interface=False)  # no DPDK here; see test_vhost_user
    steps: list[int] = []
    run_state_machine_as_test(
        machine(osvif_dummy, ovs_dummy, steps),
        settings=settings(LONG, stateful_step_count=50),
    )
    print(f"{len(steps)} steps")


# Two VIFs on one device --------------------------------------------------------------------------

SHARED = "tap-shared"
ONE, TWO, OTHERS = 1, 2, 9
SHARERS = st.sampled_from([ONE, TWO])


def sharer(number: int, create_tap: bool = True) -> VIFBase:
    return tap(Options(), create_tap).vif(number, vif_name=SHARED)


def sharing_machine(
    verbs: OsVif, ovs: PrivateOvs, steps: list[int]
) -> type[RuleBasedStateMachine]:
    """The state machine of a device that one VIF after another has."""
    initial = snapshot(ovs)

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.owner: int | None = None
            self.guest = ExitStack()  # has the device open

        def _is_used(self) -> bool:
            return SHARED in links() and run(["cat", CARRIER], check=False).stdout == "1\n"

        @rule(number=SHARERS, create_tap=st.booleans())
        def plug(self, number: int, create_tap: bool) -> None:
            steps.append(number)
            before = snapshot(ovs)
            if self.owner not in (None, number) and self._is_used():
                with pytest.raises(PlugException, match="owner should be"):
                    verbs.plug(sharer(number, create_tap), number)
                assert not difference(before, snapshot(ovs))
            else:
                verbs.plug(sharer(number, create_tap), number)
                self.owner = number

        @rule(number=SHARERS)
        def unplug(self, number: int) -> None:
            steps.append(number)
            before = snapshot(ovs)
            if self.owner == number:
                self.guest.close()
            verbs.unplug(sharer(number), number)
            if self.owner == number:
                self.owner = None
            elif self.owner is not None:
                assert not difference(before, snapshot(ovs))

        @rule()
        def others_take_it(self) -> None:
            if self.owner is not None:
                ids = f"external_ids:iface-id={vifs.interface_id(OTHERS)}"
                ovs.vsctl("set", "Interface", SHARED, ids)
                self.owner = OTHERS

        @rule()
        def a_guest_starts_or_ends(self) -> None:
            was_used = self._is_used()
            self.guest.close()
            if SHARED in links() and not was_used:
                TapGuest._open(SHARED, self.guest)
                ovs.catch_up()

        @rule(verbs_at_once=st.lists(st.tuples(st.booleans(), SHARERS), min_size=2, max_size=4))
        def at_once(self, verbs_at_once: list[tuple[bool, int]]) -> None:
            self.guest.close()

            def act(one: tuple[bool, int]) -> None:
                steps.append(one[1])
                plugs, number = one
                (verbs.plug if plugs else verbs.unplug)(sharer(number), number)

            with ThreadPoolExecutor(len(verbs_at_once)) as pool:
                list(pool.map(act, verbs_at_once))
            row = ovs.dump()["Interface"].get(SHARED)
            iface_ids = {vifs.interface_id(n): n for n in (ONE, TWO, OTHERS)}
            self.owner = row and iface_ids[row["external_ids"]["iface-id"]]

        @invariant()
        def the_row_is_wholly_its_owners(self) -> None:
            rows = ovs.dump()
            assert (SHARED in rows["Port"]) == (self.owner is not None)
            if self.owner in (ONE, TWO):
                mark = f"ovs:openvswitch:{vifs.vif_id(self.owner)}"
                ids = rows["Interface"][SHARED]["external_ids"]
                assert ids["iface-id"] == vifs.interface_id(self.owner)
                assert ids["attached-mac"] == vifs.mac(self.owner)
                for table, name in (("Port", SHARED), ("QoS", names.qos_id(SHARED))):
                    assert rows[table][name]["external_ids"]["os-vif"] == mark
            assert len(rows["QoS"]) == (self.owner is not None)

        def teardown(self) -> None:
            self.guest.close()
            if self.owner == OTHERS:
                verbs.plug(sharer(ONE), ONE)
            for number in (ONE, TWO):
                verbs.unplug(sharer(number), number)
            assert not difference(initial, snapshot(ovs))

    return Machine


CARRIER = f"/sys/class/net/{SHARED}/carrier"


def test_two_vifs_that_share_a_device_never_take_each_others_port(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs
) -> None:
    ovs_dummy.vsctl("add-br", vifs.BRIDGE)
    steps: list[int] = []
    run_state_machine_as_test(
        sharing_machine(osvif_dummy, ovs_dummy, steps),
        settings=settings(LONG, stateful_step_count=20),
    )
    print(f"{len(steps)} verbs")
