# SPDX-License-Identifier: Apache-2.0
"""list says what os-vif has made on a host, and how each VIF is."""

import pytest

import os_vif
from os_vif.answers import PluggedVif
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, MULTIQUEUE, PER_PORT, PORT_ONLY, TAP, Kind, OsVif

kinds = pytest.mark.parametrize(
    "kind", [TAP, MULTIQUEUE, PORT_ONLY, HYBRID, PER_PORT], ids=lambda kind: kind.name
)


def listed() -> dict[str, PluggedVif]:
    return {one.vif_id: one for one in os_vif.list_vifs()}


@pytest.mark.parametrize("driver", ["native", "vsctl"])
@kinds
def test_a_vif_is_listed_with_all_that_it_has(
    kind: Kind, driver: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    osvif.configure(ovsdb_interface=driver)
    assert listed() == {}
    osvif.plug_kind(kind)
    (one,) = os_vif.list_vifs()
    assert (one.vif_id, one.plugin, one.instance) == (vifs.vif_id(), "ovs", vifs.instance_id())
    assert (one.kind, one.marked, one.bridge) == (kind.mark, True, "br-int")
    assert {*kind.link_names(), kind.port()} <= set(one.devices)
    assert "br-int" not in one.devices
    assert one.age is not None
    assert 0 <= one.age < 60
    off = "" if kind.link_names() else f"{kind.port()}: the device is not there, as when the guest"
    assert one.state == "idle"
    assert one.reason.startswith(off) if off else not one.reason
    assert one.ofport == ovs.interface(kind.tagged_port())["ofport"]
    with kind.guest():
        ovs.catch_up()
        assert listed()[vifs.vif_id()].state == "in use"
    osvif.unplug(kind.vif())
    assert listed() == {}


def test_how_a_vif_is(ovs: PrivateOvs, osvif: OsVif, br_int: str) -> None:
    for number, kind in enumerate((TAP, HYBRID, HYBRID, TAP), 1):
        osvif.plug_kind(kind, number)
    run(["ip", "link", "delete", vifs.device("qbr", 2)])
    ovs.vsctl("del-port", HYBRID.port(3))
    ovs.vsctl("--no-wait", "set", "Interface", TAP.port(4), 'error="it is broken"')
    found = {number: listed()[vifs.vif_id(number)] for number in range(1, 5)}
    assert {number: (one.state, one.reason) for number, one in found.items()} == {
        1: ("idle", ""),
        2: ("orphan", f"{vifs.device('qbr', 2)} is missing"),
        3: ("orphan", f"no port of Open vSwitch belongs to {', '.join(found[3].devices)}"),
        4: ("broken", f"{TAP.port(4)}: it is broken"),
    }


@pytest.mark.parametrize(("key", "is_ours"), [("vm-uuid", True), ("vm-id", False)])
def test_what_os_vif_5_made_is_proved_by_its_ids(
    key: str, is_ours: bool, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """libvirt's own ports have the same names, and ``vm-id``."""
    vif_id = vifs.interface_id(1)
    tap = f"tap{vif_id}"[:14]
    run(["ip", "tuntap", "add", "dev", tap, "mode", "tap"])
    values = {"iface-id": vif_id, "attached-mac": vifs.mac(), key: "some-guest"}
    ids = [f'external_ids:{name}="{value}"' for name, value in values.items()]
    ovs.vsctl("add-port", "br-int", tap, "--", "set", "Interface", tap, *ids)
    found = listed()
    assert set(found) == ({vif_id} if is_ours else set())
    if is_ours:
        one = found[vif_id]
        assert (one.marked, one.age, one.instance) == (False, None, "some-guest")
        assert one.devices == (tap,)
