# SPDX-License-Identifier: Apache-2.0
"""Each verb leaves one line in the log, and calls who has registered."""

import contextlib
import importlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import prometheus_client
import pytest

import os_vif
from os_vif import exception, observers
from tests import vifs
from tests.unit.conftest import Installed


@pytest.fixture
def seen() -> Iterator[list[observers.Verb]]:
    found: list[observers.Verb] = []
    end = os_vif.observe(found.append)
    yield found
    end()


def test_a_verb_is_told_with_its_outcome(
    installed: Installed, seen: list[observers.Verb], caplog: pytest.LogCaptureFixture
) -> None:
    os_vif.initialize()
    vif = vifs.vif_vhost_user(plugin="noop")
    with caplog.at_level(logging.INFO):
        os_vif.plug(vif, vifs.instance())
    (plug,) = seen
    assert (plug.name, plug.plugin, plug.vif_id) == ("plug", "noop", vifs.vif_id())
    assert (plug.kind, plug.outcome, plug.vifs) == ("VIFVHostUser", "ok", 1)
    assert plug.tally == observers.Tally()
    line = f"verb=plug plugin=noop vif={vifs.vif_id()} kind=VIFVHostUser ms="
    assert re.search(
        line + r"\d+\.\d waits=0 transactions=0 privileged_calls=0 vifs=1", caplog.text
    )


def test_the_outcome_of_a_failure_is_its_code(seen: list[observers.Verb]) -> None:
    with pytest.raises(exception.InvalidValue), observers.verb("plug", "x"):
        raise exception.InvalidValue(field="a", value=1, reason="no")
    with pytest.raises(KeyboardInterrupt), observers.verb("plug", "x"):
        raise KeyboardInterrupt
    assert [one.outcome for one in seen] == ["bad_input", "internal"]


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        (lambda vif: os_vif.plug(vif, vifs.instance()), ("plug", "noop", vifs.vif_id(), "ok")),
        (
            lambda vif: os_vif.plug_all([(vif, vifs.instance())]),
            ("plug_all", "noop", vifs.vif_id(), "ok"),
        ),
        (
            lambda vif: os_vif.plug_all([(vif, vifs.instance())] * 2),
            ("plug_all", "noop", None, "ok"),
        ),
        (
            lambda vif: os_vif.wait(vif, vifs.instance(), until="x"),
            ("wait", "noop", vifs.vif_id(), "bad_input"),
        ),
        (lambda vif: os_vif.unplug("x", vifs.instance()), ("unplug", "", None, "bad_input")),
        (lambda vif: os_vif.check(vif, vifs.instance()), None),
        (lambda vif: os_vif.list_vifs("noop"), None),
    ],
    ids=lambda one: None if callable(one) else str(one),
)
def test_every_end_of_a_verb_is_told_but_that_a_plugin_does_not_have_it(
    installed: Installed,
    seen: list[observers.Verb],
    caplog: pytest.LogCaptureFixture,
    verb: Any,
    told: tuple[str, ...] | None,
) -> None:
    os_vif.initialize()
    with caplog.at_level(logging.INFO), contextlib.suppress(exception.ExceptionBase):
        verb(vifs.vif_vhost_user(plugin="noop"))
    found = [(one.name, one.plugin, one.vif_id, one.outcome) for one in seen]
    assert found == ([told] if told else [])
    assert ("verb=" in caplog.text) is bool(told)


def test_what_is_done_is_counted_for_the_innermost_verb(seen: list[observers.Verb]) -> None:
    observers.count("waits")  # nobody's
    with observers.verb("gc", "x"):
        observers.count("transactions")
        with observers.verb("unplug", "x"):
            observers.count("waits")
        observers.count("privileged_calls")
    unplug, gc = seen
    assert unplug.tally == observers.Tally(waits=1)
    assert gc.tally == observers.Tally(transactions=1, privileged_calls=1)


def test_an_observer_that_raises_harms_no_verb_and_no_other(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    os_vif.initialize()
    found: list[observers.Verb] = []

    def fails(verb: observers.Verb) -> None:
        raise RuntimeError("the observer's own fault")

    ends = [os_vif.observe(fails), os_vif.observe(found.append)]
    os_vif.plug(vifs.vif_vhost_user(plugin="noop"), vifs.instance())
    for end in ends:
        end()
    os_vif.unplug(vifs.vif_vhost_user(plugin="noop"), vifs.instance())
    assert [one.name for one in found] == ["plug"]
    assert "the observer's own fault" in caplog.text


def test_an_observer_that_exits_harms_no_verb(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    """Its KeyboardInterrupt, or a greenthread's timeout, is the caller's."""
    os_vif.initialize()
    for error, raised in ((SystemExit, ()), (KeyboardInterrupt, KeyboardInterrupt)):

        def exits(_: observers.Verb, error: type[BaseException] = error) -> None:
            raise error

        end = os_vif.observe(exits)
        with pytest.raises(raised) if raised else contextlib.nullcontext():
            os_vif.plug(vifs.vif_vhost_user(plugin="noop"), vifs.instance())
        end()
    assert "An observer of os-vif failed" in caplog.text


def test_a_callback_that_is_registered_twice_is_ended_twice() -> None:
    found: list[observers.Verb] = []
    callback = found.append
    ends = [os_vif.observe(callback), os_vif.observe(callback)]
    for end in ends:
        with observers.verb("x"):
            pass
        end()
        end()
    with observers.verb("x"):
        pass
    assert len(found) == 2 + 1


def test_an_observer_may_use_verbs_of_which_nobody_is_told(
    installed: Installed, seen: list[observers.Verb]
) -> None:
    os_vif.initialize()

    def looks(_: observers.Verb) -> None:
        os_vif.unplug(vifs.vif_vhost_user(plugin="noop"), vifs.instance())
        observers.count("waits")

    end = os_vif.observe(looks)
    os_vif.plug(vifs.vif_vhost_user(plugin="noop"), vifs.instance())
    end()
    assert [(one.name, one.tally) for one in seen] == [("plug", observers.Tally())]
    os_vif.unplug(vifs.vif_vhost_user(plugin="noop"), vifs.instance())
    assert [one.name for one in seen] == ["plug", "unplug"]


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="'x' cannot be called"):
        os_vif.observe("x")  # type: ignore[arg-type]


def test_the_manuals_example_exports_verbs_to_prometheus(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "_observers", ())
    importlib.import_module("tests.prometheus_example")
    os_vif.initialize()
    os_vif.plug(vifs.vif_vhost_user(plugin="noop"), vifs.instance())
    text = prometheus_client.generate_latest().decode()
    labels = 'outcome="ok",plugin="noop",verb="plug"'
    assert f"os_vif_verb_seconds_count{{{labels}}} 1.0" in text
