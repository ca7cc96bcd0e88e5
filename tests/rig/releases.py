# SPDX-License-Identifier: Apache-2.0
"""The releases of OpenStack: an environment with our wheel under the pins of each.

``python -m tests.rig.releases install`` makes them, outside of a private network, and
``python -m tests.rig.releases run ARGUMENT ...`` calls the Python of each in namespaces of its
own. With ``--beside-nova`` before that, Nova is in them.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.rig import run

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "tests" / "constraints"


@dataclass(frozen=True)
class Release:
    """A release of OpenStack, and what its Nova is installed with.

    Our copies of the pins have what os-vif needs. A newer library than the release's own need
    not work with them: the newest keystoneauth1 needs a newer stevedore, for instance, and with a
    newer openstacksdk Nova does not start where eventlet has patched the standard library.
    """

    name: str
    nova: tuple[str, ...]
    #: A pin that is older than what this Nova requires.
    too_old: str = ""

    def constraints(self, beside_nova: bool) -> str:
        """The pins, as pip reads them."""
        lines = (CONSTRAINTS / f"{self.name}.txt").read_text().splitlines(keepends=True)
        left_out = self.too_old if beside_nova else ""
        return "".join(line for line in lines if line.partition("===")[0] != left_out)


RELEASES = (
    Release("2025.1", ("nova==31.*", "keystoneauth1==5.10.0", "openstacksdk==4.4.0")),
    Release("2025.2", ("nova==32.*", "keystoneauth1==5.10.0", "openstacksdk==4.4.0")),
    Release("2026.1", ("nova==33.*",)),
    Release("master", ("nova==34.*",), too_old="oslo.versionedobjects"),
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the test dependencies, the wheel and what else is wanted.

    :param name: of its folder.
    :param pins: as pip reads them.
    """

    name: str
    pins: str
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, release: Release, beside_nova: bool) -> Self:
        """What a release pins, with its Nova or without."""
        kind = "constraints" if beside_nova else "releases"
        others = release.nova if beside_nova else ()
        return cls(f"{kind}-{release.name}", release.constraints(beside_nova), others)

    @property
    def home(self) -> Path:
        """Its folder."""
        return ROOT / ".tox" / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / "bin" / "python"

    def install(self, wheel: Path) -> None:
        """Install everything if something other than the wheel has changed, else the wheel."""
        made_of = self.home / "made-of"
        project = (ROOT / "pyproject.toml").read_text()
        stamp = "\n".join([sys.version, *self.others, self.pins, project])
        if made_of.exists() and made_of.read_text() == stamp:
            self.pip("install", "--no-deps", "--force-reinstall", str(wheel))
            return
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(self.home)])
        constraints = self.home / "constraints.txt"
        constraints.write_text(self.pins)
        group = ["--group", f"{ROOT / 'pyproject.toml'}:test"]
        self.pip(
            "install",
            "--no-compile",
            "--constraint",
            str(constraints),
            *group,
            str(wheel),
            *self.others,
        )
        self.pip("check")
        made_of.write_text(stamp)

    def pip(self, *arguments: str) -> None:
        """Call pip on it."""
        run([sys.executable, "-m", "pip", "--quiet", "--python", str(self.python), *arguments])

    def call(self, arguments: Sequence[str]) -> int:
        """Run its interpreter in private namespaces; return the exit status."""
        print(f"*** {self.name}: python {' '.join(arguments)}", flush=True)
        command = [str(ROOT / "tools" / "private-namespace"), str(self.python), *arguments]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def build() -> Path:
    """Build the wheel."""
    wheels = ROOT / ".tox" / "wheels"
    for old in (wheels, ROOT / "build" / "lib"):  # setuptools would add what was deleted since
        shutil.rmtree(old, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)])
    (wheel,) = wheels.glob("*.whl")
    return wheel


def install(environments: Sequence[Environment]) -> None:
    """Build the wheel, and install it in each environment."""
    wheel = build()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda each: each.install(wheel), environments))


def main() -> int:
    """Do what the arguments say; return how many environments failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.rig.releases")
    parser.add_argument("--beside-nova", action="store_true")
    parser.add_argument("verb", choices=["install", "run"])
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    wanted = parser.parse_args()
    environments = [Environment.of(release, wanted.beside_nova) for release in RELEASES]
    if wanted.verb == "install":
        install(environments)
        return 0
    return sum(each.call(wanted.arguments) != 0 for each in environments)


if __name__ == "__main__":
    sys.exit(main())
