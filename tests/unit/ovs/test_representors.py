# SPDX-License-Identifier: Apache-2.0
"""The right representor, or none, on every kind of card, kernel and listing order."""

import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.exception import InvalidValue
from os_vif.kernel import sysfs
from os_vif.kernel.sysfs import Netdev
from tests.rig.fakesys import (
    Device,
    Function,
    Host,
    Unsupported,
    mlx5,
    sriov,
    switch,
    write,
)
from vif_plug_ovs import representors
from vif_plug_ovs.exception import (
    AmbiguousRepresentor,
    NoInterfaceOfPciDevice,
    NotVirtualFunction,
    PciDeviceNotFoundById,
    RepresentorNotFound,
)
from vif_plug_ovs.representors import Representor, VfPort, VirtualFunction

PF0, PF1, OTHER = "0000:03:00.0", "0000:03:00.1", "0000:83:00.0"
PF3 = "0000:03:00.3"
VMD = "10000:01:00.0"
ABSENT = RepresentorNotFound  # itself, not a subclass of it
AMBIGUOUS = AmbiguousRepresentor
SWITCH = "7c1a2b0003a2b1c4"

Answer = str | type[RepresentorNotFound]


@dataclass(frozen=True)
class Topology:
    """A host and what is to be found on it.

    :param pfs: PF -> the name of its uplink, then those of the representors of its VFs in their
        order, or the error.
    """

    host: Host
    pfs: Mapping[str, tuple[Answer | None, ...]]

    @property
    def answers(self) -> dict[tuple[str, int], Answer]:
        """(PF, VF number) -> name of the representor, or the error."""
        every = ((pf, enumerate(found)) for pf, (_, *found) in self.pfs.items())
        return {(pf, number): answer for pf, found in every for number, answer in found}

    @property
    def uplinks(self) -> dict[str, str | None]:
        return {pf: uplink for pf, (uplink, *_) in self.pfs.items()}


def ports(*names: str, prefix: str = "") -> dict[str, str]:
    """Representors that are named as their ports, which the kernel does not promise."""
    return {prefix + name: name for name in names}


def card(
    uplinks: Mapping[str, str | None], names: Mapping[str, str], beside: bool, vfs: int = 2
) -> Host:
    """One PF at PF0."""
    return sriov(PF0, vfs) + switch(PF0, SWITCH, uplinks, names, beside)


def two_of_one_switch(
    other: str, names: Mapping[str, str], others: Mapping[str, str], beside: bool
) -> Host:
    """Two PFs of one switch."""
    return (
        card({"up0": "p0"}, names, beside)
        + sriov(other)
        + switch(other, SWITCH, {"up1": "p1"}, others, beside)
    )


def crossed(beside: bool) -> Host:
    """Function 0 has port 1 of a switch, function 1 port 0."""
    return (
        sriov(PF0)
        + switch(PF0, SWITCH, {"up0": "p1"}, ports("pf1vf0", "pf1vf1"), beside)
        + sriov(PF1)
        + switch(PF1, SWITCH, {"up1": "p0"}, ports("pf0vf0", "pf0vf1"), beside)
    )


def legacy(pf_address: str, *names: str) -> Host:
    """A PF that is not in switchdev mode, and the network devices of its VFs."""
    host = sriov(pf_address)
    addresses = [function.address for function in host.functions[1:]]
    vfs = [Device(name, address) for name, address in zip(names, addresses, strict=False)]
    return host + Host(devices=(Device("eth0", pf_address, port_name="p0"), *vfs))


BOND = Host(
    devices=(Device("bond0"), Device("lo"), Device("br-int"), Device("eth9", bus="virtio2"))
)
BLUEFIELD = {
    **ports("pf0", "pf0vf0", "pf0vf1", "pf0sf0", "pf0sf1"),
    **{"host": "c1pf0", "host0": "c1pf0vf0", "host1": "c1pf0vf1", "host2": "c1pf0vf2"},
    "hostsf": "c1pf0sf1",
}


A_PORTS, B_PORTS = ports("pf0vf0", "pf0vf1", prefix="a"), ports("pf0vf0", prefix="b")


def on_any_kernel(when: str, beside: bool) -> dict[str, Topology]:
    """Cards on which kernels before and since 5.8, which list representors beside the uplink, give
    the same answers."""
    two_pfs = {PF0: ("enpf0", "pf0vf0", "pf0vf1"), PF1: ("enpf1", "pf1vf0", "pf1vf1")}
    return {
        f"one PF {when}": Topology(
            mlx5(vfs=12, beside=beside) + BOND, {PF0: ("enpf0", "pf0vf0", "pf0vf1", "pf0vf2")}
        ),
        f"two PFs {when}": Topology(mlx5(functions=(0, 1), beside=beside), two_pfs),
        f"LAG {when}": Topology(mlx5(functions=(0, 1), lag=True, beside=beside) + BOND, two_pfs),
        f"two cards {when}": Topology(
            mlx5(tag="a", beside=beside) + mlx5("0000:83:00", tag="b", beside=beside),
            {PF0: ("enpaf0", "apf0vf0", "apf0vf1"), OTHER: ("enpbf0", "bpf0vf0", "bpf0vf1")},
        ),
        f"BlueField with VFs of its own {when}": Topology(
            card({"p0": "p0"}, BLUEFIELD, beside=beside), {PF0: ("p0", "pf0vf0", "pf0vf1")}
        ),
        f"a vanished device {when}": Topology(
            mlx5(functions=(0, 1), lag=True, beside=beside).without("pf0vf0"),
            {PF0: ("enpf0", ABSENT, "pf0vf1"), PF1: ("enpf1", "pf1vf0")},
        ),
        f"a second port, whose first is a guest's, {when}": Topology(
            card({"up": "p1"}, ports("pf1vf0", "pf1vf1"), beside=beside),
            {PF0: ("up", "pf1vf0", "pf1vf1")},
        ),
    }


TOPOLOGIES = {
    **on_any_kernel("since 5.8", beside=True),
    **on_any_kernel("before 5.8", beside=False),
    "names that mislead": Topology(
        card({"pf0vf1": "p0"}, {"pf0vf0": "pf0vf1", "p0": "pf0vf0"}, beside=True),
        {PF0: ("pf0vf1", "p0", "pf0vf0")},
    ),
    "BlueField without": Topology(
        card({"p0": "p0"}, BLUEFIELD, beside=True).without("pf0vf0", "pf0vf1"),
        {PF0: ("p0", ABSENT, ABSENT)},
    ),
    "nfp": Topology(
        card({"nfp_p1": "p1", "nfp_p0": "p0"}, ports("pf0", "pf0vf0", "pf0vf1"), beside=True),
        {PF0: ("nfp_p0", "pf0vf0", "pf0vf1")},
    ),
    "nfp with split ports, virtual": Topology(
        card({"b": "p1s0", "c": "p0s1", "a": "p0s0"}, ports("pf0vf0", "pf0vf1"), beside=False),
        {PF0: ("a", "pf0vf0", "pf0vf1")},
    ),
    "mlx5 before 5.1": Topology(
        card({"ens1f0": None}, {"eth0": "0", "eth1": "1"}, beside=False)
        + sriov(PF1)
        + switch(PF1, "7c1a2b0003a2b1c5", {"ens1f1": None}, {"eth2": "0", "eth3": "1"}, False),
        {PF0: ("ens1f0", "eth0", "eth1"), PF1: ("ens1f1", "eth2", "eth3")},
    ),
    "old numbers in a shared switch": Topology(
        two_of_one_switch(PF1, {"eth0": "0", "eth1": "1"}, {"eth2": "0"}, beside=False),
        {PF0: ("up0", AMBIGUOUS, AMBIGUOUS), PF1: ("up1", AMBIGUOUS, AMBIGUOUS)},
    ),
    "sub-functions": Topology(
        card({"p0": "p0"}, ports("pf0sf0", "pf0sf1", "pf0vf1"), beside=True)
        + Host(devices=(Device("sf", PF0, port_name="p0", bus="mlx5_core.sf.2"),)),
        {PF0: ("p0", ABSENT, "pf0vf1")},
    ),
    "socket direct since 5.8": Topology(
        two_of_one_switch(OTHER, A_PORTS, B_PORTS, beside=True),
        {PF0: ("up0", "apf0vf0", "apf0vf1"), OTHER: ("up1", "bpf0vf0", ABSENT)},
    ),
    "socket direct before 5.8": Topology(
        two_of_one_switch(OTHER, A_PORTS, B_PORTS, beside=False),
        # The other PF has a VF 1 as well, whose representor may only be late.
        {PF0: ("up0", AMBIGUOUS, AMBIGUOUS), OTHER: ("up1", AMBIGUOUS, AMBIGUOUS)},
    ),
    "two ports for one VF": Topology(
        card({"p0": "p0"}, {"a": "pf0vf0", "b": "c0pf0vf0", "c": "pf0vf1"}, beside=True),
        {PF0: ("p0", AMBIGUOUS, "c")},
    ),
    "legacy mode": Topology(legacy(PF0, "eth1", "eth2"), {PF0: (None, ABSENT, ABSENT)}),
    "legacy mode beside a switch": Topology(
        legacy(PF0) + mlx5("0000:83:00", beside=False),
        {PF0: (None, ABSENT, ABSENT), OTHER: ("enpf0", "pf0vf0", "pf0vf1")},
    ),
    "missing uplink since 5.8": Topology(
        mlx5().without("enpf0"), {PF0: (None, "pf0vf0", "pf0vf1")},
    ),
    "missing uplink before 5.8": Topology(  # whose switch the ports are of, nothing tells
        mlx5(beside=False).without("enpf0"), {PF0: (None, ABSENT, ABSENT)},
    ),
    "VMD domain": Topology(
        mlx5("10000:01:00", tag="a") + mlx5("0000:01:00", tag="b"),
        {VMD: ("enpaf0", "apf0vf0", "apf0vf1"), "0000:01:00.0": ("enpbf0", "bpf0vf0")},
    ),
    # mlx5 counts a PF's port (native_port_num), which need not be its PCI function.
    "ports of PFs the other way round": Topology(
        crossed(beside=True), {PF0: ("up0", "pf1vf0", "pf1vf1"), PF1: ("up1", "pf0vf0", "pf0vf1")},
    ),
    "ports of PFs the other way round, virtual": Topology(  # or they count functions
        crossed(beside=False),
        {PF0: ("up0", AMBIGUOUS, AMBIGUOUS), PF1: ("up1", AMBIGUOUS, AMBIGUOUS)},
    ),
    "several functions of one port": Topology(  # as bnxt: it counts functions
        sriov(PF0, 1) + switch(PF0, SWITCH, {"up0": "p0"}, ports("pf0vf0"))
        + sriov(PF3) + switch(PF3, SWITCH, {"up3": "p0"}, ports("pf3vf0")),
        {PF0: ("up0", "pf0vf0"), PF3: ("up3", "pf3vf0", ABSENT)},
    ),
    "names as other drivers write them": Topology(
        card(
            {"up": "p0"},
            {"a": "VF0@PF0", "b": "p1pf0vf1", "c": "c0pf0vf2",
             "d": "VF0@PF1", "e": "p0pf1vf1", "f": "c10pf0vf2"},
            beside=True,
            vfs=3,
        ),
        {PF0: ("up", "a", "b", "c")},
    ),
    "names without a PF": Topology(
        card({"up": "p0"}, {"a": "vf0", "b": "vf1"}, beside=True), {PF0: ("up", "a", "b")},
    ),
}  # fmt: skip

every_topology = pytest.mark.parametrize("name", TOPOLOGIES)


def facts(host: Host) -> tuple[Netdev, ...]:
    """What is read of a host."""
    return tuple(
        Netdev(
            one.name,
            None if one.bus else one.parent,
            one.switch_id,
            one.port_name if one.switch_id else None,
        )
        for one in host.devices
    )


def address_of(host: Host, pf: str, vf: int) -> str:
    """The address of a VF."""
    return next(one.vfs[vf] for one in host.functions if one.address == pf)


def check(find: Callable[[], Representor], topology: Topology, pf: str, vf: int) -> None:
    """Compare what is found with what is to be found."""
    answer = topology.answers[pf, vf]
    if isinstance(answer, str):
        assert find() == Representor(answer, pf, vf, topology.uplinks[pf])
        return
    with pytest.raises(RepresentorNotFound) as caught:
        find()
    assert type(caught.value) is answer
    assert caught.value.kwargs["vf_num"] == vf
    assert caught.value.kwargs["ifname"] == (topology.uplinks[pf] or pf)


# Decisions --------------------------------------------------------------------------------------


@every_topology
@given(chance=st.randoms(use_true_random=False))
def test_the_order_of_the_listing_decides_nothing(chance: random.Random, name: str) -> None:
    topology = TOPOLOGIES[name]
    devices = list(facts(topology.host))
    chance.shuffle(devices)
    for pf, vf in topology.answers:
        check(partial(representors.representor, pf, vf, devices), topology, pf, vf)


@every_topology
@given(data=st.data())
def test_while_devices_are_missing_no_other_vfs_is_taken(data: st.DataObject, name: str) -> None:
    topology = TOPOLOGIES[name]
    devices = st.sampled_from(facts(topology.host))
    kept = data.draw(st.lists(devices, unique=True), "what there is")
    for (pf, vf), answer in topology.answers.items():
        with contextlib.suppress(RepresentorNotFound):
            found = representors.representor(pf, vf, kept).device
            assert found == answer or answer is AMBIGUOUS


@pytest.mark.parametrize("late", ["apf0vf0", "bpf0vf0"])
def test_one_candidate_is_no_proof_while_anothers_may_be_late(late: str) -> None:
    devices = facts(TOPOLOGIES["socket direct before 5.8"].host.without(late))
    for pf in (PF0, OTHER):
        with pytest.raises(AmbiguousRepresentor):
            representors.representor(pf, 0, devices)


@pytest.mark.parametrize("step", [1, -1])
def test_an_ambiguity_lists_the_candidates(step: int) -> None:
    devices = facts(TOPOLOGIES["socket direct before 5.8"].host)[::step]
    with pytest.raises(AmbiguousRepresentor) as caught:
        representors.representor(PF0, 0, devices)
    assert caught.value.kwargs == {"ifname": "up0", "vf_num": 0, "candidates": "apf0vf0, bpf0vf0"}
    assert str(caught.value).endswith("candidates: apf0vf0, bpf0vf0")


def test_devices_of_no_switch_are_not_of_one_switch() -> None:
    devices = (Netdev("eth0", PF0), Netdev("other", None, None, "pf0vf0"))
    with pytest.raises(RepresentorNotFound):
        representors.representor(PF0, 0, devices)


@pytest.mark.parametrize("step", [1, -1])
def test_what_is_below_the_pf_goes_before_what_is_nowhere(step: int) -> None:
    host = card({"p0": "p0"}, {"below": "pf0vf0"}, beside=True)
    devices = (*facts(host), Netdev("nowhere", None, SWITCH, "pf0vf0"))[::step]
    assert representors.representor(PF0, 0, devices).device == "below"


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(
    ("address", "names", "own"),
    [
        (PF0, {"a": "p1", "b": "p0"}, "b"),
        (PF1, {"a": "p0", "b": "p1"}, "b"),
        (PF1, {"a": "p3", "b": "p2"}, "b"),
        (PF0, {"a": "p10", "b": "p9"}, "b"),
        (PF0, {"a": "p0s1", "b": "p0s0"}, "b"),
        (PF0, {"a": None, "b": "p0"}, "b"),
        (PF1, {"a": None, "b": "p0"}, "b"),
        (PF0, {"a": "pf0", "b": None}, "b"),
        (PF0, {"b": None, "c": None}, "b"),
        (PF0, {"a": "pf0", "c": "pf0vf0"}, None),
    ],
)
def test_which_of_several_ports_is_the_pfs_own(
    address: str, names: dict[str, str | None], own: str | None, step: int
) -> None:
    devices = [Netdev(name, address, SWITCH, port) for name, port in names.items()][::step]
    assert representors.own_device(address, devices, switchdev=True) == own
    assert representors.own_device(address, devices) == own
    assert representors.own_device("0000:ff:00.0", devices) is None


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("3", VfPort(3)),
        ("pf0vf3", VfPort(3, 0)),
        ("pf1vf127", VfPort(127, 1)),
        ("c1pf0vf3", VfPort(3, 0, 1)),
        ("c0pf2vf3", VfPort(3, 2, 0)),
        ("p1pf0vf3", VfPort(3, 0)),
        ("vf3", VfPort(3)),
        ("VF3", VfPort(3)),
        ("vf3@pf1", VfPort(3, 1)),
        ("VF3@PF1", VfPort(3, 1)),
        ("PF1VF3", VfPort(3, 1)),
        *((other, None) for other in (
            None, "", "p0", "p0s1", "pf0", "c1pf0", "pf0sf88", "c1pf0sf88", "pf0vf", "vf3@",
            "vf3@pf", "@pf0", "vf@pf0", "c1vf3@pf0", "sf3@pf0", "vf3@pf0s1",
            "pfvf3", "pf0vf3s1", "xpf0vf3", "pf0vf3\n", "c1", "c1p0pf0vf3", "-1", "٣", "pf0hpf",
        )),
    ],
)  # fmt: skip
def test_a_port_name_is_read_in_all_its_forms(name: str | None, port: VfPort | None) -> None:
    assert representors.vf_port(name) == port


# Trees on disk ----------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.mark.parametrize("unsupported", Unsupported)
@every_topology
def test_a_vf_is_found_by_its_address(root: str, name: str, unsupported: Unsupported) -> None:
    topology = TOPOLOGIES[name]
    write(topology.host, root, unsupported)
    assert set(sysfs.netdevs(root)) == set(facts(topology.host))
    for pf, vf in topology.answers:
        address = address_of(topology.host, pf, vf)
        assert representors.virtual_function(address, root) == VirtualFunction(address, pf, vf)
        check(partial(representors.look_up, address, root), topology, pf, vf)
        check(partial(representors.look_up, address.upper(), root), topology, pf, vf)


@every_topology
def test_a_vf_is_found_by_its_pfs_device_and_its_number(root: str, name: str) -> None:
    topology = TOPOLOGIES[name]
    write(topology.host, root)
    for pf, vf in topology.answers:
        if uplink := topology.uplinks[pf]:
            check(partial(representors.look_up_port, uplink, vf, root), topology, pf, vf)


@pytest.mark.parametrize("name", ["lo", "gone", "../net/lo", "bond0"])
def test_a_device_below_no_pf_has_no_vfs(root: str, name: str) -> None:
    write(mlx5() + BOND, root)
    with pytest.raises(RepresentorNotFound) as caught:
        representors.look_up_port(name, 0, root)
    assert caught.value.kwargs == {"ifname": name, "vf_num": 0}


@pytest.mark.parametrize("ask", [representors.look_up, representors.virtual_function])
@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("0000:ff:00.0", PciDeviceNotFoundById, r"There is no PCI device 0000:ff:00\.0"),
        (PF0, NotVirtualFunction, r"0000:03:00\.0 is not a virtual function"),
        *((bad, InvalidValue, "PCI address") for bad in ("", "03:00.2", "../0000:03:00.2")),
    ],
)
def test_an_address_that_is_no_vfs(
    root: str, ask: Callable[[str, str], object], address: str, error: type[Exception], said: str
) -> None:
    write(mlx5(), root)
    with pytest.raises(error, match=said):
        ask(address, root)


@pytest.mark.parametrize("gone", [f"{PF0}/virtfn0", PF0])
def test_a_vf_that_is_being_removed(root: str, gone: str) -> None:
    write(mlx5(), root)
    Path(root, "bus/pci/devices", gone).unlink()
    with pytest.raises(PciDeviceNotFoundById) as caught:
        representors.look_up("0000:03:00.2", root)
    assert type(caught.value) is PciDeviceNotFoundById


def test_a_representor_that_udev_is_renaming_is_looked_for_again(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = write(mlx5(beside=False).without("pf0vf0"), root)
    netdevs = sysfs.netdevs

    def slow(where: str) -> tuple[Netdev, ...]:
        seen = netdevs(where)
        if not Path(root, "class/net/renamed").is_symlink():
            fake.add(Device("renamed", None, mlx5().devices[0].switch_id, "pf0vf0"))
        return seen

    monkeypatch.setattr(sysfs, "netdevs", slow)
    assert representors.look_up("0000:03:00.2", root).device == "renamed"


# What holds a VF --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "holder"),
    [
        (set(), ""),
        ({"driver"}, "is bound to mlx5_core"),
        ({"driver", "device"}, ""),
        ({"driver", "device", "up"}, "is bound to mlx5_core"),
        ({"driver", "device", "vdpa"}, "has the vDPA device vdpa0"),
    ],
    ids=lambda value: ", ".join(sorted(value)) if isinstance(value, set) else "",
)
def test_a_vf_is_held_by_its_driver_its_device_or_a_vdpa_device(
    root: str, has: set[str], holder: str
) -> None:
    vf = "0000:03:00.2"
    write(mlx5() + Host(devices=(Device("vf0", vf),) if "device" in has else ()), root)
    folder = Path(root, "bus/pci/devices", vf)
    if "driver" in has:
        (folder / "driver").symlink_to("../../drivers/mlx5_core")
    if "device" in has:
        (folder / "net/vf0/flags").write_text("0x1003\n" if "up" in has else "0x1002\n")
    if "vdpa" in has:
        (folder / "vdpa0").mkdir()
    found = representors.holder_of("pf0vf0", root=root)
    assert found == (holder and f"the virtual function {vf} {holder}")


# What the old helpers ask -----------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_the_device_of_a_function_and_of_its_pf(root: str, beside: bool) -> None:
    vf = "0000:03:00.2"
    write(mlx5(beside=beside) + Host(devices=(Device("vf0", vf),)), root)
    assert representors.interface(vf, root=root) == "vf0"
    for switchdev in (False, True):
        assert representors.interface(PF0, switchdev=switchdev, root=root) == "enpf0"
        assert representors.interface(vf, True, switchdev, root) == "enpf0"


def test_a_legacy_pf_has_a_device_that_is_no_port(root: str) -> None:
    write(legacy(PF0, "eth1"), root)
    assert representors.interface("0000:03:00.2", root=root) == "eth1"
    assert representors.interface("0000:03:00.2", of_pf=True, root=root) == "eth0"
    with pytest.raises(NoInterfaceOfPciDevice, match=f"{PF0} has no network device"):
        representors.interface("0000:03:00.2", of_pf=True, switchdev=True, root=root)


@pytest.mark.parametrize("switchdev", [True, False])
def test_representors_are_never_the_pfs_own(root: str, switchdev: bool) -> None:
    write(mlx5().without("enpf0"), root)
    with pytest.raises(NoInterfaceOfPciDevice, match=PF0):
        representors.interface("0000:03:00.2", True, switchdev, root)


def test_the_device_of_a_function_that_is_none(root: str) -> None:
    write(mlx5(), root)
    with pytest.raises(NoInterfaceOfPciDevice, match=r"0000:03:00\.2"):
        representors.interface("0000:03:00.2", root=root)
    with pytest.raises(NotVirtualFunction):
        representors.interface(PF0, of_pf=True, root=root)
    with pytest.raises(PciDeviceNotFoundById, match="There is no"):
        representors.interface("0000:ff:00.2", root=root)


def test_the_function_of_a_device(root: str) -> None:
    vf = "0000:03:00.2"
    host = mlx5() + BOND + Host((Function("0000:05:00.0"),), (Device("eth5", "0000:05:00.0"),))
    write(host + Host(devices=(Device("vf0", vf),)), root)
    found = {
        name: (function and (function.address, function.total_vfs > 0))
        for name in ("enpf0", "pf0vf0", "vf0", "eth5", "bond0", "eth9", "gone")
        for function in [representors.function_of(name, root)]
    }
    assert found == {
        "enpf0": (PF0, True),
        "pf0vf0": (PF0, True),
        "vf0": (vf, False),
        "eth5": ("0000:05:00.0", False),
        "bond0": None,
        "eth9": None,
        "gone": None,
    }


# Cost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_a_look_up_on_a_large_host_reads_it_once_or_not_at_all(
    root: str, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    others = Host(devices=tuple(Device(f"tap{number}") for number in range(1000)))
    write(mlx5(vfs=8, beside=beside) + others, root)
    read: list[str] = []
    content = sysfs._content

    def counting(path: str) -> str | None:
        read.append(path)
        return content(path)

    monkeypatch.setattr(sysfs, "_content", counting)
    assert representors.look_up("0000:03:00.5", root).device == "pf0vf3"
    taps = [path for path in read if "/tap" in path]
    assert len(taps) == (0 if beside else 1000)
    assert len(read) - len(taps) <= 2 + 2 * 9 + 2  # two functions, nine ports, the uplink again
