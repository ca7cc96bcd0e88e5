# SPDX-License-Identifier: Apache-2.0
"""Tables that are redrawn as things change, and that Prometheus reads."""

import argparse
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from cliff.formatters.base import ListFormatter

from os_vif.cli import vifs
from os_vif.cli.command import Row, TableCommand
from os_vif.cli.exits import Exit, Failure, cause_of, of_error
from os_vif.exception import ExceptionBase

#: Seconds between two looks.
_PAUSE = 2.0
#: Home, and clear what is below: xterm's and all its like.
_CLEAR = "\x1b[H\x1b[J"


def metric(name: str, text: str, samples: Iterable[tuple[Mapping[str, object], float]]) -> str:
    """Return a number, or several, as Prometheus reads them.

    :param name: with its unit at the end, as Prometheus names metrics.
    :param text: what it is.
    :param samples: labels and value of each.
    """
    lines = [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
    lines += [f"{name}{_labels(labels)} {value:g}" for labels, value in samples]
    return "\n".join([*lines, ""])


def _labels(labels: Mapping[str, object]) -> str:
    pairs = (f'{name}="{_escaped(str(value))}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Prometheus(ListFormatter):
    """The text format of Prometheus; its metrics are of all rows, and not row by row."""

    def __init__(self, command: "WatchedTable") -> None:
        self._command = command

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """It has no options."""

    def emit_list(
        self, column_names: Any, data: Any, stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        """Print the metrics."""
        for name in ("watch", "columns", "state", "instance", "plugin"):
            if getattr(parsed_args, name, None) not in (None, []):
                raise Failure(f"prometheus goes without --{name.removesuffix('s')}: it is of all")
        stdout.write("".join(self._command.metrics(self._command.last)))


class WatchedTable(TableCommand):
    """A table with ``--watch``, and the format ``prometheus``."""

    def formatters(self) -> Mapping[str, Any]:
        """Return what ``--format`` can be."""
        return {**super().formatters(), "prometheus": _Prometheus(self)}

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add how it is watched."""
        super().add_arguments(parser)
        parser.add_argument(
            "-w",
            "--watch",
            nargs="?",
            type=vifs.seconds,
            const=_PAUSE,
            metavar="SECONDS",
            help="look again every so many seconds, and print what has changed; Ctrl-C ends it "
            f"(default: {_PAUSE:g})",
        )

    def metrics(self, rows: Sequence[Row]) -> Iterable[str]:
        """Return what Prometheus is told of all rows."""
        raise NotImplementedError

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Print the rows, and again when they have changed."""
        if parsed_args.watch is None or parsed_args.formatter == "prometheus":
            return int(super().produce_output(parsed_args, column_names, data))
        with contextlib.suppress(KeyboardInterrupt):  # that is how it ends
            self._watch(parsed_args, column_names, data)
        return 0

    def _watch(self, parsed_args: argparse.Namespace, columns: Sequence[str], data: Any) -> None:
        shown: Any = None
        while True:
            if data != shown:
                self._redraw(parsed_args, columns, data)
                shown = data
            time.sleep(parsed_args.watch)
            self.exit_status = Exit.GOOD
            try:
                _, data = self.take_action(parsed_args)
            except ExceptionBase as err:
                self.exit_status = of_error(err)
                data = str(cause_of(err))

    def _redraw(self, parsed_args: argparse.Namespace, columns: Sequence[str], data: Any) -> None:
        out = self.app.stdout
        if out.isatty():
            title = f"os-vif {self.cmd_name}, every {parsed_args.watch:g} s"
            out.write(f"{_CLEAR}{title}; last change {time.strftime('%H:%M:%S')}\n\n")
        if isinstance(data, str):
            out.write(f"{data}\n")
        elif not data and parsed_args.formatter == "table":
            out.write("nothing is listed\n")
        else:
            super().produce_output(parsed_args, columns, data)
        out.flush()
