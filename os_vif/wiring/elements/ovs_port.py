# SPDX-License-Identifier: Apache-2.0
"""A port of an Open vSwitch bridge: the rows Port and Interface of one name, and its QoS row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from os_vif.wiring import ownership
from os_vif.wiring.differences import OWNER, PRESENT, Action, Difference
from os_vif.wiring.elements.element import Element, Plan, Removing, RowStep, Scope
from os_vif.wiring.ownership import ATTACHED_MAC, IFACE_ID, Mark, Whose
from os_vif.wiring.state import DEAD_VLAN, Found, Link, Port, Vlan

#: Interfaces that ovs-vswitchd makes for itself: a bridge's own device, and what joins bridges.
_OF_BRIDGES = ("internal", "patch")

_IFACE_ID_KEY = f"external_ids:{IFACE_ID}"

# Steps -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreatePort(RowStep):
    """Insert the rows of a port, in place of QoS rows left by earlier ports of its name."""

    port: OvsPort

    @property
    def name(self) -> str:
        return self.port.name

    def inverse(self, before: Found) -> Iterator[RowStep]:
        port = self.port
        ids = {**port.external_ids, **ownership.ids_of(port.mark)}
        yield RemovePort(port.name, port.bridge, ids)

    def in_effect(self, now: Found, rows: Collection[RowStep]) -> RowStep | None:
        return self if self.port.is_made(now) else None


@dataclass(frozen=True)
class SetPort(RowStep):
    """Set values of an Interface row, by ovs-vsctl's notation: ``column`` or ``column:key``.

    None removes a key and empties a column.

    :param ids: ``external_ids`` that the row must still have, so that one which has become
        another's meanwhile is not set; None for whichever.
    """

    name: str
    values: Mapping[str, str | int | None]
    ids: Mapping[str, str] | None = field(default=None, compare=False)

    def inverse(self, before: Found) -> Iterator[RowStep]:
        port = before.ports[self.name]
        yield SetPort(self.name, {key: port.interface(key) for key in self.values}, self.ids)

    def in_effect(self, now: Found, rows: Collection[RowStep]) -> RowStep | None:
        port = now.ports.get(self.name)
        if port is None:
            return None
        before = (self.ids or {}).get(IFACE_ID)
        if port.interface_ids.get(IFACE_ID) != self.values.get(_IFACE_ID_KEY, before):
            return None  # it is another's by now
        ours = {key: value for key, value in self.values.items() if port.interface(key) == value}
        return SetPort(self.name, ours, port.interface_ids) if ours else None


@dataclass(frozen=True)
class ReopenPort(RowStep):
    """Make ovs-vswitchd open a port's device anew, which it believes to have open already.

    In user space it holds on to a device that is gone, and does not notice the new one of the
    same name. Asking for another OpenFlow port number makes it close the one and open the other.
    """

    name: str

    def inverse(self, before: Found) -> Iterator[RowStep]:
        """Nothing: what it reopened was gone."""
        yield from ()


@dataclass(frozen=True)
class RemovePort(RowStep):
    """Take a port out of the bridge it sits on, and its QoS rows with it.

    :param ids: ``external_ids`` that its Interface row must still have, so that a port which has
        become another's meanwhile is not taken; None for whichever.
    :param port_ids: those that its Port row must still have, with the time at which it was
        written, so that one that was plugged anew meanwhile is not taken.
    """

    name: str
    bridge: str
    ids: Mapping[str, str] | None = field(default=None, compare=False)
    port_ids: Mapping[str, str] = field(default_factory=dict, compare=False)

    def inverse(self, before: Found) -> Iterable[RowStep]:
        if port := before.ports.get(self.name):
            return [CreatePort(_as_it_was(port, before.qos.get(self.name)))]
        return super().inverse(before)

    def in_effect(self, now: Found, rows: Collection[RowStep]) -> RowStep | None:
        created = (step.port for step in rows if isinstance(step, CreatePort))
        replaced = any(port.name == self.name and port.is_made(now) for port in created)
        return self if replaced or self.name not in now.ports else None


@dataclass(frozen=True)
class RemoveQos(RowStep):
    """Delete the QoS rows that are left of a port that is gone."""

    name: str


# What is wanted ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OvsPort(Element):
    """A port with one interface of the same name on an Open vSwitch bridge."""

    name: str
    bridge: str
    mark: Mark | None  # None: a port that had none is made again
    interface_type: str | None = ""  # None: whatever it is
    #: Interface ``external_ids`` and ``options``, kept as described; further keys are others'.
    external_ids: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    #: Bytes; for devices that ovs-vswitchd itself makes. In the creating transaction, so that
    #: DPDK takes the right memory pool at once (bug 1959586).
    mtu_request: int | None = None
    #: Whether ovs-vswitchd finds a device of that name now; else it is made later, by libvirt.
    device: bool = True
    #: Interface ``external_ids`` by which a port that is found is told from another VIF's.
    identified_by: Mapping[str, str] = field(default_factory=dict)
    #: Only on creation: a port that carries traffic is never moved (bug 2023300) or re-queued
    #: (bug 2017868).
    vlan: Vlan | None = None
    qos_type: str | None = None
    #: ``external_ids`` of the row Port of one that is made again; None: the mark, and the time.
    port_ids: Mapping[str, str] | None = None

    @property
    def scope(self) -> Scope:
        return Scope(links=frozenset({self.name}), ports={self.name: self.bridge})

    @property
    def claims(self) -> Mapping[str, str]:
        return {self.name: self.mark.owner} if self.mark else {}

    def is_present(self, found: Found) -> bool:
        port = found.ports.get(self.name)
        there = port is not None and port.bridge == self.bridge
        return there and self.owners(found)[self.name] is Whose.THIS

    def owners(self, found: Found) -> Mapping[str, Whose]:
        port = found.ports.get(self.name)
        return {} if port is None else {self.name: self.whose(port)}

    def whose(self, found: Port) -> Whose:
        """Return whose a port of this name is.

        The iface-id decides, whatever mark, MAC address, bridge or name say: Neutron gives each
        port one, and nobody else's. Without it the mark decides, then the type, then the MAC
        address. So a VIF's port of which somebody has changed the type is still the VIF's.
        """
        if found.name == found.bridge:
            return Whose.ANOTHERS
        mine, its = self.identified_by, found.interface_ids
        if IFACE_ID in mine and IFACE_ID in its:
            return Whose.THIS if mine[IFACE_ID] == its[IFACE_ID] else Whose.ANOTHERS
        by_mark = ownership.by_mark(self.mark, found.external_ids.get(Mark.KEY, ""), self.name)
        if by_mark is Whose.UNKNOWN and self._is_a_bridges(found):
            return Whose.ANOTHERS
        if by_mark is Whose.UNKNOWN and ATTACHED_MAC in mine:
            return Whose.THIS if mine[ATTACHED_MAC] == its.get(ATTACHED_MAC) else by_mark
        return by_mark

    def is_made(self, now: Found) -> bool:
        """Return whether a port is what was made of this; the mark of a VIF without an id says
        only its device."""
        port = now.ports.get(self.name)
        if port is None or port.bridge != self.bridge:
            return False
        iface_id = self.external_ids.get(IFACE_ID)
        same = iface_id is None or port.interface_ids.get(IFACE_ID) == iface_id
        return same and port.external_ids.get(Mark.KEY) == str(self.mark)

    def differences(self, found: Found) -> Iterator[Difference]:
        port = found.ports.get(self.name)
        if port is None:
            yield self._differs(PRESENT, True, False)
            return
        if port.bond:
            yield self._differs("interface", self.name, "those of a bond", Action.REFUSE)
        if self.whose(port) is Whose.ANOTHERS:
            if self._is_a_bridges(port):
                yield self._owner(port, Action.REFUSE)
            elif ownership.is_in_use(port, found.links.get(port.name)):
                yield self._owner(port, Action.REFUSE, " (in use)")
            else:  # what another VIF has left is replaced, on whichever bridge it is
                yield self._owner(port, Action.CORRECT)
            return
        if port.bridge != self.bridge:
            yield self._differs("bridge", self.bridge, port.bridge, Action.REFUSE)
        for key, value in self._interface_values().items():
            if port.interface(key) != value:
                # ovs-vswitchd deletes the device of an internal port that becomes another.
                refused = key == "type" and port.interface_type in _OF_BRIDGES
                action = Action.REFUSE if refused else Action.CORRECT
                yield self._differs(key, value, port.interface(key), action)
        if port.error and self._has_device(found):
            # A patch port has no device: what it lacks is its peer, or that port's bridge.
            patch = self.interface_type == "patch"
            action = Action.FOLLOW if patch else Action.REPORT
            yield self._differs("error", "", port.error, action)

    def damage(self, found: Found) -> Iterator[Difference]:
        port = found.ports.get(self.name)
        if port is None or self.whose(port) is Whose.ANOTHERS:
            return
        link = found.links.get(self.name)
        if (vlan := self._vlan(port)) != port.vlan:
            yield self._differs("vlan", vlan, port.vlan, Action.REPORT)
        qos_type = found.qos.get(self.name, self.qos_type)  # as it was made
        if port.qos_type != qos_type and not port.qos_of_others:
            yield self._differs("qos", qos_type, port.qos_type, Action.REPORT)
        if link and not port.error and not port.works_with(link.index):
            what, wanted, its = _not_working(port, link)
            yield self._differs(what, wanted, its, Action.REPORT)

    def _vlan(self, port: Port) -> Vlan:
        """Return the VLAN that a port has to be in.

        Neutron's agent moves it from where it was created, and writes down where to; it moves it
        to the dead VLAN while the port is administratively down (ml2/ovs, ``port_dead``).
        """
        if port.vlan.tag == DEAD_VLAN:
            return port.vlan
        if port.neutron_tag is None:
            return self.vlan or Vlan()
        return replace(port.vlan, tag=port.neutron_tag)

    def apply(self, found: Found, new_links: Collection[str]) -> Plan:
        wrong, is_new = tuple(self.differences(found)), self.name in new_links
        to_correct = {one.what for one in wrong if one.action is Action.CORRECT}
        rows = tuple(self._steps(found, to_correct, is_new))
        port = found.ports.get(self.name)
        unseen = port is not None and port.is_unseen
        awaited = self._has_device(found) and (rows or is_new or unseen)
        return Plan.of(wrong, rows=rows, awaited=[self.name] if awaited else ())

    def _steps(self, found: Found, wrong: Collection[str], is_new: bool) -> Iterator[RowStep]:
        """Return the steps that correct what is wrong.

        :param is_new: whether its device is about to be made.
        """
        port = found.ports.get(self.name)
        if port is None:
            yield CreatePort(self)
            return
        if OWNER in wrong:
            yield _removal(port)
            yield CreatePort(self)
            link = found.links.get(self.name)
            is_new = is_new or link is None or not port.works_with(link.index)
        elif wrong:
            values = self._interface_values()
            changes = {key: values[key] for key in values if key in wrong}
            yield SetPort(self.name, changes, port.interface_ids)
        # The datapath in user space holds on to a device that is gone; the kernel's notices.
        bridge = found.bridges.get(self.bridge)
        if is_new and bridge and bridge.datapath_type == "netdev" and port.works:
            yield ReopenPort(self.name)

    def remove(self, found: Found, removing: Removing) -> Plan:
        port = found.ports.get(self.name)
        if port is None:
            return Plan(rows=(RemoveQos(self.name),) if self.name in found.qos else ())
        whose, in_place = self.whose(port), port.bridge == self.bridge
        unknown = removing.expected and in_place and whose is Whose.UNKNOWN
        if port.bridge in removing.bridges or whose is Whose.THIS or unknown:
            return Plan(rows=(_removal(port),))
        if not removing.expected:
            return Plan()
        if in_place or whose is Whose.ANOTHERS:
            return Plan.of([self._owner(port, Action.REPORT)])
        return Plan.of([self._differs("bridge", self.bridge, port.bridge, Action.REFUSE)])

    def _differs(
        self, what: str, wanted: object, found: object, action: Action = Action.CORRECT
    ) -> Difference:
        return Difference(f"OVS port {self.name}", what, wanted, found, action)

    def _owner(self, port: Port, action: Action, more: str = "") -> Difference:
        """Return that a port is not the VIF's.

        :param more: what else there is to say of the port.
        """
        this = self.identified_by.get(IFACE_ID) or str(self.mark)
        return self._differs(OWNER, this, ownership.owner_of(port) + more, action)

    def _is_a_bridges(self, found: Port) -> bool:
        """Return whether a port belongs to a bridge and not to a VIF, unless such is wanted."""
        wants_it = self.interface_type in (None, found.interface_type)
        own = found.name == found.bridge
        return own or (found.interface_type in _OF_BRIDGES and not wants_it)

    def _interface_values(self) -> dict[str, str | int | None]:
        """Return what its Interface row must hold, by ovs-vsctl's notation.

        A kernel's device must have no ``mtu_request``: ovs-vswitchd would set that MTU again after
        plug has set the VIF's. os-vif 5 and Neutron write none there; an administrator's is
        corrected, as the MTU is that was set by ``ip link``.
        """
        values: dict[str, str | int | None] = {}
        if self.interface_type is not None:
            values["type"] = self.interface_type
        values |= {f"external_ids:{key}": value for key, value in self.external_ids.items()}
        values |= {f"options:{key}": value for key, value in self.options.items()}
        if self.mtu_request is not None or self.interface_type == "":
            values["mtu_request"] = self.mtu_request
        return values

    def _has_device(self, found: Found) -> bool:
        return self.device or self.name in found.links


def _not_working(port: Port, link: Link) -> tuple[str, object, object]:
    """Return what is wrong with a port that does not work with its device, wanted and found."""
    if port.works:
        return "ifindex", link.index, port.ifindex
    return "ofport", "a number", port.ofport


def _removal(port: Port) -> RemovePort:
    """Return the removal of a port as it was found, not of what has taken its place since."""
    ids = None if port.bond else port.interface_ids
    return RemovePort(port.name, port.bridge, ids, port.external_ids)


def _as_it_was(port: Port, qos_type: str | None) -> OvsPort:
    """Return a port that was replaced, with its VLAN: without one it would hear all of them.

    :param qos_type: of the QoS row that os-vif had made for it.
    """
    ids = {key: value for key, value in port.interface_ids.items() if key != Mark.KEY}
    return OvsPort(
        port.name,
        port.bridge,
        Mark.read(port.external_ids),
        port.interface_type,
        external_ids=ids,
        options=port.options,
        mtu_request=port.mtu_request,
        vlan=port.vlan,
        qos_type=qos_type,
        port_ids=port.external_ids,
    )
