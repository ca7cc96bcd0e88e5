# SPDX-License-Identifier: Apache-2.0
"""The poller, on sockets without a network."""

import socket
import time

import ovs.poller
import pytest

from os_vif.wiring.deadline import Deadline
from vif_plug_ovs.ovsdb.poller import Poller

IN, OUT = ovs.poller.POLLIN, ovs.poller.POLLOUT


@pytest.mark.parametrize("masks", [(IN, OUT), (OUT, IN), (IN | OUT,)])
@pytest.mark.parametrize("ready", [IN, OUT])
def test_masks_of_a_descriptor_add_up(masks: tuple[int, ...], ready: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if ready == IN:
            theirs.send(b".")
            ours.setblocking(False)
            while True:  # until it cannot be written
                try:
                    ours.send(bytes(65_536))
                except BlockingIOError:
                    break
        poller = Poller(Deadline(5))
        for mask in masks:
            poller.fd_wait(ours, mask)
        began = time.monotonic()
        poller.block()
        assert time.monotonic() - began < 4


def test_it_waits_until_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller = Poller(Deadline(0.2))
        poller.fd_wait(ours.fileno(), IN)
        began = time.monotonic()
        poller.block()
        assert 0.2 <= time.monotonic() - began < 2
