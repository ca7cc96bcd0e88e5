# SPDX-License-Identifier: Apache-2.0
"""The columns of the Open_vSwitch database that we replicate, and rows as values.

See ovs-vswitchd.conf.db(5) for what the columns mean.
"""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from os_vif.wiring.errors import TransactionRefused
from os_vif.wiring.ownership import IFACE_ID, Mark
from os_vif.wiring.state import Bridge, Found, Port, Vlan
from vif_plug_ovs import constants
from vif_plug_ovs.health import Switch
from vif_plug_ovs.ovsdb.python_ovs import (
    Replica,
    Row,
    first_referrer,
    map_value,
    mapping,
    members,
    scalar,
)
from vif_plug_ovs.shapes import names

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_FIXED = {"type": "string", "mutable": False}
_MAP = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}


def _references(table: str, most: int | str = "unlimited") -> dict[str, Any]:
    """:param most: as the server has it: of a set of one, an update brings the value itself."""
    key = {"type": "uuid", "refTable": table}
    return {"type": {"key": key, "min": 0, "max": most}}


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
                "external_ids": _MAP,
                "ovs_version": _optional("string"),
                "dpdk_initialized": {"type": "boolean"},
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
                "other_config": _MAP,
                "qos": _references("QoS", 1),
            },
            "indexes": [["name"]],
        },
        "QoS": {"columns": {"type": _STRING, "external_ids": _MAP}, "isRoot": True},
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
OPTIONAL = (("Interface", "mtu_request"), ("Open_vSwitch", "dpdk_initialized"))

#: How rows are looked up: by name, or by an id among their ``external_ids``.
_NAMED = ("Bridge", "Port", "Interface")
_NAME, _ID = "name", "id"


#: Where unused OpenFlow port numbers are looked for; the specification reserves those above.
HIGH_OFPORT, MAX_OFPORT = 32_768, 65_279


def new_replica(remote: str) -> Replica:
    """Return a (still unconnected) replica of the tables above, with its indexes."""
    made = Replica(remote, SCHEMA, OPTIONAL)
    for table in _NAMED:
        made.add_index(table, _NAME, _name)
    for table, key in (("QoS", _ID), ("Interface", IFACE_ID)):
        made.add_index(table, key, map_value("external_ids", key))
    return made


def _name(row: Row) -> str:
    return str(scalar(row, "name"))


def named(replica: Replica, table: str, name: str) -> Row:
    """Return the row of that name, or None."""
    return next(iter(replica.tables[table].rows.indexes[_NAME].get(name)), None)


def qos_of(replica: Replica, device: str) -> list[Row]:
    """Return the QoS rows that os-vif made for a device, whatever their type."""
    found: list[Row] = replica.tables["QoS"].rows.indexes[_ID].get(names.qos_id(device))
    return found


def qos_types(replica: Replica, devices: Iterable[str]) -> dict[str, str]:
    """Return the types of the QoS rows that os-vif made, by device; empty where it is not said."""
    found = ((device, qos_of(replica, device)) for device in devices)
    type_of = map_value("external_ids", "_type")
    return {device: type_of(rows[0]) for device, rows in found if rows}


def names_of(replica: Replica, value: str, key: str = IFACE_ID) -> list[str]:
    """Return the names of the interfaces with that value under a key of their ``external_ids``.

    By iface-id it is a look-up; by another key all interfaces are read, 2,000 in a few ms.
    """
    rows, value_of = replica.tables["Interface"].rows, map_value("external_ids", key)
    found = rows.indexes[key].get(value) if key in rows.indexes else rows.values()
    return [_name(row) for row in found if value and value_of(row) == value]


def switch(replica: Replica) -> Row:
    """Return the one row of the table Open_vSwitch.

    :raises TransactionRefused: the database is not initialised yet.
    """
    row = next(iter(replica.tables["Open_vSwitch"].rows.values()), None)
    if row is None:
        raise TransactionRefused(
            reason="the database has no row in the table Open_vSwitch; is ovs-vswitchd there?"
        )
    return row


class Lookup:
    """Where the rows that a transaction builds on are found."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def uuid(self, table: str, name: str) -> str | None:
        """Return the UUID of a named row, or None."""
        row = named(self._replica, table, name)
        return str(row.uuid) if row else None

    def qos(self, device: str) -> list[str]:
        """Return the UUIDs of the QoS rows that os-vif made for a device."""
        return [str(row.uuid) for row in qos_of(self._replica, device)]

    def ports(self, bridge: str) -> list[str]:
        """Return the UUIDs of the ports on a bridge."""
        row = named(self._replica, "Bridge", bridge)
        return [str(uuid) for uuid in members(row, "ports")] if row else []

    def unused_ofport(self) -> int:
        """Return an OpenFlow port number that no interface has on any bridge."""
        return unused_ofport(self._replica)

    def switch(self) -> str:
        """Return the UUID of the one row of the table Open_vSwitch."""
        return str(switch(self._replica).uuid)


def cur_cfg(replica: Replica) -> int:
    """Return the configuration that ovs-vswitchd has finished; -1 in an uninitialised database."""
    rows = replica.tables["Open_vSwitch"].rows.values()
    return next((int(scalar(row, "cur_cfg")) for row in rows), -1)


def pending(replica: Replica) -> int | None:
    """Return the configuration that ovs-vswitchd was asked for and has not finished, or None."""
    for row in replica.tables["Open_vSwitch"].rows.values():
        wanted = int(scalar(row, "next_cfg"))
        return wanted if wanted > cur_cfg(replica) else None
    return None


def state_of_switch(replica: Replica, *, with_bridges: bool = False) -> Switch:
    """Return what the table Open_vSwitch says.

    :param with_bridges: and the table Bridge, of which there may be one row for each VIF.
    :raises TransactionRefused: the database is not initialised yet.
    """
    row, bridges = switch(replica), replica.tables["Bridge"].rows if with_bridges else {}
    lacking = {column for _, column in replica.session.missing}
    return Switch(
        version=scalar(row, "ovs_version", ""),
        dpdk=None if "dpdk_initialized" in lacking else bool(scalar(row, "dpdk_initialized")),
        external_ids=mapping(row, "external_ids"),
        next_cfg=int(scalar(row, "next_cfg")),
        cur_cfg=int(scalar(row, "cur_cfg")),
        kernel_bridges=tuple(
            sorted(
                _name(bridge)
                for bridge in bridges.values()
                if scalar(bridge, "datapath_type") in ("", constants.OVS_DATAPATH_SYSTEM)
            )
        ),
    )


def readiness(
    replica: Replica, likely_bridges: Mapping[str, str]
) -> tuple[Found, Switch, Callable[[], bool]]:
    """Return ports, the switch, and what tells whether Neutron's agent gives ports on a bridge of
    theirs their VLAN."""
    there = found(replica, (), likely_bridges)
    bridges = {port.bridge for port in there.ports.values()}

    def agent() -> bool:
        return any(has_agent(replica, bridge) for bridge in bridges)

    return there, state_of_switch(replica), agent


def has_agent(replica: Replica, bridge: str) -> bool:
    """Return whether Neutron's agent has given a port on a bridge its VLAN."""
    row = named(replica, "Bridge", bridge)
    of_port = replica.tables["Port"].rows
    ports = (of_port.get(uuid) for uuid in (members(row, "ports") if row else ()))
    tag = map_value("other_config", "tag")
    return any(tag(port) for port in ports if port)


def unused_ofport(replica: Replica) -> int:
    """Return an OpenFlow port number that no interface has on any bridge.

    Random, because ovs-vswitchd serves only one of two interfaces that ask for the same number,
    and other processes may be looking for one at the same time.
    """
    used = {scalar(row, "ofport") for row in replica.tables["Interface"].rows.values()}
    while (number := random.randrange(HIGH_OFPORT, MAX_OFPORT)) in used:
        pass
    return number


def _bridges(replica: Replica, first: str) -> Iterator[Row]:
    if first and (row := named(replica, "Bridge", first)):
        yield row
    yield from replica.tables["Bridge"].rows.values()


def found(replica: Replica, of_bridges: Iterable[str], of_ports: Mapping[str, str]) -> Found:
    """Return the rows of these names; see :meth:`os_vif.wiring.engine.Rows.observe`."""
    return Found(
        bridges=bridges(replica, of_bridges),
        ports=ports(replica, of_ports),
        qos=qos_types(replica, of_ports),
        pending=pending(replica),
    )


def bridges(replica: Replica, wanted: Iterable[str]) -> dict[str, Bridge]:
    """Return the OVS bridges of these names as values; missing ones are left out."""
    found = ((name, named(replica, "Bridge", name)) for name in wanted)
    return {name: _bridge(name, row) for name, row in found if row}


def _bridge(name: str, row: Row) -> Bridge:
    return Bridge(name, scalar(row, "datapath_type"), mapping(row, "external_ids"))


def ports(replica: Replica, likely_bridges: Mapping[str, str]) -> dict[str, Port]:
    """Return ports as values, missing ones left out.

    :param likely_bridges: name of a port -> the bridge that it should be on.
    """
    found = ((name, named(replica, "Port", name)) for name in likely_bridges)
    return {
        name: _port(replica, row, _bridge_name(replica, row, likely_bridges[name]))
        for name, row in found
        if row
    }


def _bridge_name(replica: Replica, port: Row, likely: str) -> str:
    # A row does not know who refers to it, so bridges are asked, the likely one first.
    bridge = first_referrer(_bridges(replica, likely), "ports", port.uuid)
    return _name(bridge) if bridge else ""


def everything(
    replica: Replica, only: Collection[str] | None = None, iface_ids: Iterable[str] = ()
) -> Found:
    """Return all OVS bridges, and their ports; see :meth:`NativeRows.everything`."""
    named = {name for one in iface_ids for name in names_of(replica, one)}
    bridges, ports = {}, {}
    for row in replica.tables["Bridge"].rows.values():
        bridge = _bridge(_name(row), row)
        bridges[bridge.name] = bridge
        for uuid in members(row, "ports"):
            if port := replica.tables["Port"].rows.get(uuid):
                name = _name(port)
                if only is None or name in only or name in named or bridge.name in only:
                    ports[name] = _port(replica, port, bridge.name)
    left_qos = dict(_left_qos(replica))
    return Found(bridges=bridges, ports=ports, left_qos=left_qos, pending=pending(replica))


def _left_qos(replica: Replica) -> Iterator[tuple[str, str]]:
    """Yield the ids and marks of the QoS rows of os-vif to which no port refers."""
    used = {uuid for row in replica.tables["Port"].rows.values() for uuid in members(row, "qos")}
    for row in replica.tables["QoS"].rows.values():
        ids = mapping(row, "external_ids")
        if row.uuid not in used and _ID in ids and Mark.KEY in ids:
            yield ids[_ID], ids[Mark.KEY]


def _port(replica: Replica, row: Row, bridge_name: str) -> Port:
    name = _name(row)
    interface = named(replica, "Interface", name)
    if interface is None:
        return Port(name, bridge_name, mapping(row, "external_ids"), bond=True)
    return Port(
        name,
        bridge_name,
        mapping(row, "external_ids"),
        vlan=_vlan(row),
        neutron_tag=_neutron_tag(row),
        **_qos(replica, name, row),
        connected=_connected(interface),
        interface_type=scalar(interface, "type"),
        interface_ids=mapping(interface, "external_ids"),
        options=mapping(interface, "options"),
        mtu_request=scalar(interface, "mtu_request"),
        ofport=scalar(interface, "ofport"),
        error=scalar(interface, "error", ""),
        ifindex=scalar(interface, "ifindex"),
    )


def _vlan(port: Row) -> Vlan:
    trunks = tuple(sorted(members(port, "trunks")))
    return Vlan(scalar(port, "tag"), scalar(port, "vlan_mode"), trunks)


def _connected(interface: Row) -> bool | None:
    status = mapping(interface, "status").get("status")
    return None if status is None else status == "connected"


def _neutron_tag(port: Row) -> int | None:
    tag = mapping(port, "other_config").get("tag", "")
    return int(tag) if tag.isascii() and tag.isdigit() else None


def _qos(replica: Replica, name: str, port: Row) -> dict[str, Any]:
    """Return what a port's QoS row says; of several, which cannot be, the first."""
    rows = (replica.tables["QoS"].rows.get(uuid) for uuid in members(port, "qos"))
    row = next((row for row in rows if row), None)
    if row is None:
        return {}
    its_id = mapping(row, "external_ids").get(_ID)
    return {
        "qos_type": str(scalar(row, "type")),
        "qos_of_others": its_id not in (None, names.qos_id(name)),
    }
