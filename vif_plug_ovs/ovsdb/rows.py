# SPDX-License-Identifier: Apache-2.0
"""The columns of the Open_vSwitch database that we replicate, and rows as values.

See ovs-vswitchd.conf.db(5) for what the columns mean.
"""

import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ovs.db import data, idl, types

from os_vif.wiring.errors import TransactionRefused
from os_vif.wiring.model import Vlan
from os_vif.wiring.ownership import IFACE_ID
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
                "tag": _optional("integer"),
                "vlan_mode": _optional("string"),
                "trunks": {"type": {"key": "integer", "min": 0, "max": 4096}},
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
                "ifindex": _optional("integer"),
                "status": _MAP,
            },
            "indexes": [["name"]],
        },
    },
}

#: Columns that a server may lack: what is to go there is left out.
OPTIONAL = (("Interface", "mtu_request"),)

#: How rows are looked up: by name, or by an id among their ``external_ids``.
_NAMED = ("Bridge", "Port", "Interface")
_NAME, _ID = "name", "id"


#: Where unused OpenFlow port numbers are looked for; the specification reserves those above.
HIGH_OFPORT, MAX_OFPORT = 32_768, 65_279


class Replica(idl.Idl):  # type: ignore[misc]
    """python-ovs' replica; its indexes stay when it is filled anew after a reconnect."""

    def _Idl__clear(self) -> None:
        """As python-ovs', but keep the indexes, which python-ovs 3.5.0 drops with the rows."""
        kept = {name: table.rows for name, table in self.tables.items()}
        super()._Idl__clear()
        for name, rows in kept.items():
            rows.clear()
            self.tables[name].rows = rows


def replica(remote: str) -> idl.Idl:
    """Make the (still unconnected) replica of the tables above, with its indexes."""
    helper = idl.SchemaHelper(schema_json=SCHEMA)
    helper.register_all()
    tables = Replica(remote, helper)
    for table in _NAMED:
        tables.tables[table].rows.indexes[_NAME] = _Index(_name)
    for table, key in (("QoS", _ID), ("Interface", IFACE_ID)):
        tables.tables[table].rows.indexes[key] = _Index(_external_id(key))
    return tables


class _Index:
    """Rows by a key. python-ovs' own is a list sorted by comparisons in Python."""

    columns = ()  # none that python-ovs would have to look after: we change no Row objects

    def __init__(self, key: Callable[[Any], str]) -> None:
        self._key = key
        self._rows: defaultdict[str, dict[uuid.UUID, Any]] = defaultdict(dict)

    def add(self, row: Any) -> None:
        """Called by python-ovs with each row that is new, or was changed."""
        self._rows[self._key(row)][row.uuid] = row

    def remove(self, row: Any) -> None:
        """Called by python-ovs with each row that goes, or is about to be changed."""
        key = self._key(row)
        del self._rows[key][row.uuid]
        if not self._rows[key]:
            del self._rows[key]

    def clear(self) -> None:
        """Called by python-ovs when it fetches everything anew."""
        self._rows.clear()

    def get(self, key: str) -> list[Any]:
        """The rows of a key; a name has two for a moment, when a row takes another's place."""
        return list(self._rows.get(key, {}).values())


# A Row's attributes copy and convert a value several times; these read it where it lies.


def _name(row: Any) -> str:
    return str(_scalar(row, "name"))


def _external_id(key: str) -> Callable[[Any], str]:
    atom = data.Atom(types.StringType, key)

    def value(row: Any) -> str:
        found = row._data["external_ids"].values.get(atom)
        return str(found.value) if found else ""

    return value


def _scalar(row: Any, column: str, default: Any = None) -> Any:
    if column not in row._data:  # the server has none, see OPTIONAL
        return default
    return next((atom.value for atom in row._data[column].values), default)


def _map(row: Any, column: str) -> dict[str, str]:
    return {key.value: value.value for key, value in row._data[column].values.items()}


def named(tables: idl.Idl, table: str, name: str) -> Any:
    """The row of that name, or None."""
    return next(iter(tables.tables[table].rows.indexes[_NAME].get(name)), None)


def qos_of(tables: idl.Idl, device: str) -> list[Any]:
    """The QoS rows that os-vif made for a device, whatever their type."""
    found: list[Any] = tables.tables["QoS"].rows.indexes[_ID].get(names.qos_id(device))
    return found


def names_of(tables: idl.Idl, value: str, key: str = IFACE_ID) -> list[str]:
    """Return the names of the interfaces with that value under a key of their ``external_ids``.

    By iface-id it is a look-up; by another key all interfaces are read, 2,000 in 3 ms.
    """
    table, value_of = tables.tables["Interface"].rows, _external_id(key)
    found = table.indexes[key].get(value) if key in table.indexes else table.values()
    return [_name(row) for row in found if value and value_of(row) == value]


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
    rows = tables.tables["Open_vSwitch"].rows.values()
    return next((int(_scalar(row, "cur_cfg")) for row in rows), -1)


def pending(tables: idl.Idl) -> int | None:
    """Return the configuration that ovs-vswitchd was asked for and has not finished, or None."""
    for row in tables.tables["Open_vSwitch"].rows.values():
        wanted = int(_scalar(row, "next_cfg"))
        return wanted if wanted > cur_cfg(tables) else None
    return None


def unused_ofport(tables: idl.Idl) -> int:
    """An OpenFlow port number that no interface has on any bridge.

    Random, because ovs-vswitchd serves only one of two interfaces that ask for the same number,
    and others, in other processes too, may be looking for one at the same time.
    """
    used = {_scalar(row, "ofport") for row in tables.tables["Interface"].rows.values()}
    while (number := random.randrange(HIGH_OFPORT, MAX_OFPORT)) in used:
        pass
    return number


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
    return {name: _bridge(name, row) for name, row in found if row}


def _bridge(name: str, row: Any) -> Bridge:
    return Bridge(name, _scalar(row, "datapath_type"), _map(row, "external_ids"))


def ports(tables: idl.Idl, likely_bridges: Mapping[str, str]) -> dict[str, Port]:
    """Ports as values, missing ones left out.

    :param likely_bridges: name of a port -> the bridge that it should be on.
    """
    found = ((name, named(tables, "Port", name)) for name in likely_bridges)
    return {name: _port(tables, name, row, likely_bridges[name]) for name, row in found if row}


def _port(tables: idl.Idl, name: str, row: Any, likely_bridge: str) -> Port:
    bridge = bridge_of(tables, row, likely_bridge)
    bridge_name = _name(bridge) if bridge else ""
    interface = named(tables, "Interface", name)
    if interface is None:
        return Port(name, bridge_name, _map(row, "external_ids"), bond=True)
    return Port(
        name,
        bridge_name,
        _map(row, "external_ids"),
        vlan=_vlan(row),
        connected=_map(interface, "status").get("status") == "connected",
        interface_type=_scalar(interface, "type"),
        interface_ids=_map(interface, "external_ids"),
        options=_map(interface, "options"),
        mtu_request=_scalar(interface, "mtu_request"),
        ofport=_scalar(interface, "ofport"),
        error=_scalar(interface, "error", ""),
        ifindex=_scalar(interface, "ifindex"),
    )


def _vlan(port: Any) -> Vlan:
    trunks = (atom.value for atom in port._data["trunks"].values)
    return Vlan(_scalar(port, "tag"), _scalar(port, "vlan_mode"), tuple(sorted(trunks)))
