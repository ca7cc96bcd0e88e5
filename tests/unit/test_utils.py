# SPDX-License-Identifier: Apache-2.0
"""Bit masks."""

import pytest

from os_vif import utils


@pytest.mark.parametrize(
    ("data", "mask", "result"), [(0, 0b100, 0b100), (0b11, 0b10, 0b11), (0b1001, 0b110, 0b1111)]
)
def test_set_mask(data: int, mask: int, result: int) -> None:
    assert utils.set_mask(data, mask) == result


@pytest.mark.parametrize(
    ("data", "mask", "bit_size", "result"),
    [
        (0b111, 0b010, 32, 0b101),
        (0b101, 0b010, 32, 0b101),
        (0xFFFFFFFF, 0x100, 32, 0xFFFFFEFF),
        (0x1FF, 0x1, 8, 0xFE),
        (2**32 + 3, 1, 32, 2),
    ],
)
def test_unset_mask(data: int, mask: int, bit_size: int, result: int) -> None:
    assert utils.unset_mask(data, mask, bit_size) == result


def test_unset_mask_takes_32_bits_by_default() -> None:
    assert utils.unset_mask(2**33 - 1, 1) == 2**32 - 2
