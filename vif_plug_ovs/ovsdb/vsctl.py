# SPDX-License-Identifier: Apache-2.0
"""OVSDB by way of the program ``ovs-vsctl``: deprecated, and as truthful as the native driver.

A verb that changes something starts it so often::

    observe    once, reading
    commit     once reading what the transaction builds on, once writing
    settled    once, waiting for ovs-vswitchd
    working    once, reading

and one that finds nothing to do only once. A writing invocation is made with ``--no-wait``, so
that its end says that the server has answered, and nothing about ovs-vswitchd. Without the option
``ovs-vsctl`` would be one invocation less, but when ovs-vswitchd hangs it would have to be killed
with its transaction committed, and each undo would wait for ovs-vswitchd too. With the option it
does not count ``next_cfg`` up; so the transaction does, by comparing and swapping
(:func:`vif_plug_ovs.ovsdb.commands.writing`). Hence the number that ovs-vswitchd has to reach is
known exactly; and an invocation fails, and changes nothing, when anybody else has asked for a new
configuration since the reading. Then it is read and written anew, until the deadline. Threads of
one process take turns from reading to writing; they wait for ovs-vswitchd together.

While the server is down, invocations follow one another until the deadline. Those that read have
``--dry-run``: they could not write if they wanted to.
"""

import json
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.model import Mark, Vlan
from os_vif.wiring.state import Bridge, Found, Port
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
from vif_plug_ovs.ovsdb import commands, rows, tls
from vif_plug_ovs.ovsdb.connection import RETRY_SECONDS, STUCK_SECONDS, check_remote
from vif_plug_ovs.ovsdb.tls import Credentials

PROGRAM = "ovs-vsctl"
#: Where it is looked for besides PATH, which is short in some services.
_FOLDERS = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin")

#: Seconds that a writing invocation has which may wait for what does not come.
_GUARDED_SECONDS = 1.0
#: Seconds of a verb's time kept to find out what became of an invocation that had to be killed.
_FIND_OUT_SECONDS = 0.25
#: Seconds in which ports are read once more although the verb's deadline has come.
_LAST_LOOK_SECONDS = 0.15

#: What ovs-vsctl says when next_cfg is not what it is compared with, ...
_OVERTAKEN = "values in column next_cfg of table Open_vSwitch but the maximum number is 1"
#: ... when there is no row yet that ovs-vswitchd works by, ...
_NO_SWITCH = "in table Open_vSwitch"
#: ... when something that the transaction builds on is gone, or a name is taken meanwhile, ...
_CHANGED = ("no row ", "to have identical values")
#: ... and when the server cannot be reached, or closed the connection half-way.
_LOST = "database connection failed"
_REFUSED = (f"{_LOST} (Connection refused)", f"{_LOST} (No such file or directory)")

Row = Mapping[str, Any]


class _Failed(Exception):
    """The program ended with an error; its argument is what it said."""


class _TimedOut(Exception):
    """The program was killed at the deadline."""


class _NotAnswered(Exception):
    """The transaction may have been sent, and was not answered."""


@dataclass
class _Server:
    """What this process knows of a server and its ovs-vswitchd."""

    #: Held from reading to writing.
    turn: threading.Lock = field(default_factory=threading.Lock)
    #: ``cur_cfg`` when it was last read, and when ovs-vswitchd did not move before a deadline.
    seen: int | None = None
    stuck_at: int | None = None

    def patience(self, deadline: Deadline) -> Deadline:
        """How long to wait for ovs-vswitchd: not long again if it has not moved since."""
        stuck = self.stuck_at is not None and self.stuck_at == self.seen
        return deadline.at_most(STUCK_SECONDS) if stuck else deadline


class VsctlRows:
    """The rows of an Open_vSwitch database through ``ovs-vsctl``.

    :param remote: where the server listens: ``tcp:<address>:<port>`` or ``unix:<path>``.
    :param credentials: for an ``ssl:`` remote.
    :raises InvalidValue: the remote is not of such a form, or a file of the credentials is bad.
    """

    def __init__(self, remote: str, credentials: Credentials | None = None) -> None:
        self._remote = check_remote(remote)
        self._credentials = () if credentials is None else tls.arguments(credentials)
        self._verb = threading.local()  # its deadline: `working` is not always told

    def observe(
        self, bridges: Collection[str], ports: Mapping[str, str], deadline: Deadline
    ) -> Found:
        """See :meth:`os_vif.wiring.engine.Rows.observe`.

        :raises TransactionRefused: ovs-vsctl cannot look for such a name.
        """
        view = self._read(ports, deadline)
        found = {name: view.port(name) for name in ports}
        return Found(
            bridges={name: view.bridge(name) for name in bridges if name in view.bridges},
            ports={name: port for name, port in found.items() if port},
            qos=frozenset(name for name in ports if view.qos(name)),
        )

    def names_of(self, iface_id: str, deadline: Deadline) -> list[str]:
        """The names of the interfaces with that iface-id.

        :raises NotConnected: the server cannot be reached by the deadline.
        """
        [found] = self._tables(commands.naming(iface_id), deadline)
        return [row["name"] for row in found]

    def commit(self, steps: Sequence[RowStep], deadline: Deadline) -> int | None:
        """See :meth:`os_vif.wiring.engine.Rows.commit`.

        :raises NotConnected: the server cannot be reached by the deadline; nothing was written.
        """
        self._verb.deadline = deadline
        with self._turn(deadline):
            while True:
                view = self._read_for(steps, deadline)
                words = commands.writing(steps, view)
                if not words:
                    return None
                try:
                    written = self._write(words, deadline)
                except _NotAnswered:
                    written = self._find_out(steps, view, deadline)
                if written:
                    return view.next_cfg + 1

    def settled(self, cfg: int, deadline: Deadline) -> bool:
        """See :meth:`os_vif.wiring.engine.Rows.settled`."""
        self._verb.deadline = deadline
        server = self._server
        done = self._wait(commands.catching_up(cfg), server.patience(deadline))
        # `seen` was read by the commit: had ovs-vswitchd moved since, the next reading tells.
        server.stuck_at = None if done else server.seen
        return done

    def working(self, ports: Mapping[str, int], deadline: Deadline | None) -> Mapping[str, Port]:
        """See :meth:`os_vif.wiring.engine.Rows.working`.

        :raises NotConnected: the server cannot be reached by the deadline, or that of the verb.
        """
        until: Deadline = deadline or getattr(self._verb, "deadline", None) or Deadline(0)
        view = self._read(ports, until.at_least(_LAST_LOOK_SECONDS))
        found = {name: port for name in ports if (port := view.port(name))}
        idle = {
            uuid: ports[name] if port.ifindex else 0
            for name, port in found.items()
            if not port.works_with(ports[name]) and (uuid := view.uuid("Interface", name))
        }
        if deadline is None or not idle:
            return found
        waiting = commands.coming_to_work(idle)
        self._wait(waiting, self._server.patience(deadline))
        view = self._read(ports, deadline.at_least(_LAST_LOOK_SECONDS))
        return {name: port for name in ports if (port := view.port(name))}

    # Reading ----------------------------------------------------------------------------------

    def _read(
        self, ports: Collection[str], deadline: Deadline, *, ofports: bool = False
    ) -> "_View":
        """Read all bridges, the rows of some ports, and perhaps all OpenFlow ports."""
        self._verb.deadline = deadline
        words = commands.reading(ports, ofports=ofports)
        [switch], bridges, numbers, *tables = self._tables(words, deadline)
        self._server.seen = switch["cur_cfg"]
        found = zip(ports, tables[::3], tables[1::3], tables[2::3], strict=True)
        return _View(
            switch,
            {row["name"]: row for row in bridges},
            {name: _Rows(port, interface, qos) for name, port, interface, qos in found},
            frozenset(row["ofport"] for row in numbers),
        )

    def _read_for(self, steps: Sequence[RowStep], deadline: Deadline) -> "_View":
        """Read what some steps build on."""
        reopens = any(isinstance(step, ReopenPort) for step in steps)
        return self._read(_names(steps), deadline, ofports=reopens)

    def _tables(self, words: list[str], deadline: Deadline) -> list[list[Row]]:
        """The rows of each table that an invocation prints.

        :raises NotConnected: the server cannot be reached by the deadline.
        :raises TransactionRefused: ovs-vsctl failed for another reason.
        """
        try:
            said = self._ask(["--format=json", *words], deadline)
        except _TimedOut:
            raise self._not_connected("it does not answer", deadline) from None
        except _Failed as err:
            if _LOST in str(err):
                raise self._not_connected(str(err), deadline) from None
            raise errors.TransactionRefused(reason=str(err)) from None
        return [_rows(json.loads(line)) for line in said.removesuffix("\n").split("\n")]

    def _wait(self, words: list[str], deadline: Deadline) -> bool:
        """Whether what an invocation waits for came about before the deadline."""
        try:
            self._ask(words, deadline)
        except (_TimedOut, _Failed):
            return False
        return True

    def _ask(self, words: list[str], deadline: Deadline) -> str:
        """Run the program so that it cannot write, again while the server is down.

        :raises: as :meth:`_run`.
        """
        while True:
            try:
                return self._run(["--dry-run", *words], deadline)
            except _Failed as err:
                left = deadline.remaining()
                if _LOST not in str(err) or (left is not None and left <= RETRY_SECONDS):
                    raise
            time.sleep(RETRY_SECONDS)

    # Writing ----------------------------------------------------------------------------------

    def _write(self, words: list[str], deadline: Deadline) -> bool:
        """Send a transaction; False if it has to be built anew and nothing was written.

        :raises StateChanged: a row that the transaction builds on has changed.
        :raises TransactionRefused: the server refused it.
        :raises _NotAnswered: it may have been sent.
        """
        left = deadline.remaining()
        if left is not None:
            deadline = deadline.at_most(max(left - _FIND_OUT_SECONDS, left * 0.75))
        if commands.WAIT in words:
            deadline = deadline.at_most(_GUARDED_SECONDS)
        try:
            self._run(words, deadline)
        except _TimedOut:
            raise _NotAnswered from None
        except _Failed as err:
            return _explained(str(err))
        return True

    def _find_out(self, steps: Sequence[RowStep], before: "_View", deadline: Deadline) -> bool:
        """Whether a transaction whose answer did not come was written.

        Whatever its client had sent, the server has read before it answers a later one.

        :raises OutcomeUnknown: the server does not tell.
        """
        try:
            after = self._read_for(steps, deadline)
        except errors.WiringError:
            raise errors.OutcomeUnknown(remote=self._remote) from None
        return after.next_cfg > before.next_cfg and all(_stands(step, after) for step in steps)

    @contextmanager
    def _turn(self, deadline: Deadline) -> Iterator[None]:
        """Keep other threads from writing.

        :raises NotConnected: their turns did not end by the deadline.
        """
        turn, left = self._server.turn, deadline.remaining()
        if not turn.acquire(timeout=-1 if left is None else left):
            raise self._not_connected("it does not answer other threads either", deadline)
        try:
            yield
        finally:
            turn.release()

    # Both -------------------------------------------------------------------------------------

    @property
    def _server(self) -> _Server:
        return _server(os.getpid(), self._remote)  # a lock may have been held during a fork

    def _run(self, words: list[str], deadline: Deadline) -> str:
        """Run the program; return what it printed.

        :raises NotConnected: it could not be started.
        :raises _Failed: it ended with an error.
        :raises _TimedOut: it was killed at the deadline.
        """
        left = deadline.remaining()
        if left == 0:
            raise _TimedOut
        # Its own timeout, in whole seconds, is for a program whose caller has been killed.
        limit = [] if left is None else [f"--timeout={math.ceil(left) + 1}"]
        argv = [self._program(), f"--db={self._remote}", *self._credentials]
        argv += ["--no-wait", *limit, *words]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=left,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise _TimedOut from None
        except OSError as err:
            raise errors.NotConnected(remote=self._remote, reason=f"{argv[0]}: {err}") from None
        if done.returncode:
            raise _Failed(_last_line(done.stderr.decode(errors="replace")))
        return done.stdout.decode()

    def _program(self) -> str:
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_FOLDERS))
        program = shutil.which(PROGRAM, path=path)
        if program is None:
            reason = f"the program {PROGRAM} (ovsdb_interface = vsctl) is not in {path}"
            raise errors.NotConnected(remote=self._remote, reason=reason)
        return program

    def _not_connected(self, reason: str, deadline: Deadline) -> errors.NotConnected:
        return errors.NotConnected(
            remote=self._remote, reason=f"{reason} (after {deadline.seconds} s)"
        )


@dataclass(frozen=True)
class _Rows:
    """The rows of one port, each a list of one row or none, of QoS rows any number."""

    port: Sequence[Row] = ()
    interface: Sequence[Row] = ()
    qos: Sequence[Row] = ()


@dataclass(frozen=True)
class _View:
    """What one reading invocation printed; a :class:`vif_plug_ovs.ovsdb.commands.Lookup`."""

    root: Row
    bridges: Mapping[str, Row]
    ports_by_name: Mapping[str, _Rows]
    #: Numbers that interfaces have on any bridge, if they were asked for.
    ofports: frozenset[int] = frozenset()

    @property
    def next_cfg(self) -> int:
        return int(self.root["next_cfg"])

    def switch(self) -> str:
        return _uuids(self.root["_uuid"])[0]

    def uuid(self, table: str, name: str) -> str | None:
        row = self._row(table, name)
        return _uuids(row["_uuid"])[0] if row else None

    def qos(self, device: str) -> list[str]:
        return [_uuids(row["_uuid"])[0] for row in self.ports_by_name[device].qos]

    def ports(self, bridge: str) -> list[str]:
        row = self._row("Bridge", bridge)
        return _uuids(row["ports"]) if row else []

    def interface_ids(self, name: str) -> Mapping[str, str]:
        row = self._row("Interface", name)
        return _map(row["external_ids"]) if row else {}

    def unused_ofport(self) -> int:
        candidates = range(rows.HIGH_OFPORT, rows.MAX_OFPORT)
        return next(number for number in candidates if number not in self.ofports)

    def bridge(self, name: str) -> Bridge:
        row = self.bridges[name]
        return Bridge(name, row["datapath_type"], _map(row["external_ids"]))

    def port(self, name: str) -> Port | None:
        row, interface = self._row("Port", name), self._row("Interface", name)
        if row is None:
            return None
        bridge, ids = self._bridge_of(row), _map(row["external_ids"])
        if interface is None:
            return Port(name, bridge, ids, bond=True)
        return Port(
            name,
            bridge,
            ids,
            interface_type=interface["type"],
            interface_ids=_map(interface["external_ids"]),
            options=_map(interface["options"]),
            mtu_request=_optional(interface["mtu_request"]),
            ofport=_optional(interface["ofport"]),
            error=_optional(interface["error"]) or "",
            ifindex=_optional(interface["ifindex"]),
            vlan=Vlan(
                _optional(row["tag"]),
                _optional(row["vlan_mode"]),
                tuple(sorted(_set(row["trunks"]))),
            ),
            connected=_map(interface["status"]).get("status") == "connected",
        )

    def _row(self, table: str, name: str) -> Row | None:
        if table == "Bridge":
            return self.bridges.get(name)
        found = self.ports_by_name[name]
        return next(iter(found.port if table == "Port" else found.interface), None)

    def _bridge_of(self, port: Row) -> str:
        [uuid] = _uuids(port["_uuid"])
        every = self.bridges.items()
        return next((name for name, row in every if uuid in _uuids(row["ports"])), "")


def _names(steps: Sequence[RowStep]) -> list[str]:
    """The names of the ports and bridges that steps are about."""
    names: dict[str, None] = {}
    for step in steps:
        match step:
            case CreateBridge(bridge):
                names[bridge.name] = None
            case CreatePort(port):
                names[port.name] = None
            case _:
                names[step.name] = None
    return list(names)


def _stands(step: RowStep, view: _View) -> bool:
    """Whether the database is as a step makes it."""
    match step:
        case CreateBridge(wanted):
            bridge = view.bridge(wanted.name) if wanted.name in view.bridges else None
            return bridge is not None and bridge.external_ids.get(Mark.KEY) == str(wanted.mark)
        case CreatePort(wanted):
            port = view.port(wanted.name)
            mark = port and port.external_ids.get(Mark.KEY)
            return port is not None and (port.bridge, mark) == (wanted.bridge, str(wanted.mark))
        case SetPort(name, values):
            port = view.port(name)
            return port is not None and all(port.interface(k) == v for k, v in values.items())
        case RemoveBridge(name, if_empty):
            return if_empty or name not in view.bridges
        case ReopenPort(name):
            return view.port(name) is not None
        case RemovePort(name):
            return view.port(name) is None and not view.qos(name)
        case RemoveQos(name):
            return not view.qos(name)


def _explained(said: str) -> bool:
    """Raise for what a writing invocation said when it failed; False if it is to be built anew."""
    if _OVERTAKEN in said or any(words in said for words in _REFUSED):
        return False
    if _LOST in said:
        raise _NotAnswered
    if any(words in said for words in _CHANGED):
        if _NO_SWITCH in said:
            reason = "the database has no row in the table Open_vSwitch; is ovs-vswitchd there?"
            raise errors.TransactionRefused(reason=reason)
        raise errors.StateChanged(what=said)
    raise errors.TransactionRefused(reason=said)


@cache
def _server(pid: int, remote: str) -> _Server:
    return _Server()


def _last_line(said: str) -> str:
    """What ovs-vsctl says as it ends: ``ovs-vsctl: <reason>``, after lines of its log."""
    lines = said.strip().splitlines()
    return lines[-1].removeprefix(f"{PROGRAM}: ") if lines else "it did not say why"


# Values of the JSON format (RFC 7047, section 5.1) ----------------------------------------------


def _rows(table: Mapping[str, Any]) -> list[Row]:
    return [dict(zip(table["headings"], row, strict=True)) for row in table["data"]]


def _set(value: Any) -> list[Any]:
    """A set; one with a single element is printed as that."""
    return value[1] if isinstance(value, list) and value[0] == "set" else [value]


def _optional(value: Any) -> Any:
    return next(iter(_set(value)), None)


def _uuids(value: Any) -> list[str]:
    return [uuid for _, uuid in _set(value)]


def _map(value: Any) -> dict[str, str]:
    return dict(value[1])
