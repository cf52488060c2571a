from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import fold_to_gsm7, segment
from firmware_bridge.pdu.alphabet import first_outside_gsm7
from firmware_bridge.pdu.folding import FOLDS


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ga’aa", "ga'aa"),  # hudhaa
        ("waaʼee", "waa'ee"),
        ("“seat 4” – 08:00…", '"seat 4" - 08:00...'),
        ("1\u00a0250\u202fBirr\tpaid", "1 250 Birr paid"),
        ("one\r\ntwo", "one\ntwo"),
        ("to\u200b day\u00ad", "to day"),
        ("plain é € text", "plain é € text"),
    ],
)
def test_fold_makes_typographic_text_fit(text: str, folded: str) -> None:
    result = fold_to_gsm7(text)
    assert (result.text, result.fits) == (folded, True)
    assert segment(result.text).encoding == "gsm7"


def test_fold_reports_each_change_once_in_order() -> None:
    assert fold_to_gsm7("“a” “b” – c").changes == (("“", '"'), ("”", '"'), ("–", "-"))


def test_fold_of_ethiopic_text_leaves_it_alone() -> None:
    result = fold_to_gsm7("“ሰላም” 👨\u200d👩")
    assert (result.text, result.changes, result.fits) == ("“ሰላም” 👨\u200d👩", (), False)


def test_fold_targets_are_all_in_the_gsm_alphabet() -> None:
    assert all(first_outside_gsm7(target) is None for target in FOLDS.values())


def test_fold_touches_no_letter_or_digit() -> None:
    kept = {char for char in FOLDS if char.isalpha() and char not in "ʼʻʹʾʿˈ"}
    assert kept == set()


@given(st.text(alphabet=st.one_of(st.sampled_from(sorted(FOLDS)), st.characters(exclude_categories=["Cs"]))))
def test_fold_twice_is_fold_once(text: str) -> None:
    once = fold_to_gsm7(text)
    assert fold_to_gsm7(once.text).text == once.text
    assert once.fits == (first_outside_gsm7(once.text) is None)
