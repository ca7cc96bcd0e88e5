# SPDX-License-Identifier: Apache-2.0
"""What the verbs answer that look at a host: values, the same for all plugins."""

from dataclasses import asdict, dataclass, is_dataclass
from enum import StrEnum
from typing import Any


class _Answer:
    def as_dict(self) -> dict[str, Any]:
        """Return it as primitives, for JSON."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class Finding(_Answer):
    """One thing that is not as it was built.

    :param element: what it is of, as in ``OVS port tap1`` or ``link qbr1``.
    :param attribute: which of its attributes; ``present`` if it is not there at all.
    :param wanted: the value that plug would give it.
    :param found: the value that it has; None where nobody could look.
    :param repairable: whether plugging the VIF again would repair it.
    :param note: why it is as it is, or was not looked at.
    """

    element: str
    attribute: str
    wanted: object
    found: object
    repairable: bool
    note: str = ""

    def __str__(self) -> str:
        if self.attribute == "present":
            text = f"{self.element} is {'missing' if self.wanted else 'left over'}"
        else:
            text = f"{self.element}: {self.attribute} should be {_shown(self.wanted)}"
            text += f" and is {_shown(self.found)}"
        return f"{text} ({self.note})" if self.note else text


def _shown(value: object) -> str:
    """Return a value for people; of one that has parts, as a VLAN, those that are set."""
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    parts = {key: part for key, part in asdict(value).items() if part}
    return ", ".join(f"{key} {part}" for key, part in parts.items()) or "none"


class Until(StrEnum):
    """What :func:`os_vif.wait` waits for."""

    #: ovs-vswitchd has opened the interface: it has an OpenFlow port and no error.
    ATTACHED = "attached"
    #: The network service has done its part, too.
    WIRED = "wired"


class State(StrEnum):
    """How a VIF is that was plugged on a host."""

    #: A guest is seen to use it.
    IN_USE = "in use"
    #: All of it is there, and no guest is seen to use it.
    IDLE = "idle"
    #: Its port is there and does not work.
    BROKEN = "broken"
    #: Parts of it are left that no plug would leave so.
    ORPHAN = "orphan"


@dataclass(frozen=True)
class PluggedVif(_Answer):
    """What os-vif has made on this host for one VIF, or for one device that VIFs share.

    :param vif_id: the VIF's id; the name of the device where that is what the mark names.
    :param plugin: the name of the plugin that made it.
    :param kind: its shape, as the ownership mark names it, as in ``hybrid``.
    :param instance: the id of the virtual machine, if it is known.
    :param devices: links and interfaces of Open vSwitch that belong to it.
    :param bridge: the OVS bridge on which its port is, or its Linux bridge; None without.
    :param ofport: the number of its OpenFlow port; None without.
    :param state: how it is.
    :param reason: why it is said to be so.
    :param age: seconds since its port was written; None where that is not known.
    :param marked: whether it bears an ownership mark; else os-vif 5 made it, and it was
        recognised by names and ids.
    """

    vif_id: str
    plugin: str
    kind: str
    instance: str | None
    devices: tuple[str, ...]
    bridge: str | None
    ofport: int | None
    state: State
    reason: str = ""
    age: float | None = None
    marked: bool = True


@dataclass(frozen=True)
class Decision(_Answer):
    """What :func:`os_vif.gc` has decided of one VIF, or of one device that VIFs share.

    :param vif_id: see :class:`PluggedVif`.
    :param plugin: see :class:`PluggedVif`.
    :param removes: whether it is removed; with ``dry_run`` whether it would be.
    :param reason: why, or why not.
    :param devices: what that are, or were.
    :param error: why it could not be removed; None if it could, or was not to be.
    :param code: the kind of the error, where it is known; see :data:`os_vif.exception.CODES`.
    """

    vif_id: str
    plugin: str
    removes: bool
    reason: str
    devices: tuple[str, ...] = ()
    error: str | None = None
    code: str = ""


class Level(StrEnum):
    """What a condition of a host means for those who plug."""

    OK = "ok"
    #: Plugging works, and something is not as it should be.
    WARNING = "warning"
    #: Plugging fails.
    ERROR = "error"


@dataclass(frozen=True)
class Condition(_Answer):
    """One thing that :func:`os_vif.status` has looked at.

    :param plugin: the plugin that it matters to.
    :param subject: what was looked at, in a few words, as in ``ovs-vswitchd``.
    :param level: what it means for those who plug.
    :param summary: what was found.
    :param remedy: what to do about it; empty where nothing is to be done.
    :param value: what was measured, if it was a number.
    :param unit: its unit, as in ``s``.
    """

    plugin: str
    subject: str
    level: Level
    summary: str
    remedy: str = ""
    value: float | None = None
    unit: str = ""
