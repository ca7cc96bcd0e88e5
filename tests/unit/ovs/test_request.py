# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused before anything is done, by an error that names field and value."""

from typing import Any

import pytest

from os_vif import exception
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import (
    VIFBase,
    VIFDirect,
    VIFPortProfile8021Qbh,
    VIFPortProfileBase,
)
from tests.vifs import instance, network, profile, vif_bridge, vif_id, vif_open_vswitch
from vif_plug_ovs import exception as ovs_exception
from vif_plug_ovs import wiring
from vif_plug_ovs.wiring import Settings

InvalidValue = exception.InvalidValue
BRIDGE = "vif.network.bridge"


def invalid(field: str, value: object) -> str:
    return f"Invalid value of {field}, {value!r}: "


#: What neither verb can do without: (VIF, exception, start of its message).
NAMES: list[Any] = [
    pytest.param(
        vif_open_vswitch(unset="port_profile"),
        ovs_exception.MissingPortProfile,
        "The VIF has no port profile",
        id="no port profile",
    ),
    pytest.param(
        vif_open_vswitch(profile=VIFPortProfile8021Qbh(profile_id="p")),
        ovs_exception.WrongPortProfile,
        "vif.port_profile is a VIFPortProfile8021Qbh; "
        "this plugin needs a VIFPortProfileOpenVSwitch",
        id="a port profile of another technology",
    ),
    pytest.param(
        vif_bridge(profile=VIFPortProfileBase()),
        ovs_exception.WrongPortProfile,
        "vif.port_profile is a VIFPortProfileBase; ",
        id="a port profile that says nothing",
    ),
    pytest.param(
        vif_open_vswitch(unset="network"), InvalidValue, invalid("vif.network", None), id="network"
    ),
    pytest.param(
        vif_open_vswitch(network=None),
        InvalidValue,
        invalid("vif.network", None),
        id="network is None",
    ),
    pytest.param(
        vif_open_vswitch(unset="network.bridge"), InvalidValue, invalid(BRIDGE, None), id="bridge"
    ),
    *(
        pytest.param(
            make(network={"bridge": bad}), InvalidValue, invalid(BRIDGE, bad), id=f"bridge {bad!r}"
        )
        for make in (vif_open_vswitch, vif_bridge)
        for bad in ("", "x" * 16, "a/b", "a b", "a:b", "..", ".", "br\n", "br\0int")
    ),
    *(
        pytest.param(
            make(vif_name=bad),
            InvalidValue,
            invalid("vif.vif_name", bad),
            id=f"vif_name {bad!r}",
        )
        for make in (vif_open_vswitch, vif_bridge)
        for bad in ("x" * 16, "../tap", "a b", "a:b", "..")
    ),
    *(
        pytest.param(
            vif_bridge(bridge_name=bad),
            InvalidValue,
            invalid("vif.bridge_name", bad),
            id=f"bridge_name {bad!r}",
        )
        for bad in ("", "x" * 16, "a/b", "a b", "a:b", "..")
    ),
    pytest.param(
        vif_open_vswitch(unset=["id", "vif_name"]),
        InvalidValue,
        invalid("vif.vif_name", None),
        id="neither id nor vif_name",
    ),
    pytest.param(vif_bridge(unset="id"), InvalidValue, invalid("vif.id", None), id="hybrid, id"),
    pytest.param(
        vif_bridge(unset="bridge_name"),
        InvalidValue,
        invalid("vif.bridge_name", None),
        id="hybrid, bridge_name",
    ),
    pytest.param(
        vif_bridge(profile={"create_tap": True}),
        ovs_exception.TapCreationNotSupported,
        "vif.port_profile.create_tap is set, but a VIFBridge has no tap that os-vif makes",
        id="hybrid, create_tap",
    ),
    pytest.param(
        VIFDirect(id=vif_id(), network=network(), port_profile=profile()),
        exception.NoMatchingVIFClass,
        "No VIF class was found with the name VIFDirect",
        id="a class that this plugin does not plug",
    ),
    pytest.param(
        VIFBase(id=vif_id(), network=network(), port_profile=profile()),
        exception.NoMatchingVIFClass,
        "No VIF class was found with the name VIFBase",
        id="a VIF of no kind",
    ),
]

#: What plug alone needs.
VALUES: list[Any] = [
    pytest.param(
        vif_open_vswitch(unset="address"), InvalidValue, invalid("vif.address", None), id="address"
    ),
    *(
        pytest.param(
            make(address=bad), InvalidValue, invalid("vif.address", bad), id=f"address {bad}"
        )
        for make in (vif_open_vswitch, vif_bridge)
        for bad in (None, "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00")
    ),
    *(
        pytest.param(
            make(network={"mtu": bad}),
            InvalidValue,
            invalid("vif.network.mtu", bad),
            id=f"mtu {bad}",
        )
        for make in (vif_open_vswitch, vif_bridge)
        for bad in (0, -1, 67, 100000)
    ),
    pytest.param(
        vif_open_vswitch(unset="profile.interface_id"),
        InvalidValue,
        invalid("vif.port_profile.interface_id", None),
        id="interface_id",
    ),
]


def refused(
    error: type[Exception],
    text: str,
    vif: VIFBase,
    info: InstanceInfo,
    mtu: int = 1500,
) -> None:
    with pytest.raises(exception.ExceptionBase) as caught:
        wiring.plugged(vif, info, Settings(network_device_mtu=mtu))
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("vif", "error", "text"), NAMES + VALUES)
def test_plug_refuses(vif: VIFBase, error: type[Exception], text: str) -> None:
    refused(error, text, vif, instance())


@pytest.mark.parametrize(("vif", "error", "text"), NAMES)
def test_unplug_refuses(vif: VIFBase, error: type[Exception], text: str) -> None:
    with pytest.raises(exception.ExceptionBase) as caught:
        wiring.unplugged(vif, instance())
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("vif", [vif_open_vswitch(), vif_bridge()])
def test_plug_needs_the_instances_uuid(vif: VIFBase) -> None:
    refused(InvalidValue, invalid("instance_info.uuid", None), vif, instance(unset=["uuid"]))


@pytest.mark.parametrize("mtu", [0, -1, 67, 100000])
def test_a_bad_configured_mtu_is_refused_when_it_is_needed(mtu: int) -> None:
    field = "[os_vif_ovs] network_device_mtu"
    needing = vif_bridge(network={"mtu": None})
    refused(InvalidValue, invalid(field, mtu), needing, instance(), mtu)
    wiring.plugged(vif_bridge(), instance(), Settings(network_device_mtu=mtu))


@pytest.mark.parametrize("bad", ["a/b", "a b", "é" * 11, "..:.."])
@pytest.mark.filterwarnings("ignore:.*is an invalid UUID:FutureWarning")
def test_an_id_that_makes_an_impossible_name_is_refused(bad: str) -> None:
    """UUIDField only warns of what is no UUID; the veths' names are made of it."""
    for draw in (
        lambda vif: wiring.plugged(vif, instance(), Settings()),
        lambda vif: wiring.unplugged(vif, instance()),
    ):
        with pytest.raises(InvalidValue, match=r"vif\.id"):
            draw(vif_bridge(id=bad))
