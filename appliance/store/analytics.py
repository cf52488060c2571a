"""What a client's messages came to: volume, delivery, latency and cost, by day or hour. Read functions.

The schema's triggers keep the counts, so that reading costs the same with ten messages and ten million.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

__all__ = ["LaneFigures", "Volume", "lane_figures", "percentile", "volume"]

_PERIODS: Final = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00"}
_QUARTER_MS: Final = 900_000
_SLOT_MS: Final = 10_800_000


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of one period, lane and status. period: local, 2026-11-30 or 2026-11-30T14:00. units: of
    those that went out."""

    period: str
    lane: str
    status: str
    messages: int
    segments: int
    units: int


class LaneFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One lane in the whole time. delivered_share: of what was handed to the network or failed, None when
    that is nothing. p50_ms and so on: from acceptance until it was sent, None when nothing was."""

    lane: str
    messages: int
    sent: int
    delivered: int
    failed: int
    delivered_share: float | None
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    units: int


def volume(
    db: sqlite3.Connection, client_id: int, from_ms: int, until_ms: int, offset_minutes: int, by: str
) -> list[Volume]:
    """Messages accepted in [from_ms, until_ms), from_ms rounded down to a quarter hour, by period, lane and
    status. by: "day" or "hour"."""
    rows = db.execute(
        "SELECT strftime(?, quarter_ms / 1000 + ? * 60, 'unixepoch') AS period, lane, state,"
        " sum(messages), sum(segments), sum(units) FROM client_usage"
        " WHERE client_id = ? AND quarter_ms >= ? AND quarter_ms < ? AND messages > 0"
        " GROUP BY period, lane, state ORDER BY period, lane, state",
        (_PERIODS[by], offset_minutes, client_id, from_ms - from_ms % _QUARTER_MS, until_ms),
    )
    return [
        Volume(period=row[0], lane=row[1], status=row[2], messages=row[3], segments=row[4], units=row[5])
        for row in rows
    ]


def lane_figures(db: sqlite3.Connection, client_id: int, from_ms: int, until_ms: int) -> list[LaneFigures]:
    """Each lane that was used in the time."""
    counts: dict[str, dict[str, int]] = {}
    units: dict[str, int] = {}
    for lane, state, messages, cost in db.execute(
        "SELECT lane, state, sum(messages), sum(units) FROM client_usage"
        " WHERE client_id = ? AND quarter_ms >= ? AND quarter_ms < ? AND messages > 0 GROUP BY lane, state",
        (client_id, from_ms - from_ms % _QUARTER_MS, until_ms),
    ):
        counts.setdefault(lane, {})[state] = messages
        units[lane] = units.get(lane, 0) + cost
    times: dict[str, list[tuple[int, int]]] = {}
    for lane, took_ms, messages in db.execute(
        "SELECT lane, took_ms, sum(messages) FROM client_latency"
        " WHERE client_id = ? AND slot_ms >= ? AND slot_ms < ? GROUP BY lane, took_ms ORDER BY took_ms",
        (client_id, from_ms - from_ms % _SLOT_MS, until_ms),
    ):
        times.setdefault(lane, []).append((took_ms, messages))
    return [_figures(lane, counts[lane], units[lane], times.get(lane, ())) for lane in sorted(counts)]


def _figures(lane: str, states: dict[str, int], units: int, times: Sequence[tuple[int, int]]) -> LaneFigures:
    handed = sum(states.get(state, 0) for state in ("sent", "delivered", "unknown"))
    failed, delivered = states.get("failed", 0), states.get("delivered", 0)
    known: dict[str, Any] = {f"p{part}_ms": percentile(times, part) for part in (50, 95, 99)}
    return LaneFigures(
        lane=lane,
        messages=sum(states.values()),
        sent=handed,
        delivered=delivered,
        failed=failed,
        delivered_share=round(delivered / (handed + failed), 4) if handed + failed else None,
        units=units,
        **known,
    )


def percentile(histogram: Sequence[tuple[int, int]], part: int) -> int | None:
    """The value below or at which `part` percent lie. histogram: (value, how many) in rising order."""
    total = sum(count for _, count in histogram)
    wanted, seen = -(-total * part // 100), 0  # the nearest rank
    for value, count in histogram:
        seen += count
        if seen >= wanted:
            return value
    return None
