# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: the library made ready, errors, output."""

import argparse
import gc
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from cliff.command import Command
from cliff.formatters import commaseparated, json_format, table, value
from cliff.formatters.base import ListFormatter
from cliff.lister import Lister
from stevedore.extension import Extension, ExtensionManager

from os_vif.cli.app import LOOK_SECONDS
from os_vif.cli.exits import Exit, Failure, cause_of, of_error

#: Characters of the narrowest column that cliff makes, with its frame.
_NARROWEST = 11
#: Columns of names.
_IN_ONE_PIECE = {"vif_id", "element"}
#: Steps from which on a work is long.
_MANY = 20
#: Formats for programs: values keep their types, and all columns are there.
_FOR_PROGRAMS = ("json", "yaml", "prometheus")


class _Usual(Command):
    """A command whose help has examples, and whose errors lead to a documented exit status."""

    #: What is printed after the help; each line a command line.
    EXAMPLES: ClassVar[str] = ""
    #: Whether it changes the host.
    CHANGES: ClassVar[bool] = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of what stands after the command."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        self.add_arguments(parser)
        return parser

    def _load_hooks(self) -> None:
        # What other distributions may hook into a command is not searched for: that takes long.
        self._hooks: list[Any] = []

    def get_epilog(self) -> str:
        """Return the examples."""
        lines = self.EXAMPLES.strip().splitlines()
        return "\n".join(["examples:", *(f"  {line}" for line in lines)]) if lines else ""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what is particular to the command."""

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; return its exit status."""
        self.exit_status = Exit.GOOD
        try:
            initialize(self.app.options, self.CHANGES)
            super().run(parsed_args)
        except BrokenPipeError:
            raise
        except Exception as err:
            if self.app.options.debug:
                raise
            self.exit_status = of_error(err)
            self._explain(str(cause_of(err)))
        finally:
            finish()
        return int(self.exit_status)

    def _explain(self, text: str) -> None:
        from os_vif.cli import privilege

        self.say(f"os-vif: {text}")
        if hint := privilege.hint(text):
            self.say(hint)

    def say(self, text: str) -> None:
        """Print a line for the person, beside the output."""
        print(text, file=self.app.stderr)

    def found(self, exit_status: Exit) -> None:
        """Remember the gravest exit status of several."""
        self.exit_status = max(self.exit_status, exit_status)


class PlainCommand(_Usual):
    """A command that prints by itself."""


class _Table(table.TableFormatter):  # type: ignore[misc,unused-ignore]
    """cliff's, with names in one piece where there is room: they are copied."""

    @staticmethod
    def _assign_max_widths(found: Any, *arguments: Any) -> None:
        table.TableFormatter._assign_max_widths(found, *arguments)
        widths = found.max_width
        given = 0
        for name in widths.keys() & _IN_ONE_PIECE:
            at = found.field_names.index(name)
            whole = max(len(str(row[at])) for row in found.rows)
            given += max(0, whole - widths[name])
            widths[name] = max(whole, widths[name])
        for name in reversed([one for one in widths if one not in _IN_ONE_PIECE]):
            taken = min(given, max(0, widths[name] - _NARROWEST))
            widths[name] -= taken
            given -= taken


class _Yaml(ListFormatter):
    """cliff's, which is imported when it is used."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """It has no options."""

    def emit_list(self, *arguments: Any) -> None:
        """Print rows."""
        from cliff.formatters.yaml_format import YAMLFormatter

        YAMLFormatter().emit_list(*arguments)


class TableCommand(_Usual, Lister):
    """A command that prints a table: as such, or as json, yaml, csv, or plain values.

    The names of its columns are the same in all formats, and the keys of json and yaml.
    """

    #: Columns of a table; ``--long`` and the formats for programs have all.
    COLUMNS: ClassVar[Sequence[str]] = ()
    MORE_COLUMNS: ClassVar[Sequence[str]] = ()

    @property
    def need_sort_by_cliff(self) -> bool:
        """Rows are sorted already."""
        return False

    def formatters(self) -> Mapping[str, Any]:
        """Return what ``--format`` can be."""
        return {
            "csv": commaseparated.CSVLister(),
            "json": json_format.JSONFormatter(),
            "table": _Table(),
            "value": value.ValueFormatter(),
            "yaml": _Yaml(),
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

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """Return the columns, and the rows."""
        columns = self._columns(parsed_args)
        unknown = set(parsed_args.columns) - {*self.COLUMNS, *self.MORE_COLUMNS}
        if unknown:
            known = ", ".join([*self.COLUMNS, *self.MORE_COLUMNS])
            text = f"no such column: {', '.join(sorted(unknown))}; there are {known}"
            raise Failure(text, Exit.USAGE)
        for_programs = parsed_args.formatter in _FOR_PROGRAMS
        self.last = self.rows(parsed_args)
        rows = [[_shown(row.get(c), for_programs) for c in columns] for row in self.last]
        return columns, rows

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Mapping[str, Any]]:
        """Return the rows, column by column."""
        raise NotImplementedError

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Print the rows; of none no table."""
        if parsed_args.formatter == "table":
            if not (data or parsed_args.print_empty):
                return 0
            if data and self._is_too_wide(column_names, data):
                self.app.stdout.write(_records(column_names, data))
                return 0
        return int(super().produce_output(parsed_args, column_names, data) or 0)

    def _is_too_wide(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bool:
        if not self.app.stdout.isatty():
            return False
        widths = [
            max(len(str(row[i])) for row in rows) + 3 if name in _IN_ONE_PIECE else _NARROWEST
            for i, name in enumerate(columns)
        ]
        return sum(widths) >= terminal_width()

    def _columns(self, parsed_args: argparse.Namespace) -> Sequence[str]:
        is_table = parsed_args.formatter == "table"
        if is_table and not (getattr(parsed_args, "long", False) or parsed_args.columns):
            return self.COLUMNS
        return [*self.COLUMNS, *self.MORE_COLUMNS]


def terminal_width() -> int:
    """Return how many characters a line of the terminal has; 80 without one."""
    return shutil.get_terminal_size().columns


def _records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows one below the other, for a terminal that is too narrow for the table."""
    width = max(map(len, columns)) + 2
    room = max(terminal_width() - width, 1)
    blocks = []
    for one in rows:
        pairs = zip(columns, map(str, one), strict=True)
        lines = [(name, textwrap.wrap(text, room) or [""]) for name, text in pairs]
        blocks.append(
            "\n".join(name.ljust(width) + f"\n{' ' * width}".join(t) for name, t in lines)
        )
    return "\n\n".join([*blocks, ""]).removesuffix("\n")


def _shown(one: Any, for_programs: bool) -> Any:
    if isinstance(one, tuple | list):
        return list(one) if for_programs else ", ".join(map(str, one))
    if isinstance(one, dict) and not for_programs:
        return ", ".join(f"{key} {value}" for key, value in one.items() if value) or "none"
    if isinstance(one, str):
        return str(one)  # of an enumeration, its value
    if for_programs:
        return one
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
    except (cfg.ConfigFilesNotFoundError, cfg.ConfigFilesPermissionDeniedError) as err:
        raise Failure(str(err), Exit.USAGE) from err
    except (cfg.ConfigFileParseError, cfg.ConfigFileValueError, cfg.ConfigDirNotFoundError) as err:
        raise Failure(str(err), Exit.USAGE) from err
    os_vif.initialize()
    gc.enable()  # --watch runs for long; see os_vif_start
    _set_deadline(cfg.CONF, options.deadline, changes)


def _set_deadline(config: Any, seconds: int | None, changes: bool) -> None:
    configured = config.os_vif_ovs.ovs_vsctl_timeout if "os_vif_ovs" in config else None
    if configured is None:  # the plugin could not be loaded
        return
    if seconds is None and not changes:
        seconds = min(configured or LOOK_SECONDS, LOOK_SECONDS)
    if seconds is not None:
        config.set_override("ovs_vsctl_timeout", seconds, group="os_vif_ovs")


def finish() -> None:
    """End what the plugins have running, as far as it is there."""
    connection = sys.modules.get("vif_plug_ovs.ovsdb.connection")
    if connection is not None:
        connection.close_all()


@contextmanager
def progress(total: int, what: str) -> Iterator[Any]:
    """Show how far a long work is, if standard error is a terminal.

    :returns: a function that takes the number of steps done since.
    """
    if total < _MANY or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show that something goes on, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
