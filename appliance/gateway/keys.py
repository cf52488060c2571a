"""API keys: made once, shown once, kept as a hash.

A key reads `op_<id>_<secret>`: the id finds its row, the secret proves it. 256 random bits cannot be
guessed, so one SHA-256 is hash enough and costs a request nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from typing import Final, NamedTuple

from appliance.store.gateway import KeyRow

__all__ = ["SCOPES", "MadeKey", "allows_address", "key_id", "make_key", "parse_networks", "proves"]

SCOPES: Final = ("send", "read", "admin")
_FORM: Final = re.compile(r"op_([a-z0-9]{10})_([A-Za-z0-9_-]{43})\Z")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_NOBODY: Final = bytes(32)


class MadeKey(NamedTuple):
    """text: what its owner is given, once. row: what is stored."""

    text: str
    row: KeyRow


def make_key(
    client_id: int,
    scopes: frozenset[str],
    now_ms: int,
    *,
    expires_at_ms: int | None = None,
    networks: str = "",
    note: str = "",
) -> MadeKey:
    """A new key. Raises ValueError for unknown scopes or networks."""
    if not scopes or not scopes <= set(SCOPES):
        raise ValueError(f"scopes are {', '.join(SCOPES)}")
    parse_networks(networks)
    identity = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    text = f"op_{identity}_{secrets.token_urlsafe(32)}"
    row = KeyRow(
        id=identity,
        client_id=client_id,
        hash=_hash(text),
        scopes=" ".join(scope for scope in SCOPES if scope in scopes),
        networks=networks,
        note=note,
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
        revoked_at_ms=None,
    )
    return MadeKey(text, row)


def key_id(text: str) -> str | None:
    """The id in a key's text; None when it has not the form of a key."""
    found = _FORM.match(text)
    return found[1] if found else None


def proves(text: str, row: KeyRow | None, now_ms: int) -> bool:
    """Whether the text is this key and the key is in force; as slow for an unknown one."""
    right = hmac.compare_digest(_hash(text), row.hash if row is not None else _NOBODY)
    if not right or row is None:
        return False
    if row.expires_at_ms is not None and row.expires_at_ms <= now_ms:
        return False
    return row.revoked_at_ms is None or row.revoked_at_ms > now_ms


def parse_networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Networks in CIDR form with blanks between. Raises ValueError."""
    return tuple(ipaddress.ip_network(word) for word in text.split())


def allows_address(networks: str, address: str) -> bool:
    """Whether a key may be used from this address."""
    if not networks:
        return True
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip in network for network in parse_networks(networks) if network.version == ip.version)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
