"""The settings of telebirr's API, and what only several of them together can get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from appliance.settings_tree import described

__all__ = ["Telebirr", "absolute_telebirr", "telebirr_mistakes"]

_FILE: Final = "file:"


class Telebirr(Struct, frozen=True, forbid_unknown_fields=True):
    """app_id None: telebirr is not asked; its receipts by SMS may count all the same."""

    app_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        described(
            "The fabric app id; with it passengers can pay through telebirr's API.", "as telebirr gave it"
        ),
    ] = None
    app_secret: Annotated[
        str | None,
        described(
            "Its secret, or better the file that holds it.", "'file:' and a path, or the secret itself"
        ),
    ] = None
    merchant_app_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        described("The merchant's app id.", "as telebirr gave it"),
    ] = None
    short_code: Annotated[
        Annotated[str, Meta(pattern=r"^\d{3,16}$")] | None,
        described("The merchant's short code.", "3 to 16 digits in quotes, as telebirr gave it"),
    ] = None
    private_key: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        described("File with the merchant's own RSA key, which signs what is asked.", "a PEM file"),
    ] = None
    public_key: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        described(
            "File with telebirr's RSA key, which proves its callbacks; without it they are refused and only"
            " the box's own questions count.",
            "a PEM file",
        ),
    ] = None
    ca: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        described(
            "File with the authorities that telebirr's server is checked by; without it the system's and"
            " those in config/telebirr-ca.pem.",
            "a PEM file",
        ),
    ] = None
    url: Annotated[
        str,
        described(
            "Where the API is; the vendor's test system is at https://developerportal.ethiotelebirr.et:38443.",
            "an https:// address",
        ),
    ] = "https://telebirrappcube.ethiomobilemoney.et:38443/apiaccess/payment/gateway"
    checkout_url: Annotated[
        str, described("Where a passenger pays in the browser.", "an https:// address")
    ] = "https://telebirrappcube.ethiomobilemoney.et:38443/payment/web/paygate"
    padding: Annotated[
        Literal["pss", "pkcs1"],
        described("How signatures are padded; telebirr itself uses 'pss'.", "'pss' or 'pkcs1'"),
    ] = "pss"
    refund_field: Annotated[
        Literal["actual_amount", "refund_amount"],
        described(
            "What a refund's amount is called; telebirr's documents differ.",
            "'actual_amount' or 'refund_amount'",
        ),
    ] = "actual_amount"
    public_url: Annotated[
        Annotated[str, Meta(max_length=36)] | None,
        described(
            "Where passengers and telebirr reach this box: a short link goes out with the held seats, and"
            " callbacks come. Without it a passenger gets telebirr's own long link, in several SMS.",
            "an https:// address of at most 36 characters, such as 'https://box.example'",
        ),
    ] = None
    timeout_s: Annotated[
        float, described("How long an answer is waited for, in seconds.", "1 to 60", ge=1, le=60)
    ] = 20.0
    watch_hours: Annotated[
        int,
        described(
            "Money that comes after the seats' time is looked for so long, in hours.",
            "1 to 168",
            ge=1,
            le=168,
        ),
    ] = 24

    def secret(self) -> str:
        """The app's secret. Raises ValueError with what is wrong; the secret is not in it."""
        secret = self.app_secret or ""
        if secret.startswith(_FILE):
            path = Path(secret.removeprefix(_FILE))
            try:
                secret = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "not text"
                raise ValueError(f"payments.telebirr.app_secret: {path}: {why}") from None
        secret = secret.strip()
        if not secret:
            raise ValueError("payments.telebirr.app_secret: missing; want 'file:' and a path")
        return secret


def telebirr_mistakes(telebirr: Telebirr) -> list[str]:
    """What is wrong, as lines from `payments.telebirr.` on; no line holds the secret."""
    if telebirr.app_id is None:
        return []
    where = "payments.telebirr"
    lines = [
        f"{where}.{field}: missing; want it beside app_id"
        for field in ("app_secret", "merchant_app_id", "short_code", "private_key")
        if not getattr(telebirr, field)
    ]
    for field in ("url", "checkout_url", "public_url"):
        address = getattr(telebirr, field)
        if address is None:
            continue
        parts = urlsplit(address)
        own = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            lines.append(f"{where}.{field}: {address!r}; want an https:// address")
        elif parts.scheme == "http" and not own:
            lines.append(f"{where}.{field}: {address!r}; money does not travel in the open: want https://")
    return lines


def absolute_telebirr(telebirr: Telebirr, folder: Path) -> Telebirr:
    """The same with files that count from the configuration's folder."""

    def whole(path: str | None) -> str | None:
        return None if path is None else str((folder.absolute() / Path(path).expanduser()).resolve())

    secret = telebirr.app_secret
    if secret and secret.startswith(_FILE):
        secret = f"{_FILE}{whole(secret.removeprefix(_FILE))}"
    return msgspec.structs.replace(
        telebirr,
        app_secret=secret,
        private_key=whole(telebirr.private_key),
        public_key=whole(telebirr.public_key),
        ca=whole(telebirr.ca),
    )
