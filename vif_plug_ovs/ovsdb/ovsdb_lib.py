# SPDX-License-Identifier: Apache-2.0
"""Ports and bridges of Open vSwitch, for plugins outside of this repository.

The same elements and the same engine as for VIFs, with one promise less: the server has accepted
the transaction. ovs-vswitchd is waited for until the deadline; what it has not done by then, and
devices that it cannot work with, are logged and not raised, because callers bring their devices
when they see fit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from oslo_log import log as logging

from os_vif.kernel.daemon import KernelLinks
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import DeviceMtu, Element, OnRemove, OvsBridge, OvsPort
from os_vif.wiring.engine import Engine, Rows
from os_vif.wiring.errors import Contradiction
from os_vif.wiring.model import Wiring
from os_vif.wiring.state import Port, Vlan
from os_vif.wiring.steps import SetPort
from vif_plug_ovs import constants, linux_net, privileged
from vif_plug_ovs.ovsdb import api, connection, drivers, rows

LOG = logging.getLogger(__name__)

#: Interfaces without a device of the kernel: ovs-vswitchd itself sets their MTU.
_IN_USER_SPACE = (
    constants.OVS_DPDK_INTERFACE_TYPE,
    constants.OVS_VHOSTUSER_INTERFACE_TYPE,
    constants.OVS_VHOSTUSER_CLIENT_INTERFACE_TYPE,
)


class BaseOVS:
    """Changes Open vSwitch, each call in one transaction.

    Whatever a method does not list raises a :class:`os_vif.wiring.errors.WiringError`; nothing was
    changed then, unless it is an OutcomeUnknown. MTUs are in bytes.

    :param config: an option group that holds ``OvsPlugin.CONFIG_OPTS``, of today or of an older
        release. ``ovs_vsctl_timeout`` is the deadline of each call.
    """

    def __init__(self, config: Any) -> None:
        self.timeout: int = config.ovs_vsctl_timeout
        self.connection: str = config.ovsdb_connection
        #: The same with the TLS credentials of the options, for :func:`.connection.get`.
        self.remote: str = drivers.remote(config)
        self.interface: str = config.ovsdb_interface
        self._config = config
        self._ovsdb: Any = None

    @property
    def ovsdb(self) -> Any:
        """ovsdbapp's commands and transactions, connected on first use.

        :raises NotConnected: see :func:`vif_plug_ovs.ovsdb.api.get_instance`.
        """
        if self._ovsdb is None:
            self._ovsdb = api.get_instance(self)
        return self._ovsdb

    # Bridges ----------------------------------------------------------------------------------

    def ensure_ovs_bridge(self, bridge: str, datapath_type: str | None) -> None:
        """Make an OVS bridge if it is missing; one that is there stays as it is.

        :param datapath_type: ``system`` or ``netdev``; None for ``system``.
        """
        self._apply(_bridge(bridge, datapath_type))

    def delete_ovs_bridge(self, bridge: str) -> None:
        """Delete an OVS bridge and the ports on it; a missing one is no error."""
        self._remove(_bridge(bridge, None, OnRemove.DELETE))

    # Ports ------------------------------------------------------------------------------------

    def create_ovs_vif_port(
        self,
        bridge: str,
        dev: str,
        iface_id: str,
        mac: str,
        instance_id: str,
        mtu: int | None = None,
        interface_type: str | None = None,
        vhost_server_path: str | None = None,
        tag: int | None = None,
        pf_pci: str | None = None,
        vf_num: int | str | None = None,
        set_ids: bool = True,
        datapath_type: str | None = None,
        qos_type: str | None = None,
        vlan_mode: str | None = None,
        trunks: Sequence[int] | int | None = None,
    ) -> None:
        """Make a port with one interface, or correct the interface of the one that is there.

        :param dev: name of the port, its interface and its device.
        :param iface_id: with ``mac`` and ``instance_id`` it goes to the interface's
            ``external_ids``, unless ``set_ids`` is False.
        :param mtu: of the device, if it is there; or asked of ovs-vswitchd where that makes it.
        :param interface_type: such as ``internal`` or ``dpdkvhostuserclient``; None for that of a
            system device, or to leave that of a port which is there.
        :param vhost_server_path: the socket of a guest that is the vhost-user server.
        :param tag: VLAN, with ``vlan_mode`` and ``trunks`` given to a new port only.
        :param pf_pci: with ``vf_num`` the representor that DPDK is to drive.
        :param qos_type: QoS of a new port, unless ``datapath_type`` is ``netdev``.
        :raises Contradiction: the bridge is missing, or the port is on another one.
        """
        options: dict[str, str] = {}
        if vhost_server_path:
            options["vhost-server-path"] = vhost_server_path
        if pf_pci and vf_num is not None:
            options["dpdk-devargs"] = f"{pf_pci},representor=[{vf_num}]"
        in_user_space = interface_type in _IN_USER_SPACE
        port = OvsPort(
            dev,
            bridge,
            linux_net.mark(dev),
            interface_type or None,
            external_ids=_external_ids(iface_id, mac, instance_id) if set_ids else {},
            options=options,
            mtu_request=(mtu or None) if in_user_space else None,
            device=False,
            vlan=_vlan(tag, vlan_mode, trunks),
            qos_type=None if datapath_type == constants.OVS_DATAPATH_NETDEV else qos_type,
        )
        self._apply_on([bridge], *(() if in_user_space else (DeviceMtu(dev, mtu or None),)), port)

    def update_ovs_vif_port(
        self, dev: str, mtu: int | None = None, interface_type: str | None = None
    ) -> None:
        """Set the MTU of a port's device; see :meth:`update_device_mtu`."""
        if interface_type not in _IN_USER_SPACE:
            linux_net.set_device_mtu(dev, mtu)
        elif mtu:
            rows, deadline = _AcceptedIsEnough(self._rows()), self._deadline()
            port = rows.observe((), {dev: ""}, deadline).ports.get(dev)
            if port is None or port.mtu_request != mtu:
                cfg = rows.commit([SetPort(dev, {"mtu_request": mtu})], deadline)
                rows.wait_for_vswitchd(cfg or 0, deadline)

    def delete_ovs_vif_port(
        self, bridge: str, dev: str, delete_netdev: bool = True, qos_type: str | None = None
    ) -> None:
        """Delete a port and what QoS rows os-vif made for it; a missing one is no error.

        :param delete_netdev: delete the device of that name too.
        :param qos_type: is not looked at: QoS rows are found by the device.
        :raises Contradiction: the port is on another bridge, and not made by this class.
        """
        self._remove(OvsPort(dev, bridge, linux_net.mark(dev), None))
        if delete_netdev:
            linux_net.delete_net_dev(dev)

    def create_patch_port_pair(
        self,
        port_bridge: str,
        port_bridge_port: str,
        int_bridge: str,
        int_bridge_port: str,
        iface_id: str,
        mac: str,
        instance_id: str,
        tag: int | None = None,
    ) -> None:
        """Join two bridges by patch ports; that on ``int_bridge`` gets the ids and the tag.

        :raises Contradiction: a bridge is missing, or a port is on another one.
        """
        outer = _patch(port_bridge_port, port_bridge, int_bridge_port)
        inner = replace(
            _patch(int_bridge_port, int_bridge, port_bridge_port),
            external_ids=_external_ids(iface_id, mac, instance_id),
            vlan=_vlan(tag, None, None),
        )
        self._apply_on([port_bridge, int_bridge], outer, inner)

    def port_exists(self, port_name: str, bridge: str) -> bool:
        """Return whether there is a port of that name on that bridge."""
        found = self._rows().observe((), {port_name: bridge}, self._deadline())
        port = found.ports.get(port_name)
        return port is not None and port.bridge == bridge

    def update_device_mtu(
        self, txn: Any, dev: str, mtu: int | None, interface_type: str | None = None
    ) -> None:
        """Set the MTU of a device at once; or, where ovs-vswitchd sets it, in a transaction.

        :param txn: one of :attr:`ovsdb`; committed by the caller.
        :param mtu: None to leave it. It is not set on a device that is missing.
        """
        if interface_type not in _IN_USER_SPACE:
            linux_net.set_device_mtu(dev, mtu)
        elif mtu and self.ovsdb.has_table_column("Interface", "mtu_request"):
            txn.add(self.ovsdb.db_set("Interface", dev, ("mtu_request", mtu)))

    # QoS --------------------------------------------------------------------------------------

    def get_qos(self, dev: str, qos_type: str) -> list[dict[str, Any]]:
        """Return the QoS rows that os-vif made for a device: ``{"_uuid": ...}`` for each."""
        with connection.get(self.remote).synchronized(self._deadline()) as tables:
            return [{"_uuid": uuid} for uuid in _qos(tables, dev, qos_type)]

    def delete_qos_if_exists(self, dev: str, qos_type: str) -> None:
        """Delete the QoS rows that os-vif made for a device, and take them off its port."""

        def build(tables: Any) -> list[dict[str, Any]]:
            found = _qos(tables, dev, qos_type)
            return [operation for uuid in found for operation in _qos_removal(dev, str(uuid))]

        if self.get_qos(dev, qos_type):  # as the server has it, not the replica
            connection.get(self.remote).commit(build, self._deadline())

    # Below here ---------------------------------------------------------------------------------

    def _deadline(self) -> Deadline:
        return Deadline.of_option(self.timeout)

    def _rows(self) -> Rows:
        return drivers.rows(self._config)

    def _engine(self) -> Engine:
        links = KernelLinks(privileged.change_links)
        return Engine(links, _AcceptedIsEnough(self._rows()), strict=False)

    def _apply(self, *elements: Element) -> None:
        self._engine().apply(Wiring(elements), self._deadline())

    def _apply_on(self, bridges: Collection[str], *elements: Element) -> None:
        found = self._rows().observe(bridges, {}, self._deadline()).bridges
        missing = [f"OVS bridge {name} is missing" for name in bridges if name not in found]
        if missing:
            raise Contradiction(report="; ".join(missing))
        self._apply(*elements)

    def _remove(self, *elements: Element) -> None:
        self._engine().remove(Wiring(elements), self._deadline())


class _AcceptedIsEnough:
    """The rows, for callers whom a late ovs-vswitchd is no reason to fail."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.observe, self.commit = rows.observe, rows.commit

    def count_up(self, deadline: Deadline) -> int:
        """Ask for nothing, as nothing is waited for."""
        return 0

    def wait_for_vswitchd(self, cfg: int, deadline: Deadline) -> bool:
        """Wait for ovs-vswitchd, and return True in any case."""
        if not self._rows.wait_for_vswitchd(cfg, deadline):
            LOG.warning("ovs-vswitchd has not acted on a change after %s s", deadline.elapsed())
        return True

    def device_states(
        self, ports: Mapping[str, int], deadline: Deadline, *, wait: bool
    ) -> Mapping[str, Port]:
        """See :meth:`os_vif.wiring.engine.Rows.device_states`; nothing is waited for."""
        return self._rows.device_states(ports, deadline, wait=False)


def _bridge(
    name: str, datapath_type: str | None, on_remove: OnRemove = OnRemove.KEEP
) -> OvsBridge:
    datapath_type = datapath_type or constants.OVS_DATAPATH_SYSTEM
    return OvsBridge(name, datapath_type, linux_net.mark(name), on_remove)


def _patch(name: str, bridge: str, peer: str) -> OvsPort:
    patch = constants.OVS_PATCH_INTERFACE_TYPE
    return OvsPort(name, bridge, linux_net.mark(name), patch, options={"peer": peer}, device=False)


def _external_ids(iface_id: str, mac: str, instance_id: str) -> dict[str, str]:
    return {
        "iface-id": iface_id,
        "iface-status": "active",
        "attached-mac": mac,
        "vm-uuid": instance_id,
    }


def _vlan(tag: int | None, mode: str | None, trunks: Sequence[int] | int | None) -> Vlan | None:
    every = () if trunks is None else (trunks,) if isinstance(trunks, int) else tuple(trunks)
    vlan = Vlan(tag, mode, every)
    return None if vlan == Vlan() else vlan


def _qos(tables: Any, dev: str, qos_type: str) -> list[Any]:
    found = rows.qos_of(tables, dev)
    return [row.uuid for row in found if row.external_ids.get("_type") == qos_type]


def _qos_removal(dev: str, uuid: str) -> list[dict[str, Any]]:
    """The server refuses to delete a row that a port refers to."""
    qos = ["uuid", uuid]
    using = [["name", "==", dev], ["qos", "includes", qos]]
    return [
        {"op": "update", "table": "Port", "where": using, "row": {"qos": ["set", []]}},
        {"op": "delete", "table": "QoS", "where": [["_uuid", "==", qos]]},
    ]
