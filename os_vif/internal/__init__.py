# SPDX-License-Identifier: Apache-2.0
"""Helpers that other projects came to import; kept for them."""
