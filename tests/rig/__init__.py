# SPDX-License-Identifier: Apache-2.0
"""The test rig: private namespaces, a private Open vSwitch, guests and snapshots.

Everything is a context manager that ends exactly what it started. Needs root, or an
ordinary user inside ``unshare -rnm``. What imports the library under test are ``plugin``,
``linux_bridge``, ``processes``, ``failures``, ``fixtures``, ``peer`` and ``consumers``.
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.005


class CommandError(Exception):
    """A command of the rig failed; the message holds the command and what it said."""


def wait_until(predicate: Callable[[], T], timeout: float = 5.0, what: str = "condition") -> T:
    """Poll ``predicate`` until it is true and return its value.

    :param timeout: seconds; the predicate is asked at least once, and once after the deadline.
    :param what: completes the sentence "waited for ..." of the error.
    :raises TimeoutError: when the deadline passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        value = predicate()
        if value:
            return value
        if late:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(_POLL_SECONDS)


def run(argv: Sequence[str], check: bool = True, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in the namespaces of the calling thread and return what it said.

    :raises CommandError: for an exit status other than 0, unless ``check`` is false.
    """
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **popen
    )
    if check and done.returncode:
        said = (done.stderr + done.stdout).strip()
        raise CommandError(f"{' '.join(argv)}: exit status {done.returncode}: {said}")
    return done


@contextmanager
def many_open_files() -> Iterator[None]:
    """Have more files open than select() takes: it knows no descriptor above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            stack.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        yield


def kept(argv: Sequence[str]) -> list[str]:
    """Wrap a command so that the kernel ends it when the thread that started it is gone.

    setpriv does it after the fork, in place: the pid stays, and no Python code runs between fork
    and exec, which is not safe beside other threads (as ``preexec_fn`` would).
    """
    return ["setpriv", "--pdeathsig", "KILL", *argv]


def command_lines() -> list[str]:
    """Return the command lines of all processes; one that ends meanwhile is left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text(errors="replace"))
    return found
