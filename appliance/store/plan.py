"""A timetable as it was read, whatever file it came from, before it is put in force."""

from __future__ import annotations

import math
from typing import Protocol

import msgspec

__all__ = [
    "ALWAYS",
    "EVERY_DAY",
    "Plan",
    "PlannedService",
    "PlannedTown",
    "TimetableErrors",
    "great_circle_km",
]

EVERY_DAY = 0b1111111  # bit 0 is Monday
ALWAYS = ("0000-00-00", "9999-99-99")


class TimetableErrors(Exception):
    """The files cannot be used. `lines`: one per mistake, with file and line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class PlannedTown(msgspec.Struct, frozen=True):
    name_en: str
    name_am: str
    name_om: str
    lat: float
    lon: float
    aliases: str = ""


class PlannedService(msgspec.Struct, frozen=True):
    """One departure time of a way. minute: local, of the day it leaves. without: days it does not run."""

    origin: str
    destination: str
    km: int
    duration_min: int
    fare_santim: int
    minute: int
    kind: str = "fixed"
    days: int = EVERY_DAY
    valid_from: str = ALWAYS[0]
    valid_until: str = ALWAYS[1]
    without: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """digest: of the files. warnings: rows that were left out and why, with file and line."""

    source: str
    digest: str
    towns: tuple[PlannedTown, ...]
    services: tuple[PlannedService, ...]
    warnings: tuple[str, ...] = ()
    sample: bool = False


class Place(Protocol):
    """What has a place on the earth, in degrees."""

    @property
    def lat(self) -> float: ...
    @property
    def lon(self) -> float: ...


def great_circle_km(one: Place, other: Place) -> float:
    """Great-circle distance (haversine, radius 6371 km)."""
    phi, psi = math.radians(one.lat), math.radians(other.lat)
    half = math.sin((psi - phi) / 2) ** 2
    half += math.cos(phi) * math.cos(psi) * math.sin(math.radians(other.lon - one.lon) / 2) ** 2
    return 2 * 6371.0 * math.asin(min(1.0, math.sqrt(half)))
