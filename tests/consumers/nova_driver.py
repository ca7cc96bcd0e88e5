# SPDX-License-Identifier: Apache-2.0
"""Nova's LibvirtGenericVIFDriver plugs and unplugs Neutron's ports on a real Open vSwitch.

A program for an environment with Nova: ``tools/private-namespace PYTHON -P
tests/consumers/nova_driver.py DATAPATH FILE``. It starts as nova-compute does, has Nova make its
VIFs of ports as Neutron's API shows them, writes to a file what it saw, and fails if that is not
what it should be. It imports nothing of the library under test but os_vif, so that it runs with
the released one, too.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest import mock

import nova.cmd.compute

sys.path.append(str(Path(__file__).parents[2]))  # last: the library is the installed one

import nova.conf
from nova import config, context, exception, objects, utils
from nova.network import model, neutron
from nova.virt.libvirt.vif import LibvirtGenericVIFDriver
from oslo_privsep import priv_context

import os_vif
from tests.consumers import scene
from tests.rig import run
from tests.rig.fakesys import make_tap, mlx5, mounted
from tests.rig.guest import BridgeGuest, Guest, LibvirtGuest, TapGuest
from tests.rig.ovs import Datapath, PrivateOvs

VF = "0000:03:00.2"
LINUX_BRIDGE = "brq0123abcd-4"


@dataclass(frozen=True)
class Case:
    """A port of Neutron.

    :param details: ``binding:vif_details`` besides those that all have.
    :param options: of os-vif.
    :param guest: where a guest is attached: to its tap, its qbr bridge, or a network's bridge.
    """

    details: Mapping[str, Any] = field(default_factory=dict)
    datapath: Datapath = "netdev"
    vif_type: str = "ovs"
    vnic_type: str = "normal"
    profile: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    multiqueue: bool = False
    guest: str = ""
    delegated: bool = True

    def port(self, number: int) -> dict[str, Any]:
        """As ``GET /v2.0/ports/{id}`` answers."""
        details = {
            "bridge_name": "br-int",
            "connectivity": "l2",
            "datapath_type": "system" if self.datapath == "dummy" else "netdev",
            "ovs_hybrid_plug": False,
            "port_filter": True,
        }
        return {
            "id": scene.port_id(number),
            "network_id": scene.NETWORK,
            "tenant_id": "tenant",
            "mac_address": scene.mac(number),
            "fixed_ips": [{"ip_address": scene.ip(number), "subnet_id": scene.SUBNET}],
            "status": "DOWN",
            "admin_state_up": True,
            "binding:vif_type": self.vif_type,
            "binding:vnic_type": self.vnic_type,
            "binding:vif_details": {**details, **self.details},
            "binding:profile": dict(self.profile),
        }


_TAP = {"ovs_create_tap": True}
_CLIENT = {"vhostuser_ovs_plug": True, "vhostuser_mode": "client"}
_SERVER = {**_CLIENT, "vhostuser_mode": "server", "vhostuser_socket": "/run/guest.sock"}
_CAPABLE = {"pci_slot": VF, "pci_vendor_info": "15b3:1018", "capabilities": ["switchdev"]}
CASES = {
    "libvirt creates the port": Case(delegated=False),
    "delegated creation": Case(guest="tap"),
    "delegated creation with the tap": Case(_TAP, guest="tap"),
    "delegated creation with a multiqueue tap": Case(_TAP, guest="tap", multiqueue=True),
    "per-port bridge": Case(_TAP, guest="tap", options={"per_port_bridge": True}),
    "hybrid": Case({"ovs_hybrid_plug": True}, guest="qbr"),
    "isolated": Case(_TAP, options={"isolate_vif": True}),
    "trunk": Case({"bridge_name": "tbr-0123abcd-4"}, guest="tap"),
    "remote-managed": Case(vnic_type="remote-managed", profile=_CAPABLE),
    "Linux bridge": Case({"bridge_name": LINUX_BRIDGE}, vif_type="bridge", guest=LINUX_BRIDGE),
    "vhost-user, the guest is the server": Case(_SERVER, "dpdk", "vhostuser"),
    "vhost-user, the guest is the client": Case(_CLIENT, "dpdk", "vhostuser"),
    "hardware offload": Case(datapath="dummy", vnic_type="direct", profile=_CAPABLE),
    "vDPA": Case(datapath="dummy", vnic_type="vdpa", profile=_CAPABLE),
}


class Client:
    """Neutron's API, as much of it as Nova asks when it makes a VIF."""

    def list_floatingips(self, **_: Any) -> Any:
        return {"floatingips": []}

    def list_ports(self, **_: Any) -> Any:
        return {"ports": []}

    def list_extensions(self, **_: Any) -> Any:
        return {"extensions": []}

    def show_network(self, *_: Any, **__: Any) -> Any:
        return {"network": {"provider:physical_network": None}}

    def list_subnets(self, **_: Any) -> Any:
        subnet = {
            "id": scene.SUBNET,
            "network_id": scene.NETWORK,
            "cidr": "192.0.2.0/24",
            "gateway_ip": "192.0.2.254",
            "dns_nameservers": [],
            "host_routes": [],
            "ip_version": 4,
            "enable_dhcp": False,
            "ipv6_ra_mode": None,
            "ipv6_address_mode": None,
        }
        return {"subnets": [subnet]}


@dataclass
class Host:
    """A host on which nova-compute runs."""

    ovs: PrivateOvs

    def vif(self, case: Case, number: int) -> Any:
        """Nova's VIF of a port."""
        api, client = neutron.API(), Client()
        networks = [{"id": scene.NETWORK, "name": "net", "tenant_id": "tenant", "mtu": scene.MTU}]
        port = case.port(number)
        if case.vif_type == "vhostuser" and "vhostuser_socket" not in case.details:
            # The path that Neutron's agent reports its ovs-vswitchd to use.
            socket = f"{self.ovs.rundir}/vhu{port['id']}"[: len(self.ovs.rundir) + 15]
            port["binding:vif_details"]["vhostuser_socket"] = socket
        with mock.patch.object(neutron, "get_client", return_value=client):
            vif = api._build_vif_model(context.get_admin_context(), client, port, networks, [])
        vif["delegate_create"] = case.delegated
        # Nova-compute has it from the database.
        return model.NetworkInfo.hydrate(model.NetworkInfo([vif]).json())[0]

    def instance(self, case: Case) -> Any:
        specs = {"hw:vif_multiqueue_enabled": "true"} if case.multiqueue else {}
        return objects.Instance(
            id=1,
            uuid=scene.INSTANCE,
            project_id="tenant",
            display_name="a",
            image_ref="",
            flavor=objects.Flavor(name="m1", vcpus=2, extra_specs=specs),
            system_metadata={},
        )

    def observe(self, case: Case) -> scene.Seen:
        """Plug twice, let guests talk, unplug twice; return what was seen."""
        with ExitStack() as stack:
            for name, value in case.options.items():
                stack.callback(nova.conf.CONF.clear_override, name, group="os_vif_ovs")
                nova.conf.CONF.set_override(name, value, group="os_vif_ovs")
            if case.datapath == "dummy":
                stack.enter_context(representors())
            return self._observe(case)

    def _observe(self, case: Case) -> scene.Seen:
        driver, instance = LibvirtGenericVIFDriver(), self.instance(case)
        vif, second = self.vif(case, 1), self.vif(case, 2)

        def unplug() -> None:
            driver.unplug(instance, vif)
            driver.unplug(instance, second)

        def between() -> scene.Seen:
            seen: scene.Seen = {"domain": self._domain(driver, instance, vif, case)}
            if case.guest:
                driver.plug(instance, second)
                seen["answers"] = self._answers(case)
            return seen

        return scene.observe(self.ovs, lambda: driver.plug(instance, vif), unplug, between)

    @staticmethod
    def _domain(driver: Any, instance: Any, vif: Any, case: Case) -> str:
        """The XML for libvirt."""
        if case.vnic_type == "vdpa":  # it looks for the character device
            return ""
        image = objects.ImageMeta(properties=objects.ImageMetaProps())
        made: str = driver.get_config(instance, vif, image, instance.flavor, "kvm").to_xml()
        return made

    def _answers(self, case: Case) -> list[int]:
        """How many packets one guest sends to the other, and how many are answered."""
        with guest(case, 1) as here, guest(case, 2) as there:
            return list(here.ping(there.ip, count=5, interval=0.02))


def guest(case: Case, number: int) -> Guest:
    port = case.port(number)
    address = f"{port['fixed_ips'][0]['ip_address']}/24"
    tap = f"tap{port['id']}"[:14]
    if case.guest == "tap":
        if not Path(f"/sys/class/net/{tap}").exists():  # an older Nova leaves it to libvirt
            return LibvirtGuest(tap, port["mac_address"], address, scene.MTU)
        queues = 1 + case.multiqueue
        return TapGuest(tap, port["mac_address"], address, scene.MTU, case.multiqueue, queues)
    bridge = case.guest if case.guest == LINUX_BRIDGE else f"qbr{port['id']}"[:14]
    return BridgeGuest(bridge, tap, port["mac_address"], address, scene.MTU)


@contextmanager
def representors() -> Iterator[None]:
    """A card in switchdev mode; its representors are taps."""
    card = mlx5()
    names = [one.name for one in card.devices]
    for name in names:
        make_tap(name)
    try:
        with mounted(card):
            yield
    finally:
        for name in names:
            run(["ip", "link", "delete", name])


@contextmanager
def nova_compute(datapath: Datapath) -> Iterator[Host]:
    """Start as ``nova.cmd.compute`` does, as far as VIFs go."""
    with scene.switch(datapath) as (ovs, path):
        config.parse_args(["nova-compute", "--config-file", str(path)])
        priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
        objects.register_all()
        os_vif.initialize()
        yield Host(ovs)


def faults(seen: scene.Seen) -> Iterator[str]:
    """What is not as it should be."""
    if seen.get("refused"):
        if "Linux bridge VIFs are no longer supported by Nova" not in seen["refused"]:
            yield seen["refused"]
        return
    if seen["plugged again"] or seen.get("answers", [5, 5]) != [5, 5]:
        yield f"plugged again: {seen['plugged again']}, answers: {seen.get('answers')}"
    # A representor is detached and set down; its MTU is nobody's concern then. The Linux bridge
    # is the network's.
    kept = ("~ links/pf0vf0/mtu", f"+ links/{LINUX_BRIDGE}: ")
    yield from (line for line in seen["left"].splitlines() if not line.startswith(kept))


def main(datapath: str, output: str) -> None:
    seen: dict[str, scene.Seen] = {}
    with nova_compute(cast(Datapath, datapath)) as host:
        for name, case in CASES.items():
            if case.datapath != datapath:
                continue
            try:
                seen[name] = host.observe(case)
            except exception.NovaException as err:
                seen[name] = {"refused": f"{type(err).__name__}: {err}"}
        found = [f"{name}: {fault}" for name, what in seen.items() for fault in faults(what)]
        print(f"{len(seen)} kinds of port", *found, sep="\n", file=sys.stderr)
        scene.finish(seen, output, bool(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
