# SPDX-License-Identifier: Apache-2.0
"""vhost-user ports: with DPDK they work, without it the refusal is reported and taken back."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from os_vif import exception
from tests import vifs
from tests.rig import kept, wait_until
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import VHOST_CLIENT, VHOST_SERVER, Kind, OsVif, deviations, initialized, of
from tests.rig.snapshot import difference, snapshot

REFUSAL = "Address family not supported by protocol"


kinds = of(VHOST_CLIENT, VHOST_SERVER)


@pytest.fixture
def osvif_dpdk(ovs_dpdk: PrivateOvs) -> Iterator[OsVif]:
    with initialized(ovs_dpdk.remote) as verbs:
        yield verbs


def add_bridge(ovs: PrivateOvs) -> None:
    ovs.vsctl("add-br", vifs.BRIDGE, "--", "set", "Bridge", vifs.BRIDGE, "datapath_type=netdev")


@pytest.mark.bug(1959586)
@kinds
def test_dpdk_takes_the_port_with_its_mtu(
    osvif_dpdk: OsVif, ovs_dpdk: PrivateOvs, kind: Kind
) -> None:
    """In one transaction: DPDK takes the memory pool of the MTU that it sees first."""
    add_bridge(ovs_dpdk)
    before, written = snapshot(ovs_dpdk), ovs_dpdk.next_cfg()
    osvif_dpdk.plug(kind.vif())
    assert deviations(ovs_dpdk, kind) == []
    assert ovs_dpdk.interface(kind.port())["ofport"] > 0
    assert ovs_dpdk.next_cfg() == written + 1
    assert osvif_dpdk.privileged_calls == []
    osvif_dpdk.plug(kind.vif())
    assert ovs_dpdk.next_cfg() == written + 1
    osvif_dpdk.unplug(kind.vif())
    assert not difference(before, snapshot(ovs_dpdk))


@kinds
def test_without_dpdk_plug_fails_with_vswitchds_words_and_is_rolled_back(
    osvif: OsVif, ovs: PrivateOvs, br_int: str, kind: Kind
) -> None:
    before = snapshot(ovs)
    with pytest.raises(exception.PlugException, match=REFUSAL):
        osvif.plug(kind.vif())
    assert not difference(before, snapshot(ovs))


def test_where_the_check_is_off_the_refusal_is_a_warning_and_the_rows_stay(
    osvif: OsVif, ovs: PrivateOvs, br_int: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = snapshot(ovs)
    osvif.configure(verify_interface=False)
    osvif.plug(VHOST_SERVER.vif())
    assert REFUSAL in caplog.text
    assert ovs.interface(vifs.device("vhu"))["error"].endswith(f"({REFUSAL})")
    osvif.unplug(VHOST_SERVER.vif())
    assert not difference(before, snapshot(ovs))


@contextmanager
def guest(socket: Path) -> Iterator[None]:
    """QEMU, whose firmware drives the interface while it looks for something to boot."""
    memory = "memory-backend-memfd,id=m,size=128M,share=on"
    command = [
        "qemu-system-x86_64", "-accel", "tcg", "-m", "128", "-boot", "n", "-display", "none",
        "-serial", "none", "-monitor", "none", "-object", memory, "-numa", "node,memdev=m",
        "-chardev", f"socket,id=c,path={socket},server=on,wait=off",
        "-netdev", "vhost-user,id=n,chardev=c", "-device", "virtio-net-pci,netdev=n",
    ]  # fmt: skip
    process = subprocess.Popen(kept(command), stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_port_whose_peer_is_connected_is_not_replaced(
    osvif_dpdk: OsVif, ovs_dpdk: PrivateOvs, tmp_path: Path
) -> None:
    """Another VIF of the same name is refused while the guest runs, and takes over afterwards."""
    add_bridge(ovs_dpdk)
    socket, device = tmp_path / "vhu", vifs.device("vhu")
    other = vifs.vif_vhost_user(2, vif_name=device, path=str(socket))
    osvif_dpdk.plug(vifs.vif_vhost_user(path=str(socket)))

    def status() -> str:
        return str(ovs_dpdk.interface(device)["status"].get("status"))

    with guest(socket):
        wait_until(lambda: status() == "connected", 60, "the peer to connect")
        before = snapshot(ovs_dpdk)
        with pytest.raises(exception.PlugException, match="in use"):
            osvif_dpdk.plug(other, 2)
        assert not difference(before, snapshot(ovs_dpdk))
        osvif_dpdk.unplug(other, 2)
        assert not difference(before, snapshot(ovs_dpdk))
    # A running one does not always write that a peer has gone: seen on a busy machine.
    ovs_dpdk.kill("vswitchd")
    ovs_dpdk.start_vswitchd()
    wait_until(lambda: status() == "disconnected", 60, "the peer to be missed")
    osvif_dpdk.plug(other, 2)
    ids = ovs_dpdk.interface(device)["external_ids"]
    assert (ids["iface-id"], ids["attached-mac"]) == (vifs.interface_id(2), vifs.mac(2))


def test_a_missing_bridge_is_made_in_user_space(osvif_dpdk: OsVif, ovs_dpdk: PrivateOvs) -> None:
    vif = vifs.vif_vhost_user(unset="profile.datapath_type")
    osvif_dpdk.plug(vif)
    assert ovs_dpdk.dump()["Bridge"][vifs.BRIDGE]["datapath_type"] == "netdev"
