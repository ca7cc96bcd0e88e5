# SPDX-License-Identifier: Apache-2.0
"""TLS with settings of our own.

python-ovs keeps key, certificate and CA as attributes of its Stream class: one set for the whole
process, which may be that of Neutron's agent. So each set of ours gets a connection method of its
own, beside ``ssl:``, which python-ovs opens like any other; nothing of theirs is changed.
"""

import errno
import functools
import itertools
import socket
import ssl
import threading
from dataclasses import astuple, dataclass
from typing import ClassVar

import ovs.poller
import ovs.socket_util
import ovs.stream

from os_vif.exception import InvalidValue
from vif_plug_ovs.ovsdb import python_ovs, remotes

#: The options that name these files, in the order of the fields of Credentials.
OPTIONS = ("ssl_key_file", "ssl_cert_file", "ssl_ca_cert_file")

_numbers = itertools.count()
_registering = threading.Lock()


@dataclass(frozen=True)
class Credentials:
    """Paths of PEM files: ours, and the authority that signed the server's certificate."""

    key: str
    certificate: str
    authority: str


def remote(wanted: str, credentials: Credentials) -> str:
    """Return the name under which python-ovs opens an ``ssl:`` remote with these credentials.

    The files are read when this is first asked for, and whenever a connection is opened.

    :raises InvalidValue: a file is not named, missing, or not what it should be.
    """
    with _registering:
        method = _registered(wanted, credentials)
    return f"{method}:{wanted.removeprefix('ssl:')}"


def check(credentials: Credentials) -> None:
    """Check that the files can be used.

    :raises InvalidValue: a file is not named, missing, or not what it should be.
    """
    _context(credentials)


def stream_of(name: str) -> "type[_TlsStream]":
    """Return the class of the streams to a remote, which knows what failed; one without failures
    for a remote without TLS."""
    return _streams.get(name.partition(":")[0], _TlsStream)


@functools.cache
def _registered(wanted: str, credentials: Credentials) -> str:
    """Return a new connection method; a configuration has one, so they do not pile up.

    Each server has its own, lest one be blamed for what is wrong with another.
    """
    _context(credentials)  # raises what is wrong now
    method = f"{remotes.TLS_METHOD}{next(_numbers)}"
    _streams[method] = type("TlsStream", (_TlsStream,), {"credentials": credentials})
    ovs.stream.Stream.register_method(method, _streams[method])
    return method


def _context(credentials: Credentials) -> ssl.SSLContext:
    for option, path in zip(OPTIONS, astuple(credentials), strict=True):
        _must_be_readable(option, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # OVSDB's certificates name switches, not hosts
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(credentials.authority)
    except ssl.SSLError as err:
        raise _invalid("ssl_ca_cert_file", credentials.authority, err) from err
    try:
        # A service cannot be asked for a passphrase.
        context.load_cert_chain(credentials.certificate, credentials.key, password=lambda: "")
    except ssl.SSLError as err:
        both = f"{credentials.certificate}, {credentials.key}"
        raise _invalid("ssl_cert_file, ssl_key_file", both, err) from err
    return context


def _must_be_readable(option: str, path: str) -> None:
    if not path:
        raise InvalidValue(field=option, value=path, reason="it must be set for an ssl: remote")
    try:
        with open(path, "rb"):
            pass
    except OSError as err:
        raise _invalid(option, path, err) from err


def _invalid(option: str, path: str, err: OSError) -> InvalidValue:
    return InvalidValue(field=option, value=path, reason=err.strerror or str(err))


class _TlsStream(python_ovs.SslStream):
    """python-ovs' stream, with credentials of its own and a memory for what went wrong.

    python-ovs opens streams through their class, so each server has a class of its own.
    """

    credentials: ClassVar[Credentials]
    problem: ClassVar[str] = ""  #: why TLS failed in the last attempt to connect, if it did
    failures: ClassVar[int] = 0  #: how many attempts to connect TLS has failed
    _handshake_is_done = False
    _handshake_needs = 0  # POLLIN or POLLOUT while a handshake waits for that

    @classmethod
    def open_socket(cls, address: str, dscp: int) -> tuple[int, socket.socket | None]:
        target = ovs.socket_util.inet_parse_active(address, 0, raises=False)
        family, plain = ovs.socket_util.inet_create_socket_active(socket.SOCK_STREAM, target)
        if plain is None:
            return family, None
        cls.problem = ""
        try:
            context = _context(cls.credentials)  # read anew: they may have been renewed
        except InvalidValue as err:
            plain.close()
            return cls._failed(err), None
        secured = context.wrap_socket(plain, do_handshake_on_connect=False)
        error = ovs.socket_util.inet_connect_active(secured, target, family, dscp)
        if not error:
            secured.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return error, secured

    @staticmethod
    def check_connection_completion(sock: socket.socket) -> int:
        poll = ovs.poller.get_system_poll()  # select() takes no descriptor above 1,023
        poll.register(sock, ovs.poller.POLLOUT)
        if not poll.poll(0):
            return errno.EAGAIN
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def connect(self) -> int:
        error: int = super(ovs.stream.SSLStream, self).connect()
        if error or self._handshake_is_done:
            return error
        self._handshake_needs = 0
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self._handshake_needs = ovs.poller.POLLIN
            return errno.EAGAIN
        except ssl.SSLWantWriteError:
            self._handshake_needs = ovs.poller.POLLOUT
            return errno.EAGAIN
        except OSError as err:
            return self._failed(err)
        self._handshake_is_done = True
        return 0

    def wait(self, poller: ovs.poller.Poller, wait: int) -> None:
        """As python-ovs', which asks whether the socket is writable until a handshake is done.

        It always is: while a server is silent that would keep a processor busy.
        """
        if self._handshake_needs:
            poller.fd_wait(self.socket, self._handshake_needs)
        else:
            super().wait(poller, wait)

    def send(self, buf: str) -> int:
        sent: int = super().send(buf)
        if sent < 0 and sent != -errno.EAGAIN:
            self.recv(1)  # reads what the server said before it hung up
        return sent

    def recv(self, n: int) -> tuple[int, bytes | str]:
        if error := self.connect():
            return error, ""
        try:
            return 0, self.socket.recv(n)
        except ssl.SSLWantReadError:
            return errno.EAGAIN, ""
        except ssl.SSLZeroReturnError:
            return 0, ""
        except OSError as err:  # with TLS 1.3, how a server refuses our certificate
            return self._failed(err), ""

    @classmethod
    def _failed(cls, err: Exception) -> int:
        if isinstance(err, (ssl.SSLEOFError, ssl.SSLSyscallError)):
            return errno.ECONNRESET  # a server that restarts: not a matter of certificates
        if isinstance(err, (ssl.SSLError, InvalidValue)):
            cls.problem = str(err)
            cls.failures += 1
            return errno.EPROTO
        return getattr(err, "errno", None) or errno.EPROTO


#: The classes of the connection methods that were made here.
_streams: dict[str, type[_TlsStream]] = {}
