# SPDX-License-Identifier: Apache-2.0
"""Privileged: the program ``ovsdb-client``, run in the plugin's daemon for the ``vsctl`` driver.

The socket of ovsdb-server may be open to root alone. The daemon trusts nobody: it takes a remote,
the files of TLS, and operations such as :mod:`vif_plug_ovs.ovsdb.operations` makes, checks them,
and makes the program's arguments of them.
"""

import contextlib
import errno
import json
import math
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from os_vif.exception import InvalidValue
from os_vif.kernel import programs
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from vif_plug_ovs import privsep
from vif_plug_ovs.ovsdb import rows, tls

PROGRAM = "ovsdb-client"
#: What it says when it has sent nothing, and when it may have.
NOT_SENT, NOT_ANSWERED = "failed to connect to ", "transaction failed ("

#: Seconds past the deadline for the daemon to say that it had to kill the program.
GRACE = 0.2

#: Not a list of several, which the program would take; a path from the root, for the daemon has
#: another working directory than its caller.
_REMOTE = re.compile(r"(?:tcp|ssl):(?:\[[^\]\0]+\]|[^:,\[\]\0]+):\d{1,5}|unix:/[^,\0]+")
_PATH = re.compile(r"(?:/[^\0]*)?")
_TLS = ("--private-key", "--certificate", "--ca-cert")

#: Operations -> their members besides ``op`` and ``table`` (RFC 7047, section 5.2).
_MEMBERS = {
    "select": {"where", "columns"},
    "wait": {"where", "columns", "until", "rows", "timeout"},
    "insert": {"uuid-name", "row"},
    "update": {"where", "row"},
    "mutate": {"where", "mutations"},
    "delete": {"where"},
}
_READ = {"select", "wait"}

#: What os-vif writes: table -> by which operations, and which columns.
_WRITTEN: dict[str, tuple[set[str], set[str]]] = {
    "Open_vSwitch": ({"mutate"}, {"bridges", "next_cfg"}),
    "Bridge": ({"insert", "mutate"}, {"name", "datapath_type", "external_ids", "ports"}),
    "Port": (
        {"insert", "update"},
        {"name", "interfaces", "external_ids", "tag", "trunks", "vlan_mode", "qos"},
    ),
    "QoS": ({"insert", "delete"}, {"type", "external_ids"}),
    "Interface": (
        {"insert", "update", "mutate"},
        {"name", "type", "options", "external_ids", "mtu_request", "ofport_request"},
    ),
}


@privsep.vif_plug.entrypoint
def transact(
    remote: str, files: Sequence[str], operations: Sequence[Any], until: float
) -> tuple[int, str]:
    """Send one transaction, and return the program's exit status and output.

    :param files: of TLS: private key, certificate, authority's certificate; none without TLS.
    :param until: the end of the deadline, by ``time.monotonic()``.
    :returns: 0 and the results in JSON; or another status and the last line of the errors.
    :raises InvalidValue: os-vif does not ask for that, or a file is bad.
    :raises NotConnected: the program could not be started; nothing was sent.
    :raises TransactionRefused: it is larger than what a program can be given; nothing was sent.
    :raises DeadlineExceeded: the program was killed.
    """
    words, deadline = arguments(remote, files, operations), Deadline.until(until)
    if deadline.expired:
        raise errors.NotConnected(remote=remote, reason="no time is left")
    left = deadline.remaining()
    # The program's own time limit, in whole seconds, is for one whose daemon has been killed.
    argv = [PROGRAM, f"--timeout={math.ceil(left) + 1}", *words]
    try:
        status, out, err = programs.run(argv, left)
    except subprocess.TimeoutExpired as late:
        what = f"the program {PROGRAM} had to be killed"
        raise errors.DeadlineExceeded(seconds=left, what=what) from late
    except OSError as failure:
        if failure.errno == errno.E2BIG:
            reason = f"{len(words[-1])} bytes are more than a program's argument may have"
            raise errors.TransactionRefused(reason=reason) from failure
        reason = f"the program {PROGRAM} (ovsdb_interface = vsctl): {failure}"
        raise errors.NotConnected(remote=remote, reason=reason) from failure
    if not status:
        return 0, out.decode(errors="replace")
    said = err.decode(errors="replace").strip() or "it did not say why"
    said = said.splitlines()[-1].removeprefix(f"{PROGRAM}: ")
    if files and said.startswith(NOT_SENT):  # which the program does not explain
        tls.check(tls.Credentials(*files))
    return status, said


def arguments(remote: str, files: Sequence[str], operations: Sequence[Any]) -> list[str]:
    """Return the program's arguments.

    :raises InvalidValue: os-vif does not ask for that.
    """
    if not isinstance(remote, str) or not _REMOTE.fullmatch(remote):
        form = "tcp:<address>:<port>, ssl:<address>:<port> or unix:<path from the root>"
        reason = f"it must be {form}, and one only"
        raise InvalidValue(field="ovsdb_connection", value=remote, reason=reason)
    paths = all(isinstance(path, str) and _PATH.fullmatch(path) for path in files)
    if len(files) != (3 if remote.startswith("ssl:") else 0) or not paths:
        reason = "a remote of ssl: has three paths from the root, others none"
        raise InvalidValue(field="files", value=files, reason=reason)
    options = [f"{option}={path}" for option, path in zip(_TLS, files, strict=False)]
    text = ",".join(['"Open_vSwitch"', *map(_text, operations)])
    return [*options, "transact", remote, f"[{text}]"]


def _text(operation: Any) -> str:
    """Return an operation in JSON.

    :raises InvalidValue: os-vif does not do that.
    """
    with contextlib.suppress(TypeError, KeyError, IndexError, ValueError):  # it is malformed
        if _is_allowed(**operation):
            return json.dumps(operation, allow_nan=False, separators=(",", ":"))
    raise InvalidValue(field="operation", value=operation, reason="os-vif does not do that")


def _is_allowed(op: str, table: str, **members: Any) -> bool:
    """Return whether an operation does nothing but what os-vif does."""
    operations, columns = _WRITTEN[table]
    written = {*members.get("row", ()), *(change[0] for change in members.get("mutations", ()))}
    read = {*members.get("columns", ()), *(test[0] for test in members.get("where", ()))}
    read.update(column for row in members.get("rows", ()) for column in row)
    readable = {"_uuid", *columns, *rows.SCHEMA["tables"][table]["columns"]}
    return (
        op in _READ | operations
        and members.keys() == _MEMBERS[op]
        and written <= columns
        and read <= readable
    )
