# SPDX-License-Identifier: Apache-2.0
"""The command that draws the wiring of VIFs."""

import argparse
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import os_vif
from os_vif import drawing
from os_vif.answers import Finding
from os_vif.cli import privilege, vifs
from os_vif.cli.command import Command, terminal_width
from os_vif.cli.exits import Exit, Failure
from os_vif.drawing import Drawing, Node, Sign
from os_vif.objects.base import get

if TYPE_CHECKING:
    from os_vif.cli.files import Described

#: Colours, of the terminal and of graphviz. The sign says the same.
_COLOURS = {
    Sign.DIFFERS: ("yellow", "orange"),
    Sign.MISSING: ("red", "red"),
    Sign.LEFT_OVER: ("magenta", "purple"),
}


class Show(Command):
    """Draw the wiring of VIFs as it is on the host, from the guest to the bridge.

    With --described, what is not as a file describes it is marked: ! differs, - is missing,
    + is left over; the exit status is 1 then.
    """

    EXAMPLES: ClassVar[str] = """
os-vif show 8f6a1f6b
os-vif show --described vif.yaml
os-vif show --all --format svg > wiring.svg
"""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what is drawn, and how."""
        parser.add_argument(
            "vifs",
            nargs="*",
            metavar="VIF",
            help="the id of a VIF, the start of it, or the name of one of its devices",
        )
        parser.add_argument("--all", action="store_true", help="all VIFs of this host")
        parser.add_argument(
            "--described",
            action="append",
            dest="files",
            default=[],
            metavar="FILE",
            help=f"VIFs to draw, and to compare with: {vifs.FILE}; may be repeated",
        )
        vifs.add_instance(parser)
        vifs.add_plugin(parser)
        parser.add_argument(
            "-f",
            "--format",
            choices=sorted(_FORMATS),
            default="text",
            help="dot is the language of graphviz; svg needs its program dot (default: text)",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Draw."""
        wanted = sum(map(bool, (parsed_args.vifs, parsed_args.all, parsed_args.files)))
        if wanted != 1:
            text = "show needs a VIF, or --all, or --described; and one of these only"
            raise Failure(text)
        described = vifs.read(parsed_args)
        if described:
            privilege.use_if_possible()
        found = os_vif.drawings(parsed_args.plugin)
        if described:
            checked = vifs.checked(described)
            found = tuple(_compared(one, findings, found) for one, findings in checked)
        elif not parsed_args.all:
            found = tuple(dict.fromkeys(_chosen(name, found) for name in parsed_args.vifs))
        if any(one.differs for one in found):
            self.found(Exit.FINDINGS)
        if not found:
            self.say("os-vif has made nothing on this host")
        _FORMATS[parsed_args.format](found, self.app.stdout)


def _chosen(name: str, found: Sequence[Drawing]) -> Drawing:
    """Return the drawing of the VIF that a person means."""
    chosen = [one for one in found if one.vif_id.startswith(name)]
    chosen = chosen or [one for one in found if name in {node.name for node in one.nodes}]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        text = f"nothing of {name} is on this host; 'os-vif list' says what is"
        raise Failure(text, Exit.FINDINGS)
    text = f"{name} may be {' or '.join(one.vif_id for one in chosen[:5])}"
    raise Failure(text)


def _compared(one: "Described", findings: Iterable[Finding], found: Sequence[Drawing]) -> Drawing:
    # A Linux bridge serves all VIFs of its network.
    known_as = {one.name, get(one.vif, "bridge_name")}
    its = [each for each in found if each.plugin == one.vif.plugin and each.vif_id in known_as]
    return drawing.compared(its[0] if its else drawing.nothing(one.name, one.vif.plugin), findings)


def _text(found: Iterable[Drawing], out: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    width = terminal_width()
    console = Console(file=out, width=width, highlight=False)
    with console.capture() as captured:  # a closed pipe is the program's to notice
        for i, one in enumerate(found):
            if i:
                console.print()
            for line in drawing.lines(one, width):
                style = _COLOURS[line.sign][0] if line.sign else ""
                # A name is never broken: it is copied.
                console.print(Text(line.text, style), soft_wrap=True)
    out.write(captured.get())


def _svg(found: Iterable[Drawing], out: Any) -> None:
    import graphviz

    try:
        out.write(graph(found).pipe(format="svg", encoding="utf-8"))
    except graphviz.ExecutableNotFound as err:
        text = "svg needs the program dot: install graphviz, or use --format dot"
        raise Failure(text, Exit.HOST_NOT_READY) from err


def graph(found: Iterable[Drawing]) -> Any:
    """Return drawings as one graph: bridges that VIFs share are there once."""
    import graphviz

    picture = graphviz.Digraph("wiring", graph_attr={"rankdir": "LR"})
    picture.attr("node", shape="box", fontname="sans-serif", fontsize="10")
    picture.attr("edge", arrowhead="none")
    ids: dict[str, str] = {}  # numbers: in edges graphviz takes a colon for that of a port
    for one in found:
        with picture.subgraph(name=f"cluster {one.vif_id}") as part:
            title = graphviz.escape(one.title)
            part.attr(label=title, fontname="sans-serif", fontsize="11", color="gray")
            chain = []
            for node in one.nodes:
                key = node.title if node.shared else f"{one.vif_id} {node.title}"
                chain.append(ids.setdefault(key, f"n{len(ids)}"))
                (picture if node.shared else part).node(chain[-1], **_looks(node))
            for i, remark in enumerate(one.remarks):
                text = graphviz.escape(f"! {remark}")
                part.node(f"{chain[0] if chain else one.vif_id} remark {i}", text, color="orange")
        picture.edges(itertools.pairwise(chain))
    return picture


def _looks(node: Node) -> dict[str, str]:
    import graphviz

    sign = f"{node.sign} " if node.sign else ""
    remarks = [f"! {remark}" for remark in node.remarks]
    lines = [f"{sign}{node.what}", f"{node.name}{node.absence}", *node.texts, *remarks]
    looks = {"label": graphviz.escape("\n".join(lines))}
    if node.sign:
        looks |= {"color": _COLOURS[node.sign][1], "penwidth": "2"}
    return looks


def _json(found: Iterable[Drawing], out: Any) -> None:
    out.write(f"{json.dumps([one.as_dict() for one in found], indent=2)}\n")


_FORMATS = {
    "dot": lambda found, out: out.write(graph(found).source),
    "json": _json,
    "svg": _svg,
    "text": _text,
}
