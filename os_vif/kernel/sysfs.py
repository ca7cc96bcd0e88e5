# SPDX-License-Identifier: Apache-2.0
"""What /sys says of network devices and PCI functions: facts, read without privilege.

What they mean is for others to say. A device may vanish between listing and reading; it is left
out then. An attribute that a device does not support has no file (kernels since 6.18), or reading
it fails with EOPNOTSUPP (kernels before): both read as None.

/sys shows the network devices of the namespace that it was mounted in.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from os_vif import validate
from os_vif.exception import InvalidValue

#: Where the kernel shows its devices. Every function takes another place, for tests.
ROOT = "/sys"

# Documentation/PCI/sysfs-pci.rst: domain:bus:device.function. A domain has four digits or more:
# those of Intel's VMD begin at 10000.
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
_VIRTFN = re.compile(r"virtfn([0-9]+)")
_VDPA = re.compile(r"vdpa[0-9]+")

#: EINVAL is what readlink says of a file, such as /sys/class/net/bonding_masters.
_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.EINVAL})


@dataclass(frozen=True)
class Netdev:
    """A network device, as far as it is a port of a switch.

    See Documentation/networking/switchdev.rst of the kernel for both ids.
    """

    name: str
    parent: str | None = None  # address of the PCI function right above it
    switch_id: str | None = None  # phys_switch_id
    port_name: str | None = None  # phys_port_name; not read where there is no switch_id


@dataclass(frozen=True)
class PciFunction:
    """A PCI function and its place in SR-IOV.

    See ``sriov_*``, ``physfn`` and ``virtfnN`` in Documentation/ABI/testing/sysfs-bus-pci of the
    kernel.
    """

    address: str
    physfn: str | None = None  # of a virtual function: the address of its physical function
    virtfns: Mapping[int, str] = field(default_factory=dict)  # number -> address of a VF
    total_vfs: int = 0  # how many there may be; 0 if the function is not a physical one


def pci_address(value: object) -> str:
    """Check a PCI address and return it as the kernel writes it, in lower case.

    :raises InvalidValue: it is not of the form ``0000:03:00.1``.
    """
    text = str(value).lower()
    if not _ADDRESS.fullmatch(text):
        reason = "it must be as in 0000:03:00.1"
        raise InvalidValue(field="PCI address", value=value, reason=reason)
    return text


def pci_function(address: str, root: str = ROOT) -> PciFunction | None:
    """Read a PCI function; None if there is none of this address.

    :raises InvalidValue: the address is malformed.
    :raises OSError: the kernel refused to say.
    """
    address = pci_address(address)
    folder = _pci_folder(address, root)
    names = _listing(folder)
    if names is None:
        return None
    return PciFunction(
        address,
        physfn=_end_of_link(f"{folder}/physfn"),
        virtfns=dict(_virtfns(folder, names)),
        total_vfs=int(_content(f"{folder}/sriov_totalvfs") or 0),
    )


def driver(address: str, root: str = ROOT) -> str:
    """Return the driver that a PCI function is bound to; empty if to none.

    :raises InvalidValue: the address is malformed.
    :raises OSError: the kernel refused to say.
    """
    return _end_of_link(f"{_pci_folder(pci_address(address), root)}/driver") or ""


def vdpa_devices(address: str, root: str = ROOT) -> list[str]:
    """Return the names of the vDPA devices right below a PCI function.

    :raises InvalidValue: the address is malformed.
    :raises OSError: the kernel refused to say.
    """
    names = _listing(_pci_folder(pci_address(address), root)) or ()
    return sorted(filter(_VDPA.fullmatch, names))


def is_up(name: str, root: str = ROOT) -> bool:
    """Return whether a network device is set up; True if the kernel does not say."""
    flags = _content(f"{root}/class/net/{name}/flags")
    return flags is None or bool(int(flags, 16) & 1)


def known_since(name: str, index: int, root: str = ROOT) -> float | None:
    """Return a time at which a network device was there already, in seconds since 1970.

    It is the ctime of its directory: the kernel makes that inode when a device is first looked at
    by anybody (udev does so at once; else this is the first time), keeps it for all processes
    until memory is short, and makes another one for the next device of the name
    (``set_default_inode_attr`` in fs/kernfs/inode.c). So the device is at least as old.

    :param index: the device's, so that one of another network namespace is not taken for it.
    :returns: None if this /sys does not show that device.
    :raises OSError: the kernel refused to say.
    """
    folder = f"{root}/class/net/{name}"
    try:
        since = os.stat(folder).st_ctime
    except OSError as err:
        _raise_unless_absent(err)
        return None
    return since if _content(f"{folder}/ifindex") == str(index) else None


def netdevs(root: str = ROOT) -> tuple[Netdev, ...]:
    """Read every network device, each attribute once, in the order of the listing.

    :raises OSError: the kernel refused to say.
    """
    return _read(_listing(f"{root}/class/net"), root)


def netdevs_of(address: str, root: str = ROOT) -> tuple[Netdev, ...]:
    """Read the network devices right below a PCI function, in the order of the listing.

    That order changes from boot to boot, and since kernel 5.8 representors are among them:
    the first one is not the uplink (bug 1892132).

    :raises InvalidValue: the address is malformed.
    :raises OSError: the kernel refused to say.
    """
    return _read(_listing(f"{_pci_folder(pci_address(address), root)}/net"), root)


def netdev(name: str, root: str = ROOT) -> Netdev | None:
    """Read one network device; None if there is none of this name.

    :raises OSError: the kernel refused to say.
    """
    try:
        name = validate.device_name("name", name)
    except InvalidValue:
        return None  # no device can have it
    return _netdev(name, root)


def _read(names: Sequence[str] | None, root: str) -> tuple[Netdev, ...]:
    return tuple(found for name in names or () if (found := _netdev(name, root)))


def _netdev(name: str, root: str) -> Netdev | None:
    folder = f"{root}/class/net/{name}"
    switch_id = _content(f"{folder}/phys_switch_id")
    # Most devices of a host are in no switch: why open one file more of each?
    port_name = _content(f"{folder}/phys_port_name") if switch_id else None
    place = _link(folder)  # last, so that a device which was there only for a while is left out
    if place is None:
        return None
    return Netdev(name, _pci_parent(place), switch_id, port_name)


def _pci_parent(place: str) -> str | None:
    """``../../devices/pci0000:00/0000:03:00.0/net/eth0`` hangs under 0000:03:00.0.

    Of a virtio device or a sub-function the parent is on another bus, of a virtual device there
    is none.
    """
    parent = os.path.basename(place.rsplit("/", 2)[0])
    return parent if _ADDRESS.fullmatch(parent) else None


def _pci_folder(address: str, root: str) -> str:
    return f"{root}/bus/pci/devices/{address}"


def _virtfns(folder: str, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    for name in names:
        if match := _VIRTFN.fullmatch(name):
            address = _end_of_link(f"{folder}/{name}")
            if address is not None:
                yield int(match[1]), address


def _listing(folder: str) -> list[str] | None:
    try:
        return os.listdir(folder)
    except OSError as err:
        _raise_unless_absent(err)
        return None


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError as err:
        _raise_unless_absent(err)
        return None


def _end_of_link(path: str) -> str | None:
    place = _link(path)
    return None if place is None else os.path.basename(place)


def _content(path: str) -> str | None:
    # A host may have thousands of these: pathlib would cost more than the kernel does.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as err:
        _raise_unless_absent(err)
        return None
    try:
        return os.read(fd, 64).decode(errors="replace").strip() or None
    except OSError:
        # EOPNOTSUPP, EINVAL of a device that is being removed, or whatever a driver thinks
        # fitting: a device that does not tell must not get in the way of the others.
        return None
    finally:
        os.close(fd)


def _raise_unless_absent(err: OSError) -> None:
    """Go on if something is not there; raise if the process may not look, or has no file left."""
    if err.errno not in _ABSENT:
        raise err
