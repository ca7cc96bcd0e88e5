# SPDX-License-Identifier: Apache-2.0
"""The commands that look at the host and change nothing."""

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import os_vif
from os_vif.answers import Condition, Level, State, Until
from os_vif.cli import privilege, vifs
from os_vif.cli.command import Command, Row, TableCommand, progress
from os_vif.cli.exits import Exit, cause_of, of_error
from os_vif.cli.watched import WatchedTable, metric
from os_vif.exception import ExceptionBase

if TYPE_CHECKING:
    from os_vif.cli.files import Described


class List(WatchedTable):
    """List everything that os-vif has made on this host, VIF by VIF.

    What libvirt and others have made is not listed.
    """

    EXAMPLES = """
os-vif list
os-vif list --state orphan -f value -c vif_id
os-vif --config-file /etc/nova/nova.conf list -f json
os-vif list --watch
os-vif list -f prometheus
"""
    COLUMNS: ClassVar[Sequence[str]] = ("vif_id", "kind", "state", "bridge")
    MORE_COLUMNS: ClassVar[Sequence[str]] = (
        "ofport",
        "devices",
        "instance",
        "age",
        "reason",
        "plugin",
        "marked",
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what narrows the list."""
        super().add_arguments(parser)
        vifs.add_plugin(parser)
        parser.add_argument(
            "--state",
            action="append",
            choices=[str(one) for one in State],
            help="only VIFs in this state; may be repeated",
        )
        parser.add_argument("--instance", metavar="UUID", help="only those of this instance")

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Row]:
        """Return a row for each VIF."""
        found = [
            one.as_dict()
            for one in os_vif.list_vifs(parsed_args.plugin)
            if not parsed_args.state or one.state in parsed_args.state
            if not parsed_args.instance or one.instance == parsed_args.instance
        ]
        if not found and parsed_args.formatter == "table" and parsed_args.watch is None:
            self.say(vifs.counted(0))
        return found

    def metrics(self, rows: Sequence[Row]) -> Iterator[str]:
        """Yield how many VIFs there are of each plugin, kind and state."""
        keys = ("plugin", "kind", "state")
        counted = Counter(tuple(str(one[key]) for key in keys) for one in rows)
        samples = [(dict(zip(keys, one, strict=True)), n) for one, n in sorted(counted.items())]
        yield metric("os_vif_vifs", "VIFs that os-vif has plugged on this host.", samples)
        orphans = sum(one["state"] == State.ORPHAN for one in rows)
        text = "VIFs of which only parts are left on this host."
        yield metric("os_vif_orphans", text, [({}, orphans)])


class Status(WatchedTable):
    """Say whether this host can plug, right now, and what stands in its way.

    Exit status 3 if something makes plugging fail, 1 if something else is not as it should be.
    """

    EXAMPLES = """
os-vif status
os-vif --config-file /etc/nova/nova.conf status --long
os-vif status -f prometheus
"""
    COLUMNS: ClassVar[Sequence[str]] = ("level", "plugin", "subject", "summary")
    MORE_COLUMNS: ClassVar[Sequence[str]] = ("remedy", "value", "unit")

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Row]:
        """Return a row for each condition, the gravest first."""
        privilege.use_if_possible()
        found = sorted(os_vif.status(), key=lambda one: list(Level)[::-1].index(one.level))
        for one in found:
            self.found(_OF_LEVEL[one.level])
        if parsed_args.watch is None:
            self._advise(found, parsed_args)
        return [one.as_dict() for one in found]

    def _advise(self, found: Sequence[Condition], parsed_args: argparse.Namespace) -> None:
        if parsed_args.formatter == "table" and not (parsed_args.long or parsed_args.columns):
            for one in found:
                if one.remedy:
                    self.say(f"{one.plugin}, {one.subject}: {one.remedy}")
        self.hint(one.summary for one in found if one.level is Level.ERROR)

    def metrics(self, rows: Sequence[Row]) -> Iterator[str]:
        """Yield how grave each condition is, and what was measured."""
        labelled = [({key: one[key] for key in ("plugin", "subject")}, one) for one in rows]
        text = "How a condition of this host is: 0 ok, 1 warning, 2 error."
        levels = ((labels, list(Level).index(one["level"])) for labels, one in labelled)
        yield metric("os_vif_condition", text, levels)
        text = "Seconds that a condition of this host was measured at."
        measured = (each for each in labelled if each[1]["unit"] == "s")
        seconds = ((labels, one["value"]) for labels, one in measured if one["value"] is not None)
        yield metric("os_vif_condition_seconds", text, seconds)
        text = "Whether this host can plug: no condition is an error."
        ready = all(one["level"] != Level.ERROR for one in rows)
        yield metric("os_vif_ready", text, [({}, ready)])


_OF_LEVEL = {
    Level.OK: Exit.GOOD,
    Level.WARNING: Exit.FINDINGS,
    Level.ERROR: Exit.HOST_NOT_READY,
}


class HostInfo(TableCommand):
    """List the kinds of VIFs and port profiles that this host can plug, with their versions."""

    EXAMPLES = "os-vif host-info -f yaml"
    COLUMNS: ClassVar[Sequence[str]] = ("plugin", "vif", "versions", "port_profiles")

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Row]:
        """Return a row for each class of VIF of each plugin."""
        return [
            {
                "plugin": plugin.plugin_name,
                "vif": vif.vif_object_name,
                "versions": f"{vif.min_version}-{vif.max_version}",
                "port_profiles": [
                    f"{one.profile_object_name} {one.min_version}-{one.max_version}"
                    for one in vif.supported_port_profiles
                ],
            }
            for plugin in os_vif.host_info().plugin_info
            for vif in plugin.vif_info
        ]


class Check(TableCommand):
    """Report what of VIFs differs from what plug built; nothing is changed.

    Exit status 1 if there is anything.
    """

    EXAMPLES = """
os-vif check vif.yaml
os-vif check - < vif.json
"""
    COLUMNS: ClassVar[Sequence[str]] = ("element", "attribute", "wanted", "found", "repairable")
    MORE_COLUMNS: ClassVar[Sequence[str]] = ("vif_id", "note")

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the files."""
        super().add_arguments(parser)
        vifs.add_files(parser)

    def rows(self, parsed_args: argparse.Namespace) -> Sequence[Row]:
        """Return a row for each finding."""
        described = vifs.read(parsed_args)
        privilege.use_if_possible()
        found = [
            {"vif_id": one.name, **finding.as_dict()}
            for one, findings in vifs.checked(described)
            for finding in findings
        ]
        if found:
            self.found(Exit.FINDINGS)
        elif parsed_args.formatter == "table":
            self.say(f"{vifs.counted(len(described))}: all is as built")
        return found


class Wait(Command):
    """Wait until all of some VIFs are attached, or wired.

    Exit status 1 if they are not by then.
    """

    EXAMPLES = """
os-vif wait vif.yaml
os-vif wait vif.yaml --until wired --timeout 300 --settle 1
"""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what is waited for."""
        vifs.add_files(parser)
        parser.add_argument(
            "--until",
            choices=[str(one) for one in Until],
            default=str(Until.ATTACHED),
            help="attached: the switch has opened the interface; wired: the network service has "
            "done its part, too (default: %(default)s)",
        )
        parser.add_argument(
            "--timeout",
            type=vifs.seconds,
            default=120.0,
            metavar="SECONDS",
            help="how long, for all of them (default: %(default)g)",
        )
        parser.add_argument(
            "--settle",
            type=vifs.seconds,
            default=0.0,
            metavar="SECONDS",
            help="for which it must stay so (default: %(default)g)",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Wait for each, within the time that is left."""
        described = vifs.read(parsed_args)
        end = time.monotonic() + parsed_args.timeout
        with progress(len(described), "waiting") as done:
            for one in described:
                left = max(0.0, end - time.monotonic())
                self._wait(one, left, parsed_args)
                done(1)

    def _wait(self, one: "Described", seconds: float, parsed_args: argparse.Namespace) -> None:
        try:
            with one.place_in_errors():
                os_vif.wait(one.vif, one.instance, parsed_args.until, seconds, parsed_args.settle)
        except ExceptionBase as err:
            if err.code != "not_ready":
                raise
            self.found(of_error(err))
            self.say(f"{one.name}: {cause_of(err)}")
