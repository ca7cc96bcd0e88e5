# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common that are given VIFs."""

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from os_vif.cli.exits import Exit, Failure, cause_of
from os_vif.exception import ExceptionBase
from os_vif.objects.base import get
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase

if TYPE_CHECKING:
    from os_vif.cli.files import Described


@dataclass(frozen=True)
class Pair:
    """A VIF of a file, with the virtual machine that it belongs to."""

    vif: VIFBase
    instance: InstanceInfo
    described: "Described"


#: What a file of VIFs is, for the help.
FILE = (
    "YAML or JSON with one VIF or several, with the fields' names or as the objects' own "
    "primitives, each with its instance; - is standard input"
)


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """Add the option by which one plugin alone is asked."""
    parser.add_argument(
        "--plugin",
        metavar="NAME",
        help="ask this plugin alone, such as linux_bridge on a host without Open vSwitch",
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the arguments by which a command is given VIFs."""
    parser.add_argument("files", nargs="+", metavar="FILE", help=FILE)
    add_instance(parser)


def add_instance(parser: argparse.ArgumentParser) -> None:
    """Add the options by which a command is given what a file does not say."""
    parser.add_argument(
        "--instance-uuid", metavar="UUID", help="the instance, where a file names none"
    )
    parser.add_argument("--instance-name", metavar="NAME", help="its name at the hypervisor")


def read(parsed_args: argparse.Namespace) -> list[Pair]:
    """Return the VIFs that a command is given.

    :raises Failure: a file is wrong, or a VIF has no instance.
    """
    from os_vif.cli import files  # and YAML, which most commands do without

    given = _given_instance(parsed_args)
    pairs = []
    for one in files.read(parsed_args.files):
        instance = one.instance or given
        if instance is None:
            text = "the instance is missing: add it to the file, or give --instance-uuid"
            raise Failure(f"{one.place_of('vif')}: {text}", Exit.USAGE)
        if get(one.vif, "plugin") is None:
            text = "vif.plugin: it is missing: the name of the plugin that plugs it, such as ovs"
            raise Failure(f"{one.place_of('vif')}: {text}", Exit.USAGE)
        pairs.append(Pair(one.vif, instance, one))
    return pairs


def _given_instance(parsed_args: argparse.Namespace) -> InstanceInfo | None:
    if parsed_args.instance_uuid is None:
        return None
    name = parsed_args.instance_name or parsed_args.instance_uuid
    return InstanceInfo(uuid=parsed_args.instance_uuid, name=name)


@contextmanager
def place_in_errors(one: Pair) -> Iterator[None]:
    """Say in which line the field is that a verb refuses."""
    try:
        yield
    except ExceptionBase as err:
        if text := placed(one, err):
            raise Failure(text, Exit.USAGE) from err
        raise


def placed(one: Pair, error: ExceptionBase) -> str:
    """Return the text of an error with the line of its field; empty if it is of no field."""
    field = error.element or ""
    if error.code == "bad_input" and field.partition(".")[0] in ("vif", "instance_info"):
        return f"{one.described.place_of(field)}: {cause_of(error)}"
    return ""


def name_of(vif: VIFBase) -> str:
    """Return by what people know a VIF: its id, else its device."""
    return str(get(vif, "id") or get(vif, "vif_name") or get(vif, "dev_address") or "a VIF")


def counted(number: int) -> str:
    """Return a number of VIFs in words."""
    return "1 VIF" if number == 1 else f"{number} VIFs"


def plugins(pairs: Sequence[Pair]) -> set[str]:
    """Return the names of the plugins that plug some VIFs."""
    return {one.vif.plugin for one in pairs}


def seconds(text: str) -> float:
    """Return the value of an option in seconds."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return value
