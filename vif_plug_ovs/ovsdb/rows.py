# SPDX-License-Identifier: Apache-2.0
"""The columns of the Open_vSwitch database that we replicate, and rows as values.

See ovs-vswitchd.conf.db(5) for what the columns mean.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ovs.db import data, idl, types

from os_vif.wiring.errors import TransactionRefused
from os_vif.wiring.state import Bridge, Port
from vif_plug_ovs.wiring import names

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_FIXED = {"type": "string", "mutable": False}
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
                "name": _FIXED,
                "ports": _references("Port"),
                "datapath_type": _STRING,
                "external_ids": _MAP,
            },
            "indexes": [["name"]],
        },
        "Port": {
            "columns": {
                "name": _FIXED,
                "interfaces": _references("Interface"),
                "external_ids": _MAP,
            },
            "indexes": [["name"]],
        },
        "QoS": {"columns": {"external_ids": _MAP}, "isRoot": True},
        "Interface": {
            "columns": {
                "name": _FIXED,
                "type": _STRING,
                "options": _MAP,
                "external_ids": _MAP,
                "mtu_request": _optional("integer"),
                "ofport": _optional("integer"),
                "error": _optional("string"),
            },
            "indexes": [["name"]],
        },
    },
}

#: How rows are looked up: by name, or by an id among their ``external_ids``.
_NAMED = ("Bridge", "Port", "Interface")
_NAME = "name"
_QOS_KEY, _IFACE_ID = "id", "iface-id"
_BY_ID = (("QoS", _QOS_KEY), ("Interface", _IFACE_ID))


#: Where unused OpenFlow port numbers are looked for; the specification reserves those above.
HIGH_OFPORT, MAX_OFPORT = 50_000, 65_279


def replica(remote: str) -> idl.Idl:
    """Make the (still unconnected) replica of the tables above, with its indexes."""
    helper = idl.SchemaHelper(schema_json=SCHEMA)
    helper.register_all()
    tables = idl.Idl(remote, helper)
    for table in _NAMED:
        tables.index_create(table, _NAME).add_columns("name")
    for table, key in _BY_ID:
        by_id = functools.partial(_external_id, key)
        tables.index_create(table, key).add_column("external_ids", key=by_id)
    return tables


def _external_id(key: str, row: Any) -> str:
    return str(row.external_ids.get(key, ""))


def named(tables: idl.Idl, table: str, name: str) -> Any:
    """The row of that name, or None."""
    entry = tables.tables[table].rows.IndexEntry(name=name)
    return next(tables.index_equal(table, _NAME, entry), None)


def _identified(tables: idl.Idl, table: str, key: str, value: str) -> list[Any]:
    entry = tables.tables[table].rows.IndexEntry(external_ids={key: value})
    return list(tables.index_equal(table, key, entry))


def qos_of(tables: idl.Idl, device: str) -> list[Any]:
    """The QoS rows that os-vif made for a device, whatever their type."""
    return _identified(tables, "QoS", _QOS_KEY, names.qos_id(device))


def names_of(tables: idl.Idl, iface_id: str) -> list[str]:
    """The names of the interfaces with that iface-id."""
    return [row.name for row in _identified(tables, "Interface", _IFACE_ID, iface_id)]


def switch(tables: idl.Idl) -> Any:
    """The one row of the table Open_vSwitch.

    :raises TransactionRefused: nobody has initialised the database yet.
    """
    row = next(iter(tables.tables["Open_vSwitch"].rows.values()), None)
    if row is None:
        raise TransactionRefused(
            reason="the database has no row in the table Open_vSwitch; is ovs-vswitchd there?"
        )
    return row


def cur_cfg(tables: idl.Idl) -> int:
    """The configuration that ovs-vswitchd has finished; -1 in an uninitialised database."""
    found = [int(row.cur_cfg) for row in tables.tables["Open_vSwitch"].rows.values()]
    return found[0] if found else -1


def unused_ofport(tables: idl.Idl) -> int:
    """An OpenFlow port number that no interface has on any bridge."""
    used = {port for row in tables.tables["Interface"].rows.values() for port in row.ofport}
    return next(number for number in range(HIGH_OFPORT, MAX_OFPORT) if number not in used)


def port_uuids(bridge: Any) -> list[str]:
    """The ports on a bridge; its attribute would make Row objects of thousands of them."""
    return [str(atom.value) for atom in bridge._data["ports"].values]


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


def bridges(tables: idl.Idl, wanted: Iterable[str]) -> dict[str, Bridge]:
    """The OVS bridges of these names as values; missing ones are left out."""
    found = ((name, named(tables, "Bridge", name)) for name in wanted)
    return {name: Bridge(name, row.datapath_type, row.external_ids) for name, row in found if row}


def ports(tables: idl.Idl, likely_bridges: Mapping[str, str]) -> dict[str, Port]:
    """Ports as values, missing ones left out.

    :param likely_bridges: name of a port -> the bridge that it should be on.
    """
    found = ((name, named(tables, "Port", name)) for name in likely_bridges)
    return {name: _port(tables, name, row, likely_bridges[name]) for name, row in found if row}


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
        options=interface.options,
        mtu_request=next(iter(interface.mtu_request), None),
        ofport=next(iter(interface.ofport), None),
        error=next(iter(interface.error), ""),
    )
