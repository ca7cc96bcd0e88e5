# SPDX-License-Identifier: Apache-2.0
"""Nova, Neutron, kuryr-kubernetes, zun and a third-party plugin, with the wheel.

``test_live`` has their own code attach VIFs to a real Open vSwitch, ``test_suites`` runs their own
tests. Both start programs in an environment that has all of them, which
``python -m tests.rig.consumers`` makes. ``OS_VIF_CONSUMERS=all`` is the long form: all suites, and
everything with the released os-vif, too.
"""

import os

EVERYTHING = os.environ.get("OS_VIF_CONSUMERS") == "all"
