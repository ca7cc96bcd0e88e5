# SPDX-License-Identifier: Apache-2.0
"""Network devices of Linux, for plugins outside of this repository.

What changes a device is a privileged call (:mod:`vif_plug_ovs.privileged`): names and MTUs that
Linux does not take raise ``InvalidValue``, what the kernel refuses raises ``LinkFailed``. Devices
that are made here carry the alias ``os-vif:ovs:facade:<device>``, as there is no VIF to name.
"""

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.kernel.daemon import KernelLinks
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import DeviceMtu, Element, Tap
from os_vif.wiring.engine import Engine
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Link, Value
from os_vif.wiring.steps import CreateLink, DeleteLink, LinkStep, SetLink
from vif_plug_ovs import constants, privileged, representors
from vif_plug_ovs.shapes import hybrid, names

NIC_NAME_LEN = names.NIC_NAME_LENGTH

#: The kind in the marks of what is made without a VIF.
FACADE = "facade"


def mark(device: str) -> Mark:
    """Return the mark of what is made for a caller who has a device's name and no VIF."""
    return Mark(constants.PLUGIN_NAME, FACADE, device)


# Devices: privileged calls -----------------------------------------------------------------------


def add_bridge_port(bridge: str, dev: str) -> None:
    """Put a device into a Linux bridge.

    :raises LinkFailed: either is missing, or the kernel refused it.
    """
    _execute(SetLink(dev, {"master": validate.device_name("bridge", bridge)}))


def create_tap(dev: str, mtu: int | None, mac: str | None, multiqueue: bool = False) -> None:
    """Make sure of a persistent tap device that is up; it does no IPv6 of its own.

    Of one that others made only the MTU is set.

    :param mtu: bytes; None for the kernel's.
    :param mac: its MAC address; None for a random one.
    :param multiqueue: whether it has several queues; only a new one can get them.
    :raises Contradiction: there is a device of that name and another kind.
    """
    _apply(Tap(dev, mac, mtu or None, mark(dev), multiqueue=bool(multiqueue)))


def create_veth_pair(dev1_name: str, dev2_name: str, mtu: int | None) -> None:
    """Make a pair of veth devices that are up and promiscuous, in place of what has their names.

    :param mtu: bytes, of both; None for the kernel's.
    :raises InvalidValue: a device of these names is one that os-vif never makes.
    """
    there = _observe(dev1_name, dev2_name)
    _execute(
        *(DeleteLink(link.name, link.kind) for link in there.values()),
        CreateLink(dev1_name, "veth", mark(dev1_name).alias, peer=dev2_name),
        *_veth_ends(dev1_name, dev2_name, mtu),
    )


def update_veth_pair(dev1_name: str, dev2_name: str, mtu: int | None) -> None:
    """Set a pair of veth devices up and promiscuous, and their MTU.

    :param mtu: bytes, of both; None to leave it.
    :raises LinkFailed: one of them is missing, or the kernel refused it.
    """
    _execute(*_veth_ends(dev1_name, dev2_name, mtu))


def ensure_bridge(bridge: str) -> None:
    """Make sure of a Linux bridge between two devices, as of a hybrid plug.

    It forgets every MAC address at once and so floods; it has neither STP, forward delay nor
    multicast snooping; IPv6 is off, ARP is answered for no address of the host; it is up.

    :raises Contradiction: there is a device of that name which is not a bridge.
    """
    _apply(hybrid.linux_bridge(bridge, mark(bridge)))


def delete_bridge(bridge: str, dev: str | None) -> None:
    """Take a device out of a Linux bridge, and delete the bridge. Missing ones are no error.

    :param dev: left where it is if that is not this bridge.
    :raises LinkFailed: ``bridge`` is a device of another kind, or the kernel refused it.
    """
    there = _observe(bridge, *([dev] if dev else []))
    if bridge in there:
        inside = [name for name in there if there[name].attributes.get("master") == bridge]
        detached = (SetLink(name, {"master": ""}) for name in inside)
        _execute(*detached, DeleteLink(bridge, "bridge"))


def delete_net_dev(dev: str) -> None:
    """Delete a bridge, veth pair, tap or tun device; a missing one is no error.

    :raises InvalidValue: it is of a kind that os-vif never makes, such as hardware.
    """
    _execute(*(DeleteLink(link.name, link.kind) for link in _observe(dev).values()))


def set_device_mtu(dev: str, mtu: int | None) -> None:
    """Set the MTU of a device; of a missing one (libvirt's tap comes later) nothing is set.

    :param mtu: bytes; None to leave it.
    """
    _apply(DeviceMtu(dev, mtu or None))


def set_interface_state(interface_name: str, port_state: str) -> None:
    """Set a device up or down.

    :param port_state: ``up`` or ``down``.
    :raises InvalidValue: it is something else.
    :raises LinkFailed: the device is missing, or the kernel refused it.
    """
    if port_state not in ("up", "down"):
        raise InvalidValue(field="port_state", value=port_state, reason="it is up or down")
    _execute(SetLink(interface_name, {"up": port_state == "up"}))


def _links() -> KernelLinks:
    return KernelLinks(privileged.change_links)


def _apply(element: Element) -> None:
    """Make links as an element describes them, or leave them as they were."""
    for name in element.scope.links:
        validate.device_name("device", name)
    Engine(_links()).apply(Wiring((element,)), Deadline.never())


def _observe(*devices: str) -> dict[str, Link]:
    for device in devices:
        validate.device_name("device", device)
    return dict(_links().observe(devices))


def _execute(*steps: LinkStep) -> None:
    for failure in _links().execute([steps], Deadline.never()) if steps else ():
        if (refusal := errors.final(failure)) is not None:
            raise refusal


def _veth_ends(dev1_name: str, dev2_name: str, mtu: int | None) -> list[SetLink]:
    wanted: dict[str, Value] = {"promisc": True, "up": True, **({"mtu": mtu} if mtu else {})}
    return [SetLink(name, wanted) for name in (dev1_name, dev2_name)]


# Facts: these read /sys, without privilege ----------------------------------------------------


def get_function_by_ifname(ifname: str) -> tuple[str | None, bool]:
    """Return the PCI address of a device, and whether that function is a physical one (PF).

    :returns: None and False if there is no such device, or it is not of a PCI function.
    """
    function = representors.function_of(ifname)
    return (function.address, function.total_vfs > 0) if function else (None, False)


def get_ifname_by_pci_address(
    pci_addr: str, pf_interface: bool = False, switchdev: bool = False
) -> str:
    """Return the device of a PCI function; see :func:`vif_plug_ovs.representors.interface`.

    :param pci_addr: as in 0000:03:00.2.
    :param pf_interface: find that of its physical function instead.
    :param switchdev: take only the port of a switch: an uplink.
    :raises PciDeviceNotFoundById: there is no such function, or it has no such device.
    """
    return representors.interface(pci_addr, pf_interface, switchdev)


def get_vf_num_by_pci_address(pci_addr: str) -> str:
    """Return the number of a virtual function, in digits.

    :raises PciDeviceNotFoundById: it is not one.
    """
    return str(representors.virtual_function(pci_addr).number)


def get_pf_pci_from_vf(vf_pci: str) -> str:
    """Return the PCI address of the physical function of a virtual one.

    :raises PciDeviceNotFoundById: it is not one.
    """
    return representors.virtual_function(vf_pci).pf_address


def get_representor_port(pf_ifname: str, vf_num: int | str) -> str:
    """Return the device that represents a virtual function.

    :param pf_ifname: a device of the physical function, such as the uplink.
    :param vf_num: the number of the virtual function.
    :raises RepresentorNotFound: there is none, or nothing tells which it is.
    """
    return representors.look_up_port(pf_ifname, int(vf_num)).device


def get_dpdk_representor_port_name(port_id: str) -> str:
    """Return the name of the port of a representor that DPDK drives."""
    return names.dpdk_representor(port_id)
