# SPDX-License-Identifier: Apache-2.0
"""The plugin for VIFs on bridges of the Linux kernel."""
