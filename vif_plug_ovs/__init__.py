# SPDX-License-Identifier: Apache-2.0
"""The plugin that attaches VIFs to Open vSwitch."""
