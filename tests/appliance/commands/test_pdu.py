"""`outpost pdu`: JSON lines in and out, and the printing for people."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.commands import main
from firmware_bridge.pdu import Submit, assemble

CORPUS = Path(__file__).parents[2] / "firmware_bridge" / "pdu" / "pdu_examples.json"
VECTORS: list[dict[str, Any]] = json.loads(CORPUS.read_text("utf-8"))


@pytest.fixture
def pdu_lines(monkeypatch: pytest.MonkeyPatch):
    """Run `outpost pdu ACTION` over lines (objects, or raw bytes) and give back its answers."""

    def run(action: str, lines: list[Any]) -> list[dict[str, Any]]:
        raw = b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
        )
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        out = io.TextIOWrapper(io.BytesIO())
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["pdu", action]) == 0
        return [json.loads(line) for line in out.buffer.getvalue().splitlines()]

    return run


def test_pdu_decode_of_the_corpus_gives_exactly_its_fields(pdu_lines) -> None:
    asked = [{key: vector[key] for key in ("id", "direction", "pdu_hex")} for vector in VECTORS]
    assert pdu_lines("decode", asked) == [{"id": v["id"], **v["fields"]} for v in VECTORS]


def test_pdu_encode_of_decoded_fields_gives_the_corpus_back(pdu_lines) -> None:
    asked = [{"id": v["id"], "direction": v["direction"], **v["fields"]} for v in VECTORS]
    assert [answer["pdu_hex"] for answer in pdu_lines("encode", asked)] == [v["pdu_hex"] for v in VECTORS]


def test_pdu_decode_bad_lines_answer_with_an_error_and_the_run_goes_on(pdu_lines) -> None:
    good = {"id": 9, "direction": "deliver", "pdu_hex": VECTORS[1]["pdu_hex"]}
    answers = pdu_lines(
        "decode",
        [
            b"{not json\n",
            b"[1, 2]\n",
            b"\xff\xfe\n",
            b"[" * 100_000 + b"\n",
            {"id": 1, "direction": "deliver", "pdu_hex": "0791"},
            {"id": "two", "direction": "deliver", "pdu_hex": "xyz"},
            {"id": 3, "direction": "sideways", "pdu_hex": "00"},
            {"id": 4, "direction": "deliver"},
            {"id": 5, "pdu_hex": ""},
            {"id": 6, "direction": "submit", "pdu_hex": VECTORS[1]["pdu_hex"]},
            b"\n",
            good,
        ],
    )
    assert [answer["id"] for answer in answers] == [None, None, None, None, 1, "two", 3, 4, 5, 6, 9]
    assert all(set(answer) == {"id", "error"} and answer["error"] for answer in answers[:-1])
    assert answers[-1]["text"] == VECTORS[1]["fields"]["text"]


def test_pdu_decode_without_direction_goes_by_the_first_octet(pdu_lines) -> None:
    (answer,) = pdu_lines("decode", [{"id": 1, "pdu_hex": VECTORS[1]["pdu_hex"].lower()}])
    assert answer["sender"] == "885"


def test_pdu_encode_gives_the_parts_of_a_text(pdu_lines) -> None:
    text = "ሰላም 😀 " * 20
    (answer,) = pdu_lines("encode", [{"dest": "+251911234567", "text": text}])
    assert (answer["dest"], answer["text"]) == ("+251911234567", text)
    parts = [Submit.decode(bytes.fromhex(pdu)) for pdu in answer["pdus"]]
    assert len(parts) == 3
    assert assemble("ucs2", [part.data for part in parts]) == text


def test_pdu_encode_options_reach_the_pdu(pdu_lines) -> None:
    line = {
        "id": "x",
        "dest": "8400",
        "text": "a" * 200,
        "alphabet": "ucs2",
        "reference": 700,
        "validity": 3600,
        "report": True,
        "class": 0,
    }
    (answer,) = pdu_lines("encode", [line])
    assert answer["id"] == "x"
    for sequence, pdu in enumerate(answer["pdus"], 1):
        part = Submit.decode(bytes.fromhex(pdu))
        assert part.concat is not None
        assert (part.concat.reference, part.concat.reference_bits, part.concat.sequence) == (
            700,
            16,
            sequence,
        )
        assert (part.encoding, part.validity, part.status_report, part.message_class) == (
            "ucs2",
            3600,
            True,
            0,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"dest": ""},
        {"dest": "Zemen"},
        {"dest": None},
        {"text": None},
        {"text": "\ud83d"},
        {"alphabet": "gsm7", "text": "ሰ"},
        {"alphabet": "klingon"},
        {"reference": -1},
        {"reference": "1"},
        {"reference": 300, "reference_bits": 4},
        {"class": 9},
        {"class": True},
        {"validity": -5},
        {"validity": "soon"},
        {"report": "yes"},
    ],
    ids=str,
)
def test_pdu_encode_of_what_cannot_be_sent_is_an_error(pdu_lines, wrong: dict[str, Any]) -> None:
    (answer,) = pdu_lines("encode", [{"id": 1, "dest": "+251911234567", "text": "hi", **wrong}])
    assert set(answer) == {"id", "error"}


def test_pdu_decode_of_one_pdu_prints_it_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pdu", "decode", VECTORS[1]["pdu_hex"]]) == 0
    out = capsys.readouterr().out
    assert "TP-OA value     number 885" in out
    assert "TP-SCTS         2025-06-15T15:51:58-05:00" in out


def test_pdu_decode_of_a_cut_pdu_prints_what_is_there_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pdu", "decode", VECTORS[1]["pdu_hex"][:30]]) == 1
    printed = capsys.readouterr()
    assert "TP-OA value" in printed.out
    assert "TP-SCTS" in printed.err


def test_pdu_decode_of_no_hex_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pdu", "decode", "hello"]) == 2
    assert "not hexadecimal" in capsys.readouterr().err


def test_pdu_encode_for_people_says_what_made_it_ucs2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pdu", "encode", "+251911234567", "ga’aa"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("AT+CMGS=")
    assert "U+2019" in printed.err and "gsm7, 1 part(s): ga'aa" in printed.err
