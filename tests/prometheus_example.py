# SPDX-License-Identifier: Apache-2.0
"""The example of the manual: metrics of all verbs for Prometheus."""

# begin
import prometheus_client

import os_vif

SECONDS = prometheus_client.Histogram(
    "os_vif_verb_seconds", "How long verbs took.", ["verb", "plugin", "outcome"]
)


def export(verb: os_vif.observers.Verb) -> None:
    SECONDS.labels(verb.name, verb.plugin, verb.outcome).observe(verb.seconds)


os_vif.observe(export)
# end
