# SPDX-License-Identifier: Apache-2.0
"""The own tests of those who use the library, around what they use of it."""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.consumers import EVERYTHING
from tests.rig import consumers

PROGRAM = Path(__file__).with_name("suite.py")


@dataclass(frozen=True)
class Suite:
    """Tests of a project.

    :param names: modules, packages (all of their test modules) and, behind a minus, modules that
        are left out.
    :param pattern: of the names of tests, if not all.
    :param not_for_us: what fails by design, and why.
    :param elsewhere: what fails with the released os-vif, too, in the same environment, always or
        in some orders.
    """

    names: tuple[str, ...]
    pattern: str = "*"
    not_for_us: dict[str, str] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()


_NOOP = "kuryr_kubernetes.tests.unit.test_os_vif_plug_noop.TestNoOpPlugin"
_NO_VIF = (
    "plugs a MagicMock, which we refuse: it is not a VIF; and puts a plugin into stevedore's "
    "ExtensionManager, which os-vif 5 keeps in a private variable"
)
_DRIVERS = "kuryr_kubernetes.tests.unit.controller.drivers"
_MACVLAN = f"{_DRIVERS}.test_nested_macvlan_vif.TestNestedMacvlanPodVIFDriver"
_AGENT = "neutron.tests.unit.plugins.ml2.drivers.openvswitch.agent.test_ovs_neutron_agent"

KURYR = Suite(
    ("kuryr_kubernetes.tests.unit",),
    not_for_us={
        f"{_NOOP}.test_initialize": "patches stevedore's ExtensionManager, which we do not use, "
        "and reads the private os_vif._EXT_MANAGER",
        f"{_NOOP}.test_plug": _NO_VIF,
        f"{_NOOP}.test_unplug": _NO_VIF,
    },
    elsewhere=frozenset(
        {
            f"{_DRIVERS}.test_lbaasv2.TestLBaaSv2Driver.test_find_loadbalancer_error",
            *(
                f"{_MACVLAN}.test_{name}"
                for name in (
                    "add_to_allowed_address_pairs_1_None",
                    "add_to_allowed_address_pairs_2_fa_16_3e_71_cb_80",
                    "add_to_allowed_address_pairs_already_present",
                    "add_to_allowed_address_pairs_same_ip",
                    "remove_from_allowed_address_pairs_1_None",
                    "remove_from_allowed_address_pairs_2_fa_16_3e_71_cb_80",
                    "remove_from_allowed_address_pairs_missing_1_None",
                    "remove_from_allowed_address_pairs_missing_2_fa_16_3e_71_cb_80",
                )
            ),
        }
    ),
)
SHORT = {
    "nova": Suite(
        (
            "nova.tests.unit.network.test_os_vif_util",
            "nova.tests.unit.virt.libvirt.test_vif",
            "nova.tests.unit.objects.test_migrate_data",
        )
    ),
    # The former only has options which its other tests load.
    "neutron": Suite(("neutron.plugins.ml2.managers", _AGENT), "*smartnic*"),
    "kuryr": KURYR,
    "zun": Suite(("zun.tests.unit.network", "zun.tests.unit.objects")),
}
LONG = {
    "nova-virt": Suite(
        (
            "nova.tests.unit.virt.test_virt_drivers",
            "nova.tests.unit.virt.libvirt.test_driver",
            "nova.tests.unit.objects.test_objects",
        )
    ),
    "neutron-agent": Suite((_AGENT,)),
    # That module is about their style, and needs what checks it.
    "zun-all": Suite(("zun.tests.unit", "-zun.tests.unit.test_hacking")),
}
SUITES = SHORT | LONG if EVERYTHING else SHORT


def failures(suite: Suite, released: bool) -> dict[str, str]:
    """The tests that fail, and what they say."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "outcomes")
        arguments = [str(PROGRAM), str(output), suite.pattern, *suite.names]
        done = consumers.call(arguments, released)
        assert output.exists(), done.stderr[-2000:]
        outcomes = json.loads(output.read_text())
    print(f"{len(outcomes)} tests")
    assert outcomes
    return {name: said for name, said in outcomes.items() if said.startswith("failed")}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", SUITES)
def test_their_own_tests(name: str) -> None:
    suite = SUITES[name]
    found = failures(suite, released=False)
    assert {test: said for test, said in found.items() if test not in suite.elsewhere} == {
        test: found.get(test, "passes by now") for test in suite.not_for_us
    }


if EVERYTHING:

    @pytest.mark.timeout(1500)
    @pytest.mark.parametrize("name", SUITES)
    def test_their_own_tests_with_the_released_library(name: str) -> None:
        assert failures(SUITES[name], released=True).keys() <= SUITES[name].elsewhere
