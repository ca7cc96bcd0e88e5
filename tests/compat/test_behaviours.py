# SPDX-License-Identifier: Apache-2.0
"""What code that uses the objects relies on, beyond their definitions."""

import copy
import pickle
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from os_vif import objects
from os_vif.objects import base, fields, host_info, network, subnet, vif
from tests.compat import facts
from tests.compat.strategies import any_object, content, newest

objects.register_all()

NAMES = list(facts("objects"))
FILLED = {"subnets", "multi_host", "should_provide_bridge", "should_provide_vlan", "mtu"}


def fields_of(name: str) -> list[str]:
    return [field for field in newest(name).fields if not (name == "Network" and field in FILLED)]


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_not_set_raises_on_read(name: str) -> None:
    obj = newest(name)()
    for field in fields_of(name):
        assert field not in obj
        with pytest.raises(NotImplementedError, match=f"Cannot load '{field}'"):
            getattr(obj, field)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_keyword_becomes_a_plain_attribute(name: str) -> None:
    obj: Any = newest(name)(foo=1)
    assert obj.foo == 1
    assert "foo" not in obj
    assert "foo" not in obj.obj_to_primitive()["versioned_object.data"]


@pytest.mark.parametrize("name", NAMES)
@given(draw=st.data())
@settings(max_examples=settings.default.max_examples // 5)
def test_primitive_copy_and_pickle_hold_everything(name: str, draw: Any) -> None:
    obj = draw.draw(any_object(newest(name)))
    for twin in (
        base.VersionedObject.obj_from_primitive(obj.obj_to_primitive()),
        copy.deepcopy(obj),
        pickle.loads(pickle.dumps(obj)),
    ):
        assert content(twin) == content(obj)
        assert twin.obj_to_primitive() == obj.obj_to_primitive()


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("VIF")])
def test_booleans_are_unset_until_asked_for(name: str) -> None:
    obj = newest(name)()
    defaults = {
        field: kind.default for field, kind in obj.fields.items() if "default=<" not in repr(kind)
    }
    assert not any(field in obj for field in defaults)
    obj.obj_set_defaults()
    assert {field: getattr(obj, field) for field in defaults} == defaults


def test_equality_does_not_hang_on_the_order_of_setting() -> None:
    values = {
        "id": "e65867e0-9340-4a7f-a256-09af6eb7a3aa",
        "address": "ca:fe:de:ad:be:ef",
        "plugin": "ovs",
        "active": True,
        "preserve_on_delete": False,
        "has_traffic_filtering": False,
        "vif_name": "tap0",
        "bridge_name": "br-int",
    }
    first = vif.VIFOpenVSwitch(**values)
    for seed in range(50):
        names = list(values)
        random.Random(seed).shuffle(names)
        other = vif.VIFOpenVSwitch()
        for name in names:
            setattr(other, name, values[name])
        assert other == first
    assert vif.VIFOpenVSwitch(**values | {"vif_name": "tap1"}) != first


# Network


def test_network_fills_in() -> None:
    net = network.Network()
    assert {field for field in net.fields if field in net} == FILLED
    assert isinstance(net.subnets, subnet.SubnetList)
    assert net.subnets.objects == []
    net.subnets.objects.append(subnet.Subnet())  # as kuryr-kubernetes does
    assert len(net.subnets) == 1
    assert network.Network().subnets.objects == []
    assert (net.multi_host, net.should_provide_bridge, net.should_provide_vlan) == (False,) * 3
    assert net.mtu is None


def test_network_leaves_what_is_given() -> None:
    net = network.Network(mtu=9000, multi_host=True, should_provide_vlan=True)
    assert (net.mtu, net.multi_host, net.should_provide_vlan) == (9000, True, True)


# Lists


@pytest.mark.parametrize("name", ["FixedIPList", "RouteList", "SubnetList"])
def test_lists(name: str) -> None:
    cls: Any = newest(name)
    item = newest(name.removesuffix("List"))()
    unset, empty, one = cls(), cls(objects=[]), cls(objects=[item])
    assert (len(empty), list(empty), list(empty[:1])) == (0, [], [])
    assert (len(one), list(one), one[0], list(one[:1])) == (1, [item], item, [item])
    assert ("objects" in unset, "objects" in empty, "objects" in one) == (False, True, True)
    with pytest.raises(NotImplementedError):
        len(unset)
    assert unset.obj_to_primitive()["versioned_object.data"] == {}


# Fields


def test_enum_constants() -> None:
    assert (fields.VIFDirectMode.VEPA, fields.VIFDirectMode.PASSTHROUGH) == ("vepa", "passthrough")
    assert fields.VIFDirectMode.BRIDGE == "bridge"
    assert (fields.VIFVHostUserMode.CLIENT, fields.VIFVHostUserMode.SERVER) == ("client", "server")
    assert fields.VIFHostDeviceDevType.ETHERNET == "ethernet"
    assert fields.VIFHostDeviceDevType.GENERIC == "generic"


def test_enum_refuses_other_values() -> None:
    with pytest.raises(ValueError, match="anything"):
        vif.VIFDirect(mode="anything")


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("0000:03:10.7", "0000:03:10.7"),
        ("0000:AF:1F.0", "0000:af:1f.0"),
        ("10000:e1:00.0", "10000:e1:00.0"),
    ],
)
def test_pci_address(address: str, kept: str) -> None:
    assert vif.VIFHostDevice(dev_address=address).dev_address == kept


@pytest.mark.parametrize(
    "address",
    ["", "eth0", "0000:03:10", "0000:03:10.8", "0000:03:20.0", "0000:03:10.7\n", "x0000:03:10.7",
     "0000:03:10x7", "../:03:10.7", 5],
)  # fmt: skip
def test_pci_address_refused(address: object) -> None:
    with pytest.raises(ValueError, match="Malformed PCI address"):
        vif.VIFHostDevice(dev_address=address)


def test_mac_address_is_kept_in_lower_case() -> None:
    assert vif.VIFGeneric(address="CA-FE-DE-AD-BE-EF").address == "ca:fe:de:ad:be:ef"


# Profiles in VIFs


def test_a_vif_takes_any_profile_and_a_profile_any_offload() -> None:
    offload = vif.DatapathOffloadRepresentor(representor_name="eth0")
    obj = vif.VIFHostDevice(port_profile=vif.VIFPortProfileFPOpenVSwitch(datapath_offload=offload))
    back = vif.VIFBase.obj_from_primitive(obj.obj_to_primitive())
    assert isinstance(back, vif.VIFHostDevice)
    assert isinstance(back.port_profile, vif.VIFPortProfileFPOpenVSwitch)
    assert isinstance(back.port_profile.datapath_offload, vif.DatapathOffloadRepresentor)
    with pytest.raises(ValueError, match="VIFPortProfileBase"):
        vif.VIFHostDevice(port_profile=offload)


def test_host_vif_info_needs_no_profiles() -> None:
    info = host_info.HostVIFInfo(vif_object_name="VIFBridge", min_version="1.0", max_version="1.0")
    assert info.get_common_version() == "1.0"
    assert not info.has_port_profile("VIFPortProfileOpenVSwitch")
    primitive = info.obj_to_primitive()
    assert "supported_port_profiles" not in primitive["versioned_object.data"]
    primitive["versioned_object.version"] = "1.0"
    assert host_info.HostVIFInfo.obj_from_primitive(primitive).get_common_version() == "1.0"
