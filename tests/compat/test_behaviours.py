# SPDX-License-Identifier: Apache-2.0
"""What code that uses the objects relies on, beyond what :mod:`tests.compat.probe` tries."""

import pytest

from os_vif import objects
from os_vif.objects import fields, host_info, vif

objects.register_all()


def test_equality_does_not_hang_on_the_order_of_setting() -> None:
    values = {"plugin": "ovs", "active": True, "vif_name": "tap0", "bridge_name": "br-int"}
    first, other = vif.VIFOpenVSwitch(**values), vif.VIFOpenVSwitch()
    for name in reversed(values):
        setattr(other, name, values[name])
    assert other == first
    assert vif.VIFOpenVSwitch(**values | {"vif_name": "tap1"}) != first


# Fields


def test_enum_constants() -> None:
    assert (fields.VIFDirectMode.VEPA, fields.VIFDirectMode.PASSTHROUGH) == ("vepa", "passthrough")
    assert fields.VIFDirectMode.BRIDGE == "bridge"
    assert (fields.VIFVHostUserMode.CLIENT, fields.VIFVHostUserMode.SERVER) == ("client", "server")
    assert fields.VIFHostDeviceDevType.ETHERNET == "ethernet"
    assert fields.VIFHostDeviceDevType.GENERIC == "generic"


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
    primitive = info.obj_to_primitive()
    assert "supported_port_profiles" not in primitive["versioned_object.data"]
    primitive["versioned_object.version"] = "1.0"
    back = host_info.HostVIFInfo.obj_from_primitive(primitive)
    assert back.get_common_version() == "1.0"
    assert not back.has_port_profile("VIFPortProfileOpenVSwitch")
