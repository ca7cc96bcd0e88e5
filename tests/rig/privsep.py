# SPDX-License-Identifier: Apache-2.0
"""The real privileged daemon, a process of its own, of a test."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oslo_config import cfg

from tests.rig import wait_until
from tests.rig.plugin import Child, OsVif, initialized

AMPLE = 20  # seconds


class PrivsepHelper:
    """The program privsep-helper; the path of its configuration is how its daemons are known.

    :param folder: for the configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.program = Path(sys.prefix, "bin", "privsep-helper")
        self._settings = folder / "os-vif.conf"
        self._settings.write_text("[DEFAULT]\n")
        self._frozen: Path | None = None

    @property
    def command(self) -> str:
        """Return the value of the option ``helper_command``."""
        return f"{self.program} --config-file {self._settings}"

    def daemons(self) -> list[Path]:
        """Return the folders in /proc of the daemons that run."""
        return [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if self._is_of(path)]

    def _is_of(self, cmdline: Path) -> bool:
        try:
            return str(self._settings).encode() in cmdline.read_bytes().split(b"\0")
        except OSError:  # it has ended
            return False

    def freeze(self) -> None:
        """SIGSTOP the daemon, which must be one."""
        self._frozen = self._only()
        os.kill(int(self._frozen.name), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen daemon that was given up run on, and wait until it has ended."""
        if self._frozen:
            os.kill(int(self._frozen.name), signal.SIGCONT)
            wait_until(lambda: self._frozen not in self.daemons(), what="the daemon to end")

    def kill(self) -> None:
        """SIGKILL the daemon, the frozen or the only one, and wait until it is gone."""
        daemon, self._frozen = self._frozen or self._only(), None
        os.kill(int(daemon.name), signal.SIGKILL)
        wait_until(lambda: daemon not in self.daemons(), what="the daemon to be gone")

    def _only(self) -> Path:
        (daemon,) = self.daemons()
        return daemon

    def in_a_child(self, remote: str, work: Callable[[OsVif], Any]) -> Any:
        """Do something in a child process that has os_vif and a daemon, and return its result.

        The channel to the daemon lives and ends in the child.
        """

        def child() -> Any:
            with initialized(remote, AMPLE, in_process=False) as osvif:
                section = "vif_plug_ovs_privileged"
                cfg.CONF.set_override("helper_command", self.command, group=section)
                return work(osvif)

        with Child(child) as process:
            return process.result()
