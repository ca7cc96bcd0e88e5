# SPDX-License-Identifier: Apache-2.0
"""The floor: what a change costs without any library, yet with its truth.

One python-ovs transaction on a connection that stands, netlink calls on a socket that is open,
then the wait until ovs-vswitchd has caught up and gives the port its number. It looks nothing up
(what there is to know is found before the clock starts), checks nothing, locks nothing. A re-plug
asks the server and the kernel once each, and believes that the answers are right.
"""

import functools
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ovs.poller
from ovs.db import idl
from pyroute2 import IPRoute

from benchmarks import worker
from os_vif import objects
from os_vif.objects import base
from tests.rig.ovs import SCHEMA

_COLUMNS = {
    "Open_vSwitch": ["cur_cfg", "next_cfg", "bridges"],
    "Bridge": ["name"],
    "Port": ["name", "qos", "interfaces", "external_ids"],
    "Interface": ["name", "type", "options", "external_ids", "ofport", "error"],
    "QoS": ["type", "external_ids"],
}
_UP, _PROMISC = 0x1, 0x100
_MANY_PORTS = 600


class Floor:
    """The commands of ``worker.OsVif`` that a floor can be asked for."""

    def start(self, remote: str) -> None:
        """Connect, and wait until the tables are there."""
        objects.register_all()
        helper = idl.SchemaHelper(SCHEMA)
        for table, columns in _COLUMNS.items():
            helper.register_columns(table, columns)
        self._tables = idl.Idl(remote, helper)
        self._until(lambda: self._tables.has_ever_connected())
        self._netlink = IPRoute()
        self._per_port_bridge = False

    def configure(self, options: worker.Json) -> None:
        """Take the one option that makes a difference here."""
        self._per_port_bridge = options["per_port_bridge"]

    def each(self, verb: str, pairs: list[list[worker.Json]]) -> list[float]:
        """Plug or unplug VIFs one after the other; how long each took."""
        return [self._one(verb, pair[0], pair[1]) for pair in pairs]

    def _one(self, verb: str, vif: worker.Json, instance: worker.Json) -> float:
        read = base.VersionedObject.obj_from_primitive
        change = _Change(read(vif), read(instance), self._per_port_bridge)
        self._tables.run()
        rows = self._rows(change)
        plug = self._replug if change.device in rows["ports"] else self._plug
        act = functools.partial(plug, change)
        if verb == "unplug":
            act = functools.partial(self._unplug, change, rows)
        began = time.perf_counter()
        act()
        return time.perf_counter() - began

    # Plug -------------------------------------------------------------------------------------

    def _plug(self, change: "_Change") -> None:
        # What is faster: with many ports, links are made while vswitchd goes over them.
        rows_first = len(self._tables.tables["Port"].rows) >= _MANY_PORTS
        if not rows_first:
            change.make_links(self._netlink)
        transaction = idl.Transaction(self._tables)
        port = self._insert_rows(transaction, change)
        cfg = self._commit(transaction)
        if rows_first:
            change.make_links(self._netlink)
        self._until(lambda: self._switch().cur_cfg >= cfg)
        interface = self._tables.tables["Interface"].rows[transaction.get_insert_uuid(port.uuid)]
        self._until(lambda: bool(interface.ofport) and interface.ofport[0] > 0)

    def _insert_rows(self, transaction: Any, change: "_Change") -> Any:
        """Insert everything; returns the interface that stands for the VIF."""
        ids = change.external_ids
        if not self._per_port_bridge:
            return self._add_port(transaction, "br-int", change.device, change, external_ids=ids)
        bridge = transaction.insert(self._tables.tables["Bridge"])
        bridge.name = change.bridge
        self._add_bridge(transaction, change, bridge)
        pbp, ibp = change.patches
        options = {"type": "patch", "options": {"peer": ibp}}
        self._add_port(transaction, bridge, pbp, None, **options)
        options = {"type": "patch", "options": {"peer": pbp}, "external_ids": ids}
        self._add_port(transaction, "br-int", ibp, None, **options)
        return self._add_port(transaction, bridge, change.device, change)

    def _add_bridge(self, transaction: Any, change: "_Change", bridge: Any) -> None:
        self._add_port(transaction, bridge, change.bridge, None, type="internal")
        where, new = _is(self._switch().uuid), _named(bridge)
        transaction.add_op(_mutate("Open_vSwitch", where, "bridges", "insert", new))

    def _add_port(
        self, transaction: Any, bridge: Any, name: str, change: "_Change | None", **columns: Any
    ) -> Any:
        tables = self._tables.tables
        interface = transaction.insert(tables["Interface"])
        interface.name = name
        for column, value in columns.items():
            setattr(interface, column, value)
        port = transaction.insert(tables["Port"])
        port.name, port.interfaces = name, [interface]
        if change:
            port.qos = qos = transaction.insert(tables["QoS"])
            qos.type, qos.external_ids = "linux-noop", {"id": change.device}
        by_name = isinstance(bridge, str)
        where = ["name", "==", bridge] if by_name else ["_uuid", "==", _named(bridge)]
        transaction.add_op(_mutate("Bridge", [where], "ports", "insert", _named(port)))
        return interface

    def _replug(self, change: "_Change") -> None:
        """Nothing is to be done, and only reading what is there can tell so."""
        transaction = idl.Transaction(self._tables)
        question = {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["cur_cfg"]}
        transaction.add_op(question)
        self._accepted(transaction)
        change.read_links(self._netlink)

    # Unplug -----------------------------------------------------------------------------------

    def _rows(self, change: "_Change") -> dict[str, Any]:
        names = {change.device, *(change.patches if self._per_port_bridge else ())}
        tables = self._tables.tables
        return {
            "ports": {row.name: row for row in tables["Port"].rows.values() if row.name in names},
            "bridges": {row.name: row for row in tables["Bridge"].rows.values()},
            "qos": [
                row
                for row in tables["QoS"].rows.values()
                if row.external_ids.get("id") == change.device
            ],
        }

    def _unplug(self, change: "_Change", rows: dict[str, Any]) -> None:
        transaction = idl.Transaction(self._tables)
        for row in rows["qos"]:
            rows["ports"][change.device].qos = []
            row.delete()
        if self._per_port_bridge:
            where, gone = _is(self._switch().uuid), rows["bridges"][change.bridge]
            transaction.add_op(_mutate("Open_vSwitch", where, "bridges", "delete", _old(gone)))
        last = rows["ports"][change.patches[1] if self._per_port_bridge else change.device]
        where = [["name", "==", "br-int"]]
        transaction.add_op(_mutate("Bridge", where, "ports", "delete", _old(last)))
        cfg = self._commit(transaction)
        change.delete_links(self._netlink)
        self._until(lambda: self._switch().cur_cfg >= cfg)

    # OVSDB ------------------------------------------------------------------------------------

    def _switch(self) -> Any:
        return next(iter(self._tables.tables["Open_vSwitch"].rows.values()))

    def _commit(self, transaction: Any) -> int:
        self._switch().increment("next_cfg")
        self._accepted(transaction)
        return int(transaction.get_increment_new_value())

    @staticmethod
    def _accepted(transaction: Any) -> None:
        status = transaction.commit_block()
        if status != transaction.SUCCESS:
            raise RuntimeError(f"{status}: {transaction.get_error()}")

    def _until(self, holds: Callable[[], bool]) -> None:
        self._tables.run()
        while not holds():
            poller = ovs.poller.Poller()
            self._tables.wait(poller)
            poller.block()
            self._tables.run()


class _Change:
    """What there is to do for a VIF."""

    def __init__(self, vif: Any, instance: Any, per_port_bridge: bool) -> None:
        self._vif = vif
        self._hybrid = vif.obj_name() == "VIFBridge"
        self.device = f"qvo{vif.id}"[:14] if self._hybrid else vif.vif_name
        self.bridge = f"pb{vif.id}"[:14]
        self.patches = f"pbp{vif.id}", f"ibp{vif.id}"
        self.external_ids = {
            "iface-id": vif.id if per_port_bridge else vif.port_profile.interface_id,
            "iface-status": "active",
            "attached-mac": vif.address,
            "vm-uuid": instance.uuid,
        }

    def make_links(self, netlink: IPRoute) -> None:
        """Make the tap, or a Linux bridge and a veth pair."""
        mtu = self._vif.network.mtu
        if not self._hybrid:
            netlink.link("add", ifname=self.device, kind="tuntap", mode="tap")
            _set(netlink, self.device, address=self._vif.address, mtu=mtu, state="up")
            return
        qbr, qvb = self._vif.bridge_name, f"qvb{self._vif.id}"[:14]
        options = {"br_ageing_time": 0, "br_forward_delay": 0, "br_stp_state": 0}
        netlink.link("add", ifname=qbr, kind="bridge", br_mcast_snooping=0, **options)
        bridge = _set(netlink, qbr, state="up")
        netlink.link("add", ifname=self.device, kind="veth", peer=qvb)
        flags = {"flags": _UP | _PROMISC, "change": _UP | _PROMISC}
        _set(netlink, qvb, mtu=mtu, master=bridge, **flags)
        _set(netlink, self.device, mtu=mtu, **flags)

    def read_links(self, netlink: IPRoute) -> None:
        """Read them."""
        qvb = f"qvb{self._vif.id}"[:14]
        for name in [self._vif.bridge_name, qvb, self.device] if self._hybrid else [self.device]:
            netlink.link("get", index=_index(name))

    def delete_links(self, netlink: IPRoute) -> None:
        """Delete them, one by one."""
        for name in [self._vif.bridge_name, self.device] if self._hybrid else [self.device]:
            netlink.link("del", index=_index(name))


def _index(name: str) -> int:
    return socket.if_nametoindex(name)


def _set(netlink: IPRoute, name: str, **attributes: Any) -> int:
    """Set attributes of a link, and keep IPv6 off it; returns its number."""
    index = _index(name)
    Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    netlink.link("set", index=index, ifalias="benchmark", **attributes)
    return index


def _is(uuid: Any) -> list[Any]:
    return [["_uuid", "==", ["uuid", str(uuid)]]]


def _named(row: Any) -> list[str]:
    """Refer to a row of the same transaction, as python-ovs names it."""
    return ["named-uuid", f"row{str(row.uuid).replace('-', '_')}"]


def _old(row: Any) -> list[str]:
    return ["uuid", str(row.uuid)]


def _mutate(table: str, where: Any, column: str, mutator: str, uuid: list[str]) -> worker.Json:
    mutations = [[column, mutator, ["set", [uuid]]]]
    return {"op": "mutate", "table": table, "where": where, "mutations": mutations}


if __name__ == "__main__":
    worker.serve(Floor())
