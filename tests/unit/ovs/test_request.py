# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused before anything is done, by an error that names field and value."""

from collections.abc import Callable
from typing import Any

import pytest

from os_vif import exception
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import (
    DatapathOffloadRepresentor,
    VIFBase,
    VIFDirect,
    VIFPortProfile8021Qbh,
    VIFPortProfileBase,
    VIFPortProfileOVSRepresentor,
)
from tests.vifs import (
    instance,
    interface_id,
    network,
    profile,
    vif_bridge,
    vif_host_device,
    vif_id,
    vif_open_vswitch,
    vif_vhost_user,
)
from vif_plug_ovs import exception as ovs_exception
from vif_plug_ovs import shapes
from vif_plug_ovs.shapes import Facts, Settings
from vif_plug_ovs.shapes.request import datapath_type, found_by, representor

InvalidValue = exception.InvalidValue
BRIDGE, MTU = "vif.network.bridge", "vif.network.mtu"
INTERFACE_ID = "vif.port_profile.interface_id"
WITH_DEVICE = (vif_open_vswitch, vif_bridge, vif_vhost_user)
KINDS = (*WITH_DEVICE, vif_host_device)
FACTS = Facts("eth0_0", "0000:03:00.0", 1)


BAD_NAMES = ("x" * 16, "a/b", "../tap", "a b", "a:b", "..")

#: What neither verb can do without: a VIF, the field that is refused and its value.
NAMES: list[tuple[VIFBase, str, object]] = [
    (vif_open_vswitch(unset="network"), "vif.network", None),
    (vif_open_vswitch(network=None), "vif.network", None),
    (vif_open_vswitch(unset="network.bridge"), BRIDGE, None),
    *(
        (make(network={"bridge": bad}), BRIDGE, bad)
        for make in KINDS
        for bad in ("", ".", "br\n", "br\0int", *BAD_NAMES)
    ),
    *((make(vif_name=bad), "vif.vif_name", bad) for make in WITH_DEVICE for bad in BAD_NAMES),
    *((vif_bridge(bridge_name=bad), "vif.bridge_name", bad) for bad in ("", *BAD_NAMES)),
    (vif_open_vswitch(unset=["id", "vif_name"]), "vif.vif_name", None),
    (vif_vhost_user(unset=["id", "vif_name"]), "vif.vif_name", None),
    (vif_host_device(unset="id"), "vif.vif_name", None),  # nor, in user space, a device
    (vif_bridge(unset="id"), "vif.id", None),
    (vif_bridge(unset="bridge_name"), "vif.bridge_name", None),
]

#: What plug alone needs.
VALUES: list[tuple[VIFBase, str, object]] = [
    *((make(unset="address"), "vif.address", None) for make in KINDS),
    *(
        (make(address=bad), "vif.address", bad)
        for make in KINDS
        for bad in (None, "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00")
    ),
    *((make(network={"mtu": bad}), MTU, bad) for make in KINDS for bad in (-1, 67, 65536)),
    *((make(unset="profile.interface_id"), INTERFACE_ID, None) for make in KINDS),
    (vif_vhost_user(unset="mode"), "vif.mode", None),
    (vif_vhost_user(unset=["mode", "path"]), "vif.mode", None),
    (vif_vhost_user(unset="path"), "vif.path", None),
    (vif_vhost_user(path=""), "vif.path", ""),
]

#: VIFs that are wrong as a whole: what is raised, and what it says.
WRONG: dict[str, tuple[VIFBase, type[Exception], str]] = {
    **{
        f"no port profile, {make.__name__}": (
            make(unset="port_profile"),
            ovs_exception.MissingPortProfile,
            "The VIF has no port profile",
        )
        for make in KINDS
    },
    "a port profile of another technology": (
        vif_open_vswitch(profile=VIFPortProfile8021Qbh(profile_id="p")),
        ovs_exception.WrongPortProfile,
        "vif.port_profile is a VIFPortProfile8021Qbh; "
        "this plugin needs a VIFPortProfileOpenVSwitch",
    ),
    "a port profile that says nothing": (
        vif_bridge(profile=VIFPortProfileBase()),
        ovs_exception.WrongPortProfile,
        "vif.port_profile is a VIFPortProfileBase; ",
    ),
    "a class that this plugin does not plug": (
        VIFDirect(id=vif_id(), network=network(), port_profile=profile()),
        exception.NoMatchingVIFClass,
        "No VIF class was found with the name VIFDirect",
    ),
    "a VIF of no kind": (
        VIFBase(id=vif_id(), network=network(), port_profile=profile()),
        exception.NoMatchingVIFClass,
        "No VIF class was found with the name VIFBase",
    ),
}


def plug(vif: VIFBase, info: InstanceInfo | None = None, mtu: int = 1500) -> None:
    shapes.plugged(vif, info or instance(), Settings(network_device_mtu=mtu), FACTS)


def unplug(vif: VIFBase) -> None:
    shapes.unplugged(vif, instance(unset=["uuid"]), FACTS)


def refused(field: str, value: object, verb: Callable[..., object], *arguments: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        verb(*arguments)
    assert str(caught.value).startswith(f"Invalid value of {field}, {value!r}: ")


@pytest.mark.parametrize(("vif", "field", "value"), NAMES)
def test_a_name_that_cannot_be_is_refused(vif: VIFBase, field: str, value: object) -> None:
    refused(field, value, plug, vif)
    refused(field, value, unplug, vif)


@pytest.mark.parametrize(("vif", "field", "value"), VALUES)
def test_plug_refuses_what_unplug_does_without(vif: VIFBase, field: str, value: object) -> None:
    refused(field, value, plug, vif)
    unplug(vif)


@pytest.mark.parametrize("verb", [plug, unplug])
@pytest.mark.parametrize("case", WRONG)
def test_a_vif_that_is_wrong_as_a_whole_is_refused(
    case: str, verb: Callable[[VIFBase], None]
) -> None:
    vif, error, text = WRONG[case]
    with pytest.raises(exception.ExceptionBase) as caught:
        verb(vif)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


def test_a_hybrid_vif_has_no_tap_that_os_vif_makes() -> None:
    vif = vif_bridge(profile={"create_tap": True})
    with pytest.raises(ovs_exception.TapCreationNotSupported, match="a VIFBridge has no tap"):
        plug(vif)
    unplug(vif)


@pytest.mark.parametrize("bad", ["é" * 8, *BAD_NAMES])
def test_a_representor_of_an_impossible_name_is_refused(bad: str) -> None:
    vif = vif_host_device(profile={"datapath_type": "system"})
    refused("vif.vif_name", bad, shapes.plugged, vif, instance(), Settings(), Facts(bad))
    refused("vif.vif_name", bad, shapes.unplugged, vif, instance(), Facts(bad))


@pytest.mark.parametrize("vif", [make() for make in KINDS])
def test_plug_needs_the_instances_uuid(vif: VIFBase) -> None:
    refused("instance_info.uuid", None, plug, vif, instance(unset=["uuid"]))


@pytest.mark.parametrize("mtu", [0, -1, 67, 100000])
def test_a_bad_configured_mtu_is_refused_when_it_is_needed(mtu: int) -> None:
    field = "[os_vif_ovs] network_device_mtu"
    for unset in (None, 0):
        refused(field, mtu, plug, vif_bridge(network={"mtu": unset}), instance(), mtu)
    plug(vif_bridge(), instance(), mtu)


@pytest.mark.parametrize("bad", ["a/b", "a b", "é" * 11, "..:.."])
@pytest.mark.filterwarnings("ignore:.*is an invalid UUID:FutureWarning")
def test_an_id_that_makes_an_impossible_name_is_refused(bad: str) -> None:
    """UUIDField only warns of what is no UUID; the veths' names are made of it."""
    for verb in (plug, unplug):
        refused("vif.id", bad, verb, vif_bridge(id=bad))


# What is read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vif", "wanted"),
    [
        (vif_open_vswitch(), "netdev"),
        (vif_open_vswitch(unset="profile.datapath_type"), "system"),
        (vif_bridge(profile={"datapath_type": None}), "system"),
        (vif_host_device(profile={"datapath_type": ""}), "system"),
        (vif_vhost_user(unset="profile.datapath_type"), "netdev"),
        (vif_vhost_user(profile={"datapath_type": None}), "netdev"),
        (vif_vhost_user(profile={"datapath_type": "system"}), "system"),
    ],
)
def test_the_datapath_type_is_the_profiles_else_the_kinds(vif: VIFBase, wanted: str) -> None:
    assert datapath_type(shapes.kind_of(vif), vif) == wanted


@pytest.mark.parametrize(
    ("unset", "wanted"),
    [
        ([], ("iface-id", interface_id())),
        (["profile.interface_id"], ("os-vif", f"ovs:shape:{vif_id()}")),
        (["profile.interface_id", "id"], None),
    ],
)
def test_the_ports_of_a_vif_are_found_by_its_iface_id_else_by_its_mark(
    unset: list[str], wanted: tuple[str, str] | None
) -> None:
    assert found_by(vif_host_device(unset=unset), "shape") == wanted


OFFLOAD = DatapathOffloadRepresentor(representor_address="0000:03:00.5", representor_name="tapx")
NO_ADDRESS = DatapathOffloadRepresentor(representor_name="tapx")
OWN = "0000:03:00.2"
OLD_PROFILE = VIFPortProfileOVSRepresentor(
    interface_id=interface_id(), representor_address="0000:03:00.6", representor_name="tapy"
)


@pytest.mark.parametrize(
    ("vif", "wanted"),
    [
        (vif_host_device(), (OWN, None)),
        (vif_host_device(profile={"datapath_offload": OFFLOAD}), ("0000:03:00.5", "tapx")),
        (vif_host_device(profile=OLD_PROFILE), ("0000:03:00.6", "tapy")),
        (vif_host_device(profile={"datapath_offload": NO_ADDRESS}), (OWN, "tapx")),
        (
            vif_host_device(profile={"datapath_offload": OFFLOAD}, unset="dev_address"),
            ("0000:03:00.5", "tapx"),
        ),
    ],
    ids=["its own", "the offload's", "the old profile's", "its own, if that has none", "alone"],
)
def test_the_address_whose_representor_is_wanted(vif: Any, wanted: tuple[str, Any]) -> None:
    assert representor(vif) == wanted


def test_a_host_device_without_an_address_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"vif\.dev_address, None: it is not set"):
        representor(vif_host_device(unset="dev_address"))


TEXTS = {"long": "a" * 300, "NUL": "a\0b", "half a character": "a\udc80b"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("vif.id", lambda text: vif_open_vswitch(id=vif_id()[:20] + text)),
        (INTERFACE_ID, lambda text: vif_open_vswitch(profile={"interface_id": text})),
        ("vif.path", lambda text: vif_vhost_user(path=20 * text)),
    ],
)
@pytest.mark.parametrize("verb", [plug, unplug])
def test_text_that_no_database_takes_is_refused_with_its_field(
    verb: Callable[[VIFBase], None], field: str, make: Any, text: str
) -> None:
    with pytest.raises(InvalidValue) as failure:
        verb(make(text))
    assert failure.value.kwargs["field"] == field
    assert len(str(failure.value)) < 250
    str(failure.value).encode()


def test_the_name_of_the_ovs_bridge_is_no_devices() -> None:
    vif = vif_open_vswitch(vif_name="br-int")
    refused("vif.vif_name", "br-int", plug, vif)
    unplug(vif)
