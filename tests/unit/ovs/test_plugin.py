# SPDX-License-Identifier: Apache-2.0
"""The plugin's face: what it says of itself, and its old helpers."""

from collections.abc import Collection

import pytest
from oslo_config import cfg

from os_vif.exception import InvalidValue
from os_vif.objects.host_info import HostPluginInfo, HostVIFInfo
from os_vif.objects.vif import VIFBase, VIFGeneric, VIFPortProfileOpenVSwitch
from os_vif.wiring import errors
from tests.vifs import (
    device,
    instance,
    vif_bridge,
    vif_host_device,
    vif_id,
    vif_open_vswitch,
    vif_vhost_user,
)
from vif_plug_ovs import ovs as module
from vif_plug_ovs import shapes
from vif_plug_ovs.exception import MissingPortProfile
from vif_plug_ovs.ovs import OvsPlugin
from vif_plug_ovs.ovsdb import drivers

#: A VIF that only a subclass of the plugin knows.
OF_A_SUBCLASS = VIFGeneric(port_profile=VIFPortProfileOpenVSwitch(interface_id="x"))
#: Options that os-vif 5.x does not have.
NEW = {"verify_interface", "ssl_key_file", "ssl_cert_file", "ssl_ca_cert_file"}


def plugin(without: Collection[str] = (), **options: object) -> OvsPlugin:
    """The plugin with options of its own.

    :param without: options that its group lacks.
    """
    conf = cfg.ConfigOpts()
    known = [option for option in OvsPlugin.CONFIG_OPTS if option.name not in without]
    conf.register_opts(known, group="mine")
    conf([], default_config_files=[])
    for name, value in options.items():
        conf.set_override(name, value, group="mine")
    return OvsPlugin(conf.mine)


OF_OVS, OF_REPRESENTOR = "VIFPortProfileOpenVSwitch", "VIFPortProfileOVSRepresentor"


def test_it_takes_every_kind_and_port_profile_of_os_vif_5_in_all_versions_so_far() -> None:
    """Nova asks for the deprecated profile whenever it plugs a direct port."""
    described = plugin().describe()
    assert isinstance(described, HostPluginInfo)
    assert described.plugin_name == "ovs"
    assert {info.vif_object_name: profiles(info) for info in described.vif_info} == {
        "VIFBridge": [OF_OVS],
        "VIFOpenVSwitch": [OF_OVS],
        "VIFHostDevice": [OF_OVS, OF_REPRESENTOR],
        "VIFVHostUser": [OF_OVS, OF_REPRESENTOR],
    }
    for kind in shapes.KINDS:
        info = described.get_vif(kind.__name__)
        assert (info.min_version, info.max_version) == ("1.0", kind.VERSION)


def profiles(info: HostVIFInfo) -> list[str]:
    found = info.supported_port_profiles
    assert {(one.min_version, one.max_version) for one in found} == {("1.0", "1.4")}
    return [one.profile_object_name for one in found]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("tap", vif_id()), "tapa0000001-fe"),
        (("vhu", vif_id()), "vhua0000001-fe"),
        (("vfr", vif_id()), "vfra0000001-fe"),
        (("pb", vif_id()), "pba0000001-fee"),
        (("pbp", vif_id(), 64), "pbp" + vif_id()),
        (("ibp", "x" * 70, 64), "ibp" + "x" * 61),
        (("tap", "short"), "tapshort"),
    ],
)
def test_a_port_name_is_a_prefix_and_what_fits_of_the_id(
    arguments: tuple[str, str], name: str
) -> None:
    assert OvsPlugin.gen_port_name(*arguments) == name
    assert plugin().gen_port_name(*arguments) == name


def test_the_ends_of_a_veth_pair() -> None:
    for static in (OvsPlugin, plugin()):
        assert static.get_veth_pair_names(vif_bridge()) == (device("qvb"), device("qvo"))


@pytest.mark.parametrize(
    ("vif", "supported"),
    [
        (vif_open_vswitch(profile={"datapath_type": "system"}), True),
        (vif_open_vswitch(unset="profile.datapath_type"), True),
        (vif_open_vswitch(profile={"datapath_type": None}), True),
        (vif_bridge(unset="profile.datapath_type"), True),
        (vif_open_vswitch(profile={"datapath_type": "netdev"}), False),
        (vif_vhost_user(unset="profile.datapath_type"), False),
        (vif_vhost_user(profile={"datapath_type": "netdev"}), False),
        (vif_host_device(profile={"datapath_type": "system"}), True),
        (vif_host_device(profile={"datapath_type": "netdev"}), False),
        (OF_A_SUBCLASS, True),
    ],
)
def test_a_queueing_discipline_needs_the_kernels_datapath(vif: VIFBase, supported: bool) -> None:
    assert plugin().supports_tc_qdisc(vif) is supported


def test_the_bridge_of_a_trunk_is_known_by_its_name() -> None:
    bridges = ["tbr-0123abcd-4", "tbr-", "tbr", "br-int", "mytbr-0", "TBR-0", ""]
    assert list(filter(module.is_trunk_bridge, bridges)) == ["tbr-0123abcd-4", "tbr-"]


def test_a_group_made_from_an_older_list_of_options_has_the_defaults() -> None:
    old = plugin(without=NEW)
    for option in OvsPlugin.CONFIG_OPTS:
        assert module.option(old.config, option) == option.default
    assert module.option(plugin(verify_interface=False).config, module.VERIFY_INTERFACE) is False


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_an_older_group_lets_a_verb_as_far_as_the_server(verb: str) -> None:
    old = plugin(without=NEW, ovsdb_connection="unix:/nonexistent/db.sock", ovs_vsctl_timeout=1)
    with pytest.raises(errors.NotConnected, match=r"/nonexistent/db\.sock"):
        getattr(old, verb)(vif_open_vswitch(), instance())


def test_the_settings_are_those_of_the_group() -> None:
    options = {"per_port_bridge": True, "isolate_vif": True, "default_qos_type": "linux-htb"}
    ovs = plugin(network_device_mtu=9000, **options)
    assert ovs._settings() == shapes.Settings(9000, True, True, "linux-htb")
    assert plugin()._settings() == shapes.Settings()


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_bad_input_is_refused_before_the_server_is_asked(verb: str) -> None:
    # No server listens at that address: to ask it would fail in another way.
    ovs = plugin(ovsdb_connection="unix:/nonexistent/db.sock", ovs_vsctl_timeout=1)
    with pytest.raises(MissingPortProfile):
        getattr(ovs, verb)(vif_open_vswitch(unset="port_profile"), instance())


def test_an_older_group_that_wants_tls_is_told_which_option_it_lacks() -> None:
    old = plugin(without=NEW, ovsdb_connection="ssl:127.0.0.1:6640")
    with pytest.raises(InvalidValue, match="ssl_"):
        drivers.remote(old.config)
