# SPDX-License-Identifier: Apache-2.0
"""A project that is not ours: it knows os-vif from outside only."""
