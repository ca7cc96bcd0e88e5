# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: the library made ready, errors, output."""

import argparse
import gc
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from cliff import command, lister
from cliff.formatters import commaseparated, json_format, table, value, yaml_format
from stevedore.extension import Extension, ExtensionManager

from os_vif.cli.app import LOOK_SECONDS
from os_vif.cli.exits import Exit, Failure, cause_of, of_error
from os_vif.cli.privilege import hints

#: Characters that the last column of a table has at least.
_NARROWEST = 20
#: Steps from which on a work is long.
_MANY = 20
#: Formats for programs: values keep their types, and all columns are there.
_FOR_PROGRAMS = ("json", "yaml", "prometheus")

Row = Mapping[str, Any]


class _Help(argparse.RawDescriptionHelpFormatter):
    """Breaks paragraphs where the terminal ends, and leaves examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.split("\n\n")
        return "\n\n".join(one if "\n  " in one else _filled(one, width) for one in parts)


class Command(command.Command):
    """A command whose help has examples, and whose errors lead to a documented exit status."""

    #: What is printed after the help; each line a command line.
    EXAMPLES: ClassVar[str] = ""
    #: Whether it changes the host.
    CHANGES: ClassVar[bool] = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of what stands after the command."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.formatter_class = _Help
        self.add_arguments(parser)
        return parser

    def _load_hooks(self) -> None:
        # What other distributions may hook into a command is not searched for: that takes long.
        self._hooks: list[Any] = []

    def get_epilog(self) -> str:
        """Return the examples."""
        return f"examples:\n{textwrap.indent(self.EXAMPLES.strip(), '  ')}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what is particular to the command."""

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; return its exit status."""
        self.exit_status = Exit.GOOD
        try:
            changes = self.CHANGES and not getattr(parsed_args, "dry_run", False)
            initialize(self.app.options, changes)
            super().run(parsed_args)
        except BrokenPipeError:
            raise
        except Exception as err:
            if self.app.options.debug:
                raise
            self.exit_status = of_error(err)
            text = str(cause_of(err))
            self.say(f"os-vif: {text}")
            self.hint([text])
        finally:
            finish()
        return int(self.exit_status)

    def say(self, text: str) -> None:
        """Print a line for the person, beside the output."""
        print(text, file=self.app.stderr)

    def hint(self, errors: Iterable[str]) -> None:
        """Say what an ordinary user can do about errors."""
        for one in hints(" ".join(errors)):
            self.say(one)

    def found(self, exit_status: Exit) -> None:
        """Remember the gravest exit status of several."""
        self.exit_status = max(self.exit_status, exit_status)


class _Table(table.TableFormatter):  # type: ignore[misc,unused-ignore]
    """cliff's; but where a terminal is too narrow, names stay in one piece: they are copied."""

    def emit_list(
        self, column_names: Sequence[str], data: Iterable[Any], stdout: Any, parsed_args: Any
    ) -> None:
        """Print rows with the last column broken, or one below the other; of none no table."""
        rows = list(data)
        if not (rows or parsed_args.print_empty):
            return
        if rows and stdout.isatty() and not parsed_args.max_width:
            columns = zip(column_names, *rows, strict=True)
            *others, last = (max(len(str(cell)) for cell in cells) for cells in columns)
            room = terminal_width() - sum(others) - 3 * len(column_names) - 1
            if last > room >= _NARROWEST:
                rows = [[*cells, _filled(str(text), room)] for *cells, text in rows]
            elif last > room:
                stdout.write(_records(column_names, rows))
                return
        super().emit_list(column_names, rows, stdout, parsed_args)


def _records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    width = max(map(len, columns)) + 2
    room = max(terminal_width(), 2 * width)
    return "\n".join(
        "".join(
            f"{_filled(name.ljust(width) + str(cell), room, ' ' * width)}\n"
            for name, cell in zip(columns, one, strict=True)
            if cell != ""
        )
        for one in rows
    )


def _filled(text: str, width: int, indent: str = "") -> str:
    """Return a text in lines; those after the first are indented."""
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False)


class TableCommand(Command, lister.Lister):
    """A command that prints a table: as such, or as json, yaml, csv, or plain values.

    The names of its columns are the same in all formats, and the keys of json and yaml.
    """

    #: Columns of a table; ``--long`` and the formats for programs have all.
    COLUMNS: ClassVar[Sequence[str]] = ()
    MORE_COLUMNS: ClassVar[Sequence[str]] = ()

    def formatters(self) -> Mapping[str, Any]:
        """Return what ``--format`` can be."""
        return {
            "csv": commaseparated.CSVLister(),
            "json": json_format.JSONFormatter(),
            "table": _Table(),
            "value": value.ValueFormatter(),
            "yaml": yaml_format.YAMLFormatter(),
        }

    def _load_formatter_plugins(self) -> Any:
        # What other distributions add to cliff's is not searched for: that takes long.
        point: Any = None
        return ExtensionManager.make_test_instance(
            [Extension(name, point, point, one) for name, one in self.formatters().items()]
        )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what all tables have."""
        if self.MORE_COLUMNS:
            parser.add_argument(
                "--long",
                action="store_true",
                help=f"with more columns: {', '.join(self.MORE_COLUMNS)}",
            )

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        """Return the columns, and the rows."""
        every = [*self.COLUMNS, *self.MORE_COLUMNS]
        if unknown := sorted(set(parsed_args.columns) - set(every)):
            text = f"no such column: {', '.join(unknown)}; there are {', '.join(every)}"
            raise Failure(text)
        is_short = parsed_args.formatter == "table" and not parsed_args.columns
        columns = self.COLUMNS if is_short and not getattr(parsed_args, "long", False) else every
        for_programs = parsed_args.formatter in _FOR_PROGRAMS
        self.last = self.rows(parsed_args)
        return columns, [[_shown(row.get(c), for_programs) for c in columns] for row in self.last]

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Row]:
        """Return the rows, column by column."""
        raise NotImplementedError


def terminal_width() -> int:
    """Return how many characters a line of the terminal has; 80 without one."""
    return shutil.get_terminal_size().columns


def _shown(one: Any, for_programs: bool) -> Any:
    if isinstance(one, tuple | list):
        return list(one) if for_programs else ", ".join(map(str, one))
    if isinstance(one, str):
        return str(one)  # of an enumeration, its value
    if for_programs:
        return one
    if isinstance(one, dict):
        return ", ".join(f"{key} {value}" for key, value in one.items() if value) or "none"
    if isinstance(one, bool):
        return "yes" if one else "no"
    if isinstance(one, float):
        return f"{one:.3g}" if one < 1 else f"{one:.0f}"
    return "" if one is None else one


def initialize(options: argparse.Namespace, changes: bool) -> None:
    """Read the configuration and load the plugins.

    :param options: of the program.
    :param changes: whether the command changes the host.
    """
    from oslo_config import cfg

    import os_vif
    import os_vif_start

    os_vif_start.end_stand_ins()
    arguments = [f"--config-file={name}" for name in options.config_file]
    arguments += [f"--config-dir={name}" for name in options.config_dir]
    try:
        cfg.CONF(arguments, project="os-vif")
    except cfg.Error as err:
        raise Failure(str(err)) from err
    os_vif.initialize()
    _check_options(cfg)
    gc.enable()  # --watch runs for long; see os_vif_start
    _set_deadline(cfg.CONF, options.deadline, changes)


def _check_options(cfg: Any) -> None:
    """Refuse a value that an option cannot have; else it is noticed by whoever reads it.

    :raises Failure: the text has the file, the group and the option.
    """
    groups = [name for name in cfg.CONF if name.startswith(("os_vif_", "vif_plug_"))]
    for group, option in [(name, option) for name in groups for option in cfg.CONF[name]]:
        try:
            cfg.CONF[group][option]
        except cfg.ConfigFileValueError as err:
            file = re.search(r"detail='([^']*)'", str(err))
            reason = str(err).rpartition("is not valid: ")[2]
            place = f"{file[1]}: " if file else ""
            raise Failure(f"{place}[{group}] {option}: {reason}") from err


def _set_deadline(config: Any, seconds: int | None, changes: bool) -> None:
    if "os_vif_ovs" not in config:  # the plugin could not be loaded
        return
    if seconds is None and not changes:
        seconds = min(config.os_vif_ovs.ovs_vsctl_timeout or LOOK_SECONDS, LOOK_SECONDS)
    if seconds is not None:
        config.set_override("ovs_vsctl_timeout", seconds, group="os_vif_ovs")


def finish() -> None:
    """End what the plugins have running, as far as it is there."""
    connection = sys.modules.get("vif_plug_ovs.ovsdb.connection")
    if connection is not None:
        connection.close_all()


@contextmanager
def progress(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Show how far a long work is, if standard error is a terminal.

    :param total: the number of its steps; None if that is not known.
    :returns: a function that takes the number of steps done since.
    """
    if not sys.stderr.isatty() or (total is not None and total < _MANY):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)
