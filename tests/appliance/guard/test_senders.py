"""Senders that are never answered (DOMAIN.md section 3)."""

from __future__ import annotations

import pytest

from appliance.guard.senders import unanswerable
from appliance.message import Inbound


def from_(sender: str) -> Inbound:
    return Inbound(channel="modem:one", sender=sender, recipient="", text="hi", received_at_ms=0)


@pytest.mark.parametrize("sender", ["127", "810", "8400", "889", "MPESA", "CBE", "Ethiotel", "12", ""])
def test_unanswerable_services_and_names_have_a_reason(sender: str) -> None:
    assert unanswerable(from_(sender))


@pytest.mark.parametrize("sender", ["+251911234567", "+251711234567", "+14155550123"])
def test_unanswerable_people_have_none(sender: str) -> None:
    assert unanswerable(from_(sender)) is None


def test_unanswerable_own_number_has_a_reason() -> None:
    assert unanswerable(from_("+251911000001"), {"+251911000001"}) == "sent by this box itself"
