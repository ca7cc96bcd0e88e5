# SPDX-License-Identifier: Apache-2.0
"""From wanted and found to the steps of a plug."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from os_vif.wiring.differences import PRESENT, Action, Difference
from os_vif.wiring.elements import BridgePort, DeviceMtu, HostInterface
from os_vif.wiring.elements.element import Plan
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.plan import damage, differences, to_apply
from os_vif.wiring.rows_first import is_rows_first
from os_vif.wiring.state import Bridge, Link, Port, Value, Vlan
from os_vif.wiring.steps import (
    CreateBridge,
    CreatePort,
    DeleteLink,
    JoinBridge,
    LinkStep,
    RemoveBridge,
    ReopenPort,
    SetLink,
    SetPort,
)
from tests.fakes import NO_HOST_STACK, new_link, with_value
from tests.unit.wiring.values import (
    ALL_OF_DIRECT,
    ALL_OF_HYBRID,
    BR,
    BR_INT,
    BR_LINK,
    BRIDGE_ROW,
    COMPLETE,
    CREATE_BR,
    CREATE_QBR,
    CREATE_QVB,
    CREATE_TAP,
    CREATE_VLAN,
    DIRECT,
    EARLIER,
    ETH0_LINK,
    FILTER,
    FLAT,
    HYBRID,
    IBP,
    IDS,
    IN_PB,
    JOIN,
    JOIN_VLAN,
    JOINED,
    LATER,
    LATER_PORT,
    LIBVIRTS_MAC,
    LIBVIRTS_TAP,
    MAC,
    MARK,
    ON_BR,
    ON_QBR,
    ON_QVB,
    ON_QVO,
    ON_TAP,
    OTHER,
    OWN,
    PARENT,
    PB,
    PB_ROW,
    PBP,
    PORT,
    PORT_ROW,
    QBR,
    QBR_LINK,
    QVB_LINK,
    QVO_LINK,
    TAGGED,
    TAP,
    TAP_LINK,
    TAP_PORT,
    TAP_PORT_ROW,
    UNFILTERED,
    VETH,
    VF,
    VF_LINK,
    VHU_ROW,
    VLAN,
    VLAN_LINK,
    but,
    changed,
    found,
    less,
)

# Making ------------------------------------------------------------------------------------------

A_MAC = "02:00:00:00:00:07"

MADE = {
    "hybrid wiring": (
        HYBRID,
        (),
        Plan(
            links=(
                CREATE_QBR,
                SetLink("qbr1", ON_QBR),
                CREATE_QVB,
                SetLink("qvb1", ON_QVB),
                SetLink("qvo1", ON_QVO),
            ),
            rows=(CreateBridge(BR_INT), CreatePort(PORT)),
            awaited=("br-int", "qvo1"),
        ),
    ),
    "tap with a bridge of its own": (
        OWN,
        (),
        Plan(
            links=(CREATE_TAP, SetLink("tap1", ON_TAP)),
            rows=(
                CreateBridge(BR_INT),
                CreateBridge(PB),
                CreatePort(IN_PB),
                CreatePort(PBP),
                CreatePort(IBP),
            ),
            awaited=("br-int", "pb1", "tap1", "pbp1", "ibp1"),
        ),
    ),
    "a bridge is filtered before anything comes in; addresses and MTU come last": (
        FLAT,
        (but(ETH0_LINK, mtu=1500, up=False),),
        Plan(
            links=(
                SetLink("eth0", {"mtu": 1450, "up": True}),
                CREATE_BR,
                SetLink("br1", ON_BR),
                FILTER,
                JOIN,
            )
        ),
    ),
    "a bridge on a VLAN": (
        TAGGED,
        (but(ETH0_LINK, mtu=1400),),
        Plan(
            links=(
                SetLink("eth0", {"mtu": 1450}),
                CREATE_VLAN,
                SetLink("vlan7", {"mtu": 1450, "up": True}),
                CREATE_BR,
                SetLink("br1", ON_BR),
                JOIN_VLAN,
            )
        ),
    ),
}


@pytest.mark.parametrize(("wiring", "there", "plan"), MADE.values(), ids=MADE)
def test_what_is_missing_is_made_in_its_order(wiring: Wiring, there: Any, plan: Plan) -> None:
    assert to_apply(wiring, found(*there)) == plan


def test_a_bridge_is_brought_up_last() -> None:
    """Until it is deaf and does not learn, nothing may pass through it."""
    _, bridge = to_apply(Wiring((QBR,)), found()).links
    assert isinstance(bridge, SetLink)
    assert list(bridge.attributes)[-1] == "up"


NOT_DESCRIBED = {
    "a bridge with the kernel's ageing": (
        (replace(QBR, ageing=None),),
        (CREATE_QBR, SetLink("qbr1", {k: v for k, v in ON_QBR.items() if k != "ageing"})),
    ),
    "a tap of any MAC and MTU": (
        (replace(TAP, mac=None, mtu=None),),
        (CREATE_TAP, SetLink("tap1", {"disable_ipv6": 1, "up": True})),
    ),
    "a multiqueue tap": (
        (replace(TAP, multiqueue=True),),
        (replace(CREATE_TAP, multiqueue=True), SetLink("tap1", ON_TAP)),
    ),
    "veths of any MTU": (
        (replace(VETH, mtu=None),),
        (
            CREATE_QVB,
            *(
                SetLink(name, {k: v for k, v in its.items() if k != "mtu"})
                for name, its in (("qvb1", ON_QVB), ("qvo1", ON_QVO))
            ),
        ),
    ),
    "a bridge of any MTU": (
        (HostInterface("eth0", None), BR, BridgePort("eth0", "br1", None)),
        (CREATE_BR, SetLink("br1", ON_BR), JoinBridge("eth0", "br1", None)),
    ),
    "a shared interface of any MTU": ((HostInterface("eth0", None, shared=True),), ()),
    "a VLAN device with a MAC address": (
        (replace(VLAN, mac=A_MAC),),
        (CREATE_VLAN, SetLink("vlan7", {"mac": A_MAC, "mtu": 1450, "up": True})),
    ),
}


@pytest.mark.parametrize(("elements", "steps"), NOT_DESCRIBED.values(), ids=NOT_DESCRIBED)
def test_what_is_not_described_is_not_set(elements: Any, steps: tuple[LinkStep, ...]) -> None:
    assert to_apply(Wiring(elements), found(ETH0_LINK)).links == steps


def test_a_new_bridge_takes_the_type_of_the_one_that_it_is_joined_to() -> None:
    own = replace(PB, joined_to="br-int")
    wiring = Wiring((BR_INT, own))
    [step] = to_apply(wiring, found(Bridge("br-int", "netdev"))).rows
    assert step == CreateBridge(replace(own, datapath_type="netdev"))
    both = to_apply(wiring, found()).rows
    assert both == (CreateBridge(BR_INT), CreateBridge(own))


# Everything is there -----------------------------------------------------------------------------


def as_it_should_be(one: Any) -> Any:
    return one


def with_more_than_described(one: Any) -> Any:
    if not isinstance(one, Port):
        return one
    ids, options = {**one.interface_ids, "ovn-installed": "true"}, {**one.options, "n_rxq": "2"}
    return replace(one, interface_ids=ids, options=options)


def without_a_mark_as_os_vif_5_made_it(one: Any) -> Any:
    return replace(one, alias="") if isinstance(one, Link) else replace(one, external_ids={})


def without_ipv6(one: Any) -> Any:
    return less(one, "disable_ipv6") if isinstance(one, Link) else one


@pytest.mark.parametrize("which", COMPLETE)
@pytest.mark.parametrize(
    "each",
    [as_it_should_be, with_more_than_described, without_a_mark_as_os_vif_5_made_it, without_ipv6],
)
def test_then_there_is_nothing_to_do(each: Callable[[Any], Any], which: str) -> None:
    wiring, there = COMPLETE[which]
    others = (new_link("eth9", ""), Port("patch", "br-int"), Bridge("br-ex", "netdev"))
    state = found(*map(each, there), *others)
    assert differences(wiring, state) == ()
    assert to_apply(wiring, state) == Plan()


def test_the_rules_of_a_bridge_are_looked_at_where_they_can_be_read() -> None:
    assert to_apply(FLAT, found(JOINED, BR_LINK)) == Plan(links=(FILTER,))


NO_DIFFERENCE = {
    "what is set on creation only": (
        Wiring((BR_INT, replace(PORT, vlan=Vlan(4095), qos_type="linux-htb"))),
        (BRIDGE_ROW, PORT_ROW),
    ),
    "no datapath type is system": (Wiring((BR_INT,)), (Bridge("br-int", ""),)),
    "IPv6 of the one veth that os-vif 5 made": (
        HYBRID,
        (QBR_LINK, but(QVB_LINK, "", disable_ipv6=0), QVO_LINK, BRIDGE_ROW, PORT_ROW),
    ),
    "and of the other": (
        HYBRID,
        (QBR_LINK, QVB_LINK, but(QVO_LINK, "", disable_ipv6=0), BRIDGE_ROW, PORT_ROW),
    ),
    "of our bridge, what is the kernel's": (
        UNFILTERED,
        (JOINED, but(BR_LINK, ageing=0, mac=A_MAC, promisc=True)),
    ),
    "IPv6 of a bridge that has addresses of IPv6": (
        UNFILTERED,
        (JOINED, but(BR_LINK, addresses=("2001:db8::1/64",), disable_ipv6=0)),
    ),
    "the MTU of a bridge, if none is described": (
        Wiring((HostInterface("eth0", None), BR, BridgePort("eth0", "br1", None))),
        (JOINED, but(BR_LINK, mtu=9000)),
    ),
    "libvirt's device is yet to come": (Wiring((DeviceMtu("tap1", 1450),)), ()),
    "libvirt's device may have any MTU": (Wiring((DeviceMtu("tap1", None),)), (TAP_LINK,)),
    "leftovers are gone": (Wiring((BR_INT,), leftovers=(TAP, TAP_PORT)), (BRIDGE_ROW,)),
    "leftovers are there and wrong": (
        Wiring((BR_INT,), leftovers=(TAP, TAP_PORT)),
        (BRIDGE_ROW, but(TAP_LINK, mtu=9000), replace(TAP_PORT_ROW, bridge="br-ex")),
    ),
}


@pytest.mark.parametrize(("wiring", "there"), NO_DIFFERENCE.values(), ids=NO_DIFFERENCE)
def test_what_is_no_difference(wiring: Wiring, there: Any) -> None:
    assert differences(wiring, found(*there)) == ()
    assert to_apply(wiring, found(*there)) == Plan()


@pytest.mark.parametrize("mtu", [1450, 1500, 9000])
def test_the_mtu_of_a_shared_interface_is_raised_never_lowered(mtu: int) -> None:
    assert to_apply(Wiring((PARENT,)), found(but(ETH0_LINK, mtu=mtu))) == Plan()


@pytest.mark.parametrize("alias", ["", "uplink to rack 7", Mark("ovs", "hybrid", "a").alias])
def test_a_bridge_of_others_keeps_its_settings(alias: str) -> None:
    theirs: dict[str, Value] = {"stp": True, "forward_delay": 15, "mcast_snooping": True}
    there = but(BR_LINK, alias, **theirs, **dict.fromkeys(NO_HOST_STACK, 0))
    assert to_apply(UNFILTERED, found(JOINED, there)) == Plan()
    assert to_apply(UNFILTERED, found(ETH0_LINK, there)) == Plan(links=(JOIN,))


# Correcting links --------------------------------------------------------------------------------

#: Values that are wrong wherever an attribute is described.
WRONG: dict[str, Value] = {
    **dict.fromkeys(NO_HOST_STACK, 0),
    "ageing": 300,
    "forward_delay": 15,
    "mac": LIBVIRTS_MAC,
    "master": "",
    "mcast_snooping": True,
    "mtu": 1500,
    "promisc": False,
    "stp": True,
    "up": False,
}


@pytest.mark.parametrize(
    ("which", "link", "attribute", "right"),
    [
        pytest.param(which, link, attribute, right, id=f"{which}: {attribute} of {link.name}")
        for which, link, its in (
            ("hybrid", QBR_LINK, ON_QBR),
            ("hybrid", QVB_LINK, ON_QVB),
            ("hybrid", QVO_LINK, ON_QVO),
            ("tap", TAP_LINK, ON_TAP),
            ("flat", JOINED, {"mtu": 1450, "up": True}),
            ("flat", BR_LINK, ON_BR),
        )
        for attribute, right in its.items()
    ],
)
def test_one_wrong_attribute_is_corrected_and_nothing_else(
    which: str, link: Link, attribute: str, right: Value
) -> None:
    wiring, now = changed(which, but(link, **{attribute: WRONG[attribute]}))
    assert differences(wiring, now) == (
        Difference(f"link {link.name}", attribute, right, WRONG[attribute], Action.CORRECT),
    )
    assert to_apply(wiring, now) == Plan(links=(SetLink(link.name, {attribute: right}),))


CORRECTED = {
    "a veth in another bridge": (
        "hybrid",
        (but(QVB_LINK, master="br-other"),),
        (SetLink("qvb1", {"master": "qbr1"}),),
    ),
    "several attributes in one step a link": (
        "hybrid",
        (but(QBR_LINK, up=False, stp=True), but(QVB_LINK, mtu=1500, master="")),
        (
            SetLink("qbr1", {"stp": False, "up": True}),
            SetLink("qvb1", {"mtu": 1450, "master": "qbr1"}),
        ),
    ),
    "a port that left its bridge": ("flat", (but(JOINED, master=""),), (JOIN,)),
    "the MTU of a bridge": ("flat", (but(BR_LINK, mtu=1500),), (JOIN,)),
    "IPv6 of a bridge that has addresses of IPv4 only": (
        "flat",
        (but(BR_LINK, addresses=("192.0.2.1/24",), disable_ipv6=0),),
        (SetLink("br1", {"disable_ipv6": 1}),),
    ),
    "of a tap that libvirt made only the MTU": (
        "tap",
        (but(LIBVIRTS_TAP, mtu=1500),),
        (SetLink("tap1", {"mtu": 1450}),),
    ),
    "so of an administrator's": (
        "tap",
        (but(TAP_LINK, "uplink to rack 7", mac=LIBVIRTS_MAC, mtu=9000),),
        (SetLink("tap1", {"mtu": 1450}),),
    ),
    "a tap of this VIF from other settings wholly": (
        "tap",
        (but(TAP_LINK, EARLIER.alias, mac=LIBVIRTS_MAC),),
        (SetLink("tap1", {"mac": MAC}),),
    ),
    "a tap that another VIF has left is replaced": (
        "tap",
        (but(TAP_LINK, OTHER.alias),),
        (DeleteLink("tap1", "tun"), CREATE_TAP, SetLink("tap1", ON_TAP)),
    ),
    "of libvirt's device only the MTU": (
        "device of libvirt",
        (but(LIBVIRTS_TAP, mtu=1500, up=False),),
        (SetLink("tap1", {"mtu": 1450}),),
    ),
    "of libvirt's device of whatever kind": (
        "device of libvirt",
        (new_link("tap1", "", mtu=1500),),
        (SetLink("tap1", {"mtu": 1450}),),
    ),
    "a representor that is down": (
        "representor",
        (but(VF_LINK, up=False, mtu=1500),),
        (SetLink("eth0_0", {"mtu": 1450, "up": True}),),
    ),
    "a representor with an administrator's alias": (
        "representor",
        (but(VF_LINK, "uplink to rack 7", mtu=9000),),
        (SetLink("eth0_0", {"mtu": 1450}),),
    ),
}


@pytest.mark.parametrize(("which", "links", "steps"), CORRECTED.values(), ids=CORRECTED)
def test_what_is_corrected(
    which: str, links: tuple[Link, ...], steps: tuple[LinkStep, ...]
) -> None:
    plan = to_apply(*changed(which, *links))
    assert (plan.links, plan.rows, plan.refused) == (steps, (), ())


def test_addresses_that_are_left_on_the_interface_are_a_difference() -> None:
    """Whoever moved them was killed; or a DHCP client has put one there."""
    wiring, now = changed("flat", but(JOINED, addresses=("192.0.2.1/24",)))
    assert differences(wiring, now) == (
        Difference("link eth0", "addresses", (), ("192.0.2.1/24",)),
    )
    assert to_apply(wiring, now) == Plan(links=(JOIN,))


@pytest.mark.parametrize(("datapath", "told"), [("system", False), ("netdev", True)])
@pytest.mark.parametrize(("missing", "rest"), [("qvb1", "qvo1"), ("qvo1", "qvb1")])
def test_half_a_veth_pair_is_replaced(missing: str, rest: str, datapath: str, told: bool) -> None:
    bridge = Bridge("br-int", datapath)
    there = (one for one in ALL_OF_HYBRID if one.name != missing or isinstance(one, Port))
    wiring = replace(HYBRID, elements=(QBR, VETH, replace(BR_INT, datapath_type=datapath), PORT))
    assert to_apply(wiring, found(*there, bridge)) == Plan(
        links=(
            DeleteLink(rest, "veth"),
            CREATE_QVB,
            SetLink("qvb1", ON_QVB),
            SetLink("qvo1", ON_QVO),
        ),
        # Whichever half is missing, the device of the port is a new one.
        rows=(ReopenPort("qvo1"),) if told else (),
        awaited=("qvo1",),
    )


# Correcting rows ---------------------------------------------------------------------------------

VALUES: dict[str, str | int] = {
    **{f"external_ids:{key}": value for key, value in IDS.items()},
    "type": "dpdkvhostuserclient",
    "options:vhost-server-path": "/run/vhu1",
    "mtu_request": 1450,
}


@pytest.mark.parametrize(
    ("what", "was"),
    [
        # With another's iface-id the row is another's.
        *((f"external_ids:{key}", "other") for key in IDS if key != "iface-id"),
        *((f"external_ids:{key}", None) for key in IDS),
        ("type", "dpdkvhostuser"),
        ("options:vhost-server-path", "/tmp"),
        ("options:vhost-server-path", None),
        ("mtu_request", 1500),
        ("mtu_request", None),
    ],
)
def test_one_wrong_value_of_a_port_is_corrected_and_nothing_else(
    what: str, was: str | int | None
) -> None:
    wiring, now = changed("vhost-user", with_value(VHU_ROW, what, was))
    assert differences(wiring, now) == (
        Difference("OVS port vhu1", what, VALUES[what], was, Action.CORRECT),
    )
    assert to_apply(wiring, now) == Plan(
        rows=(SetPort("vhu1", {what: VALUES[what]}),), awaited=("vhu1",)
    )


def test_the_mtu_of_a_kernels_device_is_not_ovs_vswitchds_to_set() -> None:
    wiring, now = changed("tap", replace(TAP_PORT_ROW, mtu_request=1200))
    assert differences(wiring, now) == (Difference("OVS port tap1", "mtu_request", None, 1200),)
    step = SetPort("tap1", {"mtu_request": None})
    assert to_apply(wiring, now) == Plan(rows=(step,), awaited=("tap1",))


@pytest.mark.parametrize("peer", ["ibp1", "x"])
def test_the_error_of_a_patch_port_follows_from_what_is_wrong_with_its_pair(peer: str) -> None:
    ids, error = {"os-vif": str(MARK)}, "no usable peer"
    row = Port("pbp1", "pb1", ids, interface_type="patch", options={"peer": peer}, error=error)
    wiring, now = Wiring((PBP,)), found(PB_ROW, row)
    (*_, said) = damage(wiring, now)
    assert (said.what, said.action is Action.CORRECT) == ("error", peer == "x")
    assert bool(to_apply(wiring, now).reported) is (peer == "ibp1")


def test_several_wrong_values_of_a_port_are_corrected_in_one_step() -> None:
    row = replace(VHU_ROW, mtu_request=None, options={}, interface_ids={})
    values = {what: value for what, value in VALUES.items() if what != "type"}
    assert to_apply(*changed("vhost-user", row)).rows == (SetPort("vhu1", values),)


def test_an_unknown_column_is_not_guessed() -> None:
    with pytest.raises(KeyError, match="ingress_policing_rate"):
        PORT_ROW.interface("ingress_policing_rate")


NETDEV_ROW = Bridge("br-int", "netdev")
IN_USER_SPACE = Wiring((TAP, replace(BR_INT, datapath_type="netdev"), TAP_PORT))
NO_DEVICE = replace(TAP_PORT_ROW, ofport=-1, error="No such device")


AWAITED = {
    "the device is yet to come": (
        Wiring((LATER_PORT,)),
        (BRIDGE_ROW,),
        (CreatePort(LATER_PORT),),
        (),
    ),
    "the device is there before its time": (
        Wiring((LATER_PORT,)),
        (BRIDGE_ROW, TAP_LINK),
        (CreatePort(LATER_PORT),),
        ("tap1",),
    ),
    "a new bridge has a device of its own": (
        Wiring((BR_INT, LATER_PORT)),
        (),
        (CreateBridge(BR_INT), CreatePort(LATER_PORT)),
        ("br-int",),
    ),
    "only the device was missing: nothing is written, the port is awaited": (
        DIRECT,
        (BRIDGE_ROW, NO_DEVICE),
        (),
        ("tap1",),
    ),
    "what the kernel's datapath says of it is about to change": (
        DIRECT,
        (BRIDGE_ROW, TAP_PORT_ROW),
        (),
        ("tap1",),
    ),
    "the userspace datapath has noticed": (IN_USER_SPACE, (NETDEV_ROW, NO_DEVICE), (), ("tap1",)),
    "the userspace datapath has not noticed that the device was missing: it is told": (
        IN_USER_SPACE,
        (NETDEV_ROW, TAP_PORT_ROW),
        (ReopenPort("tap1"),),
        ("tap1",),
    ),
    "it is told so when an id is wrong, too": (
        IN_USER_SPACE,
        (NETDEV_ROW, replace(TAP_PORT_ROW, interface_ids={**IDS, "vm-uuid": "c2"})),
        (SetPort("tap1", {"external_ids:vm-uuid": "c1"}), ReopenPort("tap1")),
        ("tap1",),
    ),
    "libvirt's device is missing: that is no concern of ours": (
        LATER,
        (BRIDGE_ROW, TAP_PORT_ROW),
        (),
        (),
    ),
}


@pytest.mark.parametrize(("wiring", "there", "rows", "awaited"), AWAITED.values(), ids=AWAITED)
def test_a_port_is_awaited_when_its_device_should_be_there(
    wiring: Wiring, there: Any, rows: Any, awaited: tuple[str, ...]
) -> None:
    plan = to_apply(wiring, found(*there))
    assert (plan.rows, plan.awaited) == (rows, awaited)


# Reporting and refusing --------------------------------------------------------------------------

REPORTED = {
    "queues cannot be changed": (
        DIRECT,
        (but(TAP_LINK, multiqueue=True), BRIDGE_ROW, TAP_PORT_ROW),
        ("link tap1", "multiqueue", False, True),
    ),
    "a datapath type is not changed": (
        Wiring((BR_INT,)),
        (NETDEV_ROW,),
        ("OVS bridge br-int", "datapath_type", "system", "netdev"),
    ),
    "nor is one that is not set": (
        Wiring((replace(BR_INT, datapath_type="netdev"),)),
        (Bridge("br-int", ""),),
        ("OVS bridge br-int", "datapath_type", "netdev", ""),
    ),
    "the device should be there": (
        Wiring((TAP_PORT,)),
        (NO_DEVICE,),
        ("OVS port tap1", "error", "", "No such device"),
    ),
    "the device has come": (
        Wiring((LATER_PORT,)),
        (NO_DEVICE, TAP_LINK),
        ("OVS port tap1", "error", "", "No such device"),
    ),
    "the device is yet to come": (Wiring((LATER_PORT,)), (NO_DEVICE,), None),
}


@pytest.mark.parametrize(("wiring", "there", "reported"), REPORTED.values(), ids=REPORTED)
def test_what_is_reported_and_left_as_it_is(
    wiring: Wiring, there: Any, reported: tuple[Any, ...] | None
) -> None:
    differences = (Difference(*reported, Action.REPORT),) if reported else ()
    assert to_apply(wiring, found(*there)) == Plan(reported=differences)


def test_a_plan_of_reports_alone_is_nothing_to_do() -> None:
    assert not Plan(reported=(Difference("x", PRESENT, True, False),), awaited=("x",))
    assert Plan(links=(DeleteLink("x", "tun"),))
    assert Plan(rows=(RemoveBridge("x"),))


HYBRIDS = [("hybrid", link) for link in (QBR_LINK, QVB_LINK, QVO_LINK)]

REFUSED = {
    **{
        f"{link.name} is {said}": (which, new_link(link.name, kind), ("kind", link.kind, said))
        for which, link in (*HYBRIDS, ("tap", TAP_LINK), ("flat", BR_LINK), ("vlan", VLAN_LINK))
        for kind, said in (("dummy", "dummy"), ("", "hardware"))
    },
    **{
        f"{link.name} of another VIF may be in use": (
            which,
            but(link, OTHER.alias),
            ("owner", MARK.alias, OTHER.alias),
        )
        for which, link in (*HYBRIDS, ("tap", replace(TAP_LINK, carrier=True)))
    },
    "a port on another bridge is refused by the names of both": (
        "hybrid",
        replace(PORT_ROW, bridge="br-ex"),
        ("bridge", "br-int", "br-ex"),
    ),
    "a bond under the port's name": (
        "hybrid",
        Port("qvo1", "br-int", bond=True),
        ("interface", "qvo1", "those of a bond"),
    ),
    "an interface in another bridge": (
        "flat",
        but(ETH0_LINK, master="br2"),
        ("master", "br1", "br2"),
    ),
    **{
        f"a VLAN device of another {what}": (
            "vlan",
            but(VLAN_LINK, **{what: other}),
            (what, wanted, other),
        )
        for what, wanted, other in (
            ("parent", "eth0", "eth1"),
            ("vlan", 7, 8),
            ("master", "br1", "br2"),
        )
    },
}


@pytest.mark.parametrize(("which", "there", "contradiction"), REFUSED.values(), ids=REFUSED)
def test_what_contradicts_is_refused(
    which: str, there: Link | Port, contradiction: tuple[str, object, object]
) -> None:
    wiring, now = changed(which, there)
    where = f"{'link' if isinstance(there, Link) else 'OVS port'} {there.name}"
    assert to_apply(wiring, now).refused == (Difference(where, *contradiction, Action.REFUSE),)


@pytest.mark.parametrize("wiring", [UNFILTERED, TAGGED, Wiring((VF,))])
def test_an_interface_of_the_host_must_be_there(wiring: Wiring) -> None:
    name = wiring.elements[0].name
    missing = Difference(f"link {name}", PRESENT, True, False, Action.REFUSE)
    assert to_apply(wiring, found(BR_LINK)).refused == (missing,)


# Rows before links -------------------------------------------------------------------------------

MANY = 10**6


@pytest.mark.parametrize(
    ("wirings", "there", "ports", "expected"),
    [
        pytest.param((DIRECT,), (), 300, True, id="a tap"),
        pytest.param((DIRECT,), (), 299, False, id="a tap, too few ports"),
        pytest.param((DIRECT,), (BRIDGE_ROW,), 300, True, id="the bridge is there"),
        pytest.param((HYBRID,), (), 600, True, id="a bridge and a veth pair"),
        pytest.param((HYBRID,), (), 599, False, id="a bridge and a veth pair, too few ports"),
        pytest.param((OWN,), (), 300, True, id="a bridge of its own"),
        pytest.param((DIRECT, HYBRID), (), 900, True, id="a batch"),
        pytest.param((DIRECT, HYBRID), (), 899, False, id="a batch, too few ports"),
        pytest.param((DIRECT, LATER), (), 300, True, id="a batch, one needs no link"),
        pytest.param((LATER,), (), MANY, False, id="no link"),
        pytest.param((), (), MANY, False, id="nothing"),
        pytest.param((DIRECT,), ALL_OF_DIRECT, MANY, False, id="all is there"),
        pytest.param((DIRECT,), (BRIDGE_ROW, TAP_PORT_ROW), MANY, False, id="only the device"),
        pytest.param(
            (DIRECT, HYBRID), (BRIDGE_ROW, TAP_PORT_ROW), MANY, False, id="of one only the device"
        ),
        pytest.param(
            (OWN,),
            (BRIDGE_ROW, PB_ROW, replace(TAP_PORT_ROW, bridge="pb1")),
            MANY,
            False,
            id="a row is missing, but not the device's",
        ),
        pytest.param((Wiring((QBR,)),), (), MANY, False, id="links alone"),
    ],
)
def test_rows_come_first_where_vswitchd_is_slow_and_looks_at_new_rows_only(
    wirings: Sequence[Wiring], there: Sequence[Link | Bridge | Port], ports: int, expected: bool
) -> None:
    state = replace(found(*there), port_count=ports)
    assert is_rows_first([to_apply(wiring, state) for wiring in wirings], state) is expected
