# SPDX-License-Identifier: Apache-2.0
"""Which way to OVSDB the configuration asks for."""

from typing import Any

from vif_plug_ovs.ovsdb.backend import NativeRows


def rows(config: Any) -> NativeRows:
    """The rows of the database that an option group points to.

    :param config: a group that holds ``OvsPlugin.CONFIG_OPTS``.
    """
    return NativeRows(config.ovsdb_connection)
