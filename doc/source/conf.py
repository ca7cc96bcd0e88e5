# SPDX-License-Identifier: Apache-2.0
"""Settings of the documentation."""

import os
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from oslo_versionedobjects.base import VersionedObject

from os_vif.cli.app import COMMANDS, Program

project = "os-vif"
copyright = "OpenStack Foundation"
extensions = ["sphinx.ext.autodoc", "oslo_config.sphinxext"]
html_theme = "alabaster"
html_theme_options = {"description": "virtual interfaces of an OpenStack host"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}

man_pages = [
    ("cli/index", "os-vif", "network interfaces of virtual machines", ["The os-vif developers"], 8)
]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "exclude-members": "VERSION, fields, obj_relationships",
}


def list_fields(
    app: Any, what: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    """Append the version and the fields of a versioned object to its description."""
    if what == "class" and issubclass(documented, VersionedObject) and documented.fields:
        lines += ["", f"Version {documented.VERSION}. Fields:", ""]
        lines += [
            f"* ``{field}``: {type(kind).__name__.removesuffix('Field')}"
            for field, kind in sorted(documented.fields.items())
        ]


class Commands(Directive):
    """The help of each command, as ``--help`` prints it."""

    def run(self) -> list[nodes.Node]:
        os.environ["COLUMNS"] = "88"
        program = Program()
        sections = [_section("os-vif", program.parser.format_help())]
        for name in COMMANDS:
            command = program.command_manager.commands[name].load()
            parser = command(program, None, cmd_name=name).get_parser(f"os-vif {name}")
            sections.append(_section(name, parser.format_help()))
        return sections


def _section(name: str, text: str) -> nodes.section:
    section = nodes.section(ids=[f"command-{name}"], names=[name])
    section += nodes.title(name, name)
    section += nodes.literal_block(text, text, language="none")
    return section


def name_pages(app: Any, doctree: nodes.document, docname: str) -> None:
    """Have the manual page name other pages: it has no address that a link could show."""
    if app.builder.name == "man":
        for link in [*doctree.findall(nodes.reference)]:
            if not link.get("refuri"):
                link.replace_self(nodes.emphasis("", link.astext()))


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", list_fields)
    app.connect("doctree-resolved", name_pages)
    app.add_directive("os-vif-commands", Commands)
