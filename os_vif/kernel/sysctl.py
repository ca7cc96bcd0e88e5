# SPDX-License-Identifier: Apache-2.0
"""Per-device sysctls that count as attributes of a link.

See Documentation/networking/ip-sysctl.rst of the kernel for what they mean. /proc/sys/net is
always that of the thread's own namespace.
"""

import os
from collections.abc import Iterable

from os_vif.wiring.state import SYSCTLS

#: What decides how a host uses the addresses of a device: which packets it accepts, forwards and
#: answers there, and what it learns from routers. With a link-local address of its own each
#: device goes on (addr_gen_mode). What a bridge answers to ARP its wiring says (arp_ignore).
OF_ADDRESSES: dict[str, tuple[str, ...]] = {
    "ipv4": (
        "accept_local",
        "accept_redirects",
        "accept_source_route",
        "arp_accept",
        "arp_filter",
        "bc_forwarding",
        "disable_policy",
        "disable_xfrm",
        "drop_gratuitous_arp",
        "drop_unicast_in_l2_multicast",
        "forwarding",
        "ignore_routes_with_linkdown",
        "log_martians",
        "promote_secondaries",
        "proxy_arp",
        "proxy_arp_pvlan",
        "route_localnet",
        "rp_filter",
        "secure_redirects",
        "send_redirects",
        "shared_media",
        "src_valid_mark",
    ),
    "ipv6": (
        "accept_dad",
        "accept_ra",
        "accept_ra_defrtr",
        "accept_ra_from_local",
        "accept_ra_min_hop_limit",
        "accept_ra_min_lft",
        "accept_ra_mtu",
        "accept_ra_pinfo",
        "accept_ra_rt_info_max_plen",
        "accept_ra_rt_info_min_plen",
        "accept_ra_rtr_pref",
        "accept_redirects",
        "accept_source_route",
        "autoconf",
        "dad_transmits",
        "disable_policy",
        "drop_unicast_in_l2_multicast",
        "drop_unsolicited_na",
        "forwarding",
        "hop_limit",
        "ignore_routes_with_linkdown",
        "ndisc_notify",
        "proxy_ndp",
        "ra_defrtr_metric",
        "router_solicitations",
        "temp_prefered_lft",
        "temp_valid_lft",
        "use_tempaddr",
    ),
}


def _path(link: str, family: str, name: str) -> str:
    return f"/proc/sys/net/{family}/conf/{link}/{name}"


def count_links() -> int:
    """Count the links of the thread's own namespace; 2 ms where there are 2,000.

    :raises OSError: the kernel refused to say.
    """
    return len(os.listdir("/proc/sys/net/ipv4/conf")) - len(("all", "default"))


def read(link: str, attributes: Iterable[str]) -> dict[str, int]:
    """Read some of a link's; those that this kernel has not (it may have no IPv6) are left out.

    :raises OSError: the kernel refused to say.
    """
    return {
        attribute: int(value)
        for attribute in attributes
        if (value := _content(_path(link, SYSCTLS[attribute], attribute))) is not None
    }


def _content(path: str) -> bytes | None:
    # A re-plug reads a handful of these: pathlib would cost more than the kernel does.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)


def write(link: str, attribute: str, value: int) -> None:
    """Set one of a link's; without effect where this kernel has no such family.

    :raises OSError: the kernel refused it.
    """
    if os.path.isdir(f"/proc/sys/net/{SYSCTLS[attribute]}"):
        write_of_addresses(link, SYSCTLS[attribute], attribute, str(value))


def of_addresses(link: str, family: str) -> dict[str, str]:
    """Read what :data:`OF_ADDRESSES` names, of one family, less what this kernel has not.

    :param family: ``ipv4`` or ``ipv6``.
    :raises OSError: the kernel refused to say.
    """
    return {
        name: value.decode().strip()
        for name in OF_ADDRESSES[family]
        if (value := _content(_path(link, family, name))) is not None
    }


def write_of_addresses(link: str, family: str, name: str, value: str) -> None:
    """Set one of those.

    :raises OSError: the kernel refused it.
    """
    with open(_path(link, family, name), "w") as sysctl:
        sysctl.write(value)
