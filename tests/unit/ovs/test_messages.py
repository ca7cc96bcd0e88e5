# SPDX-License-Identifier: Apache-2.0
"""Messages off a stream: however it is chopped, and whatever is in it."""

import itertools
import json
import time
from typing import Any

import ovs.json
import ovs.jsonrpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vif_plug_ovs.ovsdb import messages

#: With much of what has a meaning in JSON. NUL and halves of pairs are not for OVSDB's strings.
TEXT = st.text(
    st.sampled_from('{}[]",:\\ \n\tué€𝄞')
    | st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"),
    max_size=12,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
IDS = st.integers(0, 2**31)
MESSAGES = (
    st.fixed_dictionaries({"method": TEXT, "params": st.lists(VALUES, max_size=3), "id": IDS})
    | st.fixed_dictionaries({"method": TEXT, "params": st.lists(VALUES), "id": st.none()})
    | st.fixed_dictionaries({"result": VALUES.filter(bool), "error": st.none(), "id": IDS})
    | st.fixed_dictionaries({"result": st.none(), "error": VALUES.filter(bool), "id": IDS})
)
BLANKS = st.text(" \t\r\n", max_size=3)


@st.composite
def written(draw: st.DrawFn) -> tuple[list[Any], bytes]:
    """Values, and a stream of them: escaped or in UTF-8, with blanks or without."""
    values = draw(st.lists(MESSAGES, max_size=4))
    ascii_only = draw(st.booleans())
    indent = draw(st.sampled_from([None, 1]))
    texts = [json.dumps(value, ensure_ascii=ascii_only, indent=indent) for value in values]
    blanks = [draw(BLANKS) for _ in texts]
    joined = "".join(map("".join, zip(blanks, texts, strict=True)))
    return values, (joined + draw(BLANKS)).encode()


def chunks(data: st.DataObject, stream: bytes) -> list[bytes]:
    """A stream chopped anywhere, in the middle of a character too."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))) | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(cuts)]


@given(OBJECTS.map(json.dumps), st.data())
def test_an_object_is_handed_over_with_its_last_byte(text: str, data: st.DataObject) -> None:
    stream = text.encode()
    objects = messages.Objects()
    for chunk in chunks(data, stream[:-1]):
        assert objects.feed(chunk) == []
    assert objects.feed(stream[-1:]) == [stream]


@given(st.binary().filter(lambda one: one.strip(b" \t\r\n")[:1] not in (b"", b"{")))
@example(b"[[[{")
@example(b"}")
@example(b'"no object"')
@example(b"HTTP/1.1 400 Bad Request\r\n")
def test_what_does_not_start_like_an_object_is_refused_at_once(garbage: bytes) -> None:
    [refused] = messages.Objects().feed(garbage)
    with pytest.raises(ValueError, match=r".+"):
        messages.parse(refused)


@pytest.mark.parametrize(
    "text",
    [
        b"{nonsense}",
        b'{"id":NaN,"method":"a","params":[]}',
        b'{"id":-Infinity,"method":"a","params":[]}',
        b'{"id":1,"method":"\xff","params":[]}',
        b'{"id":1,"method":"\xed\xa0\x80","params":[]}',
        b'{"id":1,"method":"a\nb","params":[]}',
        b'{"id":1,"method":"a","params":{}}',
        b'{"id":1,"method":"a","params":[],"more":1}',
        b"{}",
        b'{"id":1,"method":"a","params":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    ],
    ids=lambda text: text[:45],
)
def test_what_is_not_a_message_is_refused(text: bytes) -> None:
    [cut] = messages.Objects().feed(text)
    with pytest.raises(ValueError, match=r".+"):
        messages.parse(cut)


@given(MESSAGES)
def test_a_message_is_what_python_ovs_makes_of_it(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    theirs = ovs.jsonrpc.Message.from_json(ovs.json.from_string(text))
    assert vars(messages.parse(text.encode())) == vars(theirs)


def test_a_large_object_in_small_chunks_takes_no_time() -> None:
    row = {"external_ids": ["map", [["iface-id", "{}" * 18]]]}
    stream = json.dumps({str(number): row for number in range(10_000)}).encode()
    objects = messages.Objects()
    began = time.process_time()
    found = [objects.feed(stream[at : at + 1000]) for at in range(0, len(stream), 1000)]
    assert time.process_time() - began < 1
    assert [len(each) for each in found[:-1]] == [0] * (len(found) - 1)
    assert found[-1] == [stream]
