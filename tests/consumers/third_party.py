# SPDX-License-Identifier: Apache-2.0
"""A third-party plugin that was installed from its sdist is found, and plugs.

A program, as ``nova_driver.py``: ``tools/private-namespace PYTHON -P
tests/consumers/third_party.py FILE``.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # last: the library is the installed one

from oslo_config import cfg

import os_vif
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.network import Network
from os_vif.objects.vif import VIFOpenVSwitch
from tests.consumers import scene


def main(output: str) -> None:
    with scene.switch("netdev") as (ovs, path):
        with path.open("a") as file:
            file.write(f"[os_vif_thirdparty]\novsdb_connection = {ovs.remote}\nvlan = 7\n")
        cfg.CONF(["--config-file", str(path)], project="thirdparty")
        os_vif.initialize()
        known = {one.plugin_name for one in os_vif.host_info().plugin_info}
        vif = VIFOpenVSwitch(  # without a port profile, as vendors' VIFs are
            id=scene.port_id(1),
            address=scene.mac(1),
            plugin="thirdparty",
            bridge_name="qbr-thirdparty",
            network=Network(id=scene.NETWORK, bridge="br-int", mtu=scene.MTU),
        )
        instance = InstanceInfo(uuid=scene.INSTANCE, name="a")
        seen = scene.observe(
            ovs,
            lambda: os_vif.plug(vif, instance),
            lambda: os_vif.unplug(vif, instance),
            lambda: {"tags": [row.get("tag") for row in ovs.dump()["Port"].values()]},
        )
        scene.finish({"thirdparty": {**seen, "known": "thirdparty" in known}}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
