"""By whom telebirr's server is vouched for: it leaves out part of its chain, so that comes with Outpost."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.payments.telebirr.client import AUTHORITIES, trusting

HOST = "telebirr.example"
NOW = datetime.datetime.now(datetime.UTC)


class Issued(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issued(name: str, by: Issued | None, *, authority: bool) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = by.key if by else key
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return Issued(built.sign(signer, hashes.SHA256()), key)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A TLS handshake in memory; raises what the client does not trust."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=HOST),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)


@pytest.fixture
def server(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server that sends its own certificate only, and the file with the authorities above it."""
    root = issued("A root", None, authority=True)
    between = issued("Between", root, authority=True)
    leaf = issued(HOST, between, authority=False)
    (tmp_path / "leaf.pem").write_bytes(
        pem(leaf.certificate)
        + leaf.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (tmp_path / "chain.pem").write_bytes(pem(root.certificate, between.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")
    return context, tmp_path / "chain.pem"


def test_server_that_leaves_out_its_chain_is_trusted_by_the_file(
    server: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, chain = server
    shake_hands(context, trusting(str(chain)))
    monkeypatch.setattr("appliance.payments.telebirr.client.AUTHORITIES", chain)
    shake_hands(context, trusting(None))


def test_server_of_an_unknown_authority_is_refused(server: tuple[ssl.SSLContext, Path]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(server[0], trusting(None))


def test_authorities_that_come_with_outpost_vouch_for_each_other() -> None:
    root, between = x509.load_pem_x509_certificates(AUTHORITIES.read_bytes())
    root.verify_directly_issued_by(root)
    between.verify_directly_issued_by(root)
    for each in (root, between):
        assert each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert each.not_valid_after_utc > datetime.datetime(2027, 7, 15, tzinfo=datetime.UTC)


def test_file_that_is_no_certificate_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        trusting(str(tmp_path / "ca.pem"))
