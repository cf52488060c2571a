"""The metrics page for Prometheus: one registry, filled when it is read.

Almost everything here is a number that some part of the appliance already keeps, so it is fetched at the
scrape and costs nothing between scrapes. Names and meanings are listed in docs/metrics.md.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from appliance.observe.counts import SAMPLE_EVERY, SECONDS_BOUNDS, Counts

__all__ = ["CONTENT_TYPE", "Metrics", "Sources"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the numbers come from, each a function that returns a snapshot and does not block."""

    counts: Counts
    dispatcher: Callable[[], Mapping[str, Any]]
    outbound: Callable[[], Mapping[str, Any]] = field(default=lambda: {})
    writer: Callable[[], Mapping[str, Any]] = field(default=lambda: {})
    modems: Callable[[], Sequence[Any]] = field(default=lambda: ())
    data_dir: Path | None = None
    remember_s: Callable[[], int] = field(default=lambda: 300)


class Metrics:
    """The registry; nothing is counted here."""

    def __init__(self, sources: Sources) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Snapshots(sources))
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """The text exposition format, UTF-8."""
        return generate_latest(self.registry)


class _Snapshots(Collector):
    """Turns the snapshots into metric families at each scrape."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        yield from self._messages()
        yield from self._dispatcher()
        yield from self._outbound()
        yield from self._writer()
        yield from self._modems()
        yield from self._box()

    def _messages(self) -> Iterator[Metric]:
        for kind, name, meaning in (
            ("in", "outpost_inbound", "Inbound messages that entered a state."),
            ("out", "outpost_outbound", "Outbound messages that entered a state."),
        ):
            family = CounterMetricFamily(name, meaning, labels=["state"])
            for (of_kind, state), count in self._sources.counts.by_state.items():
                if of_kind == kind:
                    family.add_metric([state], count)
            yield family
        requests = CounterMetricFamily(
            "outpost_http_requests", "HTTP requests answered.", labels=["route", "status"]
        )
        for (route, status), count in self._sources.counts.requests.items():
            requests.add_metric([route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "outpost_http_request_seconds",
            f"Time to answer an HTTP request; one in {SAMPLE_EVERY} is measured.",
            labels=["route"],
        )
        for route, kept in self._sources.counts.request_seconds.items():
            bounds = [*(str(bound) for bound in SECONDS_BOUNDS), "+Inf"]
            buckets = list(zip(bounds, accumulate(kept.buckets), strict=True))
            seconds.add_metric([route], buckets, kept.total)
        yield seconds

    def _dispatcher(self) -> Iterator[Metric]:
        snapshot = self._sources.dispatcher()
        yield _gauge(
            "outpost_inbound_waiting", "Messages on disk that wait for their turn.", snapshot, "queued"
        )
        oldest = snapshot.get("oldest_ms")
        yield GaugeMetricFamily(
            "outpost_inbound_oldest_seconds",
            "How long the oldest of them has waited.",
            value=(oldest or 0) / 1000,
        )
        workers = snapshot.get("workers", ())
        states = GaugeMetricFamily("outpost_workers", "Worker processes by state.", labels=["state"])
        for state, count in Counter(worker.get("state", "unknown") for worker in workers).items():
            states.add_metric([state], count)
        yield states
        turns = snapshot.get("turns", sum(worker.get("turns", 0) for worker in workers))
        yield CounterMetricFamily("outpost_turns", "Turns committed.", value=turns)
        memory = sum(worker.get("rss_bytes") or 0 for worker in workers)
        yield GaugeMetricFamily("outpost_workers_resident_bytes", "Memory of all workers.", value=memory)

        yield GaugeMetricFamily(
            "outpost_search_remembered_seconds",
            "For how long a search of departures is remembered: 300, or 1800 under pressure.",
            value=self._sources.remember_s(),
        )

    def _outbound(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("outpost_outbound_queue", "Messages queued, by lane.", labels=["lane"])
        age = GaugeMetricFamily(
            "outpost_outbound_oldest_seconds", "Wait of the oldest queued message, by lane.", labels=["lane"]
        )
        for lane in self._sources.outbound().get("lanes", ()):
            depth.add_metric([lane["lane"]], lane.get("queued") or 0)
            age.add_metric([lane["lane"]], (lane.get("oldest_ms") or 0) / 1000)
        yield depth
        yield age

    def _writer(self) -> Iterator[Metric]:
        snapshot = self._sources.writer()
        if "commits" in snapshot:
            yield CounterMetricFamily(
                "outpost_writer_commits", "Synced commits of the single writer.", value=snapshot["commits"]
            )
        if "ops" in snapshot:
            yield CounterMetricFamily("outpost_writer_ops", "Operations committed.", value=snapshot["ops"])
        if "queued" in snapshot:
            yield _gauge("outpost_writer_queue", "Operations that wait for the writer.", snapshot, "queued")
        if "last_commit_ms" in snapshot:
            yield GaugeMetricFamily(
                "outpost_writer_commit_seconds",
                "Duration of the latest commit, sync included.",
                value=(snapshot["last_commit_ms"] or 0) / 1000,
            )

    def _modems(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "outpost_modem_ready", "1 while the modem takes messages.", labels=["modem"]
        )
        signal = GaugeMetricFamily("outpost_modem_signal_dbm", "Received signal strength.", labels=["modem"])
        sent = CounterMetricFamily("outpost_modem_sent", "SMS-SUBMITs accepted.", labels=["modem"])
        received = CounterMetricFamily("outpost_modem_received", "SMS-DELIVERs read.", labels=["modem"])
        storage = GaugeMetricFamily("outpost_modem_storage_ratio", "SIM storage in use.", labels=["modem"])
        for modem in self._sources.modems():
            label = [modem.name]
            ready.add_metric(label, float(modem.state == "ready"))
            if modem.signal_dbm is not None:
                signal.add_metric(label, modem.signal_dbm)
            sent.add_metric(label, modem.sent)
            received.add_metric(label, modem.received)
            if modem.storage_total:
                storage.add_metric(label, (modem.storage_used or 0) / modem.storage_total)
        yield from (ready, signal, sent, received, storage)

    def _box(self) -> Iterator[Metric]:
        if self._sources.data_dir is None:
            return
        try:
            free = shutil.disk_usage(self._sources.data_dir).free
        except OSError:
            return
        yield GaugeMetricFamily("outpost_disk_free_bytes", "Room left for the data directory.", value=free)


def _gauge(name: str, meaning: str, snapshot: Mapping[str, Any], key: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=snapshot.get(key) or 0)
