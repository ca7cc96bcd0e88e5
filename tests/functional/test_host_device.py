# SPDX-License-Identifier: Apache-2.0
"""VIFHostDevice from end to end: cards of a synthetic /sys, taps for their representors.

The taps are real, so vswitchd opens them. The bridge is there before and of type ``netdev``,
because the kernel may have no other; the profile's ``system`` chooses the kernel's representor.
"""

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from os_vif import exception
from os_vif.objects import vif as vif_objects
from os_vif.wiring import errors
from tests import vifs
from tests.rig import run, wait_until
from tests.rig.fakesys import FakeSys, Host, make_tap, mlx5, mounted
from tests.rig.namespace import private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import GROUP, Kind, OsVif, Port, deviations, filled, initialized
from tests.rig.snapshot import difference, snapshot
from tests.unit.ovs.test_representors import TOPOLOGIES, Topology, address_of
from vif_plug_ovs import representors
from vif_plug_ovs.exception import (
    AmbiguousRepresentor,
    NotVirtualFunction,
    PciDeviceNotFoundById,
    RepresentorNotFound,
)
from vif_plug_ovs.shapes.names import qos_id

PF, VF0, VF1 = "0000:03:00.0", "0000:03:00.2", "0000:03:00.3"
PCI = Path("/sys/bus/pci/devices")
SYSTEM = {"datapath_type": "system"}
OTHER = {"interface_id": vifs.interface_id(2)}
REPRESENTOR = Kind("representor", vifs.vif_host_device, "representor")
MARK = {"os-vif": REPRESENTOR.mark_of()}
#: Devices that are there in any case.
REAL = {"lo", vifs.BRIDGE}
#: A link group for the taps, so that they go with one request.
TAPS = "77"


@dataclass
class World:
    """A host with one bridge; each test leaves it as it was."""

    ovs: PrivateOvs
    osvif: OsVif

    def written(self) -> tuple[int, int]:
        """How much was written to OVSDB, and asked of the privileged side."""
        return self.ovs.next_cfg(), len(self.osvif.privileged_calls)

    @contextmanager
    def card(self, host: Host, missing: str = "") -> Iterator[FakeSys]:
        """Let /sys show a host whose devices are taps.

        :param missing: one that only /sys shows.
        """
        taps = [one.name for one in host.devices if one.name not in {*REAL, missing}]
        try:
            for name in taps:
                make_tap(name)
                run(["ip", "link", "set", "dev", name, "group", TAPS])
            with mounted(host) as fake:
                yield fake
        finally:
            self._clean()

    def _clean(self) -> None:
        for port in self.ovs.vsctl("list-ports", vifs.BRIDGE).split():
            self.ovs.vsctl("del-port", port)
        self.ovs.vsctl("--all", "destroy", "QoS")
        run(["ip", "link", "delete", "group", TAPS], check=False)

    def refuses(
        self, vif: vif_objects.VIFBase, cause: type[Exception], written: int = 0
    ) -> exception.PlugException:
        """Assert that a plug fails for that very reason and leaves nothing, and return why.

        :param written: how many transactions it takes to find out.
        """
        before, (cfg, calls) = snapshot(self.ovs), self.written()
        with pytest.raises(exception.PlugException) as failure:
            self.osvif.plug(vif)
        assert self.written() == (cfg + written, calls)
        self.ovs.catch_up()
        assert type(failure.value.__cause__) is cause
        assert not difference(before, snapshot(self.ovs))
        return failure.value


@contextmanager
def world_of(datapath: Any) -> Iterator[World]:
    with (
        private_network(),
        PrivateOvs(datapath) as ovs,
        initialized(ovs.remote) as osvif,
    ):
        ovs.vsctl(
            "add-br", vifs.BRIDGE, "--",
            "set", "Bridge", vifs.BRIDGE, "datapath_type=netdev",
            "other_config:hwaddr=02:00:00:00:00:01", "--",
            # Else vswitchd gives the bridge's device the least MTU of its ports.
            "set", "Interface", vifs.BRIDGE, "mtu_request=1500",
        )  # fmt: skip
        yield World(ovs, osvif)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A vswitchd without DPDK."""
    with world_of("netdev") as made:
        yield made


@pytest.fixture(scope="module")
def dpdk() -> Iterator[World]:
    """A vswitchd with DPDK, and no card for it."""
    with world_of("dpdk") as made:
        yield made


@pytest.fixture(autouse=True)
def _options() -> Iterator[None]:
    yield
    for option in ("verify_interface", "ovsdb_interface"):
        cfg.CONF.clear_override(option, group=GROUP)


def vif_of(pci: str, datapath: str = "system", **overrides: Any) -> vif_objects.VIFHostDevice:
    """A VF whose representor is a device of the kernel."""
    profile = {"datapath_type": datapath, **overrides.pop("profile", {})}
    return REPRESENTOR.vif(dev_address=pci, profile=profile, **overrides)


#: A VF whose representor DPDK drives.
vif_of_dpdk = partial(vif_of, datapath="netdev")


# The kernel's representors ----------------------------------------------------------------------


@pytest.mark.bug(1892132)
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_on_every_card_the_right_representor_or_none_is_plugged(world: World, name: str) -> None:
    topology = TOPOLOGIES[name]
    with world.card(topology.host):
        for (pf, number), answer in topology.answers.items():
            vif = vif_of(address_of(topology.host, pf, number))
            if isinstance(answer, str):
                assert_plugged_and_unplugged(world, vif, answer)
            else:
                assert_not_found(world, vif, topology, answer)


def test_the_deprecated_driver_plugs_representors_too(world: World) -> None:
    world.osvif.configure(ovsdb_interface="vsctl")
    with world.card(mlx5()):
        device = representors.look_up(VF0).device
        assert_plugged_and_unplugged(world, vif_of(VF0), device)


def assert_plugged_and_unplugged(
    world: World, vif: vif_objects.VIFHostDevice, device: str
) -> None:
    ovs, osvif = world.ovs, world.osvif
    before, (cfg_before, calls) = snapshot(ovs), world.written()
    osvif.plug(vif)
    assert world.written() == (cfg_before + 1, calls + 1)
    dump = ovs.dump()
    assert device in dump["Bridge"][vifs.BRIDGE]["ports"]
    row = {"name": device, "interfaces": [device], "qos": qos_id(device)}
    assert filled(dump["Port"][device]) == {**row, "external_ids": MARK}
    ids = {**REPRESENTOR.external_ids(), **MARK}
    assert filled(dump["Interface"][device]) == {"name": device, "external_ids": ids}
    assert ovs.interface(device)["ofport"] > 0
    plugged = snapshot(ovs)
    # Up, of the right MTU and (by vswitchd) promiscuous: as it was in all the rest, and so are
    # all other devices.
    changed = {"up": True, "mtu": vifs.MTU, "promisc": True}
    assert plugged["links"] == {
        **before["links"],
        device: {**before["links"][device], **changed},
    }
    assert plugged["links"][device]["alias"] is None

    written = world.written()
    osvif.plug(vif)
    assert world.written() == written
    assert not difference(plugged, snapshot(ovs))

    osvif.unplug(vif)
    assert world.written() == (cfg_before + 2, calls + 2)
    after = snapshot(ovs)
    down = {**before["links"][device], "mtu": vifs.MTU}
    assert after["links"] == {**before["links"], device: down}
    assert not difference(before["ovs"], after["ovs"])

    written = world.written()
    osvif.unplug(vif)
    assert world.written() == written
    assert not difference(after, snapshot(ovs))
    run(["ip", "link", "set", "dev", device, "mtu", "1500"])


def assert_not_found(
    world: World,
    vif: vif_objects.VIFHostDevice,
    topology: Topology,
    answer: type[RepresentorNotFound],
) -> None:
    failure = world.refuses(vif, answer)
    candidates = getattr(failure.__cause__, "kwargs", {}).get("candidates", "")
    assert (answer is AmbiguousRepresentor) == bool(candidates)
    assert all(name in str(failure) for name in candidates.split(", "))
    before, written = snapshot(world.ovs), world.written()
    world.osvif.unplug(vif)
    assert world.written() == written
    assert not difference(before, snapshot(world.ovs))


def test_two_vfs_are_two_ports(world: World) -> None:
    with world.card(mlx5()):
        world.osvif.plug(vif_of(VF0))
        second = vif_of(VF1, id=vifs.vif_id(2), address=vifs.mac(2), profile=OTHER)
        world.osvif.plug(second, 2)
        before = snapshot(world.ovs)
        world.osvif.unplug(vif_of(VF0))
        left = difference(before, snapshot(world.ovs)).splitlines()
        assert left
        assert [line for line in left if "/pf0vf1" in line] == []
        assert world.ovs.vsctl("list-ports", vifs.BRIDGE) == "pf0vf1"


@pytest.mark.parametrize("change", [["down"], ["mtu", "1280"]], ids=["down", "mtu"])
def test_a_representor_that_was_changed_is_corrected(world: World, change: list[str]) -> None:
    with world.card(mlx5()):
        world.osvif.plug(vif_of(VF0))
        plugged, (cfg_before, calls) = snapshot(world.ovs), world.written()
        run(["ip", "link", "set", "pf0vf0", *change])
        world.osvif.plug(vif_of(VF0))
        assert not difference(plugged, snapshot(world.ovs))
        assert world.written() == (cfg_before, calls + 1)


def test_the_alias_and_the_mac_of_a_representor_are_the_drivers(world: World) -> None:
    with world.card(mlx5()):
        run(["ip", "link", "set", "pf0vf0", "alias", "ours", "address", "02:00:00:00:00:aa"])
        world.osvif.plug(vif_of(VF0))
        for verb in (world.osvif.plug, world.osvif.unplug):
            verb(vif_of(VF0))
            now = snapshot()["links"]["pf0vf0"]
            assert (now["alias"], now["mac"]) == ("ours", "02:00:00:00:00:aa")


def test_a_representor_that_vanished_from_the_kernel_is_named(world: World) -> None:
    with world.card(mlx5(), missing="pf0vf0"):
        failure = world.refuses(vif_of(VF0), errors.Contradiction)
        assert "link pf0vf0 is missing" in str(failure)


def test_a_refusal_of_vswitchd_is_rolled_back(world: World) -> None:
    """``ovs-netdev`` is a reserved name; the representor is as before."""
    devices = tuple(
        replace(one, name={"pf0vf0": "ovs-netdev"}.get(one.name, one.name))
        for one in mlx5().devices
    )
    host = Host(mlx5().functions, devices)
    with world.card(host, missing="ovs-netdev"):
        before = snapshot(world.ovs)
        with pytest.raises(exception.PlugException) as failure:
            world.osvif.plug(vif_of(VF0))
        assert isinstance(failure.value.__cause__, errors.NotAsDescribed)
        world.ovs.catch_up()
        assert not difference(before, snapshot(world.ovs))


def test_a_representor_is_set_down_when_vswitchd_has_let_go_of_it(world: World) -> None:
    """vswitchd takes back its promiscuous mode by reading the flags and writing them: whoever
    sets the device down in between finds it up again. (With all in one go it is a race.)"""
    ovs, osvif = world.ovs, world.osvif
    called, early = threading.Event(), []

    def note() -> None:
        early.append(ovs.cur_cfg() != ovs.next_cfg())
        called.set()

    def thaw() -> None:
        try:
            wait_until(lambda: "pf0vf0" not in ovs.dump()["Port"], what="the row to go")
            called.wait(0.2)  # long enough for a verb that does not wait for vswitchd
        finally:
            ovs.thaw("vswitchd")

    with world.card(mlx5()), ThreadPoolExecutor(1) as pool:
        osvif.plug(vif_of(VF0))
        ovs.freeze("vswitchd")
        osvif.once_before_links(note)
        thawing = pool.submit(thaw)
        osvif.unplug(vif_of(VF0))
        thawing.result()
        assert early == [False]
        assert snapshot()["links"]["pf0vf0"]["up"] is False


# A VF that is gone ------------------------------------------------------------------------------


@pytest.mark.parametrize("representor", ["stays", "goes"])
@pytest.mark.parametrize("vf", ["gone", "unreadable"])
def test_the_port_of_a_vf_that_is_gone_is_found_by_its_iface_id(
    world: World, vf: str, representor: str
) -> None:
    with world.card(mlx5()) as fake:
        before = snapshot(world.ovs)
        world.osvif.plug(vif_of(VF0))
        if vf == "unreadable":
            loop(PCI / VF0)
        else:
            (PCI / VF0).unlink()
            (PCI / PF / "virtfn0").unlink()
        if representor == "goes":
            run(["ip", "link", "delete", "pf0vf0"])
            fake.remove("pf0vf0")
        world.osvif.unplug(vif_of(VF0, unset="address"))
        assert not difference(before["ovs"], world.ovs.dump())
        now = snapshot()["links"]
        if representor == "stays":
            assert not now["pf0vf0"]["up"]
        written = world.written()
        world.osvif.unplug(vif_of(VF0))
        assert world.written() == written
        assert set(now) == set(before["links"]) - ({"pf0vf0"} if representor == "goes" else set())


def test_a_port_with_another_iface_id_is_left_when_the_vf_is_gone(world: World) -> None:
    with world.card(mlx5()):
        world.osvif.plug(vif_of(VF0))
        (PCI / VF0).unlink()
        plugged = snapshot(world.ovs)
        vif = vif_of(VF0, id=vifs.vif_id(2), address=vifs.mac(2), profile=OTHER)
        world.osvif.unplug(vif)
        assert not difference(plugged, snapshot(world.ovs))


# Which address, which name ----------------------------------------------------------------------


def offload(**fields: Any) -> dict[str, Any]:
    return {"datapath_offload": vif_objects.DatapathOffloadRepresentor(**fields)}


def from_offload(**fields: Any) -> dict[str, Any]:
    return {"profile": {**SYSTEM, **offload(**fields)}}


def from_old_profile(**fields: Any) -> dict[str, Any]:
    ids = {"interface_id": vifs.interface_id(), **SYSTEM}
    return {"profile": vif_objects.VIFPortProfileOVSRepresentor(**ids, **fields)}


@pytest.mark.parametrize("place", [from_offload, from_old_profile])
@pytest.mark.parametrize("name", ["nicdeadbeef-00", "pf0vf0", "enpf0"])
def test_the_representors_address_goes_before_the_devices_and_its_name_says_nothing(
    world: World, place: Callable[..., dict[str, Any]], name: str
) -> None:
    """Nova makes a name up that no device has, and might hit upon one that another has."""
    fields = place(representor_address=VF1, representor_name=name)
    vif = vifs.vif_host_device(dev_address=VF0, **fields)
    with world.card(mlx5()):
        names = set(snapshot()["links"])
        for verb, ports in ((world.osvif.plug, "pf0vf1"), (world.osvif.unplug, "")):
            verb(vif)
            assert world.ovs.vsctl("list-ports", vifs.BRIDGE) == ports
            assert set(snapshot()["links"]) == names


# The representors of DPDK -----------------------------------------------------------------------


def dpdk_kind(pf: str, number: int) -> Kind:
    """What becomes of a representor that DPDK drives."""
    options = {"dpdk-devargs": f"{pf},representor=[{number}]"}
    interface = {"type": "dpdk", "options": options, "mtu_request": vifs.MTU}
    return replace(REPRESENTOR, ports={"vfr": Port(interface=interface)})


@pytest.mark.parametrize(
    ("host", "address", "pf", "number"),
    [
        (mlx5(), VF0, PF, 0),
        (mlx5(vfs=12), "0000:03:01.5", PF, 11),
        (mlx5(functions=(0, 1)), "0000:03:08.3", "0000:03:00.1", 1),
        (mlx5("10000:01:00"), "10000:01:00.3", "10000:01:00.0", 1),
    ],
    ids=["vf0", "vf11", "second-pf", "vmd"],
)
@pytest.mark.parametrize("driver", ["native", "vsctl"])
def test_dpdk_gets_the_pf_and_the_number(
    world: World, host: Host, address: str, pf: str, number: int, driver: str
) -> None:
    """DPDK has taken the PF: there may be no device of the kernel at all."""
    ovs, osvif = world.ovs, world.osvif
    osvif.configure(verify_interface=False, ovsdb_interface=driver)
    with world.card(Host(host.functions)):
        before, (cfg_before, calls) = snapshot(ovs), world.written()
        osvif.plug(vif_of_dpdk(address))
        assert deviations(ovs, dpdk_kind(pf, number)) == []
        assert ovs.dump()["QoS"] == {}
        assert world.written() == (cfg_before + 1, calls)
        osvif.plug(vif_of_dpdk(address))
        assert world.written() == (cfg_before + 1, calls)
        osvif.unplug(vif_of_dpdk(address))
        assert not difference(before, snapshot(ovs))
        osvif.unplug(vif_of_dpdk(address))
        assert world.written() == (cfg_before + 2, calls)


def test_unplug_of_a_dpdk_port_whose_vf_is_gone(world: World) -> None:
    world.osvif.configure(verify_interface=False)
    with world.card(Host(mlx5().functions)):
        before = snapshot(world.ovs)
        world.osvif.plug(vif_of_dpdk(VF0))
        (PCI / VF0).unlink()
        world.osvif.unplug(vif_of_dpdk(VF0))
        assert not difference(before, snapshot(world.ovs))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("world", "Address family not supported by protocol"),
        ("dpdk", f"Error attaching device '{PF},representor=[0]' to DPDK"),
    ],
    ids=["without-dpdk", "with-dpdk"],
)
def test_a_refused_dpdk_port_is_an_error_in_vswitchds_words_and_is_rolled_back(
    request: pytest.FixtureRequest, made: str, words: str
) -> None:
    world: World = request.getfixturevalue(made)
    with world.card(Host(mlx5().functions)):
        # One transaction to make the port, one to take it back.
        failure = world.refuses(vif_of_dpdk(VF0), errors.NotAsDescribed, written=2)
        assert words in str(failure)
        assert vifs.device("vfr") in str(failure)


# What /sys does not say -------------------------------------------------------------------------

both_datapaths = pytest.mark.parametrize("make", [vif_of, vif_of_dpdk], ids=["system", "netdev"])


@both_datapaths
@pytest.mark.parametrize(
    ("pci", "fields", "cause", "said"),
    [
        ("0000:ff:00.2", {}, PciDeviceNotFoundById, "no PCI device 0000:ff:00.2"),
        (PF, {}, NotVirtualFunction, f"{PF} is not a virtual function"),
        (VF0, {"unset": "dev_address"}, exception.InvalidValue, "vif.dev_address"),
        (
            VF0,
            {"profile": offload(representor_address="../" + VF0)},
            exception.InvalidValue,
            f"'../{VF0}'",
        ),
    ],
    ids=["no-device", "no-vf", "no-address", "path"],
)
def test_an_address_that_is_no_vfs_is_refused(
    world: World,
    make: Callable[..., Any],
    pci: str,
    fields: dict[str, Any],
    cause: type[Exception],
    said: str,
) -> None:
    with world.card(mlx5()):
        assert said in str(world.refuses(make(pci, **fields), cause))


def loop(path: Path) -> None:
    """A link to itself: the one thing that not even root may look into."""
    path.unlink()
    path.symlink_to(path.name)


@both_datapaths
@pytest.mark.parametrize("function", [VF0, PF], ids=["vf", "pf"])
def test_what_the_kernel_refuses_to_say_leaves_plug_as_its_error(
    world: World, make: Callable[..., Any], function: str
) -> None:
    with world.card(mlx5()):
        loop(PCI / function)
        failure = world.refuses(make(VF0), OSError)
        assert isinstance(failure.__cause__, OSError)
        assert failure.__cause__.errno == errno.ELOOP
        assert function in str(failure)
