# SPDX-License-Identifier: Apache-2.0
"""The program os-vif: its options, its commands, its log, its exit status."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager

from os_vif.cli.exits import Exit

DESCRIPTION = "Plug network interfaces of virtual machines into this host, and look at them."

#: Appended to the help of the program, and to its manual page.
EXIT_STATUS = """\
exit status:
  0  good
  1  something is not as it should be, or is not done
  2  wrong usage: an option, a file or a field
  3  the host is not ready: OVSDB, ovs-vswitchd, a plugin, or privilege
  4  the outcome is unknown: the same command again, or unplug, settles it
"""


#: So long a command that changes nothing waits for OVSDB, unless it is told.
LOOK_SECONDS = 10


@dataclass(frozen=True)
class CommandPoint:
    """A command that is imported when it is used, as cliff's CommandManager wants it."""

    name: str
    origin: str
    summary: str

    @property
    def value(self) -> str:
        """Where it comes from."""
        return self.origin

    def load(self) -> type[Command]:
        """Import it."""
        module, _, name = self.origin.partition(":")
        command: type[Command] = getattr(importlib.import_module(module), name)
        return command


_LOOK, _CHANGE = "os_vif.cli.look", "os_vif.cli.change"

COMMANDS = (
    CommandPoint("check", f"{_LOOK}:Check", "Say what of VIFs is not as plug has built it"),
    CommandPoint("gc", f"{_CHANGE}:Gc", "Remove what os-vif made for VIFs that are no more"),
    CommandPoint("host-info", f"{_LOOK}:HostInfo", "List the kinds of VIFs that can be plugged"),
    CommandPoint("list", f"{_LOOK}:List", "List everything that os-vif has made on this host"),
    CommandPoint("plug", f"{_CHANGE}:Plug", "Attach VIFs to the host"),
    CommandPoint("show", "os_vif.cli.show:Show", "Draw the wiring of VIFs as it is on the host"),
    CommandPoint("status", f"{_LOOK}:Status", "Say whether this host can plug, right now"),
    CommandPoint("unplug", f"{_CHANGE}:Unplug", "Detach VIFs from the host"),
    CommandPoint("wait", f"{_LOOK}:Wait", "Wait until VIFs are attached, or wired"),
)

#: Of cliff's own.
_CLIFFS = {
    "complete": "Print the completion of these commands for bash",
    "help": "Print the help of a command",
}


class _Commands(CommandManager):
    """Ours, and those that cliff adds; none is searched for among what is installed."""

    def __init__(self) -> None:
        super().__init__("")
        ours: dict[str, Any] = {one.name: one for one in COMMANDS}
        self.commands.update(ours)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        print(f"os-vif {metadata.version('os-vif')}")
        parser.exit()


class _OnlyTheirs(logging.Filter):
    """Without what the verbs log of what they raise: the command says it, once."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != "os_vif"


class Program(App):
    """The program."""

    NAME = "os-vif"
    LOG = logging.getLogger("os_vif.cli")

    def __init__(self) -> None:
        super().__init__(DESCRIPTION, None, _Commands())

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Return the parser of what stands before the command."""
        summaries = {one.name: one.summary for one in COMMANDS} | _CLIFFS
        lines = [f"  {name:<12}{text}" for name, text in sorted(summaries.items())]
        parser = argparse.ArgumentParser(
            prog=self.NAME,
            usage="%(prog)s [options] COMMAND ...",
            description=f"{description}\n'os-vif COMMAND --help' says more of one.",
            epilog="\n".join(["commands:", *lines, "", EXIT_STATUS]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        # --help is not among them: after a command it asks for the help of that.
        parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
        parser.add_argument(
            "--config-file",
            action="append",
            default=[],
            metavar="FILE",
            help="a file of oslo.config with the options of the plugins, such as "
            "/etc/nova/nova.conf; may be repeated. Without it: /etc/os-vif/os-vif.conf, if there",
        )
        parser.add_argument(
            "--config-dir",
            action="append",
            default=[],
            metavar="DIR",
            help="a folder with such files; may be repeated",
        )
        parser.add_argument(
            "--deadline",
            type=int,
            metavar="SECONDS",
            help="instead of ovs_vsctl_timeout of the configuration; commands that change nothing "
            f"take at most {LOOK_SECONDS} s by default",
        )
        parser.add_argument(
            "-v",
            "--verbose",
            action="count",
            dest="verbose_level",
            default=0,
            help="log what the library does; twice: everything",
        )
        parser.add_argument("--log-file", metavar="FILE", help="log into a file, too")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return parser

    def configure_logging(self) -> None:
        """Log warnings to standard error, and more if it is asked for."""
        root = logging.getLogger()
        level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.options.verbose_level, 2)]
        root.setLevel(level)
        console = logging.StreamHandler(self.stderr)
        console.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        if not (self.options.debug or self.options.verbose_level):
            console.addFilter(_OnlyTheirs())
        root.addHandler(console)
        if self.options.log_file:
            file = logging.FileHandler(self.options.log_file)
            file.setFormatter(logging.Formatter(self.LOG_FILE_MESSAGE_FORMAT))
            root.addHandler(file)

    def initialize_app(self, argv: list[str]) -> None:
        """Print the help, if it is asked for before a command."""
        if argv and argv[0] in ("-h", "--help"):
            self.parser.print_help(self.stdout)
            self.parser.exit()
        if argv and argv[0].startswith("-"):
            self.parser.error(f"unknown option before the command: {argv[0]}")

    def interact(self) -> None:
        """Refuse to run without a command."""
        self.parser.error("a command is needed; --help lists them")


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit status."""
    try:
        return int(Program().run(list(arguments)))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(Exit.USAGE)
    finally:
        _end_output()


def _end_output() -> None:
    """Have what was printed written now, while a closed pipe harms nobody."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None
