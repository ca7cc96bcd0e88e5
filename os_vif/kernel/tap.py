# SPDX-License-Identifier: Apache-2.0
"""Make a tap, all or nothing.

rtnetlink cannot make one, and pyroute2's stand-in takes over a tap that is there already.

``/dev/net/tun`` is open to all users, and of a tap without an owner the kernel lets any of them
attach to it (``tun_not_capable`` of drivers/net/tun.c): read what a guest receives, and send in
its stead. So a tap belongs to root from the start. libvirt attaches with CAP_NET_ADMIN, which
counts for more than the owner, and hands QEMU a descriptor, for which no right is needed.
"""

import errno
import fcntl
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager

TUNDEV = "/dev/net/tun"

# linux/if_tun.h: _IOW('T', number, int); how its direction is written differs by architecture
_WRITES = 0x8 if platform.machine().startswith(("ppc", "mips", "sparc", "alpha")) else 0x4
TUNSETIFF, TUNSETPERSIST, TUNSETOWNER = (_WRITES << 28 | 0x454CA + n for n in range(3))
_IFF_TAP, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_TUN_EXCL = 0x0002, 0x0100, 0x1000, 0x8000

_ROOT = 0
_IFREQ = struct.Struct("16sH22x")


@contextmanager
def created(name: str, *, multiqueue: bool) -> Iterator[None]:
    """Make a tap of root's that stays if the block succeeds, and goes with it if that fails.

    Until then it hangs on our descriptor, so one that was not finished dies with this process.
    One of several queues may be another process's as well, that attached to it before it had an
    owner: see :func:`os_vif.kernel.observe.queues`.

    :raises FileExistsError: the name is taken.
    :raises OSError: the kernel refused it.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL | (_IFF_MULTI_QUEUE if multiqueue else 0)
    device = os.open(TUNDEV, os.O_RDWR | os.O_CLOEXEC)
    try:
        _attach(device, name, flags)
        fcntl.ioctl(device, TUNSETOWNER, _ROOT)
        yield
        fcntl.ioctl(device, TUNSETPERSIST, 1)
    finally:
        os.close(device)


def _attach(device: int, name: str, flags: int) -> None:
    try:
        fcntl.ioctl(device, TUNSETIFF, _IFREQ.pack(name.encode(), flags))
    except OSError as err:
        if err.errno == errno.EBUSY:  # what IFF_TUN_EXCL says of a name that is taken
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from err
        raise
