# SPDX-License-Identifier: Apache-2.0
"""The released os-vif, in an environment of its own, driven through its public API.

It makes the state that an upgrade finds. VIFs travel to it as primitives, which are the same in
both libraries.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase
from tests.rig import run
from tests.rig.ovs import PrivateOvs

RELEASE = "os-vif==5.3.0"

_ROOT = Path(__file__).parents[2]
_HOME = _ROOT / ".tox" / "peer"
PYTHON = _HOME / "bin" / "python"

_PROGRAM = """
import json, sys
from oslo_config import cfg
import os_vif
from os_vif.objects import base
from vif_plug_ovs import privsep
order = json.load(sys.stdin)
cfg.CONF([], project="peer", default_config_files=[], default_config_dirs=[])
os_vif.initialize()
for name, value in order["options"].items():
    cfg.CONF.set_override(name, value, group="os_vif_ovs")
privsep.vif_plug.set_client_mode(False)
vif, instance = map(base.VersionedObject.obj_from_primitive, (order["vif"], order["instance"]))
getattr(os_vif, order["verb"])(vif, instance)
"""


def install() -> None:
    """Install the release, once for all test runs; outside of a private network."""
    done = _HOME / "installed"
    if done.exists() and done.read_text() == RELEASE:
        return
    run([sys.executable, "-m", "venv", "--clear", str(_HOME)])
    run([str(PYTHON), "-m", "pip", "install", "--quiet", RELEASE])
    done.write_text(RELEASE)


def call(
    verb: Literal["plug", "unplug"],
    ovs: PrivateOvs,
    vif: VIFBase,
    instance: InstanceInfo,
    **options: Any,
) -> None:
    """Plug or unplug with the release, in the calling thread's namespaces."""
    if not PYTHON.exists():
        raise FileNotFoundError(f"{PYTHON}: run 'python -m tests.rig.peer' first")
    order = {
        "verb": verb,
        "vif": vif.obj_to_primitive(),
        "instance": instance.obj_to_primitive(),
        "options": {"ovsdb_connection": ovs.remote, "ovs_vsctl_timeout": 20, **options},
    }
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", "-c", _PROGRAM],
        input=json.dumps(order),
        cwd="/",
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"{RELEASE} failed to {verb}:\n{done.stderr}")


if __name__ == "__main__":
    install()
