# SPDX-License-Identifier: Apache-2.0
"""OVSDB over TLS and TCP: credentials that are ours alone, and peers that fall silent."""

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ovs.stream
import pytest
from oslo_config import cfg
from ovs.db import idl
from ovsdbapp import exceptions

from os_vif import exception
from os_vif.exception import InvalidValue
from os_vif.wiring import errors
from tests.rig import run, wait_until
from tests.rig.certificates import Authority, Certificate
from tests.rig.failures import fails
from tests.rig.namespace import NetworkNamespace
from tests.rig.ovs import SCHEMA, PrivateOvs
from tests.rig.plugin import (
    BRIDGE_ONLY,
    GROUP,
    HYBRID,
    PORT_ONLY,
    TAP,
    OsVif,
    deviations,
    initialized,
)
from tests.rig.snapshot import difference, snapshot
from tests.rig.stopwatch import within
from vif_plug_ovs.ovsdb import connection, impl_idl, tls
from vif_plug_ovs.ovsdb.drivers import remote as remote_of
from vif_plug_ovs.ovsdb.ovsdb_lib import BaseOVS

PORT, OTHER_PORT = 6641, 6642
AMPLE = 10  # seconds: a deadline that is not to be waited out
SHORT, GRACE = 1, 1
SOON = 2  # seconds in which an error is told whose cause is certain

DRIVERS = ("native", "vsctl")
REMOTES = {
    "ssl-ipv4": f"ssl:127.0.0.1:{PORT}",
    "ssl-ipv6": f"ssl:[::1]:{PORT}",
    "tcp-ipv4": "tcp:127.0.0.1:6640",
    "tcp-ipv6": "tcp:[::1]:6640",
}
KEYS = ("key", "certificate", "authority")  # of Certificate, in the order of tls.OPTIONS


class Pki:
    """Two authorities that do not know each other, and what they signed."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.foreign = Authority(folder / "ours"), Authority(folder / "foreign")
        self.server, self.client = self.ours.issue("server"), self.ours.issue("client")
        self.expired_server = self.ours.issue("expired-server", expired=True)
        self.expired_client = self.ours.issue("expired-client", expired=True)
        self.foreign_server = self.foreign.issue("server")
        self.foreign_client = self.foreign.issue("client")
        trust = self.ours.certificate
        self.stray_server = replace(self.foreign_server, authority=trust)
        self.stray_client = replace(self.foreign_client, authority=trust)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def switch(netns: NetworkNamespace, pki: Pki) -> Iterator[PrivateOvs]:
    with PrivateOvs("dummy", listen_tcp=True, certificate=pki.server, tls_port=PORT) as running:
        yield running


@pytest.fixture
def verbs(switch: PrivateOvs, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> Iterator[OsVif]:
    """os_vif that speaks TLS with the switch, in a process that has not yet."""
    tls._registered.cache_clear()
    monkeypatch.setattr(impl_idl, "_schemas", {})
    with initialized(REMOTES["ssl-ipv4"], timeout=AMPLE) as verbs:
        use(verbs, pki.client)
        yield verbs


def use(verbs: OsVif, certificate: Certificate, **options: Any) -> None:
    """Configure credentials, and other options."""
    verbs.configure(**dict(zip(tls.OPTIONS, certificate.files, strict=True)), **options)


def copy(certificate: Certificate, to: Certificate) -> None:
    for key in KEYS:
        getattr(to, key).write_bytes(getattr(certificate, key).read_bytes())


def restart(switch: PrivateOvs, certificate: Certificate | None = None) -> None:
    switch.kill("ovsdb-server")
    if certificate is not None:
        switch.certificate = certificate
    switch.start_server()


def shared() -> connection.Connection:
    """The connection of the configuration of now."""
    return connection.get(remote_of(cfg.CONF[GROUP]))


def secrets(folder: Path) -> list[str]:
    """The lines of all private keys."""
    lines = (line for key in folder.rglob("*.key") for line in key.read_text().splitlines())
    return [line for line in lines if line and "-----" not in line]


# It works ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("remote", REMOTES)
def test_plug_replug_and_unplug(
    remote: str, driver: str, switch: PrivateOvs, verbs: OsVif
) -> None:
    verbs.configure(ovsdb_connection=REMOTES[remote], ovsdb_interface=driver)
    verbs.plug(BRIDGE_ONLY.vif())
    before = snapshot(switch)
    verbs.plug(HYBRID.vif())
    assert deviations(switch, HYBRID) == []
    plugged, cfg_number = snapshot(switch), switch.next_cfg()
    verbs.plug(HYBRID.vif())
    assert not difference(plugged, snapshot(switch))
    assert switch.next_cfg() == cfg_number
    verbs.unplug(HYBRID.vif())
    assert not difference(before, snapshot(switch))
    if driver == "native":
        opened = shared()._replica.session.rpc.stream.socket
        # Nagle's algorithm would let a second small request wait for the first one's ACK.
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("remote", REMOTES)
def test_outside_plugins_get_the_same_connection(
    remote: str, switch: PrivateOvs, verbs: OsVif
) -> None:
    verbs.configure(ovsdb_connection=REMOTES[remote])
    base = BaseOVS(cfg.CONF[GROUP])
    assert base.connection == REMOTES[remote]
    base.ensure_ovs_bridge("br0", "system")
    assert base.ovsdb.br_exists("br0").execute(check_error=True)
    base.ovsdb.add_br("br1").execute(check_error=True)
    assert set(switch.dump()["Bridge"]) == {"br0", "br1"}
    base.delete_ovs_bridge("br0")
    assert set(switch.dump()["Bridge"]) == {"br1"}


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_both_versions_of_tls_work(
    driver: str, version: str, switch: PrivateOvs, verbs: OsVif, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = PrivateOvs._start

    def with_version(self: PrivateOvs, which: Any, argv: list[str]) -> None:
        more = [f"--ssl-protocols={version}"] if which == "ovsdb-server" else []
        start(self, which, [*argv, *more])

    monkeypatch.setattr(PrivateOvs, "_start", with_version)
    restart(switch)
    verbs.configure(ovsdb_interface=driver)
    verbs.plug(TAP.vif())
    assert deviations(switch, TAP) == []
    if driver == "native":
        assert shared()._replica.session.rpc.stream.socket.version() == version


def test_many_threads_share_one_tls_connection(switch: PrivateOvs, verbs: OsVif) -> None:
    numbers = range(1, 21)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda n: verbs.plug(PORT_ONLY.vif(n), n), numbers))
    assert len(switch.dump()["Port"]) == 1 + len(numbers)
    named = [thread for thread in threading.enumerate() if thread.name.startswith("os-vif ")]
    assert len(named) == 1


# Wrong credentials ------------------------------------------------------------------------------

#: what is wrong -> the server's certificate, ours, what OpenSSL says of it
REFUSED = {
    "the-servers-is-a-strangers": ("stray_server", "client", "certificate verify failed"),
    "the-servers-has-expired": ("expired_server", "client", "certificate has expired"),
    "ours-is-a-strangers": ("server", "stray_client", "unknown ca"),
    "ours-has-expired": ("server", "expired_client", "certificate expired"),
}


@pytest.fixture(params=REFUSED)
def refused(request: pytest.FixtureRequest, pki: Pki, switch: PrivateOvs, verbs: OsVif) -> str:
    """Credentials that do not fit; what is said of them."""
    server, ours, said = REFUSED[request.param]
    restart(switch, getattr(pki, server))
    use(verbs, getattr(pki, ours))
    return said


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_a_certificate_that_is_refused_is_reported_in_the_words_of_openssl(
    verb: str,
    refused: str,
    switch: PrivateOvs,
    verbs: OsVif,
    pki: Pki,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The deprecated driver has those of ovsdb-client, and tries until the deadline."""
    caplog.set_level(logging.DEBUG)
    before = snapshot(switch)
    reason = fails(lambda: getattr(verbs, verb)(TAP.vif()), errors.NotConnected, SOON)
    assert refused in str(reason)
    assert REMOTES["ssl-ipv4"] in str(reason)
    assert "osviftls" not in str(reason)
    assert not difference(before, snapshot(switch))
    said = caplog.text + str(reason)
    assert not [line for line in secrets(pki.server.key.parents[1]) if line in said]


def test_outside_plugins_hear_of_a_refused_certificate(refused: str, verbs: OsVif) -> None:
    base = BaseOVS(cfg.CONF[GROUP])
    failures = (exception.ExceptionBase, exceptions.TimeoutException)
    with within(SOON), pytest.raises(failures, match=refused):
        base.ovsdb.br_exists("br0").execute(check_error=True)


#: what is wrong -> a file (as in KEYS), what is put in its place, what the error says
BAD_FILES: dict[str, tuple[str, Callable[[Pki, Path], Path], str]] = {
    "the-key-is-of-another-certificate": (
        "key",
        lambda pki, _: pki.server.key,
        "key values mismatch",
    ),
    "the-key-is-no-key": ("key", lambda pki, _: pki.client.certificate, ""),
    "the-certificate-is-none": ("certificate", lambda pki, _: pki.client.key, ""),
    "the-authority-is-none": ("authority", lambda pki, _: pki.client.key, ""),
    **{f"the-{key}-is-missing": (key, lambda _, dir: dir / "no", os.strerror(2)) for key in KEYS},
    **{f"the-{key}-is-a-folder": (key, lambda _, dir: dir, os.strerror(21)) for key in KEYS},
    **{f"the-{key}-is-empty": (key, lambda _, dir: empty(dir), "") for key in KEYS},
}


def empty(folder: Path) -> Path:
    (folder / "empty.pem").touch()
    return folder / "empty.pem"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_an_error_that_names_option_and_file(
    what: str,
    driver: str,
    pki: Pki,
    switch: PrivateOvs,
    verbs: OsVif,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    key, make, said = BAD_FILES[what]
    path = make(pki, tmp_path)
    use(verbs, replace(pki.client, **{key: path}), ovsdb_interface=driver)
    before = snapshot(switch)
    for verb in (verbs.plug, verbs.unplug):
        reason = fails(partial(verb, TAP.vif()), InvalidValue, SOON)
        assert tls.OPTIONS[KEYS.index(key)] in str(reason)
        assert str(path) in str(reason)
        assert said in str(reason)
        assert not [line for line in secrets(pki.server.key.parents[1]) if line in caplog.text]
    with pytest.raises(InvalidValue):
        BaseOVS(cfg.CONF[GROUP])
    assert not difference(before, snapshot(switch))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("option", tls.OPTIONS)
def test_an_option_that_is_not_set_is_named(
    option: str, value: str | None, driver: str, switch: PrivateOvs, verbs: OsVif
) -> None:
    verbs.configure(ovsdb_interface=driver, **{option: value})
    with pytest.raises(exception.PlugException, match=f"{option}.*must be set"):
        verbs.plug(TAP.vif())


@pytest.mark.parametrize("remote", ["tcp-ipv4", "unix"])
def test_the_files_are_not_looked_at_where_there_is_no_tls(
    remote: str, switch: PrivateOvs, verbs: OsVif
) -> None:
    verbs.configure(ovsdb_connection=REMOTES.get(remote, switch.remote))
    verbs.configure(**dict.fromkeys(tls.OPTIONS, "/missing"))
    verbs.plug(PORT_ONLY.vif())
    assert deviations(switch, PORT_ONLY) == []


ASKED_FOR = """
import sys
from os_vif.exception import InvalidValue
from vif_plug_ovs.ovsdb import tls
try:
    tls.check(tls.Credentials(*sys.argv[1:]))
except InvalidValue as err:
    print("refused:", err)
"""


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
    pki: Pki, tmp_path: Path
) -> None:
    """OpenSSL would ask at the terminal, or without one at the standard input, and wait."""
    locked = tmp_path / "locked.key"
    lock = ["-aes256", "-passout", "pass:x1234"]
    run(["openssl", "ec", "-in", str(pki.client.key), "-out", str(locked), *lock])
    paths = map(str, (locked, pki.client.certificate, pki.client.authority))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASKED_FOR, *paths],
        start_new_session=True,
        input="x1234\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.match("refused:.*ssl_key_file", done.stdout)
    assert "pass phrase" not in done.stdout + done.stderr


# Credentials that change ------------------------------------------------------------------------


def test_a_server_whose_certificate_is_put_right_is_found_at_once(
    pki: Pki, switch: PrivateOvs, verbs: OsVif
) -> None:
    restart(switch, pki.expired_server)
    with pytest.raises(exception.PlugException, match="certificate"):
        verbs.plug(PORT_ONLY.vif())
    restart(switch, pki.server)
    with within(SOON):
        verbs.unplug(PORT_ONLY.vif())
    switch.catch_up()
    verbs.plug(PORT_ONLY.vif())
    assert deviations(switch, PORT_ONLY) == []


def test_a_server_is_not_blamed_for_another_one(
    pki: Pki, switch: PrivateOvs, verbs: OsVif
) -> None:
    """The credentials, and so the way to connect, are the same for both."""
    bad = pki.expired_server
    with PrivateOvs("dummy", certificate=bad, tls_port=OTHER_PORT):
        verbs.configure(ovsdb_connection=f"ssl:127.0.0.1:{OTHER_PORT}")
        with pytest.raises(exception.PlugException, match="expired"):
            verbs.plug(PORT_ONLY.vif(1), 1)
        verbs.configure(ovsdb_connection=REMOTES["ssl-ipv4"])
        verbs.plug(PORT_ONLY.vif(2), 2)
        assert deviations(switch, PORT_ONLY, 2) == []
        connection.close_all()


def test_a_certificate_that_is_renewed_in_place_is_used_by_the_next_connection(
    pki: Pki, switch: PrivateOvs, verbs: OsVif, tmp_path: Path
) -> None:
    """As python-ovs, ovs-vsctl and the daemons do: nobody restarts nova-compute for it."""
    ours = Certificate(*(tmp_path / key for key in KEYS))
    copy(pki.client, ours)
    use(verbs, ours)
    verbs.plug(PORT_ONLY.vif(1), 1)
    copy(pki.foreign_client, ours)
    restart(switch, pki.foreign_server)
    switch.catch_up()
    verbs.plug(PORT_ONLY.vif(2), 2)
    assert deviations(switch, PORT_ONLY, 2) == []


def test_the_files_are_read_when_a_connection_is_opened_and_not_by_each_verb(
    pki: Pki, switch: PrivateOvs, verbs: OsVif, tmp_path: Path
) -> None:
    """A renewal that takes them away for a moment does no harm to one that is open."""
    ours = Certificate(*(tmp_path / key for key in KEYS))
    copy(pki.client, ours)
    use(verbs, ours)
    verbs.plug(PORT_ONLY.vif(1), 1)
    assert BaseOVS(cfg.CONF[GROUP]).ovsdb.br_exists("br-int").execute(check_error=True)
    for key in KEYS:
        getattr(ours, key).unlink()
    verbs.plug(PORT_ONLY.vif(1), 1)
    verbs.plug(PORT_ONLY.vif(2), 2)
    assert BaseOVS(cfg.CONF[GROUP]).ovsdb.br_exists("br-int").execute(check_error=True)
    assert deviations(switch, PORT_ONLY, 2) == []
    restart(switch)
    with pytest.raises(exception.PlugException, match=r"ssl_key_file.*No such file"):
        verbs.plug(PORT_ONLY.vif(3), 3)
    copy(pki.client, ours)
    switch.catch_up()
    verbs.plug(PORT_ONLY.vif(3), 3)
    assert deviations(switch, PORT_ONLY, 3) == []


def test_a_server_that_hangs_up_in_the_handshake_is_tried_again(
    netns: NetworkNamespace, pki: Pki
) -> None:
    """As one does that is being restarted: that is no problem of certificates."""
    with (
        socket.create_server(("127.0.0.1", PORT)) as dying,
        initialized(REMOTES["ssl-ipv4"], timeout=AMPLE) as verbs,
        ThreadPoolExecutor(1) as pool,
    ):
        use(verbs, pki.client)
        waiting = pool.submit(verbs.plug, PORT_ONLY.vif())
        for _ in range(2):
            client, _ = dying.accept()
            client.recv(1)
            client.close()
        dying.close()
        with PrivateOvs("dummy", certificate=pki.server, tls_port=PORT) as switch:
            waiting.result()
            assert deviations(switch, PORT_ONLY) == []
            connection.close_all()


# Beside somebody else's python-ovs --------------------------------------------------------------


class Agent:
    """Somebody who uses python-ovs in this process as Neutron's agent does."""

    def __init__(self, certificate: Certificate, port: int) -> None:
        stream = ovs.stream.Stream
        stream.ssl_set_private_key_file(str(certificate.key))
        stream.ssl_set_certificate_file(str(certificate.certificate))
        stream.ssl_set_ca_cert_file(str(certificate.authority))
        helper = idl.SchemaHelper(SCHEMA)
        helper.register_columns("Bridge", ["name"])
        self._idl = idl.Idl(f"ssl:127.0.0.1:{port}", helper)

    def sees(self, bridge: str) -> bool:
        """Whether it is connected, and a bridge is in the replica."""
        self._idl._session.reconnect.backoff = 0
        self._idl.run()
        rows = self._idl.tables["Bridge"].rows.values()
        return self._idl._session.is_connected() and bridge in {row.name for row in rows}

    def is_cut_off(self) -> bool:
        self._idl.run()
        return not self._idl._session.is_connected()

    def close(self) -> None:
        self._idl.close()


@pytest.fixture
def class_settings() -> Iterator[Callable[[], dict[str, Any]]]:
    """What python-ovs keeps for the whole process; restored in the end."""
    stream = ovs.stream.Stream
    names = [name for name in vars(stream) if name.startswith("_SSL_")]
    assert len(names) == 3
    before = {name: getattr(stream, name) for name in names}
    yield lambda: {name: getattr(stream, name) for name in names}
    for name, value in before.items():
        setattr(stream, name, value)


@pytest.fixture
def elsewhere(netns: NetworkNamespace, pki: Pki) -> Iterator[PrivateOvs]:
    """A server of the foreign authority."""
    certificate = pki.foreign_server
    with PrivateOvs("dummy", certificate=certificate, tls_port=OTHER_PORT) as running:
        running.vsctl("add-br", "br-agent")
        yield running


@pytest.mark.parametrize("agent_first", [True, False], ids=["agent-first", "os-vif-first"])
def test_somebody_elses_credentials_and_ours_live_side_by_side(
    agent_first: bool,
    pki: Pki,
    switch: PrivateOvs,
    elsewhere: PrivateOvs,
    verbs: OsVif,
    class_settings: Callable[[], dict[str, Any]],
) -> None:
    """Both connect, and reconnect, in either order."""
    if not agent_first:
        verbs.plug(BRIDGE_ONLY.vif(1), 1)
    agent = Agent(pki.foreign_client, OTHER_PORT)
    theirs = class_settings()
    try:
        wait_until(lambda: agent.sees("br-agent"), what="the agent to connect")
        verbs.plug(PORT_ONLY.vif(1), 1)
        ours = shared()
        for number, servers in enumerate(([switch, elsewhere], [elsewhere], [switch]), start=2):
            for server in servers:
                restart(server)
            if elsewhere in servers:
                wait_until(agent.is_cut_off, what="the agent to notice")
            if switch in servers:
                switch.catch_up()
            order = [
                lambda: wait_until(lambda: agent.sees("br-agent"), what="the agent to be back"),
                lambda number=number: verbs.plug(PORT_ONLY.vif(number), number),
            ]
            for step in order if agent_first else reversed(order):
                step()
            assert deviations(switch, PORT_ONLY, number) == []
        assert shared() is ours
        assert class_settings() == theirs
        assert set(theirs.values()) == {str(getattr(pki.foreign_client, key)) for key in KEYS}
    finally:
        agent.close()


def test_nothing_of_python_ovs_is_changed(
    pki: Pki,
    switch: PrivateOvs,
    verbs: OsVif,
    class_settings: Callable[[], dict[str, Any]],
) -> None:
    classes = [
        ovs.stream.Stream, ovs.stream.SSLStream, ovs.stream.TCPStream, ovs.stream.UnixStream
    ]  # fmt: skip
    before = [dict(vars(each)) for each in classes]
    methods = dict(ovs.stream.Stream._SOCKET_METHODS)
    settings = class_settings()
    verbs.plug(TAP.vif())
    BaseOVS(cfg.CONF[GROUP]).ovsdb.br_exists("br0").execute(check_error=True)
    verbs.unplug(TAP.vif())
    assert [dict(vars(each)) for each in classes] == before
    assert class_settings() == settings
    assert methods.items() <= ovs.stream.Stream._SOCKET_METHODS.items()
    assert ovs.stream.Stream._SOCKET_METHODS["ssl:"] is ovs.stream.SSLStream


def test_two_option_groups_with_credentials_of_their_own_have_connections_of_their_own(
    pki: Pki, switch: PrivateOvs, elsewhere: PrivateOvs, verbs: OsVif
) -> None:
    verbs.plug(PORT_ONLY.vif(1), 1)
    use(verbs, pki.foreign_client, ovsdb_connection=f"ssl:[::1]:{OTHER_PORT}")
    verbs.plug(PORT_ONLY.vif(2), 2)
    restart(switch)
    restart(elsewhere)
    switch.catch_up()
    elsewhere.catch_up()
    verbs.plug(PORT_ONLY.vif(3), 3)
    use(verbs, pki.client, ovsdb_connection=REMOTES["ssl-ipv4"])
    verbs.plug(PORT_ONLY.vif(4), 4)
    ports = [set(each.dump()["Port"]) - {"br-int", "br-agent"} for each in (switch, elsewhere)]
    assert ports == [{PORT_ONLY.port(1), PORT_ONLY.port(4)}, {PORT_ONLY.port(n) for n in (2, 3)}]


def test_ways_to_connect_do_not_pile_up(switch: PrivateOvs, verbs: OsVif) -> None:
    verbs.plug(PORT_ONLY.vif())
    methods = len(ovs.stream.Stream._SOCKET_METHODS)
    connection.close_all()
    verbs.plug(PORT_ONLY.vif())
    assert len(ovs.stream.Stream._SOCKET_METHODS) == methods


# Peers that fall silent -------------------------------------------------------------------------


@pytest.mark.parametrize("remote", REMOTES)
def test_a_silent_peer_is_noticed_and_found_again(
    remote: str, switch: PrivateOvs, verbs: OsVif
) -> None:
    verbs.configure(ovsdb_connection=REMOTES[remote])
    verbs.plug(PORT_ONLY.vif(1), 1)
    ours = shared()
    probing = ours._replica.session.reconnect
    assert probing.get_probe_interval() == 5000  # milliseconds
    probing.set_probe_interval(200)  # for the patience of this test
    ours._wake()
    switch.freeze("ovsdb-server")
    wait_until(lambda: not ours._replica.is_connected(), 3, "the silence to be noticed")
    switch.thaw("ovsdb-server")
    verbs.plug(PORT_ONLY.vif(2), 2)
    assert deviations(switch, PORT_ONLY, 2) == []


def test_a_socket_of_this_host_is_not_probed(switch: PrivateOvs, verbs: OsVif) -> None:
    """Its end is always noticed; a probe would only wake an idle process."""
    verbs.configure(ovsdb_connection=switch.remote)
    verbs.plug(PORT_ONLY.vif())
    assert shared()._replica.session.reconnect.get_probe_interval() == 0


@pytest.mark.parametrize("remote", REMOTES)
def test_a_silent_peer_keeps_no_processor_busy(
    remote: str, switch: PrivateOvs, verbs: OsVif
) -> None:
    """In the middle of a handshake python-ovs asks for a socket that is writable: always."""
    verbs.configure(ovsdb_connection=REMOTES[remote], ovs_vsctl_timeout=2 * SHORT)
    switch.freeze("ovsdb-server")
    base = BaseOVS(cfg.CONF[GROUP])
    for wait, expected in (
        (lambda: verbs.plug(TAP.vif()), exception.PlugException),
        (lambda: base.ovsdb, errors.NotConnected),
    ):
        busy = time.process_time()
        with within(2 * SHORT + GRACE), pytest.raises(expected):
            wait()
        assert time.process_time() - busy < SHORT / 2
    busy = time.process_time()
    time.sleep(SHORT)  # while nobody waits, the connection's own thread goes on trying
    assert time.process_time() - busy < SHORT / 4


def test_a_server_without_tls_is_an_error(switch: PrivateOvs, verbs: OsVif) -> None:
    verbs.configure(ovsdb_connection="ssl:127.0.0.1:6640", ovs_vsctl_timeout=SHORT)
    with within(SHORT + GRACE), pytest.raises(exception.PlugException, match=r"ssl:127.*:6640"):
        verbs.plug(TAP.vif())
