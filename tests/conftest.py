# SPDX-License-Identifier: Apache-2.0
"""How hypothesis looks for examples; on a busy machine each may take its time."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
    derandomize=True,
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore", settings.get_profile("repeatable"), derandomize=False, max_examples=2000
)
# The same examples in every run: what passed before fails for a reason in the change.
settings.load_profile("repeatable")
