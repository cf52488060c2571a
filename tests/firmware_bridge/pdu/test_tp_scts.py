from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import PduDecodeError, Scts, UsageError, decode_scts

quarter_zones = st.integers(-79, 79).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


@pytest.mark.parametrize(
    ("octets", "iso"),
    [
        ("0301506190958B", "2030-10-05T16:09:59-09:30"),
        ("12308102558432", "2021-03-18T20:55:48+05:45"),
        ("2280618063918C", "2022-08-16T08:36:19-12:00"),
        ("02406151320000", "2020-04-16T15:23:00+00:00"),
    ],
)
def test_scts_zone_has_sign_and_quarters(octets: str, iso: str) -> None:
    stamp = decode_scts(bytes.fromhex(octets))
    assert stamp.isoformat() == iso
    assert Scts.from_iso(iso).octets.hex().upper() == octets


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)).map(lambda m: m.replace(microsecond=0)),
    quarter_zones,
)
def test_scts_moment_encoded_and_decoded_is_the_same(moment: datetime, zone: timezone) -> None:
    aware = moment.replace(tzinfo=zone)
    stamp = Scts.from_datetime(aware)
    assert stamp.moment == aware
    assert stamp.zone_minutes == aware.utcoffset() // timedelta(minutes=1)
    assert stamp.utc_ms == int(aware.timestamp()) * 1000
    assert Scts.from_iso(stamp.isoformat()) == stamp


@given(st.binary(min_size=7, max_size=7))
def test_scts_any_octets_are_a_moment_or_none(octets: bytes) -> None:
    stamp = decode_scts(octets)
    if stamp.moment is None:
        assert stamp.utc_ms is None and stamp.zone_minutes is None and stamp.isoformat() == ""
    else:
        assert stamp.utc_ms is not None and stamp.isoformat()


@pytest.mark.parametrize(
    "octets",
    [
        "00000000000000",
        "520051617151A5",
        "52315161715121",
        "FFFFFFFFFFFFFF",
        "5206A261715121",
        "520651616A5121",
    ],
    ids=["zeros", "month 0", "month 13", "empty record", "hex day", "hex minute"],
)
def test_scts_nonsense_of_a_broken_service_centre_is_none(octets: str) -> None:
    assert decode_scts(bytes.fromhex(octets)).utc_ms is None


def test_scts_of_another_length_raises() -> None:
    with pytest.raises(PduDecodeError, match="6 octets; want 7"):
        decode_scts(bytes(6))


def test_scts_from_utc_ms_writes_the_local_time_of_the_zone() -> None:
    ms = int(datetime(2026, 3, 1, 9, 30, tzinfo=UTC).timestamp()) * 1000 + 999
    stamp = Scts.from_utc_ms(ms, zone_minutes=180)
    assert stamp.isoformat() == "2026-03-01T12:30:00+03:00"
    assert stamp.utc_ms == ms - 999


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 1),
        datetime(1999, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=23))),
    ],
    ids=["naive", "other century", "zone too wide"],
)
def test_scts_from_what_does_not_fit_raises(moment: datetime) -> None:
    with pytest.raises(UsageError):
        Scts.from_datetime(moment)


def test_scts_from_text_that_is_no_time_raises() -> None:
    with pytest.raises(UsageError, match="is no time"):
        Scts.from_iso("tomorrow")
