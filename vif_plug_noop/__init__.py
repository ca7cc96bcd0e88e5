# SPDX-License-Identifier: Apache-2.0
"""The plugin for VIFs that need nothing done on the host."""
