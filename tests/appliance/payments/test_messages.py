from __future__ import annotations

from typing import Any

import pytest

from appliance.payments.telebirr import messages
from appliance.payments.telebirr.messages import Merchant, NotOurs, Reply, Trade

MERCHANT = Merchant(
    "930231098009602", "101010", "https://b.example/n", "https://b.example/r", "refund_amount"
)
AT_S = 1_795_327_200.0  # 2026-11-22 06:00 UTC, 09:00 in Addis Ababa


@pytest.mark.parametrize(
    ("text", "santim"),
    [
        ("890.00", 89_000), ("890", 89_000), ("0.01", 1), (890.5, 89_050), ("890.005", None), ("-1", None),
        ("", None), (None, None), ("1e3", 100_000), ("NaN", None), ("Infinity", None), ("12,00", None),
    ],
)  # fmt: skip
def test_amount_is_read_to_the_santim_or_not_at_all(text: Any, santim: int | None) -> None:
    assert messages.santim(text) == santim


@pytest.mark.parametrize(
    "text",
    [
        "1795327200",
        "1795327200000",
        1795327200,
        "20261122090000",
        "2026-11-22 09:00:00",
        "2026/11/22T09:00:00",
    ],
)
def test_time_is_read_in_each_form_seen(text: Any) -> None:
    assert messages.read_time_s(text) == AT_S


@pytest.mark.parametrize(
    "text", ["", "soon", "99999999999999", "17953272000000000", None, "2026-13-22 09:00:00"]
)
def test_time_that_is_none_is_none(text: Any) -> None:
    assert messages.read_time_s(text) is None


def test_preorder_has_the_fields_of_the_vendor() -> None:
    content = messages.preorder(MERCHANT, "AB3D5F1N1", "Ticket: AB3D5F/Hawassa!", 89_000, 30)
    assert content["total_amount"] == "890.00"
    assert content["timeout_express"] == "30m"
    assert content["title"] == "Ticket AB3D5F Hawassa"
    assert content["payee_identifier"] == content["merch_code"] == "101010"


def test_refund_names_its_amount_as_it_is_told_to() -> None:
    content = messages.refund(MERCHANT, "AB3D5F1N1", "AB3D5F1N1R1", 71_200)
    assert content["refund_amount"] == "712.00" and "actual_amount" not in content


@pytest.mark.parametrize(
    ("body", "done", "code"),
    [
        ({"result": "SUCCESS", "code": "0", "biz_content": {"prepay_id": "x"}}, True, "0"),
        ({"result": "FAIL", "errorCode": "6", "errorMsg": "no"}, False, "6"),
        ({"errorCode": "401"}, False, "401"),
        ({"code": "0"}, False, "0"),
    ],
)
def test_reply_is_done_only_when_it_says_success(body: dict[str, Any], done: bool, code: str) -> None:
    reply = Reply.read(body)
    assert (reply.done, reply.code) == (done, code)


@pytest.mark.parametrize("body", [None, [], "x", {}, {"biz_content": {}}])
def test_reply_that_is_none_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="an answer without"):
        Reply.read(body)


def test_trade_without_an_amount_has_none() -> None:
    assert Trade.read({"trade_status": "PAY_SUCCESS"}) == ("PAY_SUCCESS", "", None)


def test_callback_names_the_field_that_is_not_ours() -> None:
    message = {"appid": MERCHANT.app_id, "merch_code": MERCHANT.short_code, "trans_currency": "USD"}
    with pytest.raises(NotOurs, match="trans_currency"):
        messages.read_callback(message, MERCHANT)
    with pytest.raises(NotOurs, match="merch_order_id"):
        messages.read_callback(message | {"trans_currency": "ETB"}, MERCHANT)


def test_checkout_address_escapes_its_signature() -> None:
    url = messages.checkout_url("https://t.example/paygate?", {"sign": "a+b/c=", "appid": "1"})
    assert url == "https://t.example/paygate?sign=a%2Bb%2Fc%3D&appid=1&version=1.0&trade_type=Checkout"
