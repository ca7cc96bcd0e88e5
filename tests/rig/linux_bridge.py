# SPDX-License-Identifier: Apache-2.0
"""The plugin for Linux bridges in this process, and a host with an interface to bridge.

Here, as in ``plugin``, what is privileged runs in this process and is counted.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from oslo_config import cfg

from os_vif.objects.network import Network
from os_vif.objects.vif import VIFBridge
from tests import vifs
from tests.fakes import NO_HOST_STACK
from tests.rig import run
from tests.rig.addressing import complete
from tests.rig.guest import BridgeGuest
from tests.rig.plugin import OsVif, installed, without_daemon
from tests.rig.snapshot import Facts, links, sysctls
from vif_plug_linux_bridge import privileged, privsep
from vif_plug_linux_bridge.linux_bridge import LinuxBridgePlugin

GROUP = "os_vif_linux_bridge"
#: The bridge of `vif`, and the host's interface that is put into it.
BRIDGE, INTERFACE = "br100", "eth0"
MTU = 1500
MARK = f"os-vif:linux_bridge:bridge:{BRIDGE}"

#: The host's address, and that of a machine on the wire.
HOST_MAC = "02:00:00:00:00:01"
HOST, NEIGHBOUR = "192.0.2.1", "192.0.2.254"
HOST6, NEIGHBOUR6 = "2001:db8::1", "2001:db8::fe"


@contextmanager
def initialized(in_process: bool = True) -> Iterator[OsVif]:
    """Initialize os_vif in this process, and forget all of it afterwards.

    :param in_process: no privileged daemon: its calls are made here, and counted.
    """
    self = OsVif(group=GROUP, real_call=privileged.change_links)
    with ExitStack() as stack:
        if in_process:
            stack.enter_context(without_daemon(self, privileged, privsep.vif_plug))
        stack.enter_context(installed())
        stack.callback(_forget_options)
        yield self


def _forget_options() -> None:
    for name in cfg.CONF[GROUP]:
        cfg.CONF.clear_override(name, group=GROUP)


def vif(number: int = 1, network: dict[str, Any] | None = None, **overrides: Any) -> VIFBridge:
    """A VIF on a flat network through `INTERFACE`, whose traffic Neutron filters."""
    fields = {
        "id": vifs.network_id(),
        "bridge": BRIDGE,
        "bridge_interface": INTERFACE,
        "should_provide_bridge": True,
        "mtu": MTU,
        **(network or {}),
    }
    return VIFBridge(
        **{
            "id": vifs.vif_id(number),
            "address": vifs.mac(number),
            "plugin": "linux_bridge",
            "bridge_name": BRIDGE,
            "vif_name": vifs.device("tap", number),
            "has_traffic_filtering": True,
            "network": Network(**{k: v for k, v in fields.items() if v is not None}),
            **overrides,
        }
    )


def collect(*wanted: VIFBridge) -> tuple[str, ...]:
    """Take away what is not wanted."""
    return LinuxBridgePlugin.load("linux_bridge").gc(wanted)


def guest(number: int = 1, bridge: str = BRIDGE, mtu: int = MTU) -> BridgeGuest:
    """The guest of a VIF, put into its bridge as libvirt would."""
    tap = vifs.device("tap", number)
    return BridgeGuest(bridge, tap, vifs.mac(number), f"192.0.2.{100 + number}/24", mtu)


@contextmanager
def interface(
    name: str = INTERFACE, mtu: int = MTU, neighbour: str = NEIGHBOUR, mac: str = HOST_MAC
) -> Iterator[BridgeGuest]:
    """Give the host an interface; yield the machine at the other end of its wire."""
    address, its_mac = f"{neighbour}/24", f"06{mac[2:]}"
    with BridgeGuest(None, name, its_mac, address, mtu) as machine:
        run(["ip", "link", "set", name, "address", mac])
        yield machine


def ip(words: str, check: bool = True) -> str:
    """Run the program ``ip``, and return what it said."""
    return run(["ip", *words.split()], check).stdout


def conf(device: str, name: str) -> Path:
    """The file of a sysctl of a device, such as ``ipv4/rp_filter``."""
    family, _, setting = name.partition("/")
    return Path(f"/proc/sys/net/{family}/conf/{device}/{setting}")


def no_duplicate_address_detection() -> None:
    """Do not wait for an answer that nobody gives."""
    for which in ("default", "all"):
        conf(which, "ipv6/accept_dad").write_text("0")


def host() -> Facts:
    """All of a host that a verb might change, but for chains without a rule."""
    return {
        "links": links(),
        "addressing": vars(complete()),
        "settings": {device: sysctls(device, SETTINGS) for device in links()},
        "rules": {*rules_of("iptables-save"), *rules_of("ip6tables-save")},
    }


SETTINGS = (*NO_HOST_STACK, "accept_ra", "autoconf")


def rules_of(program: str = "iptables-save") -> list[str]:
    """The rules of a family, as the program prints them."""
    return [line for line in run([program]).stdout.splitlines() if line.startswith("-A")]


def give_ipv6(machine: BridgeGuest, address: str = NEIGHBOUR6) -> None:
    """Let a machine do IPv6 too."""
    with machine.namespace.enter():
        Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
        run(["ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad"])
