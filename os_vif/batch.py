# SPDX-License-Identifier: Apache-2.0
"""Several VIFs in one call, each of which may fail alone."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from os_vif.exception import InvalidValue
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase

T = TypeVar("T")

#: A VIF, and the virtual machine that it belongs to.
Pair = tuple[VIFBase, InstanceInfo]


class Result(NamedTuple):
    """What became of one VIF of several."""

    vif: VIFBase
    error: Exception | None  # None: it is done


class Batch:
    """VIFs that a verb is called for together.

    :param pairs: each VIF with the virtual machine that it belongs to.
    """

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self.pairs = list(pairs)
        self._errors: dict[int, Exception] = {}

    def each(self, work: Callable[[VIFBase, InstanceInfo], T]) -> dict[int, T]:
        """Do the same for one VIF after the other; one of which it raises has failed.

        :returns: position -> what was returned for the VIF there.
        """
        done = {}
        for i, pair in enumerate(self.pairs):
            try:
                done[i] = work(*_checked(pair))
            except Exception as err:
                self._errors[i] = err
        return done

    def results(
        self, outcomes: Mapping[int, Exception | None] = MappingProxyType({})
    ) -> list[Result]:
        """Return what became of each VIF, in order.

        :param outcomes: position -> why the VIF there failed after all, or None.
        """
        errors = {**outcomes, **self._errors}
        return [Result(_vif(pair), errors.get(i)) for i, pair in enumerate(self.pairs)]


def _vif(pair: Any) -> Any:
    return pair[0] if _is_pair(pair) else pair


def _checked(pair: Pair) -> Pair:
    if not _is_pair(pair):
        raise InvalidValue(field="pair", value=pair, reason="it is not a VIF and its instance")
    return pair


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2
