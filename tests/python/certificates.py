"""Certificates for the tests: an authority of one's own, and what it vouches for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass
class Identity:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes
    serial: int

    def write(self, certificate: Path, key: Path) -> None:
        """Puts both in their places, each at once, the key for its owner's eyes only."""
        put(key, self.key, 0o600)
        put(certificate, self.certificate, 0o644)


def put(file: Path, text: bytes, mode: int) -> None:
    """Writes a file that nobody sees half of."""
    new = file.with_suffix(".new")
    new.touch(mode=mode)
    new.write_bytes(text)
    os.replace(new, file)


class Authority:
    """Signs certificates of this machine and of clients."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(self._name, self._key.public_key(), DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        self.certificate = pem(builder.sign(self._key, hashes.SHA256()))

    def issue(self, name: str = "localhost", *, expires_in: timedelta = DAY) -> Identity:
        """A certificate for a server of this machine, or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(subject, key.public_key(), expires_in)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Identity(pem(certificate), text, certificate.serial_number)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, expires_in: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - 7 * DAY).not_valid_after(now + expires_in)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        return builder.add_extension(own, critical=False)


def pem(certificate: x509.Certificate) -> bytes:
    """The text of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM)
