# SPDX-License-Identifier: Apache-2.0
"""The historic interface to iptables, deprecated: what is left of it is options."""

import warnings
from collections.abc import Iterable

from vif_plug_linux_bridge import forwarding_rules


class IptablesManager:
    """Deprecated: the options by which a bridge is filtered, for :func:`.linux_net.configure`.

    It has neither tables nor rules, and starts nothing: :func:`.linux_net.ensure_bridge` has the
    privileged daemon make the rules of a bridge. The parameters are the plugin's options of those
    names.
    """

    def __init__(
        self,
        use_ipv6: bool = False,
        iptables_top_regex: str | None = None,
        iptables_bottom_regex: str | None = None,
        iptables_drop_action: str = "DROP",
        forward_bridge_interface: Iterable[str] | None = None,
    ) -> None:
        warnings.warn(
            "IptablesManager is deprecated, and holds nothing but options: give "
            "vif_plug_linux_bridge.linux_net.configure() any object that has them",
            DeprecationWarning,
            stacklevel=2,
        )
        self.use_ipv6 = use_ipv6
        self.iptables_top_regex = iptables_top_regex or ""
        self.iptables_bottom_regex = iptables_bottom_regex or ""
        self.iptables_drop_action = iptables_drop_action
        self.forward_bridge_interface = tuple(forward_bridge_interface or (forwarding_rules.ALL,))
