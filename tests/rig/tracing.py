# SPDX-License-Identifier: Apache-2.0
"""Run something in a forked process, and stop it and its descendants at their system calls.

A filter (seccomp) in the forked process stops it at each system call that is not listed in
`HARMLESS`, and a tracer (ptrace), which is the calling thread, is told before the call is made::

    def act(call: Call) -> Action: ...

    trace = traced(work, act)

Whoever is killed there has made all calls before, and not this one. What is not listed counts as
having effects, so a system call that nobody has thought of is one more point, not one less.
"""

import ctypes
import os
import platform
import signal
import socket
import struct
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tests.rig.plugin import Child

#: Calls without an effect outside of the process that makes them (x86-64): whether it dies before
#: or after such a call, it leaves the same. They ask, wait, change its own memory and its own
#: attributes, or open and close descriptors, all of which end with it: a close is what death does
#: to every descriptor, a lock of a file goes with it. What a call receives is listed where nobody
#: can tell that it was received, so not of sockets: whether a peer's request was read decides if
#: the peer sees an end or a reset. A thread is part of the process; a child is not.
HARMLESS = {
    "memory": {
        "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "mincore": 27,
        "madvise": 28, "membarrier": 324, "pkey_alloc": 330, "set_robust_list": 273,
        "get_robust_list": 274, "rseq": 334, "arch_prctl": 158, "set_tid_address": 218,
    },
    "descriptors": {
        "read": 0, "close": 3, "lseek": 8, "pread64": 17, "readv": 19, "pipe": 22, "dup": 32,
        "dup2": 33, "fcntl": 72, "flock": 73, "getdents64": 217, "eventfd2": 290, "dup3": 292,
        "epoll_create1": 291, "epoll_ctl": 233, "pipe2": 293, "close_range": 436, "fadvise64": 221,
        "socket": 41, "socketpair": 53, "getsockname": 51, "getpeername": 52, "setsockopt": 54,
        "getsockopt": 55, "memfd_create": 319,
    },
    "questions": {
        "stat": 4, "fstat": 5, "lstat": 6, "access": 21, "getcwd": 79, "readlink": 89,
        "getxattr": 191, "lgetxattr": 192, "newfstatat": 262, "readlinkat": 267,
        "faccessat": 269, "faccessat2": 439, "statx": 332, "statfs": 137, "fstatfs": 138,
        "uname": 63, "sysinfo": 99, "getrusage": 98, "times": 100, "getpid": 39, "getppid": 110,
        "gettid": 186, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108,
        "getpgrp": 111, "getpgid": 121, "getsid": 124, "getresuid": 118, "getresgid": 120,
        "getgroups": 115, "getrlimit": 97, "prlimit64": 302, "capget": 125, "getrandom": 318,
        "gettimeofday": 96, "time": 201, "clock_gettime": 228, "clock_getres": 229,
        "sched_getaffinity": 204, "sched_getparam": 143, "getcpu": 309,
    },
    "waiting": {
        "poll": 7, "select": 23, "sched_yield": 24, "nanosleep": 35, "wait4": 61, "futex": 202,
        "clock_nanosleep": 230, "epoll_wait": 232, "waitid": 247, "pselect6": 270, "ppoll": 271,
        "epoll_pwait": 281, "restart_syscall": 219, "pause": 34,
    },
    "its own attributes": {
        "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131,
        "setuid": 105, "setgid": 106, "setgroups": 116, "setresuid": 117, "setresgid": 119,
        "capset": 126, "prctl": 157, "umask": 95, "chdir": 80, "setrlimit": 160, "setpgid": 109,
        "clone3 (a thread)": 435, "exit": 60, "exit_group": 231,
    },
}  # fmt: skip

#: Those with effects that are told by their names in reports; others by their numbers.
NAMES = {
    1: "write", 16: "ioctl", 20: "writev", 42: "connect", 43: "accept", 44: "sendto",
    45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 48: "shutdown", 49: "bind", 50: "listen",
    56: "clone", 57: "fork", 58: "vfork", 59: "execve", 62: "kill", 82: "rename", 83: "mkdir",
    84: "rmdir", 87: "unlink", 112: "setsid", 234: "tgkill", 257: "openat", 263: "unlinkat",
    288: "accept4", 307: "sendmmsg",
}  # fmt: skip
_OPENAT, _IOCTL, _CLONE = 257, 16, 56
#: Of ioctl: FIONBIO, FIOCLEX, TCGETS, SIOCGIFNAME and SIOCGIFINDEX.
_HARMLESS_IOCTLS = {0x5421, 0x5451, 0x5401, 0x8910, 0x8933}
_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x10000

# linux/ptrace.h, linux/seccomp.h, linux/filter.h, linux/prctl.h
_SEIZE, _CONT, _SYSCALL, _GETEVENTMSG, _GET_SYSCALL_INFO = 0x4206, 7, 24, 0x4201, 0x420E
_TRACESYSGOOD, _TRACEFORK, _TRACEVFORK, _TRACECLONE, _TRACEEXEC = 1, 2, 4, 8, 0x10
_TRACESECCOMP, _EXITKILL = 0x80, 0x100000
_EVENT_FORK, _EVENT_VFORK, _EVENT_CLONE, _EVENT_SECCOMP = 1, 2, 3, 7
_OPTIONS = (
    _TRACESYSGOOD | _TRACEFORK | _TRACEVFORK | _TRACECLONE | _TRACEEXEC | _TRACESECCOMP | _EXITKILL
)
_WALL = 0x40000000
_INFO = struct.Struct("=BxxxIQQQ6Q")
#: Of user_regs_struct (x86-64): its size, and where a call's result is.
_GETREGS, _SETREGS, _REGISTERS, _RAX = 12, 13, 27 * 8, 10 * 8
_PIDFD_GETFD = 438
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_LOAD, _EQUAL, _ANY_OF, _RETURN = 0x20, 0x15, 0x45, 0x06
_ARGUMENT_2 = 32

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


#: What becomes of a call: it is made; or made and told again when it has returned; or a set of
#: roles, whose processes are killed before it is made.
PASS: frozenset[str] = frozenset()
WATCH = "watch"


@dataclass(frozen=True)
class Call:
    """A system call that may have effects, about to be made."""

    pid: int
    tid: int
    role: str
    number: int
    arguments: tuple[int, ...]
    #: What it has returned; None: it is about to be made.
    returned: int | None = None

    def __str__(self) -> str:
        return f"{self.name} of the {self.role}"

    @property
    def name(self) -> str:
        """Its name."""
        return NAMES.get(self.number, f"system call {self.number}")

    def family(self) -> int | None:
        """The address family of its first argument; None if that is no socket."""
        pid = os.pidfd_open(self.pid)
        try:
            copy = _libc.syscall(_PIDFD_GETFD, pid, self.arguments[0], 0)
        finally:
            os.close(pid)
        if copy < 0:
            return None
        try:
            with socket.socket(fileno=copy) as its:
                return its.family
        except OSError:
            os.close(copy)
            return None

    def is_to_peer(self) -> bool:
        """Whether it sends something to another process."""
        peers = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
        return self.name in ("sendto", "sendmsg", "write", "writev") and self.family() in peers

    def buffer(self, size: int) -> bytes:
        """What its second argument points to."""
        with open(f"/proc/{self.tid}/mem", "rb", buffering=0) as memory:
            memory.seek(self.arguments[1])
            return memory.read(size)

    def change_buffer(self, data: bytes, at: int = 0) -> None:
        """Write to where its second argument points."""
        with open(f"/proc/{self.tid}/mem", "r+b", buffering=0) as memory:
            memory.seek(self.arguments[1] + at)
            memory.write(data)

    def fail(self, code: int) -> None:
        """Let a call that has returned return an error instead."""
        registers = ctypes.create_string_buffer(_REGISTERS)
        _ptrace(_GETREGS, self.tid, 0, ctypes.addressof(registers))
        struct.pack_into("=q", registers, _RAX, -code)
        _ptrace(_SETREGS, self.tid, 0, ctypes.addressof(registers))


Act = Callable[[Call], "frozenset[str] | str"]


def _ptrace(request: int, pid: int, address: Any = 0, data: Any = 0) -> int:
    done = int(_libc.ptrace(request, pid, address, data))
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}")
    return done


def _instruction(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)


def _program(every: bool) -> bytes:
    """A filter that stops at all but harmless calls."""
    harmless = [] if every else [n for some in HARMLESS.values() for n in some.values()]
    program = [_instruction(_LOAD, 0)]
    if not every:
        program += [
            _instruction(_EQUAL, _OPENAT, 0, 4),
            _instruction(_LOAD, _ARGUMENT_2),
            _instruction(_ANY_OF, _CHANGING, 0, 1),
            _instruction(_RETURN, _TRACE),
            _instruction(_RETURN, _ALLOW),
        ]
    for number in harmless:
        program += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _ALLOW)]
    return b"".join([*program, _instruction(_RETURN, _TRACE)])


def _filter_calls(program: bytes) -> None:
    """Have this process and its descendants stopped by their tracer."""
    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(
        struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    )
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.prctl(
        _PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(head)), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


class Tracer:
    """Follows a forked process and its descendants, until all have ended.

    The forked one is the ``process``, what it forks a ``helper``, and what that starts a
    ``program``.

    :param act: says what becomes of each call with effects.
    :param seconds: after which all of them are killed.
    """

    def __init__(self, act: Act, seconds: float = 60.0) -> None:
        self._act = act
        self._deadline = time.monotonic() + seconds
        #: The call at which somebody was killed.
        self.killed: Call | None = None
        #: What the work returned or raised; neither where it was killed.
        self.result: Any = None
        self.error: Exception | None = None
        #: Whether it ended by itself.
        self.ended = False
        self._status = 0
        #: Thread -> its process; process -> its role.
        self._process: dict[int, int] = {}
        self._roles: dict[int, str] = {}
        self._watched: dict[int, Call] = {}

    def run(self, work: Callable[[], Any], *, every: bool = False) -> "Tracer":
        """Do something in a forked process, and follow it.

        :param every: stop at harmless calls, too.
        :raises TimeoutError: they do not end.
        """
        if platform.machine() != "x86_64":
            raise NotImplementedError("system calls are known by their numbers on x86-64 only")
        read, write = os.pipe()
        program = _program(every)

        def begin() -> Any:
            os.close(write)
            os.read(read, 1)
            _filter_calls(program)
            return work()

        with Child(begin) as child:
            os.close(read)
            _ptrace(_SEIZE, child.pid, 0, _OPTIONS)
            self._process[child.pid], self._roles[child.pid] = child.pid, "process"
            os.close(write)
            while self._process:
                pid, status = self._wait()
                if os.WIFSTOPPED(status):
                    with suppress(ProcessLookupError):
                        self._stopped(pid, status)
                else:
                    self._ended(pid, status, child)
            self.ended = os.WIFEXITED(self._status)
            if self.ended:
                try:
                    self.result = child.result()
                except Exception as error:
                    self.error = error
        return self

    # What is told -----------------------------------------------------------------------------

    def _wait(self) -> tuple[int, int]:
        while True:
            pid, status = os.waitpid(-1, _WALL | os.WNOHANG)
            if pid:
                return pid, status
            if time.monotonic() > self._deadline:
                self._kill(set(self._roles.values()))
                raise TimeoutError(f"what is traced does not end: {self._roles}")
            time.sleep(0.0002)

    def _ended(self, pid: int, status: int, child: Child) -> None:
        self._process.pop(pid, None)
        self._watched.pop(pid, None)
        if pid == child.pid:
            self._status = child._status = status

    def _stopped(self, tid: int, status: int) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        if tid not in self._process:
            self._adopt(tid)
        if event == _EVENT_SECCOMP:
            self._called(tid)
        elif number == signal.SIGTRAP | 0x80:
            self._returned(tid)
        else:
            if event in (_EVENT_FORK, _EVENT_VFORK, _EVENT_CLONE):
                message = ctypes.c_ulong()
                _ptrace(_GETEVENTMSG, tid, 0, ctypes.addressof(message))
                self._born(message.value, tid, event)
            _ptrace(_CONT, tid, 0, 0 if event else number)

    def _adopt(self, tid: int) -> None:
        """Take in one that stops before its birth was told."""
        with open(f"/proc/{tid}/status") as file:
            facts = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        tgid = int(facts["Tgid"])
        self._process[tid] = tgid
        if tgid == tid:
            self._role(tid, int(facts["PPid"]))

    def _born(self, tid: int, parent: int, event: int) -> None:
        if tid in self._process:
            return
        if event == _EVENT_CLONE:
            self._process[tid] = self._process[parent]
        else:
            self._process[tid] = tid
            self._role(tid, self._process[parent])

    def _role(self, pid: int, parent: int) -> None:
        of_parent = self._roles.get(parent, "process")
        self._roles[pid] = {"process": "helper", "helper": "program"}.get(of_parent, "program")

    def _called(self, tid: int) -> None:
        call = self._call(tid)
        if not has_effects(call):
            _ptrace(_CONT, tid)
            return
        self._do(call)

    def _returned(self, tid: int) -> None:
        registers = ctypes.create_string_buffer(_REGISTERS)
        _ptrace(_GETREGS, tid, 0, ctypes.addressof(registers))
        (value,) = struct.unpack_from("=q", registers, _RAX)
        self._do(replace(self._watched.pop(tid), returned=value))

    def _do(self, call: Call) -> None:
        action = self._act(call) if self.killed is None else PASS
        if isinstance(action, str):
            self._watched[call.tid] = call
            _ptrace(_SYSCALL, call.tid)
            return
        if action:
            self.killed = call
            self._kill(action)
        if call.role not in action:
            _ptrace(_CONT, call.tid)

    def _call(self, tid: int) -> Call:
        buffer = ctypes.create_string_buffer(_INFO.size + 32)
        _ptrace(_GET_SYSCALL_INFO, tid, len(buffer), ctypes.addressof(buffer))
        _, _, _, _, number, *arguments = _INFO.unpack_from(buffer.raw)
        pid = self._process[tid]
        return Call(pid, tid, self._roles[pid], number, tuple(arguments))

    def _kill(self, roles: Collection[str]) -> None:
        for pid in set(self._process.values()):
            if self._roles[pid] in roles:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def has_effects(call: Call) -> bool:
    """Whether a call that is not listed as harmless has an effect, by its arguments."""
    if call.number == _IOCTL:
        return call.arguments[1] not in _HARMLESS_IOCTLS
    return not (call.number == _CLONE and call.arguments[0] & _CLONE_THREAD)
