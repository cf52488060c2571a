from __future__ import annotations

import pytest

from appliance.message import OUTBOUND_MOVES, OutboundState, SenderKind, normalise_number, sender_kind


@pytest.mark.parametrize(
    "written",
    [
        "0911234567",
        "911234567",
        "251911234567",
        "+251911234567",
        "00251911234567",
        "+251 91 123 4567",
        "(+251) 911-234-567",
        "+251\u00a0911.23.45.67",
    ],
)
def test_normalise_every_usual_form_gives_e164(written: str) -> None:
    assert normalise_number(written) == "+251911234567"


@pytest.mark.parametrize("number", ["+251712345678", "+251797526928", "+251741234567", "+251801234567"])
def test_normalise_every_mobile_range_is_taken(number: str) -> None:
    assert normalise_number(number) == number


@pytest.mark.parametrize(
    "written",
    [
        "",
        "abc",
        "+",
        "127",
        "8400",
        "911",
        "0111234567",  # fixed line, Addis Ababa
        "+251461234567",
        "+25191123456",  # a digit short
        "+2519112345678",
        "0911234567x",
        "+251911234567, +251911234568",
        "9" * 40,
        "MPESA",
    ],
)
def test_normalise_what_cannot_receive_sms_is_none(written: str) -> None:
    assert normalise_number(written) is None


def test_normalise_foreign_mobile_in_international_form_is_taken() -> None:
    assert normalise_number("+254 712 345678") == "+254712345678"
    assert normalise_number("0712345678", "KE") == "+254712345678"


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("+251911234567", SenderKind.SUBSCRIBER),
        ("127", SenderKind.SHORT_CODE),
        ("8400", SenderKind.SHORT_CODE),
        ("MPESA", SenderKind.NAME),
        ("Ethio tel", SenderKind.NAME),
        ("", SenderKind.NAME),
    ],
)
def test_sender_kind(sender: str, kind: SenderKind) -> None:
    assert sender_kind(sender) is kind


def test_outbound_moves_name_every_state_and_final_ones_stay() -> None:
    assert set(OUTBOUND_MOVES) == set(OutboundState)
    for final in (OutboundState.DELIVERED, OutboundState.EXPIRED, OutboundState.CANCELLED):
        assert OUTBOUND_MOVES[final] == frozenset()
