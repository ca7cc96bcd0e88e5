# SPDX-License-Identifier: Apache-2.0
"""The commands that change the host."""

import argparse
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any, ClassVar

import os_vif
from os_vif import registry
from os_vif.answers import Decision, PluggedVif
from os_vif.cli import files, privilege, vifs
from os_vif.cli.command import Row, TableCommand, progress
from os_vif.cli.exits import OF_CODE, Exit, Failure, code_of, of_error
from os_vif.cli.files import Described
from os_vif.exception import ExceptionBase, NoMatchingPlugin
from os_vif.objects.base import get
from os_vif.objects.vif import VIFBase, VIFBridge
from os_vif.plugin import Pair, Result

#: VIFs after which the progress is shown anew; plugins divide them no finer.
_CHUNK = 50


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
        privilege.need({one.vif.plugin for one in given})
        return list(self._results(given))

    def would(self, given: Sequence[Described]) -> Iterator[Row]:
        """Yield a row for each thing that would be changed."""
        raise NotImplementedError

    def _results(self, given: Sequence[Described]) -> Iterator[Row]:
        with progress(len(given), self.cmd_name or "") as advance:
            for start in range(0, len(given), _CHUNK):
                chunk = given[start : start + _CHUNK]
                results = type(self).verb([(one.vif, one.instance) for one in chunk])
                for one, result in zip(chunk, results, strict=True):
                    error = result.error
                    self.found(of_error(error))
                    yield (
                        _row(one, self.done)
                        if error is None
                        else _row(one, code_of(error), one.reason(error))
                    )
                advance(len(chunk))


def _row(one: Described, outcome: str, detail: str = "") -> Row:
    its = {"vif_id": one.name, "plugin": one.vif.plugin, "kind": type(one.vif).__name__}
    return {**its, "outcome": outcome, "detail": detail}


class Plug(_Changing):
    """Attach VIFs to the host. Plugging a plugged VIF again changes nothing.

    A VIF that fails is rolled back alone; the others are plugged without it. With --dry-run,
    exit status 1 if there is what plug leaves as it is, or refuses the VIF for.
    """

    EXAMPLES = """
os-vif plug vif.yaml
os-vif plug vif.yaml --dry-run
os-vif --config-file /etc/nova/nova.conf plug *.json -f json
"""
    verb = staticmethod(os_vif.plug_all)
    done = "plugged"

    def would(self, given: Sequence[Described]) -> Iterator[Row]:
        """Yield what would be corrected, VIF by VIF."""
        privilege.use_if_possible()
        for one, findings in vifs.checked(given):
            if not findings:
                yield _row(one, "unchanged")
            for each in findings:
                if not each.repairable:
                    self.found(Exit.FINDINGS)
                outcome = "would plug" if each.repairable else "would leave or refuse"
                yield _row(one, outcome, str(each))


class Unplug(_Changing):
    """Detach VIFs from the host. Unplugging what is not there changes nothing.

    With --dry-run the list is asked for the VIFs by id and plugin. Where it cannot tell (a VIF
    without an id, a plugin without a list) the outcome is not_supported, and the exit status 2.
    """

    EXAMPLES = """
os-vif unplug vif.yaml
os-vif unplug vif.yaml --dry-run
"""
    verb = staticmethod(os_vif.unplug_all)
    done = "unplugged"

    def would(self, given: Sequence[Described]) -> Iterator[Row]:
        """Yield what is listed of each VIF, by its id and plugin."""
        listed = {plugin: _listed(plugin) for plugin in {one.vif.plugin for one in given}}
        for each in given:
            plugged = listed[each.vif.plugin]
            if isinstance(plugged, ExceptionBase):
                self.found(of_error(plugged))
                yield _row(each, code_of(plugged), each.reason(plugged))
            elif found := plugged.get(each.name):
                yield _row(each, "would unplug", ", ".join(_removed(each.vif, found)))
            elif get(each.vif, "id"):
                yield _row(each, "not listed", f"{each.vif.plugin} lists nothing of this id")
            else:
                self.found(OF_CODE["not_supported"])
                text = "a VIF without an id cannot be told in the list"
                yield _row(each, "not_supported", text)


def _listed(plugin: str) -> dict[str, PluggedVif] | ExceptionBase:
    try:
        return {one.vif_id: one for one in os_vif.list_vifs(plugin)}
    except ExceptionBase as err:
        return err


def _removed(vif: VIFBase, found: PluggedVif) -> Iterator[str]:
    """Yield the devices that unplug removes: the tap behind a Linux bridge is libvirt's."""
    tap = get(vif, "vif_name") or f"tap{found.vif_id}"
    for name in found.devices:
        if not (isinstance(vif, VIFBridge) and tap.startswith(name)):
            yield name


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
            help="the VIFs that stay, also those about to be plugged: their ids, one in a line "
            "(what is no UUID must be listed), or VIFs in YAML or JSON (*.yaml, *.yml, *.json); "
            "- is standard input; may be repeated",
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
        dry_run, plugin = parsed_args.dry_run, parsed_args.plugin
        if plugin and not metadata.entry_points(group=registry.NAMESPACE, name=plugin):
            raise NoMatchingPlugin(plugin_name=plugin)
        if dry_run:
            privilege.use_if_possible()
        else:
            privilege.need([plugin] if plugin else privilege.CONTEXTS)
        valid = [one for name in parsed_args.valid for one in valid_of(name, plugin)]
        if not (valid or parsed_args.allow_empty):
            raise Failure("no VIF is valid: --allow-empty, if that is meant")
        with progress(None, "looking twice at what is not valid"):
            decided = os_vif.gc(
                valid,
                dry_run=dry_run,
                grace=parsed_args.grace,
                allow_empty=parsed_args.allow_empty,
                plugin=plugin,
            )
        for one in decided:
            self.found(_status(one, dry_run))
        self.hint(one.error or "" for one in decided)
        if parsed_args.formatter == "table":
            removed = vifs.counted(sum(one.removes and not one.error for one in decided))
            done = "would be removed" if dry_run else "removed"
            kept = sum(bool(one.vif_id) and not one.removes for one in decided)
            self.say(f"{removed} {done}, {kept} kept")
        shown = [one for one in decided if one.removes or one.error or parsed_args.all]
        return [_decision(one, dry_run) for one in shown]


def _status(one: Decision, dry_run: bool) -> Exit:
    if one.error and not one.vif_id:  # a plugin cannot tell what it has made
        return Exit.HOST_NOT_READY
    return Exit.FINDINGS if one.error or (dry_run and one.removes) else Exit.GOOD


def _decision(one: Decision, dry_run: bool) -> Row:
    decision = "keep" if not one.removes else "would remove" if dry_run else "removed"
    reason = f"{one.reason}: {one.error}" if one.error else one.reason
    return {
        **one.as_dict(),
        "decision": "failed" if one.error else decision,
        "reason": reason,
    }


def valid_of(name: str, plugin: str | None) -> list[Any]:
    """Return the VIFs, or their ids, of a file.

    A word that is no UUID must be listed, as a bridge is: else a line of an error message would
    be taken for a list of ids.

    :param plugin: the name of the only plugin to ask; None for all.
    :raises Failure: a line is no id.
    """
    if name.endswith((".yaml", ".yml", ".json")):
        any_instance = os_vif.objects.instance_info.InstanceInfo()
        return [one.vif for one in files.read([name], any_instance)]
    ids: list[str] = []
    others: dict[str, str] = {}
    for number, line in enumerate(files.text_of(name).splitlines(), 1):
        words = line.partition("#")[0].split()
        place = f"{files.source_of(name)}, line {number}"
        if len(words) > 1:
            raise Failure(f"{place}: one id in a line is expected, and not {line!r}")
        ids += words
        others |= {word: place for word in words if not _is_id(word)}
    listed = {one.vif_id for one in os_vif.list_vifs(plugin)} if others else set()
    for word, place in others.items():
        if word not in listed:
            raise Failure(f"{place}: {word!r} is neither an id nor listed")
    return ids


def _is_id(word: str) -> bool:
    """Return whether a word is a UUID as Neutron writes it: ids are compared as texts."""
    try:
        return str(uuid.UUID(word)) == word
    except ValueError:
        return False
