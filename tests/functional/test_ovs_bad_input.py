# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused by name and value, and nothing is changed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from oslo_config import cfg

import os_vif
from os_vif import exception
from os_vif.objects import vif as vif_objects
from os_vif.wiring.errors import Contradiction
from tests import vifs
from tests.rig import run
from tests.rig.namespace import private_network
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import GROUP, HYBRID, PORT_ONLY, TAP, Kind, OsVif, initialized, of
from tests.rig.snapshot import difference, snapshot
from vif_plug_ovs import exception as ovs_exception

#: Name of the case -> fields of the VIF, the error, and what it names.
Table = dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]]

INVALID = exception.InvalidValue
FP_PROFILE = vif_objects.VIFPortProfileFPBridge(bridge_name="br-int")
BAD_NAMES = {
    "16-characters": "sixteen-is-too-m",
    "slash": "br/int",
    "blank": "br int",
    "newline": "br-int\n",
    "dots": "..",
    "colon": "br:int",
    # The kernel puts a number in place of it: the link would have another name.
    "template": "br%d",
}


def unset(field: str, name: str = "") -> tuple[dict[str, Any], type[Exception], tuple[str, ...]]:
    """A field that is not set; `name` is that of the error, where it is not the field's own."""
    return {"unset": [field]}, INVALID, (name or f"vif.{field}", "None")


def bad_names(field: str, fields: Callable[[str], dict[str, Any]]) -> Table:
    return {
        f"{field}-{what}": (fields(name), INVALID, (f"vif.{field}", repr(name)))
        for what, name in BAD_NAMES.items()
    }


OF_ALL: Table = {
    "no-profile": (
        {"unset": ["port_profile"]},
        ovs_exception.MissingPortProfile,
        ("vif.port_profile",),
    ),
    "wrong-profile": (
        {"port_profile": FP_PROFILE},
        ovs_exception.WrongPortProfile,
        ("vif.port_profile", "VIFPortProfileFPBridge"),
    ),
    "no-network": unset("network"),
    "network-none": ({"network": None}, INVALID, ("vif.network", "None")),
    "no-bridge": unset("network.bridge"),
    "empty-bridge": ({"network": {"bridge": ""}}, INVALID, ("vif.network.bridge", "''")),
    **bad_names("network.bridge", lambda name: {"network": {"bridge": name}}),
    "no-mac": unset("address"),
    "mac-none": ({"address": None}, INVALID, ("vif.address", "None")),
    **{
        f"mac-{mac}": ({"address": mac}, INVALID, ("vif.address", mac))
        for mac in ("01:00:5e:00:00:01", "00:00:00:00:00:00")
    },
    **{
        f"mtu{mtu}": ({"network": {"mtu": mtu}}, INVALID, ("vif.network.mtu", str(mtu)))
        for mtu in (-1, 67, 65536, 100000)
    },
    "no-interface-id": unset("profile.interface_id", "vif.port_profile.interface_id"),
}
OF_HYBRID: Table = {
    "create-tap": (
        {"profile": {"create_tap": True}},
        ovs_exception.TapCreationNotSupported,
        ("create_tap", "VIFBridge"),
    ),
    "no-linux-bridge": unset("bridge_name"),
    **bad_names("bridge_name", lambda name: {"bridge_name": name}),
    "no-id": unset("id"),
}
OF_TAP: Table = {
    **bad_names("vif_name", lambda name: {"vif_name": name}),
    "no-name-and-no-id": ({"unset": ["id", "vif_name"]}, INVALID, ("vif.vif_name", "None")),
}
ROWS = [
    pytest.param(kind, *row, id=f"{kind.name}-{name}")
    for kind, table in ((TAP, OF_ALL | OF_TAP), (HYBRID, OF_ALL | OF_HYBRID))
    for name, row in table.items()
]


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[PrivateOvs, OsVif]]:
    """One host for the whole file: no test here changes it."""
    with (
        private_network(),
        PrivateOvs("netdev") as ovs,
        initialized(ovs.remote) as osvif,
    ):
        ovs.vsctl("add-br", "br-other", "--", "set", "Bridge", "br-other", "datapath_type=netdev")
        yield ovs, osvif


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails must not take the others down."""
    yield
    if "host" not in request.fixturenames:
        return
    ovs, osvif = request.getfixturevalue("host")
    osvif.privileged_calls.clear()
    for name in set(ovs.dump()["Bridge"]) - {"br-other"}:
        ovs.vsctl("del-br", name)
    for name in snapshot()["links"]:
        if re.match("tap|qvo|qbr", name) or name == "br0":
            run(["ip", "link", "delete", name], check=False)


@contextmanager
def nothing_changes(host: tuple[PrivateOvs, OsVif]) -> Iterator[None]:
    ovs, osvif = host
    before, cfg = snapshot(ovs), ovs.next_cfg()
    yield
    assert not difference(before, snapshot(ovs))
    assert ovs.next_cfg() == cfg
    assert osvif.privileged_calls == []


@pytest.mark.parametrize(("kind", "fields", "cause", "said"), ROWS)
def test_a_bad_vif_is_refused(
    kind: Kind,
    fields: dict[str, Any],
    cause: type[Exception],
    said: tuple[str, ...],
    host: tuple[PrivateOvs, OsVif],
) -> None:
    with nothing_changes(host), pytest.raises(exception.PlugException) as failure:
        host[1].plug(kind.vif(**fields))
    assert type(failure.value.__cause__) is cause
    reason = str(failure.value.__cause__)
    for part in said:
        assert part in reason
    assert reason in str(failure.value)


def test_a_class_of_vif_that_no_plugin_knows_is_refused(host: tuple[PrivateOvs, OsVif]) -> None:
    vif = vif_objects.VIFGeneric(id=vifs.vif_id(), plugin="ovs", vif_name="tap1")
    with nothing_changes(host), pytest.raises(exception.PlugException, match="VIFGeneric") as err:
        host[1].plug(vif)
    assert type(err.value.__cause__) is exception.NoMatchingVIFClass


@of(TAP, HYBRID)
def test_a_missing_instance_is_refused(kind: Kind, host: tuple[PrivateOvs, OsVif]) -> None:
    said = pytest.raises(exception.PlugException, match=r"instance_info\.uuid, None")
    with nothing_changes(host), said:
        os_vif.plug(kind.vif(), vifs.instance(unset=["uuid"]))


def test_a_bad_mtu_of_the_configuration_is_refused(host: tuple[PrivateOvs, OsVif]) -> None:
    said = pytest.raises(exception.PlugException, match="network_device_mtu, 20")
    host[1].configure(network_device_mtu=20)
    try:
        with nothing_changes(host), said:
            host[1].plug(TAP.vif(network={"mtu": None}))
    finally:
        cfg.CONF.clear_override("network_device_mtu", group=GROUP)


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_an_unknown_plugin_is_refused(verb: str, host: tuple[PrivateOvs, OsVif]) -> None:
    with nothing_changes(host), pytest.raises(exception.NoMatchingPlugin, match="nonsense"):
        getattr(host[1], verb)(TAP.vif(plugin="nonsense"))


@of(TAP, HYBRID)
@pytest.mark.parametrize("lacks", ["port_profile", "network", "network.bridge"])
def test_unplug_refuses_what_names_cannot_be_made_of(
    kind: Kind, lacks: str, host: tuple[PrivateOvs, OsVif]
) -> None:
    with nothing_changes(host), pytest.raises(exception.UnplugException, match=lacks):
        host[1].unplug(kind.vif(unset=[lacks]))


# What stands in the way -------------------------------------------------------------------------


@of(TAP, PORT_ONLY, HYBRID)
def test_a_port_on_another_bridge_is_not_touched_and_both_bridges_are_named(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    ovs.vsctl(
        "add-br", "br-other", "--", "set", "Bridge", "br-other", "datapath_type=netdev", "--",
        "add-port", "br-other", kind.port(),
    )  # fmt: skip
    before, cfg = snapshot(ovs), ovs.next_cfg()
    for verb in (osvif.plug, osvif.unplug):
        raises = pytest.raises((exception.PlugException, exception.UnplugException))
        with raises as failure:
            verb(kind.vif())
        assert isinstance(failure.value.__cause__, Contradiction)
        for name in (kind.port(), "br-int", "br-other"):
            assert name in str(failure.value.__cause__)
    assert not difference(before, snapshot(ovs))
    assert ovs.next_cfg() == cfg
    assert osvif.privileged_calls == []


@of(TAP, PORT_ONLY, HYBRID)
@pytest.mark.parametrize("sign", ["os-vif", "iface-id", "attached-mac"])
def test_unplug_takes_the_vifs_own_port_from_another_bridge(
    kind: Kind, sign: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    ovs.vsctl("add-br", "br-other", "--", "set", "Bridge", "br-other", "datapath_type=netdev")
    before = snapshot(ovs)
    ids = {**kind.external_ids(), "os-vif": kind.mark_of()}
    table = "Port" if sign == "os-vif" else "Interface"
    ovs.vsctl(
        "add-port", "br-other", kind.port(), "--",
        "set", table, kind.port(), f'external_ids:{sign}="{ids[sign]}"',
    )  # fmt: skip
    osvif.unplug(kind.vif())
    assert not difference(before, snapshot(ovs))


def test_the_ports_of_a_bond_are_not_taken_for_a_port(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    ovs.vsctl("--no-wait", "add-bond", br_int, TAP.port(), "one", "two")
    before = snapshot(ovs)
    with pytest.raises(exception.PlugException, match="bond"):
        osvif.plug(PORT_ONLY.vif())
    assert not difference(before, snapshot(ovs))
