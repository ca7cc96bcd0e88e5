# SPDX-License-Identifier: Apache-2.0
"""Some of the points at which ``tests.death`` lets verbs die and fail, and that it does so there.

The environment ``death`` of tox tries all of them.
"""

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.death.__main__ import sampled
from tests.death.deaths import Death
from tests.death.hosts import Host, of_linux_bridge, of_ovs
from tests.death.survival import undisturbed
from tests.rig.tracing import PASS, Call, Tracer

SEED = 20261121
#: Of each host.
POINTS = 3


@pytest.mark.parametrize("hosts", [of_ovs, of_linux_bridge])
def test_a_verb_that_dies_or_fails_anywhere_converges(
    hosts: Callable[[], Iterator[Host]],
) -> None:
    choose, points = random.Random(SEED), 0
    for host in hosts():
        for tally in sampled(host, undisturbed(host), POINTS, choose):
            assert tally.wrong == []
            points += sum(tally.points.values())
    assert points > POINTS  # a few come to nothing


def write_twice(path: Path) -> None:
    """Two changes of a file, each of which is one system call."""
    with path.open("ab", buffering=0) as file:
        file.write(b"1")
        file.write(b"2")


@pytest.mark.parametrize(("number", "written"), [(1, b""), (2, b"1"), (3, b"12")])
def test_death_comes_before_a_call(number: int, written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    death = Death("process", 1 + number, frozenset({"process"}))  # the first opens it
    outcome = death.run(lambda: write_twice(path))
    assert (outcome.hit, outcome.ended) == ("write of the process", False)
    assert path.read_bytes() == written


def test_death_comes_after_a_call_to_a_peer() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(5)

        def work() -> None:
            here.close()
            there.send(b"1")
            there.send(b"2")

        outcome = Death("process", 1, frozenset({"process"}), after=True).run(work)
        there.close()
        assert (outcome.hit, outcome.ended) == ("sendto of the process", False)
        assert (here.recv(9), here.recv(9)) == (b"1", b"")


def test_a_helper_is_told_from_its_process_and_a_thread_is_not_one(tmp_path: Path) -> None:
    path, seen = tmp_path / "file", []

    def work() -> None:
        thread = threading.Thread(target=write_twice, args=(path,))
        thread.start()
        thread.join()
        if os.fork() == 0:
            write_twice(path)
            os._exit(0)
        os.wait()

    def note(call: Call) -> frozenset[str]:
        seen.append(f"{call.role} {call.name}")
        return PASS

    trace = Tracer(note).run(work)
    assert trace.error is None
    opened = [one for one in seen if one.endswith("openat")]
    assert opened == ["process openat", "helper openat"]
    assert path.read_bytes() == b"1212"
