# SPDX-License-Identifier: Apache-2.0
"""Find out what :mod:`vif_plug_ovs.health` judges. Nothing is changed."""

import os
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from os_vif.kernel import daemon, observe, sysfs
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Link
from vif_plug_ovs import constants, privileged
from vif_plug_ovs.health import PATIENCE_SECONDS, SLOW_SECONDS, Answer, Facts, Switch
from vif_plug_ovs.ovsdb import drivers
from vif_plug_ovs.ovsdb.connection import STUCK_AFTER_SECONDS
from vif_plug_ovs.shapes import names

#: What is said of in ``versions``.
DISTRIBUTIONS = ("os-vif", "ovs", "ovsdbapp", "pyroute2")
#: The device of the kernel's datapath, where the module is built in and /sys does not show it.
KERNEL_DATAPATH = "ovs-system"
#: Documentation/networking/ip-sysctl.rst, "/proc/sys/net/bridge".
BRIDGED_IPTABLES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def facts(config: Any) -> Facts:
    """Find out about this host.

    :param config: the plugin's option group.
    """
    switch, server = _timed(lambda: drivers.rows(config).switch(_soon()))
    allowed, helper = _helper()
    links = observe.every_link()
    return Facts(
        server=server,
        switch=switch,
        vswitchd=None if switch is None else _vswitchd(config, switch),
        helper=helper,
        may_change_links=allowed,
        kernel_datapath=os.path.isdir("/sys/module/openvswitch") or KERNEL_DATAPATH in links,
        tun=os.path.exists("/dev/net/tun"),
        bridged_iptables=_bridged_iptables(),
        hybrids=sum(name.startswith(names.hybrid_bridge("")) for name in links),
        made_taps=sum(_is_made_tap(link) for link in links.values()),
        smart_nics=tuple(sorted(one.name for one in sysfs.netdevs() if one.switch_id)),
        versions=dict(_versions()),
    )


def _soon() -> Deadline:
    return Deadline(PATIENCE_SECONDS)


def _helper() -> tuple[bool | None, Answer]:
    """Ask the privileged daemon what it may; again if it had to be started, which is no plug's
    time."""
    soon = _soon()
    allowed, answer = _timed(lambda: daemon.call(privileged.may_change_links, deadline=soon))
    if not answer.error and answer.seconds > SLOW_SECONDS:
        return _timed(lambda: daemon.call(privileged.may_change_links, deadline=soon))
    return allowed, answer


def _timed(ask: Callable[[], Any]) -> tuple[Any, Answer]:
    """Return what was answered (None if nothing was), and how."""
    began = time.monotonic()
    try:
        answer = ask()
    except Exception as err:
        return None, Answer(time.monotonic() - began, str(err) or repr(err))
    return answer, Answer(time.monotonic() - began)


def _vswitchd(config: Any, switch: Switch) -> Answer:
    if switch.cur_cfg >= switch.next_cfg:
        return Answer()
    wanted = switch.next_cfg
    # Who waits longer in vain has further verbs fail soon.
    soon = Deadline(min(PATIENCE_SECONDS, STUCK_AFTER_SECONDS - 1))
    reached, answer = _timed(lambda: drivers.rows(config).wait_for_vswitchd(wanted, soon))
    if reached or answer.error:
        return answer
    late = f"it has reached configuration {switch.cur_cfg}, and not {wanted}, which was asked for"
    return Answer(answer.seconds, f"{late}, in {answer.seconds:.1f} s")


def _bridged_iptables() -> bool:
    try:
        return BRIDGED_IPTABLES.read_text().strip() == "1"
    except OSError:  # the module br_netfilter is not loaded
        return False


def _is_made_tap(link: Link) -> bool:
    return link.kind == "tun" and link.alias.startswith(f"{Mark.KEY}:{constants.PLUGIN_NAME}:")


def _versions() -> Iterator[tuple[str, str]]:
    for name in DISTRIBUTIONS:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"
    yield os.uname().sysname, os.uname().release
