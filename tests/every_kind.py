# SPDX-License-Identifier: Apache-2.0
"""Plug and unplug a VIF of every kind once, with the os-vif that is installed.

A program: ``tools/private-namespace PYTHON -P tests/every_kind.py``. Unlike in the tests, the
plugins are those of the installed distribution's entry points, and each has its privileged daemon.
"""
# ruff: noqa: E402 (what is found first depends on sys.path)

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # last, so that the library is the installed one

from oslo_config import cfg

import os_vif
from os_vif.objects.vif import VIFBase
from tests import vifs
from tests.functional.test_host_device import TAPS, VF0, vif_of
from tests.rig import linux_bridge, run
from tests.rig.fakesys import make_tap, mlx5, mounted
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import EVERY, GROUP, Kind, filled
from tests.rig.snapshot import difference, links, snapshot
from vif_plug_ovs import representors
from vif_plug_ovs.ovsdb import connection

CONFIGURATION = """
[os_vif_ovs]
ovsdb_connection = {remote}
ovs_vsctl_timeout = 20
[vif_plug_ovs_privileged]
helper_command = {helper} --config-file {path}
[vif_plug_linux_bridge_privileged]
helper_command = {helper} --config-file {path}
"""


def configure(ovs: PrivateOvs, path: Path) -> None:
    """Configure this process, and the daemons that it starts, with a file."""
    os.environ["PYTHONWARNINGS"] = "ignore"
    helper = Path(sys.prefix, "bin", "privsep-helper")
    path.write_text(CONFIGURATION.format(remote=ovs.remote, helper=helper, path=path))
    cfg.CONF(["--config-file", str(path)], project="every-kind")


@contextmanager
def plugged(vif: VIFBase) -> Iterator[None]:
    """Plug a VIF, plug it again, and unplug it at the end."""
    os_vif.plug(vif, vifs.instance())
    os_vif.plug(vif, vifs.instance())
    yield
    os_vif.unplug(vif, vifs.instance())


def try_kind(kind: Kind, ovs: PrivateOvs) -> None:
    """One of the kinds on Open vSwitch that need no device of the host."""
    before = snapshot(ovs)
    for name, value in kind.options.items():
        cfg.CONF.set_override(name, value, group=GROUP)
    with plugged(kind.vif()):
        dump = ovs.dump()
        for table, rows in kind.rows().items():
            assert {name: filled(dump[table][name]) for name in rows} == rows
        assert set(links()) == {"lo", *kind.link_names()}
    for name in kind.options:
        cfg.CONF.clear_override(name, group=GROUP)
    assert not difference(before, snapshot(ovs))


def try_representor(ovs: PrivateOvs) -> None:
    """A virtual function on a host whose representors are taps."""
    host = mlx5()
    for one in host.devices:
        make_tap(one.name)
        run(["ip", "link", "set", "dev", one.name, "group", TAPS])
    with mounted(host):
        device = representors.look_up(VF0).device
        with plugged(vif_of(VF0)):
            assert device in ovs.dump()["Bridge"][vifs.BRIDGE]["ports"]
        assert list(ovs.dump()["Port"]) == [vifs.BRIDGE]
    run(["ip", "link", "delete", "group", TAPS])


def try_linux_bridge() -> None:
    """The bridge stays, as the host's address would."""
    with linux_bridge.interface(), plugged(linux_bridge.vif()):
        assert links()[linux_bridge.INTERFACE]["master"] == linux_bridge.BRIDGE


def try_noop() -> None:
    with plugged(vifs.vif_open_vswitch(plugin="noop")):
        assert set(links()) == {"lo"}


def main() -> None:
    assert Path(os_vif.__file__).is_relative_to(sys.prefix), os_vif.__file__
    with PrivateOvs("dummy") as ovs, tempfile.TemporaryDirectory() as home:
        configure(ovs, Path(home, "os-vif.conf"))
        os_vif.initialize()
        ovs.vsctl("add-br", vifs.BRIDGE)
        try:
            try_noop()
            for kind in EVERY.values():
                try_kind(kind, ovs)
            try_representor(ovs)
            try_linux_bridge()
        finally:
            connection.close_all()


if __name__ == "__main__":
    main()
