# SPDX-License-Identifier: Apache-2.0
"""Exceptions say what they mean, and keep saying it wherever they are carried."""

import copy
import importlib.util
import pickle
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from os_vif import exception
from os_vif.objects import vif
from os_vif.wiring.errors import DeadlineExceeded
from tests.compat import facts

OLD = {module: found for module, found in facts("api").items() if module.endswith("exception")}
NEW = {
    "InvalidValue": ["field", "reason", "value"],
    "NotSupported": ["plugin", "verb"],
    "PluginLoadFailed": ["cause", "plugin_name"],
    "QueryFailed": ["err", "plugin", "verb"],
}

for module in OLD:
    if importlib.util.find_spec(module.partition(".")[0]) and importlib.util.find_spec(module):
        importlib.import_module(module)


def descendants(cls: type[exception.ExceptionBase]) -> Iterator[type[exception.ExceptionBase]]:
    yield cls
    for child in cls.__subclasses__():
        yield from descendants(child)


CLASSES = [cls for cls in descendants(exception.ExceptionBase) if cls.__module__ != __name__]


def keywords(cls: type[exception.ExceptionBase]) -> list[str]:
    return sorted(set(re.findall(r"%\((\w+)\)", cls.msg_fmt)))


@pytest.mark.parametrize("cls", CLASSES)
def test_takes_its_documented_keywords(cls: type[exception.ExceptionBase]) -> None:
    old = OLD.get(cls.__module__, {}).get(cls.__name__)
    if old:
        assert keywords(cls) == old["kwargs"]
        assert [parent.__name__ for parent in cls.__bases__] == old["exception"]
    elif cls.__module__ == exception.__name__:
        assert keywords(cls) == NEW[cls.__name__]
    error = cls(**{name: f"<{name}>" for name in keywords(cls)})
    assert "%(" not in str(error)
    assert all(f"<{name}>" in str(error) for name in keywords(cls))


def test_none_is_missing_and_each_is_drawn_in_the_tree() -> None:
    ours = {cls.__name__ for cls in CLASSES if cls.__module__ == exception.__name__}
    assert ours == set(OLD["os_vif.exception"]) | set(NEW)
    assert ours <= set(re.findall(r"\w+", exception.__doc__ or ""))


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if keywords(cls)])
def test_a_missing_keyword_does_not_hide_the_error(cls: type[exception.ExceptionBase]) -> None:
    for missing in keywords(cls):
        given = {name: "x" for name in keywords(cls) if name != missing}
        error = cls(**given)
        assert (str(error), error.kwargs) == (cls.msg_fmt, given)


def test_texts() -> None:
    failed = exception.PlugException(vif="tap0", err="no bridge")
    assert str(failed) == "Failed to plug VIF tap0. Got error: no bridge"
    assert failed.format_message() == str(failed)
    assert failed.kwargs == {"vif": "tap0", "err": "no bridge"}
    assert "unplug" in str(exception.UnplugException(vif="tap0", err="no bridge"))
    assert str(exception.InvalidValue(field="mtu", value="9", reason="too small")) == (
        "Invalid value of mtu, '9': too small"
    )
    assert str(exception.ExceptionBase("100% as it is %(x)s")) == "100% as it is %(x)s"
    assert str(exception.ExceptionBase(OSError("a text"))) == "a text"
    # a keyword more does no harm
    assert str(exception.NoMatchingPlugin(plugin_name="x", more=1)).endswith("x")


class ForeignError(exception.ExceptionBase):
    """What a plugin defines."""

    msg_fmt = "Port %(port)s has %(count)d problems"


class OwnConstructor(exception.ExceptionBase):
    """What a plugin defines, with a constructor of its own."""

    msg_fmt = "Port %(port)s is gone"

    def __init__(self, port: str) -> None:
        super().__init__(port=port)
        self.port = port


def test_foreign_exceptions() -> None:
    assert str(ForeignError(port="tap0", count=2)) == "Port tap0 has 2 problems"
    assert str(ForeignError(port="tap0")) == ForeignError.msg_fmt
    assert str(ForeignError(port="tap0", count="two")) == ForeignError.msg_fmt


def errors() -> list[exception.ExceptionBase]:
    unpicklable = OSError(threading.Lock())
    return [
        exception.LibraryNotInitialized(),
        exception.NetworkInterfaceNotFound(interface="100%s"),
        exception.PlugException(vif=vif.VIFBridge(vif_name="tap0"), err=unpicklable),
        exception.ExceptionBase(""),
        exception.ExceptionBase(OSError("a text")),
        ForeignError(port="tap0", count=2),
        OwnConstructor("tap0"),
    ]


@pytest.mark.parametrize("error", errors(), ids=lambda error: type(error).__name__)
def test_survives_pickle_and_copy(error: exception.ExceptionBase) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.args) == (str(error), error.args)
        assert twin.kwargs.keys() == error.kwargs.keys()
    assert getattr(copy.copy(error), "port", None) == getattr(error, "port", None)


@pytest.mark.parametrize("error", errors()[:-1], ids=lambda error: type(error).__name__)
def test_survives_privsep(error: exception.ExceptionBase) -> None:
    """oslo.privsep carries class and args, the args as plain data."""
    args: Any = error.args
    assert all(type(arg) is str for arg in args)
    assert str(type(error)(*args)) == str(error)


@pytest.mark.parametrize("verb", [exception.PlugException, exception.UnplugException])
def test_the_error_of_a_verb_carries_what_is_known_of_its_cause(
    verb: type[exception.ExceptionBase],
) -> None:
    cause = exception.InvalidValue(field="vif.address", value="x", reason="no MAC address")
    error = verb(vif="a VIF", err=cause)
    assert (error.code, error.retryable, error.element) == ("bad_input", False, "vif.address")
    late = verb(vif="a VIF", err=DeadlineExceeded(seconds=1, what="it"))
    assert (late.code, late.retryable, late.element) == ("deadline", True, None)
    for carried in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (carried.code, carried.element) == ("bad_input", "vif.address")
    foreign = verb(vif="a VIF", err=ValueError("?"))
    assert (foreign.code, foreign.retryable, foreign.element) == ("internal", False, None)


class OwnAttributes(exception.ExceptionBase):
    """What a plugin defined before os-vif had attributes of these names."""

    code: Any = 500
    retryable: Any = None

    def __init__(self, element: object) -> None:
        if element:
            self.element: Any = element


@pytest.mark.parametrize("element", ["tap0", object(), None])
def test_a_plugins_error_may_have_attributes_of_these_names(element: object) -> None:
    """And a constructor that does not call ours."""
    error = exception.PlugException(vif="a VIF", err=OwnAttributes(element))
    named = element if isinstance(element, str) else None
    assert (error.code, error.retryable, error.element) == ("internal", False, named)
