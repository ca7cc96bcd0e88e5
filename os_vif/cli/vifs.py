# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common that are given VIFs."""

import argparse
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import os_vif
from os_vif.answers import Finding
from os_vif.cli.command import progress
from os_vif.cli.exits import Failure
from os_vif.objects.base import get
from os_vif.objects.instance_info import InstanceInfo

if TYPE_CHECKING:
    from os_vif.cli.files import Described

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


def read(parsed_args: argparse.Namespace) -> list["Described"]:
    """Return the VIFs that a command is given.

    :raises Failure: a file is wrong, or a VIF lacks what a verb needs.
    """
    from os_vif.cli import files  # and YAML, which most commands do without

    uuid, name = parsed_args.instance_uuid, parsed_args.instance_name
    instance = InstanceInfo(uuid=uuid, name=name or uuid) if uuid else None
    described = files.read(parsed_args.files, instance)
    for one in described:
        if get(one.vif, "plugin") is None:
            text = "vif.plugin: it is missing: the name of the plugin that plugs it, such as ovs"
            raise Failure(f"{one.place_of('vif')}: {text}")
    return described


def checked(described: Sequence["Described"]) -> Iterator[tuple["Described", Sequence[Finding]]]:
    """Check VIFs; yield each with what was found."""
    with progress(len(described), "checking") as done:
        for one in described:
            with one.place_in_errors():
                findings = os_vif.check(one.vif, one.instance)
            yield one, findings
            done(1)


def counted(number: int) -> str:
    """Return a number of VIFs in words."""
    return "1 VIF" if number == 1 else f"{number} VIFs"


def seconds(text: str) -> float:
    """Return the value of an option in seconds."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return value
