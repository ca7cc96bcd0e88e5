# SPDX-License-Identifier: Apache-2.0
"""A plugin such as others write them, in a project of their own, plugs and unplugs for real."""

from collections.abc import Iterator

import pytest
from oslo_config import cfg

from os_vif.internal.ip.api import ip
from os_vif.objects.vif import VIFOpenVSwitch
from os_vif.wiring import errors
from tests import vifs
from tests.functional.thirdparty.plugin import GROUP_NAME, Hybrid
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import OsVif
from tests.rig.snapshot import difference, links, snapshot

GROUP = f"os_vif_{GROUP_NAME}"
INSTANCE = vifs.instance()


@pytest.fixture
def plugin(ovs: PrivateOvs, osvif: OsVif) -> Iterator[Hybrid]:
    """Loaded as os-vif loads it, with an option group of its own."""
    loaded = Hybrid.load(GROUP_NAME)
    cfg.CONF.set_override("ovsdb_connection", ovs.remote, group=GROUP)
    cfg.CONF.set_override("ovs_vsctl_timeout", 5, group=GROUP)
    yield loaded
    cfg.CONF.clear_override("ovsdb_connection", group=GROUP)
    cfg.CONF.clear_override("ovs_vsctl_timeout", group=GROUP)


def vif() -> VIFOpenVSwitch:
    """Outside plugins get VIFs without a port profile."""
    return vifs.vif_open_vswitch(
        unset=["port_profile"], bridge_name="qbr-x", network={"bridge": "br-int", "mtu": 1400}
    )


def test_it_plugs_and_unplugs(plugin: Hybrid, ovs: PrivateOvs, br_int: str) -> None:
    before = snapshot(ovs)
    one = vif()
    inside, outside = Hybrid.ends(one)
    for _ in range(2):
        plugin.plug(one, INSTANCE)
        assert links()[inside]["master"] == "qbr-x"
        assert links()[outside]["mtu"] == 1400
        assert ovs.interface(outside)["ofport"] > 0
        assert ovs.interface(outside)["external_ids"]["iface-id"] == one.id
        assert ovs.dump()["Port"][outside]["tag"] == 42
    for _ in range(2):
        plugin.unplug(one, INSTANCE)
    assert not difference(before, snapshot(ovs))


def test_it_forwards(plugin: Hybrid, ovs: PrivateOvs, br_int: str) -> None:
    """What comes in at the Linux bridge arrives in the OVS bridge."""
    plugin.plug(vif(), INSTANCE)
    run(["ip", "link", "add", "guest", "type", "veth", "peer", "name", "host"])
    for device in ("guest", "host"):
        run(["ip", "link", "set", device, "up"])
    run(["ip", "link", "set", "host", "master", "qbr-x"])
    run(["ip", "neigh", "add", "192.0.2.2", "lladdr", vifs.mac(9), "dev", "guest"])
    run(["ip", "addr", "add", "192.0.2.1/24", "dev", "guest"])
    run(["ping", "-c1", "-W1", "192.0.2.2"], check=False)
    mac = links()["guest"]["mac"]
    assert mac in ovs.appctl("vswitchd", "fdb/show", br_int)


def test_it_fails_with_our_exceptions(plugin: Hybrid, ovs: PrivateOvs, br_int: str) -> None:
    inside, outside = Hybrid.ends(vif())
    ovs.vsctl("add-br", "br1", "--", "add-port", "br1", outside)
    with pytest.raises(errors.Contradiction, match="br1"):
        plugin.plug(vif(), INSTANCE)
    assert ip.exists(inside)  # its author takes nothing back
    plugin.unplug_devices(vif())
    assert not ip.exists(inside)
