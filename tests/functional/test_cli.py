# SPDX-License-Identifier: Apache-2.0
"""The command line, driven as a person drives it, beside what ovs-vsctl and ip say."""

import contextlib
import csv
import json
import os
import pty
import re
import resource
import select
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, PER_PORT_ONLY, TAP, Kind
from tests.rig.relay import Relay
from tests.rig.snapshot import difference, links, snapshot

ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    """What a command did."""

    status: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        """Its output, which is JSON."""
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


@dataclass
class Program:
    """The program os-vif, with the configuration of a private Open vSwitch."""

    folder: Path
    ovs: PrivateOvs
    prefix: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(
        default_factory=lambda: {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    )

    def __post_init__(self) -> None:
        self.configuration = self.folder / "os-vif.conf"
        self.configure()

    def configure(self, **options: object) -> None:
        """Write the options of the plugin."""
        every = {"ovsdb_connection": self.ovs.remote, "ovs_vsctl_timeout": 20, **options}
        lines = [f"{name} = {value}" for name, value in every.items()]
        self.configuration.write_text("\n".join(["[os_vif_ovs]", *lines, ""]))

    def argv(self, *arguments: str) -> list[str]:
        """The command line."""
        start = [sys.executable, "-m", "os_vif_start", "--config-file", str(self.configuration)]
        return [*self.prefix, *start, *arguments]

    def __call__(self, *arguments: str, given: str = "") -> Done:
        """Run it.

        :param given: its standard input.
        """
        done = subprocess.run(
            self.argv(*arguments),
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def file_of(self, kind: Kind, *numbers: int, **overrides: Any) -> str:
        """Write a file with VIFs of a kind, as primitives."""
        pairs = [
            {
                "vif": kind.vif(number, **overrides).obj_to_primitive(),
                "instance": vifs.instance(number).obj_to_primitive(),
            }
            for number in numbers or (1,)
        ]
        path = self.folder / f"{kind.name}.json"
        path.write_text(json.dumps(pairs, indent=2))
        return str(path)


@pytest.fixture
def program(tmp_path: Path, ovs: PrivateOvs, br_int: str) -> Program:
    return Program(tmp_path, ovs)


KINDS = pytest.mark.parametrize("kind", [TAP, HYBRID, PER_PORT_ONLY], ids=lambda kind: kind.name)


@KINDS
def test_a_vif_comes_and_goes(kind: Kind, program: Program, ovs: PrivateOvs) -> None:
    program.configure(**kind.options)
    file, before = program.file_of(kind), snapshot(ovs)

    would = program("plug", file, "--dry-run", "-f", "json")
    assert would.status == 0
    assert {one["outcome"] for one in would.rows()} == {"would plug"}
    assert program("check", file).status == 1
    assert not difference(before, snapshot(ovs))

    (done,) = program("plug", file, "-f", "json").rows()
    assert (done["vif_id"], done["outcome"]) == (vifs.vif_id(), "plugged")
    assert set(kind.link_names()) <= set(links())
    plugged = snapshot(ovs)

    (listed,) = program("list", "-f", "json").rows()
    port = next(p for p in listed["devices"] if "iface-id" in ids_of(ovs, p))
    assert listed["ofport"] == int(ovs.vsctl("get", "Interface", port, "ofport"))
    assert listed["bridge"] == ovs.vsctl("port-to-br", port).strip()
    assert listed["instance"] == ids_of(ovs, port)["vm-uuid"]
    assert program("check", file) == Done(0, "", "1 VIF: all is as built\n")
    assert not difference(plugged, snapshot(ovs))

    (would_go,) = program("unplug", file, "--dry-run", "-f", "json").rows()
    assert set(would_go["detail"].split(", ")) == set(listed["devices"])
    assert not difference(plugged, snapshot(ovs))
    assert program("unplug", file).status == 0
    assert program("unplug", file).status == 0
    ovs.catch_up()
    assert not difference(before, snapshot(ovs))


def test_unplug_would_do_what_the_list_proves(program: Program) -> None:
    """Of a VIF that the list does not have by its id and plugin it cannot be told."""

    def would(file: str) -> tuple[int, str, str]:
        done = program("unplug", "--dry-run", file, "-f", "json")
        (row,) = done.rows()
        return done.status, row["outcome"], row["detail"]

    file = program.file_of(HYBRID)
    assert would(file) == (0, "not listed", "ovs lists nothing of this id")
    program("plug", file)
    with HYBRID.guest():
        status, outcome, detail = would(file)
    ours = {vifs.device(prefix) for prefix in ("qbr", "qvb", "qvo")}
    assert (status, outcome, set(detail.split(", "))) == (0, "would unplug", ours)
    assert would(program.file_of(HYBRID, plugin="noop"))[:2] == (2, "not_supported")
    assert would(program.file_of(HYBRID, plugin="none"))[:2] == (2, "no_plugin")
    anonymous = would(program.file_of(HYBRID, unset=["id"]))
    assert anonymous == (2, "not_supported", "a VIF without an id cannot be told in the list")


def ids_of(ovs: PrivateOvs, name: str) -> Mapping[str, str]:
    rows = ovs.dump()["Interface"]
    return rows[name]["external_ids"] if name in rows else {}


def test_all_formats_say_the_same(program: Program) -> None:
    assert program("plug", program.file_of(TAP, 1, 2)).status == 0
    columns = ["vif_id", "bridge", "ofport"]
    options = [word for name in columns for word in ("-c", name)]
    said = {
        name: program("list", "-f", name, *options).out
        for name in ("json", "yaml", "csv", "value", "table")
    }
    rows = json.loads(said["json"])
    assert {one["vif_id"] for one in rows} == {vifs.vif_id(1), vifs.vif_id(2)}
    assert yaml.safe_load(said["yaml"]) == rows
    backwards = ["--sort-column", "vif_id", "--sort-descending"]
    assert json.loads(program("list", "-f", "json", *options, *backwards).out) == rows[::-1]
    texts = [{key: str(value) for key, value in one.items()} for one in rows]
    assert list(csv.DictReader(said["csv"].splitlines())) == texts
    values = [" ".join(one.values()) for one in texts]
    assert said["value"].splitlines() == values
    cells = [line.strip("| ").split() for line in said["table"].splitlines() if "|" in line]
    assert [" ".join(c for c in line if c != "|") for line in cells] == [
        " ".join(columns),
        *values,
    ]


def test_the_manual_shows_what_is_printed(tmp_path: Path, ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.vsctl("add-br", "br-int")
    program = Program(tmp_path, ovs_dummy)
    page = (ROOT / "doc/source/cli/index.rst").read_text()
    yaml_block, *examples = (
        textwrap.dedent(text)
        for text in re.findall(r"code-block:: (?:yaml|console)\n\n((?:   .*\n|\n)+)", page)
    )
    (tmp_path / "vif.yaml").write_text(yaml_block)
    wanted = "".join(f"{text.rstrip()}\n" for text in examples)
    commands = re.findall(r"^\$ (.*)", wanted, re.MULTILINE)
    script = [
        "exec 2>&1",
        f'os-vif() {{ {shlex.join(program.argv())} "$@"; }}',
        f'ovs-vsctl() {{ command ovs-vsctl --db={ovs_dummy.remote} "$@"; }}',
        *(f"echo {shlex.quote(f'$ {command}')}; {command}" for command in commands),
    ]
    done = run(["bash", "-c", "\n".join(script)], cwd=tmp_path, env=program.environment)
    assert done.stdout.splitlines() == wanted.splitlines()


def test_gc(program: Program, ovs: PrivateOvs) -> None:
    program("plug", program.file_of(HYBRID, 1, 2))
    both = snapshot(ovs)
    ids = f"# of this host\n{vifs.vif_id(1)}\n\n"
    for options in (["--dry-run"], ["--dry-run", "--all"]):
        would = program("gc", "--valid", "-", "--grace", "0", "-f", "json", *options, given=ids)
        assert would.status == 1
        decided = {one["vif_id"]: one["decision"] for one in would.rows()}
        assert decided.pop(vifs.vif_id(2)) == "would remove"
        assert decided == ({vifs.vif_id(1): "keep"} if "--all" in options else {})
    assert program("gc", "--valid", "/dev/null").status == 2
    assert program("gc", "--valid", "-", "--grace", "0", given="Unauthorized\n").status == 2
    assert not difference(both, snapshot(ovs))
    done = program("gc", "--valid", "-", "--grace", "0", given=ids)
    assert (done.status, done.err) == (0, "1 VIF removed, 1 kept\n")
    (left,) = program("list", "-f", "json").rows()
    assert left["vif_id"] == vifs.vif_id(1)


def test_one_bad_vif_of_several(program: Program, ovs: PrivateOvs) -> None:
    text = Path(program.file_of(TAP, 1, 2)).read_text()
    pairs = json.loads(text)
    data = "versioned_object.data"
    del pairs[1]["vif"][data]["network"][data]["bridge"]
    path = program.folder / "two.json"
    path.write_text(json.dumps(pairs, indent=2))
    done = program("plug", str(path), "-f", "json")
    assert done.status == 2
    good, bad = done.rows()
    assert (good["outcome"], bad["outcome"]) == ("plugged", "bad_input")
    line = 1 + path.read_text()[: path.read_text().rindex('"network": {')].count("\n")
    assert f"two.json, line {line}: " in bad["detail"]
    assert "vif.network.bridge" in bad["detail"]


def test_a_host_that_is_not_ready(program: Program, ovs: PrivateOvs) -> None:
    file = program.file_of(TAP)
    ovs.freeze("vswitchd")
    done = program("--deadline", "1", "plug", file, "-f", "json")
    # On a slow machine the half second for the rollback may be over, too.
    assert (done.status, done.rows()[0]["outcome"]) in [(3, "deadline"), (4, "outcome_unknown")]
    ovs.thaw("vswitchd")
    ovs.kill("ovsdb-server")
    gc = ["gc", "--valid", "/dev/null", "--allow-empty", "--plugin", "ovs"]
    for command in (["list"], ["show", "--all"], ["check", file], gc):
        started = time.monotonic()
        done = program("--deadline", "1", *command)
        assert done.status == 3
        assert "No connection to the OVSDB server" in done.out + done.err
        assert time.monotonic() - started < 15


def test_a_server_that_vanishes_leaves_the_outcome_unknown(
    program: Program, ovs: PrivateOvs
) -> None:
    file = program.file_of(TAP)
    with Relay(ovs.remote) as relay:
        program.configure(ovsdb_connection=relay.remote, ovs_vsctl_timeout=3)
        relay.lose_answer_to(b"+=", then=lambda: ovs.kill("ovsdb-server"))
        done = program("plug", file, "-f", "json")
    assert (done.status, done.rows()[0]["outcome"]) == (4, "outcome_unknown")
    ovs.start_server()
    program.configure()
    assert program("plug", file).status == 0
    assert program("check", file).status == 0


def test_wait(program: Program, ovs: PrivateOvs) -> None:
    file = program.file_of(TAP)
    assert program("plug", file).status == 0
    assert program("wait", file, "--timeout", "10") == Done(0, "", "")
    ovs.vsctl("set", "Port", TAP.port(), "tag=4095")
    done = program("wait", file, "--until", "wired", "--timeout", "1")
    assert done.status == 1
    assert done.err.startswith(f"{vifs.vif_id()}: Not wired after 1 s")
    with subprocess.Popen(
        program.argv("wait", file, "--until", "wired", "--timeout", "30"), env=program.environment
    ) as waiting:
        time.sleep(3)
        assert waiting.poll() is None
        ovs.vsctl("set", "Port", TAP.port(), "tag=7", "other_config:tag=7")
        assert waiting.wait(20) == 0


def test_status_is_that_of_the_host(program: Program, ovs: PrivateOvs) -> None:
    good = program("status", "-f", "json")
    assert {one["level"] for one in good.rows()} <= {"ok", "warning"}
    assert good.status in (0, 1)
    ovs.kill("ovsdb-server")
    bad = program("--deadline", "1", "status", "-f", "json")
    assert bad.status == 3
    (first, *_) = bad.rows()
    assert (first["level"], first["plugin"]) == ("error", "ovs")
    assert program("--deadline", "1", "list", "--plugin", "noop").status == 2


# The wiring as a picture ------------------------------------------------------------------------

#: What is drawn of each kind with a guest, from the guest to the integration bridge. The guest of
#: the hybrid has one end of a veth pair in place of its tap.
CHAINS = {
    "tap": ["tap tap", "OVS port tap"],
    "hybrid": ["veth tap", "Linux bridge qbr", "veth qvb", "veth qvo", "OVS port qvo"],
}


@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
def test_show_is_the_host(kind: Kind, program: Program, ovs: PrivateOvs) -> None:
    file = program.file_of(kind)
    program("plug", file)
    with kind.guest():
        ovs.vsctl("set", "Port", kind.port(), "tag=7", "other_config:tag=7")
        (drawn,) = program("show", vifs.vif_id()[:8], "-f", "json").rows()
        text = program("show", kind.port())
        dot = program("show", "--all", "--format", "dot")
        svg = ElementTree.fromstring(program("show", "--all", "--format", "svg").out)
        found, rows = links(), ovs.dump()
    titles = [f"{node['what']} {node['name']}" for node in drawn["nodes"]]
    assert titles[0] == f"instance {vifs.instance_id()}"
    tail = vifs.vif_id()[:11]
    assert titles[1:-1] == [f"{start}{tail}" for start in CHAINS[kind.name]]
    assert titles[-1] == "OVS bridge br-int"
    for node in drawn["nodes"]:
        name, facts = node["name"], node["facts"]
        if node["what"] == "OVS port":
            assert facts["ofport"] == int(ovs.vsctl("get", "Interface", name, "ofport"))
            assert facts["tag"] == 7
            assert facts["iface-id"] == rows["Interface"][name]["external_ids"]["iface-id"]
        elif name in found and node["what"] != "OVS bridge":
            its = {key: found[name][key] for key in ("mac", "mtu", "up")}
            assert {key: facts[key] for key in its} == its
        assert name in text.out
        assert name in dot.out
        assert any(name in text for text in svg.itertext())
    assert text.status == 0
    assert len(dot.out.split("OVS bridge")) == 2


def test_show_marks_the_damage(program: Program, ovs: PrivateOvs) -> None:
    file = program.file_of(HYBRID)
    missing = program("show", "--described", file)
    assert missing.status == 1
    assert f"- o OVS port {HYBRID.port()} (missing)" in missing.out
    program("plug", file)
    good = program("show", "--described", file)
    assert good.status == 0
    assert all(line.startswith(("VIF", " ")) for line in good.out.splitlines())
    qbr, qvb, qvo = (vifs.device(prefix) for prefix in ("qbr", "qvb", "qvo"))
    run(["ip", "link", "delete", "dev", qbr])
    run(["ip", "link", "set", "dev", qvo, "mtu", "1300"])
    done = program("show", "--described", file)
    lines = done.out.splitlines()
    assert done.status == 1
    assert f"- o Linux bridge {qbr} (missing)" in lines
    assert f"! o veth {qvb}" in lines
    assert "! |   mtu should be 1450 and is 1300" in lines
    for columns in (80, 200):
        screen = on_terminal(program, columns, "show", "--described", file)
        assert "\x1b[31m- o Linux bridge" in screen  # red
        names = visible(screen).splitlines()
        assert max(map(len, names[1:])) <= columns


def test_show_of_what_is_not_there(program: Program) -> None:
    assert program("show", "0000").status == 1
    assert program("show").status == 2
    assert program("show", "--all", "x").status == 2
    assert program("show", "--all").status == 0
    program("plug", program.file_of(TAP, 1, 2))
    assert program("show", "a000").status == 2  # both


#: A user without privilege; but for this one, the files of the interpreter may be root's alone.
READS = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
ORDINARY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *READS]


@pytest.mark.skipif(
    bool(subprocess.call([*ORDINARY, "true"], stderr=subprocess.DEVNULL)),
    reason="there is one user in this namespace",
)
def test_an_ordinary_user(program: Program, ovs: PrivateOvs) -> None:
    given, socket = Path(program.file_of(TAP)).read_text(), Path(ovs.rundir, "db.sock")
    assert program("plug", "-", given=given).status == 0
    program.prefix = ORDINARY
    program.environment = {**program.environment, "HOME": "/nonexistent"}
    socket.chmod(0o777)
    assert program("list", "-f", "value", "-c", "vif_id").out.strip() == vifs.vif_id()
    assert program("check", "-", given=given).status == 0
    for command in (["unplug", "-"], ["plug", "-"], ["gc", "--valid", "-", "--plugin", "ovs"]):
        done = program(*command, given=vifs.vif_id() if "gc" in command else given)
        assert done.status == 3
        assert "run the command as root, or set helper_command in" in done.err
    assert "run the command as root" in program("status").err
    socket.chmod(0o700)
    done = program("--deadline", "1", "list")
    assert done.status == 3
    assert "run the command as root" in done.err


CLEAR = "\x1b[H\x1b[J"


class Screen:
    """A command on a terminal of its own."""

    def __init__(self, program: Program, columns: int, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        self.said = ""
        run(["stty", "-F", os.ttyname(theirs), "cols", str(columns), "rows", "40"])
        environment = {k: v for k, v in program.environment.items() if k != "COLUMNS"}
        self.process = subprocess.Popen(
            program.argv(*arguments),
            env={**environment, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=os.setsid,
        )
        os.close(theirs)

    def wait_for(self, text: str) -> str:
        """Return what is on the screen when a text has come."""
        end = time.monotonic() + 30
        while text not in self.said.rpartition(CLEAR)[2] and time.monotonic() < end:
            if select.select([self.ours], [], [], 1)[0]:
                self.said += os.read(self.ours, 65536).decode()
        screen = self.said.rpartition(CLEAR)[2]
        assert text in screen
        return screen

    def interrupt(self) -> None:
        """Press Ctrl-C, as the terminal passes it on."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Read what is left; return the exit status."""
        with contextlib.suppress(OSError):  # how a terminal ends
            while select.select([self.ours], [], [], 60)[0]:
                self.said += os.read(self.ours, 65536).decode()
        os.close(self.ours)
        return self.process.wait(30)


def on_terminal(program: Program, columns: int, *arguments: str) -> str:
    """What a command prints on a terminal of that width."""
    screen = Screen(program, columns, *arguments)
    screen.end()
    return screen.said.replace("\r\n", "\n")


def visible(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("columns", [80, 200])
def test_screens_fit(program: Program, columns: int) -> None:
    file = program.file_of(HYBRID, 1, 2)
    screens = {"plug": on_terminal(program, columns, "plug", file)}
    for arguments in (["list"], ["list", "--long"], ["status", "--long"], ["host-info"]):
        screens[" ".join(arguments)] = on_terminal(program, columns, *arguments)
    for name, said in screens.items():
        assert max(len(visible(line)) for line in said.splitlines()) <= columns, name
    gc = on_terminal(
        program, columns, "gc", "--valid", "/dev/null", "--allow-empty", "--dry-run", "--grace=0"
    )
    for said in (screens["list"], gc):  # in one piece
        assert vifs.vif_id() in said
    assert max(map(len, visible(gc).splitlines()[-5:])) <= columns


@pytest.mark.parametrize("command", [["list"], ["show", "--all"], ["list", "-f", "json"]])
def test_a_pipe_that_is_closed(program: Program, command: list[str]) -> None:
    program("plug", program.file_of(TAP))
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        program.argv(*command),
        env=program.environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert done.returncode in (0, 141)  # as of the signal; or all was in a buffer
    assert done.stderr == ""


def test_no_colour_when_piped(program: Program) -> None:
    program("plug", program.file_of(TAP))
    for command in (["list"], ["status"], ["--help"]):
        assert "\x1b" not in program(*command).out


def test_watch_redraws_what_has_changed(program: Program, ovs: PrivateOvs) -> None:
    program("plug", program.file_of(HYBRID, 1, 2))
    screen = Screen(program, 80, "list", "--watch", "0.2")
    assert screen.wait_for(vifs.vif_id(2)).startswith("os-vif list, every 0.2 s; last change")
    time.sleep(1)
    assert screen.said.count(CLEAR) == 1  # nothing has changed
    run(["ip", "link", "delete", "dev", vifs.device("qbr", 2)])
    assert vifs.vif_id(1) in screen.wait_for("orphan")
    screen.interrupt()
    assert screen.end() == 0


#: What the script uses of the package bash-completion, which need not be installed.
BASH_COMPLETION = """
_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]}; words=("${COMP_WORDS[@]}"); }
"""


def test_bash_completes(program: Program) -> None:
    script = program("complete").out

    def completed(*words: str) -> list[str]:
        line = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _os_vif"
        done = run(
            ["bash", "-c", f'{BASH_COMPLETION}\n{script}\n{line}\necho "${{COMPREPLY[@]}}"']
        )
        return sorted(done.stdout.split())

    assert {"check", "gc", "host-info", "list", "show"} <= set(completed("os-vif", ""))
    assert {"--valid", "--dry-run", "--grace"} <= set(completed("os-vif", "gc", "--"))


def spent(program: Program, *argv: str) -> float:
    """Seconds of a processor that a command takes, at best."""
    costs = []
    for _ in range(4):  # the first compiles
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, env=program.environment, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(costs)


def test_it_starts_quickly(program: Program, tmp_path: Path) -> None:
    """In a third of a second on a machine that does nothing else, where Python itself starts in a
    fiftieth; neighbours in its caches cost more than is measured by that."""
    environment = {**program.environment, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs are compiled
    program.environment = environment
    slower = max(1.0, spent(program, sys.executable, "-c", "import oslo_config") / 0.02)
    for command in (["--help"], ["list"]):
        assert spent(program, *program.argv(*command)) < 0.35 * slower
