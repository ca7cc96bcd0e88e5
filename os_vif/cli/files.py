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
#: Fields whose values are taken as YAML reads them. Of others the text is: YAML 1.1 takes a MAC
#: address of digits for a number to the base of 60.
_TYPED = (ovo_fields.Integer, ovo_fields.Boolean)

_constructor = yaml.constructor.SafeConstructor()


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
        while field not in self.lines and "." in field:
            field = field.rpartition(".")[0]
        return f"{self.source}, line {self.lines.get(field, self.lines['vif'])}"

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


def _read(name: str, instance: InstanceInfo | None) -> list[Described]:
    source, text = "standard input" if name == "-" else name, text_of(name)
    try:
        documents = list(yaml.compose_all(_yaml(text), yaml.SafeLoader))
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else 1
        raise Failure(f"{source}, line {line}: {err.problem}") from err
    except yaml.YAMLError as err:
        raise Failure(f"{source}: {err}") from err
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
        members = self._members(node, "vif")
        if "vif" in members:
            for name, (key, _) in members.items():
                if name not in ("vif", "instance"):
                    self._fail(key, name, "a description has the keys vif and instance only")
            node = members["vif"][1]
            if "instance" in members:
                instance = self._object(members["instance"][1], "instance", "InstanceInfo", False)
        vif = self._object(node, "vif", "VIFBase", True)
        if instance is None:
            self._fail(node, "instance", "it is missing: add it, or give --instance-uuid")
        return Described(vif, instance, self._source, self._lines)

    def _object(self, node: yaml.Node, path: str, declared: str, subclasses: bool) -> Any:
        """Return an object of a class, or of a subclass that the node names."""
        self._lines[path] = _line(node)
        parent = getattr(objects, declared)
        if isinstance(node, yaml.SequenceNode) and issubclass(parent, ObjectListBase):
            item = parent.fields["objects"]._type._element_type._type
            return parent(objects=self._list(node, path, item))
        members = self._members(node, path)
        name, members = self._class_name(node, path, members)
        if name is None and subclasses:
            self._fail(node, f"{path}.type", f"it is missing: {_one_of(parent)}")
        cls: Any = getattr(objects, name or declared, None)
        if not (isinstance(cls, type) and issubclass(cls, parent)):
            self._fail(node, f"{path}.type", f"{name!r} is none: {_one_of(parent)}")
        made = cls()
        fields: Any = made.fields
        for field, (key, value) in members.items():
            if field not in fields:
                hint = difflib.get_close_matches(field, fields, 1)
                meant = f"; is {hint[0]} meant?" if hint else ""
                self._fail(key, f"{path}.{field}", f"{cls.__name__} has no such field{meant}")
            self._set(made, field, value, f"{path}.{field}")
        return made

    def _class_name(
        self, node: yaml.Node, path: str, members: Mapping[str, Any]
    ) -> tuple[str | None, dict[str, Any]]:
        """Return the name of the class, if it is given, and the fields."""
        if _NAME not in members:
            rest = {key: value for key, value in members.items() if key != "type"}
            return (self._text(members["type"][1]) if "type" in members else None), rest
        for key in members.keys() - _OF_PRIMITIVES:
            self._fail(members[key][0], f"{path}.{key}", "a primitive has no such key")
        name = str(self._text(members[_NAME][1]))
        if _NAMESPACE in members and self._text(members[_NAMESPACE][1]) != "os_vif":
            self._fail(members[_NAMESPACE][0], f"{path}.{_NAMESPACE}", "it is not of os_vif")
        known, given = getattr(objects, name, None), members.get(_VERSION)
        if known is not None and given is not None:
            version = str(self._text(given[1]))
            if not re.fullmatch(r"\d+(\.\d+)+", version):
                self._fail(given[0], f"{path}.{_VERSION}", f"{version!r} is not a version")
            if version_tuple(version) > version_tuple(known.VERSION):
                text = f"{name} is known up to {known.VERSION} here"
                self._fail(given[0], f"{path}.{_VERSION}", text)
        if _DATA not in members:
            self._fail(node, f"{path}.{_DATA}", "it is missing")
        return name, self._members(members[_DATA][1], path)

    def _set(self, made: VersionedObject, name: str, node: yaml.Node, path: str) -> None:
        self._lines[path] = _line(node)
        try:
            setattr(made, name, self._value(node, path, made.fields[name]))
        except (ValueError, TypeError) as err:
            self._fail(node, path, str(err))

    def _value(self, node: yaml.Node, path: str, field: Any) -> Any:
        if _is_null(node):
            return None
        kind = field._type
        if isinstance(kind, ovo_fields.Object):
            return self._object(node, path, kind._obj_name, getattr(kind, "_subclasses", False))
        if isinstance(kind, ovo_fields.List):
            return self._list(node, path, kind._element_type._type)
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, path, "it must be a single value")
        if not isinstance(kind, _TYPED):
            return node.value
        value = _constructor.construct_object(node)
        if isinstance(kind, ovo_fields.Boolean) and not isinstance(value, bool):
            self._fail(node, path, f"{node.value!r} is neither true nor false")
        return value

    def _list(self, node: yaml.Node, path: str, kind: Any) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, path, "it must be a list")
        items = []
        for i, item in enumerate(node.value):
            its = f"{path}[{i}]"
            if isinstance(kind, ovo_fields.Object):
                items.append(self._object(item, its, kind._obj_name, False))
            else:
                items.append(self._text(item))
        return items

    def _members(self, node: yaml.Node, path: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return key and value of each member of a mapping."""
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, path, "it must be a mapping of fields")
        members: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(self._text(key))
            if name in members:
                self._fail(key, f"{path}.{name}", "it is given twice")
            members[name] = (key, value)
        return members

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise Failure(f"{self._source}, line {_line(node)}: a text is expected")
        return str(node.value)

    def _fail(self, node: yaml.Node, path: str, reason: str) -> NoReturn:
        raise Failure(f"{self._source}, line {_line(node)}: {path}: {reason}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _one_of(parent: type[VersionedObject]) -> str:
    """Return the names of a class and its subclasses, for an error."""
    known = [one for one in vars(objects).values() if isinstance(one, type)]
    names = sorted(one.__name__ for one in known if issubclass(one, parent) and one is not parent)
    return f"it must be one of {', '.join(names or [parent.__name__])}"
