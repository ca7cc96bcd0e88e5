# SPDX-License-Identifier: Apache-2.0
"""What passes a network device, with its VLAN tags."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from tests.rig import wait_until

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_PACKET_OUTGOING = 4
#: struct tpacket_auxdata of linux/if_packet.h, and the bit that says that its tag is valid
_AUXDATA, _TAG_VALID = struct.Struct("=IIIHHHH"), 0x10
_TAG_PROTOCOLS = (0x8100, 0x88A8)
_LARGEST_FRAME = 65536 + 18


@dataclass(frozen=True)
class Frame:
    """An Ethernet frame.

    :param vlans: the numbers in its tags, the outer one first.
    :param protocol: the EtherType behind the tags, such as 0x0806 of ARP.
    :param outgoing: this host sends it through the device.
    """

    destination: str
    source: str
    vlans: tuple[int, ...]
    protocol: int
    payload: bytes
    outgoing: bool


class Capture:
    """Collects the frames of one device in the calling thread's network namespace::

        with Capture("eth0") as capture:
            ...
            capture.wait_for(lambda frame: frame.vlans == (7,))
        assert not [frame for frame in capture.frames if frame.vlans == (8,)]

    The device must be up. The kernel holds some hundred frames from one look at them to the next.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._frames: list[Frame] = []

    @property
    def frames(self) -> list[Frame]:
        """All frames so far."""
        while self._socket.fileno() >= 0:
            try:
                data, extra, _, sender = self._socket.recvmsg(
                    _LARGEST_FRAME, socket.CMSG_SPACE(_AUXDATA.size)
                )
            except BlockingIOError:
                break
            self._frames.append(_frame(data, _offloaded_tag(extra), sender[2]))
        return list(self._frames)

    def wait_for(self, wanted: Callable[[Frame], bool], timeout: float = 5.0) -> Frame:
        """Return the first frame that is wanted, of those before and those to come.

        :param timeout: seconds.
        :raises TimeoutError: none came.
        """
        what = f"a frame on {self.device}"
        return wait_until(lambda: [one for one in self.frames if wanted(one)], timeout, what)[0]

    def __enter__(self) -> Self:
        # protocol 0: nothing is received before it is bound to one device
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            # the kernel takes the outer tag out of the frame and hands it over beside
            self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            self._socket.setblocking(False)
            self._socket.bind((self.device, _ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _ = self.frames
        self._socket.close()


def _offloaded_tag(extra: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in extra:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, *_, tag, _protocol = _AUXDATA.unpack(data[: _AUXDATA.size])
            if status & _TAG_VALID:
                return int(tag)
    return None


def _frame(data: bytes, offloaded: int | None, packet_type: int) -> Frame:
    tags = [] if offloaded is None else [offloaded]
    rest = data[12:]
    while int.from_bytes(rest[:2], "big") in _TAG_PROTOCOLS:
        tags.append(int.from_bytes(rest[2:4], "big"))
        rest = rest[4:]
    return Frame(
        destination=data[:6].hex(":"),
        source=data[6:12].hex(":"),
        vlans=tuple(tag & 0xFFF for tag in tags),
        protocol=int.from_bytes(rest[:2], "big"),
        payload=rest[2:],
        outgoing=packet_type == _PACKET_OUTGOING,
    )
