# SPDX-License-Identifier: Apache-2.0
"""Neutron's Open vSwitch agent plugs and unplugs the ports of a smart NIC: VIFs without an id.

A program, as ``nova_driver.py``: ``tools/private-namespace PYTHON -P
tests/consumers/neutron_agent.py FILE``. The agent asks a real bridge which ports it has; only
what Neutron's server would answer is made up.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))  # last: the library is the installed one

from neutron.agent.common import ovs_lib
from neutron.common import config
from neutron.conf.plugins.ml2.drivers import ovs_conf
from neutron.plugins.ml2.drivers.openvswitch.agent.ovs_neutron_agent import OVSNeutronAgent
from oslo_config import cfg

import os_vif
from tests.consumers.scene import INSTANCE, MTU, NETWORK, finish, mac, observe, port_id, switch
from tests.rig.fakesys import make_tap

REPRESENTOR = "rep0-0"


class Server:
    """Neutron's server: the ports of smart NICs that are bound to this host."""

    def __init__(self) -> None:
        self.bound: list[dict[str, Any]] = []

    def get_ports_by_vnic_type_and_host(self, *_: Any) -> list[dict[str, Any]]:
        return self.bound


def port() -> dict[str, Any]:
    return {
        "id": port_id(1),
        "device_id": INSTANCE,
        "mac_address": mac(1),
        "network_id": NETWORK,
        "binding:vif_type": "ovs",
        "binding:profile": {"local_link_information": [{"port_id": REPRESENTOR}]},
    }


def agent_of(server: Server) -> Any:
    """The agent, without its threads and its connection to the message bus."""
    agent: Any = OVSNeutronAgent.__new__(OVSNeutronAgent)
    agent.conf, agent.context, agent.plugin_rpc = cfg.CONF, None, server
    agent.int_br = ovs_lib.OVSBridge("br-int")
    agent.updated_smartnic_ports, agent.current_smartnic_ports_map = [], {}
    agent._get_network_mtu = lambda network: MTU
    return agent


def main() -> None:
    with switch("netdev") as (ovs, path):
        ovs_conf.register_ovs_agent_opts(cfg.CONF)
        config.register_common_config_options()
        config.init(["--config-file", str(path)])
        cfg.CONF.set_override("ovsdb_connection", ovs.remote, group="OVS")
        os_vif.initialize()
        make_tap(REPRESENTOR)
        server = Server()
        agent = agent_of(server)

        def synchronize(bound: list[dict[str, Any]]) -> None:
            """One turn of the agent's loop, as far as smart NICs go."""
            server.bound = bound
            agent.process_smartnic_ports()
            todo, agent.updated_smartnic_ports = agent.updated_smartnic_ports, []
            handled.append([one["vif_type"] for one in todo])
            for one in todo:
                agent.treat_smartnic_port(one)

        handled: list[list[str]] = []
        whole = observe(ovs, lambda: synchronize([port()]), lambda: synchronize([]))
        whole["handled"] = handled

        # The agent asks once only. After a restart it may have lost count: the VIF is plugged
        # again, and unplugged again.
        data = SimpleNamespace(mac=mac(1), vm_uuid=INSTANCE, vif_name=REPRESENTOR, mtu=MTU)
        twice = vars(data) | {"iface_id": port_id(1)}
        again = observe(
            ovs,
            lambda: agent.treat_smartnic_port(twice | {"vif_type": "ovs"}),
            lambda: agent.treat_smartnic_port(twice | {"vif_type": "unbound", "vm_uuid": ""}),
        )
        finish({"smart NIC": whole, "smart NIC, every event twice": again}, sys.argv[1])


if __name__ == "__main__":
    main()
