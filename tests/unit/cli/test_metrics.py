# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told, and the alert rules that go by it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import os_vif
from os_vif.answers import Condition, Level, PluggedVif, State
from os_vif.cli import app
from os_vif.cli.watched import Metric

RULES = Path(__file__).parents[3] / "doc/source/cli/alerts.yaml"


def vif(number: int, kind: str, state: State) -> PluggedVif:
    return PluggedVif(str(number), "ovs", kind, None, (), "br-int", number, state)


VIFS = (
    vif(1, "hybrid", State.IN_USE),
    vif(2, "hybrid", State.IN_USE),
    vif(3, "hybrid", State.ORPHAN),
    vif(4, "openvswitch", State.ORPHAN),
)
CONDITIONS = (
    Condition("ovs", "OVSDB", Level.OK, "answers", value=0.002, unit="s"),
    Condition("ovs", "ports", Level.WARNING, "many", "Fewer.", value=2000, unit="ports"),
    Condition("noop", "plugin", Level.ERROR, 'it said "no"\n'),
)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(os_vif, "list_vifs", lambda plugin: VIFS)
    monkeypatch.setattr(os_vif, "status", lambda: CONDITIONS)

    def run(*arguments: str) -> tuple[int, str]:
        return app.main(arguments), capsys.readouterr().out

    return run


def samples(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_of_list(said: Any) -> None:
    status, text = said("list", "-f", "prometheus")
    assert status == 0
    assert samples(text) == [
        'os_vif_vifs{plugin="ovs",kind="hybrid",state="in use"} 2',
        'os_vif_vifs{plugin="ovs",kind="hybrid",state="orphan"} 1',
        'os_vif_vifs{plugin="ovs",kind="openvswitch",state="orphan"} 1',
        "os_vif_orphans 2",
    ]


def test_of_status(said: Any) -> None:
    status, text = said("status", "-f", "prometheus")
    assert status == 3
    assert samples(text) == [
        'os_vif_condition{plugin="noop",subject="plugin"} 2',
        'os_vif_condition{plugin="ovs",subject="ports"} 1',
        'os_vif_condition{plugin="ovs",subject="OVSDB"} 0',
        'os_vif_condition_seconds{plugin="ovs",subject="OVSDB"} 0.002',
        "os_vif_ready 0",
    ]


def test_status_says_what_to_do(said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["status"]) == 3
    done = capsys.readouterr()
    assert done.err == "ovs, ports: Fewer.\n"
    assert re.findall(r"^\| (ok|warning|error) ", done.out, re.MULTILINE) == [
        "error",
        "warning",
        "ok",
    ]


def test_labels_are_escaped() -> None:
    text = str(Metric("m", "Help.", [({"a": 'x"\\\n'}, 1.5)]))
    assert samples(text) == ['m{a="x\\"\\\\\\n"} 1.5']


@pytest.mark.parametrize("more", [["--watch"], ["-c", "vif_id"]])
def test_prometheus_takes_all_of_it(said: Any, more: list[str]) -> None:
    assert said("list", "-f", "prometheus", *more) == (2, "")


def test_the_rules_go_by_what_is_printed(said: Any) -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    known = re.findall(r"# TYPE (\S+)", said("list", "-f", "prometheus")[1])
    known += re.findall(r"# TYPE (\S+)", said("status", "-f", "prometheus")[1])
    used = {
        name for rule in rules for name in re.findall(r"\bos_vif_[a-z_]*[a-z]\b", rule["expr"])
    }
    assert used == {"os_vif_ready", "os_vif_condition_seconds", "os_vif_orphans"}
    assert used <= set(known)


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool")
def test_promtool_takes_both(said: Any) -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True)
    for command in ("list", "status"):
        text = said(command, "-f", "prometheus")[1]
        subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)
