# SPDX-License-Identifier: Apache-2.0
"""The columns of the Open_vSwitch database that we replicate, and rows as values.

See ovs-vswitchd.conf.db(5) for what the columns mean.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from ovs.db import data, idl, types

from os_vif.wiring.state import Bridge, Port

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_NAME = {"type": "string", "mutable": False}
_MAP = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}


def _references(table: str) -> dict[str, Any]:
    key = {"type": "uuid", "refTable": table}
    return {"type": {"key": key, "min": 0, "max": "unlimited"}}


def _optional(kind: str) -> dict[str, Any]:
    return {"type": {"key": kind, "min": 0, "max": 1}}


#: The part of the schema that we use. Every Open vSwitch since 2.6 has all of it, so the
#: server's own schema (100 kB of JSON) need not be fetched. Statistics are never monitored.
SCHEMA: dict[str, Any] = {
    "name": "Open_vSwitch",
    "version": "7.14.0",
    "tables": {
        "Open_vSwitch": {
            "columns": {
                "bridges": _references("Bridge"),
                "cur_cfg": _INTEGER,
                "next_cfg": _INTEGER,
            },
            "isRoot": True,
            "maxRows": 1,
        },
        "Bridge": {
            "columns": {
                "name": _NAME,
                "ports": _references("Port"),
                "datapath_type": _STRING,
                "external_ids": _MAP,
            },
            "indexes": [["name"]],
        },
        "Port": {
            "columns": {
                "name": _NAME,
                "interfaces": _references("Interface"),
                "external_ids": _MAP,
            },
            "indexes": [["name"]],
        },
        "Interface": {
            "columns": {
                "name": _NAME,
                "type": _STRING,
                "external_ids": _MAP,
                "ofport": _optional("integer"),
                "error": _optional("string"),
            },
            "indexes": [["name"]],
        },
    },
}

_INDEXED = ("Bridge", "Port", "Interface")
_INDEX = "name"


def replica(remote: str) -> idl.Idl:
    """Make the (still unconnected) replica of the tables above, indexed by name."""
    helper = idl.SchemaHelper(schema_json=SCHEMA)
    helper.register_all()
    tables = idl.Idl(remote, helper)
    for table in _INDEXED:
        tables.index_create(table, _INDEX).add_columns("name")
    return tables


def named(tables: idl.Idl, table: str, name: str) -> Any:
    """The row of that name, or None."""
    entry = tables.tables[table].rows.IndexEntry(name=name)
    return next(tables.index_equal(table, _INDEX, entry), None)


def switch(tables: idl.Idl) -> Any:
    """The one row of the table Open_vSwitch, or None in a database nobody has initialised."""
    return next(iter(tables.tables["Open_vSwitch"].rows.values()), None)


def bridge_of(tables: idl.Idl, port: Any, hint: str = "") -> Any:
    """The row of the bridge that a port sits on, or None.

    A row does not know who refers to it, so bridges are asked, the likely one first.
    """
    atom = data.Atom(types.UuidType, port.uuid)
    # Reading row.ports would make Row objects of thousands of ports to look for one.
    return next((row for row in _bridges(tables, hint) if atom in row._data["ports"].values), None)


def _bridges(tables: idl.Idl, first: str) -> Iterator[Any]:
    if first and (row := named(tables, "Bridge", first)):
        yield row
    yield from tables.tables["Bridge"].rows.values()


def bridges(tables: idl.Idl, names: Iterable[str]) -> dict[str, Bridge]:
    """The OVS bridges of these names as values; missing ones are left out."""
    found = ((name, named(tables, "Bridge", name)) for name in names)
    return {name: Bridge(name, row.datapath_type, row.external_ids) for name, row in found if row}


def ports(tables: idl.Idl, names: Iterable[str], likely_bridge: str = "") -> dict[str, Port]:
    """The ports of these names as values; missing ones are left out."""
    found = ((name, named(tables, "Port", name)) for name in names)
    return {name: _port(tables, name, row, likely_bridge) for name, row in found if row}


def _port(tables: idl.Idl, name: str, row: Any, likely_bridge: str) -> Port:
    bridge = bridge_of(tables, row, likely_bridge)
    bridge_name = bridge.name if bridge else ""
    interface = named(tables, "Interface", name)
    if interface is None:
        return Port(name, bridge_name, row.external_ids, bond=True)
    return Port(
        name,
        bridge_name,
        row.external_ids,
        interface_type=interface.type,
        interface_ids=interface.external_ids,
        ofport=next(iter(interface.ofport), None),
        error=next(iter(interface.error), ""),
    )
