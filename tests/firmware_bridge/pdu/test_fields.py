from __future__ import annotations

from typing import Any

import pytest

from firmware_bridge.pdu import Deliver, StatusReport, Submit, UsageError
from firmware_bridge.pdu.fields import decode_message, from_fields, to_fields

STAMP = "2026-03-01T12:30:00+03:00"
PLAIN: dict[str, Any] = {"sender": "+251911234567", "scts": STAMP, "text": "hi"}


def test_fields_left_out_are_zero_or_false() -> None:
    message = from_fields("deliver", PLAIN)
    assert isinstance(message, Deliver)
    assert (message.text, message.dcs, message.pid, message.sca, message.udh) == ("hi", 0, 0, None, b"")
    assert not (message.more_to_send or message.sri or message.reply_path)


def test_fields_concat_and_ports_make_the_header() -> None:
    message = from_fields(
        "submit",
        {
            "recipient": "8400",
            "text": "hi",
            "concat": {"ref": 700, "total": 3, "seq": 2, "ref_bits": 16},
            "ports": {"dest": 5514},
        },
    )
    assert isinstance(message, Submit)
    assert message.udh.hex().upper() == "0C080402BC03020504158A0000"
    assert (message.concat is not None and message.concat.sequence, message.ports) == (2, (5514, 0))
    assert to_fields(Submit.decode(message.encode())) == to_fields(message)


def test_fields_validity_is_seconds_or_a_moment() -> None:
    assert to_fields(from_fields("submit", {"recipient": "1", "vp_seconds": 600}))["vp_seconds"] == 600
    fields = to_fields(from_fields("submit", {"recipient": "1", "vp_until": STAMP}))
    assert fields["vp_until"] == STAMP
    assert "vp_seconds" not in fields


def test_fields_of_a_status_report_build_it() -> None:
    message = from_fields(
        "status_report",
        {"recipient": "+251911234567", "scts": STAMP, "discharge_time": STAMP, "status": 0x46},
    )
    assert isinstance(message, StatusReport)
    assert message.status_class == "failed"


def test_fields_of_a_broken_time_stamp_are_null() -> None:
    octets = bytes.fromhex("000403B188F50000" + "00" * 7 + "0122")
    assert to_fields(decode_message(octets, "deliver"))["scts"] is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sender": None}, "sender: missing"),
        ({"sender": 5}, "sender: 5; want str"),
        ({"ton": 9}, "want 0 to 7"),
        ({"dcs": 256}, "dcs: 256; want 0 to 255"),
        ({"dcs": True}, "dcs: True; want int"),
        ({"data_hex": "0G"}, "data_hex: '0G' is not hexadecimal"),
        ({"dcs": 4}, "8-bit data has none"),
        ({"concat": 5}, "concat: 5; want an object"),
        ({"concat": {"ref": 1, "total": 2}}, "seq: missing"),
        ({"ports": {"dest": 70000}}, "want 0 to 65535"),
        ({"scts": "noon"}, "is no time"),
        ({"text": "ሰ"}, "U\\+1230"),
    ],
    ids=str,
)
def test_fields_that_cannot_be_encoded_are_named(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        from_fields("deliver", {**PLAIN, **change})


@pytest.mark.parametrize("direction", ["", "sideways", "deliver_report"])
def test_fields_of_an_unknown_direction_raise(direction: str) -> None:
    with pytest.raises(UsageError, match="want deliver, submit, status_report"):
        from_fields(direction, PLAIN)
    with pytest.raises(UsageError, match="want deliver, submit, status_report"):
        decode_message(b"\0", direction)
