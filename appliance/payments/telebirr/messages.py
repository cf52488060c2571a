"""telebirr's fabric API as plain data: what is asked, what the answers mean, and how a browser pays.

Pure: the time and the nonce are arguments. Fields as the vendor names them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple
from urllib.parse import quote

__all__ = [
    "PAID",
    "Callback",
    "Merchant",
    "NotOurs",
    "Reply",
    "Trade",
    "amount",
    "checkout",
    "checkout_url",
    "envelope",
    "plain",
    "preorder",
    "query",
    "read_callback",
    "read_time_s",
    "refund",
    "santim",
]

CURRENCY: Final = "ETB"
TITLE_CHARS: Final = 100
# What a query says of an order; a callback uses words of its own.
PAID: Final = frozenset(("PAY_SUCCESS", "COMPLETED"))
ADDIS_S: Final = 3 * 3600  # times as text are local


class NotOurs(ValueError):
    """A callback that is not what it should be. The text says which field."""


class Merchant(NamedTuple):
    """Who asks. refund_field: what a refund's amount is called."""

    app_id: str
    short_code: str
    notify_url: str
    redirect_url: str
    refund_field: str


class Reply(NamedTuple):
    """An answer that could be read. done: it says SUCCESS. code and message: the vendor's, raw."""

    done: bool
    code: str
    message: str
    content: Mapping[str, Any]

    @classmethod
    def read(cls, body: object) -> Reply:
        """Raises ValueError for what is no answer of this API."""
        if not isinstance(body, Mapping) or not (body.keys() & {"result", "code", "errorCode"}):
            raise ValueError("an answer without result, code or errorCode")
        content = body.get("biz_content")
        done = str(body.get("result", "")).upper() == "SUCCESS" and "errorCode" not in body
        return cls(
            done,
            str(body.get("errorCode") or body.get("code") or ""),
            str(body.get("errorMsg") or body.get("msg") or "")[:200],
            content if isinstance(content, Mapping) else {},
        )


class Trade(NamedTuple):
    """What a query tells of an order. santim: None when no amount is told or it cannot be read."""

    status: str
    trans_id: str
    santim: int | None

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Trade:
        return cls(
            str(content.get("trade_status") or content.get("order_status") or "").upper(),
            str(content.get("trans_id") or content.get("payment_order_id") or ""),
            santim(content.get("total_amount")),
        )


class Callback(NamedTuple):
    """A callback that named us. at_s: when the payment ended, None when that cannot be read."""

    merch_order_id: str
    trade: Trade
    at_s: float | None


def amount(santim: int) -> str:
    """`800.00`"""
    return f"{santim // 100}.{santim % 100:02}"


def santim(value: object) -> int | None:
    """An amount as text or number; None for what is no whole number of santim from 0 on."""
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or number < 0 or number * 100 != (number * 100).to_integral_value():
        return None
    return int(number * 100)


def plain(text: str, limit: int = TITLE_CHARS) -> str:
    """Letters, digits and single blanks: what a title may hold."""
    return " ".join(re.sub(r"[^A-Za-z0-9 ]+", " ", text).split())[:limit].strip()


def read_time_s(value: object) -> float | None:
    """Unix seconds of the three forms seen: seconds, milliseconds, or local text with or without marks."""
    text = str(value).strip()
    digits = re.sub(r"[-/: T]", "", text)
    if not digits.isdecimal():
        return None
    if len(digits) == 14 and (len(text) > 14 or digits.startswith("20")):
        try:
            moment = dt.datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
        except ValueError:
            return None
        return moment.timestamp() - ADDIS_S
    if digits != text:
        return None
    return int(digits) / 1000 if len(digits) == 13 else float(digits) if len(digits) <= 10 else None


def envelope(method: str, content: Mapping[str, Any], now_s: int, nonce: str) -> dict[str, Any]:
    """A request before it is signed. nonce: 32 capitals and digits."""
    return {
        "timestamp": str(now_s),
        "nonce_str": nonce,
        "method": method,
        "version": "1.0",
        "biz_content": dict(content),
    }


def preorder(
    merchant: Merchant, merch_order_id: str, title: str, santim: int, minutes: int
) -> dict[str, str]:
    """What an order is. minutes: how long it can be paid."""
    return {
        "appid": merchant.app_id,
        "merch_code": merchant.short_code,
        "merch_order_id": merch_order_id,
        "trade_type": "Checkout",
        "title": plain(title),
        "total_amount": amount(santim),
        "trans_currency": CURRENCY,
        "timeout_express": f"{max(1, minutes)}m",
        "business_type": "BuyGoods",
        "notify_url": merchant.notify_url,
        "redirect_url": merchant.redirect_url,
        "payee_identifier": merchant.short_code,
        "payee_identifier_type": "04",
        "payee_type": "5000",
        "callback_info": plain(f"order {merch_order_id}"),
    }


def query(merchant: Merchant, merch_order_id: str) -> dict[str, str]:
    return {
        "appid": merchant.app_id,
        "merch_code": merchant.short_code,
        "merch_order_id": merch_order_id,
    }


def refund(merchant: Merchant, merch_order_id: str, request_no: str, santim: int) -> dict[str, str]:
    return {
        **query(merchant, merch_order_id),
        "refund_request_no": request_no,
        "refund_reason": "ticket given back",
        merchant.refund_field: amount(santim),
        "trans_currency": CURRENCY,
    }


def checkout(merchant: Merchant, prepay_id: str, now_s: int, nonce: str) -> dict[str, str]:
    """What of a checkout link is signed."""
    return {
        "appid": merchant.app_id,
        "merch_code": merchant.short_code,
        "nonce_str": nonce,
        "prepay_id": prepay_id,
        "timestamp": str(now_s),
    }


def checkout_url(base: str, signed: Mapping[str, str]) -> str:
    """The address at which a browser pays."""
    fields = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in signed.items())
    return f"{base.rstrip('?')}?{fields}&version=1.0&trade_type=Checkout"


def read_callback(message: Mapping[str, Any], merchant: Merchant) -> Callback:
    """A callback whose signature was right, held against who we are. Raises NotOurs.

    The order and its amount are for who knows the order.
    """
    wanted = {"appid": merchant.app_id, "merch_code": merchant.short_code, "trans_currency": CURRENCY}
    for field, right in wanted.items():
        if str(message.get(field, "")) != right:
            raise NotOurs(f"{field} is not ours")
    merch_order_id = str(message.get("merch_order_id", ""))
    if not merch_order_id:
        raise NotOurs("no merch_order_id")
    ended = message.get("trans_end_time") or message.get("notify_time")
    return Callback(merch_order_id, Trade.read(message), None if ended is None else read_time_s(ended))
