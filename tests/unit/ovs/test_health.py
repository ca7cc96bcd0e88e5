# SPDX-License-Identifier: Apache-2.0
"""What is said of a host, from what was found out about it."""

from dataclasses import replace
from typing import Any

import pytest

from os_vif.answers import Condition
from vif_plug_ovs.health import Answer, Facts, Options, Switch, conditions

OVN = {"ovn-remote": "ssl:192.0.2.1:6642"}
WELL = Facts(Answer(0.01), Switch("3.1.0", dpdk=False), Answer(), Answer(), may_change_links=True)
OPTIONS = Options("tcp:127.0.0.1:6640")


def found(facts: Facts, **options: Any) -> dict[str, Condition]:
    return {one.subject: one for one in conditions(facts, replace(OPTIONS, **options))}


def switched(**columns: Any) -> Facts:
    switch: Any = WELL.switch
    return replace(WELL, switch=replace(switch, **columns))


def test_a_host_that_is_well() -> None:
    no_iptables = replace(WELL, bridged_iptables=False)  # which matters to hybrid plugs only
    for facts in (WELL, no_iptables):
        assert {one.level for one in found(facts).values()} == {"ok"}


FAILED = Answer(5.0, "it does not answer")

#: What is found, options, subject, level, what the summary and the remedy say.
CASES: dict[str, tuple[Facts, dict[str, Any], str, str, str, str]] = {
    "server away": (
        replace(WELL, server=FAILED, switch=None, vswitchd=None),
        {},
        "OVSDB",
        "error",
        "not answer",
        "ovsdb_connection",
    ),
    "server slow": (replace(WELL, server=Answer(2.0)), {}, "OVSDB", "warning", "2.0 s", "listen"),
    "vswitchd": (replace(WELL, vswitchd=FAILED), {}, "ovs-vswitchd", "error", "not", "os_vif.gc"),
    "daemon": (
        replace(WELL, helper=FAILED, may_change_links=None),
        {},
        "privileged daemon",
        "error",
        "not answer",
        "helper_command",
    ),
    "capabilities": (
        replace(WELL, may_change_links=False),
        {},
        "capabilities",
        "error",
        "CAP_NET_ADMIN",
        "[vif_plug_ovs_privileged]",
    ),
    "no module": (
        replace(WELL, kernel_datapath=False),
        {},
        "kernel module openvswitch",
        "ok",
        "netdev",
        "",
    ),
    "no module, and a bridge that needs it": (
        replace(switched(kernel_bridges=("br-int",)), kernel_datapath=False),
        {},
        "kernel module openvswitch",
        "error",
        "no port of br-int works",
        "Load the module",
    ),
    "no tun": (replace(WELL, tun=False), {}, "/dev/net/tun", "error", "no tap", "module tun"),
    "hybrid plugs that iptables does not see": (
        replace(WELL, hybrids=3, bridged_iptables=False),
        {},
        "br_netfilter",
        "warning",
        "3 hybrid plugs",
        "bridge-nf-call-iptables",
    ),
    "DPDK": (switched(dpdk=True), {}, "DPDK", "ok", "initialised", ""),
    "vsctl": (WELL, {"ovsdb_interface": "vsctl"}, "ovsdb_interface", "warning", "vsctl", "native"),
    "no timeout": (WELL, {"ovs_vsctl_timeout": 0}, "ovs_vsctl_timeout", "warning", "ever", "120"),
    "isolate_vif with OVN": (
        switched(external_ids=OVN),
        {"isolate_vif": True},
        "isolate_vif",
        "error",
        "dead VLAN",
        "False",
    ),
    "per_port_bridge with a smart NIC": (
        replace(switched(external_ids=OVN), smart_nics=("eth0",)),
        {"per_port_bridge": True},
        "per_port_bridge",
        "error",
        "eth0",
        "False",
    ),
    "per_port_bridge without OVN": (
        WELL,
        {"per_port_bridge": True},
        "per_port_bridge",
        "warning",
        "without OVN",
        "False",
    ),
    "create_tap that Neutron has to know of": (
        replace(switched(external_ids=OVN), made_taps=2),
        {},
        "create_tap",
        "ok",
        "2 taps",
        "requested-chassis",
    ),
    "live migration, ML2/OVS": (WELL, {}, "live migration", "ok", "Neutron's agent", ""),
    "live migration, OVN": (
        switched(external_ids=OVN),
        {},
        "live migration",
        "ok",
        "create_port, create_tap",
        "",
    ),
    "live migration, OVN and per_port_bridge": (
        switched(external_ids=OVN),
        {"per_port_bridge": True},
        "live migration",
        "ok",
        "switch per_port_bridge off",
        "",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_well_comes_with_its_remedy(case: str) -> None:
    facts, options, subject, level, summary, remedy = CASES[case]
    every = found(facts, **options)
    assert every[subject].level == level
    assert summary in every[subject].summary
    assert remedy in every[subject].remedy
    others = [one for one in every.values() if one.subject != subject]
    assert {one.level for one in others} == {"ok"}
    assert all(one.remedy for one in every.values() if one.level != "ok")
