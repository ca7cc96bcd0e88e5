# SPDX-License-Identifier: Apache-2.0
"""Messages and attributes of rtnetlink, on a socket without a kernel behind it."""

import errno
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_vif.kernel import rtnetlink

ACK, DONE, ERROR = 0, 3, 2
MULTI, INTERRUPTED, CAPPED, EXPLAINED = 0x2, 0x10, 0x100, 0x200


def message(kind: int, body: bytes, flags: int = 0, sequence: int = 1) -> bytes:
    size = 16 + len(body)
    return struct.pack("=IHHII", size, kind, flags, sequence, 0) + body + bytes(-size % 4)


def refusal(code: int, said: str = "", sequence: int = 1) -> bytes:
    """The kernel's answer to a request, 0 for yes; with its header, as with NETLINK_CAP_ACK."""
    body = struct.pack("=i", -code) + bytes(16)
    if not said:
        return message(ERROR, body, CAPPED, sequence)
    explained = body + rtnetlink.attribute(1, said.encode() + b"\0")
    return message(ERROR, explained, CAPPED | EXPLAINED, sequence)


def end(code: int = 0, said: str = "", flags: int = 0, sequence: int = 1) -> bytes:
    """What ends a dump; what is said of an error follows at once, without a header."""
    more = rtnetlink.attribute(1, said.encode() + b"\0") if said else b""
    flags |= MULTI | (EXPLAINED if said else 0)
    return message(DONE, struct.pack("=i", -code) + more, flags, sequence)


class Wire:
    """The socket of a Socket: what was sent, and datagrams that are answered."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.answers: list[bytes | OSError] = []
        self.options: list[int] = []
        self.unknown: dict[int, int] = {}
        self.closed = False

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, value) == (270, 1)
        if option in self.unknown:
            raise OSError(self.unknown[option], "no such option")
        self.options.append(option)

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()
    monkeypatch.setattr(rtnetlink.socket, "socket", lambda *_: made)
    return made


@pytest.fixture
def kernel(wire: Wire) -> Iterator[rtnetlink.Socket]:
    with rtnetlink.Socket() as kernel:
        yield kernel
    assert wire.closed
    assert wire.answers == []


def test_a_question_a_change_and_a_dump(wire: Wire, kernel: rtnetlink.Socket) -> None:
    wire.answers = [message(16, b"answer!!")]
    assert kernel.get(18, b"question") == b"answer!!"
    wire.answers = [refusal(0, sequence=2)]
    kernel.change(24, rtnetlink.CREATE | rtnetlink.APPEND, b"body")
    wire.answers = [
        message(16, b"a", MULTI, 3) + message(16, b"bcdef", MULTI, 3),
        message(16, b"g", MULTI, 3),
        end(sequence=3),
        end(sequence=4),
    ]
    assert kernel.dump(18, b"each") == [b"a", b"bcdef", b"g"]
    assert kernel.dump(18, b"none") == []
    assert wire.sent == [
        message(18, b"question", 0x1),
        message(24, b"body", 0x1 | 0x4 | 0x400 | 0x800, 2),
        message(18, b"each", 0x1 | 0x300, 3),
        message(18, b"none", 0x1 | 0x300, 4),
    ]


@pytest.mark.parametrize("ask", ["get", "change", "dump", "the rest of a dump"])
@pytest.mark.parametrize("said", ["", "Not on Fridays."])
def test_what_is_refused_is_said_in_the_kernels_words(
    ask: str, said: str, wire: Wire, kernel: rtnetlink.Socket
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: kernel.get(18, b""),
        "change": lambda: kernel.change(16, 0, b""),
    }
    wire.answers = [refusal(errno.EPERM, said)]
    if ask == "the rest of a dump":
        wire.answers = [message(16, b"some", MULTI) + end(errno.EPERM, said)]
    text = "Operation not permitted" + (f": {said}" if said else "")
    with pytest.raises(OSError, match=text) as failure:
        calls.get(ask, lambda: kernel.dump(18, b""))()
    assert (failure.value.errno, failure.value.strerror) == (errno.EPERM, text)


def test_an_explanation_beside_other_attributes(wire: Wire, kernel: rtnetlink.Socket) -> None:
    """Such as the offset of the attribute that was wrong."""
    offset = rtnetlink.attribute(2, rtnetlink.pack_u32(16))
    body = struct.pack("=i", -errno.EINVAL) + bytes(16) + offset
    wire.answers = [message(ERROR, body, CAPPED | EXPLAINED)]
    with pytest.raises(OSError, match=r"Invalid argument$"):
        kernel.change(16, 0, b"")


@pytest.mark.parametrize("where", ["first", "last"])
def test_what_changed_while_it_was_listed_is_asked_for_again(
    where: str, wire: Wire, kernel: rtnetlink.Socket
) -> None:
    first, last = (INTERRUPTED if where == each else 0 for each in ("first", "last"))
    wire.answers = [
        message(16, b"old", MULTI | first) + end(flags=last),
        message(16, b"new", MULTI, 2) + end(sequence=2),
    ]
    assert kernel.dump(18, b"") == [b"new"]
    assert len(wire.sent) == 2


def test_what_changes_all_the_time_is_given_up(wire: Wire, kernel: rtnetlink.Socket) -> None:
    wire.answers = [end(flags=INTERRUPTED, sequence=number) for number in range(1, 11)]
    with pytest.raises(InterruptedError):
        kernel.dump(18, b"")


LATE = [message(16, b"late", MULTI, 1) + end(), refusal(errno.EPERM, sequence=1)]


@pytest.mark.parametrize("late", LATE, ids=["rest-of-a-dump", "refusal"])
@pytest.mark.parametrize("apart", [False, True], ids=["in-one", "apart"])
def test_answers_to_a_request_that_was_given_up_are_passed_over(
    apart: bool, late: bytes, wire: Wire, kernel: rtnetlink.Socket
) -> None:
    """Such as the rest of a dump after an error."""
    wire.answers = [OSError(errno.ENOBUFS, "No buffer space available")]
    with pytest.raises(OSError, match="No buffer space"):
        kernel.dump(18, b"")

    def after(*answers: bytes) -> list[bytes | OSError]:
        return [late, *answers] if apart else [late + answers[0], *answers[1:]]

    wire.answers = after(message(16, b"wanted", 0, 2))
    assert kernel.get(18, b"") == b"wanted"
    wire.answers = after(refusal(0, sequence=3))
    kernel.change(16, 0, b"")
    wire.answers = after(refusal(errno.EBUSY, sequence=4))
    with pytest.raises(OSError, match="busy"):
        kernel.change(16, 0, b"")
    wire.answers = after(message(16, b"a", MULTI, 5), end(sequence=5))
    assert kernel.dump(18, b"") == [b"a"]


@pytest.mark.parametrize(
    ("answers", "lost"),
    [
        ([refusal(0, sequence=0), OSError(errno.ENOBUFS, "No buffer space available")], True),
        ([refusal(errno.ENOBUFS)], False),
    ],
    ids=["its answer was lost", "the kernel had no memory for it"],
)
def test_a_change_may_have_been_made_only_if_its_answer_was_lost(
    answers: list[bytes | OSError], lost: bool, wire: Wire, kernel: rtnetlink.Socket
) -> None:
    wire.answers = answers
    with pytest.raises(OSError, match="No buffer space") as failure:
        kernel.change(16, 0, b"")
    assert failure.value.errno == errno.ENOBUFS
    assert isinstance(failure.value, rtnetlink.AnswerLost) is lost


def test_an_older_kernel_does_without_options(wire: Wire) -> None:
    wire.unknown = dict.fromkeys((10, 11, 12), errno.ENOPROTOOPT)
    rtnetlink.Socket().only_what_is_asked_for()
    assert wire.options == []


def test_whatever_else_an_option_fails_for_is_an_error(wire: Wire) -> None:
    wire.unknown = {12: errno.EPERM}
    kernel = rtnetlink.Socket()
    assert wire.options == [10, 11]
    with pytest.raises(PermissionError):
        kernel.only_what_is_asked_for()


@given(rows=st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=50))))
def test_attributes_are_read_as_they_were_written(rows: list[tuple[int, bytes]]) -> None:
    written = b"".join(rtnetlink.attribute(kind, value) for kind, value in rows)
    assert len(written) % 4 == 0
    assert list(rtnetlink.attributes(written)) == rows


@given(data=st.binary(max_size=200))
def test_reading_ends_whatever_comes(data: bytes) -> None:
    assert len(list(rtnetlink.attributes(data))) <= len(data) // 4


def test_that_an_attribute_is_nested_is_no_part_of_its_number() -> None:
    assert list(rtnetlink.attributes(rtnetlink.attribute(0x8000 | 18, b"x"))) == [(18, b"x")]
