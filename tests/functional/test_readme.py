# SPDX-License-Identifier: Apache-2.0
"""The examples in README and manual run as shown."""

import re
from pathlib import Path

import pytest

from os_vif.kernel import observe
from tests.rig.ovs import PrivateOvs
from tests.rig.snapshot import difference, snapshot
from vif_plug_ovs import privsep
from vif_plug_ovs.ovsdb import connection

ROOT = Path(__file__).parents[2]
DEVICE = "tap8f6a1f6b-5d"


@pytest.mark.parametrize("page", ["README.rst", "doc/source/user/usage.rst"])
def test_the_example_plugs_and_unplugs(ovs_dummy: PrivateOvs, page: str) -> None:
    """Its daemon listens where the options point to by default."""
    text = (ROOT / page).read_text().partition("Linux bridges\n")[0]
    blocks = re.findall(r"code-block:: python\n\n((?:    .*\n|\n)+)", text)
    example = re.sub(r"^    ", "", "".join(blocks), flags=re.MULTILINE)
    setup, plug, unplug = re.split(r"^(?=os_vif\.(?:un)?plug)", example, flags=re.MULTILINE)
    privsep.vif_plug.set_client_mode(False)
    ovs_dummy.vsctl("add-br", "br-int")
    before = snapshot(ovs_dummy)
    names: dict[str, object] = {}
    try:
        exec(setup + plug, names)
        assert DEVICE in observe.links([DEVICE])
        assert ovs_dummy.interface(DEVICE)["external_ids"]["attached-mac"] == "fa:16:3e:5c:9a:01"
        exec(plug, names)
        exec(unplug, names)
        assert not difference(before, snapshot(ovs_dummy))
    finally:
        connection.close_all()
