# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told, and the alert rules that go by it."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import os_vif
from os_vif.answers import Condition, Level, PluggedVif, State
from os_vif.cli import app

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
    Condition("noop", 'a "plugin"\n', Level.ERROR, "no"),
)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(os_vif, "list_vifs", lambda plugin: VIFS)
    monkeypatch.setattr(os_vif, "status", lambda: CONDITIONS)

    def run(*arguments: str) -> tuple[int, str]:
        return app.main(arguments), capsys.readouterr().out

    return run


def samples(text: str) -> list[tuple[str, list[str], float]]:
    """Name, values of the labels, and value of each sample, as Prometheus reads them."""
    families = [*text_string_to_metric_families(text)]
    assert {(one.type, bool(one.documentation)) for one in families} == {("gauge", True)}
    every = [sample for one in families for sample in one.samples]
    return [(one.name, [*one.labels.values()], one.value) for one in every]


def test_of_list(said: Any) -> None:
    status, text = said("list", "-f", "prometheus")
    assert status == 0
    assert samples(text) == [
        ("os_vif_vifs", ["ovs", "hybrid", "in use"], 2),
        ("os_vif_vifs", ["ovs", "hybrid", "orphan"], 1),
        ("os_vif_vifs", ["ovs", "openvswitch", "orphan"], 1),
        ("os_vif_orphans", [], 2),
    ]


def test_of_status(said: Any) -> None:
    status, text = said("status", "-f", "prometheus")
    assert status == 3
    assert samples(text) == [
        ("os_vif_condition", ["noop", 'a "plugin"\n'], 2),
        ("os_vif_condition", ["ovs", "ports"], 1),
        ("os_vif_condition", ["ovs", "OVSDB"], 0),
        ("os_vif_condition_seconds", ["ovs", "OVSDB"], 0.002),
        ("os_vif_ready", [], 0),
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


def test_what_is_watched_and_not_there(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    monkeypatch.setattr(os_vif, "list_vifs", lambda plugin: ())
    assert said("list", "--watch") == (0, "nothing is listed\n")
    assert said("list", "--watch", "-f", "json") == (0, "[]\n")


@pytest.mark.parametrize(
    "more",
    [
        ["--watch"],
        ["-c", "vif_id"],
        ["--state", "idle"],
        ["--instance", "x"],
        ["--plugin", "ovs"],
    ],
)
def test_prometheus_takes_all_of_it(said: Any, more: list[str]) -> None:
    assert said("list", "-f", "prometheus", *more) == (2, "")


@pytest.mark.parametrize(("printed", "left"), [("", "before\n"), ("now", "now\n")])
def test_a_file_of_metrics_is_replaced_by_metrics_only(
    printed: str, left: str, tmp_path: Path
) -> None:
    """The exit status is not what says so: it is 3 where a host cannot plug."""
    recipe = re.search(r"from cron::\n\n((?:   .*\n)+)", (RULES.parent / "index.rst").read_text())
    assert recipe
    script = recipe[1].replace("/var/lib/node_exporter", str(tmp_path))
    files = [tmp_path / f"os_vif_{name}.prom" for name in ("status", "list")]
    for file in files:
        file.write_text("before\n")
    program = f"os-vif() {{ {f'echo {printed}' if printed else ':'}; return 3; }}"
    subprocess.run(["bash", "-c", f"{program}\n{script}"], check=False)
    assert [file.read_text() for file in files] == [left, left]


def test_the_rules_go_by_what_is_printed(said: Any) -> None:
    """promtool says whether they are well formed: see the pages on testing."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    expressions = " ".join(rule["expr"] for rule in group["rules"])
    assert "absent(os_vif_ready)" in expressions
    used = set(re.findall(r"\bos_vif_[a-z_]*[a-z]\b", expressions))
    known = {
        name
        for command in ("list", "status")
        for name, _, _ in samples(said(command, "-f", "prometheus")[1])
    }
    assert used == known - {"os_vif_vifs", "os_vif_condition"}
