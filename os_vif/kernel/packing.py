# SPDX-License-Identifier: Apache-2.0
"""Steps as msgpack primitives, which is what crosses into the privileged daemon.

The daemon trusts nobody: :func:`unpack` makes a step only of what it has checked itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from os_vif import limits
from os_vif.exception import InvalidValue
from os_vif.kernel import sysctl
from os_vif.wiring.state import Value
from os_vif.wiring.steps import (
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


def pack(step: LinkStep) -> Packed:
    """Turn a step into primitives."""
    return type(step).__name__, {
        key: dict(value) if isinstance(value, Mapping) else value
        for key, value in vars(step).items()
    }


def unpack(packed: Sequence[Any]) -> LinkStep:
    """Turn primitives into a step whose every value is checked.

    :raises InvalidValue: a step, a field or a value is not one that os-vif makes.
    """
    try:
        name, fields = packed
        return _STEPS[name](**fields)
    except (KeyError, TypeError, ValueError) as err:
        raise InvalidValue(field="step", value=packed, reason="there is no such step") from err


def _create(
    name: str, kind: str, alias: str, peer: str, multiqueue: bool, parent: str = "", vlan: int = 0
) -> CreateLink:
    if kind == "veth":
        limits.device_name("peer", peer)
    elif peer:
        raise InvalidValue(field="peer", value=peer, reason=f"a {kind} has none")
    if kind == "vlan":
        limits.device_name("parent", parent)
        limits.vlan("vlan", vlan)
    elif parent or vlan:
        raise InvalidValue(field="parent", value=parent, reason=f"a {kind} has none, nor a VLAN")
    if multiqueue and kind != "tun":
        raise InvalidValue(field="multiqueue", value=True, reason=f"a {kind} has no queues")
    if not isinstance(alias, str) or not alias.startswith("os-vif:"):
        raise InvalidValue(field="alias", value=alias, reason="it is not an os-vif mark")
    if len(alias.encode()) > ALIAS_LENGTH:
        raise InvalidValue(field="alias", value=alias, reason=f"longer than {ALIAS_LENGTH} bytes")
    return CreateLink(
        limits.device_name("name", name),
        _kind(kind),
        alias,
        peer,
        _flag("multiqueue", multiqueue),
        parent,
        vlan,
    )


def _set(name: str, attributes: Mapping[str, Any]) -> SetLink:
    if not isinstance(attributes, Mapping):
        raise InvalidValue(field="attributes", value=attributes, reason="it must be a mapping")
    checked = {key: _attribute(key, value) for key, value in attributes.items()}
    return SetLink(limits.device_name("name", name), checked)


def _delete(name: str, kind: str, if_empty: bool = False) -> DeleteLink:
    return DeleteLink(limits.device_name("name", name), _kind(kind), _flag("if_empty", if_empty))


def _filter(bridge: str, settings: Mapping[str, Any] | None) -> FilterBridge:
    if settings is not None and not isinstance(settings, Mapping):
        raise InvalidValue(field="settings", value=settings, reason="it must be a mapping")
    return FilterBridge(limits.device_name("bridge", bridge), settings)


def _join(name: str, bridge: str, mtu: int | None) -> JoinBridge:
    return JoinBridge(
        limits.device_name("name", name),
        limits.device_name("bridge", bridge),
        None if mtu is None else limits.mtu("mtu", mtu),
    )


def _leave(name: str, bridge: str) -> LeaveBridge:
    return LeaveBridge(limits.device_name("name", name), limits.device_name("bridge", bridge))


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
    return "" if value == "" else limits.device_name(field, value)


_CHECKS: dict[str, Callable[[str, object], Value]] = {
    "mac": limits.mac,
    "mtu": limits.mtu,
    "up": _flag,
    "promisc": _flag,
    "master": _master,
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
