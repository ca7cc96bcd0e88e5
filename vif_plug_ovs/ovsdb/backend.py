# SPDX-License-Identifier: Apache-2.0
"""OVSDB as the engine wants it: observe, commit, wait for ovs-vswitchd."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from os_vif.wiring.deadline import Deadline
from os_vif.wiring.ownership import IFACE_ID
from os_vif.wiring.state import Found, Port
from os_vif.wiring.steps import RowStep
from vif_plug_ovs.health import Switch
from vif_plug_ovs.ovsdb import connection, rows
from vif_plug_ovs.ovsdb.operations import Operation, operations
from vif_plug_ovs.ovsdb.python_ovs import SWITCH, Replica

#: An operation that changes nothing; next_cfg is counted up with it.
_NOTHING: Operation = {"op": "comment", "comment": "os-vif: go over the configuration again"}


class NativeRows:
    """The rows of an Open_vSwitch database through python-ovs' IDL.

    :param remote: see :class:`vif_plug_ovs.ovsdb.connection.Connection`.
    """

    def __init__(self, remote: str) -> None:
        self._remote = remote
        self._likely_bridges: dict[str, str] = {}  # of the ports that were observed

    @property
    def _connection(self) -> connection.Connection:
        return connection.get(self._remote)

    def _tables(
        self, deadline: Deadline, ports: Collection[str] | None = None
    ) -> AbstractContextManager[Replica]:
        """Lock a replica with what the server has now of the switch, of all bridges, and of these
        ports at least; None for all rows."""
        return self._connection.synchronized(deadline)

    def _watch(
        self, ports: Collection[str], is_ready: Callable[[Replica], bool], deadline: Deadline
    ) -> None:
        """Wait until something is true of ports, or the deadline has come."""
        self._connection.watch(ports, is_ready, deadline)

    def observe(
        self, bridges: Collection[str], ports: Mapping[str, str], deadline: Deadline
    ) -> Found:
        """See :meth:`os_vif.wiring.engine.Rows.observe`."""
        with self._tables(deadline, ports) as tables:
            found = rows.found(tables, bridges, ports)
            count = len(tables.tables["Port"].rows)
        self._likely_bridges |= {**ports, **{name: p.bridge for name, p in found.ports.items()}}
        return replace(found, port_count=count)

    def switch(self, deadline: Deadline) -> Switch:
        """Return what the server says of the switch now.

        :raises NotConnected: the server cannot be reached by the deadline.
        """
        with self._tables(deadline, ()) as tables:
            return rows.state_of_switch(tables, with_bridges=True)

    def watch(
        self,
        ports: Mapping[str, str],
        missing: Callable[[Found, Switch, Callable[[], bool]], str],
        deadline: Deadline,
    ) -> str:
        """Wait until ports lack nothing; return what they lack when the deadline comes.

        :param ports: name -> the bridge where it is likely to be.
        :param missing: says what they lack, from what is found, the switch, and whether Neutron's
            agent gives ports on that bridge their VLAN.
        :raises NotConnected: the server cannot be reached by the deadline.
        """
        lacking = ""

        def is_ready(tables: Replica) -> bool:
            nonlocal lacking
            lacking = missing(*rows.readiness(tables, ports))
            return not lacking

        self._watch([*ports, SWITCH], is_ready, deadline)
        return lacking

    def everything(
        self,
        deadline: Deadline,
        only: Collection[str] | None = None,
        iface_ids: Collection[str] = (),
    ) -> Found:
        """Return all bridges and ports of the switch, as the server has them now.

        :param only: the ports to read: those of these names, and those on bridges of these names;
            None for all.
        :param iface_ids: of further ports to read.
        :raises NotConnected: the server cannot be reached by the deadline.
        """
        with self._tables(deadline) as tables:
            return rows.everything(tables, only, iface_ids)

    def names_of(self, value: str, deadline: Deadline, key: str = IFACE_ID) -> list[str]:
        """Return the names of the interfaces with that value under a key of their ids.

        :raises NotConnected: the server cannot be reached by the deadline.
        """
        with self._tables(deadline) as tables:
            return rows.names_of(tables, value, key)

    def commit(self, steps: Sequence[RowStep], deadline: Deadline) -> int | None:
        """See :meth:`os_vif.wiring.engine.Rows.commit`."""
        return self._connection.commit(
            lambda tables: operations(steps, rows.Lookup(tables), time.time()), deadline
        )

    def count_up(self, deadline: Deadline) -> int:
        """See :meth:`os_vif.wiring.engine.Rows.count_up`."""
        counted = self._connection.commit(lambda _: [_NOTHING], deadline)
        assert counted is not None  # something was sent
        return counted

    def wait_for_vswitchd(self, cfg: int, deadline: Deadline) -> bool:
        """See :meth:`os_vif.wiring.engine.Rows.wait_for_vswitchd`."""
        return self._connection.wait_for_vswitchd(cfg, deadline)

    def device_states(
        self, ports: Mapping[str, int], deadline: Deadline, *, wait: bool
    ) -> Mapping[str, Port]:
        """See :meth:`os_vif.wiring.engine.Rows.device_states`."""
        likely = {name: self._likely_bridges.get(name, "") for name in ports}

        def all_work(tables: Replica) -> bool:
            found = rows.ports(tables, likely)
            return all(port.works_with(ports[name]) for name, port in found.items())

        if wait:
            self._connection.wait_for(all_work, deadline)
        return self._connection.read(lambda tables: rows.ports(tables, likely))
