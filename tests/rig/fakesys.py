# SPDX-License-Identifier: Apache-2.0
"""SR-IOV and switchdev without a card: a synthetic /sys, built from a short description.

A description is a `Host`: PCI functions and network devices. `write` makes a plain folder of it,
for tests that give the library another root than /sys. `mounted` puts it over /sys in a private
mount namespace, with everything else still the kernel's own::

    with private_network(), mounted(mlx5(vfs=2), taps=["pf0vf0", "pf0vf1"]) as fake:
        ...  # /sys says that the taps are representors of 0000:03:00.2 and 0000:03:00.3
        fake.remove("pf0vf1")

Whatever appears after the mount is not seen in the tree, but by netlink it is; `ip netns exec`
mounts another /sys over the tree.
"""

import ctypes
import fcntl
import os
import struct
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

BRIDGE = "02.0"  # the PCI bridge that all functions are behind

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_MS_BIND, _MS_MOVE, _MS_REC, _MNT_DETACH = 4096, 8192, 16384, 2

_libc = ctypes.CDLL(None, use_errno=True)


class Unsupported(Enum):
    """What an attribute is like that a device does not have."""

    MISSING = "there is no file, as since kernel 6.18"
    FAILS = "reading it fails, as before; here because it is a folder"


@dataclass(frozen=True)
class Function:
    """A PCI function; a physical one has ``total_vfs``, and its VFs by number."""

    address: str
    vfs: Mapping[int, str] = field(default_factory=dict)
    total_vfs: int = 0


@dataclass(frozen=True)
class Device:
    """A network device, below a PCI function or (``parent`` None) a virtual one.

    :param bus: a device between the two that is not on the PCI bus, as ``virtio2``.
    """

    name: str
    parent: str | None = None
    switch_id: str | None = None
    port_name: str | None = None
    bus: str | None = None


@dataclass(frozen=True)
class Host:
    """Functions and devices; the order is the order of their creation. Hosts can be added."""

    functions: tuple[Function, ...] = ()
    devices: tuple[Device, ...] = ()

    def __add__(self, other: "Host") -> "Host":
        return Host(self.functions + other.functions, self.devices + other.devices)

    def without(self, *names: str) -> "Host":
        """The same host less some network devices."""
        kept = tuple(one for one in self.devices if one.name not in names)
        return Host(self.functions, kept)


# Hosts ----------------------------------------------------------------------------------------


def sriov(pf_address: str, vfs: int = 2) -> Host:
    """A PF and its VFs: those of 0000:03:00.0 begin at 0000:03:00.2, of 00.1 at 0000:03:08.2."""
    bus = pf_address.rpartition(":")[0]
    number = int(pf_address[-1])
    at = [2 + 64 * number + index for index in range(vfs)]
    addresses = [f"{bus}:{one // 8:02x}.{one % 8}" for one in at]
    pf = Function(pf_address, dict(enumerate(addresses)), total_vfs=max(8, vfs))
    return Host((pf, *map(Function, addresses)))


def switch(
    pf_address: str,
    switch_id: str,
    uplinks: Mapping[str, str | None],
    representors: Mapping[str, str],
    beside: bool = True,
) -> Host:
    """The ports of one PF: names and port names.

    :param beside: representors are below the PF, as since kernel 5.8; else virtual.
    """
    below = pf_address if beside else None
    devices = [Device(name, pf_address, switch_id, port) for name, port in uplinks.items()]
    devices += [Device(name, below, switch_id, port) for name, port in representors.items()]
    return Host(devices=tuple(devices))


def mlx5(
    card: str = "0000:03:00",
    functions: Iterable[int] = (0,),
    vfs: int = 2,
    beside: bool = True,
    lag: bool = False,
    tag: str = "",
) -> Host:
    """A ConnectX in switchdev mode: uplinks ``enp<tag>f0``, representors ``<tag>pf0vf0``.

    :param card: its PCI address without the function.
    :param functions: the numbers of its PFs.
    :param beside: the layout since kernel 5.8.
    :param lag: its PFs share one switch, as when their uplinks are in one bond.
    :param tag: tells the devices of several cards apart.
    """
    host = Host()
    for number in functions:
        pf = f"{card}.{number}"
        switch_id = f"{int(card.replace(':', ''), 16):014x}{0 if lag else number:02x}"
        names = [f"pf{number}vf{vf}" for vf in range(vfs)]
        uplinks = {f"enp{tag}f{number}": f"p{number}"}
        representors = {f"{tag}{name}": name for name in names}
        host += sriov(pf, vfs) + switch(pf, switch_id, uplinks, representors, beside)
    return host


# Trees ----------------------------------------------------------------------------------------


def write(
    host: Host, root: str | Path, unsupported: Unsupported = Unsupported.MISSING
) -> "FakeSys":
    """Write a host's tree into a folder, with links as the kernel makes them."""
    fake = FakeSys(Path(root), unsupported)
    for folder in ("class/net", "bus/pci/devices", "devices/virtual/net"):
        (fake.root / folder).mkdir(parents=True, exist_ok=True)
    for function in host.functions:
        fake.add_function(function)
    for function in host.functions:
        fake.add_vfs(function)
    for device in host.devices:
        fake.add(device)
    return fake


class FakeSys:
    """A tree that can be changed."""

    def __init__(self, root: Path, unsupported: Unsupported) -> None:
        self.root = root
        self.unsupported = unsupported
        self._ifindex = 1000

    def add_function(self, function: Function) -> None:
        """Let a PCI function appear, without its VFs."""
        folder = _pci_folder(function.address)
        (self.root / folder).mkdir(parents=True)
        if function.total_vfs:
            self._attribute(f"{folder}/sriov_totalvfs", str(function.total_vfs))
            self._attribute(f"{folder}/sriov_numvfs", str(len(function.vfs)))
        self._link(f"bus/pci/devices/{function.address}", folder)

    def add_vfs(self, function: Function) -> None:
        """Link a PF and its VFs, which must be there."""
        folder = _pci_folder(function.address)
        for number, address in function.vfs.items():
            self._link(f"{folder}/virtfn{number}", _pci_folder(address))
            self._link(f"{_pci_folder(address)}/physfn", folder)

    def add(self, device: Device) -> None:
        """Let a network device appear."""
        parent = _pci_folder(device.parent) if device.parent else "devices/virtual"
        parent += f"/{device.bus}" if device.bus else ""
        folder = f"{parent}/net/{device.name}"
        (self.root / folder).mkdir(parents=True)
        self._ifindex += 1
        self._attribute(f"{folder}/ifindex", str(self._ifindex))
        self._optional(f"{folder}/phys_switch_id", device.switch_id)
        self._optional(f"{folder}/phys_port_name", device.port_name)
        self._link(f"{folder}/subsystem", "class/net")
        if device.parent:
            self._link(f"{folder}/device", parent)
        self._link(f"class/net/{device.name}", folder)

    def remove(self, name: str) -> None:
        """Let a network device disappear, as far as the listing of all goes."""
        (self.root / "class/net" / name).unlink()

    def _attribute(self, path: str, value: str) -> None:
        (self.root / path).write_text(f"{value}\n")

    def _optional(self, path: str, value: str | None) -> None:
        if value is not None:
            self._attribute(path, value)
        elif self.unsupported is Unsupported.FAILS:
            (self.root / path).mkdir()

    def _link(self, path: str, target: str) -> None:
        (self.root / path).symlink_to(os.path.relpath(target, os.path.dirname(path)))


def _pci_folder(address: str) -> str:
    domain = address.partition(":")[0]
    # Intel's VMD is itself a device of domain 0 and a host bridge of a domain of its own.
    above = "" if len(domain) == 4 else "pci0000:00/0000:00:0e.0/"
    return f"devices/{above}pci{domain}:00/{domain}:00:{BRIDGE}/{address}"


# Over /sys ------------------------------------------------------------------------------------


@contextmanager
def mounted(host: Host, taps: Iterable[str] = ()) -> Iterator[FakeSys]:
    """Put a host's tree over the /sys of the calling thread's mount namespace, and take it away.

    What the tree lacks are links to what was there; a device of the tree that exists has its
    other attributes from the kernel. Processes that are started inside see the tree, as do
    those that share the mount namespace.

    :param taps: names of real devices to make, with the network namespace to end them.
    :raises RuntimeError: the mount namespace is that of pid 1: use `private_network`.
    """
    _refuse_on_the_host()
    for name in taps:
        make_tap(name)
    with ExitStack() as stack:
        real = _mount_over_sys(stack)
        fake = write(host, "/sys")
        _adopt(host, fake.root, real)
        _merge(fake.root, real, {device.name for device in host.devices})
        yield fake


def make_tap(name: str) -> None:
    """Make a persistent tap."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(fd, _TUNSETIFF, request)
        fcntl.ioctl(fd, _TUNSETPERSIST, 1)
    finally:
        os.close(fd)


def _mount_over_sys(stack: ExitStack) -> Path:
    """Put an empty folder over /sys, and what was there into the folder that is returned."""
    former = tempfile.mkdtemp()
    stack.callback(os.rmdir, former)  # and nothing in it: it may still be the kernel's
    _mount("/sys", former, None, _MS_BIND | _MS_REC)
    try:
        _mount("fakesys", "/sys", "tmpfs", data="mode=755")
        stack.callback(_umount, "/sys")
        real = Path("/sys/.real")
        real.mkdir()
        _mount(former, str(real), None, _MS_MOVE)
    except OSError:
        _umount(former)
        raise
    return real


def _refuse_on_the_host() -> None:
    with suppress(PermissionError, FileNotFoundError):  # no right to look at pid 1
        if os.readlink("/proc/1/ns/mnt") == os.readlink("/proc/thread-self/ns/mnt"):
            raise RuntimeError("a synthetic /sys is for a private mount namespace only")


def _adopt(host: Host, fake: Path, real: Path) -> None:
    """Give devices of the tree that really exist the kernel's own attributes."""
    for device in host.devices:
        theirs = real / "class/net" / device.name
        if not theirs.is_dir():
            continue
        ours = fake / "class/net" / device.name
        (ours / "ifindex").unlink()
        for entry in theirs.iterdir():
            if entry.name not in ("phys_switch_id", "phys_port_name", "subsystem", "device"):
                (ours / entry.name).symlink_to(entry)


def _merge(fake: Path, real: Path, devices: Collection[str]) -> None:
    """Let whatever the tree lacks be a link to what was there before.

    A link stays what it was, so that /sys/class/net/lo reads as ever.

    :param devices: those that the tree has, maybe elsewhere.
    """
    for entry in real.iterdir():
        ours = fake / entry.name
        if ours.is_symlink() or (ours.exists() and not entry.is_dir()):
            continue
        if ours.exists():
            _merge(ours, entry, devices)
        elif not (fake.name == "net" and entry.name in devices):
            ours.symlink_to(entry.readlink() if entry.is_symlink() else entry)


def _mount(
    source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None
) -> None:
    arguments = [value and value.encode() for value in (source, target, kind)]
    done = _libc.mount(*arguments, ctypes.c_ulong(flags), data and data.encode())
    _check(done, f"mount {target}")


def _umount(target: str) -> None:
    _check(_libc.umount2(target.encode(), _MNT_DETACH), f"umount {target}")


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
