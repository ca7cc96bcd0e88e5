# SPDX-License-Identifier: Apache-2.0
"""The commands that change the host."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import os_vif
from os_vif.answers import Decision
from os_vif.cli import files, privilege, vifs
from os_vif.cli.command import TableCommand, busy, progress
from os_vif.cli.exits import Exit, Failure, cause_of, of_error
from os_vif.cli.look import findings
from os_vif.exception import ExceptionBase
from os_vif.plugin import Pair, Result

Row = Mapping[str, Any]

#: VIFs after which the progress is shown anew; plugins divide them no finer.
_CHUNK = 50

_VIF_COLUMNS = ("vif_id", "plugin", "kind", "outcome", "detail")


class _Changing(TableCommand):
    """Plugs or unplugs the VIFs of files."""

    CHANGES: ClassVar[bool] = True
    COLUMNS: ClassVar[Sequence[str]] = ("vif_id", "outcome", "detail")
    MORE_COLUMNS: ClassVar[Sequence[str]] = ("plugin", "kind")

    #: The verb of the library, and what a VIF is when it is done.
    verb: Callable[[Sequence[Pair]], list[Result]]
    done: ClassVar[str]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the files."""
        super().add_arguments(parser)
        vifs.add_files(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would be done, change nothing"
        )

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Row]:
        """Return a row for each VIF; with ``--dry-run`` for each thing that would be changed."""
        given = vifs.read(parsed_args)
        if parsed_args.dry_run:
            return list(self.would(given))
        privilege.need(vifs.plugins(given))
        return [self._row(one, result) for one, result in self._results(given)]

    def would(self, given: Sequence[vifs.Pair]) -> Iterator[Row]:
        """Yield a row for each thing that would be changed."""
        raise NotImplementedError

    def _results(self, given: Sequence[vifs.Pair]) -> Iterator[tuple[vifs.Pair, Result]]:
        with progress(len(given), self.cmd_name or "") as advance:
            for start in range(0, len(given), _CHUNK):
                chunk = given[start : start + _CHUNK]
                results = type(self).verb([(one.vif, one.instance) for one in chunk])
                yield from zip(chunk, results, strict=True)
                advance(len(chunk))

    def _row(self, one: vifs.Pair, result: Result) -> Row:
        self.found(of_error(result.error))
        return row(one, _outcome(result, self.done), _detail(one, result.error))


def row(one: vifs.Pair, outcome: str, detail: str) -> Row:
    """Return what is said of one VIF."""
    values = (vifs.name_of(one.vif), one.vif.plugin, type(one.vif).__name__, outcome, detail)
    return dict(zip(_VIF_COLUMNS, values, strict=True))


def _outcome(result: Result, done: str) -> str:
    if result.error is None:
        return done
    return result.error.code if isinstance(result.error, ExceptionBase) else "internal"


def _detail(one: vifs.Pair, error: Exception | None) -> str:
    if error is None:
        return ""
    placed = vifs.placed(one, error) if isinstance(error, ExceptionBase) else ""
    return placed or str(cause_of(error))


class Plug(_Changing):
    """Attach VIFs to the host. Plugging a plugged VIF again changes nothing.

    A VIF that fails is rolled back alone; the others are plugged without it.
    """

    EXAMPLES = """
os-vif plug vif.yaml
os-vif plug vif.yaml --dry-run
os-vif --config-file /etc/nova/nova.conf plug *.json -f json
"""
    verb = staticmethod(os_vif.plug_all)
    done = "plugged"

    def would(self, given: Sequence[vifs.Pair]) -> Iterator[Row]:
        """Yield what would be corrected, VIF by VIF."""
        privilege.use_if_possible()
        by_id: dict[str, list[Row]] = {}
        for one in findings(given):
            by_id.setdefault(one["vif_id"], []).append(one)
        for each in given:
            found = by_id.get(vifs.name_of(each.vif), [])
            if not found:
                yield row(each, "unchanged", "")
            for one in found:
                finding = os_vif.answers.Finding(**{k: v for k, v in one.items() if k != "vif_id"})
                yield row(each, "would plug" if one["repairable"] else "would leave", str(finding))


class Unplug(_Changing):
    """Detach VIFs from the host. Unplugging what is not there changes nothing."""

    EXAMPLES = """
os-vif unplug vif.yaml
os-vif unplug vif.yaml --dry-run
"""
    verb = staticmethod(os_vif.unplug_all)
    done = "unplugged"

    def would(self, given: Sequence[vifs.Pair]) -> Iterator[Row]:
        """Yield what would be removed, VIF by VIF."""
        plugged = {one.vif_id: one for one in os_vif.list_vifs()}
        for each in given:
            found = plugged.get(vifs.name_of(each.vif))
            if found is None:
                yield row(each, "unchanged", "nothing of it is on this host")
            else:
                yield row(each, "would unplug", ", ".join(found.devices))


class Gc(TableCommand):
    """Remove what os-vif has made on this host for VIFs that are not among the valid ones.

    What a guest is seen to use stays, and so does what is new, and what nothing proves to be
    os-vif's. With --dry-run, exit status 1 if there is something to remove.
    """

    EXAMPLES = """
os-vif gc --valid ids.txt --dry-run
openstack port list --host $HOSTNAME -f value -c id | os-vif gc --valid -
"""
    CHANGES: ClassVar[bool] = True
    COLUMNS: ClassVar[Sequence[str]] = ("vif_id", "decision", "reason")
    MORE_COLUMNS: ClassVar[Sequence[str]] = ("plugin", "devices", "error")

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what is valid, and how careful it is."""
        super().add_arguments(parser)
        vifs.add_plugin(parser)
        parser.add_argument(
            "--valid",
            metavar="FILE",
            action="append",
            required=True,
            help="the VIFs that stay, also those about to be plugged: their ids, one in a line, "
            "or VIFs in YAML or JSON (*.yaml, *.yml, *.json); - is standard input; may be "
            "repeated",
        )
        parser.add_argument(
            "--allow-empty",
            action="store_true",
            help="none may be valid: everything that no guest uses is removed",
        )
        parser.add_argument(
            "--grace",
            type=vifs.seconds,
            default=300.0,
            metavar="SECONDS",
            help="for which what is new stays (default: %(default)g)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would be removed"
        )
        parser.add_argument("--all", action="store_true", help="list what is kept, too")

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Row]:
        """Return a row for each VIF that is removed, or would be."""
        valid = [one for name in parsed_args.valid for one in valid_of(name)]
        if not (valid or parsed_args.allow_empty):
            text = "no VIF is valid: --allow-empty, if that is meant"
            raise Failure(text, Exit.USAGE)
        if parsed_args.dry_run:
            privilege.use_if_possible()
        else:
            privilege.need_for_all(
                lambda: {one.plugin for one in os_vif.list_vifs(parsed_args.plugin)}
            )
        with busy("looking twice at what is not valid"):
            decided = os_vif.gc(
                valid,
                dry_run=parsed_args.dry_run,
                grace=parsed_args.grace,
                allow_empty=parsed_args.allow_empty,
                plugin=parsed_args.plugin,
            )
        shown = [one for one in decided if one.removes or one.error or parsed_args.all]
        if any(one.error or (parsed_args.dry_run and one.removes) for one in decided):
            self.found(Exit.FINDINGS)
        if parsed_args.formatter == "table":
            removed = vifs.counted(sum(one.removes and not one.error for one in decided))
            done = "would be removed" if parsed_args.dry_run else "removed"
            self.say(f"{removed} {done}, {sum(not one.removes for one in decided)} kept")
        return [_decision(one, parsed_args.dry_run) for one in shown]


def _decision(one: Decision, dry_run: bool) -> Row:
    decision = "keep" if not one.removes else "would remove" if dry_run else "removed"
    return {"decision": "failed" if one.error else decision, **one.as_dict()}


def valid_of(name: str) -> list[Any]:
    """Return the VIFs, or their ids, of a file."""
    if name.endswith((".yaml", ".yml", ".json")):
        return [one.vif for one in files.read([name])]
    return [word for line in files.text_of(name).splitlines() for word in _words(line)]


def _words(line: str) -> list[str]:
    words = line.partition("#")[0].split()
    if len(words) > 1:
        raise Failure(f"{line!r}: one id in a line is expected", Exit.USAGE)
    return words
