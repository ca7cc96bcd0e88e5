# SPDX-License-Identifier: Apache-2.0
"""A wiring as text, to be compared with the text that a test expects.

One line for each element: what it is, its name, and each field that differs from its default.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

from os_vif.wiring.elements import Element
from os_vif.wiring.model import Wiring


def draw(wiring: Wiring, short: Mapping[str, str]) -> str:
    """Return the drawing of a wiring.

    :param short: long texts and what they are abbreviated to, one after the other.
    """
    drawing = "\n".join(_lines(wiring))
    for text, abbreviation in short.items():
        drawing = drawing.replace(text, abbreviation)
    return drawing


def _lines(wiring: Wiring) -> Iterator[str]:
    yield from map(_line, wiring.elements)
    if wiring.detected_by is not None:
        element = wiring.elements[wiring.elements.index(wiring.detected_by)]
        yield f"detected by {_title(element)}, with device {wiring.device}"
    for other in wiring.alternatives:
        yield "or"
        yield from (f"  {line}" for line in _lines(other))
    if wiring.leftovers:
        yield "leftover"
        yield from (f"  {_line(element)}" for element in wiring.leftovers)


def _line(element: Element) -> str:
    values = [f"{name}={_text(value)}" for name, value in sorted(_values(element))]
    return " ".join([_title(element), *values])


def _title(element: Any) -> str:
    name, *_ = fields(element)
    return f"{type(element).__name__} {getattr(element, name.name)}"


def _values(element: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(element)[1:]:
        made = field.default_factory
        if getattr(element, field.name) != (field.default if made is MISSING else made()):
            yield field.name, getattr(element, field.name)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{key}={_text(value[key])}" for key in sorted(value)) + "}"
    return value.name if isinstance(value, Enum) else str(value)
