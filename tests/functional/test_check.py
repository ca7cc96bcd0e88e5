# SPDX-License-Identifier: Apache-2.0
"""``check`` answers nothing of what is as it was built, and finds each kind of damage."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest

import os_vif
from os_vif import exception
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import (
    BRIDGE_ONLY,
    HYBRID,
    MULTIQUEUE,
    PER_PORT,
    PER_PORT_ONLY,
    PORT_ONLY,
    TAP,
    Kind,
    OsVif,
    sysctl,
)
from tests.rig.snapshot import difference, snapshot

ALL = (TAP, MULTIQUEUE, PORT_ONLY, BRIDGE_ONLY, HYBRID, PER_PORT, PER_PORT_ONLY)


def findings(kind: Kind) -> set[tuple[str, str, bool]]:
    """Return element, attribute and whether a re-plug would repair it."""
    found = os_vif.check(kind.vif(), vifs.instance())
    return {(one.element, one.attribute, one.repairable) for one in found}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
@pytest.mark.parametrize("isolated", [False, True], ids=["", "isolated"])
def test_what_is_as_it_was_built(
    kind: Kind, isolated: bool, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.configure(isolate_vif=isolated)
    osvif.plug_kind(kind)
    before = snapshot(ovs), ovs.next_cfg(), len(osvif.privileged_calls)
    assert findings(kind) == set()
    assert (snapshot(ovs), ovs.next_cfg(), len(osvif.privileged_calls)) == before


@dataclass
class Damage:
    """Something that happens to a host, and what is said of it."""

    kind: Kind
    does: Callable[[PrivateOvs], object]
    element: str
    attribute: str
    repairable: bool = True


def ovs_set(table: str, record: str, *columns: str) -> Callable[[PrivateOvs], object]:
    return lambda ovs: ovs.vsctl("set", table, record, *columns)


def ip(*words: str) -> Callable[[PrivateOvs], object]:
    return lambda ovs: run(["ip", *words])


TAP1, QBR, QVB, QVO = (vifs.device(prefix, 1) for prefix in ("tap", "qbr", "qvb", "qvo"))
PB, PBP, IBP = vifs.device("pb", 1), f"pbp{vifs.vif_id(1)}", f"ibp{vifs.vif_id(1)}"

DAMAGES = {
    "ids edited": Damage(
        TAP,
        ovs_set("Interface", TAP1, "external_ids:attached-mac=x"),
        f"OVS port {TAP1}",
        "external_ids:attached-mac",
    ),
    "an id removed": Damage(
        TAP,
        lambda ovs: ovs.vsctl("remove", "Interface", TAP1, "external_ids", "vm-uuid"),
        f"OVS port {TAP1}",
        "external_ids:vm-uuid",
    ),
    "another's": Damage(
        TAP,
        ovs_set("Interface", TAP1, "external_ids:iface-id=another"),
        f"OVS port {TAP1}",
        "owner",
    ),
    "port gone": Damage(
        HYBRID, lambda ovs: ovs.vsctl("del-port", QVO), f"OVS port {QVO}", "present"
    ),
    "bridge gone": Damage(
        HYBRID, lambda ovs: ovs.vsctl("del-br", "br-int"), "OVS bridge br-int", "present"
    ),
    "wrong bridge": Damage(
        HYBRID,
        lambda ovs: ovs.vsctl(
            "add-br",
            "br-x",
            "--",
            "set",
            "Bridge",
            "br-x",
            "datapath_type=netdev",
            "--",
            "--with-iface",
            "del-port",
            QVO,
            "--",
            "add-port",
            "br-x",
            QVO,
            "--",
            "set",
            "Interface",
            QVO,
            f"external_ids:iface-id={vifs.interface_id(1)}",
        ),
        f"OVS port {QVO}",
        "bridge",
        False,
    ),
    "tag without Neutron": Damage(
        TAP, ovs_set("Port", TAP1, "tag=7"), f"OVS port {TAP1}", "vlan", False
    ),
    "tag other than Neutron's": Damage(
        TAP,
        ovs_set("Port", TAP1, "tag=7", "other_config:tag=8"),
        f"OVS port {TAP1}",
        "vlan",
        False,
    ),
    "made internal": Damage(
        TAP, ovs_set("Interface", TAP1, "type=internal"), f"OVS port {TAP1}", "type", False
    ),
    "tap gone": Damage(TAP, ip("link", "delete", TAP1), f"link {TAP1}", "present"),
    "tap down": Damage(TAP, ip("link", "set", TAP1, "down"), f"link {TAP1}", "up"),
    "MTU of a tap": Damage(TAP, ip("link", "set", TAP1, "mtu", "1300"), f"link {TAP1}", "mtu"),
    "MTU asked of ovs-vswitchd": Damage(
        TAP, ovs_set("Interface", TAP1, "mtu_request=1300"), f"OVS port {TAP1}", "mtu_request"
    ),
    "MAC of a tap": Damage(
        TAP, ip("link", "set", TAP1, "address", "02:00:00:00:00:09"), f"link {TAP1}", "mac"
    ),
    "another kind of device": Damage(
        TAP,
        lambda ovs: (
            run(["ip", "link", "delete", TAP1]),
            run(["ip", "link", "add", TAP1, "type", "bridge"]),
        ),
        f"link {TAP1}",
        "kind",
        False,
    ),
    "Linux bridge down": Damage(HYBRID, ip("link", "set", QBR, "down"), f"link {QBR}", "up"),
    "Linux bridge gone": Damage(HYBRID, ip("link", "delete", QBR), f"link {QBR}", "present"),
    "MAC ageing": Damage(
        HYBRID,
        ip("link", "set", QBR, "type", "bridge", "ageing_time", "30000"),
        f"link {QBR}",
        "ageing",
    ),
    "spanning tree": Damage(
        HYBRID,
        ip("link", "set", QBR, "type", "bridge", "stp_state", "1"),
        f"link {QBR}",
        "stp",
    ),
    "veth moved to no bridge": Damage(
        HYBRID, ip("link", "set", QVB, "nomaster"), f"link {QVB}", "master"
    ),
    "veth not promiscuous": Damage(
        HYBRID, ip("link", "set", QVB, "promisc", "off"), f"link {QVB}", "promisc"
    ),
    "an end of another veth pair": Damage(
        HYBRID,
        lambda ovs: (
            run(["ip", "link", "delete", QVB]),
            run(["ip", "link", "add", QVB, "type", "veth", "peer", "elsewhere1"]),
            run(["ip", "link", "add", QVO, "type", "veth", "peer", "elsewhere2"]),
        ),
        f"link {QVO}",
        "peer",
    ),
    "veth pair gone": Damage(HYBRID, ip("link", "delete", QVB), f"link {QVB}", "present"),
    "sysctl flipped": Damage(
        HYBRID,
        lambda ovs: sysctl(QBR, "ipv4/{}/arp_ignore").write_text("0"),
        f"link {QBR}",
        "arp_ignore",
    ),
    "IPv6 on": Damage(
        HYBRID,
        lambda ovs: sysctl(QVB, "ipv6/{}/disable_ipv6").write_text("0"),
        f"link {QVB}",
        "disable_ipv6",
    ),
    "patch peer gone": Damage(
        PER_PORT, lambda ovs: ovs.vsctl("del-port", IBP), f"OVS port {IBP}", "present"
    ),
    "patch peer renamed": Damage(
        PER_PORT, ovs_set("Interface", PBP, "options:peer=x"), f"OVS port {PBP}", "options:peer"
    ),
    "port of its own bridge gone": Damage(
        PER_PORT, lambda ovs: ovs.vsctl("del-port", TAP1), f"OVS port {TAP1}", "present"
    ),
}


#: Damage that a running guest does not survive.
FATAL = {"tap gone", "another kind of device"}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("running", [False, True], ids=["", "running"])
def test_each_kind_of_damage_is_found_and_what_may_be_is_repaired(
    name: str, running: bool, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Under a running guest as well, but for a port that somebody else uses then."""
    damage = DAMAGES[name]
    osvif.plug_kind(damage.kind)
    runs = running and name not in FATAL
    repairable = damage.repairable and not (runs and damage.attribute == "owner")
    with damage.kind.guest() if runs else contextlib.nullcontext():
        damage.does(ovs)
        ovs.catch_up()
        before = snapshot(ovs)
        found = findings(damage.kind)
        assert (damage.element, damage.attribute, repairable) in found
        if damage.kind is PER_PORT:  # the error of a patch port follows from that
            assert all(repairable for _, _, repairable in found)
        assert not difference(before, snapshot(ovs))
        if all(repairable for _, _, repairable in found):
            osvif.plug_kind(damage.kind)
            assert findings(damage.kind) == set()
            os_vif.wait(damage.kind.vif(), vifs.instance(), timeout=5)


def test_a_port_that_was_made_internal_is_refused_and_unplugged(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    before = snapshot(ovs)
    osvif.plug_kind(TAP)
    DAMAGES["made internal"].does(ovs)
    ovs.catch_up()
    with pytest.raises(exception.PlugException, match="type should be '' and is 'internal'"):
        osvif.plug_kind(TAP)
    osvif.unplug(TAP.vif())
    assert not difference(before, snapshot(ovs))


NEW_QOS = ("set", "Port", TAP1, "qos=@q", "--", "--id=@q", "create", "QoS", "type=linux-htb")
NEUTRONS = (f"external_ids:id={vifs.interface_id(9)}", "external_ids:_type=minimum_bandwidth")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ((), None),
        (("clear", "Port", TAP1, "qos"), "is None"),
        (NEW_QOS, "is 'linux-htb'"),
        ((*NEW_QOS, *NEUTRONS), None),
    ],
    ids=["unchanged", "lost", "swapped", "a policy of Neutron"],
)
def test_the_qos_of_a_port(
    change: tuple[str, ...], found: str | None, ovs_dummy: PrivateOvs, osvif_dummy: OsVif
) -> None:
    vif = TAP.vif(profile={"datapath_type": "system"})
    osvif_dummy.plug(vif)
    ovs_dummy.vsctl("--no-wait", *change or ("show",))
    said = [str(one) for one in os_vif.check(vif, vifs.instance())]
    wanted = f"OVS port {TAP1}: qos should be 'linux-noop' and {found}"
    assert said == ([wanted] if found else [])


@pytest.mark.parametrize("tag", [7, 4095])
def test_a_port_that_neutron_has_moved_is_as_built(
    tag: int, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """And one that it has put on the dead VLAN because it is administratively down."""
    osvif.configure(isolate_vif=True)
    osvif.plug_kind(TAP)
    ovs.vsctl("clear", "Port", TAP1, "trunks", "vlan_mode")
    ovs.vsctl("set", "Port", TAP1, f"tag={tag}", "other_config:tag=7")
    assert findings(TAP) == set()


def test_what_another_shape_has_left_is_found(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    osvif.plug_kind(TAP)
    ids = f"external_ids:iface-id={vifs.interface_id(1)}"
    mark = f'external_ids:os-vif="{HYBRID.mark_of()}"'
    new = ["add-port", "br-int", QVO, "--", "set", "Interface", QVO, ids]
    ovs.vsctl("--no-wait", *new, "--", "set", "Port", QVO, mark)
    assert findings(TAP) == {(f"OVS port {QVO}", "present", False)}


def test_the_port_that_libvirt_makes_is_not_left_over(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Without ``create_port`` os-vif sees to the bridge alone."""
    osvif.plug_kind(BRIDGE_ONLY)
    run(["ip", "tuntap", "add", "dev", TAP1, "mode", "tap"])
    ids = f"external_ids:iface-id={vifs.interface_id(1)}"
    ovs.vsctl("add-port", "br-int", TAP1, "--", "set", "Interface", TAP1, ids)
    assert findings(BRIDGE_ONLY) == set()
