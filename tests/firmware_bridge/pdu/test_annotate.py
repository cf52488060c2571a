from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.pdu.annotate import annotate, direction_of, format_annotations

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("pdu_examples.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_annotate_accounts_for_every_octet_in_order(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["pdu_hex"])
    assert direction_of(octets) == vector["direction"]
    notes, fault = annotate(octets)
    assert fault is None
    assert b"".join(note.octets for note in notes) == octets
    for note in notes:
        if note.octets:
            assert octets[note.offset : note.offset + len(note.octets)] == note.octets


def test_annotate_names_the_fields_of_23_040_in_order() -> None:
    submit = next(v for v in VECTORS if v["kind"] == "concat-gsm7-16" and v["direction"] == "submit")
    notes, _ = annotate(bytes.fromhex(submit["pdu_hex"]))
    names = [note.name.strip() for note in notes if note.octets and " " not in note.name.strip()]
    assert names == ["TP-MR", "TP-PID", "TP-DCS", "TP-VP", "TP-UDL", "TP-UDHL", "IEI", "IEDL", "IED", "TP-UD"]


def test_annotate_of_a_cut_pdu_shows_what_is_there_and_the_fault() -> None:
    notes, fault = annotate(bytes.fromhex("07915291119279040403B188F5000052605151"))
    assert [note.name for note in notes if note.octets][-1] == "TP-DCS"
    assert fault is not None and fault.startswith("TP-SCTS: 7 octets wanted")


def test_annotate_says_that_a_time_stamp_is_nonsense() -> None:
    notes, fault = annotate(bytes.fromhex("000403B188F50000" + "00" * 7 + "0122"))
    assert fault is None
    assert next(note.meaning for note in notes if note.name == "TP-SCTS") == "not a time"


def test_annotate_long_fields_continue_on_the_next_line() -> None:
    notes, _ = annotate(bytes.fromhex(VECTORS[0]["pdu_hex"]))
    lines = list(format_annotations(notes))
    octets = "".join(line[5:34].replace(" ", "") for line in lines)
    assert octets == VECTORS[0]["pdu_hex"]
