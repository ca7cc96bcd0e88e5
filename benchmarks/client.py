# SPDX-License-Identifier: Apache-2.0
"""The other end of the pipe: processes that do the work, as objects."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from tests.rig import kept, peer

HERE = Path(__file__).parent
ROOT = HERE.parent

OURS, PEER, FLOOR = "ours", "peer", "floor"

# Both libraries get byte code of their own making, in the same way.
_CACHE = ROOT / "build" / "benchmarks" / "pycache"


class Worker:
    """A process with one library, or with none (the floor)."""

    def __init__(self, who: str, remote: str, daemon: bool = False) -> None:
        """
        :param who: OURS, PEER or FLOOR.
        :param remote: where ovsdb-server listens.
        :param daemon: whether what is privileged is done by oslo.privsep's daemon.
        """
        self.who = who
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by close()
        self._config = tempfile.NamedTemporaryFile("w")  # noqa: SIM115
        self._config.write(_configuration(who, remote))
        self._config.flush()
        self._process = subprocess.Popen(
            kept(_argv(who)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd="/",
            env=_environment(who),
        )
        try:
            if who == FLOOR:
                self.started = self.call("start", remote=remote)
            else:
                self.started = self.call("start", config=self._config.name, daemon=daemon)
        except BaseException:
            self.close()
            raise

    def call(self, do: str, **order: Any) -> Any:
        """Have it do something, and return what it answers.

        :raises RuntimeError: it failed, or is gone.
        """
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"do": do, **order}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": self.log()}
        if "error" in answer:
            raise RuntimeError(f"{self.who}: {do} {order.get('verb', '')}: {answer['error']}")
        return answer["value"]

    def log(self) -> str:
        """What it said on stderr."""
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        """Let it end, and its privileged daemon with it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        self._config.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _python(who: str) -> Path:
    return peer.PYTHON if who == PEER else Path(sys.executable)


def _configuration(who: str, remote: str) -> str:
    return (
        f"[os_vif_ovs]\novsdb_connection = {remote}\novs_vsctl_timeout = 600\n"
        "[vif_plug_ovs_privileged]\n"
        f"helper_command = {_python(who).parent}/privsep-helper\n"
    )


def _argv(who: str) -> list[str]:
    if who == FLOOR:
        return [sys.executable, "-W", "ignore", "-m", "benchmarks.floor"]
    return [str(_python(who)), "-P", "-W", "ignore", str(HERE / "worker.py")]


def _environment(who: str) -> dict[str, str]:
    removed = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    kept_ones = {name: value for name, value in os.environ.items() if name not in removed}
    path = {} if who == PEER else {"PYTHONPATH": str(ROOT)}
    return {**kept_ones, **path, "PYTHONPYCACHEPREFIX": str(_CACHE)}
