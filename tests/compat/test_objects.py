# SPDX-License-Identifier: Apache-2.0
"""Each object is what it was: name, version, fields, parents, rules, place."""

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest
from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fixture

from os_vif import objects
from tests.compat import facts

FACTS = facts("objects")

objects.register_all()


def registered(name: str) -> type[ovo_base.VersionedObject]:
    (cls,) = ovo_base.VersionedObjectRegistry.obj_classes()[name]
    return cls


@pytest.mark.parametrize("name", FACTS)
def test_fingerprint(name: str) -> None:
    classes = {name: [registered(name)]}
    fingerprints = fixture.ObjectVersionChecker(classes).get_hashes()
    assert fingerprints == {name: FACTS[name]["fingerprint"]}


@pytest.mark.parametrize("name", FACTS)
def test_definition(name: str) -> None:
    cls = registered(name)
    relationships = {
        field: [list(versions) for versions in rule]
        for field, rule in cls.obj_relationships.items()
    }
    found = {
        "module": cls.__module__,
        "version": cls.VERSION,
        "bases": [parent.__name__ for parent in cls.__mro__[1:-1]],
        "relationships": relationships,
        "fields": {field: repr(kind) for field, kind in cls.fields.items()},
    }
    assert found == {key: FACTS[name][key] for key in found}


@pytest.mark.parametrize("name", FACTS)
def test_class_is_found_in_its_module_and_in_the_package(name: str) -> None:
    cls = registered(name)
    assert getattr(import_module(FACTS[name]["module"]), name) is cls
    assert getattr(objects, name) is cls


@pytest.mark.parametrize("name", FACTS)
def test_every_field_is_annotated(name: str) -> None:
    cls = registered(name)
    annotated = {
        field for parent in cls.__mro__ for field in getattr(parent, "__annotations__", {})
    }
    assert set(cls.fields) - {"objects"} <= annotated


def test_no_object_is_unknown() -> None:
    ours = {
        name
        for name, (cls, *_) in ovo_base.VersionedObjectRegistry.obj_classes().items()
        if cls.__module__.startswith("os_vif.")
    }
    assert ours == set(FACTS)


def in_new_process(code: str) -> Any:
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_register_all_makes_modules_and_classes_attributes() -> None:
    modules = {fact["module"].rpartition(".")[2] for fact in FACTS.values()}
    names = sorted(modules | set(FACTS))
    in_new_process(
        "from os_vif import objects; objects.register_all(); objects.register_all();"
        f"assert all(hasattr(objects, name) for name in {names})"
    )


def test_what_is_not_registered_is_an_attribute_error_that_names_the_cure() -> None:
    with pytest.raises(AttributeError, match=r"'VIFNone'.*register_all\(\)"):
        _ = objects.VIFNone


def test_common_version_needs_no_register_all() -> None:
    in_new_process(
        "from os_vif.objects.host_info import HostVIFInfo as H;"
        "i = H(vif_object_name='VIFVHostUser', min_version='1.0', max_version='1.0');"
        "assert i.get_common_version() == '1.0'"
    )
