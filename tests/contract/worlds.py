# SPDX-License-Identifier: Apache-2.0
"""Two hosts that the engine cannot tell apart: one in memory, one of a kernel and Open vSwitch.

A test sees only what stands under some names (``found``), what the engine was asked to write
(``transactions``, ``privileged_calls``), and what others can do to a host.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Protocol

from os_vif.kernel.daemon import KernelLinks
from os_vif.kernel.execute import Outcome, execute
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.engine import Engine, Links, Rows
from os_vif.wiring.model import Wiring
from os_vif.wiring.state import Bridge, Found, Port
from os_vif.wiring.steps import FilterBridge, SetLink
from tests import fakes
from tests.rig import run, wait_until
from tests.rig.addressing import addressing
from tests.rig.guest import TapGuest
from tests.rig.ovs import PrivateOvs
from tests.rig.snapshot import snapshot
from vif_plug_ovs.ovsdb import connection
from vif_plug_ovs.ovsdb.backend import NativeRows
from vif_plug_ovs.ovsdb.vsctl import VsctlRows

#: Seconds; what is expected to time out has this much, what is not far more.
SHORT, LONG = 1.0, 20.0


class World(Protocol):
    """A host with Open vSwitch on it."""

    links: Links
    rows: Rows

    @property
    def transactions(self) -> int: ...
    @property
    def privileged_calls(self) -> int: ...
    def everything(self) -> object:
        """All that is configured on this host, to be compared with itself later."""

    #: What the firewall was told of each Linux bridge.
    filtered: dict[str, Any]

    def add_bridge(self, name: str) -> None: ...
    def add_interface(self, name: str, address: str) -> None:
        """An interface of the host's own, up and with an address."""

    def add_port(self, bridge: str, name: str, ids: Mapping[str, str]) -> None: ...
    def set_ids(self, name: str, ids: Mapping[str, str]) -> None:
        """What another VIF's plug writes into a row that stands."""

    def open_tap(self, name: str) -> AbstractContextManager[None]:
        """A guest that runs: it has a tap of that name open, and closes it."""

    def remove_port(self, name: str) -> None: ...
    def delete_link(self, name: str) -> None: ...
    def set_link(self, name: str, **attributes: Any) -> None: ...
    def stuck(self) -> Any:
        """A context in which ovs-vswitchd does nothing."""


class FakeWorld:
    """A host in memory."""

    def __init__(self) -> None:
        host = fakes.FakeHost()
        self._host, self.links, self.rows = host, host.links, host.rows
        self.filtered = host.links.filtered

    @property
    def transactions(self) -> int:
        return self.rows.committed

    @property
    def privileged_calls(self) -> int:
        return self.links.executed

    def everything(self) -> object:
        return self._host.found

    def add_bridge(self, name: str) -> None:
        self.rows.add(Bridge(name, "netdev"), Port(name, name, interface_type="internal"))

    def add_interface(self, name: str, address: str) -> None:
        link = fakes.new_link(name, "", up=True)
        self.links.links[name] = replace(link, addresses=(address,))

    def add_port(self, bridge: str, name: str, ids: Mapping[str, str]) -> None:
        self.rows.add(Port(name, bridge, interface_ids=ids))

    def set_ids(self, name: str, ids: Mapping[str, str]) -> None:
        port = self.rows.ports[name]
        self.rows.ports[name] = replace(port, interface_ids={**port.interface_ids, **ids})

    @contextmanager
    def open_tap(self, name: str) -> Iterator[None]:
        link = self.links.links.get(name) or fakes.new_link(name, "tun", up=True)
        self.links.links[name] = replace(link, carrier=True)
        self.rows.add()
        yield
        self.links.links[name] = replace(link, carrier=False)

    def remove_port(self, name: str) -> None:
        del self.rows.ports[name]

    def delete_link(self, name: str) -> None:
        for gone in {name, self.links.peers.pop(name, name)}:
            del self.links.links[gone]

    def set_link(self, name: str, **attributes: Any) -> None:
        self.links._set(SetLink(name, attributes))

    @contextmanager
    def stuck(self) -> Iterator[None]:
        self.rows.stuck = True
        yield
        self.rows.stuck = False


class RealWorld:
    """A private network namespace with a private Open vSwitch.

    :param driver: how OVSDB is reached.
    """

    def __init__(self, ovs: PrivateOvs, driver: type[NativeRows | VsctlRows]) -> None:
        self._ovs = ovs
        self.links = KernelLinks(self._execute)
        self.rows = driver(ovs.remote)
        self.privileged_calls = 0
        self.filtered = {}

    def _execute(self, groups: list[Any], go_on: bool, until: float) -> list[Outcome]:
        self.privileged_calls += 1
        return execute(groups, go_on, self._filter)

    def _filter(self, step: FilterBridge) -> None:
        self.filtered[step.bridge] = step.settings

    @property
    def transactions(self) -> int:
        return self._ovs.next_cfg()

    def everything(self) -> object:
        return snapshot(self._ovs), vars(addressing())

    def add_bridge(self, name: str) -> None:
        self._ovs.vsctl("add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev")

    def add_interface(self, name: str, address: str) -> None:
        run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-wire"])
        for end in (name, f"{name}-wire"):
            run(["ip", "link", "set", end, "up"])
        run(["ip", "address", "add", address, "dev", name, "nodad"])

    def add_port(self, bridge: str, name: str, ids: Mapping[str, str]) -> None:
        pairs = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
        set_ids = ["--", "set", "Interface", name, *pairs] if ids else []
        self._ovs.vsctl("add-port", bridge, name, *set_ids)

    def set_ids(self, name: str, ids: Mapping[str, str]) -> None:
        pairs = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
        self._ovs.vsctl("set", "Interface", name, *pairs)

    @contextmanager
    def open_tap(self, name: str) -> Iterator[None]:
        run(["ip", "tuntap", "add", "dev", name, "mode", "tap", "multi_queue"], check=False)
        run(["ip", "link", "set", name, "up"])
        with ExitStack() as stack:
            TapGuest._open(name, stack, multi_queue=True)
            self._ovs.catch_up()
            yield

    def remove_port(self, name: str) -> None:
        self._ovs.vsctl("del-port", name)

    def delete_link(self, name: str) -> None:
        run(["ip", "link", "delete", name])

    def set_link(self, name: str, **attributes: Any) -> None:
        words = {"up": {True: ["up"], False: ["down"]}, "master": {"": ["nomaster"]}}
        for key, value in attributes.items():
            spoken = words.get(key, {}).get(value, [key, str(value)])
            run(["ip", "link", "set", name, *spoken])

    @contextmanager
    def stuck(self) -> Iterator[None]:
        self._ovs.freeze("vswitchd")
        yield
        self._ovs.thaw("vswitchd")
        wait_until(lambda: self._ovs.cur_cfg() >= self.transactions, what="vswitchd")

    def close(self) -> None:
        connection.close_all()


class Between:
    """Backends with something in between: ``act`` is told each call, before or after it."""

    def __init__(
        self, backend: Any, act: Callable[[str, tuple[Any, ...]], object], *, after: bool = False
    ) -> None:
        self._backend, self._act, self._after = backend, act, after

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._after:
                self._act(name, arguments)
            answer = getattr(self._backend, name)(*arguments, **options)
            if self._after:
                self._act(name, arguments)
            return answer

        return call


def before_first(backend: Any, act: Callable[[], object], method: str = "commit") -> Between:
    """Return a backend beside which somebody else acts just before the first call of a method."""
    pending = [act]

    def act_once(name: str, arguments: tuple[Any, ...]) -> None:
        if name == method and pending:
            pending.pop()()

    return Between(backend, act_once)


class Seeing:
    """A database in which the states of devices are what ``look`` makes of them."""

    def __init__(
        self, rows: Rows, look: Callable[[dict[str, Port], bool], dict[str, Port]]
    ) -> None:
        self._rows, self._look = rows, look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def device_states(
        self, ports: Mapping[str, int], deadline: Deadline, *, wait: bool
    ) -> Mapping[str, Port]:
        return self._look(dict(self._rows.device_states(ports, deadline, wait=wait)), wait)


def opening(rows: Rows, act: Callable[[], None]) -> Rows:
    """Return a database that is read when ovs-vswitchd has just opened the new devices."""

    def look(found: dict[str, Port], wait: bool) -> dict[str, Port]:
        if found and all(port.works for port in found.values()):
            act()
        return found

    return Seeing(rows, look)


def apply(world: World, wiring: Wiring, seconds: float = LONG, rows: Rows | None = None) -> None:
    Engine(world.links, rows or world.rows).apply(wiring, Deadline(seconds))


def remove(world: World, wiring: Wiring, seconds: float = LONG) -> None:
    Engine(world.links, world.rows).remove(wiring, Deadline(seconds))


def found(world: World, wiring: Wiring) -> Found:
    """What stands under the names of a wiring."""
    scope = wiring.scope
    others = dict.fromkeys((*scope.links, *scope.bridges, *scope.ports), "")
    rows = world.rows.observe(others, others, Deadline(LONG))
    return replace(rows, links=world.links.observe(scope.links, scope.addressed))


def apply_all(
    world: World, wirings: Sequence[Wiring], seconds: float = LONG
) -> list[Exception | None]:
    return Engine(world.links, world.rows).apply_all(wirings, Deadline(seconds))


def remove_all(
    world: World, wirings: Sequence[Wiring], seconds: float = LONG
) -> list[Exception | None]:
    return Engine(world.links, world.rows).remove_all(wirings, Deadline(seconds))
