# SPDX-License-Identifier: Apache-2.0
"""The old helper ``ip`` on real links; VLAN devices are in ``tests/vm``."""

import errno
from typing import Any

import pyroute2
import pytest

from os_vif import exception
from os_vif.internal.ip.api import ip
from tests.rig.snapshot import Facts, links

pytestmark = pytest.mark.usefixtures("netns")


def test_veth() -> None:
    ip.add("veth-a", ip.TYPE_VETH, peer="veth-b")
    assert links()["veth-a"]["parent"] == "veth-b"
    assert ip.exists("veth-b")
    ip.delete("veth-a")
    assert not ip.exists("veth-b")


@pytest.mark.parametrize(
    ("options", "ageing"), [({}, 30000), ({"ageing": 12}, 1200), ({"ageing": 0}, 0)]
)
def test_bridge_with_ageing(options: dict[str, Any], ageing: int) -> None:
    ip.add("br-a", ip.TYPE_BRIDGE, **options)
    assert links()["br-a"]["ageing_time"] == ageing


def test_vlan_on_a_missing_device() -> None:
    with pytest.raises(exception.NetworkInterfaceNotFound, match="none0"):
        ip.add("vlan5", ip.TYPE_VLAN, link="none0", vlan_id=5)


@pytest.mark.parametrize("mode", ["tap", "tun"])
@pytest.mark.parametrize("multiqueue", [False, True])
def test_tuntap(mode: str, multiqueue: bool) -> None:
    ip.add("tap-a", ip.TYPE_TUNTAP, mode=mode, multiqueue=multiqueue)
    wanted = {"type": mode, "multi_queue": multiqueue, "persist": True, "pi": False}
    assert wanted.items() <= links()["tap-a"].items()


def test_set() -> None:
    def found() -> Facts:
        return {key: links()["tap-a"][key] for key in wanted}

    ip.add("tap-a", ip.TYPE_TUNTAP, mode="tap")
    ip.add("br-a", ip.TYPE_BRIDGE)
    wanted = {"mtu": 1400, "mac": "02:00:00:00:00:0a", "up": True, "promisc": True}
    wanted["master"] = "br-a"
    ip.set("tap-a", state="up", mtu=1400, address="02:00:00:00:00:0A", promisc=True, master="br-a")
    assert found() == wanted
    ip.set("tap-a", state="down")
    assert found() == {**wanted, "up": False}
    ip.set("tap-a", promisc=False, state="up")
    ip.set("tap-a")
    assert found() == {**wanted, "promisc": False}


def test_missing_master() -> None:
    ip.add("tap-a", ip.TYPE_TUNTAP, mode="tap")
    with pytest.raises(exception.NetworkInterfaceNotFound, match="none0"):
        ip.set("tap-a", mtu=1400, master="none0")
    assert links()["tap-a"]["mtu"] == 1500


def test_errors_are_raised_unless_tolerated() -> None:
    ip.add("br-a", ip.TYPE_BRIDGE)
    with pytest.raises(pyroute2.NetlinkError) as caught:
        ip.add("br-a", ip.TYPE_BRIDGE)
    assert caught.value.code == errno.EEXIST
    ip.add("br-a", ip.TYPE_BRIDGE, check_exit_code=[0, errno.EEXIST])
