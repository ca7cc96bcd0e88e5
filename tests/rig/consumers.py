# SPDX-License-Identifier: Apache-2.0
"""Those who use the library: an environment with all of them, and with our wheel.

``python -m tests.rig.consumers`` makes it, outside of a private network. The released os-vif is in
a folder of its own, which comes first on the path of whoever wants it instead: what fails with
both has other reasons.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.rig import run
from tests.rig.peer import RELEASE
from tests.rig.releases import RELEASES, ROOT, Environment, build

#: What each of them is tested with, besides.
_TEST_LIBRARIES = (
    "ddt", "oslotest", "osprofiler", "PyMySQL", "python-barbicanclient", "requests-mock", "stestr",
    "testresources", "testscenarios", "testtools", "WebTest", "wsgi-intercept",
)  # fmt: skip
CONSUMERS = (
    "nova==34.*",
    "neutron==29.*",
    "kuryr-kubernetes==10.*",
    "zun==18.*",
    # Of what only they need our pins say nothing. Later ones warn of what Nova's models do, and
    # Nova's tests take such a warning for an error.
    "SQLAlchemy==2.0.*",
)

ENVIRONMENT = Environment(
    "consumers-openstack", RELEASES[-1].constraints(True), (*CONSUMERS, *_TEST_LIBRARIES)
)
_RELEASED = ENVIRONMENT.home / "released"
_PLUGIN = ROOT / "tests" / "consumers" / "plugin"
_BUILD_SDIST = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"


def setup() -> None:
    """Make the environment, or put a new wheel into it."""
    ENVIRONMENT.install(build())
    if not _RELEASED.exists():
        ENVIRONMENT.pip("install", "--no-deps", "--target", str(_RELEASED), RELEASE)
    _install_plugin()
    ENVIRONMENT.pip("check")


def _install_plugin() -> None:
    """Install a third-party plugin from its sdist."""
    with tempfile.TemporaryDirectory() as folder:
        project, out = Path(folder, "project"), Path(folder, "dist")
        shutil.copytree(_PLUGIN, project)
        module = ROOT / "tests" / "functional" / "thirdparty" / "plugin.py"
        shutil.copy(module, project / "os_vif_thirdparty.py")
        run([str(ENVIRONMENT.python), "-c", _BUILD_SDIST, str(out)], cwd=project)
        (sdist,) = out.glob("*.tar.gz")
        ENVIRONMENT.pip("uninstall", "--yes", "os-vif-thirdparty")
        ENVIRONMENT.pip("install", "--no-index", "--no-build-isolation", str(sdist))


def call(
    arguments: Sequence[str], released: bool = False, seconds: int = 1200
) -> subprocess.CompletedProcess[str]:
    """Run the environment's Python in namespaces of its own.

    :param released: with the released os-vif in the place of ours.
    """
    return subprocess.run(
        [str(ROOT / "tools" / "private-namespace"), str(ENVIRONMENT.python), "-P", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(_RELEASED) if released else "",
            "PYTHONWARNINGS": "ignore",
        },
        capture_output=True,
        text=True,
        timeout=seconds,
    )


if __name__ == "__main__":
    setup()
