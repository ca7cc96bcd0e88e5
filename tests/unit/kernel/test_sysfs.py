# SPDX-License-Identifier: Apache-2.0
"""What is read of /sys, whatever is missing, failing or vanishing there."""

import errno
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.exception import InvalidValue
from os_vif.kernel import sysfs
from os_vif.kernel.sysfs import Netdev, PciFunction
from tests.rig.fakesys import Device, Function, Host, Unsupported, mlx5, write

PF = "0000:03:00.0"
CARD = mlx5(vfs=2)
SWITCH = CARD.devices[0].switch_id

_opened: Counter[str] | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event in ("open", "os.listdir", "os.scandir"):
        _opened[str(arguments[0])] += 1


sys.addaudithook(_hook)  # it cannot be taken away again


@contextmanager
def opened() -> Iterator[Counter[str]]:
    """Count what is opened and listed, by path."""
    global _opened
    _opened = Counter()
    try:
        yield _opened
    finally:
        _opened = None


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path)


# Network devices --------------------------------------------------------------------------------


@pytest.mark.parametrize("unsupported", Unsupported)
def test_a_port_and_a_device_that_is_none(root: str, unsupported: Unsupported) -> None:
    write(CARD + Host(devices=(Device("lo"),)), root, unsupported)
    assert {one.name: one for one in sysfs.netdevs(root)} == {
        "enpf0": Netdev("enpf0", PF, SWITCH, "p0"),
        "pf0vf0": Netdev("pf0vf0", PF, SWITCH, "pf0vf0"),
        "pf0vf1": Netdev("pf0vf1", PF, SWITCH, "pf0vf1"),
        "lo": Netdev("lo"),
    }


@pytest.mark.parametrize("unsupported", Unsupported)
def test_a_port_without_a_name_and_an_empty_attribute(root: str, unsupported: Unsupported) -> None:
    devices = (Device("eth0", switch_id="ab12"), Device("eth1", switch_id="", port_name=""))
    write(Host(devices=devices), root, unsupported)
    assert sysfs.netdev("eth0", root) == Netdev("eth0", None, "ab12", None)
    assert sysfs.netdev("eth1", root) == Netdev("eth1")


@pytest.mark.parametrize(
    "code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.EIO, 524], ids=str
)
def test_what_a_driver_refuses_to_tell_does_not_hide_the_device(
    root: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(fd: int, size: int) -> bytes:
        raise OSError(code, os.strerror(code))

    write(CARD, root)
    monkeypatch.setattr(os, "read", refuse)
    assert sysfs.netdev("pf0vf0", root) == Netdev("pf0vf0", PF)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.ENOMEM])
def test_what_the_process_lacks_is_an_error(
    root: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(code, os.strerror(code))

    write(CARD, root)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        sysfs.netdevs(root)


@pytest.mark.parametrize(
    ("device", "parent"),
    [
        (Device("eth0", PF), PF),
        (Device("net", PF), PF),
        (Device("eth0", PF, bus="virtio2"), None),
        (Device("eth0", PF, bus="mlx5_core.sf.3"), None),
        (Device("eth0"), None),
    ],
    ids=["pci", "named net", "virtio", "sub-function", "virtual"],
)
def test_the_parent_is_the_pci_function_right_above(
    root: str, device: Device, parent: str | None
) -> None:
    write(Host((Function(PF),), (device,)), root)
    assert sysfs.netdevs(root) == (Netdev(device.name, parent),)


def test_a_file_among_the_devices_is_none_of_them(root: str) -> None:
    write(CARD, root)
    Path(root, "class/net/bonding_masters").write_text("\n")
    assert {one.name for one in sysfs.netdevs(root)} == {"enpf0", "pf0vf0", "pf0vf1"}


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_device_that_vanishes_is_left_out(
    root: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    fake = write(CARD, root)
    content = sysfs._content

    def vanishing(path: str) -> str | None:
        if not path.endswith(f"/pf0vf0/phys_{'switch_id' if when == 'before' else 'port_name'}"):
            return content(path)
        fake.remove("pf0vf0")
        return content(path)

    monkeypatch.setattr(sysfs, "_content", vanishing)
    assert {one.name for one in sysfs.netdevs(root)} == {"enpf0", "pf0vf1"}


def test_the_devices_below_a_function(root: str) -> None:
    write(mlx5(functions=(0, 1)) + Host(devices=(Device("lo"),)), root)
    below = sysfs.netdevs_of(PF, root)
    assert {one.name for one in below} == {"enpf0", "pf0vf0", "pf0vf1"}
    assert set(below) == {one for one in sysfs.netdevs(root) if one.parent == PF}
    assert sysfs.netdevs_of("0000:03:00.2", root) == ()  # a function without devices
    assert sysfs.netdevs_of("0000:ff:00.0", root) == ()  # no function


def test_a_host_without_sysfs_has_none(root: str) -> None:
    assert sysfs.netdevs(root) == ()
    assert sysfs.netdev("eth0", root) is None
    assert sysfs.pci_function(PF, root) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../net/lo", "lo/", "x" * 16, "no\0", "gone"])
def test_a_name_that_no_device_has(root: str, name: str) -> None:
    write(Host(devices=(Device("lo"),)), root)
    assert sysfs.netdev(name, root) is None


@pytest.mark.parametrize("unsupported", Unsupported)
def test_no_file_stays_open(root: str, unsupported: Unsupported) -> None:
    write(CARD + Host(devices=(Device("lo"),)), root, unsupported)
    before = os.listdir("/proc/self/fd")
    sysfs.netdevs(root)
    sysfs.pci_function(PF, root)
    assert os.listdir("/proc/self/fd") == before


def test_a_thousand_devices_are_read_once(root: str) -> None:
    others = Host(devices=tuple(Device(f"tap{number}") for number in range(996)))
    write(mlx5(vfs=3) + others, root)
    with opened() as paths:
        assert len(sysfs.netdevs(root)) == 1000
    assert set(paths.values()) == {1}
    # the listing, one attribute of each device, and a second one of each port
    assert len(paths) == 1 + 1000 + 4


# PCI functions ----------------------------------------------------------------------------------


def test_a_pf_knows_its_vfs_and_they_know_it(root: str) -> None:
    write(mlx5(vfs=12), root)
    vfs = {number: f"0000:03:{(2 + number) // 8:02x}.{(2 + number) % 8}" for number in range(12)}
    assert sysfs.pci_function(PF, root) == PciFunction(PF, None, vfs, 12)
    for address in vfs.values():
        assert sysfs.pci_function(address, root) == PciFunction(address, physfn=PF)


def test_a_function_without_sriov(root: str) -> None:
    write(Host((Function(PF),)), root)
    assert sysfs.pci_function(PF, root) == PciFunction(PF)


def test_a_function_in_a_domain_of_vmd(root: str) -> None:
    pf, vf = "10000:01:00.0", "10000:01:00.2"
    write(mlx5("10000:01:00", vfs=1), root)
    assert sysfs.pci_function(vf, root) == PciFunction(vf, physfn=pf)
    assert {one.parent for one in sysfs.netdevs(root)} == {pf}


def test_a_link_that_vanishes_is_left_out(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(CARD, root)
    listing = sysfs._listing

    def vanishing(folder: str) -> list[str] | None:
        names = listing(folder)
        Path(folder, "virtfn1").unlink()
        return names

    monkeypatch.setattr(sysfs, "_listing", vanishing)
    assert sysfs.pci_function(PF, root) == PciFunction(PF, None, {0: "0000:03:00.2"}, 8)


@pytest.mark.parametrize(
    "address",
    ["0000:03:00.0", "10000:e1:00.0", "ffffffff:ff:1f.7", "0000:AF:1F.7", "abcd:00:00.1"],
)
def test_an_address_is_written_as_the_kernel_does(address: str) -> None:
    assert sysfs.pci_address(address) == address.lower()


BAD = [
    "", None, 3, "03:00.0", "000:03:00.0", "000000000:03:00.0", "0000:3:00.0", "0000:03:20.0",
    "0000:03:00.8", "0000:03:00.0\n", " 0000:03:00.0", "0000:03:00", "0000:03:00.00",
    "../0000:03:00.0", "0000:03:00.0/..", "..", "0000:03:00.\0", "0000:03:00.٣", "000g:03:00.0",
]  # fmt: skip


@pytest.mark.parametrize("address", BAD, ids=repr)
def test_a_bad_address_becomes_no_path(root: str, address: Any) -> None:
    with opened() as paths:
        for ask in (sysfs.pci_address, sysfs.pci_function, sysfs.netdevs_of):
            with pytest.raises(InvalidValue, match="PCI address"):
                ask(address)
    assert not paths


@given(address=st.text(alphabet="0123456789abcdefABCDEF:./ \n\0", max_size=16))
def test_whatever_is_taken_as_an_address_is_one(address: str) -> None:
    try:
        taken = sysfs.pci_address(address)
    except InvalidValue:
        return
    domain, bus, rest = taken.split(":")
    device, function = rest.split(".")
    assert taken == f"{int(domain, 16):0{len(domain)}x}:{int(bus, 16):02x}:{device}.{function}"
    assert int(device, 16) < 32
    assert int(function, 16) < 8
