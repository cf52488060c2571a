from __future__ import annotations

from pathlib import Path

import pytest

from appliance.payments.telebirr.signing import KeyErrors, Signer, Verifier, new_key_pair, signing_string

MESSAGE = {
    "timestamp": "1795327200",
    "nonce_str": "A" * 32,
    "method": "payment.preorder",
    "version": "1.0",
    "sign_type": "SHA256WithRSA",
    "sign": "x",
    "biz_content": {"title": "Ticket AB3D5F", "appid": "1", "raw_request": "no", "wallet": {"not": "scalar"}},
}


def test_signing_string_is_sorted_flat_and_unescaped() -> None:
    assert signing_string(MESSAGE) == (
        f"appid=1&method=payment.preorder&nonce_str={'A' * 32}&timestamp=1795327200"
        "&title=Ticket AB3D5F&version=1.0"
    )


def test_signing_string_sorts_by_octets_capitals_first() -> None:
    assert signing_string({"b": 1, "B": 2, "a_": 3, "aa": 4}) == "B=2&a_=3&aa=4&b=1"


@pytest.mark.parametrize("padding", ["pss", "pkcs1"])
def test_signature_is_right_for_its_padding_and_no_other(keys: Path, padding: str) -> None:
    signed = Signer.load(keys / "merchant.key", padding).signed(MESSAGE)
    other = "pkcs1" if padding == "pss" else "pss"
    assert Verifier.load(keys / "merchant.pub", padding).right(signed)
    assert not Verifier.load(keys / "merchant.pub", other).right(signed)
    assert not Verifier.load(keys / "telebirr.pub", padding).right(signed)


@pytest.mark.parametrize(
    "change", [{"version": "1.1"}, {"more": "x"}, {"sign": "AAAA"}, {"sign": "é"}, {"sign": None}]
)
def test_signature_of_a_changed_message_is_wrong(keys: Path, change: dict[str, str]) -> None:
    signed = Signer.load(keys / "merchant.key").signed(MESSAGE)
    assert not Verifier.load(keys / "merchant.pub").right(signed | change)


def test_key_that_cannot_be_used_is_named(tmp_path: Path, keys: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for load in (Signer.load, Verifier.load):
        with pytest.raises(KeyErrors, match="want an RSA"):
            load(broken)
        with pytest.raises(KeyErrors, match="No such file"):
            load(tmp_path / "none.pem")
    with pytest.raises(KeyErrors, match="want an RSA public key"):
        Verifier.load(keys / "merchant.key")


def test_new_key_is_for_its_owner_only(tmp_path: Path) -> None:
    private, _ = new_key_pair(tmp_path, "x")
    assert private.stat().st_mode & 0o077 == 0
