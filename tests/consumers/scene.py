# SPDX-License-Identifier: Apache-2.0
"""What the programs of this folder share: a private Open vSwitch, and what is seen on it.

Nothing here imports the library under test: the programs run with the released os-vif, too.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tests.rig.ovs import Datapath, PrivateOvs
from tests.rig.snapshot import difference, snapshot

CONFIGURATION = """
[os_vif_ovs]
ovsdb_connection = {remote}
ovs_vsctl_timeout = 20
[vif_plug_ovs_privileged]
helper_command = {helper}
[vif_plug_linux_bridge_privileged]
helper_command = {helper}
[privsep]
helper_command = {helper}
[oslo_concurrency]
lock_path = {home}
"""

MTU = 1450
NETWORK = "d0000001-feed-4bee-8fad-000000000001"
SUBNET = "e0000001-feed-4bee-8fad-000000000001"
INSTANCE = "c0000001-feed-4bee-8fad-000000000001"

Seen = dict[str, Any]


def port_id(number: int) -> str:
    return f"a{number:07x}-feed-4bee-8fad-{number:012x}"


def mac(number: int) -> str:
    return f"fa:16:3e:00:00:{number:02x}"


def ip(number: int) -> str:
    return f"192.0.2.{number}"


@contextmanager
def switch(datapath: Datapath) -> Iterator[tuple[PrivateOvs, Path]]:
    """Start Open vSwitch with br-int; return it and the configuration file of a service."""
    with PrivateOvs(datapath) as ovs, tempfile.TemporaryDirectory() as home:
        path = Path(home, "service.conf")
        helper = f"{Path(sys.prefix, 'bin', 'privsep-helper')} --config-file {path}"
        path.write_text(CONFIGURATION.format(remote=ovs.remote, helper=helper, home=home))
        kind = "system" if datapath == "dummy" else "netdev"
        ovs.vsctl(
            "add-br", "br-int", "--",
            "set", "Bridge", "br-int", f"datapath_type={kind}",
            "other_config:hwaddr=02:00:00:00:00:01", "--",
            # Else vswitchd gives the bridge's device the least MTU of its ports.
            "set", "Interface", "br-int", "mtu_request=1500",
        )  # fmt: skip
        yield ovs, path


def ports(ovs: PrivateOvs) -> Seen:
    """Whether each interface is attached, and why not."""
    found = {}
    for name in ovs.dump()["Interface"]:
        row = ovs.interface(name)
        found[name] = [(row["ofport"] or 0) > 0, row["error"] or ""]
    return found


def observe(
    ovs: PrivateOvs,
    plug: Callable[[], object],
    unplug: Callable[[], object],
    between: Callable[[], Mapping[str, Any]] = dict,
) -> Seen:
    """Plug twice, do something else, unplug twice; return what was seen."""
    before = snapshot(ovs)
    plug()
    plugged = snapshot(ovs)
    seen: Seen = {"plugged": difference(before, plugged), "ports": ports(ovs)}
    plug()
    seen["plugged again"] = difference(plugged, snapshot(ovs))
    seen |= between()
    unplug()
    unplug()
    seen["left"] = difference(before, snapshot(ovs))
    return seen


def finish(seen: Mapping[str, Seen], output: str, status: int = 0) -> NoReturn:
    """Write what was seen, and end: channels to privileged daemons are not to be waited for."""
    Path(output).write_text(json.dumps(seen, indent=1))
    sys.stderr.flush()
    os._exit(status)
