# SPDX-License-Identifier: Apache-2.0
"""A host with many ports, and the VIFs that come to it."""

import itertools
import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.snapshot import links

BRIDGE = vifs.BRIDGE
#: The kinds of plug: name -> options of ``[os_vif_ovs]``.
KINDS = {
    "tap": {"per_port_bridge": False},
    "hybrid": {"per_port_bridge": False},
    "per-port bridge": {"per_port_bridge": True},
}
_CHUNK = 250
_IDLE_SECONDS = 0.1  # without a tick of CPU time
_COUNTED_SECONDS = 1.2  # vswitchd adds up its counters once a second
_FIRST_OF_OURS = 20_001  # below are the ports that were there before

Pair = list[dict[str, Any]]


@contextmanager
def host(ports: int) -> Iterator["Host"]:
    """Start both daemons, with so many ports on br-int."""
    with PrivateOvs("dummy") as ovs:
        ovs.vsctl("add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=system")
        # The daemon's own statistics are out of the way; a case of its own writes them.
        ovs.vsctl("set", "Open_vSwitch", ".", "other_config:stats-update-interval=86400000")
        for chunk in _chunks(ports):
            ovs.vsctl("--no-wait", *itertools.chain(*map(_add_port, chunk)))
        ovs.catch_up(300)
        yield Host(ovs, ports)


class Host:
    """A private Open vSwitch, and names that were not used on it before."""

    def __init__(self, ovs: PrivateOvs, ports: int) -> None:
        self.ovs = ovs
        self.ports = ports
        self._numbers = itertools.count(_FIRST_OF_OURS)
        self._before = self._state()

    def pairs(self, kind: str, count: int = 1) -> list[Pair]:
        """Fresh VIFs of a kind with their instances, as primitives."""
        numbers = itertools.islice(self._numbers, count)
        return [
            [_vif(kind, number).obj_to_primitive(), vifs.instance(number).obj_to_primitive()]
            for number in numbers
        ]

    def settle(self) -> None:
        """Wait until vswitchd is idle: it goes on working after it has taken a change over."""
        before = -1
        while (used := self._ticks()) != before:
            before = used
            time.sleep(_IDLE_SECONDS)

    def reconfigurations(self) -> int:
        """How often vswitchd has gone over its whole configuration."""
        self.settle()
        time.sleep(_COUNTED_SECONDS)
        return int(self.ovs.appctl("vswitchd", "coverage/read-counter", "bridge_reconfigure"))

    def _ticks(self) -> int:
        stat = Path(f"/proc/{self.ovs.pid('vswitchd')}/stat").read_text()
        return sum(map(int, stat.rpartition(")")[2].split()[11:13]))

    def check_plugged(self, pairs: Iterable[Pair], kind: str) -> None:
        """Make sure that VIFs are on the bridge, and that vswitchd has taken them.

        :raises AssertionError: one is not.
        """
        on_bridge = self.ovs.vsctl("list-ports", BRIDGE).split()
        for vif, _ in pairs:
            fields = vif["versioned_object.data"]
            prefix = {"tap": "tap", "hybrid": "qvo", "per-port bridge": "ibp"}[kind]
            length = 64 if prefix == "ibp" else 14
            port = f"{prefix}{fields['id']}"[:length]
            assert port in on_bridge, f"{port} is not on {BRIDGE}"
            assert (self.ovs.interface(port)["ofport"] or 0) > 0, f"{port} has no ofport"

    def check_clean(self) -> None:
        """Make sure that nothing is left of any VIF.

        :raises AssertionError: something is.
        """
        left = self._state() ^ self._before
        assert not left, f"left over: {left}"

    def clear(self, pairs: Iterable[Pair]) -> None:
        """Take plugged VIFs of kind tap away without either library."""
        names = [vif["versioned_object.data"]["vif_name"] for vif, _ in pairs]
        argv = itertools.chain(*(["--", "--if-exists", "del-port", name] for name in names))
        self.ovs.vsctl("--timeout=300", *argv)
        self.ovs.vsctl("--all", "destroy", "QoS")  # not before their ports are gone
        for name in names:
            run(["ip", "link", "delete", name], check=False)

    def _state(self) -> set[str]:
        found = {f"link {name}" for name in links()}
        for table in ("Bridge", "Port", "QoS"):
            rows = self.ovs.vsctl("--no-headings", "--columns=_uuid", "list", table).split()
            found |= {f"{table} {uuid}" for uuid in rows}
        return found


class StatisticsWriter:
    """Writes statistics of every interface, as ovs-vswitchd does."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(ovs.remote.removeprefix("unix:"))
        self._socket.settimeout(30)
        select = {"op": "select", "table": "Interface", "where": [], "columns": ["_uuid"]}
        self._rows = [row["_uuid"] for row in self._transact([select])[0]["rows"]]
        self._count = itertools.count(1)

    def write(self) -> None:
        """Write new numbers once."""
        turn = next(self._count)
        names = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets", "rx_dropped", "tx_errors")
        values = ["map", [[name, turn * 1000 + at] for at, name in enumerate(names)]]
        self._transact([_update(uuid, values) for uuid in self._rows])

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _transact(self, operations: list[Any]) -> list[Any]:
        request = {"method": "transact", "params": ["Open_vSwitch", *operations], "id": 1}
        self._socket.sendall(json.dumps(request).encode())
        answer = b""
        while True:
            answer += self._socket.recv(1 << 20)
            with suppress(ValueError):
                result: list[Any] = json.loads(answer)["result"]
                return result


def _update(uuid: Any, statistics: Any) -> dict[str, Any]:
    where, row = [["_uuid", "==", uuid]], {"statistics": statistics}
    return {"op": "update", "table": "Interface", "where": where, "row": row}


def _chunks(ports: int) -> Iterator[range]:
    for first in range(0, ports, _CHUNK):
        yield range(first + 1, min(first + _CHUNK, ports) + 1)


def _add_port(number: int) -> list[str]:
    name = vifs.device("tap", number)
    ids = {
        "iface-id": vifs.interface_id(number),
        "iface-status": "active",
        "attached-mac": vifs.mac(number).replace(":", "\\:"),
        "vm-uuid": vifs.instance_id(number),
    }
    columns = [f"external_ids:{key}={value}" for key, value in ids.items()]
    return ["--", "add-port", BRIDGE, name, "--", "set", "Interface", name, *columns]


def _vif(kind: str, number: int) -> VIFBase:
    profile: dict[str, Any] = {"datapath_type": "system"}
    if kind == "hybrid":
        return vifs.vif_bridge(number, profile=profile)
    profile |= {"create_port": True, "create_tap": True}
    return vifs.vif_open_vswitch(number, profile=profile)
