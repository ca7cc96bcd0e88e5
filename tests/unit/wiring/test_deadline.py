# SPDX-License-Identifier: Apache-2.0
"""A deadline is a point in time, not a duration that starts anew with each wait."""

import math
import select
import socket
import subprocess
import threading
import time
from typing import Any

import pytest

from os_vif.exception import InvalidValue
from os_vif.wiring.deadline import LONGEST, Deadline


def test_time_runs_down_to_zero() -> None:
    deadline = Deadline(10)
    first = deadline.remaining()
    time.sleep(0.002)
    assert 9 < deadline.remaining() < first <= 10
    assert not deadline.expired
    assert deadline.seconds == 10  # what messages say
    passed = Deadline(0.001)
    time.sleep(0.002)
    assert passed.remaining() == Deadline(-1).remaining() == 0
    assert passed.expired
    assert Deadline(0).expired


@pytest.mark.parametrize("never", [Deadline.never(), Deadline.of_option(0)])
def test_what_never_expires_is_passed_as_a_number_that_every_wait_takes(never: Deadline) -> None:
    assert not never.expired
    assert never.remaining() == LONGEST
    assert not threading.Event().wait(min(never.remaining(), 0.01))
    with subprocess.Popen(["true"]) as process:
        process.wait(never.remaining())
    left, right = socket.socketpair()
    with left, right:
        right.send(b".")
        assert select.select([left], [], [], never.remaining())[0]
        poll = select.poll()
        poll.register(left, select.POLLIN)
        assert poll.poll(never.remaining() * 1000)


def test_a_deadline_crosses_to_another_process_as_a_point_in_time() -> None:
    deadline = Deadline(10)
    assert Deadline.until(deadline.at).remaining() == pytest.approx(deadline.remaining(), abs=0.5)
    assert not Deadline.until(Deadline.never().at).expired
    assert Deadline.until(Deadline(0).at).expired


@pytest.mark.parametrize("at", ["soon", math.nan, [1], None])
def test_what_is_not_a_point_in_time_is_refused(at: Any) -> None:
    with pytest.raises(InvalidValue, match="until"):
        Deadline.until(at)


@pytest.mark.parametrize(
    ("own", "other", "at_most", "at_least"),
    [
        pytest.param(5, 1, 1, 5, id="the other is earlier"),
        pytest.param(1, 5, 1, 5, id="this is earlier"),
        pytest.param(math.inf, 5, 5, LONGEST, id="this never comes"),
        pytest.param(0, 5, 0, 5, id="this has come"),
    ],
)
def test_the_earlier_and_the_later_of_two(
    own: float, other: float, at_most: float, at_least: float
) -> None:
    assert Deadline(own).at_most(other).remaining() == pytest.approx(at_most, abs=0.5)
    assert Deadline(own).at_least(other).remaining() == pytest.approx(at_least, abs=0.5)


def test_a_later_limit_counts_from_now_and_not_from_the_start() -> None:
    deadline = Deadline(0.001)
    time.sleep(0.002)
    assert deadline.at_least(0.8).remaining() > 0.7
    assert deadline.at_most(0.8).remaining() == 0
