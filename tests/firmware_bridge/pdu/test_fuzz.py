"""Random and mutated octets: no decoder raises anything but PduDecodeError, whatever comes in."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.pdu import Deliver, PduDecodeError, StatusReport, Submit, UsageError
from firmware_bridge.pdu.annotate import annotate
from firmware_bridge.pdu.fields import from_fields, to_fields

CORPUS = [
    bytes.fromhex(vector["pdu_hex"])
    for vector in json.loads(Path(__file__).with_name("pdu_examples.json").read_text("utf-8"))
]
DECODERS = (Deliver, Submit, StatusReport)


def decode_all(octets: bytes) -> int:
    """Run every decoder over the octets, use all of each result; returns how many accepted them."""
    accepted = 0
    for decoder in DECODERS:
        for has_sca in (True, False):
            try:
                message = decoder.decode(octets, has_sca=has_sca)
            except PduDecodeError:
                continue
            accepted += 1
            json.dumps(to_fields(message))
            again = decoder.decode(message.encode())
            assert to_fields(again) == to_fields(message)
            if isinstance(message, StatusReport):
                message.parameters  # noqa: B018 - must not raise
    notes, fault = annotate(octets)
    assert fault is not None or b"".join(note.octets for note in notes) == octets
    return accepted


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_decoders_of_any_octets_raise_only_their_own_error(octets: bytes) -> None:
    decode_all(octets)


def test_decoders_of_random_octets_raise_only_their_own_error() -> None:
    source = random.Random(20260301)
    for _ in range(3000):
        decode_all(source.randbytes(source.randrange(0, 180)))


def mutate(source: random.Random, octets: bytes) -> bytes:
    """Flip, drop, insert or repeat a few octets, as a bad line or a bad firmware would."""
    changed = bytearray(octets)
    for _ in range(source.randrange(1, 5)):
        at = source.randrange(len(changed)) if changed else 0
        match source.randrange(5):
            case 0 if changed:
                changed[at] ^= 1 << source.randrange(8)
            case 1 if changed:
                changed[at] = source.randrange(256)
            case 2:
                del changed[at : at + source.randrange(1, 4)]
            case 3:
                changed[at:at] = source.randbytes(source.randrange(1, 4))
            case _:
                changed[at:at] = changed[at : at + source.randrange(1, 20)]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_decoders_of_mutated_pdus_raise_only_their_own_error(seed: int) -> None:
    source = random.Random(seed)
    accepted = sum(decode_all(mutate(source, octets)) for octets in CORPUS for _ in range(40))
    assert accepted > 100  # the mutations are mild enough to reach every corner of a decoder


@pytest.mark.parametrize("octets", CORPUS, ids=range(len(CORPUS)))
def test_decoder_of_every_prefix_of_a_pdu_raises_its_own_error(octets: bytes) -> None:
    decoder = next(d for d in DECODERS if _accepts(d, octets))
    for length in range(len(octets)):
        with pytest.raises(PduDecodeError):
            decoder.decode(octets[:length])


def _accepts(decoder: type[Deliver | Submit | StatusReport], octets: bytes) -> bool:
    try:
        decoder.decode(octets)
    except PduDecodeError:
        return False
    return True


field_names = st.sampled_from(
    [
        "sca",
        "dcs",
        "data_hex",
        "udh_hex",
        "concat",
        "ports",
        "sender",
        "recipient",
        "scts",
        "text",
        "ton",
        "class",
    ]
)
field_values = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 300), st.text(max_size=20), st.lists(st.integers(), max_size=2)
)
directions = st.sampled_from(["deliver", "submit", "status_report", "?"])


@given(directions, st.dictionaries(field_names, field_values))
def test_fields_of_any_values_raise_only_our_own_error(direction: str, fields: dict[str, Any]) -> None:
    wanted = {"sender": "1", "recipient": "1", "scts": "2026-03-01T12:30:00+03:00"}
    with contextlib.suppress(UsageError):
        from_fields(direction, {**wanted, **fields}).encode()
