"""A recording may be shown to others: no number, text or code in it, and every piece as long as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from appliance.commands import main
from firmware_bridge.pdu import Address, Deliver, Scts, StatusReport, Submit, delivers, submits
from firmware_bridge.recorder import Recorder, mask_line
from firmware_bridge.transcript import Transcript, TranscriptError, escape, unescape
from firmware_bridge.wire_log import mask

WHEN = Scts.from_utc_ms(1_790_000_000_000, zone_minutes=180)


@pytest.mark.parametrize("text", ["Call me, Abebe", "ሰላም አበበ", "[brackets] {and} €"])
def test_mask_line_deliver_keeps_its_shape_and_loses_its_words(text: str) -> None:
    pdu = delivers("+251911222333", text, WHEN)[0].encode().hex().upper()
    masked = mask_line(pdu)
    assert len(masked) == len(pdu)
    assert masked != pdu
    found = Deliver.decode(bytes.fromhex(masked))
    assert found.sender.digits == "+251900000000"
    assert set(found.text or "") == {"x"}
    assert found.scts == WHEN


def test_mask_line_submit_and_report_lose_their_numbers() -> None:
    submit = submits("+251911222333", "secret", reference=1)[0].encode().hex().upper()
    assert Submit.decode(bytes.fromhex(mask_line(submit))).recipient.digits == "+251900000000"
    report = StatusReport(
        recipient=Address.parse("+251911222333"), scts=WHEN, discharge_time=WHEN, status=0, mr=9
    )
    masked = StatusReport.decode(bytes.fromhex(mask_line(report.encode().hex().upper())))
    assert (masked.recipient.digits, masked.mr) == ("+251900000000", 9)


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ('+CLIP: "+251911222333",145', '+CLIP: "+251900000000",145'),
        ('AT+CPIN="1234"', 'AT+CPIN="0000"'),
        ("636011234567890", "636000000000000"),
        ("+CCID: 8925101234567890123F", "+CCID: 8925000000000000000F"),
        ('+CUSD: 0,"Balance of Abebe: 12 Birr",15', '+CUSD: 0,"xxxxxxx xx xxxxx: xx xxxx",15'),
        ("+CSQ: 20,99", "+CSQ: 20,99"),
        ('+CCLK: "26/11/22,17:31:00+12"', '+CCLK: "26/11/22,17:31:00+12"'),
        ("07AA" + "12" * 30 + "FF", "07AA" + "0" * 62),
    ],
)
def test_mask_line_takes_out_what_is_somebodys(line: str, masked: str) -> None:
    assert mask_line(line) == masked
    assert len(masked) == len(line)


@pytest.mark.parametrize(
    "line",
    [
        "+CMGR: 0,,27",
        'AT+CPIN="1234"',
        '+CUSD: 0,"You have 12.50",15',
        "+251911222333",
        "8925101234567890123",
    ],
)
def test_wire_log_mask_hides_the_same(line: str) -> None:
    for hidden in ("1234", "12.50", "911222", "101234567890"):
        assert hidden not in mask(line)


def test_recorder_masks_a_number_that_two_reads_share() -> None:
    recorder = Recorder(clock=lambda: 0.0)
    recorder.feed("<", b'\r\n+CLIP: "+25191')
    recorder.feed("<", b'1222333",145\r\n')
    pieces = recorder.finish().pieces
    assert [p.data for p in pieces] == [b'\r\n+CLIP: "+25190', b'0000000",145\r\n']


def test_recorder_masks_a_ussd_text_over_several_lines() -> None:
    recorder = Recorder(clock=lambda: 0.0)
    recorder.feed("<", b'\r\n+CUSD: 1,"Abebe\r\n12 Birr\r\nbye",15\r\n\r\nOK\r\n')
    (piece,) = recorder.finish().pieces
    assert piece.data == b'\r\n+CUSD: 1,"xxxxx\r\nxx xxxx\r\nxxx",15\r\n\r\nOK\r\n'


@pytest.mark.parametrize("data", [bytes(range(256)), b"\\r", b"\r\n> ", b"", b"\\x41"])
def test_escape_is_undone_by_unescape(data: bytes) -> None:
    assert unescape(escape(data)) == data
    assert escape(data).isascii()


@pytest.mark.parametrize("lines", [["no colon"], ["", "AT"], ["", "@ soon"], ["", r"> \q"], ["", "> ሰላም"]])
def test_transcript_that_is_none_says_where(lines: list[str]) -> None:
    with pytest.raises(TranscriptError, match="t:"):
        Transcript.parse(lines, name="t")


async def test_record_command_writes_what_the_replay_reads(fake: Any, tmp_path: Path) -> None:
    fake.store[1] = delivers("+251911222333", "Call me", WHEN)[0].encode().hex().upper()
    file = tmp_path / "new.txt"
    code = await asyncio.to_thread(_record_in_thread, fake.path, file)
    assert code == 0
    transcript = Transcript.read(file)
    assert transcript.head["family"].startswith("Acme M1")
    assert any(p.data == b"AT+CMGF=0\r" for p in transcript.pieces)
    assert "251911222333" not in file.read_text()
    assert fake.store  # nothing was taken from the modem


def _record_in_thread(port: str, file: Path) -> int:
    import subprocess
    import sys

    command = [sys.executable, "-m", "appliance", "record", port, str(file), "--seconds", "2"]
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode


def test_record_command_does_not_overwrite(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "old.txt"
    file.write_text("mine")
    assert main(["record", "/dev/null", str(file)]) == 2
    assert file.read_text() == "mine"
