# SPDX-License-Identifier: Apache-2.0
"""All steps there are; each is defined with the element that it makes or removes."""

from os_vif.wiring.elements.bridge_port import JoinBridge, LeaveBridge
from os_vif.wiring.elements.element import LinkStep, RowStep
from os_vif.wiring.elements.forwarding_filter import FilterBridge
from os_vif.wiring.elements.link import CreateLink, DeleteLink, SetLink
from os_vif.wiring.elements.ovs_bridge import CreateBridge, RemoveBridge
from os_vif.wiring.elements.ovs_port import (
    CreatePort,
    RemovePort,
    RemoveQos,
    ReopenPort,
    SetPort,
)

#: Those that a plugin's privileged daemon executes.
LINK_STEPS = frozenset({CreateLink, SetLink, DeleteLink, FilterBridge, JoinBridge, LeaveBridge})

Removal = RemoveBridge | RemovePort | RemoveQos

__all__ = [
    "LINK_STEPS",
    "CreateBridge",
    "CreateLink",
    "CreatePort",
    "DeleteLink",
    "FilterBridge",
    "JoinBridge",
    "LeaveBridge",
    "LinkStep",
    "Removal",
    "RemoveBridge",
    "RemovePort",
    "RemoveQos",
    "ReopenPort",
    "RowStep",
    "SetLink",
    "SetPort",
]
