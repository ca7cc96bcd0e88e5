# SPDX-License-Identifier: Apache-2.0
"""The privileged daemons of a command that changes the host."""

import importlib
import os
from collections.abc import Iterable, Iterator

from os_vif.cli.exits import Exit, Failure

#: The modules with the privileged contexts of our plugins, by the plugins' names.
CONTEXTS = {
    "linux_bridge": "vif_plug_linux_bridge.privsep",
    "ovs": "vif_plug_ovs.privsep",
}


def need(plugins: Iterable[str]) -> None:
    """Have the daemons of these plugins started, before there are threads.

    As root they are forked, unless a command for them is configured, as for a service. An
    ordinary user needs such a command.

    :raises Failure: there is none; the text says what to do.
    """
    from oslo_privsep import priv_context  # not before os_vif_start has ended its stand-ins

    for plugin in sorted(CONTEXTS.keys() & set(plugins)):
        context: priv_context.PrivContext = importlib.import_module(CONTEXTS[plugin]).vif_plug
        if context.conf.helper_command:
            continue
        if os.geteuid() != 0:
            raise Failure(
                f"the plugin {plugin} changes network devices, which takes CAP_NET_ADMIN: run "
                f"the command as root, or set helper_command in [{context.cfg_section}] of a "
                "--config-file",
                Exit.HOST_NOT_READY,
            )
        if context.client_mode and context.channel is None:
            context.start(priv_context.Method.FORK)


def use_if_possible() -> None:
    """Have daemons started for what can be looked at without them, too, but not all of it.

    An ordinary user is not asked for a password.
    """
    if os.geteuid() == 0:
        need(CONTEXTS)
    else:
        from oslo_privsep import priv_context

        priv_context.init(root_helper=["sudo", "-n"])


def hints(text: str) -> Iterator[str]:
    """Yield what an ordinary user can do about an error."""
    if os.geteuid() == 0:
        return
    if "sudo" in text or "privsep" in text:
        yield (
            "This takes the privileged daemon (CAP_NET_ADMIN), which an ordinary user has started "
            "by sudo: run the command as root, or set helper_command in a --config-file."
        )
    if "Permission denied" in text:
        yield "It is open to root alone: run the command as root, or as a user who may open it."
