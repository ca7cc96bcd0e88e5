# SPDX-License-Identifier: Apache-2.0
"""The deprecated driver: what it writes and survives, and that it is the native one's twin."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from os_vif.kernel import programs
from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import OvsBridge, OvsPort
from os_vif.wiring.engine import Rows
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import Found
from os_vif.wiring.steps import (
    CreateBridge,
    CreatePort,
    RemoveBridge,
    RemovePort,
    RemoveQos,
    ReopenPort,
    RowStep,
    SetPort,
)
from tests import vifs
from tests.rig.failures import fails
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import GROUP, HYBRID, PER_PORT, TIMEOUT, Kind, OsVif, deviations
from tests.rig.snapshot import difference, settled, snapshot
from tests.rig.stopwatch import within
from vif_plug_ovs.ovsdb import client, connection, drivers
from vif_plug_ovs.ovsdb.backend import NativeRows
from vif_plug_ovs.ovsdb.vsctl import VsctlRows
from vif_plug_ovs.shapes.request import DEAD

SHORT, AMPLE = 1, 20  # seconds: a deadline to be waited out, and one that is not
GRACE = 1  # seconds that a verb may take beyond its deadline

MARK = Mark("ovs", "test", "a1")
BRIDGE = OvsBridge("br-int", "netdev", MARK)
PORT = OvsPort("tap1", "br-int", MARK, external_ids={"iface-id": "b1"}, device=False)


@pytest.fixture(autouse=True)
def _no_daemon(in_process: None) -> None:
    """The program is run by this process."""


@pytest.fixture
def osvif(osvif: OsVif) -> OsVif:
    """os_vif with this driver; its bridges forward packets."""
    osvif.configure(ovsdb_interface="vsctl")
    return osvif


@pytest.fixture
def osvif_dummy(osvif_dummy: OsVif) -> OsVif:
    """os_vif with this driver; the default QoS of ``system`` ports works."""
    osvif_dummy.configure(ovsdb_interface="vsctl")
    return osvif_dummy


class Invocations:
    """Counts the programs that are started, and does something before and after a writing one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._written = self._read = 0
        #: Taken one at a time, before and after a writing program.
        self.before: list[Callable[[], object]] = []
        self.after: list[Callable[[], object]] = []
        self._transact = client.transact
        monkeypatch.setattr(client, "transact", self._counted)

    def since(self) -> tuple[int, int]:
        """How many wrote and how many read since this was asked last."""
        counted, self._written, self._read = (self._written, self._read), 0, 0
        return counted

    def _counted(self, remote: str, files: Any, operations: Any, until: float) -> Any:
        if all(operation["op"] == "select" for operation in operations):
            self._read += 1
            return self._transact(remote, files, operations, until)
        self._written += 1
        if self.before:
            self.before.pop(0)()
        answer = self._transact(remote, files, operations, until)
        if self.after:
            self.after.pop(0)()
        return answer


@pytest.fixture
def invocations(monkeypatch: pytest.MonkeyPatch) -> Invocations:
    return Invocations(monkeypatch)


# The same rows as the native driver's -----------------------------------------------------------

FULL = OvsPort(
    "vhu1",
    "br-int",
    MARK,
    interface_type="dpdkvhostuserclient",
    external_ids={"iface-id": "b1", "iface-status": "active", "odd": '-- "a" = \\ {é},\n'},
    options={"vhost-server-path": "/run/a b"},
    mtu_request=1450,
    device=False,
    vlan=DEAD,
    qos_type="linux-noop",
)
OWN_BRIDGE = OvsBridge("pb1", "system", MARK)

#: Transactions, one after the other.
PLANS: dict[str, list[list[RowStep]]] = {
    "a-bridge-then-its-ports": [
        [CreateBridge(BRIDGE)],
        [CreatePort(FULL)],
        [CreatePort(PORT)],
        [RemovePort("vhu1", "br-int")],
        [RemoveBridge("br-int")],
    ],
    "two-bridges-at-once": [
        [
            CreateBridge(BRIDGE),
            CreateBridge(OWN_BRIDGE),
            CreatePort(replace(FULL, bridge="pb1")),
            CreatePort(PORT),
        ],
        [RemovePort("tap1", "br-int"), RemovePort("vhu1", "pb1"), RemoveBridge("pb1")],
    ],
    "values": [
        [CreateBridge(BRIDGE), CreatePort(FULL)],
        [
            SetPort(
                "vhu1",
                {
                    "type": "internal",
                    "mtu_request": 1400,
                    "external_ids:iface-id": "b2",
                    "external_ids:odd": None,
                    "external_ids:none": None,
                    "external_ids:a:b=c": "d=e:f",
                    "options:vhost-server-path": None,
                    "options:new": "",
                },
            )
        ],
        [SetPort("vhu1", {"mtu_request": None})],
        [ReopenPort("vhu1")],
    ],
    "empty-bridges": [
        [CreateBridge(BRIDGE), CreatePort(FULL), CreateBridge(OWN_BRIDGE), CreatePort(PORT)],
        [RemoveBridge("br-int", if_empty=True), RemoveBridge("pb1", if_empty=True)],
        [RemoveBridge("br-int", if_empty=True), RemovePort("vhu1", "br-int")],
        [RemovePort("tap1", "br-int"), RemoveBridge("br-int", if_empty=True)],
    ],
    "what-is-gone": [
        [CreateBridge(BRIDGE), CreatePort(FULL)],
        [RemovePort("tap1", "br-int"), RemoveBridge("br-ex"), RemoveQos("tap1")],
    ],
}


@contextmanager
def twins() -> Iterator[list[tuple[PrivateOvs, Rows]]]:
    """Both drivers, each with a database of its own."""
    with ExitStack() as stack:
        stack.callback(connection.close_all)
        native, other = (stack.enter_context(PrivateOvs("dummy")) for _ in range(2))
        yield [(native, NativeRows(native.remote)), (other, VsctlRows(other.remote))]


class _OneTime:
    """The module time; it is always the same time of day."""

    time = staticmethod(lambda: 1e9)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_makes_the_same_database(
    name: str, netns: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for driver in ("backend", "vsctl"):  # which write when a port was made
        monkeypatch.setattr(f"vif_plug_ovs.ovsdb.{driver}.time", _OneTime())
    with twins() as pair:
        for steps in PLANS[name]:
            numbers = [rows.commit(steps, Deadline(AMPLE)) for _, rows in pair]
            assert numbers[0] == numbers[1]
            for ovs, rows in pair:
                assert rows.wait_for_vswitchd(ovs.next_cfg(), Deadline(AMPLE))
            native, other = (_less_numbers(ovs.dump()) for ovs, _ in pair)
            assert not difference(native, other)
            native_found, found = (_observed(rows) for _, rows in pair)
            assert native_found == found


def _less_numbers(dump: dict[str, Any]) -> dict[str, Any]:
    """Any number may be asked for to have a port opened anew."""
    for row in dump["Interface"].values():
        row["ofport_request"] = row["ofport_request"] is not None
    return dump


def _observed(rows: Rows) -> Found:
    """What is seen, less the OpenFlow port numbers and what only one driver knows."""
    ports = dict.fromkeys(("tap1", "vhu1", "br-int", "no-such-port"), "")
    found = rows.observe(["br-int", "pb1", "no-such-bridge"], ports, Deadline(AMPLE))
    seen = {name: replace(port, ofport=port.works) for name, port in found.ports.items()}
    return replace(found, ports=seen, port_count=0)


def test_left_over_qos_rows_go_with_a_new_port_and_on_their_own(netns: object) -> None:
    with twins() as pair:
        for ovs, rows in pair:
            rows.commit([CreateBridge(BRIDGE), CreatePort(FULL)], Deadline(AMPLE))
            ovs.vsctl("clear", "Port", "vhu1", "qos", "--", "del-port", "vhu1")
            assert rows.observe([], {"vhu1": ""}, Deadline(AMPLE)).qos == {"vhu1": FULL.qos_type}
            rows.commit([CreatePort(FULL)], Deadline(AMPLE))
            assert len(ovs.dump()["QoS"]) == 1
            ovs.vsctl("clear", "Port", "vhu1", "qos", "--", "del-port", "vhu1")
            rows.commit([RemoveQos("vhu1")], Deadline(AMPLE))
            assert ovs.dump()["QoS"] == {}


# Verbs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HYBRID, PER_PORT], ids=lambda kind: kind.name)
def test_a_verb_writes_once_and_a_replug_only_reads_once(
    kind: Kind, osvif_dummy: OsVif, ovs_dummy: PrivateOvs, invocations: Invocations
) -> None:
    osvif_dummy.configure(**kind.options)
    ovs_dummy.vsctl("add-br", vifs.BRIDGE)
    number = ovs_dummy.next_cfg()
    for verb in (osvif_dummy.plug, osvif_dummy.unplug):
        verb(kind.vif())
        written, read = invocations.since()
        assert written == 1
        assert read >= 3
        verb(kind.vif())
        assert invocations.since() == (0, 1)
    assert ovs_dummy.next_cfg() == ovs_dummy.cur_cfg() == number + 2


def test_what_is_seen_of_a_port_whose_device_is_missing(ovs: PrivateOvs, br_int: str) -> None:
    rows = VsctlRows(ovs.remote)
    port = replace(PORT, name="tap-missing")
    number = rows.commit([CreatePort(port)], Deadline(AMPLE))
    assert number is not None
    assert rows.wait_for_vswitchd(number, Deadline(AMPLE))
    with within(SHORT + GRACE) as lap:
        found = rows.device_states(
            {"tap-missing": 0, "no-such-port": 0}, Deadline(SHORT), wait=True
        )
    assert lap.took >= SHORT
    assert list(found) == ["tap-missing"]
    assert "No such device" in found["tap-missing"].error
    assert rows.names_of("b1", Deadline(AMPLE)) == ["tap-missing"]
    assert rows.names_of("b2", Deadline(AMPLE)) == []
    assert rows.names_of(str(PORT.mark), Deadline(AMPLE), Mark.KEY) == ["tap-missing"]


# Values -----------------------------------------------------------------------------------------

ODD = ["--", "-- del-br br-int", "--help", "@new0", '"', "\\", '\\"', "a=b", "{}", "[]", "a,b"]
ODD += ["", " ", "a\nb", "é", "\U0001f98b", "\x7f", "beef", "true", "1", ":", "$(reboot)"]


def test_no_value_is_anything_but_a_value(ovs_dummy: PrivateOvs) -> None:
    ovs_dummy.vsctl("add-br", "br-int")
    ovs_dummy.kill("vswitchd")  # it has no part in this
    rows, untouched = VsctlRows(ovs_dummy.remote), ovs_dummy.dump()
    same, keys = {odd: odd for odd in ODD}, [f"external_ids:{odd}" for odd in ODD]
    for odd in ODD:
        ids = {**same, "iface-id": odd}
        port = replace(PORT, name=odd, external_ids=ids, options=same)
        rows.commit([CreatePort(port)], Deadline(AMPLE))
        row, ids = ovs_dummy.interface(odd), {**ids, "os-vif": str(MARK)}
        assert (row["external_ids"], row["options"]) == (ids, same)
        found = rows.observe(["br-int"], {odd: ""}, Deadline(AMPLE)).ports[odd]
        assert (found.bridge, found.interface_ids, found.options) == ("br-int", ids, same)
        assert not odd or rows.names_of(odd, Deadline(AMPLE)) == [odd]

        rows.commit([SetPort(odd, dict.fromkeys(keys, odd))], Deadline(AMPLE))
        assert ovs_dummy.interface(odd)["external_ids"] == {**ids, **dict.fromkeys(ODD, odd)}
        rows.commit([SetPort(odd, dict.fromkeys(keys))], Deadline(AMPLE))
        left = {"iface-id": odd, "os-vif": str(MARK)}
        assert ovs_dummy.interface(odd)["external_ids"] == left
        rows.commit([RemovePort(odd, "br-int")], Deadline(AMPLE))
        assert not difference(untouched, ovs_dummy.dump())


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_what_ovsdb_cannot_hold_is_refused(ovs_dummy: PrivateOvs, value: str) -> None:
    ovs_dummy.vsctl("add-br", "br-int")
    rows, before = VsctlRows(ovs_dummy.remote), ovs_dummy.dump()
    with pytest.raises(errors.TransactionRefused):
        rows.commit([CreatePort(replace(PORT, external_ids={"a": value}))], Deadline(AMPLE))
    with pytest.raises(errors.TransactionRefused):
        rows.names_of(value, Deadline(AMPLE))
    assert not difference(before, ovs_dummy.dump())


def test_reading_for_many_vifs_one_by_one_ends_in_time(ovs: PrivateOvs, br_int: str) -> None:
    """As unplug of many VIFs with a representor does."""
    rows, deadline = VsctlRows(ovs.remote), Deadline(SHORT)
    ovs.freeze("ovsdb-server")
    with within(SHORT + GRACE):
        for number in range(20):
            with pytest.raises(errors.NotConnected):
                rows.names_of(vifs.interface_id(number), deadline)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_a_verb_looks_again_when_the_outcome_of_its_commit_is_unknown(
    verb: str, when: str, osvif: OsVif, ovs: PrivateOvs, br_int: str, invocations: Invocations
) -> None:
    """The connection is lost before the server has the transaction, or before it has answered."""

    def lost() -> None:
        raise errors.DeadlineExceeded(seconds=0, what="the answer has not come")

    osvif.plug(HYBRID.vif(2))
    before = settled(ovs)
    if verb == "unplug":
        osvif.plug(HYBRID.vif())
    getattr(invocations, when).append(lost)
    getattr(osvif, verb)(HYBRID.vif())
    assert not invocations.before + invocations.after
    if verb == "plug":
        assert deviations(ovs, HYBRID) == []
    else:
        assert not difference(before, settled(ovs))


@pytest.mark.parametrize("when", ["before-it-is-sent", "before-it-is-answered"])
def test_a_server_that_starts_again_meanwhile_is_waited_for(
    when: str, osvif: OsVif, ovs: PrivateOvs, br_int: str, invocations: Invocations
) -> None:
    done = threading.Event()

    def start() -> None:
        time.sleep(0.5)
        if when == "before-it-is-answered":
            ovs.kill("ovsdb-server")
        ovs.start_server()
        done.wait()  # the server ends with the thread that started it

    thread = threading.Thread(target=start)

    def restart() -> None:
        stop = ovs.freeze if when == "before-it-is-answered" else ovs.kill
        stop("ovsdb-server")
        thread.start()

    osvif.configure(ovs_vsctl_timeout=AMPLE)
    invocations.before.append(restart)
    try:
        osvif.plug(HYBRID.vif())
        assert deviations(ovs, HYBRID) == []
    finally:
        done.set()
        thread.join()


def test_reading_does_not_initialise_a_database(netns: object) -> None:
    with PrivateOvs("dummy") as ovs:
        ovs.new_database()
        rows = VsctlRows(ovs.remote)
        assert rows.observe(["br-int"], {"tap1": ""}, Deadline(AMPLE)) == Found()
        with pytest.raises(errors.TransactionRefused, match="ovs-vswitchd"):
            rows.commit([CreateBridge(BRIDGE)], Deadline(AMPLE))
        assert ovs._select("Open_vSwitch") == {"Open_vSwitch": []}


# Others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [(), ("--no-wait",)], ids=["counted", "not-counted"])
@pytest.mark.parametrize(
    ("steps", "act", "what"),
    [
        ([CreatePort(PORT)], ["add-port", "br-int", "tap1"], "tap1"),
        ([CreatePort(PORT)], ["del-br", "br-int"], "a row of Bridge .*br-int"),
        (
            [SetPort("old", {"mtu_request": 1400})],
            ["del-port", "old"],
            "a row of Interface .*old",
        ),
        ([CreateBridge(replace(BRIDGE, name="br-ex"))], ["add-br", "br-ex"], "br-ex"),
    ],
    ids=["port-taken", "bridge-gone", "port-gone", "bridge-taken"],
)
def test_what_others_change_between_reading_and_writing_is_noticed(
    steps: list[RowStep],
    act: list[str],
    what: str,
    waits: tuple[str, ...],
    ovs: PrivateOvs,
    br_int: str,
    invocations: Invocations,
) -> None:
    """Whether they ask for a new configuration number or not."""
    ovs.vsctl("add-port", "br-int", "old")
    invocations.before.append(lambda: ovs.vsctl(*waits, *act))
    with pytest.raises(errors.StateChanged, match=what):
        VsctlRows(ovs.remote).commit(steps, Deadline(AMPLE))
    expected = ovs.dump()
    assert PORT.external_ids not in [row["external_ids"] for row in expected["Port"].values()]


@pytest.mark.parametrize("waits", [(), ("--no-wait",)], ids=["counted", "not-counted"])
def test_a_bridge_that_others_begin_to_use_stays(
    waits: tuple[str, ...], ovs: PrivateOvs, br_int: str, invocations: Invocations
) -> None:
    rows = VsctlRows(ovs.remote)
    rows.commit([CreatePort(PORT)], Deadline(AMPLE))
    invocations.before.append(lambda: ovs.vsctl(*waits, "add-port", "br-int", "neighbour"))
    steps = [RemovePort("tap1", "br-int"), RemoveBridge("br-int", if_empty=True)]
    with pytest.raises(errors.StateChanged, match="a row of Bridge"):
        rows.commit(steps, Deadline(AMPLE))
    rows.commit(steps, Deadline(AMPLE))
    assert ovs.dump()["Bridge"]["br-int"]["ports"] == ["br-int", "neighbour"]


def test_what_others_change_elsewhere_does_not_matter(
    ovs: PrivateOvs, br_int: str, invocations: Invocations
) -> None:
    invocations.before.append(
        lambda: ovs.vsctl("add-br", "br-a", "--", "add-port", "br-int", "neighbour")
    )
    rows, number = VsctlRows(ovs.remote), ovs.next_cfg()
    assert rows.commit([CreatePort(PORT)], Deadline(AMPLE)) == ovs.next_cfg() == number + 2
    assert ovs.dump()["Bridge"]["br-int"]["ports"] == ["br-int", "neighbour", "tap1"]
    assert invocations.since()[0] == 1


def test_counting_up_changes_nothing_else(ovs: PrivateOvs, br_int: str) -> None:
    rows, before, number = VsctlRows(ovs.remote), ovs.dump(), ovs.next_cfg()
    assert rows.count_up(Deadline(AMPLE)) == ovs.next_cfg() == number + 1
    assert rows.wait_for_vswitchd(number + 1, Deadline(AMPLE))
    assert not difference(before, ovs.dump())


def test_what_is_larger_than_an_argument_is_refused_and_nothing_written(
    ovs: PrivateOvs, br_int: str
) -> None:
    """The engine then sends each VIF's rows on their own."""
    many: list[RowStep] = [CreatePort(replace(FULL, name=f"vhu{i}")) for i in range(150)]
    rows, before, number = VsctlRows(ovs.remote), ovs.dump(), ovs.next_cfg()
    with pytest.raises(errors.TransactionRefused, match="more than a program's argument"):
        rows.commit(many, Deadline(AMPLE))
    assert not difference(before, ovs.dump())
    assert ovs.next_cfg() == number


def test_many_ports_are_read_at_once(ovs_dummy: PrivateOvs, invocations: Invocations) -> None:
    ovs_dummy.vsctl("add-br", "br-int")
    rows, wanted = VsctlRows(ovs_dummy.remote), [f"tap{i}" for i in range(120)]
    for names in (wanted[:60], wanted[60:]):
        rows.commit([CreatePort(replace(PORT, name=name)) for name in names], Deadline(AMPLE))
    invocations.since()
    found = rows.observe(["br-int"], dict.fromkeys([*wanted, "tap-no"], ""), Deadline(AMPLE))
    assert list(found.ports) == wanted
    assert {port.bridge for port in found.ports.values()} == {"br-int"}
    assert invocations.since() == (0, 1)


def test_threads_and_other_programs_do_not_lose_each_others_ports(
    ovs_dummy: PrivateOvs,
) -> None:
    ovs_dummy.vsctl("add-br", "br-int")
    number, numbers = ovs_dummy.next_cfg(), []

    def plug(name: str) -> None:
        rows = VsctlRows(ovs_dummy.remote)
        cfg = rows.commit([CreatePort(replace(PORT, name=name))], Deadline(AMPLE))
        assert cfg is not None
        assert rows.wait_for_vswitchd(cfg, Deadline(AMPLE))
        numbers.append(cfg)

    threads = [threading.Thread(target=plug, args=[f"tap{i}"]) for i in range(12)]
    for thread in threads:
        thread.start()
    for i in range(12):
        ovs_dummy.vsctl("add-port", "br-int", f"other{i}")
    for thread in threads:
        thread.join()
    assert len(ovs_dummy.dump()["Bridge"]["br-int"]["ports"]) == 25
    assert ovs_dummy.next_cfg() == number + 24
    assert len(set(numbers)) == 12


# The program, and the option --------------------------------------------------------------------


def test_a_missing_program_is_named(
    osvif: OsVif, monkeypatch: pytest.MonkeyPatch, br_int: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    osvif.plug(HYBRID.vif())
    monkeypatch.setattr(programs, "FOLDERS", ())
    reason = fails(lambda: osvif.unplug(HYBRID.vif()), errors.NotConnected)
    assert "the program ovsdb-client" in str(reason)
    assert "/nowhere" in str(reason)


def test_a_program_that_cannot_be_started_is_an_error_of_ours(
    ovs: PrivateOvs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "ovsdb-client"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.NotConnected, match=str(broken)):
        VsctlRows(ovs.remote).observe([], {"a": ""}, Deadline(AMPLE))


#: Sends what inserts something, and is killed then.
KILLED = """#!/bin/sh
case "$*" in
    *insert*) /usr/bin/ovsdb-client "$@" > /dev/null; kill -9 $$;;
esac
exec /usr/bin/ovsdb-client "$@"
"""


def test_a_program_that_is_killed_may_have_sent_what_it_was_given(
    ovs: PrivateOvs,
    osvif: OsVif,
    br_int: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The verb looks again, rolls back what there is of it, and tries again until its deadline."""
    before = snapshot(ovs)
    killed = tmp_path / "ovsdb-client"
    killed.write_text(KILLED)
    killed.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=":")
        osvif.configure(ovs_vsctl_timeout=1)
        fails(lambda: osvif.plug(HYBRID.vif()), errors.OutcomeUnknown)
    osvif.configure(ovs_vsctl_timeout=TIMEOUT)
    assert not difference(before, settled(ovs))
    osvif.plug(HYBRID.vif())


def test_the_driver_is_chosen_by_the_option_and_warned_of_once(
    osvif: OsVif, caplog: pytest.LogCaptureFixture
) -> None:
    drivers._warn_of_vsctl.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert isinstance(drivers.rows(cfg.CONF[GROUP]), VsctlRows)
    assert [record.name for record in caplog.records] == [drivers.__name__]
    osvif.configure(ovsdb_interface="native")
    assert isinstance(drivers.rows(cfg.CONF[GROUP]), NativeRows)
