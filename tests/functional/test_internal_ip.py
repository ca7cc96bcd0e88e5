# SPDX-License-Identifier: Apache-2.0
"""The old helper ``ip`` on real links."""

import errno

import pyroute2
import pytest

from os_vif import exception
from os_vif.internal.ip.api import ip

pytestmark = pytest.mark.usefixtures("netns")


def attribute(device: str, name: str) -> str:
    """What the kernel says of a link."""
    with pyroute2.IPRoute() as route:
        (link,) = route.link("get", ifname=device)
        value = link.get(name) if name in link else link.get_attr(f"IFLA_{name.upper()}")
        if value is None:
            value = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", name)
    return str(value)


def index(device: str) -> str:
    return attribute(device, "index")


def test_veth() -> None:
    ip.add("veth-a", ip.TYPE_VETH, peer="veth-b")
    assert ip.exists("veth-a")
    assert ip.exists("veth-b")
    ip.delete("veth-a")
    assert not ip.exists("veth-b")


def test_bridge_with_ageing() -> None:
    ip.add("br-a", ip.TYPE_BRIDGE, ageing=12)
    ip.add("br-b", ip.TYPE_BRIDGE)
    ip.add("br-c", ip.TYPE_BRIDGE, ageing=0)
    found = [attribute(br, "IFLA_BR_AGEING_TIME") for br in ("br-a", "br-b", "br-c")]
    assert found == ["1200", "30000", "0"]


def test_vlan_on_a_missing_device() -> None:
    with pytest.raises(exception.NetworkInterfaceNotFound, match="none0"):
        ip.add("vlan5", ip.TYPE_VLAN, link="none0", vlan_id=5)


@pytest.mark.parametrize("mode", ["tap", "tun"])
@pytest.mark.parametrize("multiqueue", [False, True])
def test_tuntap(mode: str, multiqueue: bool) -> None:
    ip.add("tap-a", ip.TYPE_TUNTAP, mode=mode, multiqueue=multiqueue)
    with pyroute2.IPRoute() as route:
        (link,) = route.link("get", ifname="tap-a")
        data = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    assert data.get_attr("IFLA_TUN_TYPE") == {"tun": 1, "tap": 2}[mode]
    assert data.get_attr("IFLA_TUN_MULTI_QUEUE") == int(multiqueue)
    assert data.get_attr("IFLA_TUN_PERSIST") == 1
    assert data.get_attr("IFLA_TUN_PI") == 0


def test_set() -> None:
    ip.add("tap-a", ip.TYPE_TUNTAP, mode="tap")
    ip.add("br-a", ip.TYPE_BRIDGE)
    ip.set("tap-a", state="up", mtu=1400, address="02:00:00:00:00:0A", promisc=True, master="br-a")
    flags = int(attribute("tap-a", "flags"))
    assert flags & 0x101 == 0x101
    assert attribute("tap-a", "mtu") == "1400"
    assert attribute("tap-a", "address") == "02:00:00:00:00:0a"
    assert attribute("tap-a", "master") == index("br-a")

    ip.set("tap-a", state="down")
    assert int(attribute("tap-a", "flags")) & 0x101 == 0x100
    ip.set("tap-a", promisc=False, state="up")
    assert int(attribute("tap-a", "flags")) & 0x101 == 0x001
    ip.set("tap-a")
    assert int(attribute("tap-a", "flags")) & 0x101 == 0x001


def test_missing_master() -> None:
    ip.add("tap-a", ip.TYPE_TUNTAP, mode="tap")
    with pytest.raises(exception.NetworkInterfaceNotFound, match="none0"):
        ip.set("tap-a", mtu=1400, master="none0")
    assert attribute("tap-a", "mtu") == "1500"


def test_errors_are_raised_unless_tolerated() -> None:
    ip.add("br-a", ip.TYPE_BRIDGE)
    with pytest.raises(pyroute2.NetlinkError) as caught:
        ip.add("br-a", ip.TYPE_BRIDGE)
    assert caught.value.code == errno.EEXIST
    ip.add("br-a", ip.TYPE_BRIDGE, check_exit_code=[0, errno.EEXIST])
