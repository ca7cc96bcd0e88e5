# SPDX-License-Identifier: Apache-2.0
"""What the wiring of a VIF looks like: values, and as text. Everything here is pure.

A drawing goes from the guest to the bridge of the network, node by node, as it is on the host.
What is not as described is marked by a sign: ``!`` differs, ``-`` is missing, ``+`` is left over.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from os_vif.answers import Finding
from os_vif.wiring.state import Link


class Sign(StrEnum):
    """How a part of a drawing compares with what was described."""

    NONE = ""
    DIFFERS = "!"
    MISSING = "-"
    LEFT_OVER = "+"


Fact = tuple[str, str | int | bool | None]


@dataclass(frozen=True)
class Node:
    """A link, port or bridge.

    :param what: as in ``OVS port``.
    :param name: its name.
    :param facts: what is worth to know of it, as in ``("mtu", 1450)``.
    :param sign: how it compares with what was described.
    :param remarks: what differs, in words.
    :param shared: whether other VIFs have it too, as the integration bridge.
    """

    what: str
    name: str
    facts: tuple[Fact, ...] = ()
    sign: Sign = Sign.NONE
    remarks: tuple[str, ...] = ()
    shared: bool = False

    @property
    def title(self) -> str:
        """What and name."""
        return f"{self.what} {self.name}"

    @property
    def absence(self) -> str:
        """What the sign means, where that is not said by remarks."""
        said = {Sign.MISSING: " (missing)", Sign.LEFT_OVER: " (left over)"}
        return said.get(self.sign, "")

    @property
    def texts(self) -> list[str]:
        """The facts in words."""
        return [_fact(key, value) for key, value in self.facts]

    def as_dict(self) -> dict[str, Any]:
        """Return it as primitives, for JSON."""
        return {**asdict(self), "facts": dict(self.facts)}

    @property
    def elements(self) -> frozenset[str]:
        """What findings call it."""
        kind = self.what if self.what.startswith("OVS ") else "link"
        return frozenset({f"{kind} {self.name}"})


@dataclass(frozen=True)
class Drawing:
    """The wiring of one VIF.

    :param vif_id: see :class:`os_vif.answers.PluggedVif`.
    :param plugin: the plugin that made it.
    :param kind: its shape.
    :param state: how it is, and why.
    :param nodes: from the guest to the bridge of the network.
    :param remarks: what differs and is of none of the nodes.
    """

    vif_id: str
    plugin: str
    kind: str
    state: str
    nodes: tuple[Node, ...]
    remarks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Which VIF it is, and how."""
        kind = f" ({self.kind})" if self.kind else ""
        return f"VIF {self.vif_id}{kind}: {self.state}"

    @property
    def differs(self) -> bool:
        """Whether anything is not as described."""
        return bool(self.remarks) or any(node.sign for node in self.nodes)

    def as_dict(self) -> dict[str, Any]:
        """Return it as primitives, for JSON."""
        return {**asdict(self), "nodes": [node.as_dict() for node in self.nodes]}


@dataclass(frozen=True)
class Line:
    """A line of text, with the sign that it starts with."""

    text: str
    sign: Sign = Sign.NONE


#: What people call the kinds of links.
_KINDS = {"bridge": "Linux bridge", "tun": "tap", "veth": "veth", "vlan": "VLAN device"}


def link_node(name: str, links: Mapping[str, Link], what: str = "") -> Node:
    """Return the node of a link.

    :param links: those that were found.
    :param what: what it is called, if not by its kind.
    """
    link = links.get(name)
    if link is None:
        return Node(what or "device", name, sign=Sign.MISSING)
    return Node(what or _KINDS.get(link.kind, "device"), name, tuple(_link_facts(link)))


def _link_facts(link: Link) -> Iterator[Fact]:
    attributes = link.attributes
    for key in ("mac", "mtu", "vlan"):
        if key in attributes:
            yield key, attributes[key]
    yield "up", bool(attributes.get("up"))
    if link.kind == "tun":
        yield "open", link.carrier
    if attributes.get("multiqueue"):
        yield "multiqueue", True


def compared(drawing: Drawing, findings: Iterable[Finding]) -> Drawing:
    """Return a drawing with the findings of a check marked in it."""
    rest = list(findings)
    nodes = []
    for node in drawing.nodes:
        its = [one for one in rest if one.element in node.elements]
        rest = [one for one in rest if one not in its]
        nodes.append(_marked(node, its))
    gone = [one for one in rest if one.attribute == "present" and one.wanted]
    left = tuple(str(one) for one in rest if one not in gone)
    missing = [_missing(one) for one in gone]
    return replace(drawing, nodes=(*missing, *nodes), remarks=(*drawing.remarks, *left))


def nothing(vif_id: str, plugin: str) -> Drawing:
    """Return the drawing of a VIF of which nothing is on the host."""
    return Drawing(vif_id, plugin, "", "nothing of it is on this host", ())


def _marked(node: Node, findings: Sequence[Finding]) -> Node:
    if not findings:
        return node
    presence = [one.wanted for one in findings if one.attribute == "present"]
    sign = Sign.DIFFERS
    if presence:
        sign = Sign.MISSING if presence[0] else Sign.LEFT_OVER
    of_node = f"{findings[0].element}: "
    remarks = (str(one).removeprefix(of_node) for one in findings if one.attribute != "present")
    return replace(node, sign=sign, remarks=(*node.remarks, *remarks))


def _missing(finding: Finding) -> Node:
    what, _, name = finding.element.rpartition(" ")
    return Node(what, name, sign=Sign.MISSING)


def lines(drawing: Drawing, width: int = 80) -> Iterator[Line]:
    """Yield a drawing as text.

    :param width: characters of a line at most; names are never broken.
    """
    yield Line(drawing.title)
    for i, node in enumerate(drawing.nodes):
        yield Line(f"{node.sign or ' '} o {node.title}{node.absence}", node.sign)
        bar = "|" if i < len(drawing.nodes) - 1 else " "
        for text in _joined(node.texts, width - 6):
            yield Line(f"  {bar}   {text}")
        for remark in node.remarks:
            for text in _wrapped(remark, width - 6):
                yield Line(f"{Sign.DIFFERS} {bar}   {text}", Sign.DIFFERS)
    for remark in drawing.remarks:
        for text in _wrapped(remark, width - 2):
            yield Line(f"{Sign.DIFFERS} {text}", Sign.DIFFERS)


def _fact(key: str, value: str | int | bool | None) -> str:
    if isinstance(value, bool):
        return key if value else f"not {key}"
    return f"no {key}" if value is None else f"{key} {value}"


def _joined(texts: Iterable[str], width: int) -> Iterator[str]:
    """Yield as many texts in a line as there is room for."""
    line = ""
    for text in texts:
        longer = f"{line}, {text}" if line else text
        if line and len(longer) > width:
            yield f"{line},"
            longer = text
        line = longer
    if line:
        yield line


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)
