# SPDX-License-Identifier: Apache-2.0
"""With many ports on the host rows come before devices, so that vswitchd has one change to see."""

import threading

import pytest

from os_vif import exception
from tests.rig import run
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import HYBRID, MULTIQUEUE, PER_PORT, TAP, Kind, OsVif, deviations, of
from tests.rig.snapshot import difference, links, snapshot
from tests.rig.stopwatch import within

MANY = 700  # enough for two new links
BUSY_SECONDS = 6

kinds = of(TAP, MULTIQUEUE, HYBRID, PER_PORT)
with_many_ports = pytest.mark.usefixtures("many_ports")


@pytest.fixture
def many_ports(ovs: PrivateOvs, osvif: OsVif) -> None:
    """Many ports, which need no device, on a bridge that is out of the way; and time for them."""
    osvif.configure(ovs_vsctl_timeout=30)
    words = ["add-br", "br-many", "--", "set", "Bridge", "br-many", "datapath_type=netdev"]
    for number in range(MANY):
        peer = f"options:peer=p{number ^ 1}"
        words += ["--", "add-port", "br-many", f"p{number}"]
        words += ["--", "set", "Interface", f"p{number}", "type=patch", peer]
    ovs.vsctl(*words)


@kinds
@pytest.mark.parametrize("others", ["few", "many"])
def test_with_many_ports_the_row_comes_first_in_one_transaction(
    others: str,
    kind: Kind,
    ovs: PrivateOvs,
    osvif: OsVif,
    br_int: str,
    request: pytest.FixtureRequest,
) -> None:
    """With few, vswitchd would look for the device before it is there, and say so for a moment."""
    if others == "many":
        request.getfixturevalue("many_ports")
    before, written = snapshot(ovs), ovs.next_cfg()
    row_and_device: list[bool] = []

    def look() -> None:
        row_and_device.extend([kind.port() in ovs.dump()["Port"], kind.port() in links()])

    osvif.once_before_links(look)
    osvif.plug_kind(kind)
    assert row_and_device == [others == "many", False]
    assert ovs.next_cfg() == written + 1
    assert deviations(ovs, kind) == []
    osvif.unplug(kind.vif())
    assert not difference(before, snapshot(ovs))


@with_many_ports
@kinds
def test_a_device_that_comes_after_vswitchd_has_looked_for_it_is_waited_for(
    kind: Kind, ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    errors: list[str] = []

    def let_vswitchd_look() -> None:
        ovs.catch_up()
        errors.append(ovs.interface(kind.port())["error"])

    osvif.once_before_links(let_vswitchd_look)
    osvif.plug_kind(kind)
    assert "No such device" in errors[0]
    assert deviations(ovs, kind) == []


@with_many_ports
def test_a_device_that_vswitchd_refuses_is_reported_in_time_and_rolled_back(
    ovs: PrivateOvs, osvif: OsVif
) -> None:
    """This kernel has no datapath of type ``system``; the database takes the rows all the same."""
    ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=system")
    before = snapshot(ovs)
    with within(10), pytest.raises(exception.PlugException, match=TAP.port()):
        osvif.plug_kind(TAP)
    ovs.catch_up()
    assert not difference(before, snapshot(ovs))


@with_many_ports
def test_a_late_device_has_the_time_of_the_verb(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """ovs-vswitchd has finished with the row when the device comes, and is busy for long then."""

    def be_busy() -> None:
        ovs.catch_up()
        ovs.freeze("vswitchd")
        threading.Timer(BUSY_SECONDS, ovs.thaw, ("vswitchd",)).start()

    osvif.once_before_links(be_busy)
    with within(BUSY_SECONDS + 2) as lap:
        osvif.plug_kind(TAP)
    assert lap.took > BUSY_SECONDS
    assert deviations(ovs, TAP) == []


@with_many_ports
def test_a_device_that_cannot_be_made_takes_its_row_back(
    ovs: PrivateOvs, osvif: OsVif, br_int: str
) -> None:
    """Somebody else's device has the name of the VIF's, since a moment ago."""
    name = TAP.port()
    osvif.once_before_links(lambda: run(["ip", "link", "add", name, "type", "bridge"]))
    before = snapshot(ovs)["ovs"]
    with pytest.raises(exception.PlugException, match="kind should be 'tun' and is 'bridge'"):
        osvif.plug_kind(TAP)
    ovs.catch_up()
    assert snapshot(ovs)["ovs"] == before
    assert links()[name]["kind"] == "bridge"
