# SPDX-License-Identifier: Apache-2.0
"""When new ports are better written before their devices are made.

ovs-vswitchd goes over its whole configuration for a change of the database, and once more for a
change of any link. A device that is made before its row costs both, one after the other. One that
is made while ovs-vswitchd is on its way to it costs the first only. With few ports it is there too
soon, and would say for a moment that the device does not exist.
"""

from collections.abc import Iterable

from os_vif.wiring.elements.element import Plan
from os_vif.wiring.state import Found
from os_vif.wiring.steps import CreateBridge, CreateLink, CreatePort, Removal

#: So many ports keep ovs-vswitchd busy, before it looks for a new one's device, for as long as it
#: takes to make a link. Measured: with 300 taps it looked 3 to 5 ms after the transaction, with
#: 1,000 more than 10 ms after it; a tap takes 3 ms, a bridge and a veth pair take 5.
PORTS_PER_LINK = 300


def is_rows_first(plans: Iterable[Plan], found: Found) -> bool:
    """Return whether the rows of all plans are written before their links are made."""
    plans = list(plans)
    making = [plan for plan in plans if _new_links(plan)]
    if any(isinstance(step, Removal) for plan in plans for step in plan.rows):
        return False  # what ovs-vswitchd says of a name may be true of the row that goes
    if not making or not all(_opens_only_what_it_creates(plan) for plan in making):
        return False
    return PORTS_PER_LINK * sum(_new_links(plan) for plan in making) <= found.port_count


def _new_links(plan: Plan) -> int:
    return sum(isinstance(step, CreateLink) for step in plan.links)


def _opens_only_what_it_creates(plan: Plan) -> bool:
    """Return whether no row is there already that ovs-vswitchd would have to look at again."""
    created = {s.name for s in plan.rows if isinstance(s, CreatePort | CreateBridge)}
    return bool(created) and created.issuperset(plan.awaited)
