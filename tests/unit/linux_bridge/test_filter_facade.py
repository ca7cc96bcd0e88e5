# SPDX-License-Identifier: Apache-2.0
"""The historic interface to iptables: the options of a caller."""

import subprocess
import sys
from typing import Any

import pytest

from vif_plug_linux_bridge import iptables, linux_net, privileged, privsep
from vif_plug_linux_bridge.iptables import IptablesManager


def test_a_manager_is_deprecated_and_holds_options() -> None:
    with pytest.warns(DeprecationWarning, match="IptablesManager") as warned:
        manager: Any = IptablesManager(True, "top", None, "REJECT", ["eth1", "eth2"])
    assert warned[0].filename == __file__
    assert vars(manager) == {
        "use_ipv6": True,
        "iptables_top_regex": "top",
        "iptables_bottom_regex": "",
        "iptables_drop_action": "REJECT",
        "forward_bridge_interface": ("eth1", "eth2"),
    }


def test_without_options_they_are_those_of_a_bridge_without_a_manager() -> None:
    with pytest.warns(DeprecationWarning, match="configure"):
        manager = IptablesManager()
    assert vars(manager).items() <= vars(linux_net._options).items()


def test_the_import_does_not_warn() -> None:
    refused = "error::DeprecationWarning:vif_plug_linux_bridge.linux_net"
    program = "import vif_plug_linux_bridge.linux_net"
    subprocess.run([sys.executable, "-W", refused, "-c", program], check=True)


def test_the_daemon_takes_no_text_for_iptables() -> None:
    """Only steps, which are checked (``packing.unpack``), and questions for names of bridges."""
    modules = (iptables, linux_net, privileged)
    every = {name: one for module in modules for name, one in vars(module).items()}
    found = {name for name, one in every.items() if privsep.vif_plug.is_entrypoint(one)}
    assert found == {"change_links", "filtered"}
