# SPDX-License-Identifier: Apache-2.0
"""The commands and transactions of ovsdbapp, for plugins outside of this repository."""

import abc
from typing import Any


class ImplAPI(abc.ABC):
    """What is added to ovsdbapp's ``ovsdbapp.schema.open_vswitch.api.API``."""

    @abc.abstractmethod
    def has_table_column(self, table: str, column: str) -> bool:
        """Tell whether the server's schema has a column."""


def get_instance(context: Any, iface_name: str | None = None) -> Any:
    """Make an object with the interface of ``ovsdbapp.schema.open_vswitch.api.API``.

    The first one for a server opens a second connection to it, with a replica of the whole
    database; those after it share that.

    :param context: has ``connection``, where ovsdb-server listens, and ``timeout``, the seconds
        that a command or transaction may take (0: no limit). One that has a ``remote`` too, as
        BaseOVS does, is connected with its TLS credentials. ``interface`` is not read:
    :param iface_name: is kept for old callers. Both choose between ways to reach the server;
        there is one here, the native one, ``vsctl`` gets it too.
    :raises InvalidValue: the connection is malformed.
    :raises NotConnected: the server does not answer in time.
    """
    from vif_plug_ovs.ovsdb import impl_idl  # with ovsdbapp, which few ask for

    remote = getattr(context, "remote", context.connection)
    return impl_idl.instance(remote, context.timeout)
