# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for the calling thread and for guests.

Namespaces belong to threads. A thread or process started inside a namespace inherits it; one
that was started before, elsewhere, stays where it was (take it in with `NetworkNamespace.enter`).
Python 3.11 has neither os.unshare nor os.setns, so libc is called directly.
"""

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tests.rig import run

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MS_REC_PRIVATE = 0x4000 | (1 << 18)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p,
)  # fmt: skip


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def _setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def _mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int) -> None:
    _check(_libc.mount(source, target, kind, flags, None), f"mount {target.decode()}")


def _own(kind: str) -> int:
    """Open the calling thread's namespace; /proc/self would be that of the main thread."""
    return os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


class NetworkNamespace:
    """A network namespace held by a file descriptor, without a name under /run/netns.

    It lives until `close` and until the last process, socket and tap in it is gone.
    """

    def __init__(self) -> None:
        former = _own("net")
        try:
            _unshare(CLONE_NEWNET)
            try:
                self.fd = _own("net")
            finally:
                _setns(former, CLONE_NEWNET)
        finally:
            os.close(former)

    @classmethod
    def current(cls) -> Self:
        """Hold the calling thread's namespace, for example to take another thread there."""
        self = cls.__new__(cls)
        self.fd = _own("net")
        return self

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take the calling thread into this namespace; /sys stays as it was."""
        former = _own("net")
        try:
            _setns(self.fd, CLONE_NEWNET)
            try:
                yield
            finally:
                _setns(former, CLONE_NEWNET)
        finally:
            os.close(former)

    def run(
        self, argv: Sequence[str], check: bool = True, **popen: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this namespace.

        :raises CommandError: for an exit status other than 0, unless ``check`` is false.
        """
        with self.enter():
            return run(argv, check=check, **popen)

    def disable_ipv6(self) -> None:
        """Keep the kernel from talking by itself (router solicitation, DAD, MLD reports)."""
        with self.enter():
            for which in ("all", "default"):
                with suppress(FileNotFoundError):  # a kernel without IPv6
                    Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")

    def close(self) -> None:
        """Let go of the namespace; harmless when done twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Former:
    """What a thread has to get back when it leaves a private network."""

    def __init__(self) -> None:
        self._net = _own("net")
        self._mounts = _own("mnt")
        self._root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        self._cwd = os.open(".", os.O_PATH | os.O_CLOEXEC)

    def restore(self) -> None:
        _setns(self._net, CLONE_NEWNET)
        # The kernel refuses a mount namespace to a thread that shares its working directory with
        # the threads it started.
        _unshare(CLONE_FS)
        _setns(self._mounts, CLONE_NEWNS)
        # setns went to the root of the mount namespace: out of a chroot, if we were in one.
        os.fchdir(self._root)
        os.chroot(".")
        os.fchdir(self._cwd)

    def close(self) -> None:
        for fd in (self._net, self._mounts, self._root, self._cwd):
            os.close(fd)


def _private_sysfs() -> None:
    """Mount a sysfs that shows the devices of the thread's network namespace."""
    _mount(None, b"/", None, _MS_REC_PRIVATE)
    try:
        _mount(b"sysfs", b"/sys", b"sysfs", _MS_NOSUID_NODEV_NOEXEC)
    except OSError as error:
        # In a user namespace the kernel wants an unobstructed sysfs to be there already, which
        # some containers lack. Then /sys stays as it was; only readers of /sys/class/net notice.
        if error.errno != errno.EPERM:
            raise


@contextmanager
def private_network() -> Iterator[NetworkNamespace]:
    """Give the calling thread a fresh network namespace and a /sys that shows it.

    ``lo`` is up. On exit the thread is back in its former namespaces and working directory, and
    the namespace dies as soon as the last thread and process started inside is gone.
    """
    former = _Former()
    try:
        _unshare(CLONE_NEWNET | CLONE_NEWNS)
        try:
            _private_sysfs()
            run(["ip", "link", "set", "lo", "up"])
            with NetworkNamespace.current() as here:
                yield here
        finally:
            former.restore()
    finally:
        former.close()
