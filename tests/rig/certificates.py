# SPDX-License-Identifier: Apache-2.0
"""A private certificate authority, made with the program ``openssl``."""

from dataclasses import dataclass
from pathlib import Path

from tests.rig import run

_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
#: Only ``openssl ca`` signs certificates whose time is over, in every version of OpenSSL.
_CONFIG = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
"""
_PAST, _FUTURE = "20200201000000Z", "20991231000000Z"


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files: a key, the certificate for it, and the authority that peers must have.

    The authority need not be the one that signed this certificate.
    """

    key: Path
    certificate: Path
    authority: Path

    @property
    def files(self) -> tuple[str, str, str]:
        """The three, in the order in which our options and Credentials take them."""
        return str(self.key), str(self.certificate), str(self.authority)

    def arguments(self) -> list[str]:
        """The options by which the programs of Open vSwitch take it."""
        return [
            f"--private-key={self.key}",
            f"--certificate={self.certificate}",
            f"--ca-cert={self.authority}",
        ]


class Authority:
    """Signs certificates; its files are in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """:param folder: is made."""
        folder.mkdir()
        self._folder = folder
        self._key = folder / "authority.key"
        self.certificate = folder / "authority.pem"
        (folder / "index.txt").touch()
        self._config = folder / "openssl.cnf"
        self._config.write_text(_CONFIG.format(folder=folder))
        own = ["-keyout", str(self._key), "-out", str(self.certificate), "-days", "30"]
        run(["openssl", "req", "-x509", *_EC, *own, "-subj", f"/CN={folder.name}"])

    def issue(self, name: str, *, expired: bool = False) -> Certificate:
        """Make a key and sign a certificate for it."""
        key, request, certificate = (
            self._folder / f"{name}.{suffix}" for suffix in ("key", "csr", "pem")
        )
        out = ["-keyout", str(key), "-out", str(request)]
        run(["openssl", "req", *_EC, *out, "-subj", f"/CN={name}"])
        files = {"-in": request, "-out": certificate}
        signing = {"-config": self._config, "-keyfile": self._key, "-cert": self.certificate}
        times = {"-startdate": "20200101000000Z", "-enddate": _PAST if expired else _FUTURE}
        options = [str(word) for pair in {**signing, **times, **files}.items() for word in pair]
        run(["openssl", "ca", "-batch", "-notext", "-rand_serial", *options])
        return Certificate(key, certificate, self.certificate)
