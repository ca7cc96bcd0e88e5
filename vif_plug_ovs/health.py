# SPDX-License-Identifier: Apache-2.0
"""Whether a host can plug, from what was found out about it. Everything here is pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from os_vif.answers import Condition, Level
from vif_plug_ovs import constants

#: Seconds that the OVSDB server, ovs-vswitchd and the privileged daemon have to answer.
PATIENCE_SECONDS = 5.0
#: Seconds above which an answer is slow: a plug asks several times.
SLOW_SECONDS = 1.0

#: Of ``Open_vSwitch.external_ids``: the database that ovn-controller follows.
OVN_REMOTE = "ovn-remote"


@dataclass(frozen=True)
class Switch:
    """What the table Open_vSwitch says."""

    version: str = ""
    #: Whether DPDK is initialised; None where the server has no such column (before 2.10).
    dpdk: bool | None = None
    external_ids: Mapping[str, str] = field(default_factory=dict)
    #: The configurations that ovs-vswitchd was asked for, and has finished.
    next_cfg: int = 0
    cur_cfg: int = 0
    #: Bridges whose packets the kernel's module forwards.
    kernel_bridges: tuple[str, ...] = ()

    @property
    def has_ovn(self) -> bool:
        """Whether ovn-controller manages it."""
        return OVN_REMOTE in self.external_ids


@dataclass(frozen=True)
class Answer:
    """How something answered.

    :param error: why it did not; empty if it did.
    """

    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """What was found out about a host; None for what could not be looked at.

    :param server: the OVSDB server.
    :param vswitchd: ovs-vswitchd, about the configuration that it was asked for last.
    :param helper: the privileged daemon.
    :param may_change_links: whether the kernel lets that daemon change network devices.
    :param kernel_datapath: whether the kernel has the module openvswitch.
    :param tun: whether taps can be made.
    :param bridged_iptables: whether iptables sees packets that a Linux bridge forwards.
    :param hybrids: how many Linux bridges of hybrid plugs there are.
    :param made_taps: how many taps os-vif has made (``create_tap``).
    :param smart_nics: network devices that are ports of a hardware switch.
    :param versions: of our distributions and of the kernel, by name.
    """

    server: Answer
    switch: Switch | None
    vswitchd: Answer | None
    helper: Answer
    may_change_links: bool | None = None
    kernel_datapath: bool = True
    tun: bool = True
    bridged_iptables: bool = True
    hybrids: int = 0
    made_taps: int = 0
    smart_nics: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """The options of the plugin that matter here."""

    ovsdb_connection: str
    ovsdb_interface: str = "native"
    ovs_vsctl_timeout: int = 120
    isolate_vif: bool = False
    per_port_bridge: bool = False


def conditions(facts: Facts, options: Options) -> tuple[Condition, ...]:
    """Return what matters to those who plug, what is broken first."""
    order = [Level.ERROR, Level.WARNING, Level.OK]
    found = [
        *_services(facts, options),
        *_host(facts),
        *_kernel(facts),
        *_options(facts, options),
    ]
    return tuple(sorted(found, key=lambda one: order.index(one.level)))


def _condition(
    subject: str, level: Level, summary: str, remedy: str = "", seconds: float | None = None
) -> Condition:
    unit = "" if seconds is None else "s"
    return Condition(constants.PLUGIN_NAME, subject, level, summary, remedy, seconds, unit)


def _services(facts: Facts, options: Options) -> Iterator[Condition]:
    where = options.ovsdb_connection
    yield _answer(
        "OVSDB",
        facts.server,
        f"the server at {where} answers",
        "Is ovsdb-server running, and does it listen where [os_vif_ovs] ovsdb_connection says?",
    )
    if facts.vswitchd is not None:
        yield _answer(
            "ovs-vswitchd",
            facts.vswitchd,
            "it has acted on all that it was asked for",
            "Is ovs-vswitchd running? Its log says what it is busy with; it slows down with the "
            "number of ports: look for orphans with os_vif.gc.",
        )
    yield _answer(
        "privileged daemon",
        facts.helper,
        "it answers",
        "Look at helper_command in [vif_plug_ovs_privileged], and at sudo's rules.",
    )
    if facts.may_change_links is not None:
        yield _capabilities(facts.may_change_links)


def _capabilities(suffice: bool) -> Condition:
    subject = "capabilities"
    if suffice:
        return _condition(subject, Level.OK, "the privileged daemon may change network devices")
    return _condition(
        subject,
        Level.ERROR,
        "the privileged daemon may not change network devices: it lacks CAP_NET_ADMIN here",
        "Look at capabilities and user in [vif_plug_ovs_privileged]; a container that it runs in "
        "needs CAP_NET_ADMIN and the network namespace of the host.",
    )


def _answer(subject: str, answer: Answer, summary: str, remedy: str) -> Condition:
    if answer.error:
        return _condition(subject, Level.ERROR, answer.error, remedy, answer.seconds)
    if answer.seconds > SLOW_SECONDS:
        slow = f"{summary}, and takes {answer.seconds:.1f} s"
        return _condition(subject, Level.WARNING, slow, remedy, answer.seconds)
    return _condition(subject, Level.OK, summary, seconds=answer.seconds)


def _host(facts: Facts) -> Iterator[Condition]:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    if facts.switch is not None:
        versions += f", Open vSwitch {facts.switch.version or 'of unknown version'}"
        dpdk = {True: "initialised", False: "not initialised", None: "not known"}
        yield _condition("DPDK", Level.OK, dpdk[facts.switch.dpdk])
    yield _condition("versions", Level.OK, versions)


def _kernel(facts: Facts) -> Iterator[Condition]:
    module, bridges = "kernel module openvswitch", facts.switch and facts.switch.kernel_bridges
    if facts.kernel_datapath:
        yield _condition(module, Level.OK, "loaded")
    elif bridges:
        yield _condition(
            module,
            Level.ERROR,
            f"not loaded, and no port of {', '.join(bridges)} works without it",
            "Load the module, or make bridges of type netdev.",
        )
    else:
        yield _condition(module, Level.OK, "not loaded: bridges must be of type netdev")
    if facts.hybrids and not facts.bridged_iptables:
        yield _condition(
            "br_netfilter",
            Level.WARNING,
            f"iptables sees no packet of the {facts.hybrids} hybrid plugs: no rule of Neutron's "
            "security groups holds for them",
            "Load the module br_netfilter and set net.bridge.bridge-nf-call-iptables to 1, as "
            "Neutron's agent does when it starts.",
        )
    if not facts.tun:
        yield _condition(
            "/dev/net/tun",
            Level.ERROR,
            "it is missing: no tap can be made, by os-vif or by libvirt",
            "Load the kernel's module tun.",
        )


def _options(facts: Facts, options: Options) -> Iterator[Condition]:
    if options.ovsdb_interface == "vsctl":
        yield _condition(
            "ovsdb_interface",
            Level.WARNING,
            "vsctl is deprecated, and starts several processes for each VIF",
            "Remove the option: native does the same, and faster.",
        )
    if not options.ovs_vsctl_timeout:
        yield _condition(
            "ovs_vsctl_timeout",
            Level.WARNING,
            "0: a daemon that hangs blocks every plug for ever",
            "Set a number of seconds; 120 is the default.",
        )
    if facts.switch is not None:
        yield from _with_ovn(facts.switch.has_ovn, options)
        if facts.made_taps and facts.switch.has_ovn:
            yield _condition(
                "create_tap",
                Level.OK,
                f"{facts.made_taps} taps are os-vif's, so their ports work before the guest comes",
                "For live migration Neutron has to set requested-chassis to both hosts, which "
                "cannot be seen here; without, packets are lost: leave taps and ports to libvirt.",
            )
    if options.per_port_bridge and facts.smart_nics:
        yield _condition(
            "per_port_bridge",
            Level.ERROR,
            f"with a smart NIC ({', '.join(facts.smart_nics)}): ports are not offloaded to it",
            "Set per_port_bridge to False: an offloaded port must be on the integration bridge.",
        )


def _with_ovn(has_ovn: bool, options: Options) -> Iterator[Condition]:
    if has_ovn and options.isolate_vif:
        yield _condition(
            "isolate_vif",
            Level.ERROR,
            "with OVN: new ports stay on the dead VLAN 4095, because nobody moves them",
            "Set isolate_vif to False: it is for the agent of Neutron's ML2/OVS.",
        )
    if options.per_port_bridge and not has_ovn:
        yield _condition(
            "per_port_bridge",
            Level.WARNING,
            "without OVN: it only costs a bridge and two patch ports for each VIF",
            "Set per_port_bridge to False.",
        )
    yield _condition("live migration", Level.OK, _migration(has_ovn, options))


def _migration(has_ovn: bool, options: Options) -> str:
    """Return which strategy of live migration fits how VIFs are plugged."""
    if not has_ovn:
        return (
            "for ML2/OVS, ports that os-vif makes (hybrid plug, create_port): Neutron's agent can "
            "wire them before the guest is there; os_vif.wait(until='wired') tells when it has"
        )
    if options.per_port_bridge:
        return (
            "for OVN with requested-chassis set to both hosts: flows are there before the guest; "
            "without both, an early port loses packets, so switch per_port_bridge off"
        )
    return (
        "for OVN with requested-chassis set to both hosts, let Nova delegate the port and the tap "
        "(create_port, create_tap); without both, leave the port to libvirt"
    )
