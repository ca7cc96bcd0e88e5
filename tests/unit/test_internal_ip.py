# SPDX-License-Identifier: Apache-2.0
"""The old helper ``ip``: what it refuses before it touches anything."""

import subprocess
import sys
from typing import Any

import pytest

from os_vif import exception
from os_vif.internal.ip import api, ip_command
from os_vif.internal.ip.linux import impl_pyroute2


def test_ip_is_for_linux() -> None:
    assert isinstance(api.ip, impl_pyroute2.PyRoute2)


def test_import_opens_nothing() -> None:
    code = (
        "import os, sys; before = os.listdir('/proc/self/fd'); import os_vif.internal.ip.api;"
        "assert os.listdir('/proc/self/fd') == before; assert 'pyroute2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_exists() -> None:
    assert api.ip.exists("lo")
    assert not api.ip.exists("none0")
    assert not api.ip.exists("a-name-too-long-for-a-device")


def test_unknown_type() -> None:
    with pytest.raises(exception.NetworkInterfaceTypeNotDefined, match="wire"):
        api.ip.add("dev0", "wire")


@pytest.mark.parametrize(
    ("dev_type", "given", "missing"),
    [
        ("veth", {}, "peer"),
        ("vlan", {"link": "lo"}, "vlan_id"),
        ("vlan", {"vlan_id": 5}, "link"),
        ("tuntap", {}, "mode"),
        ("tuntap", {"mode": "pipe"}, "mode"),
    ],
)
def test_missing_parameter(dev_type: str, given: dict[str, Any], missing: str) -> None:
    with pytest.raises(exception.InvalidValue, match=f"{missing}.*{dev_type}"):
        api.ip.add("dev0", dev_type, **given)


def test_state_is_up_or_down() -> None:
    with pytest.raises(exception.InvalidValue, match="sideways"):
        api.ip.set("lo", state="sideways")


def test_missing_device() -> None:
    for call in (api.ip.set, api.ip.delete):
        with pytest.raises(exception.NetworkInterfaceNotFound, match="none0"):
            call("none0")
        call("none0", check_exit_code=[19])


@pytest.mark.parametrize(
    ("method", "args"),
    [("add", ("x", "veth")), ("set", ("x",)), ("delete", ("x",)), ("exists", ("x",))],
)
def test_other_operating_systems(method: str, args: tuple[str, ...]) -> None:
    with pytest.raises(exception.NotImplementedForOS, match=f"ip.{method}"):
        getattr(ip_command.IpCommand(), method)(*args)
