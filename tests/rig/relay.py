# SPDX-License-Identifier: Apache-2.0
"""Something between a client and an OVSDB server that is slow, or loses an answer."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Self


class Relay:
    """Forwards connections to a port of this host to a server.

    It listens at ``remote``.

    :param server: ``unix:<path>``, or ``tcp:127.0.0.1:<port>``; None to refuse whoever has
        connected.
    :param pause: seconds before it forwards the first bytes of each connection.
    :param delay: seconds before it forwards any bytes, ``size`` at most.
    """

    def __init__(
        self, server: str | None, pause: float = 0, delay: float = 0, size: int = 65_536
    ) -> None:
        self._server = server
        self._pause, self._delay, self._size = pause, delay, size
        self._doomed: bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        #: How many connections there have been.
        self.accepted = 0
        #: How many answers were lost.
        self.lost = 0

    @property
    def remote(self) -> str:
        """Where clients connect."""
        return f"tcp:127.0.0.1:{self.port}"

    def lose_answer_to(self, text: bytes, then: Callable[[], None] = lambda: None) -> None:
        """Cut the connection when the server has answered the next request with that text.

        :param then: what happens before the client notices.
        """
        self._doomed, self._then = text, then

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            time.sleep(self._pause)
            if self._server is not None:
                with self._connect(self._server) as server:
                    self._pump(client, server)

    @staticmethod
    def _connect(remote: str) -> socket.socket:
        method, _, address = remote.partition(":")
        if method == "tcp":
            host, _, port = address.rpartition(":")
            return socket.create_connection((host, int(port)))
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(address)
        return connected

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            ready, _, _ = select.select([client, server], [], [])
            for source in ready:
                chunk = source.recv(self._size)
                if not chunk:
                    return
                time.sleep(self._delay)
                (server if source is client else client).sendall(chunk)
                if source is client and self._doomed and self._doomed in chunk:
                    self._doomed = None
                    select.select([server], [], [], 10)
                    self.lost += 1
                    self._then()
                    return
