# SPDX-License-Identifier: Apache-2.0
"""A private Open vSwitch: ovsdb-server and ovs-vswitchd in the calling thread's namespace."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from tests.rig import CommandError, kept, run, wait_until
from tests.rig.certificates import Certificate

Daemon = Literal["vswitchd", "ovsdb-server"]
Datapath = Literal["netdev", "dummy", "dpdk", "system"]
Row = dict[str, Any]

#: Debian's build with DPDK, which stands beside the ordinary one.
DPDK_PROGRAM = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
# Without --legacy-mem vswitchd adds --in-memory, which DPDK refuses beside --no-huge.
_DPDK_CONFIG = (
    "other_config:dpdk-init=true",
    'other_config:dpdk-extra="--no-huge --no-pci --legacy-mem"',
)

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

_HOSTS = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
_STOP_SECONDS = 5.0
# In a machine that is younger than this, version 3.1 counts no processor and starts no handler:
# the kernel's datapath forwards nothing.
_COUNTS_PROCESSORS_AFTER = 10.0
_DUMPED = ("Open_vSwitch", "Bridge", "Port", "Interface", "QoS", "Queue")
# Written by vswitchd at its own pace, though the schema does not call them ephemeral.
_VOLATILE = {
    "_uuid", "_version", "ofport", "error", "datapath_version", "bond_active_slave",
    "cfm_flap_count",
}  # fmt: skip


class PrivateOvs:
    """Start both daemons on enter, end exactly these on exit.

    ``netdev`` forwards real packets between taps, veths and namespaces in user space; a bridge of
    datapath type ``system`` is accepted by the database and refused by vswitchd, as on a kernel
    without the openvswitch module. With ``dummy`` every datapath type, ``system`` included, is a
    dummy: the control path only, nothing is forwarded, no device needs to exist. ``dpdk`` is like
    ``netdev``, with vhost-user ports, and without huge pages or PCI devices. ``system`` is the
    datapath in the kernel, for which the kernel needs its openvswitch module: see `tests.rig.vm`.

    The daemons also end when the *thread* that started them ends.
    """

    def __init__(
        self,
        datapath: Datapath = "netdev",
        listen_tcp: bool = False,
        certificate: Certificate | None = None,
        tls_port: int = 6641,
    ) -> None:
        """
        :param listen_tcp: listen on port 6640 of 127.0.0.1 (the default of our options) and ::1.
        :param certificate: listen on another port of both with TLS, and with this certificate.
            It may be replaced before a new start of the server.
        """
        self.datapath = datapath
        self.listen_tcp = listen_tcp
        self.certificate = certificate
        self.tls_port = tls_port
        self.schema = SCHEMA
        #: Seconds for an answer: the kernel with that datapath may run on an emulated processor,
        #: and DPDK keeps processors busy while it starts.
        self.patience = 60 if datapath in ("system", "dpdk") else 30
        self._daemons: dict[Daemon, subprocess.Popen[bytes]] = {}
        self._frozen: set[Daemon] = set()

    def __enter__(self) -> Self:
        self.rundir = tempfile.mkdtemp(prefix="ovs-")
        self.remote = f"unix:{self.rundir}/db.sock"
        try:
            self._create_database()
            self.start_server()
            self.start_vswitchd()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the daemons, remove the folder; harmless when done twice."""
        for which in ("vswitchd", "ovsdb-server"):
            self._stop(which)
        shutil.rmtree(self.rundir, ignore_errors=True)

    # Daemons ----------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start ovsdb-server on the database as it is, and wait until it answers."""
        argv = ["ovsdb-server", f"{self.rundir}/conf.db", f"--remote=p{self.remote}"]
        for method, port in self._ports().items():
            argv += [f"--remote={method}:{port}:[{host}]" for host in _HOSTS]
        if self.certificate:
            argv += self.certificate.arguments()
        self._start("ovsdb-server", argv)
        wait_until(self._server_answers, self.patience, "ovsdb-server")

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd, and wait until it has caught up with the database."""
        # Never the kernel's datapath unless asked for, even where a machine has it: runs are alike
        # everywhere. The order matters: the dummy does not override a type that is disabled.
        dummy = ["--enable-dummy=override"] if self.datapath == "dummy" else []
        disabled = [] if self.datapath == "system" else ["--disable-system"]
        program = DPDK_PROGRAM if self.datapath == "dpdk" else "ovs-vswitchd"
        if self.datapath == "dpdk":
            self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *_DPDK_CONFIG)
        if self.datapath == "system":
            time.sleep(max(0.0, _COUNTS_PROCESSORS_AFTER - time.monotonic()))
        self._start("vswitchd", [program, self.remote, *dummy, *disabled])
        self.catch_up()

    def catch_up(self, seconds: float | None = None) -> None:
        """Raise ``next_cfg`` and wait until vswitchd has done everything written before.

        :param seconds: how long, if not ``patience``.
        """
        self.vsctl("--no-wait", "init")  # the row, if the database is new; nothing else
        mutations = [["next_cfg", "+=", 1]]
        change = {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations}
        self._transact([change])
        wanted = self.next_cfg()
        wait_until(lambda: self.cur_cfg() >= wanted, seconds or self.patience, "vswitchd")

    def settle_flows(self) -> None:
        """Wait until the datapath forwards by the current configuration.

        `catch_up` is not enough where a test expects packets to *stop*: for a moment the flows
        cached under the former configuration go on forwarding.
        """
        self.appctl("vswitchd", "revalidator/wait")

    def freeze(self, which: Daemon) -> None:
        """Stop a daemon in its tracks; sockets stay open and nobody answers."""
        pid = self.pid(which)
        self._frozen.add(which)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: _state(pid) == "T", what=f"{which} to freeze")

    def thaw(self, which: Daemon) -> None:
        """Let a frozen daemon run on."""
        self._frozen.discard(which)
        os.kill(self.pid(which), signal.SIGCONT)

    def kill(self, which: Daemon) -> None:
        """SIGKILL a daemon and wait until it is gone."""
        self._daemons[which].kill()
        self._reap(which)

    def lose_database(self) -> None:
        """Restart ovsdb-server on an empty database, and wait until vswitchd follows it.

        A vswitchd that is frozen or not running is not waited for. vswitchd is told nothing of
        the restart, so it comes back at its own pace: about a second.
        """
        self._on_new_database()
        if self.running("vswitchd") and "vswitchd" not in self._frozen:
            self.catch_up()
        else:
            self.vsctl("--no-wait", "init")

    def new_database(self) -> None:
        """Restart ovsdb-server on a database that nobody initialises: ovs-vswitchd ends."""
        self.kill("vswitchd")
        self._on_new_database()

    def _on_new_database(self) -> None:
        self._stop("ovsdb-server")
        Path(self.rundir, "conf.db").unlink()
        self._create_database()
        self.start_server()

    def running(self, which: Daemon) -> bool:
        """Say whether a daemon that we started is alive, frozen or not."""
        process = self._daemons.get(which)
        return process is not None and process.poll() is None

    def pid(self, which: Daemon) -> int:
        """Return the pid of a running daemon."""
        return self._daemons[which].pid

    def log(self) -> str:
        """Return what both daemons logged so far."""
        files = sorted(Path(self.rundir).glob("*.log"))
        return "".join(f"== {file.name}\n{file.read_text(errors='replace')}" for file in files)

    # Questions --------------------------------------------------------------------------------

    def vsctl(self, *args: str) -> str:
        """Run ovs-vsctl, by default waiting for vswitchd as long as ``patience``.

        While vswitchd is frozen or dead, pass ``--no-wait``. ovs-vsctl succeeds even when vswitchd
        refused a device: look at `interface`.
        """
        argv = ["ovs-vsctl", f"--db={self.remote}", f"--timeout={self.patience}", *args]
        return run(argv, env=self.environment()).stdout.strip()

    def appctl(self, which: Daemon, *args: str) -> str:
        """Run ovs-appctl on one of the daemons."""
        target = f"--target={self.rundir}/{which}.ctl"
        argv = ["ovs-appctl", target, f"--timeout={self.patience}", *args]
        return run(argv, env=self.environment()).stdout.strip()

    def environment(self) -> dict[str, str]:
        """Return the environment in which ovs-ofctl and ovs-appctl find these daemons."""
        own = {f"OVS_{name}DIR": self.rundir for name in ("RUN", "LOG", "DB")}
        return {**os.environ, **own}

    def next_cfg(self) -> int:
        """Return the number of the last configuration asked for."""
        return int(self._root()["next_cfg"])

    def cur_cfg(self) -> int:
        """Return the number of the last configuration that vswitchd finished."""
        return int(self._root()["cur_cfg"])

    def interface(self, name: str) -> Row:
        """Return one Interface row with everything in it, ``ofport`` and ``error`` too.

        :raises KeyError: when there is no such row.
        """
        for row in self._select("Interface")["Interface"]:
            if row["name"] == name:
                return _Rows({"Interface": [row]}).plain("Interface", row)
        raise KeyError(name)

    def dump(self) -> dict[str, dict[str, Any]]:
        """Return the configuration as plain data: table, then name, then column.

        References are names, sets are sorted lists, an absent optional value is None. Columns
        that vswitchd reports in are left out. A QoS row is named by its ``external_ids:id``, else
        its type; a Queue by its settings; a second row of the same name gets ``#2``.
        """
        found = _Rows(self._select(*_DUMPED))
        dump: dict[str, dict[str, Any]] = {
            table: found.configuration(table) for table in _DUMPED[1:]
        }
        root = found.configuration("Open_vSwitch").get("Open_vSwitch", {})
        dump["Open_vSwitch"] = {"bridges": root.get("bridges", [])}
        return dump

    def _root(self) -> Row:
        rows = self._select("Open_vSwitch")["Open_vSwitch"]
        if not rows:
            raise CommandError("the database has no Open_vSwitch row yet")
        return rows[0]

    def _select(self, *tables: str) -> dict[str, list[Row]]:
        answer = self._transact(
            [{"op": "select", "table": table, "where": []} for table in tables]
        )
        return {table: part["rows"] for table, part in zip(tables, answer, strict=True)}

    def _transact(self, operations: list[Any]) -> list[Any]:
        request = json.dumps(["Open_vSwitch", *operations])
        timeout = f"--timeout={self.patience}"
        argv = ["ovsdb-client", timeout, "transact", self.remote, request]
        answer: list[Any] = json.loads(run(argv, env=self.environment()).stdout)
        return answer

    # Processes --------------------------------------------------------------------------------

    def fill(self, ports: int, at_once: int = 100) -> None:
        """Have so many ports in the database, without ovs-vswitchd, which ends."""
        self.kill("vswitchd")
        for first in range(0, ports, at_once):
            self._transact(_bridge_of_ports(range(first, first + at_once)))

    def _create_database(self) -> None:
        run(["ovsdb-tool", "create", f"{self.rundir}/conf.db", self.schema])

    def _start(self, which: Daemon, argv: list[str]) -> None:
        if self.running(which):
            raise CommandError(f"{which} is running already")
        own = [f"--unixctl={self.rundir}/{which}.ctl", f"--log-file={self.rundir}/{which}.log"]
        self._daemons[which] = subprocess.Popen(
            kept([*argv, *own, "--no-chdir", "-vconsole:off"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment(),
        )

    def _server_answers(self) -> bool:
        if not self.running("ovsdb-server"):
            raise CommandError(f"ovsdb-server did not start:\n{self.log()}")
        return _listens(socket.AF_UNIX, self.remote.removeprefix("unix:")) and all(
            _listens(family, (host, port))
            for host, family in _HOSTS.items()
            for port in self._ports().values()
        )

    def _ports(self) -> dict[str, int]:
        """The ports of this host on which the server listens, by how."""
        ports = {"ptcp": 6640} if self.listen_tcp else {}
        return ports | ({"pssl": self.tls_port} if self.certificate else {})

    def _stop(self, which: Daemon) -> None:
        if which not in self._daemons:
            return
        process = self._daemons[which]
        process.send_signal(signal.SIGCONT)  # a frozen process does not see SIGTERM
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._reap(which)

    def _reap(self, which: Daemon) -> None:
        self._daemons.pop(which).wait()
        self._frozen.discard(which)


class _Rows:
    """Rows in the wire format of OVSDB (RFC 7047), read with the schema at hand."""

    def __init__(self, rows: dict[str, list[Row]]) -> None:
        self._rows = rows
        self._names = {
            row["_uuid"][1]: _name(table, row) for table, found in rows.items() for row in found
        }

    def configuration(self, table: str) -> dict[str, Row]:
        """Return the rows of a table by name, less what vswitchd reports."""
        columns = _columns(table)
        volatile = _VOLATILE | {name for name, column in columns.items() if "ephemeral" in column}
        named = [
            (self._names[row["_uuid"][1]], self.plain(table, row, volatile))
            for row in self._rows[table]
        ]
        return _unique(named)

    def plain(self, table: str, row: Row, without: frozenset[str] | set[str] = frozenset()) -> Row:
        """Return one row as plain data."""
        columns = _columns(table)
        plain = {
            name: self._value(value, columns.get(name, {}).get("type"))
            for name, value in sorted(row.items())
            if name not in without
        }
        plain.get("external_ids", {}).pop("os-vif-since", None)  # no two runs have the same
        return plain

    def _value(self, value: Any, kind: Any) -> Any:
        if isinstance(value, list) and value[0] == "map":
            return {str(key): self._atom(item) for key, item in sorted(value[1], key=str)}
        many = isinstance(kind, dict) and kind.get("max", 1) != 1
        atoms = value[1] if isinstance(value, list) and value[0] == "set" else [value]
        plain = [self._atom(atom) for atom in atoms]
        if many:
            return sorted(plain)
        return plain[0] if plain else None

    def _atom(self, atom: Any) -> Any:
        if isinstance(atom, list):  # ["uuid", ...], perhaps of a table that is not dumped
            return self._names.get(atom[1], "(elsewhere)")
        return atom


@cache
def _columns(table: str) -> dict[str, Any]:
    schema = json.loads(Path(SCHEMA).read_text())
    columns: dict[str, Any] = schema["tables"][table]["columns"]
    return columns


def _name(table: str, row: Row) -> str:
    if table == "QoS":
        return str(dict(row["external_ids"][1]).get("id") or row["type"])
    if table == "Queue":
        return json.dumps([row["dscp"], sorted(row["other_config"][1])])
    return str(row.get("name", table))


def _unique(named: list[tuple[str, Row]]) -> dict[str, Row]:
    seen: Counter[str] = Counter()
    rows = {}
    for name, row in sorted(named, key=repr):  # by content: two dumps number doubles alike
        seen[name] += 1
        rows[name if seen[name] == 1 else f"{name}#{seen[name]}"] = row
    return rows


def _listens(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family) as client:
        try:
            client.connect(address)
        except OSError:  # also of connect_ex(), where eventlet has patched it
            return False
    return True


def _bridge_of_ports(numbers: range) -> list[Any]:
    """The operations that make a bridge with ports on it."""
    ids = ["map", [[key, "x" * 36] for key in ("iface-id", "attached-mac", "vm-uuid")]]
    operations: list[Any] = []
    for number in numbers:
        name = f"p{number}"
        interface = {"name": name, "external_ids": ids}
        port = {"name": name, "interfaces": ["named-uuid", f"i{number}"], "external_ids": ids}
        for table, uuid, row in (("Interface", "i", interface), ("Port", "p", port)):
            made = {"op": "insert", "table": table, "uuid-name": f"{uuid}{number}", "row": row}
            operations.append(made)
    ports = ["set", [["named-uuid", f"p{number}"] for number in numbers]]
    bridge = {"name": f"br{numbers[0]}", "ports": ports}
    new = ["set", [["named-uuid", "b"]]]
    mutations = [["bridges", "insert", new]]
    operations += [
        {"op": "insert", "table": "Bridge", "uuid-name": "b", "row": bridge},
        {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations},
    ]
    return operations


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
