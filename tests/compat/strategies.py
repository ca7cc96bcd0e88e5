# SPDX-License-Identifier: Apache-2.0
"""Any object, with any of its fields set."""

from collections.abc import Iterator
from typing import Any

import netaddr
from hypothesis import strategies as st
from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields as ovo_fields

from os_vif.objects import base

_MAC = st.integers(0, 2**48 - 1).map(
    lambda n: ":".join(f"{n:012x}"[i : i + 2] for i in range(0, 12, 2))
)
_PCI = st.builds(
    "{:04x}:{:02x}:{:02x}.{}".format,
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFF),
    st.integers(0, 0x1F),
    st.integers(0, 7),
)
_ADDRESS = st.ip_addresses().map(str).map(netaddr.IPAddress)
_NETWORK = st.ip_addresses(v=4).map(lambda ip: netaddr.IPNetwork(f"{ip}/24"))
_TEXT = st.text("abc-é", max_size=5)

_BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    ovo_fields.MACAddress: _MAC,
    ovo_fields.PCIAddress: _PCI,
    ovo_fields.UUID: st.uuids().map(str),
    ovo_fields.IPNetwork: _NETWORK,  # before its parent, which IPAddress once was
    ovo_fields.IPAddress: _ADDRESS,
    ovo_fields.Boolean: st.booleans(),
    ovo_fields.Integer: st.integers(0, 4095),
}


def subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    """A class and all that derive from it in this project."""
    if cls.__module__.startswith("os_vif."):
        yield cls
    for child in cls.__subclasses__():
        yield from subclasses(child)


def newest(name: str) -> type[ovo_base.VersionedObject]:
    return ovo_base.VersionedObjectRegistry.obj_classes()[name][0]


def _of_type(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, ovo_fields.Object):
        declared = newest(kind._obj_name)
        classes = list(subclasses(declared)) if kind._subclasses else [declared]
        return st.one_of([any_object(cls) for cls in classes])
    if isinstance(kind, ovo_fields.List):
        return st.lists(_of_field(kind._element_type), max_size=2)
    if isinstance(kind, ovo_fields.Enum):
        return st.sampled_from(list(kind.valid_values))
    for known, strategy in _BY_TYPE.items():
        if isinstance(kind, known):
            return strategy
    assert isinstance(kind, ovo_fields.String)
    return _TEXT


def _of_field(field: Any) -> st.SearchStrategy[Any]:
    values = _of_type(field._type)
    return values | st.none() if field.nullable else values


def any_object(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Objects of a class with any of its fields set."""
    fields = {name: _of_field(field) for name, field in cls.fields.items()}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: cls(**given))


Content = Any


def content(value: Any) -> Content:
    """What an object holds, for comparison: [class, {field: value}] with nested objects alike."""
    if isinstance(value, base.VersionedObject):
        fields = {f: content(getattr(value, f)) for f in value.fields if f in value}
        return [value.obj_name(), fields]
    if isinstance(value, list):
        return [content(item) for item in value]
    return value
