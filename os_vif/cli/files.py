# SPDX-License-Identifier: Apache-2.0
"""VIFs from files: in YAML or JSON, with the fields' names, or as the objects' own primitives.

A file describes one VIF, a list of them, or several YAML documents. Each is a mapping with the
keys ``vif`` and ``instance``, or a VIF alone::

    vif:
      type: VIFOpenVSwitch
      id: 8f6a1f6b-5d3c-4f4e-9d2c-3a1b2c3d4e5f
      plugin: ovs
      network: {bridge: br-int, mtu: 1450}
      port_profile: {type: VIFPortProfileOpenVSwitch, create_port: true}
    instance: {uuid: 3b2b0a9e-5d7c-4a52-9b57-6f1f3f0f7a11, name: instance-00000001}

What is wrong is answered with the line and the field.
"""

import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from oslo_utils import strutils
from oslo_versionedobjects import fields as ovo_fields
from oslo_versionedobjects.base import ObjectListBase

from os_vif import objects
from os_vif.cli.exits import Failure, cause_of
from os_vif.exception import ExceptionBase
from os_vif.objects.base import VersionedObject, get, version_tuple
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase

#: Of the objects' own primitives.
_NAMESPACE = "versioned_object.namespace"
_NAME, _VERSION, _DATA = (f"versioned_object.{one}" for one in ("name", "version", "data"))
_OF_PRIMITIVES = {_NAMESPACE, _NAME, _VERSION, _DATA, "versioned_object.changes"}


@dataclass(frozen=True)
class Described:
    """A VIF of a file, with the virtual machine that it belongs to.

    :param source: the name of the file.
    :param lines: where the fields are that it sets, by their paths, as in ``vif.network.mtu``.
    """

    vif: VIFBase
    instance: InstanceInfo
    source: str
    lines: Mapping[str, int]

    @property
    def name(self) -> str:
        """By what people know the VIF: its id, else its device."""
        its = (get(self.vif, name) for name in ("id", "vif_name", "dev_address"))
        return str(next(filter(None, its), "a VIF"))

    def place_of(self, field: str) -> str:
        """Return where a field is, or what would hold it: for errors."""
        return _place(self.source, self.lines, field)

    def reason(self, error: BaseException) -> str:
        """Return the text of an error, with the line if it is of a field."""
        text, field = str(cause_of(error)), getattr(error, "element", None) or ""
        if not isinstance(error, ExceptionBase) or error.code != "bad_input":
            return text
        is_ours = field.partition(".")[0] in ("vif", "instance_info")
        return f"{self.place_of(field)}: {text}" if is_ours else text

    @contextmanager
    def place_in_errors(self) -> Iterator[None]:
        """Say in which line the field is that a verb refuses."""
        try:
            yield
        except ExceptionBase as err:
            if err.code != "bad_input":
                raise
            raise Failure(self.reason(err)) from err


def read(names: Iterable[str], instance: InstanceInfo | None = None) -> list[Described]:
    """Return the VIFs of files; ``-`` is standard input.

    :param instance: of VIFs of which the file names none.
    :raises Failure: a file cannot be read, or is wrong.
    """
    objects.register_all()
    return [vif for name in names for vif in _read(name, instance)]


def text_of(name: str) -> str:
    """Return what is in a file; ``-`` is standard input.

    :raises Failure: it cannot be read.
    """
    try:
        if name == "-":
            return sys.stdin.read()
        with open(name, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as err:
        raise Failure(f"{name}: {err}") from err


def source_of(name: str) -> str:
    """Return what a file is called in errors."""
    return "standard input" if name == "-" else name


def _read(name: str, instance: InstanceInfo | None) -> list[Described]:
    source, text = source_of(name), text_of(name)
    try:
        documents = list(yaml.compose_all(_yaml(text), yaml.SafeLoader))
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else 1
        raise Failure(f"{source}, line {line}: {err.problem}") from err
    except yaml.YAMLError as err:
        raise Failure(f"{source}: {err}") from err
    except RecursionError as err:
        raise Failure(f"{source}: it is nested too deeply") from err
    found = [
        _Reader(source).described(node, instance)
        for document in documents
        if document and not _is_null(document)
        for node in (document.value if isinstance(document, yaml.SequenceNode) else [document])
    ]
    if not found:
        raise Failure(f"{source}: there is no VIF in it")
    return found


def _yaml(text: str) -> str:
    """Return JSON without tabs, which YAML does not take; other text as it is."""
    try:
        json.loads(text)
    except ValueError:
        return text
    return text.replace("\t", " ")


class _Reader:
    """Makes objects of the nodes of a file, and remembers where their fields are."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines: dict[str, int] = {}

    def described(self, node: yaml.Node, instance: InstanceInfo | None) -> Described:
        """Return what one node describes.

        :param instance: if the node names none.
        """
        self._lines["vif"] = _line(node)
        keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        is_pair = "vif" in keys
        data = self._plain(node, "" if is_pair else "vif", ())
        pair = data if is_pair else {"vif": data}
        for name in pair.keys() - {"vif", "instance"}:
            self._fail(name, "a description has the keys vif and instance only")
        vif = self._object(pair["vif"], "vif", "VIFBase", subclasses=True)
        if "instance" in pair:
            instance = self._object(pair["instance"], "instance", "InstanceInfo")
        if instance is None:
            self._fail("vif", "its instance is missing: add it, or give --instance-uuid")
        return Described(vif, instance, self._source, self._lines)

    def _plain(self, node: yaml.Node, path: str, parents: tuple[yaml.Node, ...]) -> Any:
        """Return None, a text, a list or a dictionary: what is a number depends on the field.
        YAML 1.1 takes a MAC address of digits for one to the base of 60.

        :param parents: what holds the node.
        """
        if isinstance(node, yaml.ScalarNode):
            return None if _is_null(node) else node.value
        if any(node is one for one in parents):
            self._fail(path, "it is an alias of what holds it")
        parents = (*parents, node)
        if isinstance(node, yaml.SequenceNode):
            self._lines |= {f"{path}[{i}]": _line(item) for i, item in enumerate(node.value)}
            items = enumerate(node.value)
            return [self._plain(item, f"{path}[{i}]", parents) for i, item in items]
        members: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                its_place = f"{self._source}, line {_line(key)}"
                raise Failure(f"{its_place}: {path or 'vif'}: a key must be a word")
            # The data of a primitive are the fields of the object itself.
            its = path if key.value == _DATA else f"{path}.{key.value}".lstrip(".")
            if its != path:
                self._lines[its] = _line(key)
            if key.value in members:
                self._fail(its, "it is given twice")
            members[str(key.value)] = self._plain(value, its, parents)
        return members

    def _object(self, data: Any, path: str, declared: str, subclasses: bool = False) -> Any:
        """Return an object of a class, or of a subclass that the data name."""
        parent = getattr(objects, declared)
        if isinstance(data, list) and issubclass(parent, ObjectListBase):
            return parent(objects=self._value(data, path, parent.fields["objects"]))
        name, given = self._class_and_fields(data, path)
        if name is None and subclasses:
            self._fail(f"{path}.type", f"it is missing: {_one_of(parent)}")
        cls: Any = getattr(objects, name or declared, None)
        if not (isinstance(cls, type) and issubclass(cls, parent)):
            self._fail(f"{path}.type", f"{name!r} is none: {_one_of(parent)}")
        made: Any = cls()
        for field, value in given.items():
            its = f"{path}.{field}"
            if field not in made.fields:
                hint = difflib.get_close_matches(field, made.fields, 1)
                meant = f"; is {hint[0]} meant?" if hint else ""
                self._fail(its, f"{cls.__name__} has no such field{meant}")
            try:
                setattr(made, field, self._value(value, its, made.fields[field]))
            except (ValueError, TypeError) as err:
                self._fail(its, str(err))
        return made

    def _class_and_fields(self, data: Any, path: str) -> tuple[str | None, dict[str, Any]]:
        """Return the name of the class, if it is given, and the fields."""
        if not isinstance(data, dict):
            self._fail(path, "it must be a mapping of fields")
        if _NAME not in data:
            return data.pop("type", None), data
        for key in data.keys() - _OF_PRIMITIVES:
            self._fail(f"{path}.{key}", "a primitive has no such key")
        if data.get(_NAMESPACE, "os_vif") != "os_vif":
            self._fail(f"{path}.{_NAMESPACE}", "it is not of os_vif")
        name, version = str(data[_NAME]), str(data.get(_VERSION, "1.0"))
        known = getattr(getattr(objects, name, None), "VERSION", version)
        if not re.fullmatch(r"\d+(\.\d+)+", version):
            self._fail(f"{path}.{_VERSION}", f"{version!r} is not a version")
        if version_tuple(version) > version_tuple(known):
            self._fail(f"{path}.{_VERSION}", f"{name} is known up to {known} here")
        if not isinstance(data.get(_DATA), dict):
            self._fail(f"{path}.{_DATA}", "it must be a mapping of fields")
        return name, data[_DATA]

    def _value(self, data: Any, path: str, field: Any) -> Any:
        kind = field._type
        if data is None:
            return None
        if isinstance(kind, ovo_fields.Object):
            return self._object(data, path, kind._obj_name, getattr(kind, "_subclasses", False))
        if isinstance(kind, ovo_fields.List):
            if not isinstance(data, list):
                self._fail(path, "it must be a list")
            items = enumerate(data)
            return [self._value(item, f"{path}[{i}]", kind._element_type) for i, item in items]
        if not isinstance(data, str):
            self._fail(path, "it must be a single value")
        if isinstance(kind, ovo_fields.Boolean):
            return strutils.bool_from_string(data, strict=True)
        return data

    def _fail(self, path: str, reason: str) -> NoReturn:
        place = _place(self._source, self._lines, path)
        raise Failure(f"{place}: {path}: {reason}")


def _place(source: str, lines: Mapping[str, int], path: str) -> str:
    """Return where a field is, or what would hold it."""
    while path not in lines and path:
        path = path.rpartition(".")[0]
    return f"{source}, line {lines[path or 'vif']}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _one_of(parent: type[VersionedObject]) -> str:
    """Return the names of a class and its subclasses, for an error."""
    known = [one for one in vars(objects).values() if isinstance(one, type)]
    names = sorted(one.__name__ for one in known if issubclass(one, parent) and one is not parent)
    return f"it must be one of {', '.join(names or [parent.__name__])}"
