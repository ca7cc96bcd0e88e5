# SPDX-License-Identifier: Apache-2.0
"""Network devices of Linux, by netlink."""

import errno
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from os_vif import exception
from os_vif.internal.ip import ip_command

# pyroute2 0.9 runs an event loop inside its calls: of two greenthreads of an eventlet process that
# are in it at once, one fails ("event loop is already running"). It is imported under the lock as
# well: Python lets the greenthreads of a process into a module that one of them still imports, and
# the import of pyroute2 0.8 switches greenthreads.
_LOCK = threading.Lock()


class PyRoute2(ip_command.IpCommand):
    """Devices in the network namespace of the calling thread.

    Nothing is kept: each call opens its socket and closes it.
    """

    def exists(self, device: str) -> bool:
        """See :meth:`IpCommand.exists`."""
        try:
            socket.if_nametoindex(device)
        except OSError as err:
            # Before 3.14 Python says "no interface with this name" without a number.
            if err.errno in (None, errno.ENODEV, errno.ENXIO):
                return False
            raise
        return True

    @contextmanager
    def _netlink(
        self, method: str, device: str, check_exit_code: Collection[int] | None
    ) -> Iterator[Any]:
        with _LOCK:
            import pyroute2  # takes a quarter of a second to import

        tolerated = check_exit_code or ()
        try:
            with _LOCK, pyroute2.IPRoute() as ip:
                yield ip
        except exception.NetworkInterfaceNotFound:
            if errno.ENODEV not in tolerated:
                raise
        except pyroute2.NetlinkError as err:
            if err.code in tolerated:
                return
            if err.code == errno.ENODEV:
                raise exception.NetworkInterfaceNotFound(interface=device) from err
            raise
