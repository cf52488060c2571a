"""What a client used: by day or hour, lane and status, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from appliance.store import analytics
from appliance.store.analytics import LaneFigures, Volume
from appliance.web.problem import Problem
from appliance.web.v1.operation import Call, Result
from appliance.web.v1.shapes import Shown

__all__ = ["LaneUsage", "Usage", "UsageRow", "as_csv", "usage", "usage_csv"]

_DAY_MS: Final = 86_400_000
_MOST_DAYS: Final = {"day": 400, "hour": 62}


class UsageRow(Shown):
    """period: of the box's zone, 2026-11-30 or 2026-11-30T14:00. units: of messages that went out."""

    period: str
    lane: str
    status: str
    messages: int
    segments: int
    units: int


class LaneUsage(Shown):
    """A lane in the whole time. sent: handed to the network or a provider. delivered_share: of those and the
    failed. p50_ms and so on: from acceptance until sent, rounded down by a tenth at most."""

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


class Usage(Shown):
    rows: list[UsageRow]
    lanes: list[LaneUsage]


async def usage(call: Call) -> Result:
    """Messages, segments and units by period, lane and status, and each lane's delivery and latency."""
    rows, lanes = await _read(call)
    return Result(
        200,
        Usage(
            rows=[UsageRow(**_plain(row)) for row in rows],
            lanes=[LaneUsage(**_plain(lane)) for lane in lanes],
        ),
    )


async def usage_csv(call: Call) -> Result:
    """The rows of the usage as CSV with a header."""
    rows, _ = await _read(call)
    return Result(200, as_csv(rows), content_type="text/csv")


def as_csv(rows: Iterable[Volume]) -> bytes:
    """RFC 4180, UTF-8, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(Volume.__struct_fields__)
    writer.writerows(_plain(row).values() for row in rows)
    return text.getvalue().encode()


async def _read(call: Call) -> tuple[list[Volume], list[LaneFigures]]:
    gateway, client_id = call.gateway, call.caller.client.id
    now_ms, offset, by = gateway.clock_ms(), gateway.timezone_minutes, call.query.get("by", "day")
    until_ms = _day(call.query.get("until"), "until", now_ms, offset) + _DAY_MS
    otherwise_ms = until_ms - (31 if by == "day" else 2) * _DAY_MS
    from_ms = _day(call.query.get("from"), "from", otherwise_ms, offset)
    if not 0 < until_ms - from_ms <= _MOST_DAYS[by] * _DAY_MS:
        raise Problem(
            400, "bad-parameter", f"from and until: expected at most {_MOST_DAYS[by]} days, in their order."
        )

    def read(db: sqlite3.Connection) -> tuple[list[Volume], list[LaneFigures]]:
        return (
            analytics.volume(db, client_id, from_ms, until_ms, offset, by),
            analytics.lane_figures(db, client_id, from_ms, until_ms),
        )

    found: tuple[list[Volume], list[LaneFigures]] = await gateway.store.reader.run(read)
    return found


def _day(text: str | None, name: str, otherwise_ms: int, offset_minutes: int) -> int:
    """The start of a local day, in UTC milliseconds."""
    if text is None:
        return otherwise_ms
    try:
        start = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise Problem(400, "bad-parameter", f"{name}: expected a day, YYYY-MM-DD.") from None
    return int(start.timestamp() * 1000) - offset_minutes * 60_000


def _plain(row: Volume | LaneFigures) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}
