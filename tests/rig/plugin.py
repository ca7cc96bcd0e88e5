# SPDX-License-Identifier: Apache-2.0
"""The library under test in this process, against a private Open vSwitch.

Plugins are those of ``pyproject.toml``, so
nothing need be installed; what is privileged runs in this process and is counted.
"""

import importlib
import math
import os
import pickle
import signal
import tomllib
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Self
from unittest import mock

import pytest
from oslo_config import cfg
from oslo_privsep.priv_context import PrivContext

import os_vif
from os_vif import registry
from os_vif.objects.vif import VIFBase
from os_vif.plugin import PluginBase
from tests import vifs
from tests.fakes import NO_HOST_STACK
from tests.rig import wait_until
from tests.rig.guest import BridgeGuest, Guest, LibvirtGuest, TapGuest
from tests.rig.ovs import PrivateOvs
from tests.rig.snapshot import Facts, links
from vif_plug_ovs import privileged, privsep
from vif_plug_ovs.ovsdb import connection
from vif_plug_ovs.shapes.names import qos_id

ROOT = Path(__file__).parents[2]
GROUP = "os_vif_ovs"
#: ``ovs_vsctl_timeout`` of the tests: long for a machine that works, short to wait out.
TIMEOUT = 5

Steps = list[Any]


@cache
def _entry_points() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points: dict[str, str] = project["entry-points"]["os_vif"]
    return points


def _plugin_classes() -> tuple[dict[str, tuple[str, type[PluginBase]]], list[Any]]:
    """Stand in for ``registry.plugin_classes``, which looks for installed distributions."""
    found = {}
    for name, origin in _entry_points().items():
        module, _, attribute = origin.partition(":")
        found[name] = (origin, getattr(importlib.import_module(module), attribute))
    return found, []


@dataclass
class OsVif:
    """The verbs, and what they asked of the privileged side."""

    #: The options of the plugin, and its privileged call.
    group: str = GROUP
    real_call: Callable[..., Any] = privileged.change_links
    #: The steps of each privileged call, packed.
    privileged_calls: list[Steps] = field(default_factory=list)
    #: Called before and after each privileged call, to change the host behind a verb's back.
    before_links: Callable[[], object] = lambda: None
    after_links: Callable[[], object] = lambda: None

    def plug(self, vif: VIFBase, number: int = 1) -> None:
        """:param number: which virtual machine it belongs to."""
        os_vif.plug(vif, vifs.instance(number))

    def unplug(self, vif: VIFBase, number: int = 1) -> None:
        """:param number: which virtual machine it belongs to."""
        os_vif.unplug(vif, vifs.instance(number))

    def plug_kind(self, kind: "Kind", number: int = 1, **overrides: Any) -> None:
        """Plug a VIF of a kind, with the options that it needs."""
        self.configure(**{"per_port_bridge": False, **kind.options})
        self.plug(kind.vif(number, **overrides), number)

    def configure(self, **options: Any) -> None:
        """Set options of the plugin until the end of the test."""
        for name, value in options.items():
            cfg.CONF.set_override(name, value, group=self.group)

    def once_before_links(self, act: Callable[[], object]) -> None:
        """Do something before the next privileged call only."""

        def do() -> None:
            self.before_links = lambda: None
            act()

        self.before_links = do

    def change_links(
        self, groups: list[Steps], go_on: bool = False, until: float = math.inf
    ) -> Any:
        """Stand in for ``privileged.change_links``."""
        self.privileged_calls.append([step for group in groups for step in group])
        self.before_links()
        outcome = self.real_call(groups, go_on, until)
        self.after_links()
        return outcome


@contextmanager
def installed() -> Iterator[None]:
    """Initialize os_vif in this process with the plugins of this repository, until the end."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(registry, "plugin_classes", _plugin_classes))
        stack.enter_context(mock.patch.object(os_vif, "_plugins", None))
        cfg.CONF([], project="os-vif-tests", default_config_files=[], default_config_dirs=[])
        stack.callback(cfg.CONF.reset)
        os_vif.initialize()
        yield


@contextmanager
def without_daemon(osvif: OsVif, module: ModuleType, context: PrivContext) -> Iterator[None]:
    """Make a plugin's privileged calls in this process, and count them.

    :param module: its module ``privileged``.
    """
    with mock.patch.object(module, "change_links", osvif.change_links):
        context.set_client_mode(False)
        try:
            yield
        finally:
            context.set_client_mode(True)


@contextmanager
def initialized(remote: str, timeout: int = TIMEOUT, in_process: bool = True) -> Iterator[OsVif]:
    """Initialize os_vif in this process, and forget all of it afterwards.

    :param remote: where ovsdb-server listens.
    :param timeout: ``ovs_vsctl_timeout`` in seconds.
    :param in_process: no privileged daemon: its calls are made here, and counted.
    """
    self = OsVif()
    with ExitStack() as stack:
        if in_process:
            stack.enter_context(without_daemon(self, privileged, privsep.vif_plug))
        stack.enter_context(installed())
        stack.callback(cfg.CONF.clear_override, "ovsdb_connection", group=GROUP)
        stack.callback(cfg.CONF.clear_override, "ovs_vsctl_timeout", group=GROUP)
        self.configure(ovsdb_connection=remote, ovs_vsctl_timeout=timeout)
        stack.callback(connection.close_all)
        yield self


# What a plugged VIF looks like ------------------------------------------------------------------

#: A bridge of a trunk port's subports.
TRUNK = "tbr-0123abcd-4"
#: The columns of a port that is isolated: it is a trunk of the dead VLAN alone.
DEAD = {"tag": 4095, "vlan_mode": "trunk", "trunks": [4095]}


@dataclass(frozen=True)
class Port:
    """A port with its interface; where it sits, and what it says besides ids."""

    bridge: str = vifs.BRIDGE
    interface: Mapping[str, Any] = field(default_factory=dict)
    #: The other end, of a patch port.
    peer: str = ""


def named(prefix: str, number: int = 1) -> str:
    """The name of a bridge or port: the prefix with the VIF's id behind it, or a fixed name."""
    if prefix in {"", vifs.BRIDGE, TRUNK}:
        return prefix
    return (
        prefix + vifs.vif_id(number) if prefix in {"pbp", "ibp"} else vifs.device(prefix, number)
    )


@dataclass(frozen=True)
class Kind:
    """A way to plug, and what the host looks like afterwards. Ports, links and bridges are given
    as in `named`."""

    name: str
    make: Callable[..., VIFBase]
    mark: str
    #: The first is that of the VIF's device.
    ports: Mapping[str, Port] = field(default_factory=dict)
    link_prefixes: tuple[str, ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    #: Options that it is plugged with, where they are not the defaults.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Further arguments of `make`.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: Bridges that go with the VIF.
    bridges: tuple[str, ...] = ()
    #: What the tagged port has.
    columns: Mapping[str, Any] = field(default_factory=dict)
    #: The type of the QoS row; empty in user space, where there is none.
    qos: str = ""

    def __str__(self) -> str:
        return self.name

    def vif(self, number: int = 1, **overrides: Any) -> VIFBase:
        """A VIF of this kind; see ``tests.vifs``."""
        profile = {**self.profile, **overrides.pop("profile", {})}
        return self.make(number=number, profile=profile, **{**self.fields, **overrides})

    @property
    def port_prefix(self) -> str:
        """The prefix of its device's port; empty: os-vif makes none."""
        return next(iter(self.ports), "")

    def port(self, number: int = 1) -> str:
        """The name of its device's OVS port."""
        return vifs.device(self.port_prefix, number)

    def tagged_port(self, number: int = 1) -> str:
        """The port that stands for the VIF on its bridge, and has the tag of its network."""
        return named("ibp" if "ibp" in self.ports else self.port_prefix, number)

    def link_names(self, number: int = 1) -> list[str]:
        """The names of the links that os-vif makes for it."""
        return [vifs.device(prefix, number) for prefix in self.link_prefixes]

    def bridge_names(self, number: int = 1) -> set[str]:
        """The names of the bridges that go with it."""
        return {named(prefix, number) for prefix in self.bridges}

    def mark_of(self, number: int = 1) -> str:
        """The ownership mark."""
        has_id = self.fields.get("unset") != "id"
        return f"ovs:{self.mark}:{vifs.vif_id(number) if has_id else self.port(number)}"

    def external_ids(self, number: int = 1) -> dict[str, str]:
        """The ids of its tagged port's interface, less the mark; other ports have none."""
        ids = {
            "iface-id": vifs.interface_id(number),
            "iface-status": "active",
            "attached-mac": vifs.mac(number),
            "vm-uuid": vifs.instance_id(number),
        }
        own = {"iface-id": vifs.vif_id(number)} if "ibp" in self.ports else {}
        return {**ids, **own, **({"bridge_name": TRUNK} if TRUNK in self.bridges else {})}

    def rows(self, number: int = 1) -> dict[str, dict[str, dict[str, Any]]]:
        """Table, name and columns of the rows that it makes, besides those of bridges."""
        mark = {"os-vif": self.mark_of(number)}
        rows: dict[str, dict[str, Any]] = {"Port": {}, "Interface": {}, "QoS": {}}
        for prefix, port in self.ports.items():
            name = named(prefix, number)
            is_tagged = name == self.tagged_port(number)
            ids = self.external_ids(number) if is_tagged else {}
            row = {"name": name, "interfaces": [name], "external_ids": mark}
            interface = {"name": name, "external_ids": {**ids, **mark}, **port.interface}
            if port.peer:
                interface |= {"type": "patch", "options": {"peer": named(port.peer, number)}}
            if self.qos and "type" not in interface:
                row["qos"] = key = qos_id(name)
                ids_of_qos = {"id": key, "_type": self.qos, **mark}
                rows["QoS"][key] = {"type": self.qos, "external_ids": ids_of_qos}
            rows["Port"][name] = {**row, **(self.columns if is_tagged else {})}
            rows["Interface"][name] = interface
        return rows

    def links(self, number: int = 1, mtu: int = vifs.MTU) -> dict[str, Facts]:
        """The links that os-vif makes for it, in the terms of ``tests.rig.snapshot``."""
        tap = {
            "kind": "tun",
            "type": "tap",
            "persist": True,
            "multi_queue": bool(self.profile.get("multiqueue")),
            "mac": vifs.mac(number),
            "master": None,
        }
        settings = ("ageing_time", "stp_state", "forward_delay", "mcast_snooping")
        qbr, qvb, qvo = (vifs.device(prefix, number) for prefix in ("qbr", "qvb", "qvo"))
        veth = {"kind": "veth", "promisc": True}
        made: dict[str, Facts] = {
            "tap": tap,
            "qbr": {"kind": "bridge", **dict.fromkeys(settings, 0), "master": None},
            "qvb": {**veth, "master": qbr, "parent": qvo},
            "qvo": {**veth, "master": None, "parent": qvb},
        }
        common = {"up": True, "mtu": mtu, "alias": f"os-vif:{self.mark_of(number)}"}
        return {
            vifs.device(prefix, number): {**common, **made[prefix]}
            for prefix in self.link_prefixes
        }

    def guest(self, number: int = 1, mtu: int = vifs.MTU, **how: Any) -> Guest:
        """A guest behind it, as QEMU and libvirt would put it there.

        :param how: further arguments of its class in ``tests.rig.guest``.
        """
        who = (vifs.mac(number), f"192.0.2.{number}/24", mtu)
        tap = vifs.device("tap", number)
        if "qbr" in self.link_prefixes:
            return BridgeGuest(vifs.device("qbr", number), tap, *who, **how)
        if not self.link_prefixes:
            return LibvirtGuest(tap, *who, **how)
        many = bool(self.profile.get("multiqueue"))
        return TapGuest(tap, *who, multi_queue=many, queues=1 + many, **how)


_MAKE_PORT = {"create_port": True}
_MAKE_TAP = {**_MAKE_PORT, "create_tap": True}

BRIDGE_ONLY = Kind("bridge-only", vifs.vif_open_vswitch, "openvswitch")
PORT_ONLY = replace(BRIDGE_ONLY, name="port-only", ports={"tap": Port()}, profile=_MAKE_PORT)
TAP = replace(PORT_ONLY, name="tap", link_prefixes=("tap",), profile=_MAKE_TAP)
MULTIQUEUE = replace(TAP, name="multiqueue", profile={**_MAKE_TAP, "multiqueue": True})
HYBRID = Kind("hybrid", vifs.vif_bridge, "hybrid", {"qvo": Port()}, ("qbr", "qvb", "qvo"))
PER_PORT = replace(
    TAP,
    name="per-port-bridge",
    mark="perportbridge",
    ports={"tap": Port("pb"), "pbp": Port("pb", peer="ibp"), "ibp": Port(peer="pbp")},
    bridges=("pb",),
    options={"per_port_bridge": True},
)
PER_PORT_ONLY = replace(
    PER_PORT, name="per-port-bridge-only", link_prefixes=(), profile=_MAKE_PORT
)
_VHOST = {"type": "dpdkvhostuser", "mtu_request": vifs.MTU}
SOCKET = "/run/guest.sock"
#: The guest connects to a socket that ovs-vswitchd makes. It is refused where there is no DPDK.
VHOST_CLIENT = Kind(
    "vhost-user-client",
    vifs.vif_vhost_user,
    "vhostuser",
    {"vhu": Port(interface=_VHOST)},
    fields={"mode": "client", "unset": "path"},
)
#: ovs-vswitchd connects to a socket that the guest makes, as often as it takes.
VHOST_SERVER = replace(
    VHOST_CLIENT,
    name="vhost-user-server",
    ports={
        "vhu": Port(
            interface={
                **_VHOST,
                "type": "dpdkvhostuserclient",
                "options": {"vhost-server-path": SOCKET},
            }
        )
    },
    fields={"mode": "server", "path": SOCKET},
)

KINDS = (TAP, MULTIQUEUE, PORT_ONLY, BRIDGE_ONLY, HYBRID)
PER_PORT_KINDS = (PER_PORT, PER_PORT_ONLY)
WITH_PORT = (TAP, MULTIQUEUE, PORT_ONLY, HYBRID)
WITH_LINKS = (TAP, MULTIQUEUE, HYBRID)


def of(*kinds: Kind) -> pytest.MarkDecorator:
    """Run a test with each kind."""
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


def on_system(kind: Kind, **changes: Any) -> Kind:
    """A kind on the kernel's datapath, where it has a QoS row."""
    profile = {**kind.profile, "datapath_type": "system"}
    return replace(kind, **{"profile": profile, "qos": "linux-noop", **changes})


def on_trunk(kind: Kind, **changes: Any) -> Kind:
    """A kind whose bridge is a trunk's."""
    ports = {
        prefix: replace(port, bridge=TRUNK) if port.bridge == vifs.BRIDGE else port
        for prefix, port in kind.ports.items()
    }
    fields, bridges = {"network": {"bridge": TRUNK}}, (*kind.bridges, TRUNK)
    return replace(kind, ports=ports, fields=fields, bridges=bridges, **changes)


def isolated(kind: Kind) -> Kind:
    """A kind whose new ports are on the dead VLAN."""
    return replace(kind, options={**kind.options, "isolate_vif": True}, columns=DEAD)


_UNVERIFIED = {"verify_interface": False}
_NO_ID = {"unset": "id"}
_ON_TRUNK = {"isolate_vif": True}  # which no port of a trunk is

#: Every kind with every option that shows, on a datapath that takes all of them.
EVERY = {
    "tap": on_system(TAP),
    "tap of a VIF without id": on_system(TAP, fields=_NO_ID),
    "tap, in user space": TAP,
    "tap, multiqueue, htb": on_system(
        MULTIQUEUE, options={"default_qos_type": "linux-htb"}, qos="linux-htb"
    ),
    "tap, isolated": isolated(on_system(TAP)),
    "port before its tap": on_system(PORT_ONLY),
    "bridge alone": on_system(BRIDGE_ONLY),
    "per-port bridge": on_system(PER_PORT),
    "per-port bridge, isolated, before its tap": isolated(on_system(PER_PORT_ONLY)),
    "per-port bridge without id": on_system(TAP, fields=_NO_ID, options=PER_PORT.options),
    "trunk": on_trunk(on_system(TAP), options=_ON_TRUNK),
    "trunk, per-port bridge": on_trunk(
        on_system(PER_PORT), options={**PER_PORT.options, **_ON_TRUNK}
    ),
    "hybrid": on_system(HYBRID),
    "hybrid, isolated": isolated(on_system(HYBRID)),
    "vhost-user client": replace(VHOST_CLIENT, options=_UNVERIFIED),
    "vhost-user server": replace(VHOST_SERVER, options=_UNVERIFIED),
}

_DISABLE_IPV6 = "ipv6/{}/disable_ipv6"
#: The sysctls of a link, by the first letters of its name.
SYSCTLS: dict[str, dict[str, Any]] = {
    **{prefix: {_DISABLE_IPV6: 1} for prefix in ("tap", "qvb", "qvo")},
    "qbr": {
        _DISABLE_IPV6 if name in _DISABLE_IPV6 else f"ipv4/{{}}/{name}": value
        for name, value in NO_HOST_STACK.items()
    },
}


def sysctl(link: str, path: str) -> Path:
    """The file of one of ``SYSCTLS``."""
    family, _, name = path.format("conf/" + link).partition("/")
    return Path("/proc/sys/net", family, name)


#: Links that are there when os-vif has made none: vswitchd makes the latter two.
OF_THE_SWITCH = frozenset({"lo", "ovs-netdev", "br-int"})


def deviations(
    ovs: PrivateOvs, kind: Kind, number: int = 1, qos: str | None = None, reopened: bool = False
) -> list[str]:
    """Say what of a plugged VIF is not as it must be; the check for tests to assert empty.

    :param qos: the type of its QoS row, where it is not that of the kind.
    :param reopened: its device was lost and vswitchd, in user space, told to open the new one.
    """
    return [
        *_link_deviations(kind, number),
        *_row_deviations(ovs, kind if qos is None else replace(kind, qos=qos), number),
        *_ofport_deviations(ovs, kind, number, reopened),
    ]


def _link_deviations(kind: Kind, number: int) -> Iterator[str]:
    there = links()
    for name, wanted in kind.links(number).items():
        found = there.get(name)
        if found is None:
            yield f"link {name} is missing"
            continue
        for key, value in wanted.items():
            if found[key] != value:
                yield f"link {name}: {key} is {found[key]!r}, not {value!r}"
        for path, setting in SYSCTLS[name[:3]].items():
            value = sysctl(name, path).read_text().strip()
            if value != str(setting):
                yield f"sysctl {path.format(name)} is {value}, not {setting}"


def _row_deviations(ovs: PrivateOvs, kind: Kind, number: int) -> Iterator[str]:
    there = ovs.dump()
    for table, rows in kind.rows(number).items():
        for name, columns in rows.items():
            found = filled(there[table].get(name, {}))
            found.pop("ofport_request", None)
            if found != columns:
                yield f"{table} {name} is {found}, not {columns}"
    for prefix, port in kind.ports.items():
        name, bridge = named(prefix, number), named(port.bridge, number)
        if name not in there["Bridge"].get(bridge, {}).get("ports", ()):
            yield f"port {name} is not on {bridge}"


def _ofport_deviations(ovs: PrivateOvs, kind: Kind, number: int, reopened: bool) -> Iterator[str]:
    name = kind.port(number)
    if not kind.ports or name not in ovs.dump()["Interface"]:
        return  # said already
    row = ovs.interface(name)
    asked = row["ofport_request"]
    if (asked is not None) != reopened or (reopened and not (asked >= 32_768)):
        yield f"port {name} has ofport_request {asked}"
    if reopened and row["ofport"] != asked:
        yield f"port {name} has ofport {row['ofport']}, not {asked}"
    if kind.link_prefixes and not (row["ofport"] or 0) > 0:
        yield f"port {name} has no ofport: {row['error']}"


def filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that hold something (VLAN 0 is something)."""
    return {key: value for key, value in row.items() if value or (key, value) == ("tag", 0)}


# Other processes --------------------------------------------------------------------------------


class Child:
    """A forked process that does one thing and reports what became of it.

    It is in the namespaces of the thread that made it. Make it while no connection to OVSDB is
    open (``connection.close_all()``), unless forking with threads is what is tested.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._read)
                with open(write, "wb") as pipe:
                    pipe.write(_outcome(work))
            finally:
                os._exit(0)
        os.close(write)
        self._status: int | None = None

    def result(self, timeout: float = 30.0) -> Any:
        """Return or raise what the work did.

        :raises ProcessLookupError: it was killed.
        """
        with open(self._read, "rb", closefd=False) as pipe:
            self.wait(timeout)
            sent = pipe.read()
        if not sent:
            raise ProcessLookupError(f"process {self.pid} ended with status {self._status}")
        value, error = pickle.loads(sent)
        if error is not None:
            raise error
        return value

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self._status is not None and os.WTERMSIG(self._status) == signal.SIGKILL

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self, timeout: float = 30.0) -> None:
        """Wait until it has ended."""
        if self._status is None:
            wait_until(self._ended, timeout, f"process {self.pid} to end")

    def _ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self._status = status
        return bool(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        os.close(self._read)


def _outcome(work: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps((work(), None))
    except Exception as error:
        error.__cause__ = error.__context__ = None
        try:
            return pickle.dumps((None, error))
        except Exception:
            return pickle.dumps((None, RuntimeError(traceback.format_exc())))
