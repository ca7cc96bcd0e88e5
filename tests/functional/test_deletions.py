# SPDX-License-Identifier: Apache-2.0
"""Many links deleted at the price of one, and no link that is not to be deleted."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from os_vif.kernel import deletions, execute, observe, packing, rtnetlink
from os_vif.wiring.elements import Tap
from os_vif.wiring.model import Wiring
from os_vif.wiring.ownership import Mark
from os_vif.wiring.plan import to_apply
from os_vif.wiring.state import Found
from os_vif.wiring.steps import DeleteLink, LinkStep
from tests.rig import run
from tests.rig.snapshot import difference, links

ALIAS = "os-vif:ovs:test:1"
#: The arguments of a request.
How = dict[str, object]

pytestmark = pytest.mark.usefixtures("netns")


def make(name: str, kind: str = "tun", alias: str = ALIAS, group: int = 0) -> None:
    if kind == "tun":
        run(["ip", "tuntap", "add", name, "mode", "tap"])
    else:
        peer = ["peer", "name", f"p-{name}"] if kind == "veth" else []
        run(["ip", "link", "add", name, "type", kind, *peer])
    run(["ip", "link", "set", "dev", name, "group", str(group)])
    if alias:
        run(["ip", "link", "set", "dev", name, "alias", alias])


def delete(*wanted: tuple[str, str]) -> list[execute.Outcome]:
    """Delete links, (name, kind) each, as the privileged daemon does."""
    return execute.execute([[packing.pack(DeleteLink(*one))] for one in wanted])


class Wire:
    """What is asked of the kernel, request by request; something may be done before one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, How]] = []
        self.before: Callable[[str, How], object] = lambda *_: None
        wire = self

        really_delete = execute._Call.delete

        def delete(netlink: Any, index: int = 0, group: int = 0) -> None:
            how: How = {"group": group} if group else {"index": index}
            wire.before("del", how)
            wire.asked.append(("del", how))
            really_delete(netlink, **how)

        plain = execute._Call.set

        def set_(netlink: Any, index: int, attributes: bytes, *flags: int) -> None:
            how: How = {"index": index}
            if group := dict(rtnetlink.attributes(attributes)).get(rtnetlink.GROUP):
                how["group"] = rtnetlink.u32(group)
            wire.before("set", how)
            wire.asked.append(("set", how))
            plain(netlink, index, attributes, *flags)

        monkeypatch.setattr(execute._Call, "delete", delete)
        monkeypatch.setattr(execute._Call, "set", set_)

    @property
    def by_group(self) -> list[How]:
        return [how for command, how in self.asked if command == "del" and "group" in how]

    @property
    def one_by_one(self) -> list[How]:
        return [how for command, how in self.asked if command == "del" and "group" not in how]

    def once(self, when: Callable[[str, How], bool], act: Callable[[How], object]) -> None:
        """Do something before the next request of some kind."""

        def check(command: str, how: How) -> None:
            if when(command, how):
                self.before = lambda *_: None
                act(how)

        self.before = check


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    return Wire(monkeypatch)


def enters_a_group(command: str, how: How) -> bool:
    return command == "set" and "group" in how


def deletes_by_group(command: str, how: How) -> bool:
    return command == "del" and "group" in how


ALL = [
    ("link-a", "tun"),
    ("link-b", "bridge"),
    ("link-c", "veth"),
    ("link-d", "tun"),
    ("link-e", "bridge"),
]


@pytest.fixture
def ours() -> list[tuple[str, str]]:
    """Links that bear our mark, of each kind that we make."""
    for name, kind in ALL:
        make(name, kind)
    return ALL


def test_links_that_are_ours_are_deleted_by_one_request_and_no_others(
    ours: list[tuple[str, str]], wire: Wire
) -> None:
    """What is not there is no hindrance."""
    make("link-x")
    make("link-y", group=7)
    before = links()
    assert delete(("gone1", "tun"), *ours, ("gone2", "veth")) == [(1, "", 0)] * (len(ours) + 2)
    now = links()
    assert set(now) == {"lo", "link-x", "link-y"}
    assert not difference({name: before[name] for name in now}, now)
    assert len(wire.by_group) == 1
    assert wire.one_by_one == []


def test_deletions_of_one_group_of_steps_are_taken_together(
    ours: list[tuple[str, str]], wire: Wire
) -> None:
    together: list[LinkStep] = [DeleteLink(*one) for one in ours]
    assert execute.execute([[packing.pack(step) for step in together]]) == [(len(ours), "", 0)]
    assert set(links()) == {"lo"}
    assert len(wire.by_group) == 1


@pytest.mark.parametrize(("intruded", "alone"), [(0, 3), (1, 2)])
def test_few_bridges_go_into_one_request(intruded: int, alone: int, wire: Wire) -> None:
    """Each takes its own time, in which nobody else changes a link. Where one group is not ours
    alone, the others go all the same."""
    at_once = deletions.BRIDGES_AT_ONCE
    ours = [*ALL, *((f"bridge{n}", "bridge") for n in range(2 * at_once))]
    for name, kind in ours:
        make(name, kind)
    make("link-x")
    groups = list[object]()

    def intrude(command: str, how: How) -> None:
        if enters_a_group(command, how) and how["group"] not in groups:
            groups.append(how["group"])
            if intruded and len(groups) == 2:
                run(["ip", "link", "set", "dev", "link-x", "group", str(how["group"])])

    wire.before = intrude
    assert delete(*ours) == [(1, "", 0)] * len(ours)
    assert set(links()) == {"lo", "link-x"}
    assert len(wire.by_group) == alone
    assert len(wire.one_by_one) == intruded * at_once


@pytest.mark.parametrize(
    ("kinds", "at_most"),
    [
        (["tun"], -1),
        (["tun"] * 2, -1),
        (["bridge", "veth"], 500),
        (["tun"] * 4, 1_000),
        (["tun"] * 6, 3_000),
        (["tun"] * 50, 37_000),
    ],
    ids=lambda value: len(value) if isinstance(value, list) else value,
)
def test_on_a_host_of_many_links_more_must_be_deleted_to_be_worth_the_look(
    kinds: list[str], at_most: int
) -> None:
    """Measured: with 2,000 links four taps take 85 ms together and 90 one by one, eight 90 and
    175; with 4,000 eight take 165 and 180."""
    assert deletions.is_worthwhile(kinds, at_most) is (at_most >= 0)
    assert not deletions.is_worthwhile(kinds, at_most + 2_000)


def test_the_choice_depends_on_the_links_that_the_host_has(
    ours: list[tuple[str, str]], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host, that is the network namespace."""
    asked: list[tuple[str, int]] = []

    def is_worthwhile(kinds: Iterable[str], links: int) -> bool:
        asked.append((" ".join(sorted(kinds)), links))
        return False

    monkeypatch.setattr(deletions, "is_worthwhile", is_worthwhile)
    count = len(links())
    delete(*ours)
    assert asked == [("bridge bridge tun tun veth", count)]
    assert (wire.by_group, len(wire.one_by_one)) == ([], len(ours))


@pytest.mark.parametrize(
    "alias",
    ["", "os-vif-like: mine", f"my {ALIAS}"],
    ids=["unmarked", "somebody-elses-mark", "the-mark-is-not-at-the-start"],
)
def test_a_link_without_our_mark_is_deleted_alone(
    alias: str, ours: list[tuple[str, str]], wire: Wire
) -> None:
    make("link-x", "tun", alias, group=7)
    index = observe.links(["link-x"])["link-x"].index
    assert delete(*ours, ("link-x", "tun")) == [(1, "", 0)] * (len(ours) + 1)
    assert set(links()) == {"lo"}
    assert len(wire.by_group) == 1
    assert [how["index"] for how in wire.one_by_one] == [index]
    assert not [how for command, how in wire.asked if command == "set" and how["index"] == index]


def test_a_link_of_another_kind_than_was_asked_for_stays(
    ours: list[tuple[str, str]], wire: Wire
) -> None:
    """The name has come to be that of something else, whatever its alias says."""
    make("link-x", "bridge", ALIAS, group=7)
    before = links()["link-x"]
    *good, (taken, reason, _) = delete(*ours, ("link-x", "tun"))
    assert good == [(1, "", 0)] * len(ours)
    assert (taken, "it is a bridge device" in reason) == (0, True)
    assert links()["link-x"] == before
    assert set(links()) == {"lo", "link-x"}
    assert len(wire.by_group) == 1


def test_both_ends_of_a_veth_may_be_asked_for(wire: Wire) -> None:
    for name in ("link-a", "link-b", "link-c", "link-d"):
        make(name, "veth")
        run(["ip", "link", "set", "dev", f"p-{name}", "alias", ALIAS])
    wanted = [
        (name, "veth")
        for name in ("link-a", "p-link-a", "link-b", "p-link-b", "link-c", "link-d", "p-link-d")
    ]
    outcomes = delete(*wanted)
    assert [reason for _, reason, _ in outcomes] == [""] * len(outcomes)
    assert set(links()) == {"lo"}


@pytest.mark.parametrize("alias", ["", ALIAS])
def test_a_link_that_somebody_put_into_the_group_is_not_deleted_with_it(
    alias: str, ours: list[tuple[str, str]], wire: Wire
) -> None:
    """At the last moment before the members are read back."""
    make("link-x", alias=alias)

    def intrude(how: How) -> None:
        run(["ip", "link", "set", "dev", "link-x", "group", str(how["group"])])

    wire.once(enters_a_group, intrude)
    assert delete(*ours) == [(1, "", 0)] * len(ours)
    assert links()["link-x"]["group"] != "default"
    assert wire.by_group == []
    assert set(links()) == {"lo", "link-x"}
    assert len(wire.one_by_one) == len(ours)


def test_a_group_that_is_in_use_is_left_alone(
    ours: list[tuple[str, str]], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("link-x", group=1 << 30)
    before = links()["link-x"]

    class Always:
        def randrange(self, *_: int) -> int:
            return 1 << 30

    monkeypatch.setattr(deletions.random, "SystemRandom", Always)
    assert delete(*ours) == [(1, "", 0)] * len(ours)
    assert set(links()) == {"lo", "link-x"}
    assert wire.by_group == []
    assert links()["link-x"] == before


def test_groups_are_random_and_far_from_those_that_people_number(
    wire: Wire,
) -> None:
    for _ in range(3):
        for name, kind in ALL:
            make(name, kind)
        delete(*ALL)
    used = [how["group"] for how in wire.by_group]
    assert len(set(used)) == 3
    assert all(1 << 30 <= group < 1 << 31 for group in used)  # type: ignore[operator]


class Stop(BaseException):
    """The daemon is told to end."""


def test_survivors_get_their_groups_back(
    ours: list[tuple[str, str]], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the kernel refuses to delete the group, and then some of its members."""
    before = links()
    # What a call that was killed has left in its group does not go back there.
    run(["ip", "link", "set", "dev", "link-c", "group", str((1 << 30) + 7)])
    for name, group in (("link-a", "7"), ("link-b", "8")):
        run(["ip", "link", "set", "dev", name, "group", group])
        before[name]["group"] = group

    def refuse(command: str, how: How) -> None:
        if command == "del":
            raise OSError(16, "busy")

    wire.before = refuse
    outcomes = delete(*ours)
    assert [code for *_, code in outcomes] == [16] * len(ours)
    assert not difference(before, links())


@pytest.mark.parametrize("at", range(len(ALL)))
def test_a_link_that_vanishes_meanwhile_is_no_hindrance(
    at: int, ours: list[tuple[str, str]], wire: Wire
) -> None:
    """Before its turn to enter the group: its index is nobody's then."""
    name, _ = ours[at]
    run(["ip", "link", "set", "dev", "link-a", "group", "7"])
    make("link-x")
    before = links()["link-x"]
    wire.once(enters_a_group, lambda _: run(["ip", "link", "del", name]))
    outcomes = delete(*ours)
    assert [reason for _, reason, _ in outcomes] == [""] * len(ours)
    assert set(links()) == {"lo", "link-x"}
    assert not difference(before, links()["link-x"])


def test_an_interrupted_call_leaves_links_that_the_next_one_deletes(
    ours: list[tuple[str, str]], wire: Wire
) -> None:
    """Killed with links in the group: they are still marked, and found by their names."""

    def stop(_: How) -> None:
        raise Stop

    wire.once(deletes_by_group, stop)
    with pytest.raises(Stop):
        delete(*ours)
    assert delete(*ours) == [(1, "", 0)] * len(ours)
    assert set(links()) == {"lo"}


@pytest.mark.parametrize(
    ("group", "alias", "after"),
    [((1 << 30) + 7, ALIAS, 0), (7, ALIAS, 7), ((1 << 30) + 7, "mine", (1 << 30) + 7)],
    ids=["left-by-a-killed-call", "an-administrators", "somebody-elses-link"],
)
def test_what_a_killed_call_left_in_a_group_is_taken_out_by_the_next_plug(
    group: int, alias: str, after: int
) -> None:
    make("link-a", alias=alias, group=group)
    wiring = Wiring((Tap("link-a", None, None, Mark("ovs", "test", "1")),))
    plan = to_apply(wiring, Found(links=observe.links(["link-a"])))
    execute.execute([[packing.pack(step) for step in plan.links]])
    found = observe.links(["link-a"])
    assert found["link-a"].group == after
    assert not to_apply(wiring, Found(links=found))


def test_a_kernel_that_does_not_say_its_groups_is_asked_link_by_link(
    ours: list[tuple[str, str]], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump of links may be refused or interrupted; the links are deleted all the same."""

    def refuse() -> dict[int, int]:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(observe, "groups", refuse)
    assert delete(*ours) == [(1, "", 0)] * len(ours)
    assert set(links()) == {"lo"}
    assert wire.by_group == []
