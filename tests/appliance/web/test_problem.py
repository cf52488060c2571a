"""What is told of a body that cannot be read."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from appliance.web.problem import UNREADABLE, from_decode_error


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "it is empty"),
        (b"  ", "it is empty"),
        (b'{"text": "\\ud83d"}', "half of a character"),
        (b'{"text": "\\ud83d and more of it"}', "half of a character"),
        (b'{"text": "\\ude00"}', "half of a character"),
        (b'{"text": "x', "truncated"),
        (b'{"text": "caf\xe9!"}', "octet 0xe9 is not UTF-8"),
        (b'{"text": 1} x', "trailing characters (byte 13)"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_unreadable_body_is_told_what_is_wrong_with_it(raw: bytes, words: str) -> None:
    with pytest.raises(UNREADABLE) as refused:
        msgspec.json.decode(raw)
    assert words in from_decode_error(refused.value, raw).detail


def test_unreadable_body_with_whole_pairs_is_not_blamed_on_them() -> None:
    raw = b'{"text": "\\ud83d\\ude00 \\\\ud83d", "more": '
    with pytest.raises(msgspec.DecodeError) as refused:
        msgspec.json.decode(raw)
    assert "half" not in from_decode_error(refused.value, raw).detail


class Inner(msgspec.Struct):
    lane: Literal["otp", "bulk"]


class Outer(msgspec.Struct):
    all: list[Inner] = []
    by_name: dict[str, Inner] = {}
    maybe: Literal["a", "b"] | None = None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"all": [{"lane": "otp"}, {"lane": "fast"}]}', "one of bulk, otp"),
        (b'{"by_name": {"x": {"lane": "fast"}}}', "one of bulk, otp"),
    ],
)
def test_word_that_is_none_of_some_is_told_which_they_are(raw: bytes, expected: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(raw, type=Outer)
    problem = from_decode_error(refused.value, raw, Outer)
    assert problem.errors[0]["expected"] == expected and problem.errors[0]["found"] == "fast"
    assert f"expected {expected}, got 'fast'" in problem.detail
