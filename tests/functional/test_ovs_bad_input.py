# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused by name and value, and nothing is changed."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from os_vif import exception
from os_vif.objects import vif as vif_objects
from os_vif.wiring.errors import Contradiction
from tests import vifs
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, PORT_ONLY, TAP, Kind, OsVif, initialized
from tests.rig.snapshot import difference, snapshot
from vif_plug_ovs import exception as ovs_exception

Make = Callable[[], vif_objects.VIFBase]


def fp_profile() -> vif_objects.VIFPortProfileBase:
    return vif_objects.VIFPortProfileFPBridge(bridge_name="br-int")


def bad(name: str, make: Make, cause: type[Exception], *said: str) -> Any:
    return pytest.param(make, cause, said, id=name)


def bad_names(field: str, make: Callable[[str], Make]) -> Iterator[Any]:
    names = {
        "16-characters": "sixteen-is-too-m",
        "slash": "br/int",
        "blank": "br int",
        "newline": "br-int\n",
        "dots": "..",
        "colon": "br:int",
        # The kernel puts a number in place of it: the link would have another name.
        "template": "br%d",
    }
    for what, name in names.items():
        yield bad(f"{field}-{what}", make(name), exception.InvalidValue, field, repr(name))


def for_both(kind: Kind) -> list[Any]:
    invalid = exception.InvalidValue
    unset_profile = ovs_exception.MissingPortProfile
    wrong_profile = ovs_exception.WrongPortProfile
    return [
        bad("no-profile", lambda: kind.make(unset=["port_profile"]), unset_profile,
            "vif.port_profile"),
        bad("wrong-profile", lambda: kind.make(profile=fp_profile()), wrong_profile,
            "vif.port_profile", "VIFPortProfileFPBridge"),
        bad("no-network", lambda: kind.vif(unset=["network"]), invalid, "vif.network", "None"),
        bad("network-none", lambda: kind.vif(network=None), invalid, "vif.network", "None"),
        bad("no-bridge", lambda: kind.vif(unset=["network.bridge"]), invalid,
            "vif.network.bridge", "None"),
        bad("empty-bridge", lambda: kind.vif(network={"bridge": ""}), invalid,
            "vif.network.bridge", "''"),
        *bad_names("vif.network.bridge", lambda name: lambda: kind.vif(network={"bridge": name})),
        bad("no-mac", lambda: kind.vif(unset=["address"]), invalid, "vif.address", "None"),
        bad("mac-none", lambda: kind.vif(address=None), invalid, "vif.address", "None"),
        bad("mac-of-a-group", lambda: kind.vif(address="01:00:5e:00:00:01"), invalid,
            "vif.address", "01:00:5e:00:00:01"),
        bad("mac-of-zeros", lambda: kind.vif(address="00:00:00:00:00:00"), invalid,
            "vif.address", "00:00:00:00:00:00"),
        *(bad(f"mtu{mtu}", lambda mtu=mtu: kind.vif(network={"mtu": mtu}), invalid,
              "vif.network.mtu", str(mtu))
          for mtu in (-1, 67, 65536, 100000)),
        bad("no-interface-id", lambda: kind.vif(unset=["profile.interface_id"]), invalid,
            "vif.port_profile.interface_id", "None"),
    ]  # fmt: skip


HYBRID_ONLY = [
    bad("create-tap", lambda: HYBRID.vif(profile={"create_tap": True}),
        ovs_exception.TapCreationNotSupported, "create_tap", "VIFBridge"),
    bad("no-linux-bridge", lambda: HYBRID.vif(unset=["bridge_name"]), exception.InvalidValue,
        "vif.bridge_name", "None"),
    *bad_names("vif.bridge_name", lambda name: lambda: HYBRID.vif(bridge_name=name)),
    bad("no-id", lambda: HYBRID.vif(unset=["id"]), exception.InvalidValue, "vif.id", "None"),
]  # fmt: skip

TAP_ONLY = [
    *bad_names("vif.vif_name", lambda name: lambda: TAP.vif(vif_name=name)),
    bad("no-name-and-no-id", lambda: TAP.vif(unset=["id", "vif_name"]), exception.InvalidValue,
        "vif.vif_name", "None"),
    bad("unknown-class",
        lambda: vif_objects.VIFGeneric(id=vifs.vif_id(), plugin="ovs", vif_name="tap1"),
        exception.NoMatchingVIFClass, "VIFGeneric"),
]  # fmt: skip


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[PrivateOvs, OsVif]]:
    """One host for the whole file: no test here changes it."""
    from tests.rig.namespace import private_network

    with (
        private_network(),
        PrivateOvs("netdev") as ovs,
        initialized(ovs.remote) as osvif,
    ):
        ovs.vsctl("add-br", "br-other", "--", "set", "Bridge", "br-other", "datapath_type=netdev")
        yield ovs, osvif


def assert_refused(
    host: tuple[PrivateOvs, OsVif],
    vif: vif_objects.VIFBase,
    cause: type[Exception],
    said: tuple[str, ...],
) -> None:
    ovs, osvif = host
    before, cfg = snapshot(ovs), ovs.next_cfg()
    with pytest.raises(exception.PlugException) as failure:
        osvif.plug(vif)
    left, cfg_after = difference(before, snapshot(ovs)), ovs.next_cfg()
    _clean(ovs, vif)
    assert not left
    assert cfg_after == cfg
    assert type(failure.value.__cause__) is cause
    reason = str(failure.value.__cause__)
    for part in said:
        assert part in reason
    assert reason in str(failure.value)
    assert osvif.privileged_calls == []


def _clean(ovs: PrivateOvs, vif: vif_objects.VIFBase) -> None:
    """A test that fails must not take the others down."""
    for name in set(ovs.dump()["Bridge"]) - {"br-other"}:
        ovs.vsctl("del-br", name)
    for name in snapshot()["links"]:
        if re.match("tap|qvo|qbr", name) or name == "br0":
            run(["ip", "link", "delete", name], check=False)


@pytest.mark.parametrize(("make", "cause", "said"), for_both(TAP) + TAP_ONLY)
def test_a_bad_vif_open_vswitch_is_refused(
    make: Make, cause: type[Exception], said: tuple[str, ...], host: tuple[PrivateOvs, OsVif]
) -> None:
    host[1].privileged_calls.clear()
    assert_refused(host, make(), cause, said)


@pytest.mark.parametrize(("make", "cause", "said"), for_both(HYBRID) + HYBRID_ONLY)
def test_a_bad_vif_bridge_is_refused(
    make: Make, cause: type[Exception], said: tuple[str, ...], host: tuple[PrivateOvs, OsVif]
) -> None:
    host[1].privileged_calls.clear()
    assert_refused(host, make(), cause, said)


@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
def test_a_missing_instance_is_refused(kind: Kind, host: tuple[PrivateOvs, OsVif]) -> None:
    import os_vif

    ovs, _ = host
    before = snapshot(ovs)
    with pytest.raises(exception.PlugException, match=r"instance_info\.uuid, None"):
        os_vif.plug(kind.vif(), vifs.instance(unset=["uuid"]))
    assert not difference(before, snapshot(ovs))


def test_a_bad_mtu_of_the_configuration_is_refused(host: tuple[PrivateOvs, OsVif]) -> None:
    from oslo_config import cfg

    ovs, osvif = host
    before = snapshot(ovs)
    osvif.configure(network_device_mtu=20)
    try:
        with pytest.raises(exception.PlugException, match="network_device_mtu, 20"):
            osvif.plug(TAP.vif(network={"mtu": None}))
    finally:
        cfg.CONF.clear_override("network_device_mtu", group="os_vif_ovs")
    assert not difference(before, snapshot(ovs))


@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
def test_an_unknown_plugin_is_refused(kind: Kind, host: tuple[PrivateOvs, OsVif]) -> None:
    ovs, osvif = host
    before = snapshot(ovs)
    for verb in (osvif.plug, osvif.unplug):
        with pytest.raises(exception.NoMatchingPlugin, match="nonsense"):
            verb(kind.vif(plugin="nonsense"))
    assert not difference(before, snapshot(ovs))


@pytest.mark.parametrize("kind", [TAP, HYBRID], ids=lambda kind: kind.name)
@pytest.mark.parametrize("lacks", ["port_profile", "network", "network.bridge"])
def test_unplug_refuses_what_names_cannot_be_made_of(
    kind: Kind, lacks: str, host: tuple[PrivateOvs, OsVif]
) -> None:
    ovs, osvif = host
    before = snapshot(ovs)
    with pytest.raises(exception.UnplugException, match=lacks):
        osvif.unplug(kind.make(unset=[lacks]))
    assert not difference(before, snapshot(ovs))


# What stands in the way -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TAP, PORT_ONLY, HYBRID], ids=lambda kind: kind.name)
def test_a_port_on_another_bridge_is_not_touched_and_both_bridges_are_named(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    ovs.vsctl(
        "add-br", "br-other", "--", "set", "Bridge", "br-other", "datapath_type=netdev", "--",
        "add-port", "br-other", kind.port(),
    )  # fmt: skip
    before, cfg = snapshot(ovs), ovs.next_cfg()
    with pytest.raises(exception.PlugException) as failure:
        osvif.plug(kind.vif())
    assert isinstance(failure.value.__cause__, Contradiction)
    for name in (kind.port(), "br-int", "br-other"):
        assert name in str(failure.value.__cause__)
    with pytest.raises(exception.UnplugException) as failed:
        osvif.unplug(kind.vif())
    for name in (kind.port(), "br-int", "br-other"):
        assert name in str(failed.value.__cause__)
    assert not difference(before, snapshot(ovs))
    assert ovs.next_cfg() == cfg
    assert osvif.privileged_calls == []


@pytest.mark.parametrize("kind", [TAP, PORT_ONLY, HYBRID], ids=lambda kind: kind.name)
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


@pytest.mark.parametrize(
    ("kind", "name"),
    [(TAP, "tap"), (HYBRID, "qbr"), (HYBRID, "qvb"), (HYBRID, "qvo")],
    ids=["tap", "qbr", "qvb", "qvo"],
)
def test_a_device_of_another_kind_in_the_way_is_named_and_not_touched(
    kind: Kind, name: str, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    device = vifs.device(name)
    run(["ip", "link", "add", device, "type", "vcan"], check=False)
    if device not in snapshot()["links"]:
        other = ["bridge"] if name != "qbr" else ["veth", "peer", "name", "other0"]
        run(["ip", "link", "add", device, "type", *other])
    before = snapshot(ovs)
    with pytest.raises(exception.PlugException, match=f"link {device}: kind should be"):
        osvif.plug(kind.vif())
    osvif.unplug(kind.vif())
    assert not difference(before, snapshot(ovs))
    assert osvif.privileged_calls == []


def test_the_ports_of_a_bond_are_not_taken_for_a_port(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    ovs.vsctl("--no-wait", "add-bond", br_int, TAP.port(), "one", "two")
    before = snapshot(ovs)
    with pytest.raises(exception.PlugException, match="bond"):
        osvif.plug(PORT_ONLY.vif())
    assert not difference(before, snapshot(ovs))
