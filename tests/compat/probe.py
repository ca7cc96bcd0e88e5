# SPDX-License-Identifier: Apache-2.0
"""Use each object in every plausible way, and record what comes of it.

The same program runs on os-vif 5 and on this library, through public names only;
``test_outcomes.py`` compares. To make ``facts/outcomes.json`` anew::

    python -m tests.rig.peer
    .tox/peer/bin/python tests/compat/probe.py > tests/compat/facts/outcomes.json
"""

import ast
import copy
import importlib
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import netaddr
from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields as ovo_fields

Outcome = Any
#: (what is done, how)
Use = tuple[str, Callable[[], Any]]

UUID = "e65867e0-9340-4a7f-a256-09af6eb7a3aa"
DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning)
#: What a caller may put into any field, by mistake or not.
STRANGE: tuple[Any, ...] = (None, "", "x", 0, 7, True, [], {}, ["a"])
#: Values of fields, by type.
GOOD: tuple[tuple[type, Any], ...] = (
    (ovo_fields.MACAddress, "CA:FE:DE:AD:BE:EF"),
    (ovo_fields.PCIAddress, "0000:03:10.7"),
    (ovo_fields.UUID, UUID),
    (ovo_fields.IPNetwork, "192.0.2.0/24"),  # before its parent, which IPAddress once was
    (ovo_fields.IPAddress, "192.0.2.1"),
    (ovo_fields.Boolean, True),
    (ovo_fields.Integer, 9000),
    (ovo_fields.String, "some-text"),
)
#: Versions that objects are converted to.
VERSIONS = ("1.0", "1.1", "1.3", "1.4", "2.0")


def outcomes() -> dict[str, dict[str, Outcome]]:
    """Return what comes of every use of every class: {class: {use: outcome}}."""
    from os_vif import objects

    objects.register_all()
    found = {cls.__name__: dict(_tried(uses(cls))) for cls in _classes()}
    found["os_vif.exception"] = dict(_tried(_uses_of_exceptions()))
    found["os_vif.host_info"] = dict(_tried(_uses_of_host_info()))
    return found


def _classes() -> list[Any]:
    """Return the newest class of each name that is os-vif's own."""
    registered = ovo_base.VersionedObjectRegistry.obj_classes()
    newest = [classes[0] for _, classes in sorted(registered.items())]
    return [cls for cls in newest if cls.__module__.startswith("os_vif.")]


def _tried(uses: Iterator[Use]) -> Iterator[tuple[str, Outcome]]:
    for name, use in uses:
        yield name, outcome(use)


def outcome(use: Callable[[], Any]) -> Outcome:
    """Return what a call returned, raised and warned of, as plain data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result: Outcome = plain(use())
        except Exception as err:
            result = {"raises": type(err).__name__}
    deprecations = [w.category.__name__ for w in caught if issubclass(w.category, DEPRECATIONS)]
    return {"result": result, "warns": deprecations} if deprecations else result


def plain(value: Any) -> Outcome:
    """Return a value as JSON can hold it, and so that equal values are equal there."""
    if isinstance(value, ovo_base.VersionedObject):
        fields = sorted(value.fields)
        return {
            "class": type(value).__name__,
            "set": {name: plain(getattr(value, name)) for name in fields if name in value},
            "changed": sorted(value.obj_what_changed()),
        }
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(plain, value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(map(repr, value))]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, netaddr.IPAddress | netaddr.IPNetwork):
        return f"{type(value).__name__}({value})"
    return type(value).__name__


def primitive(obj: Any, *args: Any) -> Any:
    """Return an object's primitive, with the names of changed fields in order."""
    return _ordered(obj.obj_to_primitive(*args))


def _ordered(found: Any) -> Any:
    for part in _dicts(found):
        part.get("versioned_object.changes", []).sort()
    return found


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _dicts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _dicts(item)


# What is done with a class -----------------------------------------------------------------------


#: Ways to an object that is to hold the same.
_TWINS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda obj: pickle.loads(pickle.dumps(obj)),
    "obj_clone()": lambda obj: obj.obj_clone(),
    "what is read back": lambda obj: type(obj).obj_from_primitive(primitive(obj)),
}


def uses(cls: Any) -> Iterator[Use]:
    """Yield all that is done with a class: make it, read it, change it, call its methods."""
    yield from _constructors(cls)
    for how, make in _examples(cls):
        for name, use in _readings(cls):
            yield f"{how}: {name}", lambda make=make, use=use: use(make())
    for name, use in _changes(cls):
        yield f"default: {name}", lambda use=use: use(cls())
    for version in VERSIONS:
        yield f"full: primitive of {version}", lambda v=version: primitive(_full(cls), v)
        yield f"default: primitive of {version}", lambda v=version: primitive(cls(), v)
        yield f"full: obj_make_compatible({version})", lambda v=version: _compatible(cls, v)


def good(field: Any) -> Any:
    """Return a value that a field takes."""
    kind = field._type
    if isinstance(kind, ovo_fields.Object):
        declared = ovo_base.VersionedObjectRegistry.obj_classes()[kind._obj_name][0]
        return declared()
    if isinstance(kind, ovo_fields.List):
        return [good(kind._element_type)]
    if isinstance(kind, ovo_fields.Enum):
        return next(iter(kind.valid_values))
    return next(value for known, value in GOOD if isinstance(kind, known))


def _full(cls: Any) -> Any:
    return cls(**{name: good(field) for name, field in cls.fields.items()})


def _examples(cls: Any) -> Iterator[Use]:
    yield "default", cls
    yield "full", lambda: _full(cls)
    yield "with defaults", lambda: _with_defaults(cls)


def _with_defaults(cls: Any) -> Any:
    obj = cls()
    obj.obj_set_defaults()
    return obj


def _constructors(cls: Any) -> Iterator[Use]:
    yield "()", cls
    yield "(None)", lambda: cls(None)
    yield "(context)", lambda: cls("a context")._context
    yield "(context=)", lambda: cls(context="a context")._context
    yield "(None, 1)", lambda: cls(None, 1)
    yield "(unknown=1)", lambda: primitive(cls(unknown=1))
    yield "(unknown=1).unknown", lambda: cls(unknown=1).unknown
    yield "(VERSION='9')", lambda: cls(VERSION="9").VERSION
    yield "all fields", lambda: _full(cls)
    yield "primitive of all fields", lambda: primitive(_full(cls))
    for name, field in sorted(cls.fields.items()):
        yield f"({name})", lambda n=name, f=field: getattr(cls(**{n: good(f)}), n)
        yield f"primitive of ({name})", lambda n=name, f=field: primitive(cls(**{n: good(f)}))
        yield f"({name}) by position", lambda f=field: cls(None, good(f))
        for value in STRANGE:
            yield f"({name}={value!r})", lambda n=name, v=value: getattr(cls(**{n: v}), n)
            yield f"{name} = {value!r}", lambda n=name, v=value: setattr(cls(), n, v)


def _readings(cls: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield what is done with one object of a class without changing it."""
    for name in sorted(_attributes(cls)):
        yield f".{name}", lambda obj, name=name: _attribute(obj, name)
    for name in [*sorted(cls.fields), "objects", "nonesuch"]:
        yield f"{name!r} in", lambda obj, name=name: name in obj
    yield "str", _text
    yield "repr", repr
    yield "bool", bool
    yield "len", len
    yield "list", list
    yield "[0]", lambda obj: obj[0]
    yield "[:1]", lambda obj: obj[:1]
    yield "item in", lambda obj: obj.objects[0] in obj
    yield "obj.index(item)", lambda obj: obj.index(obj.objects[0])
    yield "obj.count(item)", lambda obj: obj.count(obj.objects[0])
    yield "reversed", lambda obj: list(reversed(obj))
    yield "obj + obj", lambda obj: obj + obj
    yield "object in", lambda obj: obj in obj
    yield "hash", lambda obj: isinstance(hash(obj), int)
    yield "equal to itself", lambda obj: obj == obj
    yield "equal to a copy", lambda obj: obj == copy.deepcopy(obj)
    yield "equal to a clone", lambda obj: obj == obj.obj_clone()
    yield "equal to another", lambda obj: [obj == 1, obj != 1, obj == cls(), obj != cls()]
    for how, twin in _TWINS.items():
        yield f"{how} holds the same", lambda obj, twin=twin: plain(twin(obj)) == plain(obj)
    yield "obj_name()", lambda obj: obj.obj_name()
    yield "obj_fields", lambda obj: sorted(obj.obj_fields)
    yield "obj_what_changed()", lambda obj: obj.obj_what_changed()
    yield "obj_get_changes()", lambda obj: obj.obj_get_changes()
    yield "primitive", primitive


def _text(obj: Any) -> Any:
    """Return what ``str`` says; where that is a primitive, with the names of fields in order."""
    text = str(obj)
    if not text.startswith("{"):
        return text
    return _ordered(ast.literal_eval(text))


def _attributes(cls: Any) -> set[str]:
    """Return the public attributes of a class, less those of oslo.versionedobjects."""
    parents = [parent for parent in cls.__mro__ if not parent.__module__.startswith("os_vif")]
    inherited = {name for parent in parents for name in vars(parent)}
    own = {name for parent in cls.__mro__ for name in vars(parent)} - inherited
    return {name for name in own if not name.startswith("_")} | set(cls.fields) | {"objects"}


def _attribute(obj: Any, name: str) -> Any:
    found = getattr(obj, name)
    return "a method" if callable(found) else found


def _compatible(cls: Any, version: str) -> Any:
    obj = _full(cls)
    data = primitive(obj)["versioned_object.data"]
    return [obj.obj_make_compatible(data, version), sorted(data)]


def _changes(cls: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield what changes an object."""

    def then(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda obj: [change(obj), primitive(obj)]

    yield "obj_set_defaults()", then(lambda obj: obj.obj_set_defaults())
    yield "obj_reset_changes()", then(lambda obj: obj.obj_reset_changes())
    yield "obj_reset_changes(recursive)", then(lambda obj: obj.obj_reset_changes(recursive=True))
    for name, field in sorted(cls.fields.items()):
        yield f"{name} set", then(lambda obj, n=name, f=field: setattr(obj, n, good(f)))
        yield f"{name} default", then(lambda obj, n=name: obj.obj_set_defaults(n))
        if isinstance(field._type, ovo_fields.Object | ovo_fields.List):
            yield f"{name} appended to", then(lambda obj, n=name, f=field: _append(obj, n, f))
    for name in [*sorted(cls.fields), "objects", "nonesuch"]:
        yield f"obj_attr_is_set({name!r})", lambda obj, name=name: obj.obj_attr_is_set(name)
        yield f"obj_load_attr({name!r})", lambda obj, name=name: obj.obj_load_attr(name)
        yield f"delattr {name!r}", lambda obj, name=name: [delattr(obj, name), name in obj]
    yield "objects appended to", then(lambda obj: obj.objects.append(None))
    yield "objects = []", then(lambda obj: setattr(obj, "objects", []))


def _append(obj: Any, name: str, field: Any) -> None:
    """Append to a list, or to the list in a list object."""
    value = getattr(obj, name)
    if isinstance(field._type, ovo_fields.List):
        value.append(good(field._type._element_type))
    else:
        value.objects.append(good(value.fields["objects"]._type._element_type))


# Beside the objects ------------------------------------------------------------------------------


def _uses_of_exceptions() -> Iterator[Use]:
    base = importlib.import_module("os_vif.exception").ExceptionBase
    for place in ("os_vif.exception", "vif_plug_ovs.exception"):
        for name, cls in sorted(vars(importlib.import_module(place)).items()):
            if isinstance(cls, type) and issubclass(cls, base):
                yield from _uses_of_exception(name, cls)


def _uses_of_exception(name: str, cls: Any) -> Iterator[Use]:
    keywords = {key: f"a {key}" for key in _keywords(cls)}
    yield f"{name}.msg_fmt", lambda: type(cls.msg_fmt).__name__
    yield f"{name} keywords", lambda: sorted(keywords)
    yield f"{name}()", lambda: cls().kwargs
    yield f"{name}() says its template", lambda: str(cls()) == cls.msg_fmt
    yield f"{name}(unknown)", lambda: cls(**keywords, unknown=1).kwargs
    yield f"{name}(text)", lambda: [str(cls("a text")), cls("a text").kwargs]
    yield f"{name}(text, keywords)", lambda: [str(cls("a", **keywords)), cls("a", **keywords).args]
    yield f"{name}(keywords)", lambda: cls(**keywords).kwargs
    yield f"{name} names all", lambda: all(v in str(cls(**keywords)) for v in keywords.values())
    yield (
        f"{name}.format_message",
        lambda: cls(**keywords).format_message() == str(cls(**keywords)),
    )
    yield f"{name}(text).format_message", lambda: cls("a text").format_message()
    yield f"{name} rebuilt from args", lambda: str(cls(*cls("a text").args))


def _keywords(cls: Any) -> list[str]:
    seen: list[str] = []

    class Names(dict[str, str]):
        def __missing__(self, key: str) -> str:
            seen.append(key)
            return ""

    _ = cls.msg_fmt % Names()
    return seen


def _uses_of_host_info() -> Iterator[Use]:
    """Yield uses of the objects that tell what a host can plug: their methods take names."""
    from os_vif.objects import host_info

    def profile(low: str, high: str, name: str = "VIFPortProfileOpenVSwitch") -> Any:
        return host_info.HostPortProfileInfo(
            profile_object_name=name, min_version=low, max_version=high
        )

    def vif(low: str, high: str, name: str = "VIFVHostUser") -> Any:
        return host_info.HostVIFInfo(
            vif_object_name=name,
            min_version=low,
            max_version=high,
            supported_port_profiles=[profile("1.0", "1.4")],
        )

    def plugin(name: str = "ovs", *kinds: str) -> Any:
        infos = [vif("1.0", "1.0", kind) for kind in kinds]
        return host_info.HostPluginInfo(plugin_name=name, vif_info=infos)

    def host() -> Any:
        plugins = [plugin("ovs", "VIFBridge", "VIFOpenVSwitch"), plugin("lb", "VIFBridge")]
        return host_info.HostInfo(plugin_info=plugins)

    def filtered(described: Any, names: Any) -> Any:
        return [described.filter_vif_types(names), described]

    for low, high in [("1.0", "1.0"), ("1.0", "1.9"), ("1.1", "1.3"), ("2.0", "2.9"),
                      ("0.1", "0.9"), ("1.3", "1.1"), ("x", "1.0"), ("1", "2")]:  # fmt: skip
        for make in (profile, vif):
            yield (
                f"{make.__name__} {low} to {high}",
                lambda m=make, lo=low, hi=high: m(lo, hi).get_common_version(),
            )
    for make in (profile, vif):
        yield f"unknown {make.__name__}", lambda m=make: m("1.0", "1.0", "X").get_common_version()
    for name in ("VIFPortProfileOpenVSwitch", "X", None):
        yield f"has_port_profile({name})", lambda n=name: vif("1.0", "1.0").has_port_profile(n)
        yield f"get_port_profile({name})", lambda n=name: vif("1.0", "1.0").get_port_profile(n)
    for name in ("VIFBridge", "X", None):
        yield f"has_vif({name})", lambda n=name: plugin("ovs", "VIFBridge").has_vif(n)
        yield f"get_vif({name})", lambda n=name: plugin("ovs", "VIFBridge").get_vif(n)
    for name in ("ovs", "X", None):
        yield f"has_plugin({name})", lambda n=name: host().has_plugin(n)
        yield f"get_plugin({name})", lambda n=name: host().get_plugin(n)
    for names in (None, [], ["VIFBridge"], ("VIFOpenVSwitch",), {"X"}, "VIFBridge"):
        yield f"host.filter_vif_types({names})", lambda n=names: filtered(host(), n)
        yield (
            f"plugin.filter_vif_types({names})",
            lambda n=names: filtered(plugin("ovs", "VIFBridge", "VIFOpenVSwitch"), n),
        )


def _lines(found: dict[str, dict[str, Outcome]]) -> str:
    """Return JSON with a line for each use."""
    classes = []
    for name, results in found.items():
        lines = [f"  {_json(use)}: {_json(result)}" for use, result in results.items()]
        classes.append(f" {_json(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(classes) + "\n}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    print(_lines(outcomes()))
