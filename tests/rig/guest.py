# SPDX-License-Identifier: Apache-2.0
"""Guests: an IPv4 stack in a namespace of its own, behind a VIF of the host.

Only ICMP is sent. For TCP or UDP through the userspace datapath and a veth, turn off the
guest's checksum offload first (``ethtool -K eth0 tx off``): nobody fills in the checksums there.
"""

import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.rig import CommandError, kept, run
from tests.rig.namespace import NetworkNamespace

DEVICE = "eth0"

_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_MULTI_QUEUE = 0x0100
_IP_AND_ICMP_HEADERS = 28

#: Seconds for an answer that is to come, ample for a busy machine, and how often one tries.
_AMPLE, _ATTEMPTS = 5.0, 3


class Guest:
    """What both kinds of guest share; the kinds say how ``eth0`` gets there."""

    def __init__(self, mac: str, address: str, mtu: int | None = None) -> None:
        """:param address: with its prefix length, such as 192.0.2.1/24."""
        self.mac = mac
        self.address = address
        self.mtu = mtu
        self._stack = ExitStack()

    @property
    def ip(self) -> str:
        """The address without its prefix length, for others to ping."""
        return self.address.partition("/")[0]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.namespace = stack.enter_context(NetworkNamespace())
            self.namespace.disable_ipv6()
            self._connect(stack)
            self._configure()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Switch the guest off; harmless when done twice."""
        self._stack.close()

    def ping(
        self,
        address: str,
        count: int = 3,
        interval: float = 0.2,
        size: int | None = None,
        dont_fragment: bool = False,
        wait: float = _AMPLE,
    ) -> tuple[int, int]:
        """Ping from the guest, and return how many requests were sent and answered.

        ovs-vswitchd drops packets while it sets up its datapath, so answers that are to come may
        come at the second or third attempt.

        :param interval: seconds between requests.
        :param wait: seconds to wait for the last answer; short ones are for what is not to come.
        :param size: bytes of the whole IP packet, so that it compares with an MTU.
        :raises CommandError: when ping itself failed.
        """
        argv = ["ping", "-n", "-q", "-W", str(wait), "-c", str(count), "-i", str(interval)]
        if size is not None:
            argv += ["-s", str(size - _IP_AND_ICMP_HEADERS)]
        if dont_fragment:
            argv += ["-M", "do"]
        for _ in range(_ATTEMPTS if wait >= _AMPLE else 1):
            sent, answered = self._ping([*argv, address])
            if answered == sent:
                break
        return sent, answered

    def _ping(self, argv: list[str]) -> tuple[int, int]:
        done = self.namespace.run(argv, check=False)
        counts = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
        if counts is None:
            raise CommandError(f"{' '.join(argv)}: {(done.stderr + done.stdout).strip()}")
        return int(counts[1]), int(counts[2])

    def _connect(self, stack: ExitStack) -> None:
        raise NotImplementedError

    def _configure(self) -> None:
        link = ["ip", "link", "set", DEVICE, "address", self.mac]
        mtu = [] if self.mtu is None else ["mtu", str(self.mtu)]
        self.namespace.run(["ip", "address", "add", self.address, "dev", DEVICE])
        self.namespace.run([*link, *mtu, "up"])


class TapGuest(Guest):
    """Opens a tap of the host as QEMU does.

    The tap must exist, with or without ``multi_queue`` as given, and stays when it is persistent;
    it has a carrier while the guest runs. Nobody but the host sets it up.
    """

    def __init__(
        self,
        tap_name: str,
        mac: str,
        address: str,
        mtu: int | None = None,
        multi_queue: bool = False,
        queues: int = 1,
    ) -> None:
        """:param queues: how many queues to open; more than one needs ``multi_queue``."""
        super().__init__(mac, address, mtu)
        self.tap_name = tap_name
        self.multi_queue = multi_queue
        self.queues = queues

    @property
    def pid(self) -> int:
        """The process that holds the tap, for tests that kill a guest."""
        return self._process.pid

    def _connect(self, stack: ExitStack) -> None:
        socket.if_nametoindex(self.tap_name)  # TUNSETIFF would create a tap that is missing
        with ExitStack() as ours:
            taps = [self._open(self.tap_name, ours, self.multi_queue) for _ in range(self.queues)]
            self._pump(taps, stack)

    def _pump(self, taps: list[int], stack: ExitStack) -> None:
        with ExitStack() as ours:
            with self.namespace.enter():
                guest = self._open(DEVICE, ours)
            self._process = _start_pump(guest, taps)
        stack.callback(_end, self._process)

    @staticmethod
    def _open(name: str, stack: ExitStack, multi_queue: bool = False) -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, fd)
        flags = _IFF_TAP | _IFF_NO_PI | (_IFF_MULTI_QUEUE if multi_queue else 0)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        return fd


class LibvirtGuest(TapGuest):
    """Makes its tap first, as libvirt does: with a MAC that starts with ``fe:``, up, not
    persistent, so that it goes with the guest."""

    def __init__(
        self,
        tap_name: str,
        mac: str,
        address: str,
        mtu: int | None = None,
        tap_mtu: int | None = None,
    ) -> None:
        """:param tap_mtu: of the host's end; None: as the guest's."""
        super().__init__(tap_name, mac, address, mtu)
        self.tap_mtu = mtu if tap_mtu is None else tap_mtu

    @property
    def tap_mac(self) -> str:
        """That of the host's end."""
        return f"fe{self.mac[2:]}"

    def _connect(self, stack: ExitStack) -> None:
        with ExitStack() as ours:
            tap = self._open(self.tap_name, ours)
            mtu = [] if self.tap_mtu is None else ["mtu", str(self.tap_mtu)]
            run(["ip", "link", "set", self.tap_name, "address", self.tap_mac, *mtu, "up"])
            self._pump([tap], stack)


class BridgeGuest(Guest):
    """A veth pair; the host's end is named ``port_name`` and is a port of a Linux bridge.

    It stands where libvirt puts its tap, bears a MAC that starts with ``fe:`` as libvirt's do, and
    is deleted with the guest.
    """

    def __init__(
        self, bridge: str | None, port_name: str, mac: str, address: str, mtu: int | None = None
    ) -> None:
        """:param bridge: the Linux bridge, or None for a port that OVS is to take."""
        super().__init__(mac, address, mtu)
        self.bridge = bridge
        self.port_name = port_name

    def _connect(self, stack: ExitStack) -> None:
        host = stack.enter_context(NetworkNamespace.current())
        self._make_pair()
        stack.callback(_delete, self.port_name, host)
        if self.bridge is not None:
            run(["ip", "link", "set", self.port_name, "master", self.bridge])
        mtu = [] if self.mtu is None else ["mtu", str(self.mtu)]
        run(["ip", "link", "set", self.port_name, *mtu, "up"])

    def _make_pair(self) -> None:
        fd = self.namespace.fd
        host_end = [self.port_name, "address", f"fe{self.mac[2:]}", "type", "veth"]
        guest_end = ["peer", "name", DEVICE, "netns", f"/proc/self/fd/{fd}"]
        run(["ip", "link", "add", "name", *host_end, *guest_end], pass_fds=(fd,))


def _start_pump(guest: int, taps: list[int]) -> subprocess.Popen[bytes]:
    fds = [guest, *taps]
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("pump.py"))]
    return subprocess.Popen(
        kept([*program, *map(str, fds)]), stdin=subprocess.DEVNULL, pass_fds=fds
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _delete(link: str, host: NetworkNamespace) -> None:
    host.run(["ip", "link", "delete", link], check=False)  # the test may have deleted it
