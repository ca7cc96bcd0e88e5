# SPDX-License-Identifier: Apache-2.0
"""Which network device represents a virtual function (VF) in its switch.

A card in switchdev mode has one port for each VF, and the host sees that port as a network
device, the representor. All ports of a switch have the same ``phys_switch_id``; a port's
``phys_port_name`` says what is behind it. See Documentation/networking/switchdev.rst,
representors.rst and devlink/devlink-port.rst of the kernel; the names are made in
``__devlink_port_phys_port_name_get`` of net/devlink/port.c, or by older drivers themselves:

=====================  =============================================================
``p0``, ``p0s1``       the uplink: a physical port, whole or split
``pf0vf3``             VF 3 of physical function (PF) 0
``c1pf0vf3``           the same of controller 1: another host's, seen from a SmartNIC
``p0pf0vf3``           as ``pf0vf3``, written by the driver sfc
``3``, ``vf3``         VF 3 of whichever PF: ``3`` by mlx5 before kernel 5.1
``vf3@pf0``            as ``pf0vf3``; in capitals, too, by drivers of vendors
``pf0``, ``c1pf0``     a PF, seen from a SmartNIC
``pf0sf88``            a sub-function, never a VF
=====================  =============================================================

The number of a PF is that of its PCI function, or that of its uplink: mlx5 counts the port that a
PF has (``native_port_num``, see ``mlx5_get_dev_index``), and names the uplink by the same number.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from os_vif.kernel import sysfs
from os_vif.kernel.sysfs import Netdev, PciFunction
from vif_plug_ovs import exception

_UPLINK = re.compile(r"p(?P<port>[0-9]+)(?:s(?P<split>[0-9]+))?")
_VF = re.compile(
    r"(?:(?:c(?P<controller>[0-9]+)|p[0-9]+)?pf(?P<pf>[0-9]+)vf|vf)?(?P<vf>[0-9]+)"
    r"|vf(?P<vf_at>[0-9]+)@pf(?P<at_pf>[0-9]+)",
    re.IGNORECASE,
)


#: What DPDK is told of a representor; see ``vif_plug_ovs.shapes.host_device``.
_DEVARGS = re.compile(r"(?P<pf>[0-9a-f:.]+),representor=\[(?P<vf>[0-9]+)\]")


@dataclass(frozen=True)
class VirtualFunction:
    """A VF and its place in its PF."""

    address: str
    pf_address: str
    number: int


@dataclass(frozen=True)
class VfPort:
    """What ``phys_port_name`` says of a VF's port."""

    vf: int
    pf: int | None = None  # some leave it out
    controller: int = 0  # 0 is the local one


@dataclass(frozen=True)
class Representor:
    """The port of a VF in its switch."""

    device: str  # the name that the kernel, or udev, gave it
    pf_address: str
    vf_number: int
    uplink: str | None  # the PF's own device; it may be in another network namespace


# Look-ups -------------------------------------------------------------------------------------


def look_up(address: str, root: str = sysfs.ROOT) -> Representor:
    """Find the representor of a VF.

    :param address: of the VF, as in 0000:03:00.2.
    :param root: where /sys is.
    :raises InvalidValue: the address is malformed.
    :raises PciDeviceNotFoundById: there is no such device, or (NotVirtualFunction) it is not a VF.
    :raises RepresentorNotFound: there is none, for example because the PF is not in switchdev
        mode; or (AmbiguousRepresentor) nothing tells which one it is.
    :raises OSError: the kernel refused to say.
    """
    vf = virtual_function(address, root)
    return _search(vf.pf_address, vf.number, root)


def look_up_port(pf_ifname: str, vf_number: int, root: str = sysfs.ROOT) -> Representor:
    """Find the representor of a VF that is given by a device of its PF and its number.

    :param pf_ifname: a device below the PF, such as the uplink.
    :raises RepresentorNotFound: as :func:`look_up`, and if there is no such device.
    :raises OSError: the kernel refused to say.
    """
    device = sysfs.netdev(pf_ifname, root)
    if device is None or device.parent is None:
        raise exception.RepresentorNotFound(ifname=pf_ifname, vf_num=vf_number)
    return _search(device.parent, vf_number, root)


def virtual_function(address: str, root: str = sysfs.ROOT) -> VirtualFunction:
    """Find the PF and the number of a VF, which is all that DPDK wants of a representor.

    :param address: of the VF, as in 0000:03:00.2.
    :param root: where /sys is.
    :raises InvalidValue: the address is malformed.
    :raises PciDeviceNotFoundById: there is no such device, or (NotVirtualFunction) it is not a VF.
    :raises OSError: the kernel refused to say.
    """
    function = _function(address, root)
    pf = sysfs.pci_function(function.physfn, root) if function.physfn else None
    return number_of(function, pf)


def interface(
    address: str, of_pf: bool = False, switchdev: bool = False, root: str = sysfs.ROOT
) -> str:
    """Find the network device of a PCI function: its own, and never one that represents others.

    :param address: of the function.
    :param of_pf: look for the device of the PF of this VF instead.
    :param switchdev: take only the port of a switch: an uplink.
    :raises InvalidValue: the address is malformed.
    :raises PciDeviceNotFoundById: there is no such function, or (NotVirtualFunction) it is not a
        VF, or it has no such device (NoInterfaceOfPciDevice), as a VF that a guest has.
    :raises OSError: the kernel refused to say.
    """
    function = _function(address, root)
    if of_pf and function.physfn is None:
        raise exception.NotVirtualFunction(id=function.address)
    owner = (of_pf and function.physfn) or function.address
    name = own_device(owner, sysfs.netdevs_of(owner, root), switchdev)
    if name is None:
        raise exception.NoInterfaceOfPciDevice(id=owner)
    return name


def holder_of(device: str, devargs: str | None = None, root: str = sysfs.ROOT) -> str | None:
    """Return what holds the VF behind a representor, for people; empty if nothing does, None if
    nothing tells which VF that is, as before kernel 5.8.

    A VF with a vDPA device is held: mlx5 makes it beside a network device, which is down. Of the
    others one without a driver is free, and so is one whose own network device is there and down.
    Any other driver may serve a guest, as vfio-pci and its variants do.

    :param devargs: what DPDK was told of it, if it is no device of the kernel.
    :raises OSError: the kernel refused to say.
    """
    if match := _DEVARGS.fullmatch(devargs or ""):
        pf_address, number = match["pf"], int(match["vf"])
    else:
        port = sysfs.netdev(device, root)
        vf = vf_port(port.port_name) if port else None
        if port is None or port.parent is None or vf is None:
            return None
        if vf.pf not in (None, *_pf_numbers(port.parent, sysfs.netdevs_of(port.parent, root))):
            return None
        pf_address, number = port.parent, vf.vf
    pf = sysfs.pci_function(pf_address, root)
    if pf is None or number not in pf.virtfns:
        return None
    address = pf.virtfns[number]
    if vdpa := sysfs.vdpa_devices(address, root):
        return f"the virtual function {address} has the vDPA device {', '.join(vdpa)}"
    driver, devices = sysfs.driver(address, root), sysfs.netdevs_of(address, root)
    if not driver or (devices and not any(sysfs.is_up(one.name, root) for one in devices)):
        return ""
    return f"the virtual function {address} is bound to {driver}"


def function_of(ifname: str, root: str = sysfs.ROOT) -> PciFunction | None:
    """Find the PCI function right above a network device; None if there is none.

    Since kernel 5.8 the function above a representor is its PF.

    :raises OSError: the kernel refused to say.
    """
    device = sysfs.netdev(ifname, root)
    return sysfs.pci_function(device.parent, root) if device and device.parent else None


def _function(address: str, root: str) -> PciFunction:
    function = sysfs.pci_function(address, root)
    if function is None:
        raise exception.PciDeviceNotFoundById(id=address)
    return function


def _search(pf_address: str, vf_number: int, root: str) -> Representor:
    for netdevs in _looks(pf_address, root):
        if _candidates(pf_address, vf_number, netdevs):
            break
    return representor(pf_address, vf_number, netdevs)


def _looks(pf_address: str, root: str) -> Iterator[Sequence[Netdev]]:
    # Since kernel 5.8 all is below the PF, and the other devices of a large host need no reading.
    yield sysfs.netdevs_of(pf_address, root)
    yield sysfs.netdevs(root)
    # udev renames representors when they appear: such a one may have been missed in between.
    yield sysfs.netdevs(root)


# Decisions ------------------------------------------------------------------------------------


def number_of(function: PciFunction, pf: PciFunction | None) -> VirtualFunction:
    """The number of a VF is that of the PF's ``virtfnN`` which points to it.

    :param pf: the function that ``physfn`` of the VF points to, None if it is gone.
    :raises NotVirtualFunction: it has no ``physfn``.
    :raises PciDeviceNotFoundById: its PF does not know it: it is being removed.
    """
    if function.physfn is None:
        raise exception.NotVirtualFunction(id=function.address)
    for number, address in pf.virtfns.items() if pf else ():
        if address == function.address:
            return VirtualFunction(address, function.physfn, number)
    raise exception.PciDeviceNotFoundById(id=function.address)


def vf_port(port_name: str | None) -> VfPort | None:
    """Read a ``phys_port_name``; None if it is not that of a VF's port."""
    match = _VF.fullmatch(port_name or "")
    if match is None:
        return None
    vf, pf = match["vf"] or match["vf_at"], match["pf"] or match["at_pf"]
    return VfPort(int(vf), None if pf is None else int(pf), int(match["controller"] or 0))


def representor(pf_address: str, vf_number: int, netdevs: Collection[Netdev]) -> Representor:
    """Return which of the host's devices represents a VF.

    It is a port of the PF's own switch whose name says this VF number, this PF's number (if any)
    and the local controller. Its place decides between the PFs of a switch that may have the same
    number, as those of a socket-direct card: since kernel 5.8 it is below its PF. Before, such
    PFs cannot be told apart.

    :param netdevs: the host's devices; or only those below the PF, which is enough if one fits.
    :raises RepresentorNotFound: none fits.
    :raises AmbiguousRepresentor: nothing tells which one it is.
    """
    uplink = own_device(pf_address, netdevs, switchdev=True)
    found = _candidates(pf_address, vf_number, netdevs)
    told = {"ifname": uplink or pf_address, "vf_num": vf_number}
    if not found:
        raise exception.RepresentorNotFound(**told)
    if len(found) > 1 or _could_be_anothers(found[0], pf_address, netdevs):
        names = ", ".join(sorted(one.name for one in found))
        raise exception.AmbiguousRepresentor(**told, candidates=names)
    return Representor(found[0].name, pf_address, vf_number, uplink)


def own_device(address: str, netdevs: Collection[Netdev], switchdev: bool = False) -> str | None:
    """Return which device is a function's own; None if there is none.

    Of several (nfp has one PF for all its ports) it is the port with the number of the function,
    else the first port: all of them are ports of the same switch.

    :param switchdev: take only the port of a switch: an uplink. Oldest drivers do not name it.
    """
    own = [
        (_rank(address, one), one.name)
        for one in netdevs
        if one.parent == address and _is_physical(one) and (one.switch_id or not switchdev)
    ]
    return min(own)[1] if own else None


def _is_physical(device: Netdev) -> bool:
    return device.port_name is None or _UPLINK.fullmatch(device.port_name) is not None


def _rank(address: str, device: Netdev) -> tuple[bool, bool, int, int]:
    match = _UPLINK.fullmatch(device.port_name or "")
    port, split = (int(match["port"]), int(match["split"] or 0)) if match else (0, 0)
    return match is None, port != _pf_number(address), port, split


def _candidates(pf_address: str, vf_number: int, netdevs: Collection[Netdev]) -> list[Netdev]:
    switches = {one.switch_id for one in netdevs if one.parent == pf_address and one.switch_id}
    wanted = {VfPort(vf_number, pf) for pf in (*_pf_numbers(pf_address, netdevs), None)}
    ports = [
        one for one in netdevs if one.switch_id in switches and vf_port(one.port_name) in wanted
    ]
    below = [one for one in ports if one.parent == pf_address]
    return below or [one for one in ports if one.parent is None]


def _could_be_anothers(device: Netdev, pf_address: str, netdevs: Collection[Netdev]) -> bool:
    """Below its PF it is sure; elsewhere only if its name fits no other PF of the switch."""
    if device.parent == pf_address:
        return False
    port = vf_port(device.port_name)
    others = {one.parent for one in netdevs if one.parent and one.switch_id == device.switch_id}
    return any(
        port is None or port.pf in (None, *_pf_numbers(other, netdevs))
        for other in others - {pf_address}
    )


def _pf_numbers(pf_address: str, netdevs: Collection[Netdev]) -> set[int]:
    """Return the numbers by which ports may call a PF: its function's, and its uplink's if any.

    nfp has one PF for all its ports, whose numbers say nothing of it.
    """
    own = (one for one in netdevs if one.parent == pf_address and one.switch_id)
    uplinks = filter(None, (_UPLINK.fullmatch(one.port_name or "") for one in own))
    numbers = {int(uplink["port"]) for uplink in uplinks}
    return {_pf_number(pf_address), *(numbers if len(numbers) == 1 else ())}


def _pf_number(pf_address: str) -> int:
    return int(pf_address.rpartition(".")[2])
