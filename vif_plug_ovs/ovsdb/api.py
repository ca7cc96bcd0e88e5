# SPDX-License-Identifier: Apache-2.0
"""The commands and transactions of ovsdbapp, for plugins outside of this repository."""

import abc
from typing import Any

from os_vif.wiring.deadline import Deadline
from vif_plug_ovs.ovsdb import remotes


class ImplAPI(abc.ABC):
    """What is added to ``ovsdbapp.schema.open_vswitch.api.API``."""

    @abc.abstractmethod
    def has_table_column(self, table: str, column: str) -> bool:
        """Return whether the server's schema has a column."""


def get_instance(context: Any, iface_name: str | None = None) -> Any:
    """Return an object with the interface of ``ovsdbapp.schema.open_vswitch.api.API``.

    The first for a server opens a second connection, with a replica of the whole database.

    :param context: has ``connection``, where ovsdb-server listens (as BaseOVS it may have a
        ``remote``, with TLS credentials, too), and ``timeout``, the seconds that a command or
        transaction may take (0: no limit). ``interface`` is not read: there is one, the native.
    :param iface_name: of no effect, as before.
    :raises InvalidValue: the connection is malformed.
    :raises NotConnected: the server does not answer in time.
    """
    from vif_plug_ovs.ovsdb import impl_idl  # with ovsdbapp, which few ask for

    remote = remotes.normal(getattr(context, "remote", context.connection))
    impl_idl.learn_schema(remote, Deadline.of_option(context.timeout))
    ImplAPI.register(impl_idl.Api)
    return impl_idl.Api(remote, context.timeout)
