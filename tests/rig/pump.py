# SPDX-License-Identifier: Apache-2.0
"""The program that plays QEMU for `TapGuest`: ``pump.py GUEST_FD HOST_FD...``.

Run as a script, without the site packages: it starts in some 15 ms. A process of its own, as
QEMU is one: it can be killed, it does not share our interpreter lock, and no daemon that the
test process forks inherits its taps.
"""

import os
import select
import sys
from itertools import cycle

_LARGEST_FRAME = 65536 + 18


def _forward(source: int, sink: int) -> None:
    # A tap that is down or full refuses a frame: it is lost, as on a wire.
    try:
        os.write(sink, os.read(source, _LARGEST_FRAME))
    except OSError:
        return


def pump(guest: int, queues: list[int]) -> None:
    """Carry frames both ways, for ever; those of the guest take the queues in turn."""
    poll = select.poll()
    for fd in (guest, *queues):
        poll.register(fd, select.POLLIN)
    turn = cycle(queues)
    while True:
        for fd, _ in poll.poll():
            _forward(fd, next(turn) if fd == guest else guest)


if __name__ == "__main__":
    guest_fd, *host_fds = map(int, sys.argv[1:])
    pump(guest_fd, host_fds)
