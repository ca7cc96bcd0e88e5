# SPDX-License-Identifier: Apache-2.0
"""Pure: the steps of a plan as the operations of one OVSDB transaction (RFC 7047, section 5.2).

Every operation on a row that must still be there is preceded by a ``wait`` for it, so that the
server refuses the whole transaction when another client was faster.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from os_vif.wiring.elements import OvsBridge, OvsPort
from os_vif.wiring.errors import StateChanged
from os_vif.wiring.ownership import ids_of
from os_vif.wiring.state import Vlan
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
from vif_plug_ovs.ovsdb.rows import Lookup
from vif_plug_ovs.shapes import names

#: Seconds since 1970, among the ``external_ids`` of a Port row: when it was written.
SINCE = "os-vif-since"

Operation = dict[str, Any]
_Reference = list[str]  # to a row: ["uuid", <uuid>] or ["named-uuid", <id>]


def operations(
    steps: Iterable[RowStep], lookup: Lookup, now: float | None = None
) -> list[Operation]:
    """Build the operations of one transaction.

    :param now: seconds since 1970, for ports that are created; None to leave that out.

    :raises StateChanged: the replica has changed since the plan was made.
    """
    return list(_Transaction(lookup, now).build(steps))


class _Transaction:
    def __init__(self, lookup: Lookup, now: float | None) -> None:
        self._lookup = lookup
        self._since = {} if now is None else {SINCE: str(int(now))}
        self._created: set[tuple[str, str]] = set()  # table and name
        self._removed: set[str] = set()
        self._ofports: set[int] = set()  # that this very transaction asks for

    def build(self, steps: Iterable[RowStep]) -> Iterator[Operation]:
        for step in steps:
            match step:
                case CreateBridge(bridge):
                    yield from self._create_bridge(bridge)
                case RemoveBridge(name, if_empty):
                    yield from self._remove_bridge(name, if_empty)
                case CreatePort(port):
                    yield from self._create_port(port)
                case SetPort(name, values, ids):
                    yield from self._set_port(name, values, ids)
                case ReopenPort(name):
                    yield from self._reopen_port(name)
                case RemovePort():
                    yield from self._remove_port(step)
                case RemoveQos(name):
                    yield from self._remove_qos(name)

    def _create_bridge(self, bridge: OvsBridge) -> Iterator[Operation]:
        self._must_be_free("Bridge", bridge.name)
        self._created.add(("Bridge", bridge.name))
        ids = _map(ids_of(bridge.mark))
        # The bridge's own device: a port and an internal interface of its name.
        internal = {"type": "internal", "external_ids": ids}
        yield from _port_rows(bridge.name, internal, {"external_ids": ids})
        yield _insert(
            "Bridge",
            bridge.name,
            name=bridge.name,
            datapath_type=bridge.datapath_type,
            external_ids=ids,
            ports=_new("Port", bridge.name),
        )
        yield self._mutate_switch("insert", _new("Bridge", bridge.name))

    def _create_port(self, port: OvsPort) -> Iterator[Operation]:
        self._must_be_free("Port", port.name)
        self._created.add(("Interface", port.name))
        yield from self._remove_qos(port.name)
        mark = ids_of(port.mark)
        interface: dict[str, Any] = {"external_ids": _map({**port.external_ids, **mark})}
        if port.interface_type:
            interface["type"] = port.interface_type
        if port.options:
            interface["options"] = _map(port.options)
        if port.mtu_request is not None:
            interface["mtu_request"] = port.mtu_request
        its_ids = {**mark, **self._since} if port.port_ids is None else port.port_ids
        columns: dict[str, Any] = {"external_ids": _map(its_ids)}
        if port.vlan:
            columns |= dict(_vlan_columns(port.vlan))
        if port.qos_type:
            columns["qos"] = _new("QoS", port.name)
            ids = {"id": names.qos_id(port.name), "_type": port.qos_type, **mark}
            yield _insert("QoS", port.name, type=port.qos_type, external_ids=_map(ids))
        yield from _port_rows(port.name, interface, columns)
        where, guard = self._row("Bridge", port.bridge)
        yield from guard
        yield _mutate("Bridge", where, "ports", "insert", _new("Port", port.name))

    def _set_port(
        self, name: str, values: Mapping[str, str | int | None], ids: Mapping[str, str] | None
    ) -> Iterator[Operation]:
        where, guard = self._row("Interface", name)
        yield from guard if ids is None else _still_has(where, name, ids)
        row: dict[str, Any] = {}
        maps: defaultdict[str, dict[str, str | int | None]] = defaultdict(dict)
        for key, value in values.items():
            column, in_map, key_in_map = key.partition(":")
            if in_map:
                maps[column][key_in_map] = value
            else:
                row[column] = _set() if value is None else value
        if row:
            yield _update("Interface", where, row)
        # An insert into a map leaves a key that is there as it is, hence the delete.
        mutations = []
        for column, keys in sorted(maps.items()):
            present = {key: str(value) for key, value in keys.items() if value is not None}
            mutations += [[column, "delete", _set(*keys)], [column, "insert", _map(present)]]
        if mutations:
            yield {"op": "mutate", "table": "Interface", "where": where, "mutations": mutations}

    def _reopen_port(self, name: str) -> Iterator[Operation]:
        where, guard = self._row("Interface", name)
        yield from guard
        while (ofport := self._lookup.unused_ofport()) in self._ofports:
            pass
        self._ofports.add(ofport)
        # Of two interfaces that ask for one number ovs-vswitchd serves one only.
        yield _wait("Interface", [["ofport_request", "==", ofport]], "ofport_request")
        yield _update("Interface", where, {"ofport_request": ofport})

    def _remove_port(self, step: RemovePort) -> Iterator[Operation]:
        name = step.name
        port, owner = self._lookup.uuid("Port", name), self._lookup.uuid("Bridge", step.bridge)
        interface = self._lookup.uuid("Interface", name)
        if port and interface and step.ids is not None:
            yield from _still_has(_is(["uuid", interface]), name, step.ids)
        if port and step.port_ids:
            its = [*_is(["uuid", port]), ["external_ids", "includes", _map(step.port_ids)]]
            yield _wait("Port", its, "name", name)
        if port and self._lookup.qos(name):
            # The server refuses to delete a QoS row that the port still refers to, although the
            # port goes in the same transaction.
            yield _update("Port", _is(["uuid", port]), {"qos": _set()})
        yield from self._remove_qos(name)
        if port:
            self._removed.add(port)
        if port and owner:  # the rows of the port go when nothing refers to them any more
            yield _mutate("Bridge", _is(["uuid", owner]), "ports", "delete", ["uuid", port])

    def _remove_qos(self, device: str) -> Iterator[Operation]:
        gone, self._removed = self._removed, self._removed.union(self._lookup.qos(device))
        for uuid in sorted(self._removed - gone):
            yield {"op": "delete", "table": "QoS", "where": _is(["uuid", uuid])}

    def _remove_bridge(self, name: str, if_empty: bool) -> Iterator[Operation]:
        uuid = self._lookup.uuid("Bridge", name)
        if uuid is None:
            return
        if if_empty:
            own = self._lookup.uuid("Port", name)
            if set(self._lookup.ports(name)) - self._removed - {own}:
                return
            kept = [] if own is None else [["uuid", own]]
            yield _wait("Bridge", _is(["uuid", uuid]), "ports", _set(*kept))
        self._removed.add(uuid)
        yield self._mutate_switch("delete", ["uuid", uuid])

    def _mutate_switch(self, mutator: str, bridge: _Reference) -> Operation:
        where = _is(["uuid", self._lookup.switch()])
        return _mutate("Open_vSwitch", where, "bridges", mutator, bridge)

    def _row(self, table: str, name: str) -> tuple[list[Any], list[Operation]]:
        """Return the condition that picks the row of a name, and what refuses the transaction
        should another client have deleted it."""
        if (table, name) in self._created:
            return _is(_new(table, name)), []
        uuid = self._lookup.uuid(table, name)
        if uuid is None:
            raise StateChanged(what=f"{table} {name} is gone")
        where = _is(["uuid", uuid])
        return where, [_wait(table, where, "name", name)]

    def _must_be_free(self, table: str, name: str) -> None:
        uuid = self._lookup.uuid(table, name)
        if uuid and uuid not in self._removed:
            raise StateChanged(what=f"{table} {name} already exists")


def _vlan_columns(vlan: Vlan) -> Iterator[tuple[str, Any]]:
    if vlan.tag is not None:
        yield "tag", vlan.tag
    if vlan.mode is not None:
        yield "vlan_mode", vlan.mode
    if vlan.trunks:
        yield "trunks", _set(*vlan.trunks)


def _port_rows(
    name: str, interface: Mapping[str, Any], port: Mapping[str, Any]
) -> Iterator[Operation]:
    yield _insert("Interface", name, name=name, **interface)
    yield _insert("Port", name, name=name, interfaces=_new("Interface", name), **port)


def _insert(table: str, label: str, /, **row: Any) -> Operation:
    return {"op": "insert", "table": table, "uuid-name": _new(table, label)[1], "row": row}


def _new(table: str, name: str) -> _Reference:
    """Refer to a row that is inserted by the same transaction; its label must be an <id>."""
    return ["named-uuid", f"{table}_{name.encode().hex()}"]


def _mutate(
    table: str, where: list[Any], column: str, mutator: str, value: _Reference
) -> Operation:
    mutations = [[column, mutator, _set(value)]]
    return {"op": "mutate", "table": table, "where": where, "mutations": mutations}


def _update(table: str, where: list[Any], row: Mapping[str, Any]) -> Operation:
    return {"op": "update", "table": table, "where": where, "row": row}


def _wait(table: str, where: list[Any], column: str, *values: Any) -> Operation:
    """Return what refuses the transaction unless the rows that are picked have these values."""
    return {
        "op": "wait",
        "table": table,
        "where": where,
        "columns": [column],
        "until": "==",
        "rows": [{column: value} for value in values],
        "timeout": 0,
    }


def _still_has(where: list[Any], name: str, ids: Mapping[str, str]) -> Iterator[Operation]:
    """Wait for a port that is still whose it was.

    With an iface-id that, and what else it had, must be there; others may have added more.
    Without one nothing may have been added either, or it could be another VIF's by now.
    """
    yield _wait("Interface", [*where, ["external_ids", "includes", _map(ids)]], "name", name)
    if "iface-id" not in ids:
        yield _wait("Interface", where, "external_ids", _map(ids))


def _is(row: _Reference) -> list[Any]:
    return [["_uuid", "==", row]]


def _set(*values: Any) -> list[Any]:
    return ["set", list(values)]


def _map(values: Mapping[str, str]) -> list[Any]:
    return ["map", [list(pair) for pair in values.items()]]
