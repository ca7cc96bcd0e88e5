# SPDX-License-Identifier: Apache-2.0
"""What a verb that fails must do."""

import math
from collections.abc import Callable

import pytest

from os_vif import exception
from tests.rig.stopwatch import within


def fails(
    verb: Callable[[], object], cause: type[Exception], seconds: float = math.inf
) -> exception.ExceptionBase:
    """Assert that a verb fails within so many seconds, and return why."""
    raises = pytest.raises((exception.PlugException, exception.UnplugException))
    with within(seconds), raises as failure:
        verb()
    reason = failure.value.__cause__
    assert type(reason) is cause
    assert isinstance(reason, exception.ExceptionBase)
    return reason
