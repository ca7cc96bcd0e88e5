# SPDX-License-Identifier: Apache-2.0
"""Random sequences of plug, re-plug, unplug and option changes, against a model.

The model knows names only: which bridges, ports, QoS rows and links each plugged VIF has. What a
VIF has is settled when it is plugged and stays so until it is unplugged, whatever options and
profile say in between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import OsVif
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs.wiring import names

EXAMPLES, STEPS, MINIMUM = 60, 50, 2000
TRUNK = "tbr-0123abcd-4"
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


def tap(number: int, options: Options, create_tap: bool) -> Has:
    device = vifs.device("tap", number)
    made = frozenset([device]) if create_tap else frozenset()
    qos = frozenset([names.qos_id(device)])
    if not options.per_port_bridge:
        return Has(ports=frozenset([device]), qos=qos, links=made)
    vif_id, pb = vifs.vif_id(number), vifs.device("pb", number)
    ports = frozenset([device, f"pbp{vif_id}", f"ibp{vif_id}", pb])
    return Has(frozenset([pb]), ports, qos, made)


def trunk(number: int, options: Options, create_tap: bool) -> Has:
    has = tap(number, options, create_tap)
    name = f"{TRUNK}{number}"
    return Has(has.bridges | {name}, has.ports | {name}, has.qos, has.links)


def hybrid(number: int, options: Options, create_tap: bool) -> Has:
    qbr, qvb, qvo = (vifs.device(prefix, number) for prefix in ("qbr", "qvb", "qvo"))
    qos = frozenset([names.qos_id(qvo)])
    return Has(ports=frozenset([qvo]), qos=qos, links=frozenset([qbr, qvb, qvo]))


def vhost_user(number: int, options: Options, create_tap: bool) -> Has:
    return Has(ports=frozenset([vifs.device("vhu", number)]))


def bridge_alone(number: int, options: Options, create_tap: bool) -> Has:
    return Has()


SYSTEM: dict[str, Any] = {"datapath_type": "system"}


def make_tap(number: int, create_tap: bool) -> VIFBase:
    profile = {**SYSTEM, "create_port": True, "create_tap": create_tap}
    return vifs.vif_open_vswitch(number, profile=profile)


def make_trunk(number: int, create_tap: bool) -> VIFBase:
    vif = make_tap(number, create_tap)
    vif.network.bridge = f"{TRUNK}{number}"
    return vif


#: How each VIF, by its number, is made, and what it has.
KINDS: dict[int, tuple[Callable[[int, bool], VIFBase], Callable[[int, Options, bool], Has]]] = {
    1: (make_tap, tap),
    2: (make_tap, tap),
    3: (make_trunk, trunk),
    4: (lambda number, _: vifs.vif_bridge(number, profile=SYSTEM), hybrid),
    5: (lambda number, _: vifs.vif_vhost_user(number), vhost_user),
    6: (lambda number, _: vifs.vif_open_vswitch(number, profile=SYSTEM), bridge_alone),
}

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
            make, has = KINDS[number]
            before = ovs.next_cfg(), len(verbs.privileged_calls)
            verbs.plug(make(number, create_tap), number)
            if number not in self.plugged:
                self.plugged[number] = has(number, self.options, create_tap)
            elif not create_tap or not self._lacks_its_tap(number):
                assert (ovs.next_cfg(), len(verbs.privileged_calls)) == before
            else:  # the profile asks for a tap only now
                device = vifs.device("tap", number)
                old = self.plugged[number]
                self.plugged[number] = Has(old.bridges, old.ports, old.qos, frozenset([device]))
            steps.append(number)

        def _lacks_its_tap(self, number: int) -> bool:
            return KINDS[number][0] in (make_tap, make_trunk) and not self.plugged[number].links

        @rule(number=numbers, create_tap=st.booleans())
        def unplug(self, number: int, create_tap: bool) -> None:
            before = ovs.next_cfg(), len(verbs.privileged_calls)
            verbs.unplug(KINDS[number][0](number, create_tap), number)
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
                verbs.unplug(KINDS[number][0](number, True), number)
            assert not difference(initial, snapshot(ovs))

    return Machine


def test_no_sequence_of_verbs_and_options_diverges_from_the_model(
    osvif_dummy: OsVif, ovs_dummy: PrivateOvs
) -> None:
    ovs_dummy.vsctl("add-br", vifs.BRIDGE)
    osvif_dummy.configure(verify_interface=False)  # no DPDK here; see test_vhost_user
    steps: list[int] = []
    while len(steps) < MINIMUM:
        run_state_machine_as_test(
            machine(osvif_dummy, ovs_dummy, steps),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    print(f"{len(steps)} steps")
