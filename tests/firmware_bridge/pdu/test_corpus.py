"""Every PDU of the corpus, in both directions.

pdu_examples.json came with the project: messages made by a reference encoder, gammu and gsmmodem,
each with the fields that independent decoders agree on.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.pdu import Deliver, StatusReport, Submit, assemble
from firmware_bridge.pdu.fields import decode_message, from_fields, to_fields

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("pdu_examples.json").read_text("utf-8"))
KINDS = {"deliver": Deliver, "submit": Submit, "status_report": StatusReport}
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])


@each_vector
def test_corpus_pdu_decoded_and_encoded_gives_the_same_octets(vector: dict[str, Any]) -> None:
    message = KINDS[vector["direction"]].decode(bytes.fromhex(vector["pdu_hex"]))
    assert message.encode().hex().upper() == vector["pdu_hex"]
    assert message.tpdu_length == vector["tpdu_length"]


@each_vector
def test_corpus_pdu_decoded_gives_exactly_the_fields(vector: dict[str, Any]) -> None:
    message = decode_message(bytes.fromhex(vector["pdu_hex"]), vector["direction"])
    assert to_fields(message) == vector["fields"]
    assert list(to_fields(message)) == list(vector["fields"])


@each_vector
def test_corpus_fields_encoded_give_the_pdu(vector: dict[str, Any]) -> None:
    message = from_fields(vector["direction"], vector["fields"])
    assert message.encode().hex().upper() == vector["pdu_hex"]


@pytest.mark.parametrize(
    "group",
    [
        list(group)
        for _, group in groupby(
            sorted((v for v in VECTORS if "group" in v), key=lambda v: v["group"]), key=lambda v: v["group"]
        )
    ],
    ids=lambda group: group[0]["group"],
)
def test_corpus_group_joined_in_order_of_sequence_gives_the_message(group: list[dict[str, Any]]) -> None:
    parts = [KINDS[v["direction"]].decode(bytes.fromhex(v["pdu_hex"])) for v in group]
    parts.sort(key=lambda part: part.concat.sequence)
    if len(parts) != parts[0].concat.total:
        pytest.fail("the corpus holds whole groups only")
    assert assemble(parts[0].encoding, [part.data for part in parts]) == group[0]["message_text"]
