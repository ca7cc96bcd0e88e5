# SPDX-License-Identifier: Apache-2.0
"""Locks by key, between real threads and after real forks."""

import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from os_vif.locks import KeyedLocks
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.errors import DeadlineExceeded
from tests.rig.stopwatch import within

AMPLE, SHORT = 5, 0.2  # seconds


@pytest.fixture
def locks() -> KeyedLocks:
    return KeyedLocks()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@contextmanager
def held_elsewhere(
    locks: KeyedLocks, keys: Collection[str], pool: ThreadPoolExecutor
) -> Iterator[Callable[[], None]]:
    """Another thread holds keys, until the end or until what this yields is called."""
    holding, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.hold(keys, Deadline(AMPLE)):
            holding.set()
            enough.wait(AMPLE)

    done: Future[None] = pool.submit(hold)
    assert holding.wait(AMPLE)

    def release() -> None:
        enough.set()
        done.result()

    try:
        yield release
    finally:
        release()


def test_keys_are_held_by_one_thread_at_a_time(
    locks: KeyedLocks, pool: ThreadPoolExecutor
) -> None:
    inside: set[str] = set()
    met = []

    def work(number: int) -> None:
        keys = {f"{number % 3}", f"{(number + 1) % 3}"}  # each pair of threads shares a key
        for _ in range(200):
            with locks.hold(keys, Deadline(AMPLE)):
                met.extend(inside & keys)
                inside.update(keys)
                time.sleep(0)  # let others in who should not be let in
                inside.difference_update(keys)

    list(pool.map(work, range(16)))
    assert met == []


@pytest.mark.parametrize("ample", [AMPLE, math.inf])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [({"a"}, {"a"}), ({"a"}, {"a", "b"}), ({"a", "b"}, {"b"}), ({"a", "b"}, {"b", "c"})],
)
def test_whoever_wants_a_key_that_is_held_waits_for_it(
    theirs: set[str], ours: set[str], ample: float, locks: KeyedLocks, pool: ThreadPoolExecutor
) -> None:
    with held_elsewhere(locks, theirs, pool) as release:
        with pytest.raises(DeadlineExceeded), locks.hold(ours, Deadline(SHORT)):
            pass
        waiting = pool.submit(lambda: locks.hold(ours, Deadline(ample)).__enter__())
        assert not waiting.done()
        release()
        waiting.result()


@pytest.mark.parametrize(
    ("theirs", "ours"), [({"a"}, {"b"}), ({"a", "b"}, {"c", "d"}), ({"a"}, set()), (set(), {"a"})]
)
def test_whoever_wants_other_keys_does_not_wait(
    theirs: set[str], ours: set[str], locks: KeyedLocks, pool: ThreadPoolExecutor
) -> None:
    with held_elsewhere(locks, theirs, pool), locks.hold(ours, Deadline(SHORT)):
        pass
    with held_elsewhere(locks, theirs, pool), KeyedLocks().hold(theirs, Deadline(SHORT)):
        pass  # another object has locks of its own


def test_the_deadline_is_that_of_the_caller_and_the_error_names_it(
    locks: KeyedLocks, pool: ThreadPoolExecutor
) -> None:
    with held_elsewhere(locks, {"a"}, pool):
        with (
            within(SHORT + 1) as lap,
            pytest.raises(DeadlineExceeded, match=r"0\.2 s.*another thread is busy") as failure,
            locks.hold({"a"}, Deadline(SHORT)),
        ):
            pytest.fail("the keys are not ours")
        assert lap.took >= SHORT
    assert failure.value.kwargs["seconds"] == SHORT


def test_a_deadline_that_has_passed_is_no_hindrance_to_free_keys(locks: KeyedLocks) -> None:
    passed = Deadline(1e-9)
    with locks.hold({"a"}, passed):
        pass


def test_who_failed_to_get_keys_holds_none_of_them(
    locks: KeyedLocks, pool: ThreadPoolExecutor
) -> None:
    with held_elsewhere(locks, {"a"}, pool):
        with pytest.raises(DeadlineExceeded), locks.hold({"a", "b"}, Deadline(SHORT)):
            pass
        with locks.hold({"b"}, Deadline(SHORT)):
            pass
    with locks.hold({"a", "b"}, Deadline(SHORT)):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, SystemExit])
def test_keys_are_released_on_an_error(locks: KeyedLocks, error: type[BaseException]) -> None:
    with pytest.raises(error), locks.hold({"a", "b"}, Deadline(AMPLE)):
        raise error
    with locks.hold({"a", "b"}, Deadline(SHORT)):
        pass


def forked(work: Callable[[], None]) -> int:
    """Do something in a forked process; its exit status, 0 unless it raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: our point
        pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + AMPLE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("the forked process hangs")


def test_a_fork_frees_what_the_threads_of_its_parent_held(
    locks: KeyedLocks, pool: ThreadPoolExecutor
) -> None:
    """They do not exist in the child, and would never release it."""

    def child() -> None:
        with locks.hold({"a"}, Deadline(SHORT)):
            pass

    with held_elsewhere(locks, {"a"}, pool):
        assert forked(child) == 0
        with pytest.raises(DeadlineExceeded), locks.hold({"a"}, Deadline(SHORT)):
            pass


def test_locks_work_between_the_threads_of_a_forked_process(locks: KeyedLocks) -> None:
    def child() -> None:
        with ThreadPoolExecutor(2) as pool, held_elsewhere(locks, {"a"}, pool):
            with pytest.raises(DeadlineExceeded), locks.hold({"a"}, Deadline(SHORT)):
                pass
            with locks.hold({"b"}, Deadline(SHORT)):
                pass

    assert forked(child) == 0


def test_a_fork_while_the_registry_of_keys_is_being_changed_does_not_block_the_child(
    locks: KeyedLocks, pool: ThreadPoolExecutor
) -> None:
    """A thread may be anywhere in hold() at the moment of the fork, with its mutex held."""
    holding, enough = threading.Event(), threading.Event()

    def inside() -> None:
        with locks._changed:
            holding.set()
            enough.wait(AMPLE)

    busy = pool.submit(inside)
    assert holding.wait(AMPLE)

    def child() -> None:
        with locks.hold({"a"}, Deadline(SHORT)):
            pass

    try:
        # Killed after a while if it hangs: then this is what the library has to mend.
        assert forked(child) == 0
    finally:
        enough.set()
        busy.result()
