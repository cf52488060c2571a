from __future__ import annotations

import pytest

from firmware_bridge.pdu import Address, PduDecodeError, Scts, StatusReport, status_class, status_text

SENT = Scts.from_iso("2026-03-01T12:30:00+03:00")
REPORT = StatusReport(Address("+251911234567", 1, 1), SENT, SENT, 0x00, mr=7)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0x00, "delivered"),
        (0x02, "delivered"),
        (0x1F, "delivered"),
        (0x20, "pending"),
        (0x3F, "pending"),
        (0x40, "failed"),
        (0x46, "failed"),
        (0x60, "failed"),
        (0x7F, "failed"),
        (0x80, "failed"),
        (0xFF, "failed"),
    ],
)
def test_status_reads_as_its_group(status: int, name: str) -> None:
    assert status_class(status) == name


def test_status_text_of_every_value_says_something() -> None:
    assert status_text(0x46) == "validity period expired"
    assert status_text(0x5A) == "permanent error"
    assert all(status_text(status) for status in range(256))


@pytest.mark.parametrize("extra", ["", "00", "0100", "03", "8101", "070008"], ids=str)
def test_status_report_keeps_whatever_stands_behind_the_status(extra: str) -> None:
    octets = REPORT.encode() + bytes.fromhex(extra)
    report = StatusReport.decode(octets)
    assert report.status_class == "delivered"
    assert report.encode() == octets
    report.parameters  # noqa: B018 - must not raise


def test_status_report_optional_fields_are_read_as_tp_pi_says() -> None:
    parameters = StatusReport.decode(REPORT.encode() + bytes.fromhex("07410804062012AD")[:-4]).parameters
    assert parameters is None  # cut short: the report still counts
    parameters = StatusReport.decode(REPORT.encode() + bytes.fromhex("074108021230")).parameters
    assert parameters is not None
    assert (parameters.pid, parameters.dcs, parameters.text) == (0x41, 8, "ሰ")
    parameters = StatusReport.decode(REPORT.encode() + bytes.fromhex("8100 41")).parameters
    assert parameters is not None
    assert (parameters.pid, parameters.text) == (0x41, "")


def test_status_report_of_another_kind_raises() -> None:
    with pytest.raises(PduDecodeError, match="TP-MTI 1 is not SMS-STATUS-REPORT"):
        StatusReport.decode(bytes.fromhex("00010006815501000000"))
