"""What each +CMS ERROR asks for."""

from __future__ import annotations

import pytest

from firmware_bridge.at.result_codes import CMS_MEANING, Remedy, cms_meaning
from firmware_bridge.errors import CmeError, CmsError, SendAction


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (1, SendAction.PERMANENT),
        (8, SendAction.ATTENTION),
        (10, SendAction.OTHER_ROUTE),
        (21, SendAction.RETRY_LATER),
        (50, SendAction.ATTENTION),
        (96, SendAction.OUR_BUG),
        (197, SendAction.ACCEPTED),
        (304, SendAction.OUR_BUG),
        (310, SendAction.ATTENTION),
        (314, SendAction.RETRY_LATER),
        (322, SendAction.RETRY_LATER),
        (512, SendAction.RETRY_LATER),
        (60_000, SendAction.RETRY_LATER),
        (None, SendAction.RETRY_LATER),
    ],
)
def test_cms_error_says_what_to_do(code: int | None, action: SendAction) -> None:
    assert CmsError(code).action is action


@pytest.mark.parametrize("code", [300, 331, 332, 500, 512, 1234])
def test_cms_error_that_leaves_it_open_is_ambiguous_only_after_the_pdu(code: int) -> None:
    assert CmsError(code, after_pdu=True).ambiguous
    assert not CmsError(code, after_pdu=False).ambiguous


def test_cms_error_keeps_an_unknown_number_unchanged() -> None:
    assert CmsError(4711).code == 4711
    assert "4711" in str(CmsError(4711))


def test_cme_error_to_a_send_means_its_cms_twin() -> None:
    assert CmeError(10).action is SendAction.ATTENTION
    assert CmeError(14).action is SendAction.RETRY_LATER
    assert CmeError(31, after_pdu=True).ambiguous


def test_every_code_has_a_text_and_a_remedy() -> None:
    for code, meaning in CMS_MEANING.items():
        assert meaning.text
        assert meaning.remedies
        assert cms_meaning(code) is meaning
    assert Remedy.AMBIGUOUS in cms_meaning(777).remedies
