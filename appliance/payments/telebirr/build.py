"""telebirr's way, made from the settings. It needs `cryptography`: imported only where it is configured."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance.payment_settings import Telebirr
from appliance.payments.telebirr.client import Client
from appliance.payments.telebirr.messages import Merchant
from appliance.payments.telebirr.signing import KeyErrors, Signer, Verifier
from appliance.payments.telebirr.way import TelebirrWay
from appliance.payments.words import PhraseWords
from appliance.store.outbound import QueuedRow

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["CALLBACK_PATH", "make_telebirr"]

CALLBACK_PATH = "/payments/telebirr"
NOWHERE = "https://outpost.invalid"  # the API wants an address for callbacks even where none can come


def make_telebirr(
    settings: Telebirr,
    store: Store,
    words: PhraseWords,
    *,
    clock_ms: Callable[[], int],
    offer: Callable[[list[QueuedRow]], object],
) -> TelebirrWay:
    """Raises ValueError with what is wrong with a key, a certificate or the secret."""
    assert settings.app_id and settings.private_key and settings.merchant_app_id and settings.short_code
    try:
        signer = Signer.load(settings.private_key, settings.padding)
        verifier = Verifier.load(settings.public_key, settings.padding) if settings.public_key else None
    except KeyErrors as error:
        raise ValueError(f"payments.telebirr: {error}") from None
    public = (settings.public_url or "").rstrip("/")
    merchant = Merchant(
        settings.merchant_app_id,
        settings.short_code,
        notify_url=(public or NOWHERE) + CALLBACK_PATH,
        redirect_url=(public or NOWHERE) + "/pay/done",
        refund_field=settings.refund_field,
    )
    try:
        client = Client(
            url=settings.url,
            app_id=settings.app_id,
            secret=settings.secret(),
            merchant=merchant,
            signer=signer,
            now_s=lambda: clock_ms() // 1000,
            clock=time.monotonic,
            timeout_s=settings.timeout_s,
            ca=settings.ca,
        )
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"payments.telebirr.ca: {settings.ca}: {error.strerror or error}") from None
    return TelebirrWay(
        store,
        client,
        signer,
        verifier,
        words,
        clock_ms=clock_ms,
        offer=offer,
        checkout_url=settings.checkout_url,
        public_url=public,
    )
