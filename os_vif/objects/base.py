# SPDX-License-Identifier: Apache-2.0
"""What all objects of os-vif have in common.

A field that is not set raises NotImplementedError when it is read; ``"field" in obj`` tells
whether it is set. An unknown keyword of a constructor becomes a plain attribute, which is not
carried in the primitive.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from oslo_versionedobjects import base as ovo_base

from os_vif import objects

_Primitive = dict[str, Any]


def get(obj: ovo_base.VersionedObject, name: str) -> Any:
    """Return a field of a versioned object; None when it is not set, or there is no such field."""
    return getattr(obj, name) if name in obj.fields and name in obj else None


def version_tuple(version: str) -> tuple[int, ...]:
    """Turn a version into numbers: 1.10 is higher than 1.9."""
    return tuple(int(part) for part in version.split("."))


class VersionedObjectRegistry(ovo_base.VersionedObjectRegistry):
    """The registry of oslo.versionedobjects, which also makes each class known as
    ``os_vif.objects.<class>``."""

    def registration_hook(self, cls: type[ovo_base.VersionedObject], index: int) -> None:
        """Point the package at the newest version of a class that is being registered."""
        known = getattr(objects, cls.obj_name(), cls)
        if version_tuple(cls.VERSION) >= version_tuple(known.VERSION):
            setattr(objects, cls.obj_name(), cls)


class VersionedObject(ovo_base.VersionedObject):
    """Parent of all objects of os-vif.

    It converts objects down to older versions. A class gives its history as data, in ``ADDED_IN``.
    """

    OBJ_PROJECT_NAMESPACE = "os_vif"

    #: For each field that version 1.0 did not have: the version that brought it. Inherited as a
    #: whole, so a subclass with versions of its own repeats the fields of its parent.
    ADDED_IN: ClassVar[Mapping[str, str]] = {}

    def obj_to_primitive(
        self, target_version: str | None = None, version_manifest: dict[str, str] | None = None
    ) -> _Primitive:
        """Turn into plain data: dicts, lists, strings, numbers.

        :param target_version: the version to convert down to; None for the own version.
        :param version_manifest: for each class of a nested object, the version to convert it to.
        """
        primitive = super().obj_to_primitive(target_version, version_manifest)
        # The order of a set must not decide whether two objects are equal.
        primitive.get(self._key("changes"), []).sort()
        return primitive

    def obj_make_compatible(self, primitive: _Primitive, target_version: str) -> None:
        """Convert the fields of a primitive down, in place.

        Fields that the target version did not have are dropped. A nested object is converted as
        the manifest or else ``obj_relationships`` demand; without a rule it stays as it is.

        :param primitive: the ``data`` of what :meth:`obj_to_primitive` returns.
        :param target_version: the version to convert to.
        """
        if target_version != type(self).VERSION:
            for name in _added_after(type(self), target_version):
                primitive.pop(name, None)
        for name, field in self.fields.items():
            if name in primitive and hasattr(field, "objname"):
                self._make_children_compatible(primitive, name, field.objname, target_version)

    def _make_children_compatible(
        self, primitive: _Primitive, name: str, declared: str, target_version: str
    ) -> None:
        manifest: dict[str, str] | None = getattr(self, "_obj_version_manifest", None)
        wanted = manifest
        if wanted is None:
            rule = self.obj_relationships.get(name)
            if rule is None:
                return
            wanted = _related_version(declared, rule, target_version)
            if not wanted:
                del primitive[name]
                return
        children, primitives = getattr(self, name), primitive[name]
        if not isinstance(children, list):
            children, primitives = [children], [primitives]
        for child, child_primitive in zip(children, primitives, strict=True):
            version = None if child is None else _child_version(child, declared, wanted)
            if version:
                _convert(child, child_primitive, version, manifest)

    @classmethod
    def _key(cls, name: str) -> str:
        return f"{cls.OBJ_SERIAL_NAMESPACE}.{name}"


def _added_after(cls: type[ovo_base.VersionedObject], version: str) -> set[str]:
    """Name the fields of a class that one of its versions did not have yet."""
    added: Mapping[str, str] = getattr(cls, "ADDED_IN", {})
    return {f for f, since in added.items() if version_tuple(since) > version_tuple(version)}


def _related_version(
    declared: str, rule: list[tuple[str, str]], target_version: str
) -> dict[str, str]:
    """Apply a rule of ``obj_relationships``: [(parent's version, child's version), ...]."""
    target = version_tuple(target_version)
    versions = [child for parent, child in rule if version_tuple(parent) <= target]
    return {declared: versions[-1]} if versions else {}


def _child_version(
    child: ovo_base.VersionedObject, declared: str, wanted: Mapping[str, str]
) -> str | None:
    """Choose the version for a nested object; None to leave it alone.

    The receiver may name the parent class only that the field is declared with, as
    ``obj_tree_get_versions`` does. Versions of a subclass count on their own, so it is converted
    to its last version that had no fields newer than that of the parent.
    """
    version = wanted.get(child.obj_name())
    if version is None and declared in wanted:
        version = _subclass_version(type(child), declared, wanted[declared])
    return version and min(version, child.VERSION, key=version_tuple)


def _subclass_version(
    cls: type[ovo_base.VersionedObject], declared: str, parent_version: str
) -> str:
    parent = next((c for c in cls.__mro__ if c.__name__ == declared), cls)
    added: Mapping[str, str] = getattr(cls, "ADDED_IN", {})
    too_new = [added[f] for f in _added_after(parent, parent_version) if f in added]
    if not too_new:
        return cls.VERSION
    major, minor = min(map(version_tuple, too_new))[:2]
    return f"{major}.{max(minor - 1, 0)}"


def _convert(
    child: ovo_base.VersionedObject,
    primitive: _Primitive,
    version: str,
    manifest: dict[str, str] | None,
) -> None:
    """Convert the primitive of a nested object down, in place."""
    prefix = child.OBJ_SERIAL_NAMESPACE
    data, changes = primitive[f"{prefix}.data"], primitive.get(f"{prefix}.changes", [])
    child.obj_make_compatible_from_manifest(data, version, manifest)
    primitive[f"{prefix}.version"] = version
    changes[:] = [name for name in changes if name in data]
    if not changes:
        primitive.pop(f"{prefix}.changes", None)


class VersionedObjectPrintableMixin:
    """Prints an object as its primitive, with all that is nested in it."""

    def __str__(self) -> str:
        return str(cast(ovo_base.VersionedObject, self).obj_to_primitive())
