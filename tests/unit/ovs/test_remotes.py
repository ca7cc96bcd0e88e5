# SPDX-License-Identifier: Apache-2.0
"""Where a server is said to listen."""

import pytest

from os_vif.exception import InvalidValue
from vif_plug_ovs.ovsdb import remotes


@pytest.mark.parametrize(
    ("remote", "normal"),
    [
        ("unix:/run/db.sock", "unix:/run/db.sock"),
        ("tcp:192.0.2.1:1", "tcp:192.0.2.1:1"),
        ("tcp:192.0.2.1", "tcp:192.0.2.1:6640"),
        ("tcp:[2001:db8::1]", "tcp:[2001:db8::1]:6640"),
        ("ssl:192.0.2.1", "ssl:192.0.2.1:6640"),
        ("osviftls12:[::1]:65535", "osviftls12:[::1]:65535"),
    ],
)
def test_the_port_of_ovsdb_is_added(remote: str, normal: str) -> None:
    assert remotes.normal(remote) == normal


@pytest.mark.parametrize(
    "remote",
    [
        "tcp:localhost",
        "tcp:localhost:6640",
        "ssl:ovs.example.org:6640",
        "tcp:[localhost]:6640",
        "tcp:1.2.3:6640",
        "tcp:2001:db8::1",
        "tcp:[192.0.2.1]:6640",
        "tcp:192.0.2.1:0",
        "tcp:192.0.2.1:65536",
        "tcp:192.0.2.1:",
        "udp:192.0.2.1:6640",
    ],
)
def test_what_is_no_address_is_refused_by_name(remote: str) -> None:
    with pytest.raises(InvalidValue) as failure:
        remotes.normal(remote)
    assert "ovsdb_connection" in str(failure.value)
    assert remote in str(failure.value)
