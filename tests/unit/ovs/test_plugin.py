# SPDX-License-Identifier: Apache-2.0
"""The plugin's face: what it says of itself, and its old helpers."""

import inspect

import pytest
from oslo_config import cfg

from os_vif import exception
from os_vif.objects.host_info import HostPluginInfo
from tests.vifs import device, instance, vif_bridge, vif_id, vif_open_vswitch
from vif_plug_ovs import wiring
from vif_plug_ovs.exception import MissingPortProfile
from vif_plug_ovs.ovs import OvsPlugin


def plugin(**options: object) -> OvsPlugin:
    """The plugin with options of its own."""
    conf = cfg.ConfigOpts()
    conf.register_opts(OvsPlugin.CONFIG_OPTS, group="mine")
    conf([], default_config_files=[])
    for name, value in options.items():
        conf.set_override(name, value, group="mine")
    return OvsPlugin(conf.mine)


def test_it_describes_every_kind_of_vif_that_it_wires() -> None:
    described = plugin().describe()
    assert isinstance(described, HostPluginInfo)
    assert described.plugin_name == "ovs"
    assert {info.vif_object_name for info in described.vif_info} == {
        kind.__name__ for kind in wiring.KINDS
    }


@pytest.mark.parametrize("kind", wiring.KINDS, ids=lambda kind: kind.__name__)
def test_it_takes_a_kind_in_all_its_versions_so_far(kind: type) -> None:
    info = plugin().describe().get_vif(kind.__name__)
    assert (info.min_version, info.max_version) == ("1.0", kind.VERSION)  # type: ignore[attr-defined]
    (profile,) = info.supported_port_profiles
    assert profile.profile_object_name == "VIFPortProfileOpenVSwitch"
    assert (profile.min_version, profile.max_version) == ("1.0", "1.4")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("tap", vif_id()), "tapa0000001-fe"),
        (("vhu", vif_id()), "vhua0000001-fe"),
        (("pbp", vif_id(), 64), "pbp" + vif_id()),
        (("tap", "short"), "tapshort"),
    ],
)
def test_a_port_name_is_a_prefix_and_what_fits_of_the_id(
    arguments: tuple[str, str], name: str
) -> None:
    assert OvsPlugin.gen_port_name(*arguments) == name
    assert plugin().gen_port_name(*arguments) == name


def test_the_ends_of_a_veth_pair() -> None:
    assert OvsPlugin.get_veth_pair_names(vif_bridge()) == (device("qvb"), device("qvo"))


@pytest.mark.parametrize("name", ["gen_port_name", "get_veth_pair_names"])
def test_the_helpers_are_static(name: str) -> None:
    assert isinstance(inspect.getattr_static(OvsPlugin, name), staticmethod)


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_bad_input_is_refused_before_the_server_is_asked(verb: str) -> None:
    # No server listens at that address: to ask it would fail in another way.
    ovs = plugin(ovsdb_connection="unix:/nonexistent/db.sock", ovs_vsctl_timeout=1)
    with pytest.raises(MissingPortProfile):
        getattr(ovs, verb)(vif_open_vswitch(unset="port_profile"), instance())


def test_a_bad_configured_mtu_is_said_to_be_the_configurations() -> None:
    ovs = plugin(network_device_mtu=100000)
    with pytest.raises(exception.InvalidValue, match=r"network_device_mtu, 100000"):
        ovs.plug(vif_open_vswitch(network={"mtu": None}), instance())
