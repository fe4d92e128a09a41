"""Throw-away certificates for the sandbox, and the handshake that lets known clients in and nobody else."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fintokenx.kernel.clock import Instant

LIFE: Final = timedelta(days=90)
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, both PEM. For the sandbox: a real node's or client's key is never made here."""

    common_name: str
    pem: str
    key_pem: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 as Besu's known-clients file spells it."""
        return _fingerprint(x509.load_pem_x509_certificate(self.pem.encode()))

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write both, the key for this user only. Returns the paths of certificate and key."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{self.common_name}.crt", folder / f"{self.common_name}.key"
        certificate.write_text(self.pem)
        key.touch(mode=0o600)
        key.write_text(self.key_pem)
        return certificate, key


def self_signed(common_name: str, now: Instant) -> Certificate:
    """A certificate that vouches for itself, as Besu's known clients usually do; good for this machine, 90 days.

    ``now`` is the machine's time and not that of business: TLS asks the machine.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    hosts = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(LOOPBACK))],
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(hosts, critical=False)
        # Without this a known client could vouch for others.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    return Certificate(
        common_name,
        signed.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def listed(known_clients: str, certificates: Sequence[str]) -> list[str]:
    """Those of the certificates (PEM) whose common name and fingerprint are a line of Besu's known-clients file."""
    lines = {tuple(line.split()) for line in known_clients.splitlines() if line.strip() and not line.startswith("#")}
    return [pem for pem in certificates if _line_of(x509.load_pem_x509_certificate(pem.encode())) in lines]


def known_clients_only(certificate: Path, key: Path, known: Sequence[str]) -> ssl.SSLContext:
    """TLS 1.3 for one node, whose handshake fails for everybody but the ``known`` certificates (PEM).

    Besu keeps hashes of them; OpenSSL, which decides within the handshake, must be given the certificates themselves.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    # A listed certificate is trusted as it is, whoever signed it: its issuer's other certificates are not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if known:
        context.load_verify_locations(cadata="".join(known))
    return context


def _line_of(certificate: x509.Certificate) -> tuple[str, ...]:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (str(names[0].value) if names else "", _fingerprint(certificate))


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex(":").upper()
