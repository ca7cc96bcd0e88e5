# SPDX-License-Identifier: Apache-2.0
"""Each kind of VIF through describing, planning and a host in memory: plug, settings, unplug."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from os_vif.objects.vif import VIFBase
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.engine import Engine
from os_vif.wiring.state import Found
from tests.fakes import FakeHost, new_link
from tests.vifs import (
    instance,
    vif_bridge,
    vif_host_device,
    vif_open_vswitch,
    vif_vhost_user,
)
from vif_plug_ovs import shapes
from vif_plug_ovs.shapes import Facts, Settings

NOW = Deadline(1)
FACTS = Facts("eth0_0", "0000:03:00.0", 1)
TRUNK = "tbr-0123abcd-4"
BARE = ["address", "network.mtu"]

Make = Callable[..., VIFBase]
Profile = dict[str, Any]
KINDS = [
    pytest.param(vif_open_vswitch, {"create_port": True}, id="create_port"),
    pytest.param(vif_open_vswitch, {"create_port": True, "create_tap": True}, id="create_tap"),
    pytest.param(vif_open_vswitch, {}, id="libvirt's"),
    pytest.param(vif_bridge, {}, id="hybrid"),
    pytest.param(vif_vhost_user, {}, id="vhost-user"),
    pytest.param(vif_host_device, {"datapath_type": "netdev"}, id="DPDK"),
    pytest.param(vif_host_device, {}, id="representor"),
]
SETTINGS = [
    Settings(per_port_bridge=own, isolate_vif=own, default_qos_type=qos)
    for own in (False, True)
    for qos in ("linux-noop", "linux-htb")
]
every_kind = pytest.mark.parametrize(("make", "profile"), KINDS)
every_setting = pytest.mark.parametrize("settings", SETTINGS)


def host() -> FakeHost:
    """A host with a representor and an integration bridge of somebody else."""
    there = FakeHost(new_link("eth0_0", "", up=False))
    plug(there, vif_open_vswitch(number=9, profile={"datapath_type": "system"}), Settings())
    return there


def plug(there: FakeHost, vif: VIFBase, settings: Settings) -> None:
    wanted = shapes.plugged(vif, instance(), settings, FACTS)
    Engine(there.links, there.rows).apply(wanted, NOW)


def unplug(there: FakeHost, vif: VIFBase) -> None:
    wanted = shapes.unplugged(vif, instance(unset=["uuid"]), FACTS)
    Engine(there.links, there.rows).remove(wanted, NOW)


def drawn(make: Make, profile: Profile, **more: Any) -> VIFBase:
    return make(profile={"datapath_type": "system", **profile}, **more)


def start_guest(there: FakeHost) -> None:
    """What libvirt does: without a device, a port is of no shape that anybody uses."""
    tap = new_link("tapa0000001-fe", "tun", up=True, mtu=1450, disable_ipv6=1)
    there.links.links.setdefault(tap.name, tap)
    there.rows.add()  # ovs-vswitchd notices


def unmark(there: FakeHost) -> None:
    """Make what stands there os-vif 5.x's, which marks nothing."""
    for name, link in there.links.links.items():
        there.links.links[name] = replace(link, alias="")
    for name, port in there.rows.ports.items():
        ids = {k: v for k, v in port.interface_ids.items() if k != "os-vif"}
        there.rows.ports[name] = replace(port, external_ids={}, interface_ids=ids)
    for name, bridge in there.rows.bridges.items():
        there.rows.bridges[name] = replace(bridge, external_ids={})


def but_for_the_mtu(state: Found) -> Found:
    """A state without the MTU of the representor, which nobody sets back."""
    link = state.links["eth0_0"]
    rest = {k: v for k, v in link.attributes.items() if k != "mtu"}
    return replace(state, links={**state.links, "eth0_0": replace(link, attributes=rest)})


@pytest.mark.parametrize(
    ("bridge", "marked", "unset"),
    [
        pytest.param("br-int", True, [*BARE, "profile.interface_id"], id="from names alone"),
        pytest.param(TRUNK, True, BARE, id="the bridge of a trunk goes with it"),
        pytest.param("br-int", False, ["network.mtu"], id="os-vif 5's"),
        pytest.param("br-int", False, BARE, id="os-vif 5's, by its iface-id"),
        pytest.param(
            "br-int", False, ["network.mtu", "profile.interface_id"], id="os-vif 5's, by its MAC"
        ),
    ],
)
@every_setting
@every_kind
def test_unplug_leads_back(
    make: Make, profile: Profile, settings: Settings, bridge: str, marked: bool, unset: list[str]
) -> None:
    there = host()
    if not marked:
        unmark(there)
    before = but_for_the_mtu(there.found)
    plug(there, drawn(make, profile, network={"bridge": bridge}), settings)
    assert bridge in there.rows.bridges
    if not marked:
        unmark(there)
    unplug(there, drawn(make, profile, network={"bridge": bridge}, unset=unset))
    assert but_for_the_mtu(there.found) == before


@pytest.mark.parametrize("then", SETTINGS)
@pytest.mark.parametrize("now", SETTINGS)
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "os-vif 5's"])
@every_kind
def test_a_plug_under_other_settings_writes_nothing(
    make: Make, profile: Profile, marked: bool, then: Settings, now: Settings
) -> None:
    there = host()
    plug(there, drawn(make, profile), then)
    if not marked:
        unmark(there)
    start_guest(there)
    before, written, calls = there.found, there.rows.committed, there.links.executed
    plug(there, drawn(make, profile), now)
    assert there.found == before
    assert (there.rows.committed, there.links.executed) == (written, calls)


HYBRID = (vif_bridge, {})
LIBVIRTS = (vif_open_vswitch, {})
WITH_PORT = (vif_open_vswitch, {"create_port": True})
WITH_TAP = (vif_open_vswitch, {"create_port": True, "create_tap": True})
CHANGES = [
    pytest.param(HYBRID, WITH_PORT, id="hybrid to create_port"),
    pytest.param(HYBRID, LIBVIRTS, id="hybrid to libvirt's"),
    pytest.param(WITH_PORT, HYBRID, id="create_port to hybrid"),
    pytest.param(WITH_TAP, WITH_PORT, id="create_tap is off now"),
    pytest.param(WITH_TAP, LIBVIRTS, id="create_port and create_tap are off now"),
]


@every_setting
@pytest.mark.parametrize(("then", "now"), CHANGES)
def test_unplug_strands_nothing_when_the_profile_has_changed(
    then: tuple[Make, Profile], now: tuple[Make, Profile], settings: Settings
) -> None:
    there = host()
    before = there.found
    plug(there, drawn(*then), settings)
    plug(there, drawn(*now), settings)
    unplug(there, drawn(*now, unset=BARE))
    assert there.found == before


@every_setting
@every_kind
def test_unplug_leaves_another_vif_alone(make: Make, profile: Profile, settings: Settings) -> None:
    there = host()
    for number in (1, 2):
        plug(there, drawn(vif_bridge, {}, number=number), settings)
        plug(there, drawn(vif_open_vswitch, {"create_port": True}, number=number + 2), settings)
    before = but_for_the_mtu(there.found)
    plug(there, drawn(make, profile, number=5), settings)
    unplug(there, drawn(make, profile, number=5, unset=BARE))
    assert but_for_the_mtu(there.found) == before


@every_setting
@pytest.mark.parametrize("then", [WITH_PORT, WITH_TAP], ids=["create_port", "create_tap"])
def test_a_vif_whose_firewall_driver_has_changed_is_unplugged_whole(
    then: Any, settings: Settings
) -> None:
    """It is hybrid by now, and was never plugged so."""
    there = host()
    before = there.found
    plug(there, drawn(*then), settings)
    unplug(there, drawn(*HYBRID, unset=BARE))
    assert there.found == before


@every_setting
def test_the_tap_of_a_vif_without_id_goes_when_create_tap_is_off_now(settings: Settings) -> None:
    """Neutron's agent plugs such VIFs."""
    there = host()
    before = there.found
    plug(there, drawn(*WITH_TAP, unset=["id"]), settings)
    rest = [field for field in BARE if field not in ("id", "vif_name")]
    unplug(there, drawn(*WITH_PORT, unset=["id", *rest]))
    assert there.found == before
