from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import Address, EnhancedValidity, Scts, Submit, UsageError
from firmware_bridge.pdu.tp_vp import relative_octet, relative_seconds


@pytest.mark.parametrize(
    ("octet", "seconds"),
    [
        (0, 300),
        (143, 12 * 3600),
        (144, 12 * 3600 + 1800),
        (167, 24 * 3600),
        (168, 2 * 86400),
        (196, 30 * 86400),
        (197, 35 * 86400),
        (255, 63 * 7 * 86400),
    ],
)
def test_vp_relative_octet_at_the_edges_of_its_ranges(octet: int, seconds: int) -> None:
    assert relative_seconds(octet) == seconds
    assert relative_octet(seconds) == octet


@given(st.integers(0, 255))
def test_vp_relative_every_octet_reads_back(octet: int) -> None:
    assert relative_octet(relative_seconds(octet)) == octet


@given(st.integers(0, 63 * 7 * 86400))
def test_vp_relative_seconds_are_never_cut_short(seconds: int) -> None:
    octet = relative_octet(seconds)
    assert relative_seconds(octet) >= seconds
    assert octet == 0 or relative_seconds(octet - 1) < seconds


def test_vp_relative_beyond_63_weeks_is_63_weeks() -> None:
    assert relative_octet(10**9) == 255


def test_vp_relative_below_zero_raises() -> None:
    with pytest.raises(UsageError):
        relative_octet(-1)


@pytest.mark.parametrize(
    ("octets", "seconds", "single_shot"),
    [
        ("00000000000000", None, False),
        ("01A70000000000", 86400, False),
        ("421E0000000000", 30, True),
        ("03215463000000", 12 * 3600 + 45 * 60 + 36, False),
        ("03A15463000000", None, False),
        ("07000000000000", None, False),
        ("81001700000000", 7200, False),
    ],
)
def test_vp_enhanced_says_its_period(octets: str, seconds: int | None, single_shot: bool) -> None:
    validity = EnhancedValidity(bytes.fromhex(octets))
    assert (validity.seconds, validity.single_shot) == (seconds, single_shot)


@pytest.mark.parametrize(
    "validity",
    [None, 300, Scts(bytes.fromhex("72016020502484")), EnhancedValidity(bytes.fromhex("421E0000000000"))],
    ids=["none", "relative", "absolute", "enhanced"],
)
def test_vp_of_every_format_survives_the_submit(validity) -> None:
    submit = Submit(recipient=Address.parse("+251911234567"), data=b"hi", validity=validity)
    assert Submit.decode(submit.encode()) == submit
