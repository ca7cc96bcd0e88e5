# SPDX-License-Identifier: Apache-2.0
"""Names that code outside of this package knows."""

PLUGIN_NAME = "linux_bridge"
