# SPDX-License-Identifier: Apache-2.0
"""What a host can plug, and which version two sides agree on."""

from collections.abc import Collection, Iterator

import pytest
from oslo_versionedobjects import base as ovo_base

from os_vif import exception, objects
from os_vif.objects import base
from os_vif.objects.host_info import HostInfo, HostPluginInfo, HostPortProfileInfo, HostVIFInfo


def vif_info(name: str, low: str = "1.0", high: str = "1.0") -> HostVIFInfo:
    return HostVIFInfo(
        vif_object_name=name,
        min_version=low,
        max_version=high,
        supported_port_profiles=[profile_info("VIFPortProfileOpenVSwitch")],
    )


def profile_info(name: str, low: str = "1.0", high: str = "1.4") -> HostPortProfileInfo:
    return HostPortProfileInfo(profile_object_name=name, min_version=low, max_version=high)


@pytest.fixture
def host() -> HostInfo:
    return HostInfo(
        plugin_info=[
            HostPluginInfo(
                plugin_name="ovs", vif_info=[vif_info("VIFOpenVSwitch"), vif_info("VIFBridge")]
            ),
            HostPluginInfo(plugin_name="linux_bridge", vif_info=[vif_info("VIFBridge")]),
        ]
    )


@pytest.fixture
def at_version_1_10() -> Iterator[None]:
    """A VIF class that is at version 1.10."""

    class VIFTen(base.VersionedObject):
        VERSION = "1.10"

    ovo_base.VersionedObjectRegistry.register(VIFTen)
    yield
    del ovo_base.VersionedObjectRegistry.obj_classes()["VIFTen"]


# Versions


@pytest.mark.parametrize(
    ("low", "high", "common"),
    [
        ("1.0", "1.4", "1.4"),
        ("1.0", "1.0", "1.0"),
        ("1.1", "1.3", "1.3"),
        ("1.4", "1.9", "1.4"),
        ("1.2", "1.10", "1.4"),
        ("1.0", "2.0", "1.4"),
        ("0.1", "1.2", "1.2"),
    ],
)
def test_profile_version(low: str, high: str, common: str) -> None:
    info = profile_info("VIFPortProfileOpenVSwitch", low, high)
    assert info.get_common_version() == common


@pytest.mark.usefixtures("at_version_1_10")
@pytest.mark.parametrize(
    ("low", "high", "common"),
    [("1.0", "1.10", "1.10"), ("1.0", "1.9", "1.9"), ("1.9", "1.11", "1.10")],
)
def test_versions_are_numbers(low: str, high: str, common: str) -> None:
    assert vif_info("VIFTen", low, high).get_common_version() == common


@pytest.mark.parametrize(("low", "high"), [("1.5", "1.9"), ("2.0", "2.1"), ("0.1", "0.9")])
def test_no_common_profile_version(low: str, high: str) -> None:
    info = profile_info("VIFPortProfileOpenVSwitch", low, high)
    with pytest.raises(exception.NoSupportedPortProfileVersion) as caught:
        info.get_common_version()
    assert caught.value.kwargs == {
        "name": "VIFPortProfileOpenVSwitch",
        "got_versions": ["1.0", "1.1", "1.2", "1.3", "1.4"],
        "min_version": low,
        "max_version": high,
    }


def test_no_common_vif_version() -> None:
    with pytest.raises(exception.NoSupportedVIFVersion, match=r"VIFBridge.*2\.0"):
        vif_info("VIFBridge", "2.0", "2.0").get_common_version()


def test_unknown_classes() -> None:
    with pytest.raises(exception.NoMatchingVIFClass, match="VIFNone"):
        vif_info("VIFNone").get_common_version()
    with pytest.raises(exception.NoMatchingPortProfileClass, match="VIFPortProfileNone"):
        profile_info("VIFPortProfileNone").get_common_version()
    assert "VIFNone" not in ovo_base.VersionedObjectRegistry.obj_classes()


# Looking up: what is found otherwise is in tests/compat/facts/outcomes.json


def test_look_up_of_port_profiles_and_what_errors_name(host: HostInfo) -> None:
    plugin = host.get_plugin("ovs")
    found = plugin.get_vif("VIFBridge")
    assert found.has_port_profile("VIFPortProfileOpenVSwitch")
    assert found.get_port_profile("VIFPortProfileOpenVSwitch").max_version == "1.4"
    assert not found.has_port_profile("VIFPortProfileFPTap")
    with pytest.raises(exception.NoMatchingPortProfileClass, match="VIFPortProfileFPTap"):
        found.get_port_profile("VIFPortProfileFPTap")
    with pytest.raises(exception.NoMatchingPlugin, match="noop"):
        host.get_plugin("noop")
    with pytest.raises(exception.NoMatchingVIFClass, match="VIFDirect"):
        plugin.get_vif("VIFDirect")
    with pytest.raises(exception.NoMatchingVIFClass):
        HostPluginInfo(vif_info=[]).get_vif("VIFDirect")


# Filtering


@pytest.mark.parametrize(
    ("permitted", "left"),
    [
        (["VIFBridge"], {"ovs": ["VIFBridge"], "linux_bridge": ["VIFBridge"]}),
        ({"VIFOpenVSwitch", "VIFDirect"}, {"ovs": ["VIFOpenVSwitch"]}),
        ([], {}),
    ],
)
def test_filter(host: HostInfo, permitted: Collection[str], left: dict[str, list[str]]) -> None:
    described = list(host.plugin_info)
    before = [str(info) for info in described]
    host.filter_vif_types(permitted)
    assert left == {
        plugin.plugin_name: [vif.vif_object_name for vif in plugin.vif_info]
        for plugin in host.plugin_info
    }
    assert [str(info) for info in described] == before


# Registration


def test_a_newer_class_takes_the_place_of_an_older_one() -> None:
    def of_version(version: str) -> type[base.VersionedObject]:
        cls = type("VIFProbe", (base.VersionedObject,), {"VERSION": version})
        return base.VersionedObjectRegistry.register(cls)

    try:
        of_version("1.9")
        newest = of_version("1.10")
        of_version("1.2")
        assert objects.VIFProbe is newest
    finally:
        del ovo_base.VersionedObjectRegistry.obj_classes()["VIFProbe"]
        del objects.VIFProbe
