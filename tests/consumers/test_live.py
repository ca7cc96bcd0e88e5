# SPDX-License-Identifier: Apache-2.0
"""Those who use the library attach VIFs to a real Open vSwitch, with their own code."""

import json
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.consumers import EVERYTHING
from tests.rig import consumers

HERE = Path(__file__).parent
Seen = dict[str, Any]

VIF = "a0000001-fe"
#: What Nova does: for each port of Neutron the devices that are attached to the switch, and those
#: that wait for libvirt to make them.
NOVA: dict[str, dict[str, tuple[list[str], list[str]]]] = {
    "netdev": {
        "libvirt creates the port": ([], []),
        "delegated creation": ([], [f"tap{VIF}"]),
        "delegated creation with the tap": ([f"tap{VIF}"], []),
        "delegated creation with a multiqueue tap": ([f"tap{VIF}"], []),
        "per-port bridge": (
            [
                "ibpa0000001-feed-4bee-8fad-000000000001",
                "pba0000001-fee",
                "pbpa0000001-feed-4bee-8fad-000000000001",
                f"tap{VIF}",
            ],
            [],
        ),
        "hybrid": ([f"qvo{VIF}"], []),
        "isolated": ([f"tap{VIF}"], []),
        "trunk": (["tbr-0123abcd-4"], [f"tap{VIF}"]),
        "remote-managed": ([], []),
    },
    "dpdk": {
        "vhost-user, the guest is the server": ([f"vhu{VIF}"], []),
        "vhost-user, the guest is the client": ([f"vhu{VIF}"], []),
    },
    "dummy": {"hardware offload": (["pf0vf0"], []), "vDPA": (["pf0vf0"], [])},
}
NOVA_PORTS = [(datapath, name) for datapath, known in NOVA.items() for name in known]


@cache
def seen(program: str, *arguments: str, released: bool = False) -> dict[str, Seen]:
    """What a program saw, with our library or with the released one."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "seen")
        done = consumers.call([f"{HERE / program}.py", *arguments, str(output)], released, 300)
        assert done.returncode == 0, done.stderr
        return json.loads(output.read_text())  # type: ignore[no-any-return]


def assert_clean(what: Seen, left: str = "") -> None:
    """A second plug changed nothing, packets came back, nothing was left."""
    assert what.get("refused") is None
    assert what["plugged again"] == ""
    assert what.get("answers", [5, 5]) == [5, 5]
    assert what["left"] == left


def without_marks(plugged: str) -> str:
    """What plug made, less what only our library writes, and random MAC addresses.

    Of a tap the flag ``pi`` is left out, too: the released library makes one whose packets have a
    header of their own until QEMU or libvirt attaches to it.
    """
    text = re.sub(r"'os-vif': '[^']*'(, )?", "", plugged)
    text = re.sub(r", \}", "}", text).replace("'external_ids': {}, ", "")
    text = re.sub(r"'alias': 'os-vif:[^']*', |, 'pi': True", "", text)
    return re.sub(r"(?m)^(. links/(?!tap).*'mac': )'[^']*'", r"\1...", text)


@pytest.mark.parametrize(("datapath", "name"), NOVA_PORTS, ids=[name for _, name in NOVA_PORTS])
def test_nova(datapath: str, name: str) -> None:
    what = seen("nova_driver", datapath)[name]
    # A representor is detached and set down; its MTU is nobody's concern then.
    is_representor = datapath == "dummy"
    assert_clean(what, "~ links/pf0vf0/mtu: 1500 -> 1450" if is_representor else "")
    attached, waiting = NOVA[datapath][name]
    found = {port: is_attached for port, (is_attached, _) in what["ports"].items()}
    expected = {"br-int": True, **dict.fromkeys(attached, True), **dict.fromkeys(waiting, False)}
    assert found == expected


if EVERYTHING:
    # The released library does not find the representor on this synthetic /sys.
    @pytest.mark.parametrize(
        ("datapath", "name"), [port for port in NOVA_PORTS if port[0] != "dummy"]
    )
    def test_nova_sees_what_it_saw_with_the_released_library(datapath: str, name: str) -> None:
        ours = seen("nova_driver", datapath)[name]
        theirs = seen("nova_driver", datapath, released=True)[name]
        assert without_marks(ours["plugged"]) == without_marks(theirs["plugged"])
        assert ours["ports"] == theirs["ports"]
        socket = r'path="/tmp/ovs-[^/]*/'
        assert re.sub(socket, "", ours["domain"]) == re.sub(socket, "", theirs["domain"])


def test_nova_itself_refuses_a_linux_bridge() -> None:
    """Nova 34 has no such VIF any more; ``tox run -e constraints`` plugs one with older ones."""
    assert (
        "no longer supported by Nova" in seen("nova_driver", "netdev")["Linux bridge"]["refused"]
    )


def test_neutrons_agent_plugs_vifs_without_an_id() -> None:
    whole = seen("neutron_agent")["smart NIC"]
    assert_clean(whole, "~ links/rep0-0/mtu: 1500 -> 1450")
    assert whole["ports"] == {"br-int": [True, ""], "rep0-0": [True, ""]}
    # The agent finds its port on the bridge, so each of its verbs comes once.
    assert whole["handled"] == [["ovs"], [], ["unbound"], []]


def test_neutrons_agent_may_repeat_itself() -> None:
    again = seen("neutron_agent")["smart NIC, every event twice"]
    assert_clean(again)
    assert again["ports"] == {"br-int": [True, ""], "rep0-0": [True, ""]}


@pytest.mark.parametrize("who", ["kuryr", "zun"])
@pytest.mark.parametrize(("kind", "prefix"), [("VIFOpenVSwitch", "tap"), ("VIFBridge", "qvo")])
def test_containers(who: str, kind: str, prefix: str) -> None:
    what = seen("containers", who)[kind]
    assert_clean(what)
    names = ["br-int", f"{prefix}{VIF}", f"{prefix}a0000002-fe"]
    assert what["ports"] == {name: [True, ""] for name in names}


def test_a_third_party_plugin_from_its_own_sdist() -> None:
    what = seen("third_party")["thirdparty"]
    assert_clean(what)
    assert what["known"] is True
    assert what["ports"] == {"br-int": [True, ""], f"qvo{VIF}": [True, ""]}
    assert what["tags"] == [None, 7]  # by its own option
