# SPDX-License-Identifier: Apache-2.0
"""Pure: the steps of a plan as the operations of one OVSDB transaction (RFC 7047, section 5.2).

Every operation on a row that must still be there is preceded by a ``wait`` for it, so that the
server refuses the whole transaction when somebody else was faster.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from os_vif.wiring.errors import StateChanged
from os_vif.wiring.model import Mark, OvsBridge, OvsPort
from os_vif.wiring.plan import (
    CreateBridge,
    CreatePort,
    RemoveBridge,
    RemovePort,
    RowStep,
    SetPort,
)

Operation = dict[str, Any]


class Lookup(Protocol):
    """Where the rows that a transaction builds on are found."""

    def uuid(self, table: str, name: str) -> str | None:
        """The UUID of a named row, or None."""

    def switch(self) -> str:
        """The UUID of the one row of the table Open_vSwitch."""


def operations(steps: Iterable[RowStep], lookup: Lookup) -> list[Operation]:
    """Build the operations of one transaction.

    :raises StateChanged: the replica has changed since the plan was made.
    """
    return list(_Transaction(lookup).build(steps))


class _Transaction:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._new_bridges: set[str] = set()

    def build(self, steps: Iterable[RowStep]) -> Iterator[Operation]:
        for step in steps:
            match step:
                case CreateBridge(bridge):
                    yield from self._create_bridge(bridge)
                case RemoveBridge(name):
                    yield from self._remove_bridge(name)
                case CreatePort(port):
                    yield from self._create_port(port)
                case SetPort(name, external_ids):
                    yield from self._set_port(name, external_ids)
                case RemovePort(name, bridge):
                    yield from self._remove_port(name, bridge)

    def _create_bridge(self, bridge: OvsBridge) -> Iterator[Operation]:
        self._must_be_free("Bridge", bridge.name)
        self._new_bridges.add(bridge.name)
        ids = _map({Mark.KEY: str(bridge.mark)})
        # The bridge's own device: a port and an internal interface of its name.
        yield from _port_rows(bridge.name, {"type": "internal", "external_ids": ids}, ids)
        yield _insert(
            "Bridge",
            bridge.name,
            name=bridge.name,
            datapath_type=bridge.datapath_type,
            external_ids=ids,
            ports=_new("Port", bridge.name),
        )
        yield _mutate(
            "Open_vSwitch", self._lookup.switch(), "bridges", "insert", _new("Bridge", bridge.name)
        )

    def _create_port(self, port: OvsPort) -> Iterator[Operation]:
        self._must_be_free("Port", port.name)
        mark = {Mark.KEY: str(port.mark)}
        interface = {"external_ids": _map({**port.external_ids, **mark})}
        yield from _port_rows(port.name, interface, _map(mark))
        new = _new("Port", port.name)
        if port.bridge in self._new_bridges:
            where = ["_uuid", "==", _new("Bridge", port.bridge)]
            yield {
                "op": "mutate",
                "table": "Bridge",
                "where": [where],
                "mutations": [["ports", "insert", _set(new)]],
            }
        else:
            uuid = self._uuid("Bridge", port.bridge)
            yield _still_there("Bridge", uuid, port.bridge)
            yield _mutate("Bridge", uuid, "ports", "insert", new)

    def _set_port(self, name: str, ids: Mapping[str, str | None]) -> Iterator[Operation]:
        uuid = self._uuid("Interface", name)
        yield _still_there("Interface", uuid, name)
        present = {key: value for key, value in ids.items() if value is not None}
        # An insert into a map leaves a key that is there as it is, hence the delete.
        yield {
            "op": "mutate",
            "table": "Interface",
            "where": _is(uuid),
            "mutations": [
                ["external_ids", "delete", _set(*ids)],
                ["external_ids", "insert", _map(present)],
            ],
        }

    def _remove_port(self, name: str, bridge: str) -> Iterator[Operation]:
        port, owner = self._lookup.uuid("Port", name), self._lookup.uuid("Bridge", bridge)
        if port and owner:  # the rows of the port go when nothing refers to them any more
            yield _mutate("Bridge", owner, "ports", "delete", ["uuid", port])

    def _remove_bridge(self, name: str) -> Iterator[Operation]:
        if uuid := self._lookup.uuid("Bridge", name):
            yield _mutate(
                "Open_vSwitch", self._lookup.switch(), "bridges", "delete", ["uuid", uuid]
            )

    def _uuid(self, table: str, name: str) -> str:
        uuid = self._lookup.uuid(table, name)
        if uuid is None:
            raise StateChanged(what=f"{table} {name} is gone")
        return uuid

    def _must_be_free(self, table: str, name: str) -> None:
        if self._lookup.uuid(table, name):
            raise StateChanged(what=f"{table} {name} has come into being")


def _port_rows(name: str, interface: Operation, port_ids: list[Any]) -> Iterator[Operation]:
    yield _insert("Interface", name, name=name, **interface)
    yield _insert(
        "Port", name, name=name, interfaces=_new("Interface", name), external_ids=port_ids
    )


def _insert(table: str, label: str, /, **row: Any) -> Operation:
    return {"op": "insert", "table": table, "uuid-name": _new(table, label)[1], "row": row}


def _new(table: str, name: str) -> list[str]:
    """Refer to a row that is inserted by the same transaction; its label must be an <id>."""
    return ["named-uuid", f"{table}_{name.encode().hex()}"]


def _mutate(table: str, uuid: str, column: str, mutator: str, value: list[Any]) -> Operation:
    return {
        "op": "mutate",
        "table": table,
        "where": _is(uuid),
        "mutations": [[column, mutator, _set(value)]],
    }


def _still_there(table: str, uuid: str, name: str) -> Operation:
    return {
        "op": "wait",
        "table": table,
        "where": _is(uuid),
        "columns": ["name"],
        "until": "==",
        "rows": [{"name": name}],
        "timeout": 0,
    }


def _is(uuid: str) -> list[Any]:
    return [["_uuid", "==", ["uuid", uuid]]]


def _set(*values: Any) -> list[Any]:
    return ["set", list(values)]


def _map(values: Mapping[str, str]) -> list[Any]:
    return ["map", [list(pair) for pair in values.items()]]
