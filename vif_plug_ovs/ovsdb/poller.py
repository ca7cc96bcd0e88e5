# SPDX-License-Identifier: Apache-2.0
"""Wait for sockets as python-ovs does, without the faults of its poller."""

import math
import select
from collections import defaultdict
from typing import Any

import ovs.poller

from os_vif.wiring.deadline import Deadline

#: Seconds for which it waits at most without a look at the clock; poll() has a limit.
MAX_SECONDS = 3600


class Poller(ovs.poller.Poller):  # type: ignore[misc]
    """python-ovs' poller until a deadline, for any number of files and reasons to wait.

    Its select() fails in a process with more than 1,024 open files. The mask of a descriptor that
    is registered twice adds up: ``Idl.wait`` registers its socket for writing, then for reading,
    and poll() would know of the latter only. Then what is larger than the socket's buffer is not
    sent before the server sends something.

    :param deadline: until when it waits at most.
    """

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._masks: defaultdict[int, int] = defaultdict(int)
        if hasattr(select, "poll"):  # eventlet removes it
            self.poll = select.poll()
        seconds = deadline.at_most(MAX_SECONDS).remaining()
        self.timer_wait(math.ceil(1000 * seconds))

    def fd_wait(self, fd: Any, events: int) -> None:
        """Wait for these events, too.

        :param fd: a descriptor, or an object that has one.
        """
        number = fd if isinstance(fd, int) else fd.fileno()
        self._masks[number] |= events
        self.poll.register(number, self._masks[number])
