# SPDX-License-Identifier: Apache-2.0
"""The verbs while daemons are stopped, killed and restarted at random."""
