# SPDX-License-Identifier: Apache-2.0
"""Each object converts down to exactly what its older versions were, and reads back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_versionedobjects import base as ovo_base

from os_vif import objects
from os_vif.objects import base, host_info, vif
from tests.compat import facts
from tests.compat.strategies import Content, any_object, content, newest

HISTORY = facts("history")
NAMES = list(facts("objects"))

objects.register_all()

few = settings(max_examples=settings.default.max_examples // 5)  # for each class and version


def dropped(name: str, version: str) -> set[str]:
    """The fields that a version of a class does not have."""
    if version == newest(name).VERSION:
        return set()
    history = HISTORY[name]
    if "parent" in history:
        parent = next(n for n in ancestors(name) if n in HISTORY)
        return dropped(parent, history["parent"][version])
    return set(history[version])


def ancestors(name: str) -> list[str]:
    return [cls.__name__ for cls in newest(name).__mro__[1:]]


def versions(name: str) -> list[str]:
    """All versions that a class ever had."""
    history = HISTORY.get(name, {})
    older = history.get("parent", history)
    return sorted({v for v in older if v != "note"} | {newest(name).VERSION})


EVERY_VERSION = [(name, version) for name in NAMES for version in versions(name)]


def data(primitive: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = primitive["versioned_object.data"]
    return found


def refilled(expected: Content) -> Content:
    """Network's constructor sets the fields that a primitive lacks."""
    name, fields = expected
    if name == "Network":
        fields = {"mtu": None} | fields
    return [name, fields]


def test_history_covers_every_version() -> None:
    for name in NAMES:
        major, minor = base.version_tuple(newest(name).VERSION)
        assert versions(name) == [f"{major}.{n}" for n in range(minor + 1)]


@pytest.mark.parametrize(("name", "version"), EVERY_VERSION)
@given(draw=st.data())
@few
def test_convert_down_and_read_back(name: str, version: str, draw: Any) -> None:
    obj = draw.draw(any_object(newest(name)))
    before = content(obj)
    primitive = obj.obj_to_primitive(target_version=version)
    assert primitive["versioned_object.version"] == version
    kept = {field for field in obj.fields if field in obj} - dropped(name, version)
    assert set(data(primitive)) == kept
    assert set(primitive.get("versioned_object.changes", [])) <= kept

    back = base.VersionedObject.obj_from_primitive(primitive)
    assert content(back) == refilled(
        [name, {field: value for field, value in before[1].items() if field in kept}]
    )
    assert content(obj) == before


# Nested objects


def converted(value: Content, manifest: dict[str, str]) -> Content:
    """What is to be left of an object with all objects in it."""
    if not isinstance(value, list):
        return value
    if not (len(value) == 2 and isinstance(value[1], dict)):
        return [converted(item, manifest) for item in value]
    name, fields = value
    gone = dropped(name, manifest[name])
    return refilled(
        [name, {f: converted(v, manifest) for f, v in fields.items() if f not in gone}]
    )


def versions_in(primitive: Any) -> set[tuple[str, str]]:
    """Class and version of each object in a primitive."""
    if isinstance(primitive, list):
        return {found for item in primitive for found in versions_in(item)}
    if not isinstance(primitive, dict):
        return set()
    found = {name for item in data(primitive).values() for name in versions_in(item)}
    key = (primitive["versioned_object.name"], primitive["versioned_object.version"])
    return found | {key}


MANIFESTS = st.fixed_dictionaries({name: st.sampled_from(versions(name)) for name in NAMES})


@pytest.mark.parametrize("name", ["HostInfo", "VIFOpenVSwitch", "VIFVHostUser", "Network"])
@given(draw=st.data(), manifest=MANIFESTS)
@few
def test_manifest_converts_every_nested_object(
    name: str, draw: Any, manifest: dict[str, str]
) -> None:
    obj = draw.draw(any_object(newest(name)))
    primitive = obj.obj_to_primitive(manifest[name], version_manifest=manifest)
    assert versions_in(primitive) <= set(manifest.items())
    back = base.VersionedObject.obj_from_primitive(primitive)
    assert content(back) == converted(content(obj), manifest)
    assert back.obj_what_changed() <= {field for field in back.fields if field in back}


OFFLOAD = vif.DatapathOffloadRepresentor(representor_name="eth0")
PROFILE = vif.VIFPortProfileOpenVSwitch(
    datapath_type="system", create_port=True, create_tap=True, datapath_offload=OFFLOAD
)


@pytest.mark.parametrize(
    ("parent_version", "expected_version", "expected"),
    [
        ("1.1", "1.4", {"datapath_type", "create_port", "create_tap", "datapath_offload"}),
        # the last version of the subclass without the parent's new field
        ("1.0", "1.1", {"datapath_type"}),
    ],
)
def test_manifest_that_names_the_parent_of_a_profile_only(
    parent_version: str, expected_version: str, expected: set[str]
) -> None:
    obj = vif.VIFOpenVSwitch(port_profile=PROFILE)
    manifest = {"VIFOpenVSwitch": "1.0", "VIFPortProfileBase": parent_version}
    profile = data(obj.obj_to_primitive(version_manifest=manifest))["port_profile"]
    assert profile["versioned_object.version"] == expected_version
    assert set(data(profile)) == expected


def test_manifest_newer_than_ours_changes_nothing() -> None:
    obj = vif.VIFOpenVSwitch(port_profile=PROFILE)
    manifest = {"VIFPortProfileOpenVSwitch": "1.12", "VIFPortProfileBase": "1.9"}
    assert obj.obj_to_primitive(version_manifest=manifest) == obj.obj_to_primitive()


def test_changes_of_a_nested_object_lose_what_it_lost() -> None:
    info = host_info.HostPluginInfo(
        vif_info=[host_info.HostVIFInfo(vif_object_name="VIFBridge", supported_port_profiles=[])]
    )
    primitive = info.obj_to_primitive(version_manifest={"HostVIFInfo": "1.0"})
    (nested,) = data(primitive)["vif_info"]
    assert nested["versioned_object.changes"] == ["vif_object_name"]


# Classes of others


class ForeignProfile(vif.VIFPortProfileBase):
    """A plugin's own profile, with versions of its own."""

    VERSION = "1.0"


ovo_base.VersionedObjectRegistry.objectify(ForeignProfile)


def test_foreign_profile_keeps_what_its_version_has() -> None:
    obj = vif.VIFGeneric(port_profile=ForeignProfile(datapath_offload=OFFLOAD))
    manifest = {"VIFPortProfileBase": "1.1", "ForeignProfile": "1.0"}
    profile = data(obj.obj_to_primitive(version_manifest=manifest))["port_profile"]
    assert set(data(profile)) == {"datapath_offload"}
