# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on."""

import datetime
import os
import platform
import re
from pathlib import Path
from typing import Any

from tests.rig import peer, run


def describe() -> dict[str, Any]:
    """The date and the machine, without names or paths."""
    version = run(["ovs-vswitchd", "--version"]).stdout.splitlines()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "CPU": _cpu(),
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PAGESIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "Open vSwitch": version.rpartition(" ")[2],
        "peer": peer.RELEASE,
        "load": os.getloadavg()[0],
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.machine()
