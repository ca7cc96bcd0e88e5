# SPDX-License-Identifier: Apache-2.0
"""What was found on the host, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What a link can be asked and told: the keys of ``Link.attributes`` and ``SetLink.attributes``.
#: Besides those of every link (mac, mtu in bytes, up, promisc, master by name, parent by name: the
#: one that it is stacked on) the options of a bridge (ageing and forward_delay in seconds, stp,
#: mcast_snooping), multiqueue of a tap, vlan of a VLAN device, and `SYSCTLS`. ``group`` can be
#: told only, and only to be 0; parent, multiqueue and vlan can be asked only.
Attribute = str
Value = str | int | bool

#: Sysctl of a link -> its address family under /proc/sys/net.
SYSCTLS = {
    "disable_ipv6": "ipv6",
    "accept_ra": "ipv6",
    "autoconf": "ipv6",
    "arp_ignore": "ipv4",
    "arp_announce": "ipv4",
}

#: Groups of links from here on are ours, and each is of one deletion: random, and far from the
#: numbers that people choose.
FIRST_GROUP = 1 << 30


#: The VLAN on which Neutron parks ports that nobody may talk to yet. Open vSwitch reserves it.
DEAD_VLAN = 4095


@dataclass(frozen=True)
class Vlan:
    """The VLANs of a port: the columns ``tag``, ``vlan_mode`` and ``trunks`` of its row."""

    tag: int | None = None
    mode: str | None = None
    trunks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Link:
    """A network device of the kernel."""

    name: str
    kind: str  # as rtnetlink calls it: bridge, veth, tun; empty for hardware
    alias: str = ""
    attributes: Mapping[Attribute, Value] = field(default_factory=dict)
    index: int = 0
    #: Of more than link scope, as in 10.0.0.1/24; read only where a wiring asks for them.
    addresses: tuple[str, ...] = ()
    #: ``IFLA_GROUP``, a number that people may give to links.
    group: int = 0
    #: Of a veth: the index of its other end, 0 in another network namespace; None: not known.
    peer_index: int | None = field(default=None, compare=False)
    #: Of a tap: whether a guest has it open. No wiring describes it.
    carrier: bool = field(default=False, compare=False)

    @property
    def has_ipv6(self) -> bool:
        """Whether it has IPv6 addresses of the host's own."""
        return any(":" in address for address in self.addresses)


@dataclass(frozen=True)
class Bridge:
    """A row of the table Bridge."""

    name: str
    datapath_type: str
    external_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Port:
    """A row of the table Port and its interface of the same name."""

    name: str
    bridge: str
    external_ids: Mapping[str, str] = field(default_factory=dict)
    bond: bool = False  # it has interfaces of other names; the fields below are empty then
    interface_type: str = ""
    interface_ids: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    mtu_request: int | None = None
    ofport: int | None = None  # None: ovs-vswitchd has not seen it; -1: it could not open it
    error: str = ""  # in ovs-vswitchd's words
    vlan: Vlan = field(default_factory=Vlan)
    #: Of a vhost-user interface: whether the peer is connected; None: ovs-vswitchd has not said.
    #: No wiring describes it.
    connected: bool | None = field(default=None, compare=False)
    #: What Neutron's agent writes down of the VLAN into which it has moved the port, in
    #: ``other_config:tag``; the type of the QoS row that the port refers to, and whether it bears
    #: an id of others, as Neutron's does.
    neutron_tag: int | None = field(default=None, compare=False)
    qos_type: str | None = field(default=None, compare=False)
    qos_of_others: bool = field(default=False, compare=False)
    ifindex: int | None = None  # of the device that ovs-vswitchd has opened; a dummy has 0

    @property
    def works(self) -> bool:
        """Whether ovs-vswitchd has opened the device."""
        return not self.error and self.ofport is not None and self.ofport > 0

    @property
    def is_unseen(self) -> bool:
        """Whether ovs-vswitchd has never tried to open the device."""
        return self.ofport is None and not self.error and not self.bond

    def works_with(self, index: int) -> bool:
        """Return whether it has opened the device of this index, and not one that had its name
        before.

        :param index: 0 for whichever device.
        """
        return self.works and (not index or not self.ifindex or self.ifindex == index)

    def interface(self, key: str) -> str | int | None:
        """Return a value of the Interface row, by ovs-vsctl's notation: ``column`` or
        ``column:key``."""
        column, _, inner = key.partition(":")
        match column:
            case "type":
                return self.interface_type
            case "mtu_request":
                return self.mtu_request
            case "external_ids":
                return self.interface_ids.get(inner)
            case "options":
                return self.options.get(inner)
        raise KeyError(key)


@dataclass(frozen=True)
class Found:
    """What is on the host under the names of the wirings of a batch."""

    links: Mapping[str, Link] = field(default_factory=dict)
    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    ports: Mapping[str, Port] = field(default_factory=dict)
    #: Device -> type of our QoS row for it, whether its port is there or not.
    qos: Mapping[str, str] = field(default_factory=dict)
    #: ``external_ids:id`` of QoS rows to which no port refers -> their mark; read only where the
    #: whole switch is.
    left_qos: Mapping[str, str] = field(default_factory=dict)
    #: So many ports of Open vSwitch are known of, whosesoever.
    port_count: int = 0
    #: The configuration that ovs-vswitchd was asked for and has not finished; None: it has.
    pending: int | None = field(default=None, compare=False)
