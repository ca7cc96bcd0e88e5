# SPDX-License-Identifier: Apache-2.0
"""vhost-user ports: with DPDK they work, without it the refusal is reported and taken back."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from os_vif import exception
from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.rig import kept, wait_until
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import OsVif, initialized
from tests.rig.snapshot import difference, snapshot

REFUSAL = "Address family not supported by protocol"


def client() -> VIFBase:
    """The guest connects to a socket that ovs-vswitchd makes."""
    return vifs.vif_vhost_user(mode="client", unset="path")


def server() -> VIFBase:
    """ovs-vswitchd connects to a socket that the guest makes, as often as it takes."""
    return vifs.vif_vhost_user(mode="server", path="/run/guest.sock")


@pytest.fixture
def osvif_dpdk(ovs_dpdk: PrivateOvs) -> Iterator[OsVif]:
    with initialized(ovs_dpdk.remote) as verbs:
        yield verbs


@pytest.mark.parametrize(
    ("vif", "interface_type", "options"),
    [
        (client(), "dpdkvhostuser", {}),
        (server(), "dpdkvhostuserclient", {"vhost-server-path": "/run/guest.sock"}),
    ],
    ids=["client", "server"],
)
def test_dpdk_takes_the_port_with_its_mtu(
    osvif_dpdk: OsVif,
    ovs_dpdk: PrivateOvs,
    vif: VIFBase,
    interface_type: str,
    options: dict[str, str],
) -> None:
    ovs_dpdk.vsctl(
        "add-br", vifs.BRIDGE, "--", "set", "Bridge", vifs.BRIDGE, "datapath_type=netdev"
    )
    before, written = snapshot(ovs_dpdk), ovs_dpdk.next_cfg()
    osvif_dpdk.plug(vif)
    row = ovs_dpdk.interface(vifs.device("vhu"))
    assert row["ofport"] > 0
    assert (row["type"], row["options"], row["mtu_request"]) == (interface_type, options, 1450)
    assert ovs_dpdk.next_cfg() == written + 1
    assert osvif_dpdk.privileged_calls == []
    osvif_dpdk.plug(vif)
    assert ovs_dpdk.next_cfg() == written + 1
    osvif_dpdk.unplug(vif)
    assert not difference(before, snapshot(ovs_dpdk))


@pytest.mark.parametrize("vif", [client(), server()], ids=["client", "server"])
def test_without_dpdk_plug_fails_with_vswitchds_words_and_is_rolled_back(
    osvif: OsVif, ovs: PrivateOvs, br_int: str, vif: VIFBase
) -> None:
    before = snapshot(ovs)
    with pytest.raises(exception.PlugException, match=REFUSAL):
        osvif.plug(vif)
    assert not difference(before, snapshot(ovs))


def test_where_the_check_is_off_the_refusal_is_a_warning_and_the_rows_stay(
    osvif: OsVif, ovs: PrivateOvs, br_int: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = snapshot(ovs)
    osvif.configure(verify_interface=False)
    osvif.plug(server())
    assert REFUSAL in caplog.text
    row = ovs.interface(vifs.device("vhu"))
    assert row["error"].endswith(f"({REFUSAL})")
    osvif.unplug(server())
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
    ovs_dpdk.vsctl(
        "add-br", vifs.BRIDGE, "--", "set", "Bridge", vifs.BRIDGE, "datapath_type=netdev"
    )
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
