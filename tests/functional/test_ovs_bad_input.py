# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused by name and value, and nothing is changed.

What is bad is a table in ``tests/unit/ovs/test_request.py``; here are one or two for each reason.
"""

from typing import Any

import pytest

from os_vif import exception
from os_vif.objects import vif as vif_objects
from os_vif.wiring.errors import Contradiction
from tests import vifs
from tests.rig.failures import fails
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, PORT_ONLY, TAP, Kind, OsVif, of
from tests.rig.snapshot import difference, snapshot
from vif_plug_ovs import exception as ovs_exception

FP_PROFILE = vif_objects.VIFPortProfileFPBridge(bridge_name="br-int")
#: A kind, what is wrong with its fields, the error, and what it says.
BAD: list[tuple[Kind, dict[str, Any], type[Exception], str]] = [
    (TAP, {"unset": "port_profile"}, ovs_exception.MissingPortProfile, "port profile"),
    (TAP, {"port_profile": FP_PROFILE}, ovs_exception.WrongPortProfile, "FPBridge"),
    (
        HYBRID,
        {"profile": {"create_tap": True}},
        ovs_exception.TapCreationNotSupported,
        "VIFBridge",
    ),
    # The kernel puts a number in place of it: the link would have another name.
    (TAP, {"network": {"bridge": "br%d"}}, exception.InvalidValue, "vif.network.bridge, 'br%d'"),
    (TAP, {"vif_name": "tap%d"}, exception.InvalidValue, "vif.vif_name, 'tap%d'"),
    (HYBRID, {"bridge_name": "qbr%d"}, exception.InvalidValue, "vif.bridge_name, 'qbr%d'"),
    (HYBRID, {"address": None}, exception.InvalidValue, "vif.address, None"),
    (TAP, {"network": {"mtu": 67}}, exception.InvalidValue, "vif.network.mtu, 67"),
    (HYBRID, {"unset": "id"}, exception.InvalidValue, "vif.id, None"),
]


@pytest.mark.parametrize(
    ("kind", "fields", "cause", "said"),
    BAD,
    ids=[f"{kind.name}: {said}" for kind, *_, said in BAD],
)
def test_a_bad_vif_is_refused(
    kind: Kind,
    fields: dict[str, Any],
    cause: type[Exception],
    said: str,
    ovs: PrivateOvs,
    osvif: OsVif,
) -> None:
    before, cfg = snapshot(ovs), ovs.next_cfg()
    reason = fails(lambda: osvif.plug(kind.vif(**fields)), cause)
    assert said in str(reason)
    assert not difference(before, snapshot(ovs))
    assert (ovs.next_cfg(), osvif.privileged_calls) == (cfg, [])


def test_an_unknown_plugin_and_an_unknown_class_are_refused(osvif: OsVif) -> None:
    for verb in (osvif.plug, osvif.unplug):
        with pytest.raises(exception.NoMatchingPlugin, match="nonsense"):
            verb(TAP.vif(plugin="nonsense"))
    vif = vif_objects.VIFGeneric(id=vifs.vif_id(), plugin="ovs", vif_name="tap1")
    fails(lambda: osvif.plug(vif), exception.NoMatchingVIFClass)


def test_unplug_refuses_what_names_cannot_be_made_of(osvif: OsVif) -> None:
    reason = fails(lambda: osvif.unplug(TAP.vif(unset="network")), exception.InvalidValue)
    assert "vif.network, None" in str(reason)


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
