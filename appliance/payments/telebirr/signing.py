"""What telebirr signs and how: one sorted line of `key=value`, RSA with SHA-256.

The API says SHA256WithRSA and means RSASSA-PSS with a salt of 32; one public SDK uses PKCS#1 v1.5 all the
same, so the padding is a setting. `cryptography` is imported by nobody who does not use telebirr.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ["SIGN_TYPE", "KeyErrors", "Signer", "Verifier", "new_key_pair", "signing_string"]

SIGN_TYPE: Final = "SHA256WithRSA"
SALT_OCTETS: Final = 32
# Never signed, wherever they stand.
_LEFT_OUT: Final = frozenset(
    ("sign", "sign_type", "header", "refund_info", "openType", "raw_request", "biz_content")
)


class KeyErrors(Exception):
    """A key file cannot be used."""


def signing_string(message: Mapping[str, Any]) -> str:
    """The scalars of the message and of its `biz_content` in one list, sorted by the octets of their keys.

    Values as they are, not URL-encoded; objects and lists are left out.
    """
    content = message.get("biz_content")
    fields = {**message, **content} if isinstance(content, Mapping) else dict(message)
    return "&".join(
        f"{key}={_text(value)}"
        for key, value in sorted(fields.items(), key=lambda item: item[0].encode())
        if key not in _LEFT_OUT and value is not None and not isinstance(value, (Mapping, list))
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _padding(kind: str) -> padding.AsymmetricPadding:
    if kind == "pkcs1":
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=SALT_OCTETS)


class Signer:
    """The merchant's key. padding: "pss" or "pkcs1"."""

    def __init__(self, key: rsa.RSAPrivateKey, padding: str = "pss") -> None:
        self._key, self._padding = key, padding

    @classmethod
    def load(cls, path: str | Path, padding: str = "pss") -> Signer:
        """From a PEM file without a password. Raises KeyErrors."""
        try:
            key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyErrors(f"{path}: {_why(error)}; want an RSA private key in PEM") from None
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
            raise KeyErrors(f"{path}: want an RSA key of at least 2048 bits")
        return cls(key, padding)

    def sign(self, message: Mapping[str, Any]) -> str:
        """The signature of a message, in base64."""
        text = signing_string(message).encode()
        return base64.b64encode(self._key.sign(text, _padding(self._padding), hashes.SHA256())).decode()

    def signed(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The message with `sign_type` and `sign`."""
        return {**message, "sign_type": SIGN_TYPE, "sign": self.sign(message)}


class Verifier:
    """The other side's key."""

    def __init__(self, key: rsa.RSAPublicKey, padding: str = "pss") -> None:
        self._key, self._padding = key, padding

    @classmethod
    def load(cls, path: str | Path, padding: str = "pss") -> Verifier:
        """From a PEM file with a public key. Raises KeyErrors."""
        try:
            key = serialization.load_pem_public_key(Path(path).read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise KeyErrors(f"{path}: {_why(error)}; want an RSA public key in PEM") from None
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
            raise KeyErrors(f"{path}: want an RSA key of at least 2048 bits")
        return cls(key, padding)

    def right(self, message: Mapping[str, Any]) -> bool:
        """Whether the message carries this key's signature of itself. Raises nothing."""
        try:
            signature = base64.b64decode(str(message.get("sign", "")), validate=True)
            self._key.verify(
                signature, signing_string(message).encode(), _padding(self._padding), hashes.SHA256()
            )
        except (binascii.Error, ValueError, InvalidSignature):
            return False
        return True


def new_key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a key and write NAME.key and NAME.pub, for the emulator and the demo."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or "cannot be read"
