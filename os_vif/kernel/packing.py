# SPDX-License-Identifier: Apache-2.0
"""Steps as msgpack primitives, which is what crosses into the privileged daemon.

The daemon trusts nobody: :func:`unpack` makes a step only of what it has checked itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.kernel import sysctl
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Value
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

Packed = tuple[str, dict[str, Any]]

#: The kinds of links that os-vif makes, and may therefore delete.
KINDS = ("bridge", "veth", "tun", "vlan")
#: Bytes of a link's alias, less the closing NUL (``IFALIASZ`` in linux/if.h).
ALIAS_LENGTH = 255


@dataclass(frozen=True)
class Allowed:
    """What a plugin's daemon takes: the steps that are its job.

    :param plugin: whose mark is on what it makes; empty for that of any.
    :param steps: their classes.
    :param kinds: of links that it makes and deletes.
    :param only_marked: whether it deletes only what bears the plugin's mark. What os-vif 5 made
        bears none.
    :param check_filter: raises InvalidValue if the settings of a FilterBridge are not its own.
    """

    plugin: str = ""
    steps: frozenset[type[LinkStep]] = LINK_STEPS
    kinds: frozenset[str] = frozenset(KINDS)
    only_marked: bool = False
    check_filter: Callable[[FilterBridge], object] = lambda step: None

    @property
    def mark(self) -> str:
        """What the alias of each link that it makes begins with."""
        return f"{Mark.KEY}:{self.plugin}:" if self.plugin else f"{Mark.KEY}:"

    def may_delete(self, alias: str) -> bool:
        """Return whether a link of that alias may be deleted."""
        return not self.only_marked or alias.startswith(self.mark)

    def check(self, step: LinkStep) -> None:
        """Refuse what is another plugin's job.

        :raises InvalidValue: with field, value and the broken rule.
        """
        name = type(step).__name__
        if type(step) not in self.steps:
            raise InvalidValue(
                field="step", value=name, reason=f"{self.plugin} takes no such step"
            )
        if isinstance(step, CreateLink | DeleteLink) and step.kind not in self.kinds:
            reason = f"{self.plugin} makes only {', '.join(sorted(self.kinds))}"
            raise InvalidValue(field="kind", value=step.kind, reason=reason)
        if isinstance(step, CreateLink) and not step.alias.startswith(self.mark):
            raise InvalidValue(field="alias", value=step.alias, reason=f"no mark {self.mark}...")
        if isinstance(step, FilterBridge):
            self.check_filter(step)


#: For tests, and for a process that executes its own steps.
ANYTHING = Allowed()


def pack(step: LinkStep) -> Packed:
    """Turn a step into primitives."""
    return type(step).__name__, {
        key: dict(value) if isinstance(value, Mapping) else value
        for key, value in vars(step).items()
    }


def unpack(packed: Sequence[Any], allowed: Allowed = ANYTHING) -> LinkStep:
    """Turn primitives into a step whose every value is checked.

    :raises InvalidValue: a step, a field or a value is not one that os-vif makes, or not one that
        is allowed.
    """
    try:
        name, fields = packed
        step = _STEPS[name](**fields)
    except (KeyError, TypeError, ValueError) as err:
        raise InvalidValue(field="step", value=packed, reason="there is no such step") from err
    allowed.check(step)
    return step


def unpack_groups(
    packed: Iterable[Iterable[Sequence[Any]]], allowed: Allowed = ANYTHING
) -> list[list[LinkStep]]:
    """Turn groups of primitives into groups of checked steps.

    :raises InvalidValue: see :func:`unpack`; or they are not groups.
    """
    for value in (packed, *(packed if isinstance(packed, Sequence) else ())):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise InvalidValue(field="steps", value=value, reason="they must be lists of steps")
    return [[unpack(one, allowed) for one in group] for group in packed]


def _create(
    name: str, kind: str, alias: str, peer: str, multiqueue: bool, parent: str = "", vlan: int = 0
) -> CreateLink:
    if kind == "veth":
        validate.device_name("peer", peer)
    elif peer:
        raise InvalidValue(field="peer", value=peer, reason=f"a {kind} has none")
    if kind == "vlan":
        validate.device_name("parent", parent)
        validate.vlan("vlan", vlan)
    elif parent or vlan:
        raise InvalidValue(field="parent", value=parent, reason=f"a {kind} has none, nor a VLAN")
    if multiqueue and kind != "tun":
        raise InvalidValue(field="multiqueue", value=True, reason=f"a {kind} has no queues")
    if not isinstance(alias, str):
        raise InvalidValue(field="alias", value=alias, reason="it must be text")
    return CreateLink(
        validate.device_name("name", name),
        _kind(kind),
        validate.text("alias", alias, ALIAS_LENGTH),
        peer,
        _flag("multiqueue", multiqueue),
        parent,
        vlan,
    )


def _set(name: str, attributes: Mapping[str, Any]) -> SetLink:
    if not isinstance(attributes, Mapping):
        raise InvalidValue(field="attributes", value=attributes, reason="it must be a mapping")
    checked = {key: _attribute(key, value) for key, value in attributes.items()}
    return SetLink(validate.device_name("name", name), checked)


def _delete(name: str, kind: str, if_empty: bool = False) -> DeleteLink:
    return DeleteLink(validate.device_name("name", name), _kind(kind), _flag("if_empty", if_empty))


def _filter(bridge: str, settings: Mapping[str, Any] | None) -> FilterBridge:
    if settings is not None and not isinstance(settings, Mapping):
        raise InvalidValue(field="settings", value=settings, reason="it must be a mapping")
    return FilterBridge(validate.device_name("bridge", bridge), settings)


def _join(name: str, bridge: str, mtu: int | None) -> JoinBridge:
    checked = None if mtu is None else validate.mtu("mtu", mtu)
    return JoinBridge(*_port_and_bridge(name, bridge), checked)


def _leave(name: str, bridge: str) -> LeaveBridge:
    return LeaveBridge(*_port_and_bridge(name, bridge))


def _port_and_bridge(name: str, bridge: str) -> tuple[str, str]:
    if name == "lo":
        raise InvalidValue(field="name", value=name, reason="the loopback device leads nowhere")
    if name == bridge:
        raise InvalidValue(field="bridge", value=bridge, reason="it is the interface itself")
    return validate.device_name("name", name), validate.device_name("bridge", bridge)


_STEPS: dict[str, Callable[..., LinkStep]] = {
    "CreateLink": _create,
    "SetLink": _set,
    "DeleteLink": _delete,
    "FilterBridge": _filter,
    "JoinBridge": _join,
    "LeaveBridge": _leave,
}


def _kind(value: object) -> str:
    if value not in KINDS:
        raise InvalidValue(field="kind", value=value, reason=f"os-vif makes only {KINDS}")
    return str(value)


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue(field=field, value=value, reason="it must be true or false")
    return value


def _count(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
        raise InvalidValue(
            field=field, value=value, reason="it must be a number, and not negative"
        )
    return value


def _master(field: str, value: object) -> str:
    return "" if value == "" else validate.device_name(field, value)


def _no_group(field: str, value: object) -> int:
    if value != 0 or isinstance(value, bool):
        raise InvalidValue(field=field, value=value, reason="os-vif only takes links out of one")
    return 0


_CHECKS: dict[str, Callable[[str, object], Value]] = {
    "mac": validate.mac,
    "mtu": validate.mtu,
    "up": _flag,
    "promisc": _flag,
    "master": _master,
    "group": _no_group,
    "ageing": _count,
    "forward_delay": _count,
    "stp": _flag,
    "mcast_snooping": _flag,
    **dict.fromkeys(sysctl.FAMILY, _count),
}


def _attribute(key: str, value: object) -> Value:
    if key not in _CHECKS:
        raise InvalidValue(field=key, value=value, reason="there is no such attribute")
    return _CHECKS[key](key, value)
