# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused before anything is done, by an error that names field and value."""

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
    instance_id,
    interface_id,
    mac,
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
from vif_plug_ovs.shapes.request import Request, datapath_type, found_by, read, representor

InvalidValue = exception.InvalidValue
BRIDGE = "vif.network.bridge"
KINDS = (vif_open_vswitch, vif_bridge, vif_vhost_user, vif_host_device)
FACTS = Facts("eth0_0", "0000:03:00.0", 1)


def invalid(field: str, value: object) -> str:
    return f"Invalid value of {field}, {value!r}: "


#: What neither verb can do without: (VIF, exception, start of its message).
NAMES: list[Any] = [
    *(
        pytest.param(
            make(unset="port_profile"),
            ovs_exception.MissingPortProfile,
            "The VIF has no port profile",
            id=f"no port profile, {make.__name__}",
        )
        for make in KINDS
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
        for make in KINDS
        for bad in ("", "x" * 16, "a/b", "a b", "a:b", "..", ".", "br\n", "br\0int")
    ),
    *(
        pytest.param(
            make(vif_name=bad),
            InvalidValue,
            invalid("vif.vif_name", bad),
            id=f"vif_name {bad!r}",
        )
        for make in (vif_open_vswitch, vif_bridge, vif_vhost_user)
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
    *(
        pytest.param(
            make(unset=["id", "vif_name"]),
            InvalidValue,
            invalid("vif.vif_name", None),
            id="neither id nor vif_name",
        )
        for make in (vif_open_vswitch, vif_vhost_user)
    ),
    pytest.param(
        vif_host_device(unset="id"),
        InvalidValue,
        invalid("vif.vif_name", None),
        id="neither id nor, in user space, a device",
    ),
    pytest.param(vif_bridge(unset="id"), InvalidValue, invalid("vif.id", None), id="hybrid, id"),
    pytest.param(
        vif_bridge(unset="bridge_name"),
        InvalidValue,
        invalid("vif.bridge_name", None),
        id="hybrid, bridge_name",
    ),
    pytest.param(
        VIFDirect(id=vif_id(), network=network(), port_profile=profile()),
        exception.NoMatchingVIFClass,
        "The plugin ovs does not plug VIFs of class VIFDirect",
        id="a class that this plugin does not plug",
    ),
    pytest.param(
        VIFBase(id=vif_id(), network=network(), port_profile=profile()),
        exception.NoMatchingVIFClass,
        "The plugin ovs does not plug VIFs of class VIFBase",
        id="a VIF of no kind",
    ),
]

#: What plug alone needs.
VALUES: list[Any] = [
    pytest.param(
        vif_bridge(profile={"create_tap": True}),
        ovs_exception.TapCreationNotSupported,
        "vif.port_profile.create_tap is set, but a VIFBridge has no tap that os-vif makes",
        id="hybrid, create_tap",
    ),
    *(
        pytest.param(
            make(unset="address"), InvalidValue, invalid("vif.address", None), id="address"
        )
        for make in KINDS
    ),
    *(
        pytest.param(
            make(address=bad), InvalidValue, invalid("vif.address", bad), id=f"address {bad}"
        )
        for make in KINDS
        for bad in (None, "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00")
    ),
    *(
        pytest.param(
            make(network={"mtu": bad}),
            InvalidValue,
            invalid("vif.network.mtu", bad),
            id=f"mtu {bad}",
        )
        for make in KINDS
        for bad in (-1, 67, 65536)
    ),
    *(
        pytest.param(
            vif,
            InvalidValue,
            invalid("vif.port_profile.interface_id", None),
            id="interface_id",
        )
        for vif in (make(unset="profile.interface_id") for make in KINDS)
    ),
    *(
        pytest.param(vif, InvalidValue, invalid("vif.mode", None), id="vhost-user, mode")
        for vif in (vif_vhost_user(unset="mode"), vif_vhost_user(unset=["mode", "path"]))
    ),
    pytest.param(
        vif_vhost_user(unset="path"),
        InvalidValue,
        invalid("vif.path", None),
        id="vhost-user, the server's path",
    ),
    pytest.param(
        vif_vhost_user(path=""),
        InvalidValue,
        invalid("vif.path", ""),
        id="vhost-user, an empty path",
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
        shapes.plugged(vif, info, Settings(network_device_mtu=mtu), FACTS)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("vif", "error", "text"), NAMES + VALUES)
def test_plug_refuses(vif: VIFBase, error: type[Exception], text: str) -> None:
    refused(error, text, vif, instance())


@pytest.mark.parametrize(("vif", "error", "text"), NAMES)
def test_unplug_refuses(vif: VIFBase, error: type[Exception], text: str) -> None:
    with pytest.raises(exception.ExceptionBase) as caught:
        shapes.unplugged(vif, instance(), FACTS)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("vif", "error", "text"), VALUES)
def test_unplug_does_without(vif: VIFBase, error: type[Exception], text: str) -> None:
    shapes.unplugged(vif, instance(unset=["uuid"]), FACTS)


@pytest.mark.parametrize("bad", ["x" * 16, "a/b", "a b", "..", "é" * 8])
def test_a_representor_of_an_impossible_name_is_refused(bad: str) -> None:
    vif = vif_host_device(profile={"datapath_type": "system"})
    for draw in (
        lambda facts: shapes.plugged(vif, instance(), Settings(), facts),
        lambda facts: shapes.unplugged(vif, instance(), facts),
    ):
        with pytest.raises(InvalidValue, match=r"vif\.vif_name"):
            draw(Facts(bad))


@pytest.mark.parametrize("settings", [Settings(), Settings(per_port_bridge=True)])
def test_every_shape_of_a_good_vif_can_be_drawn(settings: Settings) -> None:
    for make in KINDS:
        shapes.plugged(make(), instance(), settings, FACTS)


@pytest.mark.parametrize("vif", [make() for make in KINDS])
def test_plug_needs_the_instances_uuid(vif: VIFBase) -> None:
    refused(InvalidValue, invalid("instance_info.uuid", None), vif, instance(unset=["uuid"]))


@pytest.mark.parametrize("mtu", [0, -1, 67, 100000])
def test_a_bad_configured_mtu_is_refused_when_it_is_needed(mtu: int) -> None:
    field = "[os_vif_ovs] network_device_mtu"
    for unset in (None, 0):
        needing = vif_bridge(network={"mtu": unset})
        refused(InvalidValue, invalid(field, mtu), needing, instance(), mtu)
    shapes.plugged(vif_bridge(), instance(), Settings(network_device_mtu=mtu))


@pytest.mark.parametrize("bad", ["a/b", "a b", "é" * 11, "..:.."])
@pytest.mark.filterwarnings("ignore:.*is an invalid UUID:FutureWarning")
def test_an_id_that_makes_an_impossible_name_is_refused(bad: str) -> None:
    """UUIDField only warns of what is no UUID; the veths' names are made of it."""
    for draw in (
        lambda vif: shapes.plugged(vif, instance(), Settings()),
        lambda vif: shapes.unplugged(vif, instance()),
    ):
        with pytest.raises(InvalidValue, match=r"vif\.id"):
            draw(vif_bridge(id=bad))


# What is read -----------------------------------------------------------------------------------


def test_a_request_has_what_the_vif_says() -> None:
    vif = vif_open_vswitch(
        profile={
            "create_port": True,
            "create_tap": True,
            "multiqueue": True,
            "datapath_type": "system",
        }
    )
    settings = Settings(isolate_vif=True)
    ids = {
        "iface-id": interface_id(),
        "iface-status": "active",
        "attached-mac": mac(),
        "vm-uuid": instance_id(),
    }
    assert read(shapes.kind_of(vif), vif, instance(), settings, FACTS, complete=True) == Request(
        complete=True,
        vif_class="VIFOpenVSwitch",
        vif_id=vif_id(),
        device="tapa0000001-fe",
        bridge="br-int",
        linux_bridge="qbra0000001-fe",
        datapath_type="system",
        facts=FACTS,
        settings=settings,
        mac=mac(),
        mtu=1450,
        external_ids=ids,
        create_port=True,
        create_tap=True,
        multiqueue=True,
    )


def test_of_an_incomplete_one_is_taken_what_is_set() -> None:
    bare = vif_vhost_user(
        unset=["address", "vif_name", "mode", "path", "network.mtu", "profile.interface_id"]
    )
    assert read(
        shapes.kind_of(bare), bare, instance(unset=["uuid"]), Settings(), complete=False
    ) == Request(
        complete=False,
        vif_class="VIFVHostUser",
        vif_id=vif_id(),
        device="vhua0000001-fe",
        bridge="br-int",
        linux_bridge="qbra0000001-fe",
        datapath_type="netdev",
        facts=Facts(),
        settings=Settings(),
        external_ids={"iface-status": "active"},
    )


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
OLD_PROFILE = VIFPortProfileOVSRepresentor(
    interface_id=interface_id(), representor_address="0000:03:00.6", representor_name="tapy"
)


@pytest.mark.parametrize(
    ("vif", "wanted"),
    [
        pytest.param(vif_host_device(), ("0000:03:00.2", None), id="the device itself"),
        pytest.param(
            vif_host_device(profile={"datapath_offload": OFFLOAD}),
            ("0000:03:00.5", "tapx"),
            id="the offload's",
        ),
        pytest.param(
            vif_host_device(profile=OLD_PROFILE), ("0000:03:00.6", "tapy"), id="the old profile's"
        ),
        pytest.param(
            vif_host_device(
                profile={"datapath_offload": DatapathOffloadRepresentor(representor_name="tapx")}
            ),
            ("0000:03:00.2", "tapx"),
            id="an offload without an address",
        ),
        pytest.param(
            vif_host_device(profile={"datapath_offload": OFFLOAD}, unset="dev_address"),
            ("0000:03:00.5", "tapx"),
            id="the offload's alone",
        ),
    ],
)
def test_the_address_whose_representor_is_wanted(vif: Any, wanted: tuple[str, Any]) -> None:
    assert representor(vif) == wanted


def test_a_host_device_without_an_address_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"vif\.dev_address, None: it is not set"):
        representor(vif_host_device(unset="dev_address"))


TEXTS = {"long": "a" * 300, "NUL": "a\0b", "half a character": "a\udc80b"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
@pytest.mark.parametrize(
    ("field", "vif", "of"),
    [
        ("vif.id", lambda text: vif_open_vswitch(id=vif_id()[:20] + text), instance()),
        (
            "vif.port_profile.interface_id",
            lambda text: vif_open_vswitch(profile={"interface_id": text}),
            instance(),
        ),
        ("vif.path", lambda text: vif_vhost_user(path=20 * text), instance()),
    ],
)
def test_text_that_no_database_takes_is_refused_with_its_field(
    field: str, vif: Any, of: InstanceInfo, text: str
) -> None:
    for complete in (True, False):
        with pytest.raises(exception.InvalidValue) as failure:
            read(shapes.kind_of(vif(text)), vif(text), of, Settings(), complete=complete)
        assert failure.value.kwargs["field"] == field
        assert len(str(failure.value)) < 250
        str(failure.value).encode()


def test_the_name_of_the_ovs_bridge_is_no_devices() -> None:
    vif = vif_open_vswitch(vif_name="br-int")
    with pytest.raises(exception.InvalidValue, match=r"vif\.vif_name.*br-int"):
        read(shapes.kind_of(vif), vif, instance(), Settings(), complete=True)
    assert (
        read(shapes.kind_of(vif), vif, instance(), Settings(), complete=False).device == "br-int"
    )
