# SPDX-License-Identifier: Apache-2.0
"""Names, MAC addresses and MTUs: what the kernel takes, and errors that say what and why."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif import validate
from os_vif.exception import InvalidValue

Check = Callable[[str, object], object]
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(),
    st.text(),
    st.lists(st.text()),
)


NAMES = ["a", "br-int", "tap" + "x" * 12, "eth0.100", "_", "...", "br_ex", "ü" * 7, "-h", "a\\b"]
MACS = ["fa:16:3e:00:00:01", "FA:16:3E:00:00:AB", "fe:16:3e:00:00:01", "00:00:00:00:00:01"]


@pytest.mark.parametrize(
    ("check", "value", "returned"),
    [
        *((validate.device_name, name, name) for name in NAMES),
        *((validate.mac, mac, mac.lower()) for mac in MACS),
        *((validate.mtu, mtu, mtu) for mtu in (68, 1500, 9000, 65535)),
    ],
)
def test_what_the_kernel_takes(check: Check, value: object, returned: object) -> None:
    assert check("field", value) == returned


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((value, "must be a name") for value in (None, "", 7, b"br-int", ["br-int"])),
        ("x" * 16, "longer than 15 bytes"),
        pytest.param("ü" * 8, "longer than 15 bytes", id="8 characters of 2 bytes"),
        *((name, "cannot be in") for name in (".", "..", "a/b", "../x", "a:b", "a b")),
        *((f"a{one}b", "cannot be in") for one in ("\n", "\t", "\0", "\x7f", "\u00a0")),
        ("a\n", "cannot be in"),
        pytest.param("a\udc80b", "vif_name", id="a byte that is no UTF-8, as privsep carries it"),
    ],
)
def test_a_name_that_it_does_not_take(name: object, why: str) -> None:
    with pytest.raises(InvalidValue, match=why) as caught:
        validate.device_name("vif.vif_name", name)
    assert str(caught.value).startswith(f"Invalid value of vif.vif_name, {name!r}: ")


BAD_MACS = [
    None, "", "fa:16:3e:00:00", "fa:16:3e:00:00:01:02", "fa-16-3e-00-00-01", "fa163e000001",
    "ga:16:3e:00:00:01", " fa:16:3e:00:00:01", "fa:16:3e:00:00:01\n", "fa:16:3e:00:00:0\u0661", 5,
    "00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff",  # not of one interface
]  # fmt: skip
BAD_MTUS = [None, 0, -1, 67, 65536, 100000, "1500", 1500.0, True, b"1"]


@pytest.mark.parametrize(
    ("check", "value"),
    [*((validate.mac, value) for value in BAD_MACS), *((validate.mtu, one) for one in BAD_MTUS)],
)
def test_a_mac_address_or_an_mtu_that_it_does_not_take(check: Check, value: object) -> None:
    with pytest.raises(InvalidValue, match=re.escape(f"the.field, {value!r}: ")):
        check("the.field", value)


@pytest.mark.parametrize("check", [validate.device_name, validate.mac, validate.mtu])
@given(value=ANYTHING)
def test_a_check_returns_or_raises_invalid_value(check: Check, value: object) -> None:
    try:
        checked = check("field", value)
    except InvalidValue:
        return
    assert check("field", checked) == checked


@given(name=st.text(min_size=1))
def test_a_name_that_passes_obeys_the_kernels_rule(name: str) -> None:
    try:
        validate.device_name("field", name)
    except InvalidValue:
        return
    # dev_valid_name() in net/core/dev.c
    assert len(name.encode()) < 16
    assert name not in (".", "..")
    assert not any(c in "/:" or c.isspace() for c in name)
