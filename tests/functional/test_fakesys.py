# SPDX-License-Identifier: Apache-2.0
"""A synthetic /sys beside a real kernel: taps that /sys takes for representors."""

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from os_vif.kernel import observe, sysfs
from tests.rig import run
from tests.rig.fakesys import Unsupported, make_tap, mlx5, mounted
from tests.rig.namespace import NetworkNamespace, private_network
from tests.rig.ovs import PrivateOvs
from vif_plug_ovs import representors
from vif_plug_ovs.exception import RepresentorNotFound
from vif_plug_ovs.representors import Representor

ROOT = Path(__file__).parents[2]
PF, VF0, VF1 = "0000:03:00.0", "0000:03:00.2", "0000:03:00.3"
TAPS = ("enpf0", "pf0vf0", "pf0vf1")


@pytest.mark.parametrize("beside", [True, False], ids=["since 5.8", "before 5.8"])
@pytest.mark.parametrize("unsupported", Unsupported)
def test_a_real_tap_is_the_representor_of_a_vf(
    netns: NetworkNamespace, beside: bool, unsupported: Unsupported
) -> None:
    with mounted(mlx5(beside=beside), TAPS, unsupported):
        assert representors.look_up(VF1) == Representor("pf0vf1", PF, 1, "enpf0")
        assert observe.links(["pf0vf1"])["pf0vf1"].kind == "tun"
        ifindex = Path("/sys/class/net/pf0vf1/ifindex").read_text()
        assert int(ifindex) == socket.if_nametoindex("pf0vf1")
        run(["ip", "link", "set", "pf0vf1", "mtu", "1400"])
        assert Path("/sys/class/net/pf0vf1/mtu").read_text() == "1400\n"


@pytest.mark.parametrize("beside", [True, False], ids=["since 5.8", "before 5.8"])
def test_the_other_devices_are_as_they_were(netns: NetworkNamespace, beside: bool) -> None:
    make_tap("other")
    before = {one.name: one for one in sysfs.netdevs()}
    pci = set(os.listdir("/sys/bus/pci/devices"))
    with mounted(mlx5(beside=beside), TAPS):
        after = {one.name: one for one in sysfs.netdevs()}
        assert set(after) == {"lo", "other", *TAPS}
        assert {name: after[name] for name in before} == before
        assert Path("/sys/class/net/other").readlink() == Path("../../devices/virtual/net/other")
        assert int(Path("/sys/class/net/lo/ifindex").read_text()) == 1
        assert set(os.listdir("/sys/bus/pci/devices")) == pci | {PF, VF0, VF1}
        assert all(Path("/sys/bus/pci/devices", one, "vendor").exists() for one in pci)
        places = {one: os.path.realpath(f"/sys/class/net/{one}/..") for one in TAPS}
        assert os.path.basename(os.path.dirname(places["enpf0"])) == PF
        assert (places["enpf0"] == places["pf0vf0"]) is beside
    assert {one.name for one in sysfs.netdevs()} == {*before, *TAPS}
    assert not Path("/sys/bus/pci/devices", PF).exists()


def test_the_tree_is_taken_away_after_an_error(netns: NetworkNamespace) -> None:
    with pytest.raises(ZeroDivisionError), mounted(mlx5(), TAPS):
        raise ZeroDivisionError
    assert not Path("/sys/.real").exists()
    assert Path("/sys/class/net/pf0vf0").exists()
    with mounted(mlx5()):
        assert representors.look_up(VF0).device == "pf0vf0"


def test_a_representor_can_vanish(netns: NetworkNamespace) -> None:
    with mounted(mlx5(beside=False), TAPS) as fake:
        run(["ip", "link", "delete", "pf0vf0"])
        fake.remove("pf0vf0")
        assert representors.look_up(VF1).device == "pf0vf1"
        with pytest.raises(RepresentorNotFound):
            representors.look_up(VF0)


def test_programs_and_threads_that_are_started_inside_see_the_tree(
    netns: NetworkNamespace,
) -> None:
    say = f"from vif_plug_ovs import representors; print(representors.look_up('{VF0}').device)"
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(representors.look_up(VF0).device))
    with mounted(mlx5(), TAPS):
        assert run([sys.executable, "-c", say], cwd=ROOT).stdout == "pf0vf0\n"
        thread.start()
        thread.join()
    assert seen == ["pf0vf0"]


def test_nothing_is_seen_of_it_outside() -> None:
    def mounts() -> str:
        return run(["cat", "/proc/self/mounts"]).stdout

    before = mounts()
    inside, go_on = threading.Event(), threading.Event()

    def mount() -> None:
        with private_network(), mounted(mlx5(), TAPS):
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=mount)
    thread.start()
    try:
        assert inside.wait(10)
        assert mounts() == before
        assert not Path("/sys/bus/pci/devices", PF).exists()
    finally:
        go_on.set()
        thread.join()
    assert mounts() == before


def test_the_mount_namespace_of_pid_1_is_refused() -> None:
    program = "from tests.rig.fakesys import Host, mounted\nwith mounted(Host()): pass"
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    refused = run(argv, check=False, cwd=ROOT)
    assert "private mount namespace only" in refused.stderr


def test_a_representor_is_a_port_of_a_real_bridge(ovs: PrivateOvs) -> None:
    ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    with mounted(mlx5(), TAPS):
        device = representors.look_up(VF0).device
        ovs.vsctl("add-port", "br-int", device)
        assert ovs.interface(device)["ofport"] == 1
        assert not ovs.interface(device)["error"]
