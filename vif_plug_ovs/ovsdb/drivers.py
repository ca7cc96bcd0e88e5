# SPDX-License-Identifier: Apache-2.0
"""Which way to OVSDB the configuration asks for."""

import functools
from typing import TYPE_CHECKING, Any

from oslo_log import log as logging

from vif_plug_ovs.ovsdb import remotes, tls
from vif_plug_ovs.ovsdb.backend import NativeRows

if TYPE_CHECKING:
    from vif_plug_ovs.ovsdb.vsctl import VsctlRows

LOG = logging.getLogger(__name__)


def rows(config: Any) -> "NativeRows | VsctlRows":
    """Return the rows of the database that an option group points to.

    :param config: a group that holds ``OvsPlugin.CONFIG_OPTS``, or an older list of them.
    :raises InvalidValue: the remote is of no known form, or a TLS file is bad.
    """
    if config.ovsdb_interface == "vsctl":
        from vif_plug_ovs.ovsdb.vsctl import VsctlRows  # which few need

        _warn_of_vsctl()
        return VsctlRows(config.ovsdb_connection, _credentials(config))
    return NativeRows(remote(config))


def remote(config: Any) -> str:
    """Return what :func:`.connection.get` takes, of what an option group says.

    :raises InvalidValue: an ``ssl:`` remote is malformed, or one of its files is bad.
    """
    wanted: str = config.ovsdb_connection
    credentials = _credentials(config)
    return wanted if credentials is None else tls.remote(remotes.normal(wanted), credentials)


def _credentials(config: Any) -> tls.Credentials | None:
    if not config.ovsdb_connection.startswith("ssl:"):
        return None
    files = (getattr(config, name, "") or "" for name in tls.OPTIONS)
    return tls.Credentials(*files)


@functools.cache
def _warn_of_vsctl() -> None:
    """Log a warning, once in a process."""
    LOG.warning(
        "ovsdb_interface = vsctl is deprecated: it starts several processes for each VIF. Remove "
        "the option, the native interface does the same and faster."
    )
