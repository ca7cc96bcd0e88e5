# SPDX-License-Identifier: Apache-2.0
"""What a verb that fails must do."""

from collections.abc import Callable

import pytest

from os_vif import exception
from tests.rig.stopwatch import within


def fails(
    verb: Callable[[], object], cause: type[Exception], seconds: float = 2.0
) -> exception.ExceptionBase:
    """Assert that a verb fails in time, and return why.

    :param seconds: its deadline and one more; the shortest deadline of the tests is 1 s.
    """
    raises = pytest.raises((exception.PlugException, exception.UnplugException))
    with within(seconds), raises as failure:
        verb()
    reason = failure.value.__cause__
    assert type(reason) is cause
    assert isinstance(reason, exception.ExceptionBase)
    return reason
