# SPDX-License-Identifier: Apache-2.0
"""Tests without root, without daemons, without waiting."""
