# SPDX-License-Identifier: Apache-2.0
"""The library under test in this process, against a private Open vSwitch.

The only module of the rig that imports the library. Plugins are those of ``pyproject.toml``, so
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
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Self
from unittest import mock

from oslo_config import cfg
from oslo_privsep.priv_context import PrivContext

import os_vif
from os_vif import registry
from os_vif.objects.vif import VIFBase
from os_vif.plugin import PluginBase
from tests import vifs
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


@dataclass(frozen=True)
class Kind:
    """A way to plug, and what the host looks like afterwards."""

    name: str
    make: Callable[..., VIFBase]
    mark: str
    port_prefix: str = ""  # of the OVS port; empty: os-vif makes none
    link_prefixes: tuple[str, ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    #: Options that it is plugged with, where they are not the defaults.
    options: Mapping[str, Any] = field(default_factory=dict)

    def vif(self, number: int = 1, **overrides: Any) -> VIFBase:
        """A VIF of this kind; see ``tests.vifs``."""
        profile = {**self.profile, **overrides.pop("profile", {})}
        return self.make(number=number, profile=profile, **overrides)

    def port(self, number: int = 1) -> str:
        """The name of its OVS port."""
        return vifs.device(self.port_prefix, number)

    def link_names(self, number: int = 1) -> list[str]:
        """The names of the links that os-vif makes for it."""
        return [vifs.device(prefix, number) for prefix in self.link_prefixes]

    def mark_of(self, number: int = 1) -> str:
        """The ownership mark."""
        return f"ovs:{self.mark}:{vifs.vif_id(number)}"

    def links(self, number: int = 1, mtu: int = vifs.MTU) -> dict[str, Facts]:
        """The links that os-vif makes for it, in the terms of ``tests.rig.snapshot``."""
        common = {"up": True, "mtu": mtu, "alias": f"os-vif:{self.mark_of(number)}"}
        made = {
            "tap": {
                **common,
                "kind": "tun",
                "type": "tap",
                "persist": True,
                "multi_queue": bool(self.profile.get("multiqueue")),
                "mac": vifs.mac(number),
                "master": None,
            },
            "qbr": {
                **common,
                "kind": "bridge",
                "ageing_time": 0,
                "stp_state": 0,
                "forward_delay": 0,
                "mcast_snooping": 0,
                "master": None,
            },
            "qvb": {
                **common,
                "kind": "veth",
                "promisc": True,
                "master": vifs.device("qbr", number),
                "parent": vifs.device("qvo", number),
            },
            "qvo": {
                **common,
                "kind": "veth",
                "promisc": True,
                "master": None,
                "parent": vifs.device("qvb", number),
            },
        }
        return {vifs.device(prefix, number): made[prefix] for prefix in self.link_prefixes}

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

    def tagged_port(self, number: int = 1) -> str:
        """The port that stands for the VIF on its bridge, and has the tag of its network."""
        return f"ibp{vifs.vif_id(number)}" if self.options else self.port(number)

    def external_ids(self, number: int = 1) -> dict[str, str]:
        """The ids of its Interface row, less the mark."""
        return {
            "iface-id": vifs.interface_id(number),
            "iface-status": "active",
            "attached-mac": vifs.mac(number),
            "vm-uuid": vifs.instance_id(number),
        }


_MAKE_PORT = {"create_port": True}
_MAKE_TAP = {**_MAKE_PORT, "create_tap": True}

TAP = Kind("tap", vifs.vif_open_vswitch, "openvswitch", "tap", ("tap",), _MAKE_TAP)
MULTIQUEUE = Kind(
    "multiqueue",
    vifs.vif_open_vswitch,
    "openvswitch",
    "tap",
    ("tap",),
    {**_MAKE_TAP, "multiqueue": True},
)
PORT_ONLY = Kind("port-only", vifs.vif_open_vswitch, "openvswitch", "tap", (), _MAKE_PORT)
BRIDGE_ONLY = Kind("bridge-only", vifs.vif_open_vswitch, "openvswitch")
HYBRID = Kind("hybrid", vifs.vif_bridge, "hybrid", "qvo", ("qbr", "qvb", "qvo"))
_OWN_BRIDGE = {"per_port_bridge": True}
#: Not for `deviations`: their rows are more than one port.
PER_PORT = Kind(
    "per-port-bridge",
    vifs.vif_open_vswitch,
    "perportbridge",
    "tap",
    ("tap",),
    _MAKE_TAP,
    _OWN_BRIDGE,
)
PER_PORT_ONLY = Kind(
    "per-port-bridge-only",
    vifs.vif_open_vswitch,
    "perportbridge",
    "tap",
    (),
    _MAKE_PORT,
    _OWN_BRIDGE,
)

KINDS = (TAP, MULTIQUEUE, PORT_ONLY, BRIDGE_ONLY, HYBRID)
WITH_PORT = (TAP, MULTIQUEUE, PORT_ONLY, HYBRID)
WITH_LINKS = (TAP, MULTIQUEUE, HYBRID)

#: The sysctls of a link, by the first letters of its name.
SYSCTLS = {
    "tap": {"ipv6/{}/disable_ipv6": 1},
    "qbr": {
        "ipv6/{}/disable_ipv6": 1,
        "ipv4/{}/arp_ignore": 1,
        "ipv4/{}/arp_announce": 2,
    },
    "qvb": {"ipv6/{}/disable_ipv6": 1},
    "qvo": {"ipv6/{}/disable_ipv6": 1},
}


def sysctl(link: str, path: str) -> Path:
    """The file of one of ``SYSCTLS``."""
    family, _, name = path.format("conf/" + link).partition("/")
    return Path("/proc/sys/net", family, name)


#: Links that are there when os-vif has made none: vswitchd makes the latter two.
OF_THE_SWITCH = frozenset({"lo", "ovs-netdev", "br-int"})


def deviations(
    ovs: PrivateOvs,
    kind: Kind,
    number: int = 1,
    bridge: str = vifs.BRIDGE,
    qos: str = "",
    reopened: bool = False,
) -> list[str]:
    """Say what of a plugged VIF is not as it must be; the check for tests to assert empty.

    :param qos: the type of its QoS row; empty in user space, where it has none.
    :param reopened: its device was lost and vswitchd, in user space, told to open the new one.
    """
    if not kind.port_prefix:
        return list(_link_deviations(kind, number))
    return [
        *_link_deviations(kind, number),
        *_row_deviations(ovs, kind, number, bridge, qos),
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


def _row_deviations(
    ovs: PrivateOvs, kind: Kind, number: int, bridge: str, qos: str
) -> Iterator[str]:
    rows, name = ovs.dump(), kind.port(number)
    mark = {"os-vif": kind.mark_of(number)}
    key = qos_id(name)
    wanted = {
        ("Port", name): {
            "name": name,
            "interfaces": [name],
            "external_ids": mark,
            **({"qos": key} if qos else {}),
        },
        ("Interface", name): {
            "name": name,
            "external_ids": {**kind.external_ids(number), **mark},
        },
        ("QoS", key): (
            {"type": qos, "external_ids": {"id": key, "_type": qos, **mark}} if qos else {}
        ),
    }
    for (table, row), columns in wanted.items():
        found = filled(rows[table].get(row, {}))
        found.pop("ofport_request", None)
        if found != columns:
            yield f"{table} {row} is {found}, not {columns}"
    if name not in rows["Bridge"].get(bridge, {}).get("ports", ()):
        yield f"port {name} is not on {bridge}"


def _ofport_deviations(ovs: PrivateOvs, kind: Kind, number: int, reopened: bool) -> Iterator[str]:
    try:
        row = ovs.interface(kind.port(number))
    except KeyError:
        return  # said already
    name, asked = row["name"], row["ofport_request"]
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
