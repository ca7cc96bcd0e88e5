# SPDX-License-Identifier: Apache-2.0
"""What os-vif 5 had in its modules is there, or a release note says that it is not."""

import functools
from importlib import import_module
from pathlib import Path

import pytest

from tests.compat import facts

THEIRS = facts("names")
NOTES = Path(__file__).parents[2] / "releasenotes" / "notes"

#: What is gone: of a module these names, or the whole module.
GONE: dict[str, set[str] | None] = {
    "os_vif.i18n": None,
    "os_vif.version": None,
    "vif_plug_ovs.ovsdb.impl_vsctl": None,
    "os_vif.opts": {"plugins_list"},
    "os_vif.plugin": {"CONF"},
    "vif_plug_ovs.linux_net": {
        "INT_RE",
        "PF_FUNC_RE",
        "PF_RE",
        "UPLINK_PORT_RE",
        "VF_RE",
        "VIRTFN_RE",
        "ip_lib",
    },
    "vif_plug_ovs.ovs": {"ip_lib"},
    "vif_plug_ovs.ovsdb.api": {"interface_map"},
    "vif_plug_ovs.ovsdb.impl_idl": {
        "NeutronOvsdbIdl",
        "NoProbesMixin",
        "REQUIRED_TABLES",
        "SSLStream",
        "TCPStream",
        "add_keepalives",
        "api_factory",
        "idl_factory",
    },
    "vif_plug_ovs.ovsdb.ovsdb_lib": {"QOS_UUID_NAMESPACE"},
    "vif_plug_ovs.privsep": {"vif_plug_test"},
}


@pytest.mark.parametrize("name", THEIRS)
def test_a_module_lacks_no_more_than_is_said(name: str) -> None:
    gone = GONE.get(name, set())
    if gone is None:
        with pytest.raises(ModuleNotFoundError):
            import_module(name)
        return
    module = import_module(name)
    missing = {member.partition(".")[0] for member in THEIRS[name] if not has(module, member)}
    assert missing == gone


def has(module: object, member: str) -> bool:
    try:
        functools.reduce(getattr, member.split("."), module)
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("name", GONE)
def test_a_release_note_says_what_is_gone(name: str) -> None:
    (note,) = NOTES.glob("gone-from-the-modules-*.yaml")
    for member in {name} | (GONE[name] or set()):
        assert f"``{member}``" in note.read_text()
