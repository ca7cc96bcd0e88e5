# SPDX-License-Identifier: Apache-2.0
"""Names, MAC addresses and MTUs: what the kernel takes, and errors that say what and why."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif import validate
from os_vif.exception import InvalidValue

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(),
    st.text(),
    st.lists(st.text()),
)


@pytest.mark.parametrize(
    "name",
    ["a", "br-int", "tap" + "x" * 12, "eth0.100", "_", "...", "br_ex", "ü" * 7, "-h", "a\\b"],
)
def test_a_name_that_the_kernel_takes(name: str) -> None:
    assert validate.device_name("field", name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (None, "must be a name"),
        ("", "must be a name"),
        (7, "must be a name"),
        (b"br-int", "must be a name"),
        (["br-int"], "must be a name"),
        ("x" * 16, "longer than 15 bytes"),
        pytest.param("ü" * 8, "longer than 15 bytes", id="8 characters of 2 bytes"),
        (".", "cannot be in"),
        ("..", "cannot be in"),
        ("a/b", "cannot be in"),
        ("../x", "cannot be in"),
        ("a:b", "cannot be in"),
        ("a b", "cannot be in"),
        ("a\n", "cannot be in"),
        ("a\tb", "cannot be in"),
        ("a\0b", "cannot be in"),
        ("a\x7fb", "cannot be in"),
        ("a\u00a0b", "cannot be in"),
        pytest.param("a\udc80b", "vif_name", id="a byte that is no UTF-8, as privsep carries it"),
    ],
)
def test_a_name_that_it_does_not_take(name: object, why: str) -> None:
    with pytest.raises(InvalidValue, match=why) as caught:
        validate.device_name("vif.vif_name", name)
    assert str(caught.value).startswith(f"Invalid value of vif.vif_name, {name!r}: ")


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ("fa:16:3e:00:00:01", "fa:16:3e:00:00:01"),
        ("FA:16:3E:00:00:AB", "fa:16:3e:00:00:ab"),
        ("fe:16:3e:00:00:01", "fe:16:3e:00:00:01"),
        ("00:00:00:00:00:01", "00:00:00:00:00:01"),
    ],
)
def test_a_mac_address_in_lower_case(given: str, returned: str) -> None:
    assert validate.mac("field", given) == returned


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "fa:16:3e:00:00",
        "fa:16:3e:00:00:01:02",
        "fa-16-3e-00-00-01",
        "fa163e000001",
        "ga:16:3e:00:00:01",
        " fa:16:3e:00:00:01",
        "fa:16:3e:00:00:01\n",
        "fa:16:3e:00:00:0\u0661",
        5,
        pytest.param("00:00:00:00:00:00", id="zeros"),
        pytest.param("01:00:5e:00:00:01", id="multicast"),
        pytest.param("ff:ff:ff:ff:ff:ff", id="broadcast"),
    ],
)
def test_what_is_no_mac_address_of_an_interface(value: object) -> None:
    with pytest.raises(InvalidValue, match=re.escape(f"vif.address, {value!r}: ")):
        validate.mac("vif.address", value)


@pytest.mark.parametrize("value", [68, 1500, 9000, 65535])
def test_an_mtu(value: int) -> None:
    assert validate.mtu("field", value) == value


@pytest.mark.parametrize("value", [None, 0, -1, 67, 65536, 100000, "1500", 1500.0, True, b"1"])
def test_what_is_no_mtu(value: object) -> None:
    with pytest.raises(InvalidValue, match=re.escape(f"network.mtu, {value!r}: ")):
        validate.mtu("network.mtu", value)


@pytest.mark.parametrize("check", [validate.device_name, validate.mac, validate.mtu])
@given(value=ANYTHING)
def test_a_check_returns_or_raises_invalid_value(
    check: Callable[[str, object], object], value: object
) -> None:
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
