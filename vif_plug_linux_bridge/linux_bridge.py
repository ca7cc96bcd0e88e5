# SPDX-License-Identifier: Apache-2.0
"""The plugin for Linux bridges: it reads its configuration and drives the engine."""

import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import ClassVar, TypeVar

from oslo_config import cfg

from os_vif.answers import Condition, Decision, Finding, Level, PluggedVif
from os_vif.drawing import Drawing
from os_vif.exception import InvalidValue, NoMatchingVIFClass
from os_vif.kernel import daemon
from os_vif.kernel.daemon import KernelLinks
from os_vif.kernel.observe import own_name
from os_vif.locks import KeyedLocks
from os_vif.objects.host_info import HostPluginInfo
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.vif import VIFBase, VIFBridge
from os_vif.plugin import PluginBase, supported
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.differences import finding
from os_vif.wiring.engine import Engine
from os_vif.wiring.errors import StateChanged, WiringError
from os_vif.wiring.model import Wiring
from os_vif.wiring.steps import DeleteLink, LinkStep
from vif_plug_linux_bridge import constants, drawings, privileged, shapes
from vif_plug_linux_bridge.shapes import gc as garbage
from vif_plug_linux_bridge.shapes.request import Request

T = TypeVar("T")

#: Seconds that plugging may take; the default of the plugin for Open vSwitch.
TIMEOUT = 120
#: Seconds in which the daemon, and iptables, has to answer for a host to be well.
STATUS_SECONDS = 5
#: Of the bridges that a thread of this process is making.
LOCKS = KeyedLocks()


class LinuxBridgePlugin(PluginBase):
    """Connects VIFs to physical networks through Linux bridges, flat or VLAN.

    libvirt puts the guest's tap into the bridge; what is between that and the network is made
    here, for the first guest, and stays for the others.
    """

    CONFIG_OPTS: ClassVar[tuple[cfg.Opt, ...]] = (
        cfg.BoolOpt(
            "use_ipv6",
            default=False,
            help="Filter the IPv6 traffic of bridges as well.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "iptables_top_regex",
            default="",
            help="Rules of the chain FORWARD that match this regular expression, in the notation "
            "of iptables-save, are another program's that must stay above ours.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "iptables_bottom_regex",
            default="",
            help="Rules of the chain FORWARD that match this regular expression, in the notation "
            "of iptables-save, are another program's that must stay below ours.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "iptables_drop_action",
            default="DROP",
            help="The target of iptables for traffic that is not to be forwarded: DROP, REJECT, "
            "or a chain of yours, which may log it.",
            deprecated_group="DEFAULT",
        ),
        cfg.MultiStrOpt(
            "forward_bridge_interface",
            default=["all"],
            help="An interface to which and from which a bridge's traffic may be forwarded; may "
            "be given several times. all: any of them.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "vlan_interface",
            help="The interface on which VLAN devices are made; without it, that which the "
            "network names.",
            deprecated_group="DEFAULT",
        ),
        cfg.StrOpt(
            "flat_interface",
            help="The interface that is put into flat bridges, with its addresses and routes; "
            "without it, that which the network names.",
            deprecated_group="DEFAULT",
        ),
        cfg.IntOpt(
            "network_device_mtu",
            default=1500,
            help="MTU in bytes of the network devices of a VIF whose network names none.",
            deprecated_group="DEFAULT",
        ),
    )

    def describe(self) -> HostPluginInfo:
        """Return which VIFs can be plugged; they need no port profile."""
        return HostPluginInfo(plugin_name=constants.PLUGIN_NAME, vif_info=[supported(VIFBridge)])

    def plug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Make sure of the VIF's bridge, unless Neutron provides its network.

        :raises NoMatchingVIFClass: it is not a VIFBridge.
        :raises InvalidValue: a field or an option is missing or has an impossible value.
        :raises WiringError: see :mod:`os_vif.wiring.errors`.
        """
        if shapes.is_provided(bridged := _checked(vif)):
            wanted = self._read(bridged)
            apply(shapes.described(wanted), wanted.bridge)

    def unplug(self, vif: VIFBase, instance_info: InstanceInfo) -> None:
        """Leave the bridge: other guests use it."""

    def gc(self, wanted: Iterable[VIFBase]) -> tuple[str, ...]:
        """Remove the bridges, VLAN devices and rules of ours that nothing uses any more.

        What is in use or wanted stays, and so does what others made. Addresses and routes
        that a bridge took over move back to its interface: hardware, bond, team, VLAN device or
        ``flat_interface``; a bridge with another kind of port is taken to have a guest.

        :param wanted: the VIFs of this host, those that are about to be plugged too.
        :returns: what was removed, as in ``bridge br100``, ``vlan vlan12``, ``rules of br7``.
        :raises InvalidValue: a VIF of this plugin has no ``bridge_name``; nothing was removed.
        :raises WiringError: what is on the host cannot be seen, and nothing was removed; or
            something could not be removed (all else was); see :mod:`os_vif.wiring.errors`.
        """
        outcomes = self._collect(wanted, dry_run=False)
        for _, failure in outcomes:
            if failure is not None:
                raise failure
        return tuple(name for one, _ in outcomes for name in one.devices)

    def check(self, vif: VIFBase, instance_info: InstanceInfo) -> tuple[Finding, ...]:
        """Return what of a VIF's bridge is not as it was built.

        What iptables says needs the privileged daemon; where there is none, a finding says so.
        """
        if not shapes.is_provided(bridged := _checked(vif)):
            return ()
        deadline = Deadline(TIMEOUT)
        wanted = self._read(bridged)
        wiring = shapes.described(wanted)
        found = [finding(one) for one in Engine(_links()).check(wiring, deadline)]
        rules = _rules(wanted, deadline) if wanted.filtered else ()
        return (*found, *rules)

    def list_vifs(self) -> tuple[PluggedVif, ...]:
        """Return the bridges and VLAN devices that serve guests of a network on this host."""
        return garbage.listed(self._host((), frozenset()))

    def drawings(self) -> tuple[Drawing, ...]:
        """Return what the bridges of networks look like on this host."""
        return drawings.drawn(self._host((), frozenset()))

    def collect(
        self, valid: Collection[VIFBase | str], *, dry_run: bool, grace: float
    ) -> list[Decision]:
        """Remove what no VIF uses; see :meth:`gc`. When it was made is not known, so there is no
        grace."""
        vifs = [one for one in valid if isinstance(one, VIFBase)]
        if len(vifs) == len(valid):
            return [one for one, _ in self._collect(vifs, dry_run=dry_run)]
        kept = garbage.listed(self._host((), frozenset()))
        reason = "it serves a network: give the valid VIFs themselves, not their ids"
        return [Decision(one.vif_id, one.plugin, False, reason, one.devices) for one in kept]

    def status(self) -> list[Condition]:
        """Return whether the privileged daemon answers, and if it does, iptables with it."""
        context = "[vif_plug_linux_bridge_privileged]"
        answers = _answer(
            "privileged daemon",
            privileged.may_change_links,
            _what_it_may,
            Level.ERROR,
            f"Look at helper_command and capabilities in {context}, and at sudo's rules.",
        )
        if answers.level is not Level.OK:
            return [answers]
        iptables = _answer(
            "iptables",
            privileged.filtered,
            lambda bridges: f"answers; {len(bridges)} bridges have rules of os-vif",
            Level.WARNING,
            "VIFs that Neutron does not filter cannot be plugged until iptables-save works as the "
            f"user of {context}, which has to be root.",
        )
        return [answers, iptables]

    def _collect(
        self, wanted: Iterable[VIFBase], *, dry_run: bool
    ) -> list[tuple[Decision, WiringError | None]]:
        """Remove what no VIF uses; return what was decided, and why some of it failed."""
        deadline = Deadline(TIMEOUT)
        with _wiring_errors():
            filtered = daemon.call(privileged.filtered, deadline=deadline, grace=privileged.GRACE)
            groups = garbage.removals(self._host(wanted, frozenset(filtered)))
        failures = _removed(groups, deadline) if groups and not dry_run else [None] * len(groups)
        return [
            (garbage.decision(group, failure), failure)
            for group, failure in zip(groups, failures, strict=True)
        ]

    def _host(self, wanted: Iterable[VIFBase], filtered: frozenset[str]) -> garbage.Host:
        names = [name for _, name in socket.if_nameindex()]
        return garbage.Host(
            links=_links().observe(names, names),
            filtered=filtered,
            wanted=frozenset(map(own_name, garbage.names_of(wanted))),
            interface=own_name(self.config.flat_interface or ""),
        )

    def _read(self, vif: VIFBridge) -> Request:
        """Return what a VIF says, with the names by which the kernel itself calls links."""
        wanted = shapes.read(vif, self._settings())
        bridge, interface = map(own_name, (wanted.bridge, wanted.interface))
        return replace(wanted, bridge=bridge, interface=interface)

    def _settings(self) -> shapes.Settings:
        names = shapes.Settings.__dataclass_fields__
        return shapes.Settings(**{name: getattr(self.config, name) for name in names})


def _removed(groups: Sequence[Sequence[LinkStep]], deadline: Deadline) -> list[WiringError | None]:
    """Execute the steps of each group; return why they failed, group by group."""
    links = _links()
    failures: list[Exception | None] = [None] * len(groups)
    try:
        with _wiring_errors():
            failures = links.execute(groups, deadline)
            there = links.observe(_deleted(step for group in groups for step in group))
    except WiringError as err:  # nobody has seen what is gone
        return [_wiring_error(failure or err) for failure in failures]
    return [
        _outcome(failure, there.keys() & _deleted(group))
        for group, failure in zip(groups, failures, strict=True)
    ]


def _outcome(failure: Exception | None, left: Collection[str]) -> WiringError | None:
    """
    :param left: what was to be deleted, and is there.
    """
    if failure is not None:
        return _wiring_error(failure)
    return StateChanged(what=f"in use again: {', '.join(sorted(left))}") if left else None


def _deleted(steps: Iterable[LinkStep]) -> set[str]:
    return {step.name for step in steps if isinstance(step, DeleteLink)}


@contextmanager
def _wiring_errors() -> Iterator[None]:
    """Raise what the kernel or the privileged daemon says, whatever it is, as a WiringError."""
    try:
        yield
    except (WiringError, InvalidValue):  # the latter of a VIF
        raise
    except Exception as err:
        raise _wiring_error(err) from err


def _wiring_error(err: Exception) -> WiringError:
    if isinstance(err, WiringError):
        return err
    wrapped = WiringError(str(err) or repr(err))
    wrapped.__cause__ = err
    return wrapped


def _checked(vif: VIFBase) -> VIFBridge:
    """
    :raises NoMatchingVIFClass: it is not a VIFBridge.
    """
    if not isinstance(vif, VIFBridge):
        raise NoMatchingVIFClass.by_plugin(constants.PLUGIN_NAME, type(vif).__name__)
    return vif


def _answer(
    subject: str, ask: Callable[..., T], said: Callable[[T], str], else_: Level, remedy: str
) -> Condition:
    """Return what the privileged daemon says, and how fast.

    :param ask: what is called in it.
    :param said: puts its answer into words, or raises what is wrong with it.
    :param else_: what it means that there is none.
    """
    began = time.monotonic()
    try:
        summary = said(daemon.call(ask, deadline=Deadline(STATUS_SECONDS), grace=privileged.GRACE))
    except Exception as err:
        return Condition(constants.PLUGIN_NAME, subject, else_, str(err) or repr(err), remedy)
    seconds = time.monotonic() - began
    return Condition(constants.PLUGIN_NAME, subject, Level.OK, summary, value=seconds, unit="s")


def _what_it_may(change_links: bool) -> str:
    if not change_links:
        raise PermissionError("it may not change network devices: it lacks CAP_NET_ADMIN here")
    return "answers, and may change network devices"


def _rules(wanted: Request, deadline: Deadline) -> Iterator[Finding]:
    """Yield what is not as described of the rules of a bridge."""
    where = f"rules of bridge {wanted.bridge}"
    settings = asdict(shapes.filtering(wanted.bridge, wanted.settings, wanted.gateway))
    try:
        call = privileged.missing_rules, wanted.bridge, settings
        programs = daemon.call(*call, deadline=deadline, grace=privileged.GRACE)
    except Exception as err:
        yield Finding(where, "rules", "as described", None, True, f"not looked at: {err}")
        return
    for program in programs:
        yield Finding(where, program, "as described", "other rules", True)


def apply(wanted: Wiring, bridge: str) -> None:
    """Make a bridge's wiring so; two threads that want the same bridge wait for each other."""
    deadline = Deadline(TIMEOUT)
    with LOCKS.hold({bridge}, deadline, f"bridge {bridge}"):
        Engine(_links()).apply(wanted, deadline)


def _links() -> KernelLinks:
    return KernelLinks(privileged.change_links, privileged.GRACE)
