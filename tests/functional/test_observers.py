# SPDX-License-Identifier: Apache-2.0
"""What each verb says that it has done, on the real thing."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

import os_vif
from os_vif import exception
from os_vif.observers import Tally, Verb
from tests import vifs
from tests.rig.ovs import PrivateOvs
from tests.rig.plugin import TAP, OsVif

VIF, INSTANCE = TAP.vif(), vifs.instance()
NOTHING, ONE_OF_EACH = Tally(), Tally(waits=1, transactions=1, privileged_calls=1)


@pytest.fixture
def seen(osvif: OsVif, br_int: str) -> Iterator[list[Verb]]:
    found: list[Verb] = []
    end = os_vif.observe(found.append)
    yield found
    end()


def test_what_each_verb_has_done(seen: list[Verb]) -> None:
    """A wait is one for ovs-vswitchd to act on a change: the verb wait has none."""
    verbs: list[tuple[str, Callable[[], object], Tally]] = [
        ("plug", lambda: os_vif.plug(VIF, INSTANCE), ONE_OF_EACH),
        ("plug", lambda: os_vif.plug(VIF, INSTANCE), NOTHING),
        ("check", lambda: os_vif.check(VIF, INSTANCE), NOTHING),
        ("wait", lambda: os_vif.wait(VIF, INSTANCE), NOTHING),
        ("list", lambda: os_vif.list_vifs("ovs"), NOTHING),
        ("gc", lambda: os_vif.gc([vifs.vif_id()], plugin="ovs"), NOTHING),
        ("unplug", lambda: os_vif.unplug(VIF, INSTANCE), ONE_OF_EACH),
        ("plug_all", lambda: os_vif.plug_all([(VIF, INSTANCE)]), ONE_OF_EACH),
        ("unplug_all", lambda: os_vif.unplug_all([(VIF, INSTANCE)]), ONE_OF_EACH),
    ]
    for name, act, tally in verbs:
        act()
        told = seen.pop()
        assert not seen
        assert (told.name, told.plugin, told.outcome, told.tally) == (name, "ovs", "ok", tally)
        vif_id = None if name in {"list", "gc"} else vifs.vif_id()
        assert (told.vif_id, told.kind) == (vif_id, "VIFOpenVSwitch" if vif_id else "")


def test_what_has_failed(ovs: PrivateOvs, osvif: OsVif, seen: list[Verb]) -> None:
    with contextlib.suppress(exception.QueryFailed):
        os_vif.wait(VIF, INSTANCE, timeout=0)
    ovs.freeze("vswitchd")
    osvif.configure(ovs_vsctl_timeout=1)
    with contextlib.suppress(exception.PlugException):
        os_vif.plug(VIF, INSTANCE)
    wait, plug = seen
    assert (wait.outcome, wait.tally) == ("not_ready", NOTHING)
    assert (plug.outcome, plug.tally.waits) == ("deadline", 1)
    assert plug.tally.transactions >= 1
