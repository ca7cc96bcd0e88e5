# SPDX-License-Identifier: Apache-2.0
"""Where an OVSDB server listens, as the option ``ovsdb_connection`` names it."""

import ipaddress
import re

from os_vif.exception import InvalidValue

#: What IANA has assigned to OVSDB; ovs-vsctl(8) takes it where no port is given.
PORT = 6640

#: In place of "ssl", and with a number, names a set of credentials to python-ovs; see `.tls`.
TLS_METHOD = "osviftls"

#: tcp:<address>[:<port>], an IPv6 address in brackets; ssl: alike; unix:<path>
_REMOTE = re.compile(
    rf"unix:.+|(?P<method>tcp|ssl|{TLS_METHOD}\d+):"
    r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?"
)


def normal(remote: str) -> str:
    """Return a remote in the form that python-ovs takes, its port included.

    :param remote: ``unix:<path>``, ``tcp:<address>[:<port>]``, ``ssl:`` alike, or what
        :func:`vif_plug_ovs.ovsdb.tls.remote` makes of the latter.
    :raises InvalidValue: it does not have such a form, or names a host: to ask a name server may
        take longer than the deadline of a verb.
    """
    match = _REMOTE.fullmatch(remote)
    if not match or (match["port"] and not 0 < int(match["port"]) < 65536):
        reason = "it must be tcp:<address>[:<port>], ssl:<address>[:<port>] or unix:<path>"
        raise InvalidValue(field="ovsdb_connection", value=remote, reason=reason)
    if not match["method"]:
        return remote
    _must_be_address(remote, match["host"] or match["ipv6"], 4 if match["host"] else 6)
    return remote if match["port"] else f"{remote}:{PORT}"


def shown(remote: str) -> str:
    """Return a remote as the administrator knows it."""
    method, _, address = remote.partition(":")
    return f"ssl:{address}" if method.startswith(TLS_METHOD) else remote


def _must_be_address(remote: str, host: str, version: int) -> None:
    try:
        known = ipaddress.ip_address(host).version
    except ValueError:
        known = None
    if known != version:
        reason = f"{host} is not an IPv{version} address; names of hosts are not resolved"
        raise InvalidValue(field="ovsdb_connection", value=remote, reason=reason)
