# SPDX-License-Identifier: Apache-2.0
"""Who can open a tap that os-vif makes: /dev/net/tun is open to every user of a host."""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from os_vif.kernel import execute, packing, tap
from os_vif.wiring.steps import CreateLink, LinkStep, SetLink
from tests.rig import run, wait_until
from tests.rig.capture import Capture
from tests.rig.snapshot import difference, links

ALIAS = "os-vif:ovs:test:1"
MAC = "fa:16:3e:00:00:01"
NOBODY = 65534

# linux/if_tun.h
TUNSETIFF, TUNSETQUEUE = 0x400454CA, 0x400454D9
TAP, MULTI_QUEUE, ATTACH, DETACH, NO_PI = 0x0002, 0x0100, 0x0200, 0x0400, 0x1000

pytestmark = pytest.mark.usefixtures("netns")

kinds = pytest.mark.parametrize("multiqueue", [False, True], ids=["single", "multiqueue"])


def has_other_users() -> bool:
    """Whether there are any: not in a user namespace made by an ordinary user."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]


def as_nobody(work: Callable[[], object]) -> int:
    """Do something as a user without rights; return the errno that it failed with, or 0."""
    if not has_other_users():
        pytest.skip("there is one user only")
    child = os.fork()
    if not child:
        code = 255
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            work()
            code = 0
        except OSError as err:
            code = err.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def take(*steps: LinkStep) -> None:
    ((_, reason, _),) = execute.execute([[packing.pack(step) for step in steps]])
    assert not reason


def make(multiqueue: bool) -> None:
    take(CreateLink("tap1", "tun", ALIAS, multiqueue=multiqueue), SetLink("tap1", {"up": True}))


def attach(multiqueue: bool, name: str = "tap1") -> int:
    """Open a tap; return the descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        ask(fd, TUNSETIFF, name, TAP | NO_PI | (MULTI_QUEUE if multiqueue else 0))
    except OSError:
        os.close(fd)
        raise
    return fd


def ask(fd: int, request: int, name: str, flags: int) -> None:
    fcntl.ioctl(fd, request, struct.pack("16sH22x", name.encode(), flags))


@contextmanager
def queues(multiqueue: bool) -> Iterator[list[int]]:
    """The descriptors that libvirt hands to QEMU: it opens a tap as root."""
    with ExitStack() as stack:
        fds = [attach(multiqueue) for _ in range(1 + multiqueue)]
        for fd in fds:
            stack.callback(os.close, fd)
        yield fds


@kinds
@pytest.mark.parametrize("running", [False, True], ids=["before-the-guest", "beside-the-guest"])
def test_another_user_cannot_open_a_tap(running: bool, multiqueue: bool) -> None:
    make(multiqueue)
    with queues(multiqueue) if running else ExitStack():
        assert as_nobody(lambda: attach(multiqueue)) == errno.EPERM


def test_a_tap_belongs_to_root() -> None:
    make(multiqueue=False)
    (said,) = [line for line in run(["ip", "tuntap"]).stdout.splitlines() if "tap1" in line]
    assert said.endswith(" user 0")


def test_whoever_was_faster_than_the_owner_loses_the_tap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between making a tap of several queues and giving it an owner anybody can open it."""
    real = fcntl.ioctl
    strangers: list[int] = []

    def ioctl(fd: int, request: int, *arguments: object) -> object:
        if request == tap.TUNSETOWNER:
            strangers.append(attach(multiqueue=True))
        return real(fd, request, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(tap.fcntl, "ioctl", ioctl)
    before = links()
    step = CreateLink("tap1", "tun", ALIAS, multiqueue=True)
    ((taken, reason, code),) = execute.execute([[packing.pack(step)]])
    assert (taken, code) == (0, errno.EBUSY)
    assert "tap1" in reason
    assert not difference(before, links())
    os.close(strangers[0])


def test_a_tap_that_is_there_keeps_its_owner() -> None:
    run(["ip", "tuntap", "add", "tap1", "mode", "tap", "user", str(NOBODY)])
    take(SetLink("tap1", {"mtu": 1400, "up": True}))
    assert as_nobody(lambda: attach(multiqueue=False)) == 0


@kinds
def test_who_was_given_a_descriptor_uses_it(multiqueue: bool) -> None:
    """As QEMU does, that libvirt gives it to: frames pass, queues are switched off and on."""
    make(multiqueue)
    frame = bytes.fromhex("ffffffffffff" + MAC.replace(":", "") + "0806") + bytes(46)

    def use(fds: list[int]) -> None:
        for fd in fds if multiqueue else []:
            for change in (DETACH, ATTACH):
                ask(fd, TUNSETQUEUE, "", change)
        for fd in fds:
            os.write(fd, frame)

    with queues(multiqueue) as fds, Capture("tap1") as capture:
        assert as_nobody(lambda: use(fds)) == 0
        wait_until(lambda: len(seen(capture)) == len(fds), what="a frame of each queue")


def seen(capture: Capture) -> list[object]:
    return [frame for frame in capture.frames if frame.source == MAC]
