# SPDX-License-Identifier: Apache-2.0
"""Links as the kernel shows them, and steps as it takes them."""

import errno
import json
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from os_vif import exception
from os_vif.kernel import execute, observe, packing, rtnetlink, sysctl, sysfs, tap
from os_vif.kernel.daemon import KernelLinks
from os_vif.wiring.deadline import Deadline
from os_vif.wiring.elements import Tap
from os_vif.wiring.engine import Engine
from os_vif.wiring.errors import LinkFailed, StateChanged, final
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.state import SYSCTLS, Link, Value
from os_vif.wiring.steps import CreateLink, DeleteLink, JoinBridge, LinkStep, SetLink
from tests.fakes import NO_HOST_STACK
from tests.rig import run
from tests.rig.namespace import NetworkNamespace
from tests.rig.snapshot import difference, links, snapshot, sysctls
from vif_plug_linux_bridge import privileged as linux_bridge

ALIAS = "os-vif:ovs:test:1"
#: Seconds by which the times of files lag behind the clock, at most.
CLOCK_TICK = 0.01

pytestmark = pytest.mark.usefixtures("netns")


def in_process(groups: list[Any], go_on: bool, until: float) -> list[execute.Outcome]:
    """Stand in for a plugin's privileged call."""
    return execute.execute(groups, go_on)


def take(*wanted: LinkStep) -> None:
    (failure,) = KernelLinks(in_process).execute([wanted], Deadline.never())
    if failure is not None:
        raise final(failure)


def see(name: str) -> Link:
    return observe.links([name])[name]


def set_link(name: str, *arguments: str) -> None:
    run(["ip", "link", "set", name, *arguments])


def as_ip_says(name: str) -> Link:
    """What ``ip -details`` says of a link, in our terms."""
    (link,) = json.loads(run(["ip", "-details", "-json", "link", "show", name]).stdout)
    info = link.get("linkinfo", {})
    kind, data = info.get("info_kind", ""), info.get("info_data", {})
    attributes: dict[str, Value] = {
        "mac": link["address"],
        "mtu": link["mtu"],
        "up": "UP" in link["flags"],
        "promisc": "PROMISC" in link["flags"],
        "master": link.get("master", ""),
    }
    if kind == "bridge":
        attributes |= {
            "ageing": data["ageing_time"] // 100,
            "forward_delay": data["forward_delay"] // 100,
            "stp": bool(data["stp_state"]),
            "mcast_snooping": bool(data["mcast_snooping"]),
        }
    if kind == "tun":
        attributes["multiqueue"] = bool(data["multi_queue"])
    attributes |= sysctls(name, NO_HOST_STACK if kind == "bridge" else ["disable_ipv6"])
    return Link(name, kind, link.get("ifalias", ""), attributes, link["ifindex"])


# Observing --------------------------------------------------------------------------------------

LINKS = {
    "bridge": ["add", "x", "type", "bridge"],
    "bridge-with-options": [
        *["add", "x", "mtu", "1280", "address", "02:00:00:00:00:01", "type", "bridge"],
        *["ageing_time", "4200", "forward_delay", "300", "stp_state", "1", "mcast_snooping", "0"],
    ],
    "veth": ["add", "x", "type", "veth", "peer", "name", "y"],
    "veth-in-a-bridge": ["add", "x", "master", "br0", "type", "veth", "peer", "name", "y"],
}
TAPS = {"tap": [], "multiqueue-tap": ["multi_queue"]}


@pytest.mark.parametrize("state", ["down", "up"])
@pytest.mark.parametrize("kind", [*LINKS, *TAPS])
def test_observe_agrees_with_ip(kind: str, state: str) -> None:
    run(["ip", "link", "add", "br0", "type", "bridge"])
    if kind in TAPS:
        run(["ip", "tuntap", "add", "x", "mode", "tap", *TAPS[kind]])
    else:
        run(["ip", "link", *LINKS[kind]])
    set_link("x", state)
    assert see("x") == as_ip_says("x")
    set_link("x", "promisc", "on", "alias", "mine: Größe 1")
    assert see("x") == as_ip_says("x")
    assert see("x").alias == "mine: Größe 1"


def test_observe_agrees_with_ip_on_hardware() -> None:
    assert see("lo") == as_ip_says("lo")
    assert see("lo").kind == ""


def test_missing_and_impossible_names_are_left_out() -> None:
    names = ["missing", "", "sixteen-is-too-m", "a/b", "tap%d", "..", "\N{SNOWMAN}"]
    assert set(observe.links(["lo", *names])) == {"lo"}
    assert observe.links([]) == {}
    names.append("\udc80")
    assert [observe.own_name(name) for name in names] == names


def test_links_are_read_with_all_that_are_in_the_same_bridges() -> None:
    for name in ("x", "y", "empty"):
        run(["ip", "link", "add", name, "type", "bridge"])
    for name, bridge in {"a1": "x", "b1": "x", "c1": "y", "d1": ""}.items():
        run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
        if bridge:
            run(["ip", "link", "set", name, "master", bridge])
    for names, seen in (
        (["a1"], {"a1", "b1", "x"}),
        (["x", "missing"], {"a1", "b1", "x"}),
        (["b1", "c1", "d1"], {"a1", "b1", "x", "c1", "y", "d1"}),
        (["empty"], {"empty"}),
        ([], set()),
    ):
        found = observe.links_and_neighbours(names)
        assert found == observe.links(seen)
        assert found.keys() == seen


def test_packets_that_a_link_has_received_are_counted() -> None:
    run(["ip", "link", "add", "x", "type", "veth", "peer", "name", "y"])
    for name in ("x", "y"):
        run(["ip", "link", "set", name, "up"])
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("y", 0))
        before = observe.received(["x", "missing", "longer than names are"])
        assert before.keys() == {"x"}
        wire.send(bytes(64))
        assert observe.received(["x"])["x"] > before["x"]


def test_a_device_is_at_least_as_old_as_somebody_has_seen_it() -> None:
    """Another of its name is not, and of one in another namespace nothing is known."""
    run(["ip", "link", "add", "x", "type", "bridge"])
    made, index = time.time(), see("x").index
    time.sleep(0.1)
    first = sysfs.known_since("x", index)
    assert first is not None
    assert made - CLOCK_TICK <= first <= time.time()
    run(["ip", "link", "set", "x", "mtu", "1400", "up"])
    assert sysfs.known_since("x", index) == first
    run(["ip", "link", "delete", "x"])
    assert sysfs.known_since("x", index) is None
    run(["ip", "link", "add", "x", "type", "bridge"])
    assert (sysfs.known_since("x", see("x").index) or 0) > first
    assert sysfs.known_since("x", index) is None


def test_a_link_that_is_asked_for_by_an_alternative_name() -> None:
    run(["ip", "link", "add", "x", "type", "bridge"])
    run(["ip", "link", "property", "add", "dev", "x", "altname", "other"])
    assert observe.links(["other"]) == {"other": replace(see("x"), name="other")}
    assert [observe.own_name(name) for name in ("x", "other")] == ["x", "x"]
    take(SetLink("other", {**NO_HOST_STACK, "mtu": 1400}))
    assert see("x").attributes.items() >= {**NO_HOST_STACK, "mtu": 1400}.items()


def test_a_link_is_stacked_on_those_of_its_own_namespace_only() -> None:
    """In another one its parent's index may be somebody else's."""
    run(["ip", "link", "add", "below", "index", "77", "type", "bridge"])
    run(["ip", "link", "add", "x", "link", "below", "type", "macvtap"])
    assert observe.links(["x"])["x"].attributes["parent"] == "below"
    with NetworkNamespace() as elsewhere:
        fd = elsewhere.fd
        elsewhere.run(["ip", "link", "add", "other", "index", "77", "type", "bridge"])
        run(["ip", "link", "set", "x", "netns", f"/proc/self/fd/{fd}"], pass_fds=(fd,))
        with elsewhere.enter():
            assert observe.links(["x"])["x"].attributes["parent"] == ""


def test_a_veth_whose_peer_is_in_another_namespace() -> None:
    run(["ip", "link", "add", "x", "type", "veth", "peer", "name", "y"])
    with NetworkNamespace() as elsewhere:
        fd = elsewhere.fd
        run(["ip", "link", "set", "y", "netns", f"/proc/self/fd/{fd}"], pass_fds=(fd,))
        assert set(observe.links(["x", "y"])) == {"x"}
        assert see("x") == as_ip_says("x")
        with elsewhere.enter():
            assert set(observe.links(["x", "y"])) == {"y"}
            assert see("y") == as_ip_says("y")


# Creating ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        CreateLink("x", "bridge", ALIAS),
        CreateLink("x", "veth", ALIAS, peer="y"),
        CreateLink("y", "veth", ALIAS, peer="x"),
        CreateLink("x", "tun", ALIAS),
    ],
    ids=["bridge", "veth", "peer", "tap"],
)
@pytest.mark.parametrize("there", ["bridge", "tap"])
def test_a_taken_name_is_refused_and_the_device_of_that_name_is_left(
    step: CreateLink, there: str
) -> None:
    if there == "tap":
        run(["ip", "tuntap", "add", "x", "mode", "tap"])
    else:
        run(["ip", "link", "add", "x", "type", "bridge"])
    before = snapshot()
    with pytest.raises(StateChanged, match=rf"create {step.kind} .*\bx\b.*: File exists") as seen:
        take(step)
    assert seen.value.executed == 0
    assert not difference(before, snapshot())


# Setting ----------------------------------------------------------------------------------------

OF_ALL: dict[str, Value] = {
    "mac": "02:00:00:00:00:05",
    "mtu": 1300,
    "up": True,
    "promisc": True,
    **NO_HOST_STACK,
}
OF_BRIDGES: dict[str, Value] = {
    "ageing": 42,
    "forward_delay": 0,
    "stp": False,
    "mcast_snooping": False,
}


@pytest.mark.parametrize("kind", ["tap", "bridge", "veth"])
def test_set_attributes_one_by_one_and_all_at_once(kind: str) -> None:
    made = {"tap": CreateLink("x", "tun", ALIAS), "bridge": CreateLink("x", "bridge", ALIAS)}
    take(made.get(kind, CreateLink("x", "veth", ALIAS, peer="y")))
    wanted = {**OF_ALL, **(OF_BRIDGES if kind == "bridge" else {})}
    before = all_attributes("x")
    for key, value in wanted.items():
        take(SetLink("x", {key: value}))
        assert all_attributes("x")[key] == value
    assert all_attributes("x") == {**before, **wanted}
    take(DeleteLink("x", {"tap": "tun"}.get(kind, kind)))
    take(made.get(kind, CreateLink("x", "veth", ALIAS, peer="y")), SetLink("x", wanted))
    assert all_attributes("x") == {**all_attributes("x"), **wanted}


def all_attributes(name: str) -> dict[str, Value]:
    return {**see(name).attributes, **sysctl.read(name, SYSCTLS)}


@pytest.mark.parametrize("delay", [2, 4, 15, 30])
def test_spanning_tree_is_switched_on_with_its_delay_when_a_verb_is_rolled_back(
    delay: int,
) -> None:
    """It holds a loop open at once, and never with another delay than it had in the end."""
    run(["ip", "link", "add", "x", "type", "bridge", "stp_state", "1"])
    run(["ip", "link", "set", "x", "type", "bridge", "forward_delay", str(delay * 100)])
    before = see("x")
    take(SetLink("x", {"stp": False, "forward_delay": 0, "up": True}))
    back = {key: before.attributes[key] for key in ("up", "forward_delay", "stp")}
    take(SetLink("x", back))
    assert see("x") == before == as_ip_says("x")


def test_flags_of_others_are_kept() -> None:
    take(CreateLink("x", "bridge", ALIAS))
    set_link("x", "allmulticast", "on", "promisc", "on")
    for wanted, flags in (
        ({"up": True}, {"UP", "PROMISC", "ALLMULTI"}),
        ({"up": False}, {"PROMISC", "ALLMULTI"}),
        ({"promisc": False}, {"ALLMULTI"}),
    ):
        take(SetLink("x", wanted))
        (link,) = json.loads(run(["ip", "-json", "link", "show", "x"]).stdout)
        assert {"UP", "PROMISC", "ALLMULTI"}.intersection(link["flags"]) == flags


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (SetLink("missing", {"up": True}), "set up=True of missing: no device missing"),
        (SetLink("missing", {"disable_ipv6": 1}), "of missing: no device missing"),
        (SetLink("lo", {"master": "missing"}), "set master=missing of lo: no device missing"),
        (SetLink("lo", {"ageing": 1}), "set ageing=1 of lo"),
        (DeleteLink("lo", "veth"), "delete veth lo: it is a hardware device"),
    ],
    ids=["missing", "sysctl-of-missing", "missing-master", "not-a-bridge", "not-a-veth"],
)
def test_a_refused_step_says_what_and_why(step: LinkStep, said: str) -> None:
    before = snapshot()
    with pytest.raises(LinkFailed) as failure:
        take(step)
    assert said in str(failure.value)
    assert not difference(before, snapshot())


SECOND_FAILS = (
    CreateLink("x", "bridge", ALIAS),
    SetLink("missing", {"up": True}),
    CreateLink("lo", "bridge", ALIAS),
    CreateLink("y", "bridge", ALIAS),
)


def test_the_others_are_taken_if_so_asked_and_the_first_failure_is_reported() -> None:
    packed = [packing.pack(step) for step in SECOND_FAILS]
    ((taken, reason, code),) = execute.execute([packed], True)
    assert (taken, code) == (2, errno.ENODEV)
    assert reason == "set up=True of missing: no device missing"
    assert set(links()) == {"lo", "x", "y"}


def test_what_succeeds_has_no_reason() -> None:
    packed = [packing.pack(CreateLink("x", "bridge", ALIAS))]
    assert execute.execute([packed]) == [(1, "", 0)]
    assert execute.execute([packed]) == [(0, "create bridge x: File exists", errno.EEXIST)]
    assert execute.execute([[], []]) == [(0, "", 0), (0, "", 0)]
    assert execute.execute([]) == []


def test_a_failure_ends_its_own_group_only() -> None:
    groups = [SECOND_FAILS, (CreateLink("z", "bridge", ALIAS),), (SetLink("gone", {"up": True}),)]
    outcomes = KernelLinks(in_process).execute(groups, Deadline.never())
    first, second, third = map(final, outcomes)
    assert isinstance(first, LinkFailed)
    assert first.executed == 1
    assert second is None
    assert "gone" in str(third)
    assert set(links()) == {"lo", "x", "z"}


def test_nothing_is_done_before_all_steps_are_checked() -> None:
    good, forged = packing.pack(CreateLink("x", "bridge", ALIAS)), ("DeleteLink", {"name": "a/b"})
    for groups in ([[good, forged]], [[good], [forged]]):
        with pytest.raises(exception.InvalidValue):
            execute.execute(groups)
        assert set(links()) == {"lo"}


def test_no_device_is_made_under_another_name_than_asked_for() -> None:
    """The kernel takes ``%d`` in a name for a template."""
    before = snapshot()
    with pytest.raises((exception.InvalidValue, LinkFailed)):
        take(CreateLink("tap%d", "tun", ALIAS))
    assert not difference(before, snapshot())


# Deleting ---------------------------------------------------------------------------------------


@pytest.fixture
def one_of_each() -> dict[str, str]:
    run(["ip", "link", "add", "br0", "type", "bridge"])
    run(["ip", "link", "add", "x", "type", "veth", "peer", "name", "y"])
    run(["ip", "tuntap", "add", "tap1", "mode", "tap"])
    return {"br0": "bridge", "x": "veth", "tap1": "tun", "lo": "hardware"}


@pytest.mark.parametrize("kind", packing.KINDS)
def test_delete_takes_links_of_the_kind_it_was_given_only(
    kind: str, one_of_each: dict[str, str]
) -> None:
    for name, real in one_of_each.items():
        before = snapshot()
        if real == kind:
            take(DeleteLink(name, kind))
            assert name not in links()
        else:
            with pytest.raises(LinkFailed, match=f"delete {kind} {name}: it is a {real} device"):
                take(DeleteLink(name, kind))
            assert not difference(before, snapshot())


@pytest.mark.parametrize(
    ("alias", "stays"),
    [
        ("", True),
        ("mine", True),
        ("os-vif:ovs:hybrid:1", True),
        ("os-vif:linux_bridge:bridge:x", False),
    ],
    ids=["unmarked", "somebody's", "another-plugins", "marked"],
)
def test_a_bridge_that_stays_is_deleted_only_with_the_plugins_mark(
    alias: str, stays: bool
) -> None:
    run(["ip", "link", "add", "x", "type", "bridge"])
    set_link("x", "alias", alias)
    for if_empty in (True, False):
        step = packing.pack(DeleteLink("x", "bridge", if_empty=if_empty))
        allowed = linux_bridge.ALLOWED
        ((taken, reason, code),) = execute.execute([[step]], allowed=allowed)
        assert (taken, code) == ((0, errno.EPERM) if stays else (1, 0))
        assert ("does not bear the mark os-vif:linux_bridge:" in reason) is stays
    assert ("x" in links()) is stays


def test_a_bridge_is_deleted_if_it_is_empty() -> None:
    take(CreateLink("br0", "bridge", ALIAS), CreateLink("x", "veth", ALIAS, peer="y"))
    take(SetLink("x", {"master": "br0"}))
    take(DeleteLink("br0", "bridge", if_empty=True))
    assert "br0" in links()
    take(SetLink("x", {"master": ""}), DeleteLink("br0", "bridge", if_empty=True))
    assert set(links()) == {"lo", "x", "y"}


def test_whether_a_bridge_is_empty_does_not_cost_more_on_a_host_of_many_links(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel itself picks its ports."""
    run(["ip", "link", "add", "br0", "type", "bridge"])
    run(["ip", "link", "add", "br1", "type", "bridge"])
    for number in range(500):
        with tap.created(f"many{number}", multiqueue=False):
            pass
    set_link("many7", "master", "br0")
    set_link("many8", "master", "br1")
    bridge, port, answers = see("br0").index, see("many7").index, []
    real = rtnetlink.Socket._receive

    def receive(kernel: rtnetlink.Socket, *flags: int) -> bytes:
        answers.append(real(kernel, *flags))
        return answers[-1]

    monkeypatch.setattr(rtnetlink.Socket, "_receive", receive)
    assert observe.ports(bridge) == {port}
    assert 0 < sum(map(len, answers)) < 10_000
    take(DeleteLink("br0", "bridge", if_empty=True))
    assert "br0" in links()


# Moving -----------------------------------------------------------------------------------------


def test_a_change_whose_answer_was_lost_is_rolled_back(one_of_each: dict[str, str]) -> None:
    """By whichever change of a move it happens: it was made."""
    set_link("x", "up")
    set_link("br0", "up")
    run(["ip", "address", "add", "192.0.2.1/24", "dev", "x"])
    run(["ip", "address", "add", "192.0.2.2/24", "dev", "x"])
    run(["ip", "route", "add", "default", "via", "192.0.2.9"])
    before = snapshot()
    lost = 0
    while answer_is_lost(lost, lambda: take(JoinBridge("x", "br0", None))):
        lost += 1
        assert not difference(before, snapshot())
    assert lost >= 2
    assert see("x").attributes["master"] == "br0"


def test_many_changes_in_one_call_are_made_and_answered_one_by_one() -> None:
    """Those after one that is refused as well; there is room for all of the answers."""
    take(CreateLink("x", "bridge", ALIAS))
    index, refused = socket.if_nametoindex("x"), {7: errno.ENODEV, 4999: errno.ENODEV}

    def change(number: int) -> tuple[int, int, bytes]:
        header = rtnetlink.link_header(1 << 30 if number in refused else index)
        mtu = rtnetlink.attribute(rtnetlink.MTU, rtnetlink.pack_u32(1000 + number % 400))
        return rtnetlink.NEW_LINK, 0, header + mtu

    with rtnetlink.Socket() as kernel:
        answers = kernel.change_all([change(number) for number in range(5000)])
        assert {n: why.errno for n, why in enumerate(answers) if why is not None} == refused
        assert see("x").attributes["mtu"] == 1000 + 4998 % 400
        assert kernel.change_all([]) == []


def answer_is_lost(number: int, work: Callable[[], object]) -> bool:
    """Let the kernel's answer to the n-th request for changes get lost; False if there is none."""
    counted: list[int] = []
    real = rtnetlink.Socket._receive

    def receive(kernel: rtnetlink.Socket, *flags: int) -> bytes:
        answer = real(kernel, *flags)
        if int.from_bytes(answer[4:6], sys.byteorder) == 2:  # NLMSG_ERROR: an acknowledgement
            counted.append(number)
            if len(counted) == number + 1:
                raise rtnetlink.AnswerLost(errno.ENOBUFS, "No buffer space available")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtnetlink.Socket, "_receive", receive)
        try:
            work()
        except LinkFailed:
            return True
    return False


def test_a_link_that_was_set_without_an_answer_counts_as_set() -> None:
    """So that a verb that fails sets it back."""
    take(CreateLink("x", "bridge", ALIAS))
    failures: list[LinkFailed] = []

    def work() -> None:
        try:
            take(SetLink("x", {"promisc": True}), SetLink("x", {"mtu": 1400}))
        except LinkFailed as failure:
            failures.append(failure)
            raise

    assert answer_is_lost(1, work)
    assert failures[0].executed == 2
    assert see("x").attributes["mtu"] == 1400


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ({"mtu": 65535}, 0),
        ({"promisc": True, "mtu": 65535}, 1),
        ({"up": True, "master": "missing"}, 0),
    ],
    ids=["one-attribute", "refused-half-way", "no-such-master"],
)
def test_a_link_that_was_set_half_way_counts_as_set(
    wanted: dict[str, Value], taken: int, one_of_each: dict[str, str]
) -> None:
    """The kernel takes what comes before an attribute that it refuses."""
    ((found, _, _),) = execute.execute([[packing.pack(SetLink("tap1", wanted))]])
    assert found == taken


def test_a_plug_that_is_refused_half_way_leaves_the_link_as_it_was() -> None:
    engine, mark = Engine(KernelLinks(in_process)), Mark("ovs", "test", "1")
    engine.apply(Wiring((Tap("tap1", "02:00:00:00:00:01", 1400, mark),)), Deadline.never())
    before = snapshot()
    refused = Tap("tap1", "02:00:00:00:00:02", 65535, mark)  # of a tap the MTU is less
    with pytest.raises(LinkFailed, match="mtu"):
        engine.apply(Wiring((refused,)), Deadline.never())
    assert not difference(before, snapshot())


def test_a_veth_goes_with_its_peer_and_deleting_what_is_gone_is_nothing(
    one_of_each: dict[str, str],
) -> None:
    take(DeleteLink("x", "veth"), DeleteLink("y", "veth"))
    assert set(links()) == {"lo", "br0", "tap1"}


# Sysctls ----------------------------------------------------------------------------------------


def test_sysctls_are_read_and_written(one_of_each: dict[str, str]) -> None:
    for attribute, family in SYSCTLS.items():
        file = Path(f"/proc/sys/net/{family}/conf/br0/{attribute}")
        for value in (1, 0):
            sysctl.write("br0", attribute, value)
            assert file.read_text() == f"{value}\n"
            assert sysctl.read("br0", [attribute]) == {attribute: value}


def test_the_sysctls_of_a_missing_link_are_none() -> None:
    assert sysctl.read("missing", SYSCTLS) == {}
    with pytest.raises(FileNotFoundError):
        sysctl.write("missing", "disable_ipv6", 1)


def test_a_kernel_without_ipv6_is_no_error(
    monkeypatch: pytest.MonkeyPatch, one_of_each: dict[str, str]
) -> None:
    monkeypatch.setitem(SYSCTLS, "disable_ipv6", "ipv7")
    take(SetLink("br0", {"disable_ipv6": 1, "up": True}))
    assert "disable_ipv6" not in see("br0").attributes
    assert see("br0").attributes["up"] is True


# Threads ----------------------------------------------------------------------------------------


def test_threads_take_steps_at_once() -> None:
    def work(number: int) -> None:
        for _ in range(5):
            name = f"br{number}"
            take(CreateLink(name, "bridge", ALIAS), SetLink(name, {"up": True}))
            assert see(name).attributes["up"] is True
            take(DeleteLink(name, "bridge"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert set(links()) == {"lo"}


def test_a_call_leaves_no_descriptor_behind() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    take(CreateLink("x", "bridge", ALIAS))
    see("x")
    before = descriptors()
    for _ in range(10):
        take(SetLink("x", {"up": True}))
        see("x")
        with pytest.raises(LinkFailed):
            take(SetLink("missing", {"up": True}))
    assert descriptors() == before


def test_links_are_made_set_and_deleted_without_pyroute2() -> None:
    """To import it takes longer than all else that a daemon does for its first VIF, and where the
    kernel loses an answer it waits for ever."""
    program = f"""
import sys
from os_vif.kernel import execute, packing
from os_vif.wiring.steps import CreateLink, DeleteLink, SetLink
steps = [CreateLink("tap1", "tun", {ALIAS!r}), SetLink("tap1", {{"mtu": 1400, "up": True}})]
steps += [CreateLink("br1", "bridge", {ALIAS!r}), DeleteLink("br1", "bridge")]
assert execute.execute([[packing.pack(step) for step in steps]]) == [(4, "", 0)]
assert "pyroute2" not in sys.modules
"""
    run([sys.executable, "-W", "ignore", "-c", program])
    assert see("tap1").attributes["mtu"] == 1400
