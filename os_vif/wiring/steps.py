# SPDX-License-Identifier: Apache-2.0
"""The steps between what is wanted and what was found: values that the backends carry out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from os_vif.wiring.model import OvsBridge, OvsPort
from os_vif.wiring.state import Attribute, Value


@dataclass(frozen=True)
class CreateLink:
    """Make a link and write its alias (and, for a veth pair, its peer with the same alias)."""

    name: str
    kind: str
    alias: str
    peer: str = ""
    multiqueue: bool = False
    parent: str = ""  # of a VLAN device
    vlan: int = 0

    def __str__(self) -> str:
        peer = f" with its peer {self.peer}" if self.peer else ""
        return f"create {self.kind} {self.name}{peer}"


@dataclass(frozen=True)
class SetLink:
    """Set attributes of a link, in their order."""

    name: str
    attributes: Mapping[Attribute, Value]

    def __str__(self) -> str:
        wanted = ", ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"set {wanted} of {self.name}"


@dataclass(frozen=True)
class DeleteLink:
    """Delete a link if it is (still) there and of this kind.

    :param if_empty: leave a bridge when others have put ports into it.
    """

    name: str
    kind: str
    if_empty: bool = False

    def __str__(self) -> str:
        return f"delete {self.kind} {self.name}"


@dataclass(frozen=True)
class FilterBridge:
    """Make the firewall's rules about a Linux bridge so; they are read and written in one go.

    :param settings: None for no rules, unless the bridge is there.
    """

    bridge: str
    settings: Mapping[str, Any] | None

    def __str__(self) -> str:
        return f"filter what bridge {self.bridge} forwards"


@dataclass(frozen=True)
class JoinBridge:
    """Put an interface into a Linux bridge and move its addresses and routes there.

    All or nothing in itself, so it comes last. Done again it moves what is left to be moved.

    :param mtu: bytes, of the bridge; None to leave it.
    """

    name: str
    bridge: str
    mtu: int | None

    def __str__(self) -> str:
        return f"put {self.name} into bridge {self.bridge}, with its addresses and routes"


@dataclass(frozen=True)
class LeaveBridge:
    """Take the only interface out of a Linux bridge and move addresses and routes back to it.

    All or nothing in itself. Done again it moves what is left to be moved.
    """

    name: str
    bridge: str

    def __str__(self) -> str:
        return f"take {self.name} out of bridge {self.bridge}, with the addresses and routes"


@dataclass(frozen=True)
class CreateBridge:
    """Insert the rows of an OVS bridge."""

    bridge: OvsBridge


@dataclass(frozen=True)
class RemoveBridge:
    """Take an OVS bridge out of the switch.

    :param if_empty: leave it when others have put ports on it.
    """

    name: str
    if_empty: bool = False


@dataclass(frozen=True)
class CreatePort:
    """Insert the rows of a port, in place of QoS rows left by earlier ports of its name."""

    port: OvsPort


@dataclass(frozen=True)
class SetPort:
    """Set values of an Interface row, by ovs-vsctl's notation: ``column`` or ``column:key``.

    None takes a key away and empties a column.

    :param ids: ``external_ids`` that the row must still have, so that one which has become
        another's meanwhile is not set; None for whichever.
    """

    name: str
    values: Mapping[str, str | int | None]
    ids: Mapping[str, str] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ReopenPort:
    """Make ovs-vswitchd open a port's device anew, which it believes to have open already.

    In user space it holds on to a device that is gone, and does not notice the new one of the
    same name. Asking for another OpenFlow port number makes it close the one and open the other.
    """

    name: str


@dataclass(frozen=True)
class RemovePort:
    """Take a port out of the bridge it sits on, and its QoS rows with it.

    :param ids: ``external_ids`` that its Interface row must still have, so that a port which has
        become another's meanwhile is not taken; None for whichever.
    """

    name: str
    bridge: str
    ids: Mapping[str, str] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class RemoveQos:
    """Delete the QoS rows that are left of a port that is gone."""

    name: str


LinkStep = CreateLink | SetLink | DeleteLink | FilterBridge | JoinBridge | LeaveBridge
Removal = RemoveBridge | RemovePort | RemoveQos
RowStep = CreateBridge | RemoveBridge | CreatePort | SetPort | ReopenPort | RemovePort | RemoveQos
