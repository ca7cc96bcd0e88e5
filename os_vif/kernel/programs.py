# SPDX-License-Identifier: Apache-2.0
"""Run programs of the host, for as long as a deadline allows; inside privileged daemons."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence

#: Where programs are looked for besides PATH, which is short in some services.
FOLDERS = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/sbin")


def path(program: str) -> str | None:
    """Return where a program is, or None."""
    return shutil.which(program, path=_search_path())


def _search_path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *FOLDERS))


def run(argv: Sequence[str], seconds: float, text: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a program; return its exit code, what it printed, and what it said of errors.

    :param text: its input.
    :raises FileNotFoundError: there is no such program.
    :raises OSError: it could not be started.
    :raises subprocess.TimeoutExpired: it was killed.
    """
    program = path(argv[0])
    if program is None:
        raise FileNotFoundError(f"no such program in {_search_path()}")
    with subprocess.Popen(
        [program, *argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        process_group=0,
    ) as process:
        try:
            out, err = process.communicate(text, seconds)
        except BaseException:
            # With it whatever it has started: the program itself, if this is a script around it,
            # would act when its turn has come, after we have said that it did not.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, err
