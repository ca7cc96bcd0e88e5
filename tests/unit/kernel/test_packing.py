# SPDX-License-Identifier: Apache-2.0
"""Steps survive the way into the privileged daemon, which takes none that os-vif does not make."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vif_plug_linux_bridge.privileged
import vif_plug_ovs.privileged
from os_vif.exception import InvalidValue
from os_vif.kernel import packing
from os_vif.wiring.ownership import Mark
from os_vif.wiring.steps import (
    LINK_STEPS,
    CreateLink,
    DeleteLink,
    FilterBridge,
    JoinBridge,
    LeaveBridge,
    LinkStep,
    SetLink,
)
from tests.fakes import NO_HOST_STACK

ALIAS = Mark("ovs", "hybrid", "a0000001-feed-4bee-8fad-000000000001").alias
MAC = "fa:16:3e:00:00:01"

CREATE = {"name": "tap1", "kind": "tun", "alias": ALIAS, "peer": "", "multiqueue": False}
VETH = {**CREATE, "name": "qvb1", "kind": "veth", "peer": "qvo1"}
#: The fields that each step must have.
FIELDS: dict[str, dict[str, Any]] = {
    "CreateLink": CREATE,
    "SetLink": {"name": "tap1", "attributes": {"up": True}},
    "DeleteLink": {"name": "tap1", "kind": "tun"},
    "JoinBridge": {"name": "eth0", "bridge": "br100", "mtu": 1450},
    "LeaveBridge": {"name": "eth0", "bridge": "br100"},
    "FilterBridge": {"bridge": "br100", "settings": None},
}

STEPS = [
    CreateLink("qbr1", "bridge", ALIAS),
    CreateLink("qvb1", "veth", ALIAS, "qvo1"),
    CreateLink("tap1", "tun", ALIAS),
    CreateLink("tap1", "tun", ALIAS, multiqueue=True),
    SetLink("tap1", {}),
    SetLink("tap1", {"disable_ipv6": 1, "mac": MAC, "mtu": 1450, "up": True}),
    SetLink("qvb1", {"promisc": True, "master": "qbr1"}),
    SetLink("qvb1", {"promisc": False, "master": "", "group": 0}),
    SetLink(
        "qbr1",
        {
            **NO_HOST_STACK,
            "stp": False,
            "forward_delay": 0,
            "ageing": 300,
            "mcast_snooping": False,
            "up": False,
        },
    ),
    DeleteLink("qbr1", "bridge"),
    DeleteLink("qvb1", "veth"),
    DeleteLink("tap1", "tun"),
    CreateLink("vlan7", "vlan", ALIAS, parent="eth0", vlan=7),
    SetLink("vlan7", {"mtu": 9000, "up": True, "mac": MAC}),
    DeleteLink("vlan7", "vlan"),
    JoinBridge("eth0", "br100", 1450),
    JoinBridge("eth0", "br100", None),
    LeaveBridge("eth0", "br100"),
    FilterBridge("br100", None),
    FilterBridge("br100", {}),
    FilterBridge("br100", {"gateway": True, "use_ipv6": False, "iptables_top_regex": "a.b"}),
]


def carried(message: Any) -> Any:
    """A message as it arrives in the daemon: see oslo_privsep.comm."""
    raw = msgpack.packb(message, use_bin_type=True, unicode_errors="surrogateescape")
    return msgpack.unpackb(raw, use_list=False, raw=False, unicode_errors="surrogateescape")


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_arrives_as_it_was_sent(step: LinkStep) -> None:
    arrived = packing.unpack(carried(packing.pack(step)))
    assert arrived == step
    assert str(arrived) == str(step)  # with its attributes in their order


@pytest.mark.parametrize(
    "packed",
    [
        None,
        7,
        "CreateLink",
        (),
        ("CreateLink",),
        ("CreateLink", CREATE, "more"),
        ("RenameLink", {"name": "tap1"}),
        ("_create", CREATE),
        (("CreateLink",), CREATE),
        ([], CREATE),
        ("CreateLink", None),
        ("CreateLink", ("name", "tap1")),
        ("CreateLink", {**CREATE, 1: 2}),
        ("SetLink", {"name": "tap1", "attributes": None}),
        ("SetLink", {"name": "tap1", "attributes": (("up", True),)}),
        ("SetLink", {"name": "tap1", "attributes": {1: True}}),
        ("FilterBridge", {"bridge": "br100", "settings": ()}),
        ("FilterBridge", {"bridge": "br100", "settings": "ACCEPT"}),
        *((step, {**fields, "netns": "/run/netns/other"}) for step, fields in FIELDS.items()),
        *(
            (step, {key: value for key, value in fields.items() if key != missing})
            for step, fields in FIELDS.items()
            for missing in fields
        ),
    ],
    ids=repr,
)
def test_what_is_not_one_of_our_steps_is_refused(packed: Any) -> None:
    with pytest.raises(InvalidValue):
        packing.unpack(packed)


GOOD = ("DeleteLink", {"name": "tap1", "kind": "tun"})


@pytest.mark.parametrize(
    "packed",
    [
        *[None, 7, True, "DeleteLink", b"x", {}, {"DeleteLink": {}}, [None], [7], ["DeleteLink"]],
        *[[{}], [[GOOD], None], [[GOOD], 7], [GOOD], [[[GOOD]]], [[7]], [[None]], [["x"]]],
    ],
    ids=repr,
)
def test_what_is_no_list_of_lists_of_steps_is_refused(packed: Any) -> None:
    with pytest.raises(InvalidValue):
        packing.unpack_groups(carried(packed))


@pytest.mark.parametrize("groups", [[], [[]], [[GOOD], []], [[GOOD, GOOD], [GOOD]]], ids=len)
def test_groups_arrive_as_they_were_sent(groups: Any) -> None:
    wanted = [[DeleteLink("tap1", "tun") for _ in group] for group in groups]
    assert packing.unpack_groups(carried(groups)) == wanted


OVS, LINUX_BRIDGE = vif_plug_ovs.privileged.ALLOWED, vif_plug_linux_bridge.privileged.ALLOWED


def alias(plugin: str) -> str:
    return Mark(plugin, "facade", "x").alias


#: step -> the daemons that take it
JOBS: list[tuple[LinkStep, set[str]]] = [
    *((CreateLink("x", "bridge", alias(one)), {one}) for one in ("ovs", "linux_bridge")),
    (CreateLink("x", "bridge", alias("ovs2")), set()),
    (CreateLink("x", "bridge", "os-vif:"), set()),
    (CreateLink("x", "tun", alias("ovs")), {"ovs"}),
    (CreateLink("x", "tun", alias("linux_bridge")), set()),
    (CreateLink("x", "veth", alias("ovs"), "y"), {"ovs"}),
    (CreateLink("x", "veth", alias("linux_bridge"), "y"), set()),
    (CreateLink("x", "vlan", alias("ovs"), parent="y", vlan=7), set()),
    (CreateLink("x", "vlan", alias("linux_bridge"), parent="y", vlan=7), {"linux_bridge"}),
    (SetLink("x", {"up": True}), {"ovs", "linux_bridge"}),
    (DeleteLink("x", "bridge"), {"ovs", "linux_bridge"}),
    (DeleteLink("x", "bridge", if_empty=True), {"ovs", "linux_bridge"}),
    (DeleteLink("x", "veth"), {"ovs"}),
    (DeleteLink("x", "tun"), {"ovs"}),
    (DeleteLink("x", "vlan"), {"linux_bridge"}),
    (JoinBridge("x", "y", None), {"linux_bridge"}),
    (LeaveBridge("x", "y"), {"linux_bridge"}),
    (FilterBridge("x", None), {"linux_bridge"}),
    (FilterBridge("x", {"gateway": True, "iptables_drop_action": "REJECT"}), {"linux_bridge"}),
    (FilterBridge("x", {"gateways": True}), set()),
    (FilterBridge("x", {"forward_bridge_interface": 7}), set()),
    (FilterBridge("x", {"iptables_drop_action": "DROP -j ACCEPT"}), set()),
    (FilterBridge("-M", {}), set()),
]


def _id(value: LinkStep | set[str]) -> str:
    """The same in each process: a set has no order."""
    return "-".join(sorted(value)) if isinstance(value, set) else str(value)


@pytest.mark.parametrize("allowed", [OVS, LINUX_BRIDGE], ids=lambda allowed: allowed.plugin)
@pytest.mark.parametrize(("step", "takers"), JOBS, ids=_id)
def test_a_daemon_takes_only_the_steps_that_are_its_job(
    step: LinkStep, takers: set[str], allowed: packing.Allowed
) -> None:
    packed = carried(packing.pack(step))
    if allowed.plugin in takers:
        assert packing.unpack(packed, allowed) == step
    else:
        with pytest.raises(InvalidValue):
            packing.unpack(packed, allowed)


def test_every_step_has_a_daemon() -> None:
    assert set(OVS.steps | LINUX_BRIDGE.steps) == LINK_STEPS
    assert set(OVS.kinds | LINUX_BRIDGE.kinds) == set(packing.KINDS)
    assert {type(step) for step, _ in JOBS} == LINK_STEPS
    assert set(FIELDS) == {step.__name__ for step in LINK_STEPS}


@pytest.mark.parametrize("text", ["", "mine", alias("ovs"), alias("linux_bridge")])
def test_what_stays_is_deleted_only_with_its_mark(text: str) -> None:
    assert LINUX_BRIDGE.may_delete(text) is (text == alias("linux_bridge"))
    assert OVS.may_delete(text)  # what os-vif 5 made has no mark


BAD_NAMES = ["", None, 7, "x" * 16, "a/b", "..", "a b", "a:b", "a\n", "a\0", "\udc80"]
BAD_KINDS = ["", None, 7, "dummy", "vxlan", "ipvlan", "Bridge", ("tun",), []]
BAD_ALIASES = [
    *["", None, 7, "uplink to rack 7", "os-vif", " " + ALIAS, "os-vif:" + "x" * 249],
    *(f"{ALIAS}{one}" for one in ("\n", "\nmine", "\0", "\x1b[2J", "\x85", "\u2028", "\udc80")),
]

#: step, what is changed of its other fields, a field -> values that are refused there.
BAD: list[tuple[str, dict[str, Any], str, list[Any]]] = [
    *((step, {}, "name", BAD_NAMES) for step, fields in FIELDS.items() if "name" in fields),
    *((step, {}, "bridge", BAD_NAMES) for step, fields in FIELDS.items() if "bridge" in fields),
    *((step, {}, "name", ["lo"]) for step in ("JoinBridge", "LeaveBridge")),
    *((step, {}, "bridge", ["eth0"]) for step in ("JoinBridge", "LeaveBridge")),
    *((step, {}, "kind", BAD_KINDS) for step in ("CreateLink", "DeleteLink")),
    ("CreateLink", VETH, "peer", BAD_NAMES),
    # The alias is written to both ends: it must not get onto a link that is not ours.
    *(("CreateLink", {"kind": kind}, "peer", ["eth0"]) for kind in ("bridge", "tun")),
    ("CreateLink", {"kind": "vlan", "vlan": 7}, "parent", BAD_NAMES),
    *(
        ("CreateLink", {**fields, "vlan": vlan}, "parent", [parent])
        for fields in ({"kind": "bridge"}, CREATE, VETH)
        for vlan, parent in ((0, "eth0"), (7, "eth0"), (7, ""))
    ),
    ("CreateLink", {"kind": "vlan", "parent": "eth0"}, "vlan", [0, 4095, -1, "7", True, None]),
    ("CreateLink", {}, "alias", BAD_ALIASES),
    ("CreateLink", {}, "multiqueue", [None, 0, 1, "yes"]),
    ("CreateLink", {"kind": "bridge"}, "multiqueue", [True]),
    ("CreateLink", VETH, "multiqueue", [True]),
    ("DeleteLink", {}, "if_empty", [None, 0, 1, "yes"]),
    ("JoinBridge", {}, "mtu", [0, 67, 65536, "1500", True]),
]


@pytest.mark.parametrize(
    ("step", "more", "field", "value"),
    [
        pytest.param(step, more, field, value, id=f"{step} {more.get('kind')} {field} {value!r}")
        for step, more, field, values in BAD
        for value in values
    ],
)
def test_a_bad_name_or_value_is_refused_by_its_field(
    step: str, more: dict[str, Any], field: str, value: object
) -> None:
    with pytest.raises(InvalidValue, match=f"Invalid value of {field}, "):
        packing.unpack((step, {**FIELDS[step], **more, field: value}))


def test_the_longest_alias_that_the_kernel_takes() -> None:
    alias = "os-vif:" + "x" * 248
    step = packing.unpack(("CreateLink", {**CREATE, "alias": alias}))
    assert isinstance(step, CreateLink)
    assert step.alias == alias


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("mac", "00:00:00:00:00:00"),
        ("mac", "01:00:5e:00:00:01"),
        ("mac", "fa:16:3e:00:00"),
        ("mac", None),
        ("mtu", 0),
        ("mtu", -1),
        ("mtu", 100000),
        ("mtu", "1500"),
        ("mtu", True),
        ("up", 1),
        ("up", "up"),
        ("promisc", 0),
        ("master", "x" * 16),
        ("master", "a/b"),
        ("master", None),
        ("group", 7),
        ("group", False),
        ("group", None),
        ("ageing", -1),
        ("ageing", 0.5),
        ("ageing", True),
        ("forward_delay", "0"),
        ("stp", 0),
        ("mcast_snooping", None),
        ("disable_ipv6", -1),
        ("disable_ipv6", "1\n"),
        ("arp_announce", None),
        ("arp_announce", 10**7),
        ("alias", ALIAS),
        ("ifname", "eth0"),
        ("rp_filter", 0),
        ("../all/forwarding", 1),
        ("multiqueue", True),
    ],
)
def test_a_bad_attribute_is_refused_by_name(attribute: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        packing.unpack(("SetLink", {"name": "tap1", "attributes": {attribute: value}}))
    assert f"{attribute}, {value!r}: " in str(caught.value)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
)
NAMES = st.sampled_from(["tap1", "qvb1", "", "a/b", "x" * 16])
KEYS = st.sampled_from(
    ["name", "kind", "alias", "peer", "multiqueue", "attributes", "mac", "mtu", "up", "master"]
)
VALUES = st.one_of(SCALARS, NAMES, st.sampled_from([ALIAS, MAC, *packing.KINDS, 1450]))
ANYTHING = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=8,
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=3)
NEARLY = st.one_of(
    st.tuples(
        st.just(step), st.fixed_dictionaries(dict.fromkeys(fields, VALUES | ATTRIBUTES | ANYTHING))
    )
    for step, fields in FIELDS.items()
)


@given(message=NEARLY | ANYTHING)
def test_whatever_comes_is_a_valid_step_or_an_invalid_value(message: Any) -> None:
    try:
        step = packing.unpack(carried(message))
    except InvalidValue:
        return
    assert isinstance(step, LinkStep)
    assert packing.unpack(carried(packing.pack(step))) == step
    if isinstance(step, CreateLink | DeleteLink):
        assert step.kind in packing.KINDS
