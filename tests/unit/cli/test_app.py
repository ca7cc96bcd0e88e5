# SPDX-License-Identifier: Apache-2.0
"""The program: its commands, what it imports, its exit statuses."""

import argparse
import inspect
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import eventlet
import oslo_messaging
import pytest
from oslo_config import cfg

import os_vif
import os_vif_start
from os_vif import exception, registry
from os_vif.answers import Finding, PluggedVif, State
from os_vif.batch import Pair, Result
from os_vif.cli import app, change, exits, privilege
from os_vif.cli.exits import Exit, Failure
from os_vif.wiring import errors
from tests import vifs
from vif_plug_ovs import privsep

NAMES = [name for name, (origin, _) in app.COMMANDS.items() if origin.startswith("os_vif")]


def imported(source: str) -> set[str]:
    """The modules that a program imports."""
    code = f"{source}\nimport sys; print(*filter(sys.modules.get, sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_the_library_does_not_import_what_the_command_line_needs() -> None:
    found = imported("import os_vif; os_vif.initialize()")
    assert not found & {"cliff", "rich", "graphviz"}


def test_the_program_does_not_import_what_it_does_not_use() -> None:
    program = "import os_vif_start, sys; sys.argv[1:] = ['--help']; os_vif_start.main()"
    unused = {"greenlet", "kombu", "rich", "graphviz", "ovs", "rfc3986.misc", "yaml"}
    assert not imported(program) & unused


def test_the_stand_in_is_like_what_it_stands_for() -> None:
    theirs = inspect.getmembers(oslo_messaging.NoOpSerializer, inspect.isfunction)
    methods = {name for name, _ in theirs if not name.startswith("__")}
    assert methods == {name for name in vars(os_vif_start._NoOpSerializer) if name[0] != "_"}
    assert not eventlet.patcher.is_monkey_patched("socket")


def test_plugins_of_others_get_the_real_modules() -> None:
    imported(
        "import os_vif_start, sys; os_vif_start.use_stand_ins(); import os_vif;"
        "os_vif_start.end_stand_ins(); os_vif.initialize();"
        "import oslo_messaging; oslo_messaging.Target; import eventlet; eventlet.spawn;"
        "from oslo_utils import strutils; import oslo_versionedobjects.fields as fields, rfc3986;"
        "assert strutils.__file__ and rfc3986.__file__;"
        "assert fields.strutils.bool_from_string('yes')"
    )


def test_garbage_is_collected_once_all_is_imported() -> None:
    imported(
        "import gc, sys, os_vif_start; sys.argv[1:] = ['host-info'];"
        "os_vif_start.main(); assert gc.isenabled()"
    )


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['cliff'] = None; import os_vif_start as start; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code} sys.exit(start.main())"], capture_output=True, text=True
    )
    said = "os-vif needs cliff: pip install 'os-vif[cli]'\n"
    assert (done.returncode, done.stderr) == (3, said)


@pytest.mark.parametrize("arguments", ["--help", "host-info", "host-info --none"])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(arguments: str, closed: str) -> None:
    command = f"{sys.executable} -W ignore -m os_vif_start {arguments} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode == (Exit.USAGE if "--none" in arguments else Exit.GOOD)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_with_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main([name, "--help"]) == Exit.GOOD
    said = capsys.readouterr().out
    assert f"os-vif {name}" in said.partition("examples:")[2]
    lines = [line for line in said.splitlines() if "--format {" not in line]  # cliff's
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_lists_the_commands(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([option]) == Exit.GOOD
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in app.COMMANDS)
    assert max(map(len, said.splitlines())) <= 80


def test_the_help_tells_every_exit_status() -> None:
    lines = app.EXIT_STATUS.splitlines()[1:]
    assert [int(line.split()[0]) for line in lines] == sorted(Exit)


def test_every_code_has_an_exit_status() -> None:
    assert exception.CODES.keys() <= exits.OF_CODE.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--no-such-option"],
        ["plugg"],
        ["hos"],
        ["--deadline", "0", "host-info"],
        ["--deadline=-1", "host-info"],
        ["--deadline", "x", "host-info"],
        ["plug"],
        ["list", "-f", "xml"],
        ["list", "-c", "colour"],
        ["--config-file", "/none", "list"],
        ["wait", "x", "--timeout", "-1"],
        ["wait", "x", "--until", "ready"],
        ["plug", "/none"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(arguments) == Exit.USAGE
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("garbage", 1, "'garbage' is neither an id nor listed"),
        (f"{vifs.vif_id()}\n# all\nNone", 3, "'None' is neither"),
        (vifs.vif_id().upper(), 1, "is neither"),
        (f"\n{vifs.vif_id()} {vifs.vif_id(2)}", 2, "one id in a line is expected"),
    ],
)
def test_what_is_no_list_of_ids(
    text: str,
    line: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One word, as of an error message, would make the whole host garbage."""
    listed = PluggedVif("br100", "linux_bridge", "bridge", None, (), "br100", None, State.IDLE)
    given: list[list[str]] = []
    monkeypatch.setattr(os_vif, "list_vifs", lambda plugin: (listed,))
    monkeypatch.setattr(os_vif, "gc", lambda valid, **options: given.append(valid) or ())
    path = tmp_path / "ids.txt"
    path.write_text(text)
    assert app.main(["gc", "--valid", str(path), "--dry-run"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert f"{path}, line {line}: " in said
    assert reason in said
    path.write_text(f"br100\n{vifs.vif_id()}  # both\n")
    assert app.main(["gc", "--valid", str(path), "--dry-run"]) == Exit.GOOD
    assert given == [["br100", vifs.vif_id()]]


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        (["list"], 10),
        (["gc", "--allow-empty", "--valid=/dev/null"], 120),
        (["gc", "--allow-empty", "--valid=/dev/null", "--dry-run"], 10),
        (["plug", "{}"], 120),
        (["plug", "{}", "--dry-run"], 10),
        (["--deadline=30", "plug", "{}", "--dry-run"], 30),
    ],
)
def test_what_changes_nothing_has_the_short_limit(
    arguments: list[str], seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, used = tmp_path / "vif.json", set()

    def verb(*given: object, **options: object) -> list[object]:
        used.add(cfg.CONF.os_vif_ovs.ovs_vsctl_timeout)
        return []

    pair = {"vif": vifs.vif_bridge().obj_to_primitive(), "instance": {"uuid": vifs.vif_id()}}
    path.write_text(json.dumps(pair))
    for name in ("check", "gc", "list_vifs"):
        monkeypatch.setattr(os_vif, name, verb)
    monkeypatch.setattr(
        change.Plug, "verb", staticmethod(lambda pairs: verb() or [Result(pairs[0][0], None)])
    )
    monkeypatch.setattr(privilege, "need", lambda plugins: None)
    monkeypatch.setattr(privilege, "use_if_possible", lambda: None)
    assert app.main([one.format(path) for one in arguments]) == Exit.GOOD
    assert used == {seconds}


@pytest.mark.parametrize(("repairable", "status"), [(True, 0), (False, 1)])
def test_plug_would_leave_or_refuse(
    repairable: bool,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A finding does not tell whether plug leaves it as it is, or refuses the VIF."""
    path, found = tmp_path / "vif.json", Finding("link x", "owner", "a", "b", repairable)
    pair = {"vif": vifs.vif_bridge().obj_to_primitive(), "instance": {"uuid": vifs.vif_id()}}
    path.write_text(json.dumps(pair))
    monkeypatch.setattr(os_vif, "check", lambda vif, instance: (found,))
    monkeypatch.setattr(privilege, "use_if_possible", lambda: None)
    assert app.main(["plug", str(path), "--dry-run", "-f", "json"]) == status
    (row,) = json.loads(capsys.readouterr().out)
    assert row["outcome"] == ("would plug" if repairable else "would leave or refuse")


def test_a_configuration_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nova.conf"
    path.write_text("[os_vif_ovs\n")
    assert app.main(["--config-file", str(path), "list"]) == Exit.USAGE
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("group", ["os_vif_ovs", "vif_plug_ovs_privileged"])
def test_an_option_that_is_wrong(
    group: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nova.conf"
    name = {"os_vif_ovs": "ovs_vsctl_timeout"}.get(group, "thread_pool_size")
    path.write_text(f"[{group}]\n{name} = abc\n")
    assert app.main(["--config-file", str(path), "host-info"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert f"{path}: [{group}] {name}: " in said
    assert "abc" in said


@pytest.mark.parametrize(("plugin", "status"), [("nosuch", Exit.USAGE), ("ovs", Exit.GOOD)])
def test_gc_of_one_plugin(
    plugin: str, status: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os_vif, "gc", lambda valid, **options: ())
    given = ["gc", "--valid=/dev/null", "--allow-empty", "--dry-run", "--plugin", plugin]
    assert app.main(given) == status
    assert ("nosuch" in capsys.readouterr().err) == (status is Exit.USAGE)


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_a_plugin_that_cannot_be_loaded(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = metadata.EntryPoint("broken", "no.such.module:Plugin", registry.NAMESPACE)
    every = [*registry._entry_points(), broken]
    monkeypatch.setattr(registry, "_entry_points", lambda: every)
    assert app.main([*options, "host-info"]) == Exit.GOOD
    said = capsys.readouterr().err
    assert "ERROR: os-vif plugin broken (no.such.module:Plugin) could not be loaded" in said
    assert ("Traceback" in said) == bool(options)


def test_an_ordinary_user_with_a_configured_helper_needs_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(privsep.vif_plug, "start", lambda method: pytest.fail("started"))
    with pytest.raises(Failure, match="run the command as root, or set helper_command"):
        privilege.need(["ovs", "noop"])
    cfg.CONF.set_override("helper_command", "helper", group="vif_plug_ovs_privileged")
    try:
        privilege.need(["ovs"])
    finally:
        cfg.CONF.clear_override("helper_command", group="vif_plug_ovs_privileged")


@pytest.mark.parametrize(
    ("text", "user", "said"),
    [
        ("unix:db.sock: Permission denied", 1000, "open to root alone"),
        ("[Errno 2] No such file or directory: 'sudo'", 1000, "helper_command"),
        ("unix:db.sock: Connection refused", 1000, ""),
        ("unix:db.sock: Permission denied", 0, ""),
    ],
)
def test_hints(text: str, user: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    found = list(privilege.hints(text))
    assert (len(found), said in "".join(found)) == (bool(said), True)
    assert "--plugin" not in "".join(found)  # which not every command has


def test_the_global_options_may_stand_after_the_command() -> None:
    options, rest = app.Program().parser.parse_known_args(
        ["list", "--config-file", "x", "-f", "json"]
    )
    assert isinstance(options, argparse.Namespace)
    assert (options.config_file, rest) == (["x"], ["list", "-f", "json"])


ERRORS = {
    errors.OutcomeUnknown(remote="x"): Exit.OUTCOME_UNKNOWN,
    errors.NotConnected(remote="x", reason="y"): Exit.HOST_NOT_READY,
    errors.Contradiction(report="x"): Exit.FINDINGS,
    ValueError("x"): Exit.HOST_NOT_READY,
    exception.InvalidValue(field="vif.id", value=1, reason="x"): Exit.USAGE,
}


def test_of_several_vifs_the_gravest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, wanted = tmp_path / "vifs.json", iter(ERRORS)
    pairs = [
        {"vif": vifs.vif_bridge(number).obj_to_primitive(), "instance": {"uuid": vifs.vif_id()}}
        for number in range(len(ERRORS))
    ]
    path.write_text(json.dumps(pairs))

    def failing(given: list[Pair]) -> list[Result]:
        results = []
        for vif, _ in given:
            error = exception.PlugException(vif=vif, err="x")
            error.__cause__ = next(wanted)
            exception._take_after(error, error.__cause__)
            results.append(Result(vif, error))
        return results

    monkeypatch.setattr(privilege, "need", lambda plugins: None)
    monkeypatch.setattr(change.Plug, "verb", staticmethod(failing))
    assert app.main(["plug", str(path), "-f", "json"]) == Exit.OUTCOME_UNKNOWN
    rows = json.loads(capsys.readouterr().out)
    assert [exits.OF_CODE[row["outcome"]] for row in rows] == [*ERRORS.values()]
    assert "line 1: Invalid value of vif.id" in rows[-1]["detail"]
