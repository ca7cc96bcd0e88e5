# SPDX-License-Identifier: Apache-2.0
"""Helpers for bit masks."""


def set_mask(data: int, mask: int) -> int:
    """Return ``data`` with all bits of ``mask`` set."""
    return data | mask


def unset_mask(data: int, mask: int, bit_size: int = 32) -> int:
    """Return the lowest ``bit_size`` bits of ``data``, those of ``mask`` cleared."""
    return data & ~mask & ((1 << bit_size) - 1)
