# SPDX-License-Identifier: Apache-2.0
"""What is removed when nothing uses it, by what was found."""

import pytest

from os_vif.objects.network import Network
from os_vif.objects.vif import VIFBridge, VIFOpenVSwitch
from os_vif.wiring.state import Link, Value
from os_vif.wiring.steps import DeleteLink, FilterBridge, LeaveBridge, LinkStep
from vif_plug_linux_bridge.shapes import gc

HOST = ("192.0.2.1/24", "2001:db8::1/64")


def link(
    name: str, kind: str, master: str = "", addresses: tuple[str, ...] = (), **more: Value
) -> Link:
    ours = {
        "bridge": f"os-vif:linux_bridge:bridge:{name}",
        "vlan": f"os-vif:linux_bridge:vlan:{name}",
    }
    alias = str(more.pop("alias", ours.get(kind, "")))
    return Link(name, kind, alias, {"master": master, **more}, addresses=addresses)


def bridge(name: str = "br1", addresses: tuple[str, ...] = (), **more: Value) -> Link:
    return link(name, "bridge", addresses=addresses, **more)


def leaves(port: str, bridge: str = "br1") -> list[LinkStep]:
    return [LeaveBridge(port, bridge), DeleteLink(bridge, "bridge", if_empty=True)]


BRIDGE_GOES: list[LinkStep] = [DeleteLink("br1", "bridge", if_empty=True)]
VLAN_GOES = DeleteLink("vlan7", "vlan")

#: what there is -> links, and the steps
CASES: dict[str, tuple[list[Link], list[list[LinkStep]]]] = {
    "nothing": ([], []),
    "nothing of ours": ([bridge(alias=""), link("vlan7", "vlan", alias="mine")], []),
    "ours by another name": ([bridge(alias="os-vif:linux_bridge:bridge:br2")], []),
    "ours of another kind": ([link("br1", "bridge", alias="os-vif:linux_bridge:vlan:br1")], []),
    "another plugin's": ([bridge(alias="os-vif:ovs:bridge:br1")], []),
    "a bridge alone": ([bridge()], [BRIDGE_GOES]),
    **{
        f"with an interface: {kind or 'hardware'}": (
            [bridge(addresses=HOST), link("eth0", kind, "br1")],
            [leaves("eth0")],
        )
        for kind in ("", "bond", "team")
    },
    "with somebody's VLAN device": (
        [bridge(addresses=HOST), link("eth0.7", "vlan", "br1", alias="")],
        [leaves("eth0.7")],
    ),
    "with the interface of the option": (
        [bridge(), link("wire", "veth", "br1")],
        [leaves("wire")],
    ),
    **{
        f"with a guest: {kind}": ([bridge(), link("tap1", kind, "br1")], [])
        for kind in ("tun", "veth", "macvtap", "vxlan")
    },
    "with two interfaces": ([bridge(), link("eth0", "", "br1"), link("eth1", "", "br1")], []),
    "with a guest besides": ([bridge(), link("eth0", "", "br1"), link("tap1", "tun", "br1")], []),
    "with something on it": ([bridge(), link("mac0", "macvlan", parent="br1")], []),
    "wanted": ([bridge("br9"), link("eth0", "", "br9")], []),
    "with addresses that have nowhere to go": ([bridge(addresses=HOST), link("eth0", "")], []),
    "left half-way": (
        [bridge(addresses=HOST[:1]), link("wire", "veth", addresses=HOST)],
        [leaves("wire")],
    ),
    "left half-way, and in use elsewhere": (
        [bridge(addresses=HOST), link("wire", "veth", "br0", HOST)],
        [],
    ),
    "a VLAN": (
        [bridge(), link("vlan7", "vlan", "br1")],
        [[*leaves("vlan7"), VLAN_GOES]],
    ),
    "a VLAN that the host uses": ([bridge(addresses=HOST), link("vlan7", "vlan", "br1")], []),
    "a VLAN with something on it": (
        [bridge(), link("vlan7", "vlan", "br1"), link("inner", "vlan", alias="", parent="vlan7")],
        [leaves("vlan7")],
    ),
    "a VLAN device alone": ([link("vlan7", "vlan", parent="eth0")], [[VLAN_GOES]]),
    "a VLAN device with addresses": ([link("vlan7", "vlan", addresses=HOST)], []),
    "a VLAN device in a bridge of others": (
        [bridge("br2", alias=""), link("vlan7", "vlan", "br2")],
        [],
    ),
    "a wanted VLAN device": ([link("vlan9", "vlan")], []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_goes(case: str) -> None:
    links, steps = CASES[case]
    assert gc.removals(host(*links)) == steps


def host(*links: Link, filtered: frozenset[str] = frozenset()) -> gc.Host:
    wanted = frozenset({"br9", "vlan9"})
    return gc.Host({link.name: link for link in links}, filtered, wanted, interface="wire")


def test_rules_go_with_their_bridge_or_after_it() -> None:
    found = host(
        bridge(), bridge("br3", alias=""), filtered=frozenset({"br3", "br2", "br1", "br9"})
    )
    assert gc.removals(found) == [
        [*BRIDGE_GOES, FilterBridge("br1", None)],
        [FilterBridge("br2", None)],
    ]


def test_the_names_of_vifs() -> None:
    vlan = Network(vlan=7, should_provide_vlan=True)
    vifs = [
        VIFBridge(bridge_name="br1", network=Network()),
        VIFBridge(bridge_name="br7", network=vlan),
        VIFBridge(bridge_name="br2"),
        VIFBridge(network=vlan),
        VIFOpenVSwitch(bridge_name="br3", network=vlan),
    ]
    assert gc.names_of(vifs) == {"br1", "br7", "br2", "vlan7"}
