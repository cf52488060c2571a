"""A store with one booking, telebirr's emulator, and the way between them on a clock that the test steps."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.conversation.kit import Kit
from appliance.payments.emulator import APP_ID, SECRET, account
from appliance.payments.telebirr.client import Client
from appliance.payments.telebirr.emulator import Account, Emulator
from appliance.payments.telebirr.messages import Merchant
from appliance.payments.telebirr.signing import Signer, Verifier
from appliance.payments.telebirr.way import TelebirrWay
from appliance.payments.words import PhraseWords
from appliance.store import effects, ledger
from appliance.store.booking_look import BookingLook
from appliance.store.effects import EffectContext
from appliance.store.outbound import QueuedRow
from appliance.store.store import Store
from appliance.store.timetable import import_sample

NOW = 1_795_327_200_000  # 2026-11-22 06:00 UTC
DATE = "2026-11-27"
HOLD_MS = 1_800_000
ABEBE, SARA, AGENT = "+251911111111", "+251922222222", "+251911000099"
PRICE = 89_000


class Box:
    """What the tests touch. sent: texts queued by the way, with their recipients."""

    def __init__(self, store: Store, telebirr: Emulator, keys: Path) -> None:
        self.store, self.telebirr, self.keys = store, telebirr, keys
        self.now_ms = NOW
        self.timeout_s = 5.0
        self.padding = "pss"
        self.public_url = ""
        self.mono = 0.0
        self.offered: list[QueuedRow] = []
        self.way = self.make_way()

    def make_way(self) -> TelebirrWay:
        signer = Signer.load(self.keys / "merchant.key", self.padding)
        client = Client(
            url=self.telebirr.url,
            app_id=APP_ID,
            secret=SECRET,
            merchant=Merchant(
                self.telebirr.account.merchant_app_id,
                self.telebirr.account.short_code,
                "http://127.0.0.1:9/payments/telebirr",
                "http://127.0.0.1:9/pay/done",
                "actual_amount",
            ),
            signer=signer,
            now_s=lambda: self.now_ms // 1000,
            clock=lambda: self.mono,
            timeout_s=self.timeout_s,
        )
        return TelebirrWay(
            self.store,
            client,
            signer,
            Verifier.load(self.keys / "telebirr.pub", self.padding),
            PhraseWords(Kit({})),
            clock_ms=lambda: self.now_ms,
            offer=self.offered.extend,
            checkout_url=self.telebirr.checkout_url,
            public_url=self.public_url,
        )

    async def restart(self) -> None:
        """As after a kill: nothing is left but the disk."""
        await self.way.close()
        self.way = self.make_way()
        await self.way.recover()

    async def effect(self, name: str, sender: str = ABEBE, **args: Any) -> None:
        context = EffectContext(self.now_ms, sender, 1)
        await self.store.writer.run(lambda db: effects.apply(db, context, [(name, args)]))

    async def hold(self, code: str = "AB3D5F", seats: int = 2, sender: str = ABEBE) -> None:
        """Seats held for half an hour, with the wish to pay by telebirr."""
        service = (
            await self.read(lambda db: BookingLook(db).trips("Addis Ababa", "Hawassa", DATE, self.now_ms))
        )[0].service
        await self.effect(
            "booking.hold", sender, service=service, date=DATE, seats=seats, code=code, language="en",
            until_ms=self.now_ms + HOLD_MS, fare_santim=44_500,
        )  # fmt: skip
        await self.effect("payment.order", sender, code=code, watch_hours=24)

    async def step(self, seconds: float = 0.0) -> None:
        """Let the time pass and do what is due, until nothing is."""
        self.now_ms += int(seconds * 1000)
        self.mono += seconds
        for _ in range(6):
            await self.way.run_due()
            await self.way.settled()

    async def step_once(self, seconds: float) -> None:
        """The same with one look only."""
        self.now_ms += int(seconds * 1000)
        self.mono += seconds
        await self.way.run_due()
        await self.way.settled()

    async def read(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        return await self.store.reader.run(work)

    async def one(self, query: str) -> Any:
        return (await self.read(lambda db: db.execute(query).fetchone()))[0]

    async def texts(self, number: str = ABEBE) -> list[str]:
        query = "SELECT text FROM outbound WHERE recipient = ? ORDER BY id"
        return [row[0] for row in await self.read(lambda db: db.execute(query, (number,)).fetchall())]

    async def order(self) -> str:
        """The state of the latest order."""
        return str(await self.one("SELECT state FROM telebirr_order ORDER BY id DESC LIMIT 1"))

    async def booking(self) -> str:
        return str(await self.one("SELECT state FROM booking ORDER BY id LIMIT 1"))

    async def refund(self) -> tuple[Any, ...]:
        """(way, state, santim) of the latest refund."""
        query = "SELECT way, state, amount_santim FROM refund ORDER BY id DESC LIMIT 1"
        return tuple(await self.read(lambda db: db.execute(query).fetchone()))

    async def balance(self, account: str) -> int:
        return int(await self.read(lambda db: ledger.balance(db, account)))

    @property
    def number(self) -> str:
        """The latest order that telebirr knows."""
        return next(reversed(self.telebirr.orders))

    def asked(self, call: str) -> int:
        return sum(1 for name, _ in self.telebirr.calls if name == call)

    async def books_are_right(self) -> None:
        """What every test ends with: the ledger, and telebirr's opinion of us."""
        assert await self.read(ledger.check) == []
        assert self.telebirr.violations == []


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of both sides; making them takes a second."""
    folder = tmp_path_factory.mktemp("telebirr")
    account(folder)
    return folder


@pytest.fixture
def telebirr_account(keys: Path) -> Account:
    return account(keys)


@pytest.fixture
async def box(tmp_path: Path, keys: Path, telebirr_account: Account) -> AsyncIterator[Box]:
    store = await Store.open(tmp_path / "data")
    await store.writer.run(lambda db: import_sample(db, now_ms=NOW, seats_per_bus=4))
    emulator = Emulator(telebirr_account)
    await emulator.start()
    made = Box(store, emulator, keys)
    emulator._clock = lambda: made.now_ms / 1000
    yield made
    await made.way.close()
    await emulator.stop()
    await store.close()


@pytest.fixture
def anybody() -> Iterator[str]:
    yield SARA
