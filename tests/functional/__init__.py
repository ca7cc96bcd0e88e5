# SPDX-License-Identifier: Apache-2.0
"""Tests on real kernel links and a real Open vSwitch, in private namespaces."""
