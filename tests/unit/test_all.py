# SPDX-License-Identifier: Apache-2.0
"""plug_all and unplug_all with plugins installed for the test: what the library itself does."""

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

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


class Verb(NamedTuple):
    """A verb for many VIFs, and what belongs to it."""

    many: Callable[[Iterable[Any]], list[os_vif.Result]]
    one: Callable[[Any, Any], None]
    wrapper: type[exception.ExceptionBase]


@pytest.fixture(
    params=[
        Verb(os_vif.plug_all, os_vif.plug, exception.PlugException),
        Verb(os_vif.unplug_all, os_vif.unplug, exception.UnplugException),
    ],
    ids=["plug_all", "unplug_all"],
)
def verb(request: pytest.FixtureRequest) -> Verb:
    return request.param


def pairs(plugin: str, *numbers: int) -> list[Any]:
    return [(vif_open_vswitch(n, plugin=plugin), instance(n)) for n in numbers]


def at_once(how: str) -> str:
    return AT_ONCE.replace("{how}", how)


def types(results: Iterable[os_vif.Result]) -> list[type]:
    return [type(result.error) for result in results]


@pytest.mark.parametrize("given", [[], [(vif_open_vswitch(), instance())], iter([])])
def test_before_initialize_is_the_one_thing_that_is_raised(
    installed: Installed, verb: Verb, given: Iterable[Any]
) -> None:
    with pytest.raises(exception.LibraryNotInitialized):
        verb.many(given)


@pytest.mark.parametrize(
    "make", [list, tuple, iter, lambda found: (one for one in found), dict.fromkeys]
)
def test_pairs_may_come_in_any_iterable(
    installed: Installed, verb: Verb, make: Callable[[Any], Any]
) -> None:
    installed.initialize("good", many=at_once(WELL))
    given = [(vif, "hashable") for vif, _ in pairs("good", 1, 2, 3)]
    assert verb.many(make(given)) == [os_vif.Result(vif, None) for vif, _ in given]
    assert installed.plugin("good").calls == [(verb.one.__name__, *pair) for pair in given]
    assert verb.many(make([])) == []
    assert installed.plugin("many").calls == []


def test_a_plugin_without_the_method_gets_one_vif_after_the_other(
    installed: Installed, verb: Verb, caplog: pytest.LogCaptureFixture
) -> None:
    installed.initialize(unlucky=UNLUCKY)
    given = pairs("unlucky", 12, 13, 14)
    results = verb.many(given)
    assert [result.vif for result in results] == [vif for vif, _ in given]
    assert types(results) == [type(None), verb.wrapper, type(None)]
    assert [call[1:] for call in installed.plugin("unlucky").calls] == given
    (line,) = (r for r in caplog.records if r.levelno >= logging.ERROR)
    assert "out of cheese" in line.getMessage()
    assert not line.exc_info  # a cause that all of a batch share would be there for each
    # The error is what the verb for one would have raised.
    with pytest.raises(verb.wrapper) as raised:
        verb.one(*given[1])
    assert str(results[1].error) == str(raised.value)
    assert isinstance(results[1].error.__cause__, ValueError)  # type: ignore[union-attr]


def test_results_are_in_the_order_of_the_pairs_whoever_plugs_them(
    installed: Installed, verb: Verb
) -> None:
    installed.initialize(one=UNLUCKY, many=at_once(WELL))
    first, second = pairs("many", 1, 2)
    third, unlucky = pairs("one", 3, 13)
    (unknown,) = pairs("unknown", 4)
    unset = (vif_bridge(5, unset=["plugin"]), instance())
    given = [unknown, third, first, unlucky, ("no vif", instance()), second, unset, unlucky]
    results = verb.many(given)
    assert [result.vif for result in results] == [vif for vif, _ in given]
    assert types(results) == [
        exception.NoMatchingPlugin,
        type(None),
        type(None),
        verb.wrapper,
        exception.InvalidValue,
        type(None),
        exception.InvalidValue,
        verb.wrapper,
    ]
    assert installed.plugin("many").calls == [(verb.many.__name__, [first, second])]
    assert [call[1:] for call in installed.plugin("one").calls] == [third, unlucky, unlucky]


def test_a_plugin_that_could_not_be_loaded_is_reported_for_each_of_its_vifs(
    installed: Installed, verb: Verb
) -> None:
    installed.initialize("good", broken="raise ImportError('libfancy.so.3')")
    results = verb.many([*pairs("broken", 1, 2), *pairs("good", 3)])
    for _, error in results[:2]:
        assert isinstance(error, exception.PluginLoadFailed)
        assert "libfancy" in str(error)
    assert results[2].error is None


@pytest.mark.parametrize("entry", [None, 7, (), "many", vif_open_vswitch(3)])
def test_what_is_not_a_pair_is_said_of_it_alone(
    installed: Installed, verb: Verb, entry: Any
) -> None:
    installed.initialize(many=at_once(WELL))
    (first,) = pairs("many", 1)
    done, (given, error) = verb.many([first, entry])
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
    "an-error-that-is-false": "return [plugin.Result(vif, type('Empty', (ValueError,), "
    "{'__len__': lambda self: 0})()) for vif, _ in pairs]",
    "no-vif": "return [plugin.Result(None, None) for _ in pairs]",
    "other-order": f"{WELL}[::-1]",
}


@pytest.mark.parametrize("how", BAD)
def test_a_plugin_that_returns_nonsense_fails_its_vifs_and_no_others(
    installed: Installed, verb: Verb, how: str
) -> None:
    installed.initialize(bad=at_once(BAD[how]), good=at_once(WELL))
    given = [*pairs("bad", 1, 2), *pairs("good", 3)]
    results = verb.many(given)
    assert [result.vif for result in results] == [vif for vif, _ in given]
    assert [type(result) for result in results] == [os_vif.Result] * 3
    assert types(results) == [verb.wrapper, verb.wrapper, type(None)]
    assert isinstance(results[0].error, exception.ExceptionBase)
    assert results[0].error.__cause__ is not None


EACH = "for n, (v, _) in enumerate(pairs)"


@pytest.mark.parametrize(
    ("how", "causes"),
    [
        pytest.param(
            f"return (plugin.Result(v, None) {EACH})", [None] * 3, id="results of a generator"
        ),
        pytest.param(
            f"return (plugin.Result(v, 1 / 0 if n else None) {EACH})",
            [None, ZeroDivisionError, ZeroDivisionError],
            id="what was done before it raised is reported",
        ),
        pytest.param(
            f"return [plugin.Result(v, None if n else OSError('no room')) {EACH}]",
            [OSError, None, None],
            id="the error of one is wrapped with its cause",
        ),
    ],
)
def test_what_a_plugin_reports_of_each(
    installed: Installed, verb: Verb, how: str, causes: list[type | None]
) -> None:
    installed.initialize(many=at_once(how))
    given = pairs("many", 1, 2, 3)
    for (vif, _), cause, result in zip(given, causes, verb.many(given), strict=True):
        assert result.vif is vif
        assert type(result.error) is (verb.wrapper if cause else type(None))
        if result.error is not None:
            assert type(result.error.__cause__) is cause
            assert str(vif.id) in str(result.error)


def test_a_plugin_that_cannot_be_hashed_is_no_problem(installed: Installed, verb: Verb) -> None:
    """A class with __eq__, a dataclass for instance, has no hash."""
    installed.initialize(
        odd=GOOD + "\n    def __eq__(self, other):\n        return True\n", good=at_once(WELL)
    )
    results = verb.many([*pairs("odd", 1), *pairs("good", 2), *pairs("odd", 3)])
    assert [result.error for result in results] == [None] * 3
    assert len(installed.plugin("odd").calls) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_of_a_plugin_passes_through(
    installed: Installed, verb: Verb, error: type[BaseException]
) -> None:
    """The end of a process, or a greenthread's."""
    installed.initialize(bad=at_once(f"raise {error.__name__}()"))
    with pytest.raises(error):
        verb.many(pairs("bad", 1))


@pytest.mark.parametrize("owner", [os_vif, PluginBase])
@pytest.mark.parametrize("name", ["plug_all", "unplug_all"])
def test_the_pairs_are_given_by_position_only(owner: Any, name: str) -> None:
    *_, last = inspect.signature(getattr(owner, name)).parameters.values()
    assert (last.name, last.kind) == ("pairs", inspect.Parameter.POSITIONAL_ONLY)
