# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC messages, parsed by the standard library.

python-ovs parses JSON in Python unless its extension in C was built, which PyPI's wheel does not
have; half of a first connection went there.
"""

import json
import re
from typing import NoReturn

import ovs.jsonrpc

#: What an object may start with, and all up to the next brace that is not in a string. The
#: possessive quantifiers keep it linear.
_START = re.compile(rb"[ \t\r\n]*(?:\{|\Z)")
_TO_A_BRACE = re.compile(rb'[^"{}]*+(?:"(?:[^"\\]++|\\.)*+"[^"{}]*+)*+([{}])', re.DOTALL)


class Objects:
    """Cuts a stream of bytes into the JSON objects that it is made of.

    Only braces and strings are looked at, from the last brace on, so it does not matter much how
    the stream is chopped. What is between them is left to the parser.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._looked_at = 0
        self._depth = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk; return the objects that it completes.

        What does not start like an object is returned as it is, for the parser to refuse.
        """
        self._bytes += chunk
        complete = []
        while end := self._end():
            complete.append(bytes(self._bytes[:end]))
            del self._bytes[:end]
            self._looked_at = self._depth = 0
        return complete

    def _end(self) -> int:
        """Return where the first object ends; 0 if its end is still to come."""
        if not self._depth and not _START.match(self._bytes):
            return len(self._bytes)
        while brace := _TO_A_BRACE.match(self._bytes, self._looked_at):
            self._looked_at = brace.end()
            self._depth += 1 if brace[1] == b"{" else -1
            if not self._depth:
                return self._looked_at
        return 0


def parse(text: bytes) -> ovs.jsonrpc.Message:
    """Return the message that the text of a JSON object is.

    :raises ValueError: it is not JSON (RFC 8259), not in UTF-8, or not a JSON-RPC message.
    """
    try:
        found = json.loads(str(text, "utf-8"), parse_constant=_refuse)
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err
    message = ovs.jsonrpc.Message.from_json(found)
    if isinstance(message, str):
        raise ValueError(message)
    return message


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not in JSON")
