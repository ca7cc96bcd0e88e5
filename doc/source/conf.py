# SPDX-License-Identifier: Apache-2.0
"""Settings of the documentation."""

from typing import Any

from oslo_versionedobjects.base import VersionedObject

project = "os-vif"
copyright = "OpenStack Foundation"
extensions = ["sphinx.ext.autodoc", "oslo_config.sphinxext"]
html_theme = "alabaster"
html_theme_options = {"description": "virtual interfaces of an OpenStack host"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}

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


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", list_fields)
