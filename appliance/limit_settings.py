"""The settings of the guards: how much people may text, and what the box may spend on answers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from appliance.settings_tree import described

__all__ = ["Limits", "Spending"]

_Count = Annotated[int, Meta(ge=1, le=100_000)]
_THREE = "three numbers from 1 to 100000, for a minute, an hour and a day, such as [10, 50, 200]"
_SMS = "0 to 10000000; 0 for no limit"


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    normal: Annotated[
        tuple[_Count, _Count, _Count],
        described("Texts of one person that are answered in a minute, an hour and a day.", _THREE),
    ] = (10, 50, 200)
    frequent: Annotated[
        tuple[_Count, _Count, _Count],
        described("The same for people who have paid for so many bookings as said below.", _THREE),
    ] = (20, 100, 400)
    agent: Annotated[
        tuple[_Count, _Count, _Count],
        described("The same for those whom `outpost person tier NUMBER agent` approved.", _THREE),
    ] = (50, 500, 2_000)
    frequent_after: Annotated[
        int, described("Paid bookings that make a person frequent.", "1 to 1000", ge=1, le=1000)
    ] = 10
    all_a_minute: Annotated[
        int,
        described(
            "Texts of all people together that are answered in a minute.",
            "1 to 1000000",
            ge=1,
            le=1_000_000,
        ),
    ] = 1_000


class Spending(Struct, frozen=True, forbid_unknown_fields=True):
    person: Annotated[
        int,
        described(
            "SMS that the box sends to one person in 24 hours; then nothing the person texts is answered.",
            _SMS,
            ge=0,
            le=10_000_000,
        ),
    ] = 300
    client: Annotated[
        int,
        described(
            "SMS of one client in 24 hours; what it sends beyond them waits.", _SMS, ge=0, le=10_000_000
        ),
    ] = 0
    box: Annotated[
        int,
        described(
            "SMS that the box sends to people in 24 hours, clients' messages and one-time codes apart.",
            _SMS,
            ge=0,
            le=10_000_000,
        ),
    ] = 20_000
