# SPDX-License-Identifier: Apache-2.0
"""Imports that are made late, in a process that eventlet has patched."""

import subprocess
import sys

import pytest

#: Greenthreads do the same while the import of pyroute2 switches greenthreads, as that of
#: pyroute2 0.8 does by itself when it asks a program what kernel this is.
PROGRAM = """
import eventlet
eventlet.monkey_patch()
import sys, time

class Slow:
    def find_spec(name, *_):
        if name.startswith("pyroute2.netlink"):
            time.sleep(0.001)

sys.meta_path.insert(0, Slow)
import os_vif.internal.ip.api
from os_vif.kernel import packing
from os_vif.wiring.steps import CreateLink
from vif_plug_linux_bridge import privileged as linux_bridge, privsep as of_linux_bridge
from vif_plug_ovs import privileged as ovs, privsep as of_ovs
of_linux_bridge.vif_plug.set_client_mode(False)
of_ovs.vif_plug.set_client_mode(False)
assert "pyroute2" not in sys.modules

def a_bridge_called_lo(plugin):
    # the kernel refuses it: the name is taken
    return [[packing.pack(CreateLink("lo", "bridge", f"os-vif:{plugin}:test:1"))]]

for each in [eventlet.spawn(lambda: CALL) for _ in range(3)]:
    each.wait()
assert ("pyroute2" in sys.modules) is IMPORTED
"""


@pytest.mark.parametrize(
    ("call", "imported"),
    [
        ("os_vif.internal.ip.api.ip.delete('no-device', check_exit_code=[19])", True),
        ("ovs.change_links(a_bridge_called_lo('ovs'))", False),
        ("linux_bridge.change_links(a_bridge_called_lo('linux_bridge'))", False),
    ],
)
def test_greenthreads_wait_for_a_module_that_another_is_importing(
    call: str, imported: bool
) -> None:
    """And for the kernel's answers, when they ask for several changes in one call."""
    pytest.importorskip("eventlet")
    program = PROGRAM.replace("CALL", call).replace("IMPORTED", str(imported))
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)
