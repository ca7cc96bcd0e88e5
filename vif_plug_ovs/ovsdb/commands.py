# SPDX-License-Identifier: Apache-2.0
"""Pure: the steps of a plan as the arguments of one ``ovs-vsctl`` invocation, which makes one
transaction of all its commands.

The sibling of :mod:`vif_plug_ovs.ovsdb.operations`: what the two write is the same. See
ovs-vsctl(8), "Database Values", for the quoting: a string in double quotes is read as JSON. Every
string that comes from a VIF is quoted, and a record is always named by its UUID, so that none of
them is taken for an option, a column, another record, or the ``--`` between two commands.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from typing import Protocol

from os_vif.wiring.errors import StateChanged
from os_vif.wiring.model import Mark, OvsBridge, OvsPort, Vlan
from os_vif.wiring.steps import (
    CreateBridge,
    CreatePort,
    RemoveBridge,
    RemovePort,
    RemoveQos,
    ReopenPort,
    RowStep,
    SetPort,
)
from vif_plug_ovs.ovsdb import operations
from vif_plug_ovs.wiring import names

#: The command that does not end before its condition holds.
WAIT = "wait-until"

#: One command with its options in front of it.
Command = list[str]


class Lookup(operations.Lookup, Protocol):
    """Where the rows that an invocation builds on are found."""

    @property
    def next_cfg(self) -> int:
        """The number of the last configuration that ovs-vswitchd was asked for."""

    def interface_ids(self, name: str) -> Mapping[str, str]:
        """The ``external_ids`` of an interface; empty when it is gone."""


def writing(steps: Iterable[RowStep], lookup: Lookup) -> list[str]:
    """Build the arguments of an invocation that takes the steps and counts ``next_cfg`` up by one.

    It fails, and changes nothing, when ``next_cfg`` or a row that it builds on is no longer as
    looked up.

    :returns: nothing when there is nothing to do.
    :raises StateChanged: what was looked up is not what the plan was made for.
    """
    commands = _Transaction(lookup).build(steps)
    return _joined([*_counted(lookup), *commands]) if commands else []


def reading(ports: Collection[str], *, ofports: bool = False) -> list[str]:
    """Build the arguments of an invocation that prints a table for each of: the switch, all
    bridges, the OpenFlow ports, and of each port its Port, Interface and QoS rows.

    :param ofports: whether to list OpenFlow ports of all interfaces; else there are none.
    """
    commands = [
        ["--columns=_uuid,next_cfg,cur_cfg", "list", "Open_vSwitch"],
        ["--columns=_uuid,name,datapath_type,external_ids,ports", "list", "Bridge"],
        ["--columns=ofport", "find", "Interface", "ofport>0" if ofports else "ofport=0"],
    ]
    for port in ports:
        name = f"name={_quoted(port)}"
        qos_id = f"external_ids:id={_quoted(names.qos_id(port))}"
        columns = "_uuid,type,options,external_ids,mtu_request,ofport,error,ifindex,status"
        commands.append(
            ["--columns=_uuid,external_ids,tag,vlan_mode,trunks", "find", "Port", name]
        )
        commands.append([f"--columns={columns}", "find", "Interface", name])
        commands.append(["--columns=_uuid", "find", "QoS", qos_id])
    return _joined(commands)


def naming(iface_id: str) -> list[str]:
    """Build the arguments of an invocation that prints a table of the interfaces' names with
    that iface-id."""
    condition = f"external_ids:iface-id={_quoted(iface_id)}"
    return _joined([["--columns=name", "find", "Interface", condition]])


def catching_up(cfg: int) -> list[str]:
    """Build the arguments of an invocation that ends when ovs-vswitchd has reached a
    configuration number."""
    return _joined([[WAIT, "Open_vSwitch", ".", f"cur_cfg>={cfg}"]])


def coming_to_work(interfaces: Mapping[str, int]) -> list[str]:
    """Build the arguments of an invocation that ends when ovs-vswitchd has opened the devices of
    these interfaces.

    :param interfaces: the UUID of each row -> the index of its device; 0 for whichever device.
    """
    return _joined(
        [WAIT, "Interface", uuid, "ofport>0", "error=[]", *([f"ifindex={index}"] if index else [])]
        for uuid, index in interfaces.items()
    )


class _Transaction:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._numbers = count()
        self._removed_ports: set[str] = set()
        #: Bridges that this very transaction creates -> the labels of their ports.
        self._new_bridges: dict[str, list[str]] = {}

    def build(self, steps: Iterable[RowStep]) -> list[Command]:
        steps = list(steps)
        commands = [command for step in steps for command in self._commands(step)]
        new = [step.bridge for step in steps if isinstance(step, CreateBridge)]
        # Last, for only now all of their ports are known.
        return commands + [command for bridge in new for command in self._bridge_row(bridge)]

    def _commands(self, step: RowStep) -> Iterator[Command]:
        match step:
            case CreateBridge(bridge):
                yield from self._create_bridge(bridge)
            case RemoveBridge(name, if_empty):
                yield from self._remove_bridge(name, if_empty)
            case CreatePort(port):
                yield from self._create_port(port)
            case SetPort(name, values):
                yield from self._set_port(name, values)
            case ReopenPort(name):
                yield from self._reopen_port(name)
            case RemovePort(name, bridge, ids):
                its = {} if ids is None else self._lookup.interface_ids(name)
                if its and ids and not ids.items() <= its.items():
                    raise StateChanged(what=f"Port {name} is another's")
                yield from self._remove_port(name, bridge)
            case RemoveQos(name):
                yield from self._remove_qos(name)

    def _create_bridge(self, bridge: OvsBridge) -> Iterator[Command]:
        self._must_be_free("Bridge", bridge.name)
        ids = _map("external_ids", {Mark.KEY: str(bridge.mark)})
        # The bridge's own device: a port and an internal interface of its name.
        label = self._label()
        yield from self._port_rows(label, bridge.name, [_string("type", "internal"), ids], [ids])
        self._new_bridges[bridge.name] = [label]

    def _bridge_row(self, bridge: OvsBridge) -> Iterator[Command]:
        label = self._label()
        yield [
            f"--id={label}",
            "create",
            "Bridge",
            _string("name", bridge.name),
            _string("datapath_type", bridge.datapath_type),
            _map("external_ids", {Mark.KEY: str(bridge.mark)}),
            f"ports={','.join(self._new_bridges[bridge.name])}",
        ]
        yield ["add", "Open_vSwitch", self._lookup.switch(), "bridges", label]

    def _create_port(self, port: OvsPort) -> Iterator[Command]:
        self._must_be_free("Port", port.name)
        yield from self._remove_qos(port.name)
        mark = {} if port.mark is None else {Mark.KEY: str(port.mark)}
        interface = [_map("external_ids", {**port.external_ids, **mark})]
        if port.interface_type:
            interface.append(_string("type", port.interface_type))
        if port.options:
            interface.append(_map("options", port.options))
        if port.mtu_request is not None:
            interface.append(f"mtu_request={port.mtu_request}")
        columns = [_map("external_ids", mark)]
        if port.vlan:
            columns += _vlan_columns(port.vlan)
        if port.qos_type:
            qos = self._label()
            ids = {"id": names.qos_id(port.name), "_type": port.qos_type, **mark}
            row = [_string("type", port.qos_type), _map("external_ids", ids)]
            yield [f"--id={qos}", "create", "QoS", *row]
            columns.append(f"qos={qos}")
        label = self._label()
        yield from self._port_rows(label, port.name, interface, columns)
        yield from self._attach(label, port)

    def _attach(self, label: str, port: OvsPort) -> Iterator[Command]:
        if port.bridge in self._new_bridges:
            self._new_bridges[port.bridge].append(label)
        else:
            # Fails unless the bridge's row is still there, with the ports that it had.
            yield ["add", "Bridge", self._uuid("Bridge", port.bridge), "ports", label]

    def _port_rows(
        self, label: str, name: str, interface: list[str], port: list[str]
    ) -> Iterator[Command]:
        device, named = self._label(), _string("name", name)
        yield [f"--id={device}", "create", "Interface", named, *interface]
        yield [f"--id={label}", "create", "Port", named, f"interfaces={device}", *port]

    def _set_port(self, name: str, values: Mapping[str, str | int | None]) -> Iterator[Command]:
        uuid = self._uuid("Interface", name)
        yield ["get", "Interface", uuid, "name"]  # fails unless the row is still there
        for column, value in values.items():
            yield _set(uuid, column, value)

    def _reopen_port(self, name: str) -> Iterator[Command]:
        uuid = self._uuid("Interface", name)
        yield ["get", "Interface", uuid, "name"]
        yield ["set", "Interface", uuid, f"ofport_request={self._lookup.unused_ofport()}"]

    def _remove_port(self, name: str, bridge: str) -> Iterator[Command]:
        port, owner = self._lookup.uuid("Port", name), self._lookup.uuid("Bridge", bridge)
        if port and self._lookup.qos(name):
            # The server refuses to delete a QoS row that the port still refers to, although the
            # port goes in the same transaction.
            yield ["clear", "Port", port, "qos"]
        yield from self._remove_qos(name)
        if port:
            self._removed_ports.add(port)
        if port and owner:  # the rows of the port go when nothing refers to them any more
            yield ["remove", "Bridge", owner, "ports", port]

    def _remove_qos(self, device: str) -> Iterator[Command]:
        gone = self._removed_ports
        self._removed_ports = gone.union(self._lookup.qos(device))
        for uuid in sorted(self._removed_ports - gone):
            yield ["--if-exists", "destroy", "QoS", uuid]

    def _remove_bridge(self, name: str, if_empty: bool) -> Iterator[Command]:
        uuid = self._lookup.uuid("Bridge", name)
        if uuid is None:
            return
        if if_empty:
            own = self._lookup.uuid("Port", name)
            if set(self._lookup.ports(name)) - self._removed_ports - {own}:
                return
            # The one makes the server compare what was there, the other does not end by itself
            # when it is more than was looked up.
            yield ["get", "Bridge", uuid, "ports"]
            yield [WAIT, "Bridge", uuid, f"ports={own or '[]'}"]
        yield ["remove", "Open_vSwitch", self._lookup.switch(), "bridges", uuid]

    def _label(self) -> str:
        return f"@new{next(self._numbers)}"

    def _uuid(self, table: str, name: str) -> str:
        uuid = self._lookup.uuid(table, name)
        if uuid is None:
            raise StateChanged(what=f"{table} {name} is gone")
        return uuid

    def _must_be_free(self, table: str, name: str) -> None:
        uuid = self._lookup.uuid(table, name)
        if uuid and uuid not in self._removed_ports:
            raise StateChanged(what=f"{table} {name} has come into being")


def _counted(lookup: Lookup) -> Iterator[Command]:
    """Compare and swap ``next_cfg``.

    The column holds one number, so adding the expected one to it is refused unless it is that one
    already; and both commands make ovs-vsctl guard the column by a ``wait`` operation.
    """
    switch, before = lookup.switch(), lookup.next_cfg
    yield ["add", "Open_vSwitch", switch, "next_cfg", str(before)]
    yield ["set", "Open_vSwitch", switch, f"next_cfg={before + 1}"]


def _set(interface: str, key: str, value: str | int | None) -> Command:
    column, is_key, inner = key.partition(":")
    if not is_key and value is None:
        return ["clear", "Interface", interface, column]
    if not is_key:
        plain = str(value) if isinstance(value, int) else _quoted(str(value))
        return ["set", "Interface", interface, f"{column}={plain}"]
    if value is None:
        return ["remove", "Interface", interface, column, _quoted(inner)]
    return ["set", "Interface", interface, f"{column}:{_quoted(inner)}={_quoted(str(value))}"]


def _vlan_columns(vlan: Vlan) -> Iterator[str]:
    if vlan.tag is not None:
        yield f"tag={vlan.tag}"
    if vlan.mode is not None:
        yield _string("vlan_mode", vlan.mode)
    if vlan.trunks:
        yield f"trunks={','.join(str(one) for one in vlan.trunks)}"


def _string(column: str, value: str) -> str:
    return f"{column}={_quoted(value)}"


def _map(column: str, values: Mapping[str, str]) -> str:
    pairs = (f"{_quoted(key)}={_quoted(value)}" for key, value in values.items())
    return f"{column}={{{','.join(pairs)}}}"


def _quoted(value: str) -> str:
    return json.dumps(value)


def _joined(commands: Iterable[Command]) -> list[str]:
    return [word for command in commands for word in ("--", *command)]
