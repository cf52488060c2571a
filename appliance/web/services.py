"""What the web layer is given: the rest of the appliance, as narrow protocols.

The page and the HTTP API read and call these and nothing else, so that a test can stand a fake in for
any of them and the server wires the real ones in one place.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from appliance.config import Config
from appliance.gateway.service import Gateway
from appliance.message import Inbound, Outbound
from appliance.payments.desk import PaymentDesk
from appliance.store.outbound import QueuedRow
from appliance.web.guesses import Guesses

__all__ = [
    "Accepted",
    "ClockState",
    "Conversed",
    "Dispatcher",
    "Feed",
    "HistoryEntry",
    "ModemHealth",
    "Runner",
    "Services",
    "Store",
    "WebSettings",
    "Writer",
    "wall_clock_ms",
]

T = TypeVar("T")


class Accepted(Protocol):
    """The receipt of `Store.accept`: it is on disk under this id."""

    @property
    def id(self) -> int: ...
    @property
    def duplicate(self) -> bool: ...


class Runner(Protocol):
    """Runs `fn(db, *args)` on a database connection off the loop and hands its result back."""

    async def run(self, fn: Callable[..., T], /, *args: Any) -> T: ...


class Writer(Runner, Protocol):
    """The single writer: `run` resolves after the commit that holds the op is synced.

    snapshot: {"state", "detail", "queued", "commits", "ops", "last_commit_ms"}, any of it may be missing.
    """

    def snapshot(self) -> Mapping[str, Any]: ...


class Feed(Protocol):
    """Says what changed, after the commit: {"kind": "in" | "out" | "session", "id": ..., "state": ...}."""

    def subscribe(self, callback: Callable[[dict[str, Any]], None], /) -> Callable[[], None]: ...


class Store(Protocol):
    """The part of the store that the web layer uses.

    It tells the dispatcher of what it accepted by itself, in the commit's own callback.
    """

    @property
    def reader(self) -> Runner: ...
    @property
    def writer(self) -> Writer: ...
    @property
    def feed(self) -> Feed: ...

    async def accept(self, inbound: Inbound, /) -> Accepted: ...
    async def accept_many(self, inbounds: Sequence[Inbound], /) -> Sequence[Accepted]: ...


class Conversed(Accepted, Protocol):
    """The receipt of `Dispatcher.converse`."""

    @property
    def replies(self) -> list[str] | None: ...


class Dispatcher(Protocol):
    """The part of the dispatcher that the web layer uses.

    converse: accept a message and wait for its turn. `replies` are the texts that answer the sender, []
    when there is nothing to say, None when `timeout_s` ran out; the message is on disk in any case.
    """

    @property
    def full(self) -> bool: ...
    @property
    def retry_after_s(self) -> float: ...

    async def converse(self, inbound: Inbound, timeout_s: float, /) -> Conversed: ...
    async def converse_many(
        self, messages: Sequence[Inbound], timeout_s: float, /
    ) -> Sequence[Conversed]: ...
    def snapshot(self) -> Mapping[str, Any]: ...


class ModemHealth(Protocol):
    """What the page shows of a modem; firmware_bridge's own ModemHealth fits."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def since_ms(self) -> int: ...
    @property
    def next_step(self) -> str: ...
    @property
    def operator(self) -> str | None: ...
    @property
    def registration(self) -> int | None: ...
    @property
    def signal_dbm(self) -> int | None: ...
    @property
    def own_number(self) -> str | None: ...
    @property
    def storage_used(self) -> int | None: ...
    @property
    def storage_total(self) -> int | None: ...
    @property
    def port(self) -> str | None: ...
    @property
    def sent(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def alarms(self) -> Sequence[str]: ...


class HistoryEntry(Protocol):
    """One line of a modem's history; firmware_bridge's own ladder.Entry fits."""

    @property
    def at_ms(self) -> int: ...
    @property
    def step(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def took_s(self) -> float | None: ...


class ClockState(Protocol):
    """How far the clock can be believed; `appliance.clock.ClockState` fits."""

    @property
    def trusted(self) -> bool: ...
    @property
    def source(self) -> str: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The settings that the web layer reads.

    incoming_token: Bearer token that clients who are not on this machine must show to POST messages.
    page_password: lets browsers elsewhere see the page (HTTP Basic, any user name); empty: nobody.
    hosts: names under which the page may be reached, besides addresses, localhost, *.local and names
    without a dot. guesses: the wrong passwords so far. region: ISO 3166, for numbers in national form.
    timezone_minutes: east of UTC, for the times that people read.
    """

    data_dir: Path
    incoming_token: str = ""
    page_password: str = ""
    hosts: frozenset[str] = frozenset()
    region: str = "ET"
    timezone_minutes: int = 180
    default_app: str = "booking"
    guesses: Guesses = field(default_factory=Guesses, compare=False)

    @classmethod
    def from_config(cls, config: Config) -> WebSettings:
        """Pick ours out of `appliance.config.Config`."""
        http, conversation = config.http, config.conversation
        return cls(
            data_dir=config.data_path,
            incoming_token=http.incoming_token or "",
            page_password=http.page_password or "",
            hosts=frozenset(name.lower() for name in http.hosts),
            region=conversation.region,
            timezone_minutes=conversation.timezone_minutes,
            default_app=conversation.default_app,
        )


def wall_clock_ms() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything the web layer may touch.

    modems: health of each configured modem, in order. outbound: {"lanes": [{"lane", "queued",
    "oldest_ms", "sending"}], "routes": [{"name", "state", "reason"}]}, any part of it may be missing.
    modem_history: what was done to a modem, by name, oldest first; None: there is no such modem.
    clock_state: None where nobody judges the clock.
    send: queues a message and returns its id; without it the page has no form to send one.
    offer: tells the modems of rows that an op put on the queue. say: a text of the phrase files, by language
    and key. model: the assistant's endpoint, {} when none is configured.
    remember_s: for how long a search of departures is remembered now.
    gateway: the business side; without it there is no /v1. payments: without it there is no /payments.
    started_ms: when this process began, for the up-time on the page.
    """

    store: Store
    dispatcher: Dispatcher
    settings: WebSettings
    modems: Callable[[], Sequence[ModemHealth]] = field(default=lambda: ())
    modem_history: Callable[[str], Sequence[HistoryEntry] | None] = field(default=lambda name: None)
    clock_state: Callable[[], ClockState] | None = None
    outbound: Callable[[], Mapping[str, Any]] = field(default=lambda: {})
    remember_s: Callable[[], int] = field(default=lambda: 300)
    gateway: Gateway | None = None
    payments: PaymentDesk | None = None
    send: Callable[[Outbound], Awaitable[int]] | None = None
    offer: Callable[[Sequence[QueuedRow]], object] = field(default=lambda rows: None)
    held: Callable[[str], tuple[str, int | None] | None] = field(default=lambda lane: None)
    say: Callable[[str, str], str] = field(default=lambda language, key: key)
    model: Callable[[], Mapping[str, Any]] = field(default=lambda: {})
    clock_ms: Callable[[], int] = wall_clock_ms
    started_ms: int = field(default_factory=wall_clock_ms)
