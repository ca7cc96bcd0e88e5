# SPDX-License-Identifier: Apache-2.0
"""What was made for guests that are gone. Everything here is pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from os_vif import validate
from os_vif.answers import Decision, PluggedVif, State
from os_vif.objects.base import get
from os_vif.objects.vif import VIFBase, VIFBridge
from os_vif.wiring.errors import WiringError
from os_vif.wiring.state import Link
from os_vif.wiring.steps import DeleteLink, FilterBridge, LeaveBridge, LinkStep
from vif_plug_linux_bridge import constants
from vif_plug_linux_bridge.shapes import mark, vlan_name

#: The kinds of links through which a host reaches a network; those of guests are of other kinds.
_OF_THE_HOST = {"", "bond", "team", "vlan"}


@dataclass(frozen=True)
class Host:
    """What was found, and what is wanted.

    :param links: all of them, with their addresses.
    :param filtered: the bridges that have rules of ours.
    :param wanted: names of bridges and VLAN devices that stay.
    :param interface: the one that is put into flat bridges, whatever its kind.
    """

    links: Mapping[str, Link]
    filtered: frozenset[str]
    wanted: frozenset[str]
    interface: str | None

    def ports(self, bridge: str) -> list[Link]:
        """Return the links in a bridge."""
        return [link for link in self.links.values() if link.attributes["master"] == bridge]

    def is_busy(self, name: str) -> bool:
        """Return whether a link is wanted, or another one is stacked on it."""
        stacked = (link.attributes.get("parent") for link in self.links.values())
        return name in self.wanted or name in stacked


def names_of(vifs: Iterable[VIFBase]) -> frozenset[str]:
    """Return the bridges and VLAN devices of VIFs.

    :raises InvalidValue: a VIF of this plugin does not say its bridge, which has to stay.
    """
    bridged = [vif for vif in vifs if isinstance(vif, VIFBridge)]
    bridges = {_bridge_of(vif) for vif in bridged}
    networks = filter(None, (get(vif, "network") for vif in bridged))
    vlans = filter(None, (get(network, "vlan") for network in networks))
    return frozenset({*filter(None, bridges), *map(vlan_name, vlans)})


def _bridge_of(vif: VIFBridge) -> str | None:
    name: str | None = get(vif, "bridge_name")
    is_ours = get(vif, "plugin") == constants.PLUGIN_NAME
    return str(validate.required("vif.bridge_name", name)) if is_ours else name


def removals(host: Host) -> list[list[LinkStep]]:
    """Return the steps that remove what nothing uses: for each bridge, VLAN device or set of
    rules.

    A bridge is in use while it has a port besides the interface of the host that joined it, while
    something is stacked on it, and while it is named as wanted. So is one with addresses that have
    no interface to move back to.
    """
    links = host.links.values()
    groups = [_bridge(host, link) for link in links if _is_ours(link, "bridge")]
    groups += [_vlan(host, link) for link in links if not link.attributes["master"]]
    gone = sorted(host.filtered - host.links.keys() - host.wanted)
    groups += [[FilterBridge(name, None)] for name in gone]
    return [steps for steps in groups if steps]


def _bridge(host: Host, bridge: Link) -> list[LinkStep]:
    ports = host.ports(bridge.name) or _interrupted(host, bridge)
    in_use = len(ports) > 1 or not all(_joined(host, bridge, port) for port in ports)
    if in_use or host.is_busy(bridge.name) or (bridge.addresses and not ports):
        return []
    steps: list[LinkStep] = [LeaveBridge(port.name, bridge.name) for port in ports]
    steps.append(DeleteLink(bridge.name, "bridge", if_empty=True))
    if bridge.name in host.filtered:
        steps.append(FilterBridge(bridge.name, None))
    return steps + [step for port in ports for step in _vlan(host, port)]


def _vlan(host: Host, link: Link) -> list[LinkStep]:
    in_use = link.addresses or host.is_busy(link.name)
    return [DeleteLink(link.name, "vlan")] if _is_ours(link, "vlan") and not in_use else []


def _joined(host: Host, bridge: Link, port: Link) -> bool:
    """Return whether a port is the interface that we have put into a bridge, and may be taken
    out."""
    if _is_ours(port, "vlan"):
        return not bridge.addresses  # else the host itself uses the VLAN
    return port.name == host.interface or port.kind in _OF_THE_HOST


def _interrupted(host: Host, bridge: Link) -> list[Link]:
    """Return the interface that has left a bridge, where addresses had come to it and not yet
    gone."""
    return [
        link
        for link in host.links.values()
        if bridge.addresses
        and link.name != bridge.name
        and not link.attributes["master"]
        and set(bridge.addresses) <= set(link.addresses)
    ]


def _is_ours(link: Link, kind: str) -> bool:
    return link.kind == kind and link.alias == mark(kind, link.name).alias


def decision(steps: Sequence[LinkStep], failure: WiringError | None) -> Decision:
    """Return what some steps of :func:`removals` mean, for people, and why they failed."""
    devices = [f"{step.kind} {step.name}" for step in steps if isinstance(step, DeleteLink)]
    rules = [step.bridge for step in steps if isinstance(step, FilterBridge)]
    names = [step.name for step in steps if isinstance(step, DeleteLink)]
    every = (*devices, *(f"rules of {bridge}" for bridge in rules))
    owner = next(iter([*names, *rules]))
    error, code = (str(failure), failure.code) if failure else (None, "")
    return Decision(owner, constants.PLUGIN_NAME, True, "nothing uses it", every, error, code)


def listed(host: Host) -> tuple[PluggedVif, ...]:
    """Return the bridges and VLAN devices that os-vif has made, for people."""
    going = [step.name for each in removals(host) for step in each if isinstance(step, DeleteLink)]
    ours = [one for one in host.links.values() if _is_ours(one, "bridge") or _is_ours(one, "vlan")]
    return tuple(
        PluggedVif(
            vif_id=link.name,
            plugin=constants.PLUGIN_NAME,
            kind=link.kind,
            instance=None,
            devices=(link.name, *(port.name for port in host.ports(link.name))),
            bridge=link.name if link.kind == "bridge" else str(link.attributes["master"]) or None,
            ofport=None,
            state=State.IDLE if link.name in going else State.IN_USE,
            reason="nothing uses it" if link.name in going else "",
        )
        for link in ours
    )
