# SPDX-License-Identifier: Apache-2.0
"""Settings of the release notes."""

project = "os-vif release notes"
copyright = "OpenStack Foundation"
extensions = ["reno.sphinxext"]
html_theme = "alabaster"
