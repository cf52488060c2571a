"""GET /metrics: what Prometheus reads."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families


async def test_metrics_tell_messages_queues_writer_workers_and_modems(bench: Any) -> None:
    sms = {"from": "+251911234567", "message": "HELP"}
    for _ in range(20):
        await bench.client.post("/api/sms/incoming", json=sms)
    answer = await bench.client.get("/metrics")
    assert answer.status == 200
    found = {}
    for family in text_string_to_metric_families(await answer.text()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    assert found["outpost_inbound_total", (("state", "accepted"),)] == 20
    assert found["outpost_http_requests_total", (("route", "/api/sms/incoming"), ("status", "202"))] == 20
    assert found["outpost_http_request_seconds_count", (("route", "/api/sms/incoming"),)] == 1
    assert found["outpost_outbound_queue", (("lane", "reply"),)] == 2
    assert found["outpost_outbound_oldest_seconds", (("lane", "reply"),)] == 4
    assert found["outpost_writer_commits_total", ()] == 7
    assert found["outpost_writer_commit_seconds", ()] == 0.0015
    assert found["outpost_workers", (("state", "idle"),)] == 1
    assert found["outpost_modem_signal_dbm", (("modem", "gsm1"),)] == -77
    assert found["outpost_modem_ready", (("modem", "gsm1"),)] == 1
    assert found["process_resident_memory_bytes", ()] > 0
