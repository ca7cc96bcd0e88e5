# SPDX-License-Identifier: Apache-2.0
"""The engine's two backends in memory: a kernel's links, and OVSDB with its ovs-vswitchd.

They keep the promises of :class:`os_vif.wiring.engine.Links` and ``Rows``, refuse what the real
ones refuse, and fail where a test tells them to. Nothing here waits: what would time out has timed
out at once.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from os_vif.exception import InvalidValue
from os_vif.kernel import packing
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements.element import Plan
from os_vif.wiring.ownership import ids_of
from os_vif.wiring.rollback import links_back, rows_back
from os_vif.wiring.state import Bridge, Found, Link, Port, Value, Vlan
from os_vif.wiring.steps import (
    CreateBridge,
    CreateLink,
    CreatePort,
    DeleteLink,
    FilterBridge,
    JoinBridge,
    LinkStep,
    RemoveBridge,
    RemovePort,
    RemoveQos,
    ReopenPort,
    RowStep,
    SetLink,
    SetPort,
)

T = TypeVar("T")

#: Interfaces whose device ovs-vswitchd makes itself.
_OF_VSWITCHD = {"internal", "patch", "dpdk", "dpdkvhostuser", "dpdkvhostuserclient"}

#: What keeps the host's own stack out of a guest's Ethernet segment: duplicate address detection,
#: and answers to ARP for other interfaces' addresses.
NO_HOST_STACK: dict[str, Value] = {"disable_ipv6": 1, "arp_ignore": 1, "arp_announce": 2}

#: What a new link of each kind has, as the kernel makes it.
_NEW: dict[str, dict[str, Value]] = {
    "bridge": {
        "forward_delay": 15,
        "ageing": 300,
        "stp": False,
        "mcast_snooping": True,
        **dict.fromkeys(NO_HOST_STACK, 0),
    },
    "veth": {},
    "tun": {},
    "vlan": {},
}


def new_link(name: str, kind: str, alias: str = "", **attributes: Value) -> Link:
    """A link with the attributes that the kernel gives a new one, and some of one's own."""
    common: dict[str, Value] = {
        "mac": "06:" + ":".join(f"{byte:02x}" for byte in name.encode()[-5:].rjust(5, b"0")),
        "mtu": 1500,
        "up": False,
        "promisc": False,
        "master": "",
        "disable_ipv6": 0,
    }
    return Link(name, kind, alias, {**common, **_NEW.get(kind, {}), **attributes})


class FakeLinks:
    """Links by name.

    :param links: what is there at the start; two veths in a row are a pair.
    """

    def __init__(self, *links: Link) -> None:
        self.links: dict[str, Link] = {link.name: link for link in links}
        self._indexes = count(101)
        #: veth -> its other end, for pairs whose both ends are here.
        self.peers: dict[str, str] = {}
        veths = [link.name for link in links if link.kind == "veth"]
        for one, other in zip(veths[::2], veths[1::2], strict=False):
            self.peers |= {one: other, other: one}
        #: What the firewall was told of each bridge.
        self.filtered: dict[str, Mapping[str, Any] | None] = {}
        #: Calls of ``execute``, failed ones too.
        self.executed = 0
        #: Steps that were taken, in their order.
        self.taken: list[LinkStep] = []
        #: Says of a step whether the kernel refuses it.
        self.refuse: Callable[[LinkStep], bool] = lambda step: False
        #: Attributes that this kernel does not have, as ``disable_ipv6`` without IPv6.
        self.lacking: set[str] = set()

    def observe(self, names: Iterable[str], addressed: Collection[str] = ()) -> Mapping[str, Link]:
        return {
            name: replace(
                link,
                attributes={k: v for k, v in link.attributes.items() if k not in self.lacking},
                addresses=link.addresses if name in addressed else (),
            )
            for name in names
            if (link := self.links.get(name))
        }

    def execute(
        self, groups: Sequence[Sequence[LinkStep]], deadline: Deadline, *, go_on: bool = False
    ) -> list[Exception | None]:
        self.executed += 1
        return [self._take_group(group, go_on) for group in groups]

    def _take_group(self, group: Sequence[LinkStep], go_on: bool) -> Exception | None:
        try:  # the privileged side checks all of them before it takes the first
            checked = [packing.unpack(packing.pack(step)) for step in group]
        except InvalidValue as refusal:
            return refusal
        first: errors.WiringError | None = None
        taken = 0
        for step in checked:
            try:
                if self.refuse(step):
                    self._fail(step, "Operation not permitted")
                self._take(step)
            except errors.WiringError as failure:
                first = first or failure
                if not go_on:
                    break
            else:
                taken += 1
                self.taken.append(step)
        if first is not None:
            first.executed = taken
        return first

    def _take(self, step: LinkStep) -> None:
        match step:
            case CreateLink():
                self._create(step)
            case SetLink():
                self._set(step)
            case DeleteLink():
                self._delete(step)
            case FilterBridge():
                self.filtered[step.bridge] = step.settings
            case JoinBridge():
                self._join(step)

    def _create(self, step: CreateLink) -> None:
        names = [step.name, step.peer] if step.peer else [step.name]
        if any(name in self.links for name in names):
            raise errors.StateChanged(what=f"{step}: File exists")
        own: dict[str, Value] = {"multiqueue": step.multiqueue} if step.kind == "tun" else {}
        if step.kind == "vlan":
            if step.parent not in self.links:
                self._fail(step, f"no device {step.parent}")
            own = {"parent": step.parent, "vlan": step.vlan}
        for name in names:
            made = new_link(name, step.kind, step.alias, **own)
            self.links[name] = replace(made, index=next(self._indexes))
        if step.peer:
            self.peers |= {step.name: step.peer, step.peer: step.name}

    def _set(self, step: SetLink) -> None:
        link = self.links.get(step.name)
        if link is None:
            self._is_gone(step, step.name)
            return
        master = step.attributes.get("master")
        if master and (master not in self.links or self.links[str(master)].kind != "bridge"):
            self._is_gone(step, str(master))
        unknown = step.attributes.keys() - link.attributes.keys()
        if unknown:
            self._fail(step, f"a {link.kind} has no {unknown}")
        changes = {k: v for k, v in step.attributes.items() if k not in self.lacking}
        self._change(link, changes)

    def _change(self, link: Link, changes: Mapping[Any, Value], **more: Any) -> None:
        self.links[link.name] = replace(link, attributes={**link.attributes, **changes}, **more)

    def _delete(self, step: DeleteLink) -> None:
        link = self.links.get(step.name)
        if link is None:
            return
        if link.kind != step.kind:
            self._fail(step, f"it is a {link.kind or 'hardware'} device")
        gone = {step.name, self.peers.get(step.name, step.name)}
        for name in gone:
            del self.links[name]
            self.peers.pop(name, None)
        for other in list(self.links.values()):
            if other.attributes.get("master") in gone:
                self._change(other, {"master": ""})

    def _join(self, step: JoinBridge) -> None:
        port, bridge = (self.links.get(name) for name in (step.name, step.bridge))
        if port is None or bridge is None:
            self._fail(step, "no such device")
            return
        if port.attributes["master"] not in ("", step.bridge):
            self._fail(step, f"it is in {port.attributes['master']}")
        self._change(port, {"master": step.bridge}, addresses=())
        mtu = bridge.attributes["mtu"] if step.mtu is None else step.mtu
        self._change(bridge, {"mtu": mtu}, addresses=(*bridge.addresses, *port.addresses))

    @staticmethod
    def _is_gone(step: LinkStep, name: str) -> None:
        changed = errors.StateChanged(what=f"{step}: no device {name}")
        changed.refusal = errors.LinkFailed(reason=f"{step}: no device {name}")
        raise changed

    @staticmethod
    def _fail(step: LinkStep, reason: str) -> None:
        raise errors.LinkFailed(reason=f"{step}: {reason}")


class FakeRows:
    """Bridges and ports by name, and an ovs-vswitchd that looks for their devices.

    :param links: where ovs-vswitchd finds devices.
    """

    REMOTE = "memory"

    def __init__(self, links: FakeLinks) -> None:
        self._links = links
        self.bridges: dict[str, Bridge] = {}
        self.ports: dict[str, Port] = {}
        #: Device -> type, of the QoS rows that os-vif made.
        self.qos: dict[str, str] = {}
        self.next_cfg = 0
        self.cur_cfg = 0
        #: Transactions that took effect.
        self.committed = 0
        #: Steps that took effect, in their order.
        self.taken: list[RowStep] = []
        #: Says of a step whether the server refuses a transaction with it.
        self.refuse: Callable[[RowStep], bool] = lambda step: False
        #: ovs-vswitchd hangs: it acts on nothing.
        self.stuck = False
        #: ovsdb-server cannot be reached.
        self.down = False
        #: The server falls silent "before" or "after" the next transaction took effect.
        self.silent = ""
        #: Devices that ovs-vswitchd cannot work with, though they are there.
        self.refused_devices: set[str] = set()
        #: Devices about which ovs-vswitchd says nothing.
        self.mute: set[str] = set()
        #: What others do: one of these is called before each commit, until none is left.
        self.others: list[Callable[[FakeRows], None]] = []

    def add(self, *rows: Bridge | Port) -> None:
        """Put rows there, as others do."""
        for row in rows:
            if isinstance(row, Bridge):
                self.bridges[row.name] = row
            else:
                self.ports[row.name] = row
        self._reconfigure()

    def observe(
        self, bridges: Collection[str], ports: Mapping[str, str], deadline: Deadline
    ) -> Found:
        self._connected()
        self._reconfigure()
        return Found(
            bridges=_some(self.bridges, bridges),
            ports=_some(self.ports, ports),
            qos=_some(self.qos, ports),
            port_count=len(self.ports),
            pending=self.next_cfg if self.next_cfg > self.cur_cfg else None,
        )

    def commit(self, steps: Sequence[RowStep], deadline: Deadline) -> int | None:
        self._connected()
        if self.others:
            self.others.pop(0)(self)
        if refused := [step for step in steps if self.refuse(step)]:
            raise errors.TransactionRefused(reason=f"constraint violation: {refused[0]}")
        before = dict(self.bridges), dict(self.ports), dict(self.qos)
        try:
            taken = [step for step in steps if self._take(step)]
        except errors.StateChanged:
            self.bridges, self.ports, self.qos = before
            raise
        if not taken:
            return None
        if self.silent == "before":
            self.bridges, self.ports, self.qos = before
        else:
            self.committed += 1
            self.taken += taken
            self.next_cfg += 1
            self._reconfigure()
        if self.silent:
            self.down = True
            raise errors.OutcomeUnknown(remote=self.REMOTE)
        return self.next_cfg

    def count_up(self, deadline: Deadline) -> int:
        self._connected()
        self.next_cfg += 1
        self._reconfigure()
        return self.next_cfg

    def wait_for_vswitchd(self, cfg: int, deadline: Deadline) -> bool:
        return self.cur_cfg >= cfg

    def device_states(
        self, ports: Mapping[str, int], deadline: Deadline, *, wait: bool
    ) -> Mapping[str, Port]:
        if wait:
            self._reconfigure()
        return _some(self.ports, ports)

    def _connected(self) -> None:
        if self.down:
            raise errors.NotConnected(remote=self.REMOTE, reason="Connection refused")

    def _take(self, step: RowStep) -> bool:
        """Take a step; False if there was nothing to do."""
        match step:
            case CreateBridge(bridge):
                self._must_be_free(bridge.name)
                mark = ids_of(bridge.mark)
                self.bridges[bridge.name] = Bridge(bridge.name, bridge.datapath_type, mark)
                self.ports[bridge.name] = Port(
                    bridge.name, bridge.name, mark, interface_type="internal", interface_ids=mark
                )
            case RemoveBridge(name, if_empty):
                others = [p for p in self.ports.values() if p.bridge == name != p.name]
                if if_empty and others:
                    return False
                there = self.bridges.pop(name, None)
                self.ports = {k: port for k, port in self.ports.items() if port.bridge != name}
                return there is not None
            case CreatePort(port):
                self._must_be_free(port.name)
                self._must_be(port.bridge, self.bridges)
                mark = ids_of(port.mark)
                self.ports[port.name] = Port(
                    port.name,
                    port.bridge,
                    mark if port.port_ids is None else port.port_ids,
                    interface_type=port.interface_type or "",
                    interface_ids={**port.external_ids, **mark},
                    options=port.options,
                    mtu_request=port.mtu_request,
                    vlan=port.vlan or Vlan(),
                )
                self.qos.pop(port.name, None)
                if port.qos_type:
                    self.qos[port.name] = port.qos_type
            case SetPort(name, values, ids):
                self._must_be(name, self.ports)
                self._must_have(name, ids)
                for key, value in values.items():
                    self.ports[name] = with_value(self.ports[name], key, value)
            case ReopenPort(name):
                self._must_be(name, self.ports)
                self.ports[name] = replace(self.ports[name], ofport=None, error="")
            case RemovePort(name, bridge, ids):
                self._must_have(name, ids)
                had_qos = self.qos.pop(name, None) is not None
                if name not in self.ports or self.ports[name].bridge != bridge:
                    return had_qos
                del self.ports[name]
            case RemoveQos(name):
                return self.qos.pop(name, None) is not None
        return True

    def _must_be_free(self, name: str) -> None:
        if name in self.bridges or name in self.ports:
            raise errors.StateChanged(what=f"{name} already exists")

    def _must_have(self, name: str, ids: Mapping[str, str] | None) -> None:
        """A port that is gone is no error, one that has become another's is."""
        its = self.ports[name].interface_ids if name in self.ports else {}
        if name not in self.ports or ids is None:
            return
        if not ids.items() <= its.items() or ("iface-id" not in ids and its != ids):
            raise errors.StateChanged(what=f"{name} is another's")

    @staticmethod
    def _must_be(name: str, rows: Mapping[str, object]) -> None:
        if name not in rows:
            raise errors.StateChanged(what=f"{name} is gone")

    def _reconfigure(self) -> None:
        """What ovs-vswitchd does whenever rows or devices have changed."""
        if self.stuck:
            return
        self.cur_cfg = self.next_cfg
        used = [port.ofport for port in self.ports.values() if port.ofport and port.ofport > 0]
        free = iter(set(range(1, len(used) + len(self.ports) + 2)) - set(used))
        for name, port in self.ports.items():
            if name in self.mute:
                continue
            error = self._error(name, port.interface_type in _OF_VSWITCHD)
            if error:
                self.ports[name] = replace(port, ofport=-1, error=error)
            elif not port.works:
                ofport = 65534 if name == port.bridge else next(free)
                self.ports[name] = replace(port, ofport=ofport, error="")

    def _error(self, name: str, own: bool) -> str:
        if name in self.refused_devices:
            return f"could not add network device {name} to ofproto (Invalid argument)"
        if not own and name not in self._links.links:
            return f"could not open network device {name} (No such device)"
        return ""


class FakeHost:
    """Both backends, and what is there as one value.

    :param there: what is there at the start; two veths in a row are a pair.
    """

    def __init__(self, *there: Link | Bridge | Port) -> None:
        self.links = FakeLinks(*(one for one in there if isinstance(one, Link)))
        self.rows = FakeRows(self.links)
        self.rows.add(*(one for one in there if not isinstance(one, Link)))

    @property
    def found(self) -> Found:
        """All that is there."""
        return Found(
            self.links.observe(self.links.links),
            dict(self.rows.bridges),
            dict(self.rows.ports),
            dict(self.rows.qos),
        )


def with_value(port: Port, key: str, value: str | int | None) -> Port:
    """Set a value of a port's Interface row, by ovs-vsctl's notation."""
    column, _, inner = key.partition(":")
    name = {"type": "interface_type", "external_ids": "interface_ids"}.get(column, column)
    if not inner:
        return replace(port, **{name: value})
    values = {**getattr(port, name), inner: value}
    return replace(port, **{name: {k: v for k, v in values.items() if v is not None}})


def _some(rows: Mapping[str, T], names: Iterable[str]) -> dict[str, T]:
    return {name: rows[name] for name in names if name in rows}


def inverse(plan: Plan, before: Found, now: Found | None = None) -> Plan:
    """What leads back from a plan that was executed as a whole.

    :param now: what is found after it.
    """
    rows = (undo for step in reversed(plan.rows) for undo in step.inverse(before))
    back = tuple(rows) if now is None else rows_back([(plan, before)], now, ())
    return Plan(links_back(plan.links, before, None), back)
