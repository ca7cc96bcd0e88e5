# SPDX-License-Identifier: Apache-2.0
"""The four verbs with real plugins, installed for the test."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
from os_vif import exception, observers
from tests.unit.conftest import GOOD, Installed
from tests.vifs import instance, vif_id, vif_open_vswitch

BAD_IMPORT = "raise ImportError('libfancy.so.3: cannot open')\n" + GOOD
ASSERTS_AT_IMPORT = "assert False, 'needs Linux 9'\n" + GOOD
NO_CLASS = "Plugin = None"
NOT_A_PLUGIN = """
class Plugin:
    CONFIG_OPTS = ()

    @classmethod
    def load(cls, name):
        return cls()
"""
NO_OPTIONS = "class Plugin: pass"
ABSTRACT = """
from os_vif.plugin import PluginBase
class Plugin(PluginBase): pass
"""


def broken(method: str, error: str = "ValueError('out of cheese')") -> str:
    """The good plugin, with a method that raises."""
    return f"{GOOD}\n    def {method}(self, *args):\n        raise {error}\n"


def odd(method: str, error: str | None) -> str:
    """The good plugin, with a method that raises, or answers what it must not."""
    does = f"raise {error}" if error else "return ['bad']"
    return f"{GOOD}\n    def {method}(self, *args, **options):\n        {does}\n"


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= level]


# Before and while initialising ------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb",
    [
        lambda: os_vif.plug(vif_open_vswitch(), instance()),
        lambda: os_vif.unplug(vif_open_vswitch(), instance()),
        lambda: os_vif.host_info(),
        lambda: os_vif.plug(None, None),  # type: ignore[arg-type]
    ],
    ids=["plug", "unplug", "host_info", "nonsense"],
)
def test_a_verb_before_initialize_says_so(installed: Installed, verb: Callable[[], None]) -> None:
    installed.add("good")
    with pytest.raises(exception.LibraryNotInitialized, match=r"os_vif\.initialize\(\)"):
        verb()


def test_a_plugin_is_found_by_the_name_of_its_entry_point(installed: Installed) -> None:
    installed.initialize("good", "other")
    vif, info = vif_open_vswitch(plugin="good"), instance()
    os_vif.plug(vif, info)
    os_vif.unplug(vif, info)
    assert installed.plugin("good").calls == [("plug", vif, info), ("unplug", vif, info)]
    assert installed.plugin("other").calls == []


def test_only_a_reset_loads_all_plugins_anew(installed: Installed) -> None:
    installed.initialize("good")
    os_vif.initialize()
    assert len(installed.plugin("good").made) == 1
    os_vif.initialize(reset=True)
    first, second = installed.plugin("good").made
    assert first is not second


def test_initialize_from_many_threads_loads_each_plugin_once(installed: Installed) -> None:
    installed.add("good")
    installed.add("other")
    start = threading.Barrier(16)
    errors = []

    def caller() -> None:
        start.wait()
        try:
            os_vif.initialize()
            os_vif.plug(vif_open_vswitch(plugin="good"), instance())
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(installed.plugin("good").made) == 1
    assert len(installed.plugin("other").made) == 1
    assert len(installed.plugin("good").calls) == 16


def test_initialize_registers_the_objects(installed: Installed) -> None:
    os_vif.initialize()
    assert os_vif.objects.vif.VIFOpenVSwitch is os_vif.objects.VIFOpenVSwitch


# Configuration ----------------------------------------------------------------------------------


ANSWER = '(cfg.IntOpt("answer", default=42),)'


@pytest.mark.parametrize("name", ["intuple", "inlist"])
def test_options_may_be_a_tuple_or_a_list(installed: Installed, name: str) -> None:
    options = ANSWER if name == "intuple" else f"list({ANSWER})"
    installed.initialize(**{name: GOOD.replace(ANSWER, options)})
    assert cfg.CONF[f"os_vif_{name}"].answer == 42
    (made,) = installed.plugin(name).made
    assert made.config.answer == 42


@pytest.mark.parametrize("options", ["()", "[]"])
def test_a_plugin_without_options_registers_no_group(installed: Installed, options: str) -> None:
    installed.initialize(spartan=GOOD.replace(ANSWER, options))
    (made,) = installed.plugin("spartan").made
    assert list(made.config) == []
    assert "os_vif_spartan" not in cfg.CONF
    with pytest.raises(cfg.NoSuchGroupError):
        _ = made.config.answer


def test_the_plugins_that_were_loaded_are_logged_in_one_line(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    installed.initialize("good", abad=BAD_IMPORT)
    os_vif.initialize()
    (line,) = (x for x in records(caplog, logging.INFO) if "good" in x)
    assert "good (fake_good:Plugin)" in line
    assert "ovs (vif_plug_ovs.ovs:OvsPlugin)" in line
    assert "abad" not in line


# Plugins that cannot be loaded ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        pytest.param(BAD_IMPORT, "libfancy.so.3: cannot open", id="its import fails"),
        pytest.param(ASSERTS_AT_IMPORT, "needs Linux 9", id="its import asserts"),
        pytest.param("def (", "invalid syntax", id="its syntax is wrong"),
        pytest.param("", "no attribute 'Plugin'", id="it lacks the class"),
        pytest.param(NO_CLASS, "None is not a subclass", id="the class is none"),
        pytest.param(broken("__init__"), "out of cheese", id="it cannot be made"),
        pytest.param(NOT_A_PLUGIN, "not a subclass of os_vif.plugin.PluginBase", id="no plugin"),
        pytest.param(NO_OPTIONS, "not a subclass", id="not even options"),
        pytest.param(ABSTRACT, "abstract", id="it is abstract"),
        pytest.param(
            GOOD.replace("(cfg.IntOpt(", "(int, cfg.IntOpt("), "", id="its options are none"
        ),
    ],
)
def test_a_plugin_that_cannot_be_loaded_harms_no_other(
    installed: Installed, caplog: pytest.LogCaptureFixture, source: str, cause: str
) -> None:
    installed.initialize("good", abad=source, zbad=source)

    logged = "\n".join(records(caplog, logging.ERROR))
    for name in ("abad", "zbad"):
        assert f"plugin {name} (fake_{name}:Plugin)" in logged
    assert cause in logged

    os_vif.plug(vif_open_vswitch(plugin="good"), instance())
    described = os_vif.host_info()
    assert described.has_plugin("good")
    assert not described.has_plugin("abad")

    for verb in (os_vif.plug, os_vif.unplug):
        with pytest.raises(exception.PluginLoadFailed, match="abad") as caught:
            verb(vif_open_vswitch(plugin="abad"), instance())
        assert cause in str(caught.value)
        assert isinstance(caught.value, exception.NoMatchingPlugin)
        assert caught.value.__cause__ is not None
        assert type(caught.value.__cause__).__name__ in str(caught.value)


def test_a_broken_plugin_is_not_tried_again_until_reset(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    installed.initialize(abad=broken("__init__"))
    caplog.clear()
    os_vif.initialize()
    assert records(caplog, logging.ERROR) == []
    os_vif.initialize(reset=True)
    assert any("abad" in line for line in records(caplog, logging.ERROR))


def test_two_plugins_of_one_name_are_named_in_the_log(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    installed.add("twin", module="fake_twin_one", first=True)
    installed.add("twin", module="fake_twin_two")
    os_vif.initialize()
    (line,) = (x for x in records(caplog, logging.WARNING) if "twin" in x)
    assert "fake_twin_one:Plugin is used" in line
    assert "fake_twin_two:Plugin is ignored" in line
    os_vif.plug(vif_open_vswitch(plugin="twin"), instance())
    assert "fake_twin_two" not in sys.modules  # not even imported
    one = sys.modules["fake_twin_one"].Plugin
    assert (len(one.made), len(one.calls)) == (1, 1)


@pytest.mark.parametrize("first", [True, False], ids=["found first", "found last"])
@pytest.mark.parametrize("imports", [True, False], ids=["works", "cannot be imported"])
def test_a_plugin_of_os_vif_is_not_shadowed(
    installed: Installed,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    imports: bool,
    first: bool,
) -> None:
    installed.add("noop", module="fake_noop", first=first)
    if not imports:
        monkeypatch.setitem(sys.modules, "vif_plug_noop.noop", None)
    os_vif.initialize()
    (line,) = (x for x in records(caplog, logging.WARNING) if x.startswith("Two os-vif plugins"))
    assert "vif_plug_noop.noop:NoOpPlugin is used" in line
    assert "fake_noop:Plugin is ignored" in line
    assert "fake_noop" not in sys.modules
    assert os_vif.host_info().has_plugin("noop") is imports


@pytest.mark.parametrize("first", [True, False], ids=["found first", "found last"])
def test_a_good_plugin_stands_in_for_one_of_its_name_that_cannot_be_imported(
    installed: Installed, caplog: pytest.LogCaptureFixture, first: bool
) -> None:
    installed.add("twin", BAD_IMPORT, module="fake_twin_bad", first=first)
    installed.add("twin", module="fake_twin", first=not first)
    os_vif.initialize()
    level = logging.ERROR if first else logging.WARNING
    assert any("fake_twin_bad:Plugin" in line for line in records(caplog, level))
    os_vif.plug(vif_open_vswitch(plugin="twin"), instance())
    assert len(installed.plugin("twin").calls) == 1


# plug and unplug --------------------------------------------------------------------------------

VERBS = [
    pytest.param(os_vif.plug, exception.PlugException, id="plug"),
    pytest.param(os_vif.unplug, exception.UnplugException, id="unplug"),
]


@pytest.mark.parametrize(("verb", "wrapper"), VERBS)
class TestVerb:
    def test_an_unknown_plugin(self, installed: Installed, verb: Any, wrapper: Any) -> None:
        os_vif.initialize()
        with pytest.raises(exception.NoMatchingPlugin, match="nonesuch") as caught:
            verb(vif_open_vswitch(plugin="nonesuch"), instance())
        assert type(caught.value) is exception.NoMatchingPlugin

    @pytest.mark.parametrize(
        ("vif", "said"),
        [
            (vif_open_vswitch(unset="plugin"), r"vif\.plugin, None: it is not set"),
            *((value, r"vif, .*it is not a VIF") for value in (None, {"plugin": "good"}, "good")),
            (instance(), r"vif, .*it is not a VIF"),
        ],
    )
    def test_a_vif_without_a_plugin_and_what_is_not_a_vif(
        self, installed: Installed, verb: Any, wrapper: Any, vif: Any, said: str
    ) -> None:
        installed.initialize("good")
        with pytest.raises(exception.InvalidValue, match=said):
            verb(vif, instance())

    @pytest.mark.parametrize(
        "error",
        [
            "ValueError('out of cheese')",
            "exception.InvalidValue(field='f', value=1, reason='out of cheese')",
            "exception.PlugException(vif='v', err='out of cheese')",
            "exception.UnplugException(vif='v', err='out of cheese')",
            "exception.NoMatchingPlugin('out of cheese')",
        ],
    )
    def test_an_error_of_the_plugin_is_wrapped_and_kept_as_the_cause(
        self,
        installed: Installed,
        caplog: pytest.LogCaptureFixture,
        verb: Any,
        wrapper: Any,
        error: str,
    ) -> None:
        installed.initialize(
            faulty="from os_vif import exception\n" + broken(verb.__name__, error)
        )
        with pytest.raises(exception.ExceptionBase) as caught:
            verb(vif_open_vswitch(plugin="faulty"), instance())
        assert type(caught.value) is wrapper
        assert vif_id() in str(caught.value)
        assert "out of cheese" in str(caught.value)
        assert "out of cheese" in str(caught.value.__cause__)
        assert type(caught.value.__cause__).__name__ == error.partition("(")[0].split(".")[-1]
        assert any("out of cheese" in line for line in records(caplog, logging.ERROR))

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interruption_is_not_an_error(
        self, installed: Installed, verb: Any, wrapper: Any, error: type[BaseException]
    ) -> None:
        installed.initialize(faulty=broken(verb.__name__, f"{error.__name__}()"))
        with pytest.raises(error):
            verb(vif_open_vswitch(plugin="faulty"), instance())


# gc ---------------------------------------------------------------------------------------------


def collector(*decisions: tuple[str | None, str]) -> str:
    """The good plugin, with what it decides of VIFs: errors and their codes."""
    made = [
        f"Decision('{n}', '{{name}}', True, '', (), {error!r}, {code!r})"
        for n, (error, code) in enumerate(decisions)
    ]
    method = f"def collect(self, valid, *, dry_run, grace):\n        return [{', '.join(made)}]"
    return f"from os_vif.answers import Decision\n{GOOD}\n    {method}\n"


@pytest.mark.parametrize("valid", ["", " ", None, 7, [""], ["\n"], [vif_id(), " "], [None], []])
def test_gc_refuses_what_says_of_no_vif_that_it_is_valid(installed: Installed, valid: Any) -> None:
    """Blank lines are what a command that failed has printed."""
    installed.initialize("good")
    with pytest.raises(exception.InvalidValue, match="Invalid value of valid"):
        os_vif.gc(valid, plugin="good")


def test_gc_tells_of_a_plugin_that_could_not_be_loaded(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.initialize(abad=BAD_IMPORT, collects=collector((None, "")))
    loaded = os_vif._loaded()
    only = replace(loaded, plugins={"collects": loaded.plugins["collects"]})
    monkeypatch.setattr(os_vif, "_plugins", only)
    bad, good = os_vif.gc(["x"])
    assert (bad.vif_id, bad.plugin, bad.removes) == ("", "abad", False)
    assert bad.code == "plugin_not_loaded"
    assert "libfancy" in str(bad.error)
    assert (good.vif_id, good.plugin, good.error) == ("0", "collects", None)


@pytest.mark.parametrize(
    ("name", "error"),
    [("nope", exception.NoMatchingPlugin), ("abad", exception.PluginLoadFailed)],
)
def test_gc_of_a_plugin_that_is_not_there(
    installed: Installed, name: str, error: type[Exception]
) -> None:
    installed.initialize(abad=BAD_IMPORT)
    with pytest.raises(error, match=name):
        os_vif.gc(["x"], plugin=name)


@pytest.mark.parametrize(
    ("decisions", "outcome"),
    [
        ([(None, "")], "ok"),
        ([("a", "")], "refused"),
        ([(None, ""), ("a", ""), ("b", "deadline"), ("c", "host_changed")], "deadline"),
    ],
)
def test_the_outcome_of_gc_is_the_code_of_what_failed(
    installed: Installed, decisions: list[tuple[str | None, str]], outcome: str
) -> None:
    installed.initialize(collects=collector(*decisions))
    seen: list[observers.Verb] = []
    end = os_vif.observe(seen.append)
    os_vif.gc(["x"], plugin="collects")
    end()
    assert [one.outcome for one in seen] == [outcome]


# Verbs that look --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("check", lambda: os_vif.check(vif_open_vswitch(plugin="odd"), instance())),
        ("list_vifs", os_vif.list_vifs),
        ("drawings", os_vif.drawings),
    ],
)
@pytest.mark.parametrize(
    ("error", "said"),
    [("SystemExit(7)", "7"), (None, "'bad' is not a")],
    ids=["it exits", "it answers anything"],
)
def test_whatever_a_plugin_answers_is_an_error_of_its_verb(
    installed: Installed, method: str, verb: Any, error: str | None, said: str
) -> None:
    installed.initialize(odd=odd(method, error))
    with pytest.raises(exception.QueryFailed, match=said):
        verb()


def test_a_plugin_that_answers_anything_hides_no_other(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.initialize(odd=odd("status", None), exits=odd("status", "SystemExit(7)"))
    loaded = os_vif._loaded()
    theirs = {name: loaded.plugins[name] for name in ("odd", "exits")}
    monkeypatch.setattr(os_vif, "_plugins", replace(loaded, plugins=theirs))
    levels = {one.plugin: one.level for one in os_vif.status()}
    assert levels == {"exits": "error", "odd": "error"}


@pytest.mark.parametrize("error", ["SystemExit(7)", None])
def test_nor_what_others_have_collected(installed: Installed, error: str | None) -> None:
    installed.initialize(odd=odd("collect", error))
    (decision,) = os_vif.gc([vif_id()], plugin="odd")
    assert decision.error


# host_info --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mute", "cause"),
    [
        pytest.param(broken("describe"), "out of cheese", id="it raises"),
        pytest.param(
            f"{GOOD}\n    def describe(self):\n        return {{'plugin': 'mute'}}\n",
            "",
            id="it returns something else",
        ),
    ],
)
def test_a_plugin_that_cannot_describe_itself_is_logged_and_left_out(
    installed: Installed, caplog: pytest.LogCaptureFixture, mute: str, cause: str
) -> None:
    installed.initialize("good", mute=mute)
    described = os_vif.host_info()
    assert described.has_plugin("good")
    assert not described.has_plugin("mute")
    (record,) = (r for r in caplog.records if "mute" in r.getMessage())
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert cause in str(record.exc_info[1])
    os_vif.plug(vif_open_vswitch(plugin="mute"), instance())


@pytest.mark.parametrize(
    ("permitted", "has"),
    [(None, True), (["VIFOpenVSwitch"], True), ({"VIFBridge"}, False), ([], False)],
)
def test_only_permitted_kinds_are_listed(installed: Installed, permitted: Any, has: bool) -> None:
    installed.initialize("good")
    described = os_vif.host_info(permitted)
    assert described.has_plugin("good") is has
    told = {kind.vif_object_name for info in described.plugin_info for kind in info.vif_info}
    assert permitted is None or told <= set(permitted)
    # It was filtered for this caller only.
    assert os_vif.host_info().has_plugin("good")


def test_everything_that_is_listed_has_a_version_in_common_with_us(installed: Installed) -> None:
    installed.initialize("good")
    kinds = [kind for info in os_vif.host_info().plugin_info for kind in info.vif_info]
    profiles = [profile for kind in kinds for profile in kind.supported_port_profiles]
    assert kinds
    assert profiles
    for info in kinds + profiles:
        assert info.get_common_version() == info.max_version


# Importing --------------------------------------------------------------------------------------

IMPORT = """
import os, sys, threading
from oslo_config import cfg

import {module}

assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
targets = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd")
           if os.path.islink(f"/proc/self/fd/{{fd}}")]
assert not [target for target in targets if target.startswith("socket:")], targets
assert not [group for group in cfg.CONF if group.startswith("os_vif")], list(cfg.CONF)
os_vif = sys.modules.get("os_vif")
assert os_vif._plugins is None
"""


@pytest.mark.parametrize("module", ["os_vif", "os_vif.opts", "vif_plug_ovs.ovs"])
def test_an_import_does_nothing(module: str) -> None:
    code = IMPORT.format(module=module)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""
