from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import Concat, InformationElement, UsageError, parse_header
from firmware_bridge.pdu.user_data_header import concat_header, find_concat, find_ports, make_header

elements = st.builds(InformationElement, st.integers(0, 255), st.binary(max_size=20))


@given(st.lists(elements, max_size=5))
def test_header_elements_known_or_not_survive(items: list[InformationElement]) -> None:
    assert parse_header(make_header(*items)) == tuple(items)


@given(st.binary(min_size=1, max_size=140))
def test_header_of_any_octets_never_raises(udh: bytes) -> None:
    parse_header(udh)
    find_concat(udh)
    find_ports(udh)


@pytest.mark.parametrize("bits", [8, 16])
def test_header_concat_reads_back(bits: int) -> None:
    assert find_concat(concat_header(200, 3, 2, bits)) == Concat(200, 3, 2, bits)
    assert len(concat_header(200, 3, 2, bits)) == 5 + bits // 8


@pytest.mark.parametrize(
    "udh",
    [
        "0500037F0200",
        "0500037F0203",
        "0500037F0000",
        "04 00 02 7F 02",
        "06 00 03 7F 02 01 08",
        "05 00 09 7F 02 01",
    ],
    ids=["part 0", "part beyond total", "total 0", "element too short", "octet left over", "overrun"],
)
def test_header_broken_concat_is_ignored(udh: str) -> None:
    assert find_concat(bytes.fromhex(udh)) is None


def test_header_of_two_concats_the_last_one_counts() -> None:
    udh = make_header(Concat(1, 2, 1).encode(), Concat(700, 3, 3, 16).encode())
    assert find_concat(udh) == Concat(700, 3, 3, 16)


@pytest.mark.parametrize(
    ("udh", "ports"),
    [
        ("0605040B8423F0", (2948, 9200)),
        ("040402F0F1", (240, 241)),
        ("0504030B8423", None),
        ("0500030F0201", None),
    ],
)
def test_header_ports_of_8_and_16_bits(udh: str, ports: tuple[int, int] | None) -> None:
    assert find_ports(bytes.fromhex(udh)) == ports


@pytest.mark.parametrize("concat", [Concat(1, 2, 0), Concat(1, 2, 3), Concat(256, 2, 1), Concat(1, 256, 1)])
def test_header_concat_out_of_range_raises(concat: Concat) -> None:
    with pytest.raises(UsageError):
        concat.encode()


def test_header_too_long_raises() -> None:
    with pytest.raises(UsageError, match="at most 139"):
        make_header(InformationElement(0x70, bytes(138)))
