# SPDX-License-Identifier: Apache-2.0
"""plug_all and unplug_all with plugins installed for the test: what the library itself does."""

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import os_vif
from os_vif import exception
from os_vif.plugin import PluginBase
from tests.unit.conftest import GOOD, Installed
from tests.vifs import instance, vif_bridge, vif_open_vswitch

#: A plugin that can do several at once; ``{how}`` makes the results of ``pairs``.
AT_ONCE = (
    GOOD
    + """
    def plug_all(self, pairs, /):
        self.calls.append(("plug_all", pairs))
        {how}

    def unplug_all(self, pairs, /):
        self.calls.append(("unplug_all", pairs))
        {how}
"""
)
WELL = "return [plugin.Result(vif, None) for vif, _ in pairs]"

#: One VIF by one; those whose MAC ends with 13 fail.
UNLUCKY = (
    GOOD
    + """
    def plug(self, vif, instance_info):
        self.calls.append(("plug", vif, instance_info))
        if vif.address.endswith("0d"):
            raise ValueError("out of cheese")

    unplug = plug
"""
)

Verb = Callable[[Iterable[Any]], list[os_vif.Result]]
BOTH = pytest.mark.parametrize(
    ("verb", "wrapper", "one"),
    [
        (os_vif.plug_all, exception.PlugException, "plug"),
        (os_vif.unplug_all, exception.UnplugException, "unplug"),
    ],
    ids=["plug_all", "unplug_all"],
)
VERBS = pytest.mark.parametrize("verb", [os_vif.plug_all, os_vif.unplug_all])


def pairs(plugin: str, *numbers: int) -> list[Any]:
    return [(vif_open_vswitch(n, plugin=plugin), instance(n)) for n in numbers]


def at_once(how: str) -> str:
    return AT_ONCE.replace("{how}", how)


@VERBS
@pytest.mark.parametrize("given", [[], [(vif_open_vswitch(), instance())], iter([])])
def test_before_initialize_is_the_one_thing_that_is_raised(
    installed: Installed, verb: Verb, given: Iterable[Any]
) -> None:
    with pytest.raises(exception.LibraryNotInitialized):
        verb(given)


@VERBS
@pytest.mark.parametrize("make", [list, tuple, iter, lambda _: (n for n in ())])
def test_nothing_to_do_is_no_result_and_no_call(
    installed: Installed, verb: Verb, make: Callable[[Any], Iterable[Any]]
) -> None:
    installed.add("many", at_once(WELL))
    os_vif.initialize()
    assert verb(make([])) == []
    assert installed.plugin("many").calls == []


@BOTH
@pytest.mark.parametrize(
    "make", [list, tuple, iter, lambda found: (one for one in found), dict.fromkeys]
)
def test_pairs_may_come_in_any_iterable(
    installed: Installed, verb: Verb, wrapper: Any, one: str, make: Callable[[Any], Any]
) -> None:
    installed.add("good")
    os_vif.initialize()
    given = [(vif, "hashable") for vif, _ in pairs("good", 1, 2, 3)]
    assert verb(make(given)) == [os_vif.Result(vif, None) for vif, _ in given]
    assert installed.plugin("good").calls == [(one, *pair) for pair in given]


@BOTH
def test_a_plugin_without_the_method_gets_one_vif_after_the_other(
    installed: Installed, verb: Verb, wrapper: Any, one: str
) -> None:
    installed.add("unlucky", UNLUCKY)
    os_vif.initialize()
    given = pairs("unlucky", 12, 13, 14)
    results = verb(given)
    assert [result.vif for result in results] == [vif for vif, _ in given]
    assert [result.error is None for result in results] == [True, False, True]
    assert [call[1:] for call in installed.plugin("unlucky").calls] == given


@BOTH
def test_an_error_is_what_the_verb_for_one_would_have_raised(
    installed: Installed, verb: Verb, wrapper: Any, one: str
) -> None:
    installed.add("unlucky", UNLUCKY)
    os_vif.initialize()
    ((vif, info),) = given = pairs("unlucky", 13)
    ((_, error),) = verb(given)
    with pytest.raises(wrapper) as raised:
        getattr(os_vif, one)(vif, info)
    assert type(error) is wrapper
    assert str(error) == str(raised.value)
    assert isinstance(error.__cause__, ValueError)
    assert "out of cheese" in str(error)


@BOTH
def test_an_error_is_logged(
    installed: Installed,
    verb: Verb,
    wrapper: Any,
    one: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed.add("unlucky", UNLUCKY)
    os_vif.initialize()
    verb(pairs("unlucky", 12, 13))
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(lines) == 1
    assert "out of cheese" in lines[0]


@BOTH
def test_results_are_in_the_order_of_the_pairs_whoever_plugs_them(
    installed: Installed, verb: Verb, wrapper: Any, one: str
) -> None:
    installed.add("one", UNLUCKY)
    installed.add("many", at_once(WELL))
    os_vif.initialize()
    first, second = pairs("many", 1, 2)
    third, unlucky = pairs("one", 3, 13)
    (unknown,) = pairs("unknown", 4)
    unset = (vif_bridge(5, unset=["plugin"]), instance())
    nonsense = ("no vif", instance())
    given = [unknown, third, first, unlucky, nonsense, second, unset]
    results = verb(given)
    assert [result.vif for result in results] == [vif for vif, _ in given]
    assert [type(result.error) for result in results] == [
        exception.NoMatchingPlugin,
        type(None),
        type(None),
        wrapper,
        exception.InvalidValue,
        type(None),
        exception.InvalidValue,
    ]
    assert installed.plugin("many").calls == [(verb.__name__, [first, second])]
    assert [call[1:] for call in installed.plugin("one").calls] == [third, unlucky]


@VERBS
def test_a_plugin_that_could_not_be_loaded_is_reported_for_each_of_its_vifs(
    installed: Installed, verb: Verb
) -> None:
    installed.add("broken", "raise ImportError('libfancy.so.3')")
    installed.add("good")
    os_vif.initialize()
    results = verb([*pairs("broken", 1, 2), *pairs("good", 3)])
    for _, error in results[:2]:
        assert isinstance(error, exception.PluginLoadFailed)
        assert "libfancy" in str(error)
    assert results[2].error is None


@BOTH
def test_the_same_vif_twice_is_two_results(
    installed: Installed, verb: Verb, wrapper: Any, one: str
) -> None:
    installed.add("unlucky", UNLUCKY)
    os_vif.initialize()
    pair = pairs("unlucky", 13)[0]
    results = verb([pair, pair])
    assert [type(result.error) for result in results] == [wrapper, wrapper]


@BOTH
@pytest.mark.parametrize("entry", [None, 7, (), "many", vif_open_vswitch(3)])
def test_what_is_not_a_pair_is_said_of_it_alone(
    installed: Installed, verb: Verb, wrapper: Any, one: str, entry: Any
) -> None:
    installed.add("many", at_once(WELL))
    os_vif.initialize()
    (first,) = pairs("many", 1)
    done, (given, error) = verb([first, entry])
    assert done == os_vif.Result(first[0], None)
    assert given is entry
    assert isinstance(error, exception.InvalidValue)
    assert str(error).endswith("it is not a VIF and its instance")


BAD = {
    "raises": "raise ValueError('out of cheese')",
    "raises-halfway": "return (plugin.Result(1 / (2 - len(pairs)), None) for _ in pairs)",
    "returns-nothing": "return None",
    "too-few": f"{WELL}[:-1]",
    "too-many": f"{WELL} * 2",
    "none-at-all": "return []",
    "not-a-list": "return 7",
    "a-text": "return 'ok'",
    "nones": "return [None for _ in pairs]",
    "texts": "return ['ok' for _ in pairs]",
    "numbers": "return [0 for _ in pairs]",
    "plain-pairs": "return [(vif, None) for vif, _ in pairs]",
    "triples": "return [(vif, None, None) for vif, _ in pairs]",
    "text-for-error": "return [plugin.Result(vif, 'out of cheese') for vif, _ in pairs]",
    "class-for-error": "return [plugin.Result(vif, ValueError) for vif, _ in pairs]",
    "false-for-error": "return [plugin.Result(vif, False) for vif, _ in pairs]",
    "no-vif": "return [plugin.Result(None, None) for _ in pairs]",
    "other-order": f"{WELL}[::-1]",
}


@BOTH
@pytest.mark.parametrize("how", BAD)
def test_a_plugin_that_returns_nonsense_fails_its_vifs_and_no_others(
    installed: Installed, verb: Verb, wrapper: Any, one: str, how: str
) -> None:
    installed.add("bad", at_once(BAD[how]))
    installed.add("good", at_once(WELL))
    os_vif.initialize()
    given = [*pairs("bad", 1, 2), *pairs("good", 3)]
    results = verb(given)
    assert [result.vif for result in results] == [vif for vif, _ in given]
    assert [type(result) for result in results] == [os_vif.Result] * 3
    assert [type(result.error) for result in results] == [wrapper, wrapper, type(None)]
    assert isinstance(results[0].error, exception.ExceptionBase)
    assert results[0].error.__cause__ is not None


@BOTH
def test_what_was_done_before_a_plugin_raised_is_reported(
    installed: Installed, verb: Verb, wrapper: Any, one: str
) -> None:
    how = "return (plugin.Result(v, 1 / 0 if n else None) for n, (v, _) in enumerate(pairs))"
    installed.add("many", at_once(how))
    os_vif.initialize()
    results = verb(pairs("many", 1, 2, 3))
    assert [type(result.error) for result in results] == [type(None), wrapper, wrapper]
    assert isinstance(results[2].error.__cause__, ZeroDivisionError)  # type: ignore[union-attr]


@BOTH
def test_results_may_come_from_a_generator(
    installed: Installed, verb: Verb, wrapper: Any, one: str
) -> None:
    installed.add("many", at_once("return (plugin.Result(vif, None) for vif, _ in pairs)"))
    os_vif.initialize()
    given = pairs("many", 1, 2)
    assert verb(given) == [os_vif.Result(vif, None) for vif, _ in given]


@BOTH
def test_an_error_of_one_of_several_is_wrapped_with_its_cause(
    installed: Installed, verb: Verb, wrapper: Any, one: str
) -> None:
    how = "return [plugin.Result(v, None if n else OSError('no room')) for n, (v, _) in "
    installed.add("many", at_once(how + "enumerate(pairs)]"))
    os_vif.initialize()
    (first, error), (_, none) = verb(pairs("many", 1, 2))
    assert none is None
    assert type(error) is wrapper
    assert isinstance(error.__cause__, OSError)
    assert str(first.id) in str(error)


@VERBS
def test_a_plugin_that_cannot_be_hashed_is_no_problem(installed: Installed, verb: Verb) -> None:
    """A class with __eq__, a dataclass for instance, has no hash."""
    installed.add("odd", GOOD + "\n    def __eq__(self, other):\n        return True\n")
    installed.add("good", at_once(WELL))
    os_vif.initialize()
    results = verb([*pairs("odd", 1), *pairs("good", 2), *pairs("odd", 3)])
    assert [result.error for result in results] == [None] * 3
    assert len(installed.plugin("odd").calls) == 2


@VERBS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_of_a_plugin_passes_through(
    installed: Installed, verb: Verb, error: type[BaseException]
) -> None:
    """The end of a process, or a greenthread's."""
    installed.add("bad", at_once(f"raise {error.__name__}()"))
    os_vif.initialize()
    with pytest.raises(error):
        verb(pairs("bad", 1))


@pytest.mark.parametrize("owner", [os_vif, PluginBase])
@pytest.mark.parametrize("name", ["plug_all", "unplug_all"])
def test_the_pairs_are_given_by_position_only(owner: Any, name: str) -> None:
    *_, last = inspect.signature(getattr(owner, name)).parameters.values()
    assert (last.name, last.kind) == ("pairs", inspect.Parameter.POSITIONAL_ONLY)


def test_the_method_is_optional_in_a_plugin() -> None:
    assert not {"plug_all", "unplug_all"} & set(PluginBase.__abstractmethods__)
