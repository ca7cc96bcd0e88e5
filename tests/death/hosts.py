# SPDX-License-Identifier: Apache-2.0
"""The hosts on which verbs die: every kind of VIF on the dummy datapath, and Linux bridges."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from oslo_config import cfg
from oslo_privsep import capabilities
from oslo_privsep.daemon import ForkingClientChannel

import os_vif
from os_vif.kernel import daemon
from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.functional.test_host_device import VF0, vif_of
from tests.rig import linux_bridge, run
from tests.rig.fakesys import make_tap, mlx5, mounted
from tests.rig.guest import BridgeGuest
from tests.rig.linux_bridge import (
    HOST,
    HOST6,
    INTERFACE,
    NEIGHBOUR,
    NEIGHBOUR6,
    give_ipv6,
    no_duplicate_address_detection,
)
from tests.rig.namespace import private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import EVERY, SYSCTLS, TIMEOUT, Child, OsVif, initialized, sysctl
from tests.rig.snapshot import Facts, links
from vif_plug_linux_bridge import privsep as privsep_of_linux_bridge
from vif_plug_ovs import privsep as privsep_of_ovs

Verb = Callable[[], None]

#: Kinds that the deprecated driver is tried with: a program for each transaction.
THROUGH_PROGRAMS = ("tap", "hybrid")


@dataclass
class Host:
    """A host, what a caller does there, and what it looks like."""

    name: str
    verbs: dict[str, Verb]
    #: What there is, and what it must be like again; never what no two runs have in common.
    look: Callable[[], Facts]
    #: A fresh one, for a run; its value is given to `unreachable`.
    fresh: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    #: The pings that are not answered within a second.
    unreachable: Callable[[Any], list[str]] = field(default=lambda _: [])

    #: Of the database; empty where there is none.
    remote: str = ""
    #: Seconds: ``ovs_vsctl_timeout``.
    timeout: float = TIMEOUT

    def __str__(self) -> str:
        return self.name

    def do(self, verb: str) -> None:
        """Do it in another process, which makes the privileged calls itself."""

        def work() -> None:
            for module in (privsep_of_ovs, privsep_of_linux_bridge):
                module.vif_plug.set_client_mode(False)
            self.verbs[verb]()

        with Child(work) as child:
            child.result()


@contextmanager
def forking_helpers() -> Iterator[None]:
    """Let privileged daemons be forked, instead of having sudo start a program."""

    class Forking(daemon.Told, ForkingClientChannel):
        pass

    for module in (privsep_of_ovs, privsep_of_linux_bridge):
        # Its default is gone once somebody has reset the configuration.
        needed, section = [capabilities.CAP_NET_ADMIN], module.vif_plug.cfg_section
        cfg.CONF.set_override("capabilities", needed, group=section)
    with mock.patch.object(daemon, "Channel", Forking):
        yield


# Open vSwitch -----------------------------------------------------------------------------------


def of_ovs() -> Iterator[Host]:
    """Return a host for each kind, one after the other."""
    with private_network(), PrivateOvs("dummy") as ovs, forking_helpers():
        ovs.vsctl("add-br", vifs.BRIDGE)
        with initialized(ovs.remote, in_process=False) as osvif:
            for kind in EVERY:
                yield of_kind(kind, ovs, osvif, "native")
            for kind in THROUGH_PROGRAMS:
                yield of_kind(kind, ovs, osvif, "vsctl")
            with representors():
                osvif.configure(ovsdb_interface="native")
                host = host_of("representor", vif_of(VF0), ovs)
                for verb in host.verbs:  # it keeps the MTU of its VIF
                    host.do(verb)
                yield host


def of_kind(name: str, ovs: PrivateOvs, osvif: OsVif, driver: str) -> Host:
    """Return the host of a kind, configured."""
    kind = EVERY[name]
    osvif.configure(per_port_bridge=False, isolate_vif=False, verify_interface=True)
    osvif.configure(default_qos_type="linux-noop", ovsdb_interface=driver)
    osvif.configure(**kind.options)
    return host_of(name if driver == "native" else f"{name}, through {driver}", kind.vif(), ovs)


def host_of(name: str, vif: VIFBase, ovs: PrivateOvs) -> Host:
    """Return a host on which one VIF is plugged and unplugged."""
    instance = vifs.instance()
    verbs: dict[str, Verb] = {
        "plug": lambda: os_vif.plug(vif, instance),
        "unplug": lambda: os_vif.unplug(vif, instance),
    }
    return Host(name, verbs, lambda: look_at_ovs(ovs), remote=ovs.remote)


def look_at_ovs(ovs: PrivateOvs) -> Facts:
    """Return links and rows, less the addresses that the kernel makes up, and random ofports."""
    found, rows = links(), ovs.dump()
    for name, link in found.items():
        if link["kind"] in ("veth", "bridge"):
            del link["mac"]
        for path in SYSCTLS.get(name[:3], ()):
            link[path] = sysctl(name, path).read_text().strip()
    for interface in rows["Interface"].values():
        del interface["ofport_request"]
    return {"links": found, "rows": rows}


@contextmanager
def representors() -> Iterator[None]:
    """Let /sys show a card whose representors are taps."""
    card = mlx5()
    for one in card.devices:
        make_tap(one.name)
    with mounted(card):
        yield


# Linux bridges ----------------------------------------------------------------------------------


def of_linux_bridge() -> Iterator[Host]:
    """Return hosts whose interface, with its addresses and routes, is put into a bridge."""
    with private_network(), linux_bridge.initialized(in_process=False) as plugin:
        plugin.configure(flat_interface=INTERFACE)
        with forking_helpers():
            yield bridging("Linux bridge", filtered=False)
            yield bridging("Linux bridge, filtered", filtered=True)


def bridging(name: str, filtered: bool) -> Host:
    """Return a host with one VIF on a bridge."""
    vif, instance = linux_bridge.vif(has_traffic_filtering=not filtered), vifs.instance()
    verbs: dict[str, Verb] = {
        "plug": lambda: os_vif.plug(vif, instance),
        "unplug": lambda: os_vif.unplug(vif, instance),
        "gc": lambda: linux_bridge.collect() and None,
    }
    return Host(name, verbs, look_at_bridges, addressed_interface, unreachable)


@contextmanager
def addressed_interface() -> Iterator[BridgeGuest]:
    """Give a fresh host an interface with addresses and routes; yield the machine on its wire."""
    with ExitStack() as stack:
        stack.enter_context(private_network())
        no_duplicate_address_detection()
        machine = stack.enter_context(linux_bridge.interface())
        give_ipv6(machine)
        for words in (
            f"address add {HOST}/24 dev {INTERFACE}",
            f"route add default via {NEIGHBOUR}",
            f"address add {HOST6}/64 dev {INTERFACE} nodad",
            f"-6 route add default via {NEIGHBOUR6}",
        ):
            linux_bridge.ip(words)
        yield machine


def look_at_bridges() -> Facts:
    """Return all of a host but whom it has learned."""
    facts = linux_bridge.host()
    facts["addressing"]["neighbours"] = []
    return facts


def unreachable(machine: BridgeGuest) -> list[str]:
    """The addresses of the host that do not answer within a second, asked anew."""
    for forget in (run, machine.namespace.run):
        forget(["ip", "neighbour", "flush", "all"])
    ping = ["ping", "-n", "-q", "-c1", "-i0.2", "-w1"]
    return [
        address
        for address in (HOST, HOST6)
        if machine.namespace.run([*ping, address], check=False).returncode
    ]
