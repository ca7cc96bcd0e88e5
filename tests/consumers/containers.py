# SPDX-License-Identifier: Apache-2.0
"""kuryr-kubernetes and zun attach containers: their own translation, binding, and os-vif.

A program, as ``nova_driver.py``: ``tools/private-namespace PYTHON -P tests/consumers/containers.py
kuryr|zun FILE``. Two containers are namespaces; they ping each other.
"""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))  # last: the library is the installed one


import os_vif
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.subnet import SubnetList
from tests.consumers import scene
from tests.rig.namespace import NetworkNamespace
from tests.rig.ovs import PrivateOvs

DETAILS = {
    "VIFOpenVSwitch": {"bridge_name": "br-int", "port_filter": True, "ovs_hybrid_plug": False},
    "VIFBridge": {"bridge_name": "br-int", "port_filter": True, "ovs_hybrid_plug": True},
}


def port(number: int, kind: str) -> dict[str, Any]:
    """A port as Neutron shows it."""
    return {
        "id": scene.port_id(number),
        "network_id": scene.NETWORK,
        "mac_address": scene.mac(number),
        "status": "ACTIVE",
        "fixed_ips": [{"subnet_id": scene.SUBNET, "ip_address": scene.ip(number)}],
        "binding:vif_details": DETAILS[kind],
    }


NETWORK = {
    "id": scene.NETWORK,
    "name": "net",
    "mtu": scene.MTU,
    "provider:network_type": "geneve",
    "provider:segmentation_id": 1,
}
SUBNET = {
    "id": scene.SUBNET,
    "cidr": "192.0.2.0/24",
    "dns_nameservers": [],
    "host_routes": [],
    "gateway_ip": "192.0.2.254",
}


def kuryr(path: Path) -> tuple[Any, Callable[[int, str], Any]]:
    """The module that binds, and what makes a VIF of a port, of kuryr-kubernetes."""
    from kuryr_kubernetes import config, os_vif_util
    from kuryr_kubernetes.cni.binding import base
    from openstack.network.v2.network import Network
    from openstack.network.v2.port import Port
    from openstack.network.v2.subnet import Subnet

    config.init(["--config-file", str(path)])
    network = os_vif_util.neutron_to_osvif_network(Network(**NETWORK))
    network.subnets = SubnetList(objects=[os_vif_util.neutron_to_osvif_subnet(Subnet(**SUBNET))])

    def vif(number: int, kind: str) -> Any:
        subnets = {scene.SUBNET: network}
        return os_vif_util.neutron_to_osvif_vif("ovs", Port(**port(number, kind)), subnets)

    return base, vif


def zun(path: Path) -> tuple[Any, Callable[[int, str], Any]]:
    """The same of zun; it goes through its own state of a container, too."""
    import zun.conf  # noqa: F401 (its options)
    from zun.cni.binding import base
    from zun.common import config
    from zun.network import os_vif_util
    from zun.objects.vif import VIFState

    from os_vif.objects.base import VersionedObject

    config.parse_args(["zun-cni-daemon", "--config-file", str(path)])

    def vif(number: int, kind: str) -> Any:
        subnets = {scene.SUBNET: SUBNET}
        made = os_vif_util.neutron_to_osvif_vif("ovs", port(number, kind), NETWORK, subnets)
        stored = VIFState(default_vif=made).obj_to_primitive()
        return VersionedObject.obj_from_primitive(stored).default_vif

    return base, vif


def observe(binding: Any, vifs: list[Any], ovs: PrivateOvs) -> scene.Seen:
    """Attach containers, plug them once more, let them talk, and detach them."""
    instance = InstanceInfo(uuid=scene.INSTANCE, name="pod")
    with ExitStack() as stack:
        spaces = [stack.enter_context(NetworkNamespace()) for _ in vifs]
        attached: list[Any] = []

        def plug() -> None:
            for vif, space in zip(vifs, spaces, strict=True):
                if vif in attached:  # what kuryr and zun add is no re-plug: they make it anew
                    os_vif.plug(vif, instance)
                    continue
                path = f"/proc/{os.getpid()}/fd/{space.fd}"
                binding.connect(vif, instance, "eth0", path, container_id="container")
                attached.append(vif)

        def unplug() -> None:
            for vif, space in zip(vifs, spaces, strict=True):
                path = f"/proc/{os.getpid()}/fd/{space.fd}"
                binding.disconnect(vif, instance, "eth0", path, container_id="container")
                space.run(["ip", "link", "delete", "eth0"], check=False)  # as a runtime does

        def ping() -> dict[str, Any]:
            argv = ["ping", "-q", "-n", "-c5", "-i0.1", "-W5", "192.0.2.2"]
            done = spaces[0].run(argv, check=False)
            return {"answers": [5, 5] if "5 received" in done.stdout else [done.stdout]}

        return scene.observe(ovs, plug, unplug, ping)


def main(who: str, output: str) -> None:
    with scene.switch("netdev") as (ovs, path):
        os.environ.update(ovs.environment())  # for the ovs-vsctl that they run
        binding, vif = {"kuryr": kuryr, "zun": zun}[who](path)
        os_vif.initialize()
        seen = {kind: observe(binding, [vif(1, kind), vif(2, kind)], ovs) for kind in DETAILS}
        scene.finish(seen, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
