# SPDX-License-Identifier: Apache-2.0
"""The plugin that does nothing takes everything."""

import pytest
from oslo_config import cfg

from os_vif.objects.vif import VIFBase, VIFVHostUser
from tests.vifs import instance, vif_bridge, vif_open_vswitch
from vif_plug_noop.noop import NoOpPlugin


@pytest.fixture
def noop() -> NoOpPlugin:
    conf = cfg.ConfigOpts()
    conf.register_opts(NoOpPlugin.CONFIG_OPTS, group="mine")
    conf.register_group(cfg.OptGroup("mine"))
    return NoOpPlugin(conf.mine)


@pytest.mark.parametrize("vif", [vif_open_vswitch(), vif_bridge(), VIFVHostUser(), VIFBase()])
def test_it_takes_every_vif(noop: NoOpPlugin, vif: VIFBase) -> None:
    before = vif.obj_to_primitive()
    noop.plug(vif, instance())
    noop.unplug(vif, instance())
    assert vif.obj_to_primitive() == before


def test_it_describes_itself_as_the_one_for_vhost_user(noop: NoOpPlugin) -> None:
    described = noop.describe()
    assert described.plugin_name == "noop"
    (info,) = described.vif_info
    assert (info.vif_object_name, info.min_version, info.max_version) == (
        "VIFVHostUser",
        "1.0",
        "1.1",
    )
    assert info.supported_port_profiles == []


def test_it_has_no_options() -> None:
    assert list(NoOpPlugin.CONFIG_OPTS) == []
