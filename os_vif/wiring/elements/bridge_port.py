# SPDX-License-Identifier: Apache-2.0
"""An interface of the host in a Linux bridge."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.wiring.differences import Action, Difference
from os_vif.wiring.elements.element import Element, LinkStep, Plan, Scope
from os_vif.wiring.state import Found, Link


@dataclass(frozen=True)
class JoinBridge(LinkStep):
    """Put an interface into a Linux bridge and move its addresses and routes there.

    All or nothing in itself, so it comes last: the host's addresses are on what was made then.
    Done again it moves what is left to be moved.

    :param mtu: bytes, of the bridge; None to leave it.
    """

    is_last: ClassVar[bool] = True

    name: str
    bridge: str
    mtu: int | None

    def __str__(self) -> str:
        return f"put {self.name} into bridge {self.bridge}, with its addresses and routes"

    def may_be_in_effect(self, now: Mapping[str, Link]) -> bool:
        link = now.get(self.name)
        return link is not None and link.attributes["master"] == self.bridge

    def checked(self) -> LinkStep:
        _check_port(self.name, self.bridge)
        if self.mtu is not None:
            validate.mtu("mtu", self.mtu)
        return self


@dataclass(frozen=True)
class LeaveBridge(LinkStep):
    """Take the only interface out of a Linux bridge and move addresses and routes back to it.

    All or nothing in itself. Done again it moves what is left to be moved.
    """

    name: str
    bridge: str

    def __str__(self) -> str:
        return f"take {self.name} out of bridge {self.bridge}, with the addresses and routes"

    def checked(self) -> LinkStep:
        _check_port(self.name, self.bridge)
        return self


def _check_port(name: str, bridge: str) -> None:
    if name == "lo":
        raise InvalidValue(field="name", value=name, reason="the loopback device leads nowhere")
    if name == bridge:
        raise InvalidValue(field="bridge", value=bridge, reason="it is the interface itself")
    validate.device_name("name", name)
    validate.device_name("bridge", bridge)


@dataclass(frozen=True)
class BridgePort(Element):
    """An interface in a Linux bridge, with its addresses and routes moved to the bridge."""

    name: str
    bridge: str
    mtu: int | None  # bytes, of the bridge: it may have one only with a port

    @property
    def scope(self) -> Scope:
        both = frozenset({self.name, self.bridge})
        return Scope(links=both, addressed=both)

    def differences(self, found: Found) -> Iterator[Difference]:
        where = f"link {self.name}"
        port, bridge = found.links.get(self.name), found.links.get(self.bridge)
        master = "" if port is None else port.attributes["master"]
        if master != self.bridge:
            action = Action.REFUSE if master else Action.CORRECT
            yield Difference(where, "master", self.bridge, master, action)
        if port is not None and port.addresses:
            yield Difference(where, "addresses", (), port.addresses)
        if bridge is not None and self.mtu not in (None, bridge.attributes["mtu"]):
            yield Difference(f"link {self.bridge}", "mtu", self.mtu, bridge.attributes["mtu"])

    def apply(self, found: Found, new_links: Collection[str]) -> Plan:
        wrong = tuple(self.differences(found))
        joins = any(one.action is Action.CORRECT for one in wrong)
        return Plan.of(wrong, (JoinBridge(self.name, self.bridge, self.mtu),) if joins else ())
