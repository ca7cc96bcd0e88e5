# SPDX-License-Identifier: Apache-2.0
"""The plugin for Open vSwitch: it reads its configuration and drives the engine."""

import functools
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from oslo_config import cfg
from oslo_log import log as logging

from os_vif.answers import Condition, Decision, Finding, PluggedVif, Until
from os_vif.batch import Batch, Pair, Result
from os_vif.drawing import Drawing
from os_vif.exception import ExceptionBase
from os_vif.kernel import observe, sysfs
from os_vif.kernel.daemon import KernelLinks
from os_vif.locks import KeyedLocks, busy
from os_vif.objects.host_info import HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFOpenVSwitch
from os_vif.plugin import PluginBase, supported
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.differences import finding
from os_vif.wiring.elements import Unchanged
from os_vif.wiring.engine import Engine
from os_vif.wiring.errors import NotReady, StateChanged
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import IFACE_ID
from os_vif.wiring.state import Found
from vif_plug_ovs import (
    collection,
    constants,
    drawings,
    examination,
    health,
    inventory,
    privileged,
    readiness,
    representors,
    shapes,
)
from vif_plug_ovs.health import Switch
from vif_plug_ovs.ovsdb import callers, drivers
from vif_plug_ovs.ovsdb.connection import FIRST_LOOK_SECONDS
from vif_plug_ovs.shapes import host_device, names, request

#: VIFs that go into one transaction: few enough for ovs-vswitchd to stay responsive.
CHUNK = 50
#: Of the VIFs that a thread of this process is plugging or unplugging.
LOCKS = KeyedLocks()

LOG = logging.getLogger(__name__)

_Describe = Callable[[VIFBase, InstanceInfo, Deadline], Wiring]
_Verb = Callable[[Engine, Sequence[Wiring], Deadline], Sequence[Exception | None]]

is_trunk_bridge = names.is_trunk_bridge

VERIFY_INTERFACE = cfg.BoolOpt(
    "verify_interface",
    default=True,
    help="Fail a plug when ovs-vswitchd reports an error for the interface, or gives it no "
    "OpenFlow port. Switched off, such a report is logged as a warning and the port stays: for "
    "sites whose devices come only after the plug.",
)


class OvsPlugin(PluginBase):
    """Attaches VIFs to Open vSwitch."""

    NIC_NAME_LEN = names.NIC_NAME_LENGTH

    CONFIG_OPTS: ClassVar[tuple[cfg.Opt, ...]] = (
        cfg.IntOpt(
            "network_device_mtu",
            default=1500,
            help="MTU in bytes of the network devices of a VIF whose network names none.",
            deprecated_group="DEFAULT",
        ),
        cfg.IntOpt(
            "ovs_vsctl_timeout",
            default=120,
            help="Seconds that plugging or unplugging one VIF may take, all waits for "
            "ovsdb-server and ovs-vswitchd included. 0 waits for ever.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "ovsdb_connection",
            default="tcp:127.0.0.1:6640",
            help="Where ovsdb-server listens for OVSDB clients: tcp:<address>:<port>, with an "
            "IPv6 address in brackets, ssl:<address>:<port>, or unix:<path of its socket>. The "
            "port is 6640 unless given; names of hosts are not resolved.",
        ),
        cfg.StrOpt(
            "ssl_key_file",
            help="File with the private key (PEM) for an ssl: ovsdb_connection.",
        ),
        cfg.StrOpt(
            "ssl_cert_file",
            help="File with the certificate (PEM) for that key.",
        ),
        cfg.StrOpt(
            "ssl_ca_cert_file",
            help="File with the certificate (PEM) of the authority that signed ovsdb-server's.",
        ),
        cfg.StrOpt(
            "ovsdb_interface",
            default="native",
            choices=[
                ("vsctl", "Run the program ovsdb-client as root. Deprecated."),
                ("native", "Speak OVSDB over one connection that all callers share."),
            ],
            help="How to reach ovsdb-server.",
            deprecated_for_removal=True,
            deprecated_since="2.2.0",
            deprecated_reason="The native interface does the same, and faster. Let the service's "
            "user open the socket of ovsdb-server, or have it listen on 127.0.0.1.",
        ),
        cfg.BoolOpt(
            "isolate_vif",
            default=False,
            help="Start new ports on the dead VLAN 4095, so that they neither receive nor send "
            "for anyone until Neutron's agent moves them to the VLAN of their network. Use it "
            "with the agent of Neutron's ML2/OVS only: with others nobody moves the port. A port "
            "that exists is never moved, and a port on a trunk's bridge never starts there.",
        ),
        cfg.BoolOpt(
            "per_port_bridge",
            default=False,
            help="Experimental: give each VIF an OVS bridge of its own, joined to the integration "
            "bridge by patch ports. The SDN controller then sees the port, and installs its "
            "flows, before the guest's tap exists. Switch it on only with ML2/OVN, and only if "
            "packets are lost during live migrations there; never on hosts with smart NICs, "
            "because a port that is offloaded to hardware must be on the integration bridge "
            "itself. VIFs that are plugged already keep the shape that they have.",
        ),
        cfg.StrOpt(
            "default_qos_type",
            default="linux-noop",
            choices=[
                "linux-htb",
                "linux-hfsc",
                "linux-sfq",
                "linux-codel",
                "linux-fq_codel",
                "linux-noop",
            ],
            help="The QoS type that a new port of the kernel datapath gets: the queueing "
            "discipline of its device. linux-noop leaves to the device what it has. Ports that "
            "exist keep theirs.",
        ),
        VERIFY_INTERFACE,
    )

    def describe(self) -> HostPluginInfo:
        """Return which VIFs can be plugged, all with a port profile of Open vSwitch."""
        return HostPluginInfo(
            plugin_name=constants.PLUGIN_NAME,
            vif_info=[supported(vif, *kind.profiles) for vif, kind in shapes.KINDS.items()],
        )

    def plug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Make the VIF's wiring so; see :func:`vif_plug_ovs.shapes.plugged`."""
        _raise(self._chunk([(vif, instance_info)], self._plugged, Engine.apply_all))

    def unplug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Remove the VIF's wiring; see :func:`vif_plug_ovs.shapes.unplugged`."""
        _raise(self._chunk([(vif, instance_info)], self._unplugged, Engine.remove_all))

    def plug_all(self, pairs: Sequence[Pair], /) -> list[Result]:
        """Make the wirings of several VIFs so, chunk by chunk."""
        return self._in_chunks(pairs, self._plugged, Engine.apply_all)

    def unplug_all(self, pairs: Sequence[Pair], /) -> list[Result]:
        """Remove the wirings of several VIFs, chunk by chunk."""
        return self._in_chunks(pairs, self._unplugged, Engine.remove_all)

    def check(self, vif: VIFBase, instance_info: InstanceInfo) -> tuple[Finding, ...]:
        """Return what of the VIF's wiring is not as it was built."""
        deadline = Deadline.of_option(self.config.ovs_vsctl_timeout)
        wiring = self._plugged(vif, instance_info, deadline)
        return tuple(finding(one) for one in self._engine().check(wiring, deadline))

    def wait(
        self,
        vif: VIFBase,
        instance_info: InstanceInfo,
        *,
        until: Until,
        timeout: float,
        settle: float,
    ) -> None:
        """Wait until a VIF is attached, or wired, and stays so for some seconds.

        :raises NotReady: it is not by then.
        """
        deadline = Deadline(timeout)
        wiring = self._plugged(vif, instance_info, deadline.at_least(FIRST_LOOK_SECONDS))
        rows, ports = drivers.rows(self.config), wiring.scope.ports
        on_trunk = any(is_trunk_bridge(bridge) for bridge in ports.values())
        isolated = self.config.isolate_vif and not on_trunk

        def missing(found: Found, switch: Switch, agent: Callable[[], bool]) -> str:
            there = replace(found, links=observe.links(ports))
            return readiness.missing(
                wiring, there, switch, until, has_agent=lambda: isolated or agent()
            )

        def lost(found: Found, switch: Switch, agent: Callable[[], bool]) -> str:
            return "" if missing(found, switch, agent) else "it is"

        while not (seen := rows.watch(ports, missing, deadline)):
            if settle <= 0:
                return
            soon = Deadline(settle)
            if rows.watch(ports, lost, deadline.at_most(settle)) and soon.expired:
                return
            if deadline.expired:
                seen = f"it has not been so for {settle:g} s"
                break
        raise NotReady(until=until, seconds=deadline.elapsed(), seen=seen)

    def list_vifs(self) -> tuple[PluggedVif, ...]:
        """Return what is on this host of each VIF."""
        return inventory.listed(self._everything(), time.time())

    def drawings(self) -> tuple[Drawing, ...]:
        """Return what each VIF looks like on this host."""
        return drawings.drawn(self._everything())

    def collect(
        self, valid: Collection[VIFBase | str], *, dry_run: bool, grace: float
    ) -> list[Decision]:
        """Unplug the VIFs that are not valid, and that nothing uses."""
        ids, first = collection.ids_of(valid), self._look()
        decided = collection.decisions(first, first, ids, grace)
        if not any(one.removes for _, one in decided):
            return [one for _, one in decided]
        time.sleep(collection.PAUSE_SECONDS)
        decided = collection.decisions(first, self._look(), ids, grace)
        if dry_run:
            return [one for _, one in decided]
        going = [held for held, one in decided if one.removes]
        errors: dict[str, Exception] = {}
        # Of taps ovs-vswitchd sets flags when it lets go of them; bridges of the kernel that go in
        # the same chunk would have it wait.
        for kind in sorted({one.kind for one in going}):
            errors |= self._collect_kind(
                [one for one in going if one.kind == kind], first, ids, grace
            )
        try:
            left = {one.owner for one in inventory.holdings(self._everything())}
        except Exception as err:  # what has been removed is told all the same
            LOG.warning("What is left on this host was not looked at: %s", err)
            left = set()
        return [collection.result(one, errors, left) for _, one in decided]

    def _collect_kind(
        self,
        going: Sequence[inventory.Holding],
        first: collection.Look,
        ids: frozenset[str],
        grace: float,
    ) -> dict[str, Exception]:
        """Unplug VIFs chunk by chunk; return why some stay, by id."""
        errors: dict[str, Exception] = {}
        size = CHUNK
        while going:
            began = time.monotonic()
            errors |= self._collect_chunk(going[:size], first, ids, grace)
            going = going[size:]
            size = collection.next_size(size, time.monotonic() - began)
        return errors

    def _collect_chunk(
        self,
        going: Sequence[inventory.Holding],
        first: collection.Look,
        ids: frozenset[str],
        grace: float,
    ) -> dict[str, Exception]:
        """Unplug VIFs that are still as they were, and unused; return why others stay, by id.

        The last look is taken when no other thread of this process has them any more.
        """

        @functools.cache
        def judged() -> dict[str, tuple[str, Unchanged]]:
            """Return why VIFs stay (empty if they go), and what was judged, by id."""
            try:
                decided = collection.decisions(first, self._look(going), ids, grace)
            except Exception as err:  # once for all of them
                return {one.owner: (str(err), collection.unchanged(one)) for one in going}
            return {
                held.owner: ("" if one.removes else one.reason, collection.unchanged(held))
                for held, one in decided
            }

        def describe(vif: VIFBase, instance_info: InstanceInfo, deadline: Deadline) -> Wiring:
            if vif.id not in judged():  # another process was faster
                return Wiring(())
            reason, unchanged = judged()[vif.id]
            if reason:
                raise StateChanged(what=reason)
            wiring = self._unplugged(vif, instance_info, deadline)
            return replace(wiring, elements=(*wiring.elements, unchanged))

        pairs = [collection.vif_of(one) for one in going]
        results = self._in_chunks(pairs, describe, Engine.remove_all, len(pairs))
        return {result.vif.id: result.error for result in results if result.error}

    def status(self) -> tuple[Condition, ...]:
        """Return whether this host can plug now; nothing is changed."""
        options = {one: getattr(self.config, one) for one in health.Options.__dataclass_fields__}
        return health.conditions(examination.facts(self.config), health.Options(**options))

    def _everything(self) -> Found:
        deadline = Deadline.of_option(self.config.ovs_vsctl_timeout)
        found = drivers.rows(self.config).everything(deadline)
        return replace(found, links=observe.every_link())

    def _what_concerns(self, going: Sequence[inventory.Holding]) -> Found:
        """Return what some VIFs may have by now, and who is beside them; of a large host this is
        little."""
        deadline = Deadline.of_option(self.config.ovs_vsctl_timeout)
        named = {name for one in going for name in inventory.names_of(one.owner)}
        named |= {name for one in going for name in (*one.devices, *one.qos)}
        iface_ids = {one.port.interface_ids.get(IFACE_ID, one.owner) for one in going if one.port}
        found = drivers.rows(self.config).everything(deadline, named, iface_ids)
        return replace(found, links=observe.links_and_neighbours({*named, *found.ports}))

    def _look(self, only: Sequence[inventory.Holding] | None = None) -> collection.Look:
        """Look at the host, or at what concerns some VIFs only."""
        found = self._everything() if only is None else self._what_concerns(only)
        every = inventory.holdings(found)
        holders = {
            port.name: representors.holder_of(port.name, port.options.get("dpdk-devargs"))
            for one in every
            if one.kind == host_device.KIND
            for port in one.ports.values()
        }
        devices = {name for one in every for name in (*one.links, *one.ports)}
        links = (link for name, link in found.links.items() if name in devices)
        known_since = {link.name: sysfs.known_since(link.name, link.index) for link in links}
        received = observe.received(name for one in every for name in one.ports)
        return collection.Look(found, time.time(), received, known_since, holders)

    def _in_chunks(
        self, pairs: Sequence[Pair], describe: _Describe, verb: _Verb, size: int = CHUNK
    ) -> list[Result]:
        results: list[Result] = []
        for start in range(0, len(pairs), size):
            chunk = pairs[start : start + size]
            try:
                results += self._chunk(chunk, describe, verb)
            except Exception as err:  # of a chunk; the others are none the worse
                results += [Result(vif, err) for vif, _ in chunk]
        return results

    def _chunk(self, pairs: Sequence[Pair], describe: _Describe, verb: _Verb) -> list[Result]:
        """Describe VIFs and change them in one transaction; each may fail alone."""
        batch, deadline = Batch(pairs), Deadline.of_option(self.config.ovs_vsctl_timeout)
        # Among several, a VIF that is locked must leave time for the others.
        half = deadline.seconds / 2 if deadline.seconds < math.inf else 60
        until = deadline if len(pairs) == 1 else deadline.at_most(half)
        keys = {key for vif, _ in pairs for key in _keys(vif)}
        with LOCKS.hold_free(keys, until) as held, callers.on_the_way():

            def described(vif: VIFBase, instance_info: InstanceInfo) -> Wiring:
                if not _keys(vif) <= held:
                    raise busy(until)
                return describe(vif, instance_info, deadline)

            wirings = batch.each(described)
            failures = verb(self._engine(), list(wirings.values()), deadline)
        return batch.results(dict(zip(wirings, failures, strict=True)))

    def _plugged(self, vif: VIFBase, instance_info: InstanceInfo, deadline: Deadline) -> Wiring:
        facts = None
        if shapes.kind_of(vif).has_representor:
            facts = replace(_facts(vif), ports=self._ports(vif, deadline))
        return shapes.plugged(vif, instance_info, self._settings(), facts)

    def _unplugged(self, vif: VIFBase, instance_info: InstanceInfo, deadline: Deadline) -> Wiring:
        has_representor = shapes.kind_of(vif).has_representor
        facts = self._last_facts(vif, deadline) if has_representor else None
        return shapes.unplugged(vif, instance_info, facts)

    def supports_tc_qdisc(self, vif: VIFBase) -> bool:
        """Return whether a VIF's port has a device of the kernel, and so a queueing discipline;
        of VIFs that only a subclass knows, too."""
        kinds = (kind for cls, kind in shapes.KINDS.items() if isinstance(vif, cls))
        datapath_type = request.datapath_type(next(kinds, shapes.KINDS[VIFOpenVSwitch]), vif)
        return datapath_type == constants.OVS_DATAPATH_SYSTEM

    @staticmethod
    def gen_port_name(prefix: str, vif_id: str, max_length: int = NIC_NAME_LEN) -> str:
        """Return the name of a device or port: a prefix and as much of a VIF's id as fits."""
        return names.prefixed(prefix, vif_id, max_length)

    @staticmethod
    def get_veth_pair_names(vif: VIFBase) -> tuple[str, str]:
        """Return the names of a hybrid plug's veth pair: in the Linux bridge, in the OVS
        bridge."""
        return names.veth_pair(vif.id)

    def _settings(self) -> shapes.Settings:
        return shapes.Settings(
            network_device_mtu=self.config.network_device_mtu,
            per_port_bridge=self.config.per_port_bridge,
            isolate_vif=self.config.isolate_vif,
            default_qos_type=self.config.default_qos_type,
        )

    def _engine(self) -> Engine:
        return Engine(
            KernelLinks(privileged.change_links),
            drivers.rows(self.config),
            strict=option(self.config, VERIFY_INTERFACE),
        )

    def _last_facts(self, vif: VIFBase, deadline: Deadline) -> shapes.Facts:
        """Return what is known of a VF's representor when the VF may be gone, or renamed,
        already."""
        ports = self._ports(vif, deadline)
        try:
            return replace(_facts(vif), ports=ports)
        except (ExceptionBase, OSError) as err:
            LOG.info("%s; its port is found by iface-id or mark: %s", err, ports)
            return shapes.Facts(representor=ports[0] if ports else None, ports=ports)

    def _ports(self, vif: VIFBase, deadline: Deadline) -> tuple[str, ...]:
        """Return the names of the VIF's ports: its representor may have had another name."""
        match request.found_by(vif, host_device.KIND):
            case key, value:
                return tuple(drivers.rows(self.config).names_of(value, deadline, key))
        return ()


def _keys(vif: VIFBase) -> set[str]:
    """Return what no two threads may change at once: a VIF may have the device of another."""
    names = ("id", "vif_name", "dev_address")
    return {str(getattr(vif, name)) for name in names if name in vif.fields and name in vif}


def _raise(results: Sequence[Result]) -> None:
    for result in results:
        if result.error is not None:
            raise result.error


def option(config: Any, opt: cfg.Opt) -> Any:
    """Return an option that a group made from an older list of options may lack: then its
    default."""
    return getattr(config, opt.dest, opt.default)


def _facts(vif: VIFBase) -> shapes.Facts:
    """Look up the representor of a VIF's virtual function."""
    address, reported_name = request.representor(vif)
    if request.datapath_type(shapes.kind_of(vif), vif) == constants.OVS_DATAPATH_NETDEV:
        function = representors.virtual_function(address)
        return shapes.Facts(pf_address=function.pf_address, vf_number=function.number)
    found = representors.look_up(address)
    if reported_name and reported_name != found.device:
        LOG.debug(
            "The representor of %s is %s; its port profile calls it %s",
            address,
            found.device,
            reported_name,
        )
    return shapes.Facts(found.device, found.pf_address, found.vf_number)
