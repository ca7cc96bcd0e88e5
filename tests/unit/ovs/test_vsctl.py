# SPDX-License-Identifier: Apache-2.0
"""What the ``vsctl`` driver says of programs that fail."""

import pytest

from os_vif.wiring import errors
from os_vif.wiring.deadline import Deadline
from vif_plug_ovs.ovsdb import client, vsctl


def test_the_reason_is_why_it_failed_and_not_that_no_time_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last attempt comes to the daemon after the deadline."""
    answers = iter([(1, f'{client.NOT_SENT}"unix:/x" (Connection refused)')])

    def transact(*_: object) -> tuple[int, str]:
        for answer in answers:
            return answer
        raise errors.NotConnected(remote="unix:/x", reason="no time is left")

    monkeypatch.setattr(client, "transact", transact)
    monkeypatch.setattr(vsctl, "RETRY_SECONDS", 0.05)
    with pytest.raises(errors.NotConnected, match="Connection refused"):
        vsctl.VsctlRows("unix:/x").names_of("b1", Deadline(0.1))
