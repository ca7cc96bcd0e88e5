# SPDX-License-Identifier: Apache-2.0
"""Run a command under Debian's kernel: ``python -m tests.rig.vm COMMAND [ARGUMENT ...]``.

For what the kernel of this machine may lack: Open vSwitch's datapath, VLAN devices. A virtual
machine is booted for the command, which runs as root, with the files, the working directory and
the environment that it would have here. The machine has no network. It reads this machine's files,
and what it writes stays in its memory. The processor is emulated, so it runs anywhere; programs
take some 20 times as long.

Needs the packages qemu-system-x86, linux-image-amd64 (the cloud flavour lacks the file system),
busybox-static and kmod. ``OS_VIF_VM_SECONDS`` is another limit than 500 seconds.

The exit status is the command's; or 124 when time was up, 125 when the machine stopped without
one, 126 when it could not be started. In the first two cases the end of its console is shown.
"""

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from compileall import compile_dir
from pathlib import Path

from tests.rig import CommandError, kept, run

#: On the command line of the kernel; tests ask for it before they trust their surroundings.
MARK = "os-vif-vm"

LATE, DIED, NOT_STARTED = 124, 125, 126

_BUSYBOX, _MODPROBE, _QEMU = "/bin/busybox", "/sbin/modprobe", "/usr/bin/qemu-system-x86_64"
_PACKAGES = {_BUSYBOX: "busybox-static", _MODPROBE: "kmod", _QEMU: "qemu-system-x86"}
#: What it takes to reach the root file system and the ports for output.
_MODULES = ("virtio_pci", "virtio_console", "virtio_rng", "9pnet_virtio", "9p", "overlay")
_CONSOLE_LINES = 60

_ROOT = Path(__file__).parents[2]


class RigError(Exception):
    """The virtual machine cannot be started; the message says what is missing."""


def main(command: Sequence[str]) -> int:
    """Run the command in a virtual machine and return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        folder = Path(name)
        try:
            release = _newest_kernel()
            _pack_initrd(folder, release, _script(command, os.environ, os.getcwd()))
        except (RigError, CommandError, OSError) as error:
            _say(str(error))
            return NOT_STARTED
        _compile()
        return _boot(folder, release, float(os.environ.get("OS_VIF_VM_SECONDS", "500")))


def _newest_kernel() -> str:
    """Return the release of the newest stock kernel, once all that is needed is there."""
    missing = [package for path, package in _PACKAGES.items() if not os.path.exists(path)]
    found = [path.name.removeprefix("vmlinuz-") for path in Path("/boot").glob("vmlinuz-*-amd64")]
    stock = [release for release in found if not re.search("-(cloud|rt)-", release)]
    if missing or not stock:
        raise RigError(f"install {' '.join(missing or ['linux-image-amd64'])}")
    return max(stock, key=lambda release: [int(part) for part in re.findall(r"\d+", release)])


def _script(command: Sequence[str], environment: Mapping[str, str], directory: str) -> str:
    """Return a shell script that runs the command in the same surroundings as here."""
    variables = [
        f"export {name}={shlex.quote(value)}\n"
        for name, value in environment.items()
        if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)
    ]
    return f"{''.join(variables)}cd {shlex.quote(directory)} && exec {shlex.join(command)}\n"


def _compile() -> None:
    """Compile what has changed here, where it takes no time."""
    for package in (_ROOT / "os_vif", _ROOT / "tests", *_ROOT.glob("vif_plug_*")):
        compile_dir(package, quiet=2)


# What it boots from -----------------------------------------------------------------------------


def _pack_initrd(folder: Path, release: str, script: str) -> None:
    """Write ``folder/initrd``: the first process, the modules that it loads, and the command."""
    tree = folder / "tree"
    for name in ("bin", "proc", "sys", "dev", "host", "layer", "new"):
        (tree / name).mkdir(parents=True)
    shutil.copy(_BUSYBOX, tree / "bin")
    shutil.copy(Path(__file__).with_name("vm-init"), tree / "init")
    (tree / "init").chmod(0o755)
    (tree / "command").write_text(script)
    names = [_add_module(path, tree) for path in _module_files(release)]
    (tree / "modules").write_text("".join(f"/{name}\n" for name in names))
    with open(folder / "initrd", "wb") as initrd:
        subprocess.run(
            [_BUSYBOX, "cpio", "-o", "-H", "newc"],
            input=b"".join(bytes(each.relative_to(tree)) + b"\n" for each in tree.rglob("*")),
            stdout=initrd,
            stderr=subprocess.DEVNULL,
            cwd=tree,
            check=True,
        )


def _module_files(release: str) -> Iterable[str]:
    """Return the files of the modules and of what they depend on, in the order of loading."""
    shown = [run([_MODPROBE, "-S", release, "-D", name]).stdout for name in _MODULES]
    lines = [line.split() for line in "".join(shown).splitlines()]
    return dict.fromkeys(words[1] for words in lines if words[0] == "insmod")


def _add_module(path: str, tree: Path) -> str:
    name = shutil.copy(path, tree)
    if name.endswith(".xz"):
        run([_BUSYBOX, "unxz", name])
    return Path(name).name.removesuffix(".xz")


# Running it -------------------------------------------------------------------------------------


def _boot(folder: Path, release: str, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    machine = subprocess.Popen(
        kept(_qemu(folder, release)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        in_time = _relay(machine, deadline)
    finally:
        machine.kill()
        machine.wait()
    status = folder / "status"
    if in_time and status.exists() and status.read_text():
        return int(status.read_text())
    _say(f"the virtual machine {'stopped' if in_time else f'took more than {seconds:g} s'}")
    _say(_tail(folder / "console"))
    return DIED if in_time else LATE


def _relay(machine: subprocess.Popen[bytes], deadline: float) -> bool:
    """Pass on what the command says until the machine stops; return whether it did in time."""
    assert machine.stdout
    output = machine.stdout.fileno()
    while select.select([output], [], [], max(0, deadline - time.monotonic()))[0]:
        data = os.read(output, 65536)
        if not data:
            return True
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return False


def _qemu(folder: Path, release: str) -> list[str]:
    boot = f"console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off tsc=reliable {MARK}"
    return [
        *(_QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35", "-accel", "tcg", "-cpu", "qemu64", "-smp", "2", "-m", "1024"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"),
        *("-kernel", f"/boot/vmlinuz-{release}", "-initrd", f"{folder}/initrd", "-append", boot),
        *("-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-serial", f"file:{folder}/console"),
        # a pipe; "stdio" would take the end of its input for the end of the connection
        *("-chardev", "file,id=output,path=/proc/self/fd/1"),
        *("-device", "virtserialport,chardev=output,name=output"),
        *("-chardev", f"file,id=status,path={folder}/status"),
        *("-device", "virtserialport,chardev=status,name=status"),
    ]


def _tail(console: Path) -> str:
    text = console.read_text(errors="replace") if console.exists() else ""
    lines = text.replace("\r", "").splitlines()[-_CONSOLE_LINES:]
    return "\n".join(["the end of its console:", *(lines or ["(nothing)"])])


def _say(what: str) -> None:
    print(f"tests.rig.vm: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
