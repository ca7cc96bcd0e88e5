# SPDX-License-Identifier: Apache-2.0
"""Which way to OVSDB the configuration asks for."""

import functools
from typing import Any

from oslo_log import log as logging

from vif_plug_ovs.ovsdb.backend import NativeRows
from vif_plug_ovs.ovsdb.vsctl import VsctlRows

LOG = logging.getLogger(__name__)


def rows(config: Any) -> NativeRows | VsctlRows:
    """The rows of the database that an option group points to.

    :param config: a group that holds ``OvsPlugin.CONFIG_OPTS``.
    """
    if config.ovsdb_interface == "vsctl":
        _warn_of_vsctl()
        return VsctlRows(config.ovsdb_connection)
    return NativeRows(config.ovsdb_connection)


@functools.cache
def _warn_of_vsctl() -> None:
    """Log a warning, once in a process."""
    LOG.warning(
        "ovsdb_interface = vsctl is deprecated: it starts several processes for each VIF. Remove "
        "the option, the native interface does the same and faster."
    )
