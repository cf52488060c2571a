"""Paying from a handset: by telebirr's emulator, a wallet's own text, cash; and kill -9 in the middle."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.store import ledger
from tests.sim.harness import AGENT, AGENT_PIN, ROOT, Handset, Network, Outpost, wait_for

ABEBE = "+251911223344"
PRICE = 89_000


class Telebirr:
    """`outpost emulate telebirr` in a process of its own, so that it outlives the box."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "appliance",
                "emulate",
                "telebirr",
                "--port",
                "0",
                "--folder",
                str(folder),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(11)]
        self.settings = "".join(lines[:10])
        self.control = re.search(r"http://\S+/control", lines[10])[0]  # type: ignore[index]

    def ask(self, **wish: Any) -> dict[str, Any]:
        body = json.dumps(wish).encode() if wish else None
        with urllib.request.urlopen(self.control, body, timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    @property
    def orders(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask()["orders"]
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=5)


@pytest.fixture
def telebirr(tmp_path: Path) -> Iterator[Telebirr]:
    made = Telebirr(tmp_path / "telebirr")
    yield made
    made.close()


class Box(Outpost):
    """A box that telebirr and browsers reach at an address of its own."""

    def __init__(self, folder: Path, network: Network, telebirr: Telebirr) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.public = f"http://127.0.0.1:{self.port}"
        extra = f'wallets = ["telebirr"]\n{telebirr.settings}public_url = "{self.public}"\n'
        super().__init__(folder, [network.modem()], extra)

    def start(self, **environment: str) -> None:
        super().start(OUTPOST__HTTP__LISTEN=f"127.0.0.1:{self.port}", **environment)

    def ends(self) -> None:
        """Until a fault point has killed it."""
        assert self.process is not None
        self.process.wait(20)

    def books(self) -> list[str]:
        db = sqlite3.connect(f"file:{self.data / 'outpost.db'}?mode=ro", uri=True)
        try:
            return ledger.check(db)
        finally:
            db.close()

    def balance(self, account: str) -> int:
        query = "SELECT coalesce(sum(balance_santim), 0) FROM ledger_account WHERE name = '{}'"
        return self.count(query.format(account))


@pytest.fixture
def box(tmp_path: Path, network: Network, telebirr: Telebirr) -> Iterator[Box]:
    made = Box(tmp_path, network, telebirr)
    yield made
    made.close()


def link_in(text: str) -> str:
    found = re.search(r"http://\S+/pay/[A-Z0-9]{6}", text)
    assert found is not None, text
    return found[0]


def book(abebe: Handset, day: str = "FRIDAY") -> str:
    """Two texts; the link that the second answer carries."""
    assert "YES" in abebe.says(f"BOOK ADDIS HAWASSA {day} 2")
    return link_in(abebe.says("YES"))


def pay_in_a_browser(link: str) -> None:
    """Open the link until telebirr's page is there, and press its button."""

    def gate() -> str:
        with urllib.request.urlopen(link, timeout=10) as page:
            return page.url if "paygate" in page.url else ""

    address = wait_for("telebirr's page", gate)
    with urllib.request.urlopen(address, b"", timeout=10) as page:
        assert page.status == 200


def test_passenger_pays_by_link_and_gets_the_ticket_by_sms(
    network: Network, box: Box, telebirr: Telebirr
) -> None:
    box.start()
    abebe = network.handset(ABEBE)
    pay_in_a_browser(book(abebe))
    assert abebe.next().startswith("TICKET ")
    assert [order["status"] for order in telebirr.orders] == ["PAY_SUCCESS"]
    assert telebirr.orders[0]["notified"] == [200]
    assert box.balance("wallet:telebirr") == PRICE
    code = link_in(abebe.texts()[1]).rpartition("/")[2]
    assert "telebirr" in abebe.says(f"CANCEL {code}")
    assert "went back to your telebirr" in abebe.next()
    assert sum(telebirr.orders[0]["refunds"].values()) == PRICE * 80 // 100
    assert box.balance("wallet:telebirr") == PRICE - PRICE * 80 // 100
    assert box.books() == [] and telebirr.ask()["violations"] == []
    assert "books are right" in box.get("/payments")


@pytest.mark.parametrize("point", ["asking", "asked", "settled"])
def test_kill_in_the_middle_of_paying_pays_once(
    network: Network, box: Box, telebirr: Telebirr, point: str
) -> None:
    box.start(OUTPOST_FAULTS=f"telebirr.{point}=kill")
    abebe = network.handset(ABEBE)
    link = book(abebe)
    if point == "settled":
        wait_for("an order", lambda: telebirr.orders)
        pay_in_a_browser(link)
    box.ends()
    box.start()
    if point != "settled":
        pay_in_a_browser(link)
    assert abebe.next().startswith("TICKET ")
    assert box.count("SELECT count(*) FROM payment") == 1
    paid = [order for order in telebirr.orders if order["paid_santim"]]
    assert len(paid) == 1
    assert box.balance("wallet:telebirr") == PRICE == -box.balance("sales")
    assert box.books() == [] and telebirr.ask()["violations"] == []
    assert len([text for text in abebe.texts() if text.startswith("TICKET")]) == 1


@pytest.mark.parametrize("point", ["refunding", "refunded"])
def test_kill_in_the_middle_of_a_refund_never_asks_for_it_twice(
    network: Network, box: Box, telebirr: Telebirr, point: str
) -> None:
    box.start(OUTPOST_FAULTS=f"telebirr.{point}=kill")
    abebe = network.handset(ABEBE)
    link = book(abebe)
    pay_in_a_browser(link)
    assert abebe.next().startswith("TICKET ")
    abebe.send(f"CANCEL {link.rpartition('/')[2]}")
    box.ends()
    box.start()
    back = sum(telebirr.orders[0]["refunds"].values())
    if point == "refunded":  # telebirr had it: the query finds it done
        wait_for("the refund", lambda: box.count("SELECT count(*) FROM refund WHERE state = 'paid'"))
        assert back == PRICE * 80 // 100
    else:  # telebirr never had it, which nobody but a person can say for sure
        query = "SELECT count(*) FROM refund WHERE state = 'doubt' AND looks > 0"
        wait_for("the query", lambda: box.count(query))
        assert back == 0
    assert box.books() == [] and telebirr.ask()["violations"] == []


def test_wallets_own_text_pays_and_what_fits_nothing_is_placed_on_the_page(
    network: Network, box: Box
) -> None:
    box.start()
    abebe, wallet = network.handset(ABEBE), network.handset("127")
    book(abebe)
    day = box.count("SELECT CAST(strftime('%s', 'now') AS INTEGER)") + 3 * 3600
    head = reference_of(day)
    receipt = (
        "Dear Lidya You have received ETB 890.00 from ABEBE(2519****{last}) on 22/11/2026 09:10:11."
        " Your transaction number is {reference}. Your current E-Money Account balance is ETB 9,999.00."
    )
    wallet.send(receipt.format(last="3344", reference=f"{head}AAAAAA1"))
    assert abebe.next().startswith("TICKET ")
    code = link_in(book_again(abebe)).rpartition("/")[2]
    wallet.send(receipt.format(last="9999", reference=f"{head}AAAAAA2"))
    waiting = "SELECT count(*) FROM receipt WHERE state = 'open'"
    wait_for("the receipt", lambda: box.count(waiting))
    assert f"{head}AAAAAA2" in box.get("/payments")
    form = urllib.request.Request(f"{box.public}/payments/receipts/2", f"other={code}".encode())
    with urllib.request.urlopen(form, timeout=10) as page:
        assert f"{head}AAAAAA2" not in page.read().decode()
    assert abebe.next().startswith(f"TICKET {code}")
    assert box.count(waiting) == 0
    assert box.books() == []


def book_again(abebe: Handset) -> str:
    assert "YES" in abebe.says("BOOK ADDIS HAWASSA SATURDAY 2")
    return abebe.says("ok")  # another YES in the same second would be the network's repetition of the first


def reference_of(local_s: int) -> str:
    """The first three characters of a transaction's number: its day."""
    day = dt.datetime.fromtimestamp(local_s, dt.UTC)
    days = "123456789ABCDEFGHIJKLMNOPQRSTUV"
    return f"{chr(ord('A') + day.year - 2023)}{chr(ord('A') + day.month - 1)}{days[day.day - 1]}"


def test_kill_around_cash_books_it_once(network: Network, box: Box) -> None:
    box.start()
    abebe, agent = network.handset(ABEBE), network.handset(AGENT)
    code = link_in(book(abebe)).rpartition("/")[2]
    box.kill()
    agent.send(f"PAY {code} {AGENT_PIN}")
    with contextlib.suppress(AssertionError):  # it may be killed before anybody asked whether it lives
        box.start(OUTPOST_FAULTS="dispatcher.committed=kill")
    box.ends()
    box.start()
    assert agent.next().startswith("PAID ")
    assert abebe.next().startswith("TICKET ")
    assert box.balance(f"agent:{AGENT}") == PRICE == -box.balance("sales")
    assert box.count("SELECT count(*) FROM inbound WHERE text LIKE '%2580%'") == 0
    assert box.books() == []
