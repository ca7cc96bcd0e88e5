# SPDX-License-Identifier: Apache-2.0
"""A tour of os-vif: two VIFs on a private Open vSwitch, packets through them, nothing left.

It runs in a private network namespace with private daemons and uses the library as Nova does:
through its public verbs, with a real privileged daemon. The exit status tells whether all of it
was as it should be.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oslo_config import cfg

import os_vif
from os_vif import drawing, objects
from tests.rig import run
from tests.rig.guest import BridgeGuest, Guest, TapGuest
from tests.rig.namespace import private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.snapshot import Facts, difference, snapshot

BRIDGE = "br-int"
MTU = 1450
PINGS = 10
INSTANCE = objects.instance_info.InstanceInfo(
    uuid="3b2b0a9e-5d7c-4a52-9b57-6f1f3f0f7a11", name="instance-00000001"
)


class Demo:
    """Counts what went wrong while it shows what goes right."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        self.failures = 0

    def check(self, what: str, as_expected: bool, detail: str = "") -> None:
        """Print a claim and whether it holds."""
        print(f"   {'ok    ' if as_expected else 'FAILED'} {what}")
        if not as_expected:
            self.failures += 1
            print(detail)

    def timed(self, verb: Callable[..., None], vif: objects.vif.VIFBase) -> None:
        """Run a verb; print its time and what it wrote."""
        before = self.ovs.next_cfg()
        start = time.perf_counter()
        verb(vif, INSTANCE)
        milliseconds = (time.perf_counter() - start) * 1000
        written = self.ovs.next_cfg() - before
        transactions = f"{written} OVSDB transaction{'s' * (written != 1)}"
        print(
            f"   {verb.__name__:7} {type(vif).__name__:15} {milliseconds:7.1f} ms, {transactions}"
        )


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def make_vif(cls: type[objects.vif.VIFBase], number: int, **profile: bool) -> objects.vif.VIFBase:
    """A VIF as Nova makes it of a Neutron port."""
    port_id = f"{number:08x}-a1b2-4c3d-8e4f-0123456789ab"
    return cls(
        id=port_id,
        address=f"fa:16:3e:00:00:{number:02x}",
        plugin="ovs",
        vif_name=f"tap{port_id}"[:14],
        bridge_name=f"qbr{port_id}"[:14],
        network=objects.network.Network(bridge=BRIDGE, mtu=MTU),
        port_profile=objects.vif.VIFPortProfileOpenVSwitch(
            interface_id=port_id, datapath_type="netdev", **profile
        ),
    )


def configure(ovs: PrivateOvs) -> None:
    """What an operator writes into nova.conf."""
    helper = Path(sys.executable).with_name("privsep-helper")
    os_vif.initialize()
    cfg.CONF([], project="os-vif-demo")
    cfg.CONF.set_override("ovsdb_connection", ovs.remote, group="os_vif_ovs")
    cfg.CONF.set_override("helper_command", str(helper), group="vif_plug_ovs_privileged")


def show_host_info() -> None:
    for plugin in os_vif.host_info().plugin_info:
        for vif in plugin.vif_info:
            profiles = ", ".join(
                f"{one.profile_object_name} {one.min_version}-{one.max_version}"
                for one in vif.supported_port_profiles
            )
            print(
                f"   {plugin.plugin_name:5} {vif.vif_object_name} "
                f"{vif.min_version}-{vif.max_version}" + (f" with {profiles}" if profiles else "")
            )


def show_wiring() -> None:
    """Draw what stands on the host, as found there: what ``os-vif show --all`` prints."""
    for one in os_vif.drawings():
        for line in drawing.lines(one, width=90):
            print(f"   {line.text}")


def show_list() -> None:
    for one in os_vif.list_vifs():
        print(f"   {one.vif_id}  {one.kind:11}  {one.state:6}  {one.bridge} port {one.ofport}")


def damage_and_repair(demo: Demo, vif: objects.vif.VIFBase) -> None:
    run(["ip", "link", "set", "dev", vif.vif_name, "mtu", "1300"])
    findings = os_vif.check(vif, INSTANCE)
    for finding in findings:
        print(f"   {finding}")
    demo.check("check names it", [one.attribute for one in findings] == ["mtu"])
    demo.timed(os_vif.plug, vif)
    demo.check("check finds nothing any more", not os_vif.check(vif, INSTANCE))


def collect(demo: Demo, valid: objects.vif.VIFBase) -> None:
    decisions = os_vif.gc([valid], dry_run=False, grace=0, plugin="ovs")
    for one in decisions:
        print(f"   {one.vif_id}  {'removed' if one.removes else 'kept   '}  {one.reason}")
    left = [one.vif_id for one in os_vif.list_vifs()]
    demo.check("what is valid is left, and nothing else", left == [valid.id])


@contextmanager
def guests(*vifs: objects.vif.VIFBase) -> Iterator[tuple[Guest, Guest]]:
    """The two virtual machines: an IP stack behind each VIF."""
    first, second = vifs
    with ExitStack() as stack:
        yield (
            stack.enter_context(TapGuest(first.vif_name, first.address, "192.0.2.1/24", mtu=MTU)),
            stack.enter_context(
                BridgeGuest(
                    second.bridge_name, second.vif_name, second.address, "192.0.2.2/24", mtu=MTU
                )
            ),
        )


def send_packets(demo: Demo, one: Guest, other: Guest) -> None:
    for source, target in ((one, other), (other, one)):
        sent, received = source.ping(target.ip, count=PINGS, interval=0.05)
        demo.check(
            f"{source.ip} pings {target.ip}: {sent} sent, {received} received, "
            f"{sent - received} lost",
            sent == received == PINGS,
        )
    sent, received = one.ping(other.ip, count=2, interval=0.05, size=MTU, dont_fragment=True)
    demo.check(f"packets of {MTU} bytes, the network's MTU, pass whole", sent == received)


def tour(demo: Demo) -> None:
    tapped = make_vif(objects.vif.VIFOpenVSwitch, 1, create_port=True, create_tap=True)
    hybrid = make_vif(objects.vif.VIFBridge, 2)
    vifs = (tapped, hybrid)

    heading("What this host can plug (os_vif.host_info)")
    show_host_info()

    demo.ovs.vsctl("add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev")
    before = snapshot(demo.ovs)

    heading("Plug: a VIF with a tap of its own, and a hybrid one with a Linux bridge")
    for vif in vifs:
        demo.timed(os_vif.plug, vif)
    plugged = snapshot(demo.ovs)

    with guests(*vifs) as (one, other):
        heading("The wiring found on the host, with a guest behind each VIF")
        show_wiring()
        heading("Everything that os-vif has made here (os_vif.list_vifs)")
        show_list()
        heading("Packets between the guests")
        send_packets(demo, one, other)

    heading("Plug again, as nova-compute does when it restarts")
    written = demo.ovs.next_cfg()
    for vif in vifs:
        demo.timed(os_vif.plug, vif)
    demo.check("nothing was written", demo.ovs.next_cfg() == written)
    check_same(demo, "every row and link is as it was", plugged)

    heading("Check: somebody changes an MTU; plugging again repairs it")
    damage_and_repair(demo, tapped)

    heading("Garbage collection: the hybrid VIF is valid no more")
    collect(demo, tapped)

    heading("Unplug")
    for vif in vifs:
        demo.timed(os_vif.unplug, vif)
    check_same(demo, "OVSDB and links are as before the first plug", before)

    heading("Unplug again")
    for vif in vifs:
        demo.timed(os_vif.unplug, vif)
    check_same(demo, "still as before", before)


def ovs_version() -> str:
    return run(["ovs-vswitchd", "--version"]).stdout.splitlines()[0].replace("ovs-vswitchd ", "")


def check_same(demo: Demo, what: str, expected: Facts) -> None:
    changes = difference(expected, snapshot(demo.ovs))
    demo.check(what, not changes, changes)


def main() -> int:
    with private_network(), PrivateOvs("netdev") as ovs:
        configure(ovs)
        print(f"os-vif on a private {ovs_version()} in a private network namespace")
        demo = Demo(ovs)
        tour(demo)
    print(f"\n{'All of it was as it should be.' if not demo.failures else 'THE DEMO FAILED.'}")
    return 1 if demo.failures else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
