# SPDX-License-Identifier: Apache-2.0
"""What a firewall lets a Linux bridge forward."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from os_vif import validate
from os_vif.exception import InvalidValue
from os_vif.wiring.elements.element import Element, LinkStep, Plan
from os_vif.wiring.state import Found


@dataclass(frozen=True)
class FilterBridge(LinkStep):
    """Make the firewall's rules about a Linux bridge so; they are read and written in one go.

    :param settings: None for no rules, unless the bridge is there.
    """

    #: A bridge that is not empty by the time of a rollback stays, and so do its rules.
    is_rolled_back_last: ClassVar[bool] = True

    bridge: str
    settings: Mapping[str, Any] | None

    def __str__(self) -> str:
        return f"filter what bridge {self.bridge} forwards"

    def inverse(self, before: Found) -> Iterator[LinkStep]:
        """Remove the rules of a bridge that was not there before."""
        if self.bridge not in before.links:
            yield FilterBridge(self.bridge, None)

    def checked(self) -> LinkStep:
        """Return it; what the settings are to be, only the plugin knows."""
        validate.device_name("bridge", self.bridge)
        if self.settings is not None and not isinstance(self.settings, Mapping):
            raise InvalidValue(
                field="settings", value=self.settings, reason="it must be a mapping"
            )
        return self


@dataclass(frozen=True)
class ForwardingFilter(Element):
    """A firewall's rules about what is forwarded to and from a Linux bridge.

    :param settings: the plugin's own, as primitives; only its privileged daemon can tell whether
        the rules are there.
    """

    bridge: str
    settings: Mapping[str, Any]

    def apply(self, found: Found, new_links: Collection[str]) -> Plan:
        return Plan(links=(FilterBridge(self.bridge, self.settings),))
