"""Keeps the credit of one SIM known: asks on a schedule, hears the operator's texts, says when to pause."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from appliance.outbound.balance import Balance, BalanceRule, Balances
from appliance.store import sim_balance
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.sim_balance import Known
from firmware_bridge.errors import BridgeError

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["BalanceWatch", "Prepaid"]

log = logging.getLogger(__name__)

RETRY_S: Final = 900.0  # after an answer that did not come or was not understood
HEARD_PAUSE_S: Final = 300.0  # a text makes us ask at most so often: anybody may forge its sender
_DAY_MS: Final = 24 * 3_600_000


@runtime_checkable
class Prepaid(Protocol):
    """A channel whose SIM can be asked what it has. iccid: None while it is unknown."""

    balance: BalanceWatch | None

    @property
    def name(self) -> str: ...
    @property
    def iccid(self) -> str | None: ...

    async def wait_modem(self) -> None:
        """Until the modem answers, whether or not its SIM may send."""
        ...

    async def dial(self, code: str) -> str:
        """What the network answers to a USSD code; never during a send. Raises BridgeError."""
        ...

    def look_again(self) -> None:
        """What closes the channel may have changed."""
        ...


class BalanceWatch:
    """One SIM's. `run` for ever; `hold` and `alarms` are what follows from what is known."""

    def __init__(
        self,
        channel: Prepaid,
        rule: BalanceRule,
        balances: Balances,
        store: Store,
        clock_ms: Callable[[], int],
        *,
        timezone_minutes: int,
    ) -> None:
        self.rule = rule
        self.known: Known | None = None
        self.problem = ""
        self._channel = channel
        self._balances = balances
        self._store = store
        self._clock_ms = clock_ms
        self._zone = dt.timezone(dt.timedelta(minutes=timezone_minutes))
        self._sim: str | None = None
        self._wanted = asyncio.Event()
        self._asking = asyncio.Lock()
        self._due_at = 0.0  # monotonic s
        self._asked_at = -math.inf  # monotonic s
        self._alarmed: list[str] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._channel.wait_modem()
            self._wanted.clear()
            try:
                await self._remember()
                if self.rule.code and self._due_at <= loop.time():
                    problem = await self.ask()
                    self._due_at = loop.time() + min(self.rule.every_s, RETRY_S if problem else math.inf)
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("%s: its balance waits for the disk: %s", self._channel.name, error)
                self._due_at = loop.time() + RETRY_S
            wait_s = min(self.rule.every_s, max(0.0, self._due_at - loop.time()) or self.rule.every_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()
                    self._due_at = 0.0

    async def ask(self) -> str:
        """Ask the operator now; returns why nothing was learnt, "" when it was."""
        if not self.rule.code:
            return "the route has no balance_code"
        async with self._asking:
            self._asked_at = asyncio.get_running_loop().time()
            try:
                text = await self._channel.dial(self.rule.code)
            except BridgeError as error:
                self.problem = str(error)
            else:
                balance = self._balances.answer(self.rule.code, text)
                self.problem = "" if balance else f"no pattern of balances.toml knows {text[:80]!r}"
                if balance is not None:
                    await self._learn(balance, "ussd")
        self._tell()
        return self.problem

    def listens_to(self, sender: str) -> bool:
        """Whether `heard` would read a text from there."""
        return self._balances.listens_to(sender)

    async def heard(self, sender: str, text: str) -> None:
        """A text came in. Where the network can be asked, one of the operator's only makes us ask it."""
        balance = self._balances.text(sender, text)
        if balance is None:
            return
        if not self.rule.code:
            await self._learn(balance, "sms")
            self._tell()
        elif asyncio.get_running_loop().time() - self._asked_at >= HEARD_PAUSE_S:
            self._wanted.set()

    def hold(self) -> str:
        """Why nothing may be sent, "" if it may. What is known of another SIM does not count."""
        amount = self.known.amount_santim if self.known and self._is_its() else None
        if amount is None or amount >= self.rule.floor:
            return ""
        return f"its balance, {_birr(amount)}, is under the floor of {_birr(self.rule.floor)}"

    def alarms(self) -> list[str]:
        """What a person should know before it pauses."""
        found = []
        known = self.known if self._is_its() else None
        if known and known.amount_santim is not None and known.amount_santim < self.rule.low:
            found.append(f"its balance, {_birr(known.amount_santim)}, is under {_birr(self.rule.low)}")
        if known and known.bundle_end_ms is not None:
            left_ms = known.bundle_end_ms - self._clock_ms()
            if left_ms < _DAY_MS:
                found.append(
                    f"its bundle {'has ended' if left_ms < 0 else 'ends'} on {self._day(known.bundle_end_ms)}"
                )
        if self.problem:
            found.append(f"its balance is not known: {self.problem}")
        return found

    def snapshot(self) -> dict[str, Any]:
        """For the page and the command line: words, and since when they are known."""
        known = self.known if self._is_its() else None
        words = []
        if known and known.amount_santim is not None:
            words.append(_birr(known.amount_santim))
        if known and known.bundle:
            words.append(known.bundle)
        if known and known.bundle_end_ms is not None:
            words.append(f"bundle until {self._day(known.bundle_end_ms)}")
        return {
            "words": ", ".join(words),
            "said_at_ms": known.said_at_ms if known else None,
            "alarms": self.alarms(),
        }

    async def _remember(self) -> None:
        sim = self._channel.iccid or ""
        if sim != self._sim:
            self.known = await self._store.reader.run(sim_balance.load, self._channel.name, sim)
            self._sim, self.problem = sim, ""
            # What a restart still knows is fresh for the rest of its time, by a clock that may have moved.
            age_s = (self._clock_ms() - self.known.said_at_ms) / 1000 if self.known else math.inf
            self._due_at = asyncio.get_running_loop().time() + max(0.0, self.rule.every_s - max(0.0, age_s))
            self._tell()

    async def _learn(self, balance: Balance, source: str) -> None:
        end_ms = None
        if balance.bundle_end is not None:
            next_day = dt.datetime.combine(
                balance.bundle_end + dt.timedelta(days=1), dt.time(), tzinfo=self._zone
            )
            end_ms = round(next_day.timestamp() * 1000) - 1
        self._sim = self._channel.iccid or ""
        known = Known(balance.amount_santim, balance.bundle, end_ms, self._clock_ms(), source)
        try:
            await self._store.writer.run(sim_balance.save, self._channel.name, self._sim, known)
        except StoreError as error:  # it holds until the next start all the same
            log.warning("%s: its balance is not stored: %s", self._channel.name, error)
        self.known = known

    def _is_its(self) -> bool:
        return self._channel.iccid in (None, self._sim)

    def _tell(self) -> None:
        self._channel.look_again()
        alarms = self.alarms()
        for alarm in alarms:
            if alarm not in self._alarmed:
                log.warning("%s: %s", self._channel.name, alarm)
        self._alarmed = alarms

    def _day(self, ms: int) -> str:
        return dt.datetime.fromtimestamp(ms / 1000, self._zone).strftime("%Y-%m-%d")


def _birr(santim: int) -> str:
    return f"{santim // 100}.{santim % 100:02d} birr"
