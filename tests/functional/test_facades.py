# SPDX-License-Identifier: Apache-2.0
"""The modules that plugins outside of this repository use, on a real kernel and Open vSwitch."""

import functools
import logging
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from oslo_config import cfg
from ovsdbapp import exceptions
from ovsdbapp.backend.ovs_idl import connection as ovs_idl
from ovsdbapp.backend.ovs_idl import idlutils
from ovsdbapp.schema.open_vswitch.api import API
from ovsdbapp.schema.open_vswitch.impl_idl import OvsdbIdl

from os_vif.exception import ExceptionBase, InvalidValue
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from tests.fakes import NO_HOST_STACK
from tests.rig import many_open_files, run, wait_until
from tests.rig.fakesys import mlx5, mounted
from tests.rig.namespace import private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import GROUP, Child, OsVif, filled
from tests.rig.snapshot import difference, links, snapshot, sysctls
from tests.rig.stopwatch import stopwatch, within
from vif_plug_ovs import exception, linux_net
from vif_plug_ovs.ovsdb import api, connection, impl_idl
from vif_plug_ovs.ovsdb.ovsdb_lib import BaseOVS

MAC = "02:00:00:00:00:0a"
IDS = ("iface-1", MAC, "vm-1")
BRIDGE = "br0"
VHOST = "dpdkvhostuserclient"
#: Seconds of deadline where it is waited out, and how much longer a call may take.
SHORT, GRACE, AMPLE = 1, 1.0, 20


def base_ovs(remote: str, timeout: int = 5, interface: str = "native") -> BaseOVS:
    """With an option group made of an old list of options: it has these, and no others."""
    options = {"ovsdb_connection": remote, "ovs_vsctl_timeout": timeout}
    return BaseOVS(SimpleNamespace(**options, ovsdb_interface=interface))


def context(remote: str, timeout: int = 5, interface: str = "native") -> Any:
    """What `api.get_instance` takes."""
    return SimpleNamespace(connection=remote, timeout=timeout, interface=interface)


@pytest.fixture
def base(osvif: OsVif) -> BaseOVS:
    """On a bridge that forwards."""
    made = BaseOVS(cfg.CONF[GROUP])
    made.ensure_ovs_bridge(BRIDGE, "netdev")
    return made


@pytest.fixture
def short(ovs: PrivateOvs, base: BaseOVS) -> Iterator[BaseOVS]:
    """The same with a short deadline; whatever is frozen is thawed in the end."""
    made = base_ovs(ovs.remote, SHORT)
    made.ovsdb.br_exists(BRIDGE).execute(check_error=True)
    yield made
    for daemon in ("vswitchd", "ovsdb-server"):
        ovs.thaw(daemon)


# linux_net --------------------------------------------------------------------------------------


def test_a_bridge_keeps_out_of_the_traffic(osvif: OsVif) -> None:
    linux_net.ensure_bridge("qbr-a")
    found = links()["qbr-a"]
    wanted = {
        "kind": "bridge",
        "up": True,
        "ageing_time": 0,
        "stp_state": 0,
        "forward_delay": 0,
        "mcast_snooping": 0,
        "alias": "os-vif:ovs:facade:qbr-a",
    }
    assert {key: found[key] for key in wanted} == wanted
    assert sysctls("qbr-a", NO_HOST_STACK) == NO_HOST_STACK
    osvif.privileged_calls.clear()
    linux_net.ensure_bridge("qbr-a")
    assert not osvif.privileged_calls


def test_a_port_goes_into_its_bridge_and_out_with_no_other(osvif: OsVif) -> None:
    before = links()
    linux_net.ensure_bridge("qbr-a")
    linux_net.ensure_bridge("qbr-b")
    linux_net.create_tap("tap-a", None, None)
    linux_net.add_bridge_port("qbr-a", "tap-a")
    linux_net.delete_bridge("qbr-b", "tap-a")
    assert links()["tap-a"]["master"] == "qbr-a"
    linux_net.delete_bridge("qbr-a", "tap-a")
    assert links()["tap-a"]["master"] is None
    linux_net.delete_bridge("qbr-a", "tap-a")
    linux_net.delete_net_dev("tap-a")
    linux_net.delete_bridge("qbr-a", "tap-a")
    assert links() == before


@pytest.mark.parametrize("multiqueue", [False, True])
def test_a_tap(osvif: OsVif, multiqueue: bool) -> None:
    linux_net.create_tap("tap-a", 1400, MAC, multiqueue)
    linux_net.create_tap("tap-a", 1400, MAC, multiqueue)
    found = links()["tap-a"]
    assert (found["kind"], found["mac"], found["mtu"], found["up"]) == ("tun", MAC, 1400, True)
    assert found["multi_queue"] is multiqueue
    assert len(osvif.privileged_calls) == 1


def test_of_a_tap_of_others_only_the_mtu_is_set(osvif: OsVif) -> None:
    run(["ip", "tuntap", "add", "tap-a", "mode", "tap"])
    mac = links()["tap-a"]["mac"]
    linux_net.create_tap("tap-a", 1400, MAC)
    assert (links()["tap-a"]["mac"], links()["tap-a"]["mtu"]) == (mac, 1400)


def test_a_veth_pair_replaces_what_has_its_names(osvif: OsVif) -> None:
    linux_net.create_tap("qvb-a", 1500, MAC)
    linux_net.create_veth_pair("qvo-a", "stranger", 1500)
    for _ in range(2):
        linux_net.create_veth_pair("qvb-a", "qvo-a", 1400)
        found = links()
        assert "stranger" not in found
        for name, peer in (("qvb-a", "qvo-a"), ("qvo-a", "qvb-a")):
            wanted = {"kind": "veth", "parent": peer, "mtu": 1400, "up": True, "promisc": True}
            assert {key: found[name][key] for key in wanted} == wanted
            assert found[name]["alias"] == "os-vif:ovs:facade:qvb-a"


def test_a_veth_pair_is_updated(osvif: OsVif) -> None:
    linux_net.create_veth_pair("qvb-a", "qvo-a", 1400)
    linux_net.set_interface_state("qvo-a", "down")
    linux_net.update_veth_pair("qvb-a", "qvo-a", 1300)
    assert [(links()[name]["mtu"], links()[name]["up"]) for name in ("qvb-a", "qvo-a")] == [
        (1300, True)
    ] * 2
    with pytest.raises(errors.LinkFailed, match="none0"):
        linux_net.update_veth_pair("qvb-a", "none0", 1300)


def test_an_mtu_and_a_state(osvif: OsVif) -> None:
    linux_net.create_tap("tap-a", 1400, MAC)
    linux_net.set_device_mtu("tap-a", 1300)
    assert links()["tap-a"]["mtu"] == 1300
    for state in ("down", "up"):
        linux_net.set_interface_state("tap-a", state)
        assert links()["tap-a"]["up"] == (state == "up")
    osvif.privileged_calls.clear()
    linux_net.set_device_mtu("tap-a", 1300)
    linux_net.set_device_mtu("tap-a", None)
    linux_net.set_device_mtu("none0", 1300)
    assert not osvif.privileged_calls


def test_what_is_refused_changes_no_link(osvif: OsVif) -> None:
    linux_net.create_tap("tap-a", 1500, MAC)
    linux_net.ensure_bridge("qbr-a")
    before = links()
    for call, error, said in [
        (lambda: linux_net.ensure_bridge("tap-a"), errors.Contradiction, "kind"),
        (lambda: linux_net.delete_bridge("tap-a", None), errors.LinkFailed, "tap-a"),
        (lambda: linux_net.add_bridge_port("qbr-a", "none0"), errors.LinkFailed, "none0"),
        (lambda: linux_net.set_interface_state("none0", "up"), errors.LinkFailed, "none0"),
        (lambda: linux_net.set_interface_state("tap-a", "sideways"), InvalidValue, "sideways"),
        (lambda: linux_net.delete_net_dev("lo"), InvalidValue, "kind"),
    ]:
        with pytest.raises(error, match=said):
            call()
    for name in ("", "../x", "a b", "longer-than-fifteen"):
        for refused in (
            functools.partial(linux_net.ensure_bridge, name),
            functools.partial(linux_net.create_tap, name, 1500, MAC),
            functools.partial(linux_net.create_veth_pair, "qvb-a", name, 1500),
            functools.partial(linux_net.delete_net_dev, name),
            functools.partial(linux_net.add_bridge_port, name, "lo"),
            functools.partial(linux_net.set_interface_state, name, "up"),
        ):
            with pytest.raises(InvalidValue):
                refused()
    assert links() == before


def test_functions_and_representors() -> None:
    with private_network(), mounted(mlx5(vfs=2), taps=["pf0vf0", "pf0vf1"]):
        assert linux_net.get_function_by_ifname("enpf0") == ("0000:03:00.0", True)
        assert linux_net.get_function_by_ifname("none0") == (None, False)
        vf = "0000:03:00.3"
        assert linux_net.get_pf_pci_from_vf(vf) == "0000:03:00.0"
        assert linux_net.get_vf_num_by_pci_address(vf) == "1"
        uplink = linux_net.get_ifname_by_pci_address(vf, pf_interface=True, switchdev=True)
        assert uplink == "enpf0"
        for number in (1, "1"):
            assert linux_net.get_representor_port(uplink, number) == "pf0vf1"
        with pytest.raises(exception.RepresentorNotFound):
            linux_net.get_representor_port(uplink, 7)
        with pytest.raises(exception.PciDeviceNotFoundById):
            linux_net.get_vf_num_by_pci_address("0000:03:00.0")


def test_the_name_of_a_dpdk_representor() -> None:
    name = linux_net.get_dpdk_representor_port_name("0123456789abcdef")
    assert name == "vfr0123456789a"
    assert len(name) == linux_net.NIC_NAME_LEN


# BaseOVS ----------------------------------------------------------------------------------------


def columns(ovs: PrivateOvs, table: str, name: str) -> dict[str, Any]:
    return filled(ovs.dump()[table][name])


def test_a_bridge_is_made_once_and_deleted(ovs: PrivateOvs, base: BaseOVS) -> None:
    row = columns(ovs, "Bridge", BRIDGE)
    assert row["datapath_type"] == "netdev"
    assert row["external_ids"] == {"os-vif": f"ovs:facade:{BRIDGE}"}
    config = ovs.next_cfg()
    base.ensure_ovs_bridge(BRIDGE, "system")
    assert ovs.next_cfg() == config
    base.delete_ovs_bridge(BRIDGE)
    base.delete_ovs_bridge(BRIDGE)
    assert not ovs.dump()["Bridge"]


def test_a_port_and_its_device_by_one_transaction(ovs: PrivateOvs, base: BaseOVS) -> None:
    before = snapshot(ovs)
    linux_net.create_tap("tap-a", 1500, MAC)
    config = ovs.next_cfg()
    base.create_ovs_vif_port(BRIDGE, "tap-a", *IDS, 1400, tag=7, qos_type="linux-noop")
    assert ovs.next_cfg() == config + 1
    mark = {"os-vif": "ovs:facade:tap-a"}
    assert columns(ovs, "Interface", "tap-a")["external_ids"] == {
        "iface-id": "iface-1",
        "iface-status": "active",
        "attached-mac": MAC,
        "vm-uuid": "vm-1",
        **mark,
    }
    port = columns(ovs, "Port", "tap-a")
    (qos,) = ovs.dump()["QoS"]
    assert (port["tag"], port["qos"], port["external_ids"]) == (7, qos, mark)
    assert links()["tap-a"]["mtu"] == 1400
    assert ovs.interface("tap-a")["ofport"] > 0
    assert base.port_exists("tap-a", BRIDGE)
    assert not base.port_exists("tap-a", "br1")
    assert not base.port_exists("tap-b", BRIDGE)

    base.create_ovs_vif_port(BRIDGE, "tap-a", *IDS, 1400, tag=8, qos_type="linux-noop")
    assert ovs.next_cfg() == config + 1
    assert columns(ovs, "Port", "tap-a")["tag"] == 7

    base.delete_ovs_vif_port(BRIDGE, "tap-a")
    assert ovs.next_cfg() == config + 2
    base.delete_ovs_vif_port(BRIDGE, "tap-a", qos_type="linux-noop")
    assert not difference(before, snapshot(ovs))


def test_by_way_of_vsctl(ovs: PrivateOvs, base: BaseOVS) -> None:
    before = snapshot(ovs)
    vsctl = base_ovs(ovs.remote, interface="vsctl")
    vsctl.ensure_ovs_bridge("br1", "netdev")
    linux_net.create_tap("tap-a", 1500, MAC)
    vlan = {"tag": 7, "vlan_mode": "native-tagged", "trunks": [3, 4]}
    vsctl.create_ovs_vif_port("br1", "tap-a", *IDS, 1400, **vlan, qos_type="linux-noop")
    port = columns(ovs, "Port", "tap-a")
    assert {key: port[key] for key in vlan} == vlan
    assert vsctl.port_exists("tap-a", "br1")
    assert vsctl.get_qos("tap-a", "linux-noop")
    assert vsctl.ovsdb.port_to_br("tap-a").execute(check_error=True) == "br1"
    vsctl.delete_ovs_vif_port("br1", "tap-a")
    vsctl.delete_ovs_bridge("br1")
    assert not difference(before, snapshot(ovs))


def test_a_device_may_come_later(ovs: PrivateOvs, base: BaseOVS) -> None:
    base.create_ovs_vif_port(BRIDGE, "tap-a", *IDS, 1400)
    assert "No such device" in ovs.interface("tap-a")["error"]
    linux_net.create_tap("tap-a", 1400, MAC)
    wait_until(lambda: (ovs.interface("tap-a")["ofport"] or 0) > 0, what="the tap's ofport")


def test_what_vswitchd_refuses_is_logged(
    ovs: PrivateOvs, base: BaseOVS, caplog: pytest.LogCaptureFixture
) -> None:
    base.ensure_ovs_bridge("br1", "system")  # it has no such datapath here
    assert "br1" in ovs.dump()["Bridge"]
    assert "OVS port br1" in caplog.text
    linux_net.create_tap("tap-a", 1500, MAC)
    base.create_ovs_vif_port("br1", "tap-a", *IDS)
    assert base.port_exists("tap-a", "br1")


def test_an_internal_port_has_its_device_when_the_call_returns(base: BaseOVS) -> None:
    base.create_ovs_vif_port(BRIDGE, "int-a", *IDS, interface_type="internal")
    assert "int-a" in links()
    base.delete_ovs_vif_port(BRIDGE, "int-a")
    assert "int-a" not in links()


def test_the_device_may_stay(base: BaseOVS) -> None:
    linux_net.create_tap("tap-a", 1500, MAC)
    base.create_ovs_vif_port(BRIDGE, "tap-a", *IDS)
    base.delete_ovs_vif_port(BRIDGE, "tap-a", delete_netdev=False)
    assert "tap-a" in links()


def test_what_a_port_may_have(ovs: PrivateOvs, base: BaseOVS) -> None:
    base.create_ovs_vif_port(
        BRIDGE, "port-a", *IDS, set_ids=False, vlan_mode="native-tagged", trunks=[3, 4], tag=0
    )
    port = columns(ovs, "Port", "port-a")
    assert (port["vlan_mode"], port["trunks"], port["tag"]) == ("native-tagged", [3, 4], 0)
    assert columns(ovs, "Interface", "port-a")["external_ids"] == {"os-vif": "ovs:facade:port-a"}
    base.create_ovs_vif_port(BRIDGE, "port-b", *IDS, qos_type="linux-noop", datapath_type="netdev")
    assert "qos" not in columns(ovs, "Port", "port-b")
    base.create_ovs_vif_port(
        BRIDGE, "port-c", *IDS, interface_type="dpdk", pf_pci="0000:03:00.0", vf_num="2"
    )
    devargs = {"dpdk-devargs": "0000:03:00.0,representor=[2]"}
    assert columns(ovs, "Interface", "port-c")["options"] == devargs


def test_vhost_user(ovs: PrivateOvs, base: BaseOVS) -> None:
    base.create_ovs_vif_port(BRIDGE, "vhu-a", *IDS, 1400, VHOST, "/run/vhu-a")
    row = columns(ovs, "Interface", "vhu-a")
    assert (row["type"], row["mtu_request"]) == (VHOST, 1400)
    assert row["options"] == {"vhost-server-path": "/run/vhu-a"}
    base.update_ovs_vif_port("vhu-a", 1300, VHOST)
    assert columns(ovs, "Interface", "vhu-a")["mtu_request"] == 1300
    config = ovs.next_cfg()
    base.update_ovs_vif_port("vhu-a", 1300, VHOST)
    base.update_ovs_vif_port("vhu-a", None, VHOST)
    assert ovs.next_cfg() == config
    with base.ovsdb.transaction(check_error=True) as txn:
        base.update_device_mtu(txn, "vhu-a", 1200, VHOST)
    assert columns(ovs, "Interface", "vhu-a")["mtu_request"] == 1200


def test_the_mtu_of_a_kernels_device(ovs: PrivateOvs, base: BaseOVS) -> None:
    linux_net.create_tap("tap-a", 1500, MAC)
    base.create_ovs_vif_port(BRIDGE, "tap-a", *IDS)
    base.update_ovs_vif_port("tap-a", 1400)
    assert links()["tap-a"]["mtu"] == 1400
    with base.ovsdb.transaction(check_error=True) as txn:
        base.update_device_mtu(txn, "tap-a", 1300)
        assert not txn.commands
    assert links()["tap-a"]["mtu"] == 1300


def test_patch_ports(ovs: PrivateOvs, base: BaseOVS) -> None:
    base.ensure_ovs_bridge("br1", "netdev")
    config = ovs.next_cfg()
    base.create_patch_port_pair("br1", "pbp-a", BRIDGE, "ibp-a", *IDS, tag=7)
    assert ovs.next_cfg() == config + 1
    assert columns(ovs, "Interface", "pbp-a")["options"] == {"peer": "ibp-a"}
    inner = columns(ovs, "Interface", "ibp-a")
    assert (inner["type"], inner["options"]) == ("patch", {"peer": "pbp-a"})
    assert inner["external_ids"]["iface-id"] == "iface-1"
    assert columns(ovs, "Port", "ibp-a")["tag"] == 7
    assert "tag" not in columns(ovs, "Port", "pbp-a")
    assert base.port_exists("pbp-a", "br1")
    assert base.port_exists("ibp-a", BRIDGE)


def test_qos(ovs: PrivateOvs, base: BaseOVS) -> None:
    base.create_ovs_vif_port(BRIDGE, "tap-a", *IDS, qos_type="linux-noop")
    (found,) = base.get_qos("tap-a", "linux-noop")
    conditions = ("external_ids", "=", {"_type": "linux-noop"})
    assert base.ovsdb.db_find("QoS", conditions, columns=["_uuid"]).execute() == [found]
    assert not base.get_qos("tap-a", "linux-htb")
    base.delete_qos_if_exists("tap-a", "linux-htb")
    assert ovs.dump()["QoS"]
    base.delete_qos_if_exists("tap-a", "linux-noop")
    assert not ovs.dump()["QoS"]
    config = ovs.next_cfg()
    base.delete_qos_if_exists("tap-a", "linux-noop")
    assert ovs.next_cfg() == config
    ovs.vsctl("set", "Port", "tap-a", "qos=@q", "--", "--id=@q", "create", "QoS", "type=linux-htb")
    base.delete_qos_if_exists("tap-a", "linux-noop")
    assert columns(ovs, "Port", "tap-a")["qos"] == "linux-htb"  # another's


def test_what_is_refused_changes_no_row(ovs: PrivateOvs, base: BaseOVS) -> None:
    ovs.vsctl("add-br", "br1", "--", "add-port", "br1", "tap-b")
    before = snapshot(ovs)
    missing = "OVS bridge br9 is missing"
    for call, error, said in [
        (lambda: base.create_ovs_vif_port("br9", "tap-a", *IDS), errors.Contradiction, missing),
        (
            lambda: base.create_patch_port_pair("br9", "pbp-a", BRIDGE, "ibp-a", *IDS),
            errors.Contradiction,
            missing,
        ),
        (lambda: base.create_ovs_vif_port(BRIDGE, "tap-b", *IDS), errors.Contradiction, "br1"),
        (lambda: base.delete_ovs_vif_port(BRIDGE, "tap-b"), errors.Contradiction, "br1"),
        (
            lambda: base.create_ovs_vif_port(BRIDGE, "tap-a", *IDS, tag=9999),
            errors.TransactionRefused,
            "9999",
        ),
    ]:
        with pytest.raises(error, match=said):
            call()
        assert not difference(before, snapshot(ovs))


@pytest.mark.parametrize("by", ["BaseOVS", "ovsdbapp"])
def test_a_late_vswitchd_is_logged(
    by: str, ovs: PrivateOvs, short: BaseOVS, caplog: pytest.LogCaptureFixture
) -> None:
    ovs.freeze("vswitchd")
    reader = threading.Thread(target=short.ovsdb.br_exists(BRIDGE).execute)
    if by == "BaseOVS":
        short.create_ovs_vif_port(BRIDGE, "tap-a", *IDS)
    else:
        short.ovsdb.add_port(BRIDGE, "tap-a", type="internal").execute(check_error=True)
    reader.start()
    reader.join()
    assert "ovs-vswitchd has not acted" in caplog.text
    assert short.port_exists("tap-a", BRIDGE)


def test_a_frozen_server_does_not_outlive_the_deadline(ovs: PrivateOvs, short: BaseOVS) -> None:
    ovsdb = short.ovsdb
    fresh = context("tcp:127.0.0.1:6640", SHORT)
    ovs.freeze("ovsdb-server")
    for call in (
        lambda: short.create_ovs_vif_port(BRIDGE, "tap-a", *IDS),
        lambda: short.delete_ovs_vif_port(BRIDGE, "tap-a"),
        lambda: short.port_exists("tap-a", BRIDGE),
        lambda: short.get_qos("tap-a", "linux-noop"),
        lambda: short.delete_qos_if_exists("tap-a", "linux-noop"),
        lambda: api.get_instance(fresh),  # not even the first call
    ):
        assert _raised(call, ExceptionBase) < SHORT + GRACE
    for command in (
        ovsdb.add_port(BRIDGE, "int-a", type="internal"),
        ovsdb.br_exists(BRIDGE),
        ovsdb.db_set("Port", BRIDGE, ("tag", 7)),
    ):
        execute = functools.partial(command.execute, check_error=True)
        assert _raised(execute, exceptions.TimeoutException) < SHORT + GRACE
    ovs.thaw("ovsdb-server")
    assert ovsdb.br_exists(BRIDGE).execute(check_error=True)


def _raised(call: Any, expected: type[Exception]) -> float:
    """How many seconds it took to raise."""
    with stopwatch() as lap, pytest.raises(expected):
        call()
    return lap.own


# ovsdbapp's interface ---------------------------------------------------------------------------


def test_it_is_ovsdbapps_interface_by_every_driver(ovs: PrivateOvs, base: BaseOVS) -> None:
    assert isinstance(base.ovsdb, API)
    assert isinstance(base.ovsdb, api.ImplAPI)
    assert base.ovsdb is base.ovsdb
    other = api.get_instance(context(ovs.remote, interface="vsctl"), "any")
    assert BRIDGE in other.list_br().execute(check_error=True)
    assert base.ovsdb.has_table_column("Interface", "mtu_request")
    assert not base.ovsdb.has_table_column("Interface", "colour")
    assert not base.ovsdb.has_table_column("Colours", "name")


def test_a_fork_has_a_connection_of_its_own(base: BaseOVS) -> None:
    """Two processes on one socket would get each other's answers."""
    ovsdb = base.ovsdb
    assert ovsdb.br_exists(BRIDGE).execute(check_error=True)
    ours = ovsdb.idl

    def work() -> list[str]:
        base.ovsdb.add_br("br-child").execute(check_error=True)
        assert base.ovsdb.idl is not ours
        found: list[str] = ovsdb.list_br().execute(check_error=True)
        return sorted(found)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: our point
        child = Child(work)
    with child:
        assert child.result() == sorted([BRIDGE, "br-child"])
    assert ovsdb.br_exists("br-child").execute(check_error=True)
    assert ovsdb.idl is ours


@pytest.mark.parametrize(
    ("remote", "error"), [("unix:/none", errors.NotConnected), ("nowhere", InvalidValue)]
)
def test_nothing_is_connected_before_it_is_asked_for(remote: str, error: type[Exception]) -> None:
    made = base_ovs(remote, SHORT)
    assert _raised(lambda: made.ovsdb, error) < SHORT + GRACE


def test_commands(ovs: PrivateOvs, base: BaseOVS) -> None:
    ovsdb = base.ovsdb
    with ovsdb.transaction(check_error=True) as txn:
        bridge = txn.add(ovsdb.add_br("br1", datapath_type="netdev"))
        txn.add(ovsdb.add_port("br1", "int-a", type="internal"))
        txn.add(ovsdb.db_set("Port", "int-a", ("tag", 7), ("external_ids", {"a": "b"})))
        txn.add(ovsdb.set_fail_mode("br1", "secure"))
    assert bridge.result.name == "br1"
    assert ovsdb.list_ports("br1").execute() == ["int-a"]
    assert ovsdb.db_get("Port", "int-a", "tag").execute() == 7
    assert ovsdb.db_get("Interface", "int-a", "statistics").execute(check_error=True) is not None
    found = ovsdb.db_find("Port", ("external_ids", "=", {"a": "b"}), columns=["name"]).execute()
    assert found == [{"name": "int-a"}]
    assert columns(ovs, "Bridge", "br1")["fail_mode"] == "secure"
    assert ovs.interface("int-a")["ofport"] > 0  # it waits for ovs-vswitchd
    ovsdb.del_br("br1").execute(check_error=True)
    assert not ovsdb.br_exists("br1").execute()


def test_a_change_that_changes_nothing_sends_nothing(ovs: PrivateOvs, base: BaseOVS) -> None:
    config = ovs.next_cfg()
    assert base.ovsdb.add_br(BRIDGE).execute(check_error=True)
    with base.ovsdb.transaction(check_error=True, option_of_a_backend="ignored"):
        pass
    assert ovs.next_cfg() == config


def test_errors_are_raised_if_asked_for(base: BaseOVS, caplog: pytest.LogCaptureFixture) -> None:
    ovsdb = base.ovsdb
    wrong = ovsdb.add_port("br9", "int-a")
    with pytest.raises(idlutils.RowNotFound):
        wrong.execute(check_error=True)
    caplog.clear()
    assert wrong.execute() is None
    assert "br9" in caplog.text
    base.create_ovs_vif_port(BRIDGE, "int-a", *IDS, qos_type="linux-noop")
    (qos,) = base.get_qos("int-a", "linux-noop")
    with pytest.raises(RuntimeError, match="referential integrity"):
        ovsdb.db_destroy("QoS", qos["_uuid"]).execute(check_error=True)
    with pytest.raises(RuntimeError, match="identical values"):
        ovsdb.add_port(BRIDGE, "int-a", may_exist=False).execute(check_error=True)
    caplog.clear()
    wrong.execute(log_errors=False)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert ovsdb.br_exists(BRIDGE).execute(check_error=True)


def test_a_failed_transaction_leaves_nothing(ovs: PrivateOvs, base: BaseOVS) -> None:
    before = snapshot(ovs)
    txn = base.ovsdb.create_transaction(check_error=True)
    for bridge, port in ((BRIDGE, "int-a"), ("br9", "int-b")):
        txn.add(base.ovsdb.add_port(bridge, port, type="internal"))
    with pytest.raises(idlutils.RowNotFound):
        txn.commit()
    assert not difference(before, snapshot(ovs))
    assert not base.ovsdb.list_ports(BRIDGE).execute(check_error=True)


def test_nested_transactions_merge_on_one_object_only(ovs: PrivateOvs, base: BaseOVS) -> None:
    other = api.get_instance(base)
    config = ovs.next_cfg()
    with base.ovsdb.transaction(check_error=True) as outer:
        with base.ovsdb.transaction(check_error=True) as inner:
            assert inner is outer
            inner.add(base.ovsdb.add_port(BRIDGE, "int-a", type="internal"))
        with other.transaction(check_error=True) as separate:
            assert separate is not outer
            separate.add(other.add_port(BRIDGE, "int-b", type="internal"))
        assert other.list_ports(BRIDGE).execute() == ["int-b"]
    assert ovs.next_cfg() == config + 2


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_connections_to_two_servers_and_ovsdbapps_own_do_not_meet(
    first: str, base: BaseOVS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ovsdbapp's hangs on its class, as that of Neutron's agent does."""
    monkeypatch.setattr(OvsdbIdl, "_ovsdb_connection", None)
    if first == "ours":
        assert base.ovsdb.list_br().execute(check_error=True) == [BRIDGE]
    with PrivateOvs("dummy") as other:
        idl = ovs_idl.OvsdbIdl.from_server(other.remote, "Open_vSwitch")
        theirs = OvsdbIdl(ovs_idl.Connection(idl, timeout=AMPLE))
        try:
            theirs.add_br("br-theirs").execute(check_error=True)
            assert base.ovsdb.list_br().execute(check_error=True) == [BRIDGE]
            there = api.get_instance(context(other.remote))
            for one in (theirs, there, api.get_instance(context(other.remote))):
                assert one.list_br().execute(check_error=True) == ["br-theirs"]
            assert base.ovsdb.list_br().execute(check_error=True) == [BRIDGE]
        finally:
            theirs.ovsdb_connection.stop()


def test_what_interrupts_a_transaction_leaves_nothing_of_it(
    ovs: PrivateOvs, base: BaseOVS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the timeout of a greenthread, which is no Exception either."""
    config = ovs.next_cfg()
    command = base.ovsdb.add_br("br1", datapath_type="netdev")
    with monkeypatch.context() as patched:
        patched.setattr(command, "run_idl", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            command.execute()
    assert base.ovsdb.list_br().execute(check_error=True) == [BRIDGE]
    assert ovs.next_cfg() == config
    command.execute(check_error=True)
    assert "br1" in ovs.dump()["Bridge"]


def test_what_was_sent_and_not_answered_is_not_sent_again(ovs: PrivateOvs, base: BaseOVS) -> None:
    """It may have taken effect, and a command need not bear to be run twice."""
    command = base.ovsdb.db_create("QoS", type="linux-noop")
    run_idl = command.run_idl
    frozen = threading.Event()

    def freezing(txn: Any) -> None:
        assert not frozen.is_set()
        run_idl(txn)
        ovs.freeze("ovsdb-server")
        frozen.set()

    with ThreadPoolExecutor(1) as pool, mock.patch.object(command, "run_idl", freezing):
        waiting = pool.submit(command.execute, check_error=True)
        assert frozen.wait(AMPLE)
        with pytest.raises(TimeoutError):
            waiting.result(SHORT / 2)
        ovs.kill("ovsdb-server")
        with within(GRACE), pytest.raises(exceptions.TimeoutException, match="is unknown"):
            waiting.result()
    ovs.start_server()
    assert base.ovsdb.br_exists(BRIDGE).execute(check_error=True)


def test_a_row_that_changes_meanwhile_is_looked_at_again(ovs: PrivateOvs, base: BaseOVS) -> None:
    command = base.ovsdb.db_set("Port", BRIDGE, ("tag", 7))
    run_idl = command.run_idl
    ran: list[Any] = []

    def racing(txn: Any) -> None:
        run_idl(txn)
        base.ovsdb.lookup("Port", BRIDGE).verify("external_ids")
        if not ran:
            ovs.vsctl("set", "Port", BRIDGE, "external_ids:c=d")
        ran.append(txn)

    with mock.patch.object(command, "run_idl", racing):
        command.execute(check_error=True)
    assert len(ran) == 2
    port = columns(ovs, "Port", BRIDGE)
    assert (port["tag"], port["external_ids"]["c"]) == (7, "d")


def test_a_server_that_does_not_tell_its_schema_is_asked(
    ovs: PrivateOvs, base: BaseOVS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Open vSwitch 2.9 a server had no database that tells what its databases are."""
    monkeypatch.setattr(impl_idl, "_schemas", {})
    with connection.get(ovs.remote).synchronized(Deadline(AMPLE)) as tables:
        monkeypatch.setattr(tables, "server_tables", None)
        impl_idl.learn_schema(ovs.remote, Deadline(AMPLE))
    assert base.ovsdb.has_table_column("Interface", "statistics")


def test_many_threads_see_at_once_what_was_written(ovs: PrivateOvs, base: BaseOVS) -> None:
    ovsdb = base.ovsdb

    def work(number: int) -> None:
        for round_ in range(5):
            name = f"int-{number}-{round_}"
            ovsdb.add_port(BRIDGE, name, type="internal").execute(check_error=True)
            assert name in ovsdb.list_ports(BRIDGE).execute(check_error=True)
            base.create_ovs_vif_port(BRIDGE, f"{name}x", *IDS, interface_type="internal")
            assert ovsdb.port_to_br(f"{name}x").execute(check_error=True) == BRIDGE
            assert ovsdb.iface_to_br(f"{name}x").execute(check_error=True) == BRIDGE
            ovsdb.del_port(name).execute(check_error=True)
            assert not base.port_exists(name, BRIDGE)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(ovs.dump()["Bridge"][BRIDGE]["ports"]) == 1 + 6 * 5


def test_a_server_that_is_being_restarted_is_waited_for(
    ovs: PrivateOvs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question of a process is no worse off than those after it."""
    monkeypatch.setattr(impl_idl, "_schemas", {})
    fresh = context("tcp:127.0.0.1:6640", AMPLE)
    ovs.kill("ovsdb-server")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get_instance, fresh)
        with pytest.raises(TimeoutError):
            waiting.result(SHORT)
        ovs.start_server()
        with within(GRACE):
            assert not waiting.result().br_exists(BRIDGE).execute(check_error=True)


def test_many_open_files_are_no_obstacle(
    ovs: PrivateOvs, base: BaseOVS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to the first question, which fetches the schema, nor to those after it."""
    monkeypatch.setattr(impl_idl, "_schemas", {})
    with many_open_files():
        connection.close_all()
        base.ovsdb.add_br("br1", datapath_type="netdev").execute(check_error=True)
        assert set(base.ovsdb.list_br().execute(check_error=True)) == {BRIDGE, "br1"}


def test_a_device_that_cannot_be_opened_is_logged_by_a_command(
    base: BaseOVS, caplog: pytest.LogCaptureFixture
) -> None:
    """ovs-vswitchd says -1, which ovsdbapp's own transaction takes for a number of a port."""
    base.ovsdb.add_port(BRIDGE, "missing0").execute(check_error=True)
    assert "Failed to add interfaces: missing0" in caplog.text


def test_a_server_that_was_restarted_is_found_again(ovs: PrivateOvs, base: BaseOVS) -> None:
    assert base.ovsdb.br_exists(BRIDGE).execute(check_error=True)
    ovs.lose_database()
    assert not base.ovsdb.br_exists(BRIDGE).execute(check_error=True)
    base.ovsdb.add_br("br1", datapath_type="netdev").execute(check_error=True)
    assert base.ovsdb.list_br().execute() == ["br1"]
