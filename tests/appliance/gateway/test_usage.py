"""What a client used: volume, delivery, latency and cost by day and hour, as JSON, CSV and page."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from appliance.store.analytics import percentile

# NOW_MS of the office: 2026-11-18, 11:06:40 UTC, 14:06 on the box's clock.
HOUR_MS = 3_600_000


async def sent(office: Any, key: str, idem: str, *states: str, after_ms: int = 0, **fields: Any) -> int:
    """A message that goes through states, the first of them `after_ms` after it was accepted."""
    body = {"to": "+251911234567", "text": "x", **fields}
    _, receipt = await office.call("POST", "/v1/messages", key, json=body, idem=idem)
    outbound_id = int(receipt["id"].removeprefix("out_"))
    office.now_ms += after_ms
    await office.move(outbound_id, *states)
    return outbound_id


async def busy(office: Any) -> str:
    _, key = await office.client("acme")
    await sent(office, key, "1", "sending", "sent", "delivered", after_ms=400, lane="otp")
    await sent(office, key, "2", "sending", "sent", "delivered", after_ms=1_250, lane="otp")
    await sent(office, key, "3", "sending", "failed")
    office.now_ms += 11 * HOUR_MS  # after midnight where the box is
    await sent(office, key, "4", "sending", "sent", after_ms=61_000)
    return key


async def test_usage_by_day_counts_days_of_the_boxs_own_zone(office: Any) -> None:
    key = await busy(office)
    status, body = await office.call("GET", "/v1/usage", key)
    assert status == 200
    rows = [(row["period"], row["lane"], row["status"], row["messages"]) for row in body["rows"]]
    assert rows == [
        ("2026-11-18", "normal", "failed", 1),
        ("2026-11-18", "otp", "delivered", 2),
        ("2026-11-19", "normal", "sent", 1),
    ]
    _, first = await office.call("GET", "/v1/usage?from=2026-11-18&until=2026-11-18", key)
    assert {row["period"] for row in first["rows"]} == {"2026-11-18"}
    _, second = await office.call("GET", "/v1/usage?from=2026-11-19&until=2026-11-19", key)
    assert [row["messages"] for row in second["rows"]] == [1]


async def test_usage_tells_delivery_latency_and_cost_of_each_lane(office: Any) -> None:
    key = await busy(office)
    _, body = await office.call("GET", "/v1/usage", key)
    normal, otp = body["lanes"]
    assert otp == {
        "lane": "otp",
        "messages": 2,
        "sent": 2,
        "delivered": 2,
        "failed": 0,
        "delivered_share": 1.0,
        "p50_ms": 400,
        "p95_ms": 1200,
        "p99_ms": 1200,
        "units": 2,
    }
    assert (normal["delivered_share"], normal["p50_ms"], normal["units"]) == (0.0, 60_000, 1)


async def test_usage_as_csv_has_the_same_rows(office: Any) -> None:
    key = await busy(office)
    _, body = await office.call("GET", "/v1/usage?by=hour", key)
    headers = {"Authorization": f"Bearer {key}"}
    async with office.http.get("/v1/usage.csv?by=hour", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/csv")
        rows = list(csv.DictReader(io.StringIO(await answer.text())))
    assert [row["period"] for row in rows] == ["2026-11-18T14:00"] * 2 + ["2026-11-19T01:00"]
    assert rows == [{name: str(value) for name, value in row.items()} for row in body["rows"]]


async def test_page_of_a_client_shows_its_traffic_money_and_troubles(office: Any) -> None:
    client, key = await office.client("acme <b>", credit=100, low_mark=10)
    for place in range(3):
        await sent(office, key, str(place), "sending", "sent", "delivered", after_ms=400)
    await office.call("POST", "/v1/webhooks", key, json={"url": "https://example.org/hook"})
    await office.call("PUT", "/v1/groups/all", key)
    body = {"name": "Term 2", "group": "all", "text": "x"}
    await office.call("POST", "/v1/campaigns", key, json=body, idem="c")
    for by, period in (("day", "2026-11-18"), ("hour", "2026-11-18 14:00")):
        status, page = await office.call("GET", f"/clients/{client.id}?by={by}")
        assert status == 200
        for words in (period, "100.0%", "400 ms", "97", "https://example.org/hook", "Term 2", key[3:13]):
            assert words in page, words
        assert "<b>" not in page and key not in page
    async with office.http.get(f"/clients/{client.id}/usage.csv") as answer:
        assert "2026-11-18,normal,delivered,3,3,3" in await answer.text()
        assert "attachment" in answer.headers["Content-Disposition"]


async def test_page_lists_clients_and_the_front_page_leads_there(office: Any) -> None:
    assert "outpost client add" in (await office.call("GET", "/clients"))[1]
    client, _ = await office.client("acme")
    status, page = await office.call("GET", "/clients")
    assert status == 200 and f'href="/clients/{client.id}"' in page
    assert 'href="/clients"' in (await office.call("GET", "/"))[1]


@pytest.mark.parametrize(("path", "status"), [("/clients/99", 404), ("/clients/1?by=week", 400)])
async def test_page_of_no_client_or_of_a_wrong_period_is_a_problem(
    office: Any, path: str, status: int
) -> None:
    await office.client("acme")
    assert (await office.call("GET", path))[0] == status


async def test_pages_of_clients_are_not_for_a_foreign_site(office: Any) -> None:
    client, _ = await office.client("acme")
    for path in ("/clients", f"/clients/{client.id}", f"/clients/{client.id}/usage.csv"):
        assert (await office.call("GET", path, headers={"Host": "evil.example"}))[0] in (403, 421)


@pytest.mark.parametrize(
    "query", ["from=yesterday", "by=week", "from=2026-11-18&until=2026-11-01", "from=2025-01-01&by=hour"]
)
async def test_usage_of_a_wrong_time_is_refused(office: Any, query: str) -> None:
    _, key = await office.client("acme")
    assert (await office.call("GET", f"/v1/usage?{query}", key))[0] == 400


@pytest.mark.parametrize(
    ("histogram", "part", "value"),
    [
        ([], 50, None),
        ([(7, 1)], 99, 7),
        ([(1, 50), (2, 50)], 50, 1),
        ([(1, 50), (2, 50)], 51, 2),
        ([(1, 99), (9, 1)], 99, 1),
        ([(1, 98), (9, 2)], 99, 9),
    ],
)
def test_percentile_is_the_nearest_rank(
    histogram: list[tuple[int, int]], part: int, value: int | None
) -> None:
    assert percentile(histogram, part) == value
