# SPDX-License-Identifier: Apache-2.0
"""A deadline is a point in time, not a duration that starts anew with each wait."""

import time

import pytest

from os_vif.wiring.deadline import Deadline


def left(deadline: Deadline) -> float:
    remaining = deadline.remaining()
    assert remaining is not None
    return remaining


def test_time_runs_down() -> None:
    deadline = Deadline(10)
    first = left(deadline)
    time.sleep(0.002)
    assert 9 < left(deadline) < first <= 10


def test_it_remembers_for_messages_how_long_it_was() -> None:
    assert Deadline(10).seconds == 10


def test_what_is_left_is_never_negative() -> None:
    deadline = Deadline(0.001)
    assert not Deadline(10).expired
    time.sleep(0.002)
    assert left(deadline) == 0
    assert deadline.expired


@pytest.mark.parametrize("never", [Deadline.never(), Deadline(0)])
def test_zero_seconds_are_no_deadline(never: Deadline) -> None:
    assert never.remaining() is None
    assert not never.expired


@pytest.mark.parametrize(
    ("own", "other", "at_most", "at_least"),
    [
        pytest.param(5, 1, 1, 5, id="the other is earlier"),
        pytest.param(1, 5, 1, 5, id="this is earlier"),
        pytest.param(0, 5, 5, None, id="this never comes"),
        pytest.param(5, 0, 5, None, id="the other never comes"),
        pytest.param(0, 0, None, None, id="neither comes"),
    ],
)
def test_the_earlier_and_the_later_of_two(
    own: float, other: float, at_most: float | None, at_least: float | None
) -> None:
    def seconds(deadline: Deadline) -> float | None:
        remaining = deadline.remaining()
        return None if remaining is None else pytest.approx(remaining, abs=0.5)

    assert seconds(Deadline(own).at_most(other)) == at_most
    assert seconds(Deadline(own).at_least(other)) == at_least


def test_a_later_limit_counts_from_now_and_not_from_the_start() -> None:
    deadline = Deadline(0.001)
    time.sleep(0.002)
    assert left(deadline.at_least(0.8)) > 0.7
    assert left(deadline.at_most(0.8)) == 0
