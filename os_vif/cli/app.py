# SPDX-License-Identifier: Apache-2.0
"""The program os-vif: its options, its commands, its log, its exit status."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from cliff.app import App
from cliff.commandmanager import CommandManager

from os_vif.cli.exits import Exit

DESCRIPTION = """\
Plug network interfaces of virtual machines into this host, and look at them.
'os-vif COMMAND --help' says more of one."""

_LOOK, _CHANGE = "os_vif.cli.look", "os_vif.cli.change"

#: The class of each command, which is imported when it is used, and its summary.
COMMANDS = {
    "check": (f"{_LOOK}:Check", "Report what differs from what plug built"),
    "complete": ("cliff.complete:CompleteCommand", "Print the completion for bash"),
    "gc": (f"{_CHANGE}:Gc", "Remove what os-vif made for VIFs that are no more"),
    "help": ("cliff.help:HelpCommand", "Print the help of a command"),
    "host-info": (f"{_LOOK}:HostInfo", "List the kinds of VIFs that can be plugged"),
    "list": (f"{_LOOK}:List", "List everything that os-vif has made on this host"),
    "plug": (f"{_CHANGE}:Plug", "Attach VIFs to the host"),
    "show": ("os_vif.cli.show:Show", "Draw the wiring of VIFs as it is on the host"),
    "status": (f"{_LOOK}:Status", "Say whether this host can plug, right now"),
    "unplug": (f"{_CHANGE}:Unplug", "Detach VIFs from the host"),
    "wait": (f"{_LOOK}:Wait", "Wait until VIFs are attached, or wired"),
}

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


def _positive(text: str) -> int:
    """Return the value of an option in whole seconds: the plugin takes 0 for no limit."""
    seconds = int(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("it must be 1 second, or more")
    return seconds


#: What stands before the command. --help does not: after a command it asks for the help of that.
OPTIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("--config-file",): {
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "a file of oslo.config with the options of the plugins, such as "
        "/etc/nova/nova.conf; may be repeated. Without it: /etc/os-vif/os-vif.conf, if there",
    },
    ("--config-dir",): {
        "action": "append",
        "default": [],
        "metavar": "DIR",
        "help": "a folder with such files; may be repeated",
    },
    ("--deadline",): {
        "type": _positive,
        "metavar": "SECONDS",
        "help": "how long Open vSwitch is waited for, instead of ovs_vsctl_timeout of the "
        f"configuration; at most {LOOK_SECONDS} s by default for commands, and dry runs, that "
        "change nothing",
    },
    ("-v", "--verbose"): {
        "action": "count",
        "dest": "verbose_level",
        "default": 0,
        "help": "log what the library does; twice: everything",
    },
    ("--log-file",): {"metavar": "FILE", "help": "log into a file, too"},
    ("--debug",): {"action": "store_true", "help": "show the traceback of an error"},
}


class _NoTraceback(logging.Formatter):
    """What a record says, without the traceback: for people who operate a host."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname}: {record.getMessage()}"


class Program(App):
    """The program."""

    NAME = "os-vif"
    LOG = logging.getLogger("os_vif.cli")

    def __init__(self) -> None:
        # Without a namespace, in which other distributions could add commands: the search is slow.
        manager = CommandManager("")
        manager.commands |= {
            name: metadata.EntryPoint(name, origin, "os_vif.cli")
            for name, (origin, _) in COMMANDS.items()
        }
        super().__init__(DESCRIPTION, metadata.version("os-vif"), manager)

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Return the parser of what stands before the command."""
        commands = [f"  {name:<12}{summary}" for name, (_, summary) in COMMANDS.items()]
        parser = argparse.ArgumentParser(
            prog=self.NAME,
            usage="%(prog)s [options] COMMAND ...",
            description=description,
            epilog="\n".join(["commands:", *commands, "", EXIT_STATUS]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        parser.add_argument("--version", action="version", version=f"{self.NAME} {version}")
        for names, what in OPTIONS.items():
            parser.add_argument(*names, **what)
        return parser

    def configure_logging(self) -> None:
        """Log warnings to standard error, and more if it is asked for."""
        root, verbose = logging.getLogger(), self.options.verbose_level
        root.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
        console = logging.StreamHandler(self.stderr)
        is_short = not (self.options.debug or verbose)
        formatter = _NoTraceback if is_short else logging.Formatter
        console.setFormatter(formatter("%(levelname)s: %(message)s"))
        if is_short:
            # What a verb logs of what it raises is said by the command, once.
            console.addFilter(lambda record: record.name != "os_vif")
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
        if argv and argv[0] not in COMMANDS and _starts_a_command(argv[0]):
            self.parser.error(f"commands are not abbreviated: {argv[0]}")

    def interact(self) -> None:
        """Refuse to run without a command."""
        self.parser.error("a command is needed; --help lists them")


def _starts_a_command(word: str) -> bool:
    return any(name.startswith(word) for name in COMMANDS)


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit status."""
    # Python has None for a stream that is closed.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        return int(Program().run(list(arguments)))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(Exit.USAGE)
    finally:
        try:
            sys.stdout.flush()  # now, while a closed pipe harms nobody
        except BrokenPipeError:
            sys.stdout = None
