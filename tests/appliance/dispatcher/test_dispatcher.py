"""The dispatcher with real workers: order, isolation, death, and nothing lost or double."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.dispatcher.dispatcher import Dispatcher
from appliance.message import Inbound
from appliance.store import inbound
from appliance.store.effects import EFFECTS, EffectContext, EffectRefused
from appliance.store.outbound import QueuedRow
from appliance.store.store import Store

HERE = Path(__file__).parent


class Bench:
    """What a test of the dispatcher needs at hand."""

    def __init__(self, store: Store, dispatcher: Dispatcher) -> None:
        self.store = store
        self.dispatcher = dispatcher
        self.queued: list[QueuedRow] = []

    async def ask(self, text: str, sender: int = 1, timeout_s: float = 20.0) -> list[str] | None:
        """Send a text and wait for the answer, as an HTTP caller with `Prefer: wait` does."""
        accepted = await self.store.accept(message(text, sender))
        return await self.dispatcher.wait(accepted.id, timeout_s)

    async def rows(self, sql: str) -> list[Any]:
        return await self.store.reader.run(lambda db: db.execute(sql).fetchall())

    async def settled(self) -> None:
        """Until no message waits for a turn."""
        await until(self._nothing_waits)

    async def _nothing_waits(self) -> bool:
        return await self.rows("SELECT count(*) FROM inbound WHERE state = 'accepted'") == [(0,)]


def message(text: str, sender: int = 1, **fields: Any) -> Inbound:
    usual: dict[str, Any] = {"channel": "http", "recipient": "", "received_at_ms": now_ms()}
    return Inbound(**usual | fields, sender=f"+2519110{sender:05d}", text=text)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def until(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 20.0) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(timeout_s):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.005)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "data")
    yield store
    await store.close()


@pytest.fixture
async def bench(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    """Make started dispatchers: `await bench(max_workers=2, ...)`."""
    monkeypatch.syspath_prepend(str(HERE))  # the workers inherit the path
    made: list[Dispatcher] = []

    async def make(**options: Any) -> Bench:
        benches: list[Bench] = []
        usual: dict[str, Any] = {
            "min_workers": 1,
            "max_workers": 1,
            "app_settings": {"marks": str(tmp_path)},
            "clock_ms": now_ms,
            "factory": "tiny_shell:TinyShell",
        }
        dispatcher = Dispatcher(
            store, on_outbound=lambda rows: benches[0].queued.extend(rows), **usual | options
        )
        benches.append(Bench(store, dispatcher))
        made.append(dispatcher)
        await dispatcher.start()
        return benches[0]

    yield make
    for dispatcher in made:
        await dispatcher.stop()


Make = Callable[..., Awaitable[Bench]]

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


@pytest.fixture(autouse=True)
def tiny_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
        raise EffectRefused("sold_out", left=2)

    def insert(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
        db.execute(
            "INSERT INTO undecoded (channel, pdu_hex, error, received_at_ms) VALUES (?,?,'',0)",
            (ctx.inbound_id, args["text"]),
        )

    monkeypatch.setitem(EFFECTS, "tiny.refuse", refuse)
    monkeypatch.setitem(EFFECTS, "tiny.insert", insert)


async def test_dispatcher_turn_commits_session_reply_and_handled(bench: Make) -> None:
    b = await bench()
    accepted = await b.store.accept(message("hello"))
    await b.settled()
    assert await b.rows("SELECT state FROM inbound") == [("handled",)]
    assert await b.rows("SELECT text, state, in_reply_to FROM outbound") == [
        ("1:hello", "queued", accepted.id)
    ]
    assert await b.rows("SELECT app, state FROM session") == [("tiny", "TALKING")]
    assert [(row.recipient, row.key.lane) for row in b.queued] == [("+251911000001", "reply")]


async def test_dispatcher_clock_set_while_a_turn_runs_runs_it_again_in_the_new_time(bench: Make) -> None:
    clock = [now_ms()]
    b = await bench(clock_ms=lambda: clock[0])
    accepted = await b.store.accept(message("nap 0.2"))
    await until(lambda: any(link.in_flight for link in b.dispatcher._pool.links))
    clock[0] += 40 * 86_400_000
    assert await b.dispatcher.wait(accepted.id, 20) == ["1:nap 0.2"]
    assert await b.rows("SELECT expires_at_ms FROM session") == [(clock[0] + 900_000,)]


async def test_dispatcher_session_is_remembered_between_texts(bench: Make) -> None:
    b = await bench()
    assert [await b.ask(text) for text in ("a", "b", "c")] == [["1:a"], ["2:b"], ["3:c"]]


async def test_dispatcher_waiting_caller_gets_the_reply_instead_of_the_air(bench: Make) -> None:
    b = await bench()
    assert await b.ask("hello") == ["1:hello"]
    assert await b.rows("SELECT state, channel FROM outbound") == [("sent", "http")]
    assert b.queued == []


async def test_dispatcher_repeated_message_gets_the_same_answer(bench: Make) -> None:
    b = await bench()
    first = await b.store.accept(message("hello", natural_key="k"))
    assert await b.dispatcher.wait(first.id, 20) == ["1:hello"]
    again = await b.store.accept(message("hello", natural_key="k"))
    assert again.duplicate and await b.dispatcher.wait(again.id, 20) == ["1:hello"]
    assert await b.ask("silent") == []


async def test_dispatcher_caller_who_leaves_early_is_answered_by_air(bench: Make) -> None:
    b = await bench(max_workers=1)
    slow = await b.store.accept(message("nap 0.3"))
    assert await b.dispatcher.wait(slow.id, 0.01) is None
    await b.settled()
    assert await b.rows("SELECT state FROM outbound") == [("queued",)]
    assert await b.dispatcher.wait(slow.id, 1) == ["1:nap 0.3"]  # asked again before the modem took it
    assert await b.rows("SELECT state, channel FROM outbound") == [("sent", "http")]


async def test_dispatcher_one_senders_messages_are_handled_in_order(bench: Make) -> None:
    b = await bench(min_workers=2, max_workers=2)
    texts = [f"t{n}" for n in range(60)]
    await b.store.accept_many([message(text, sender=n % 3) for n, text in enumerate(texts)])
    await b.settled()
    for sender in range(3):
        replies = await b.rows(f"SELECT text FROM outbound WHERE recipient LIKE '%0000{sender}' ORDER BY id")
        assert [text for (text,) in replies] == [
            f"{count}:{text}" for count, text in enumerate(texts[sender::3], 1)
        ]


async def test_dispatcher_slow_turn_delays_nobody_else(bench: Make) -> None:
    b = await bench(min_workers=2, max_workers=2)
    await b.ask("warm", 1)
    await b.ask("warm", 2)
    slow = await b.store.accept(message("nap 1.5", 1))
    started = time.monotonic()
    answers = await asyncio.gather(*(b.ask("quick", sender) for sender in range(2, 40)))
    assert all(answer == ["1:quick"] or answer == ["2:quick"] for answer in answers)
    assert time.monotonic() - started < 1.2
    assert await b.rows(f"SELECT state FROM inbound WHERE id = {slow.id}") == [("accepted",)]
    await b.settled()


async def test_dispatcher_turns_behind_a_slow_one_in_its_frame_go_elsewhere(bench: Make) -> None:
    b = await bench(min_workers=2, max_workers=2)
    await b.ask("warm", 1)
    b.dispatcher._turn_s = 0.00001  # believes that turns are quick, so frames are long
    started = time.monotonic()
    texts = ["nap 1.5"] + ["quick"] * 20
    accepted = await b.store.accept_many([message(text, n) for n, text in enumerate(texts)])
    answers = await asyncio.gather(*(b.dispatcher.wait(a.id, 20) for a in accepted[1:]))
    assert all(answer for answer in answers)
    assert time.monotonic() - started < 1.2
    await b.settled()
    assert await b.rows("SELECT count(*), count(DISTINCT in_reply_to) FROM outbound") == [(22, 22)]


async def test_dispatcher_killed_worker_is_replaced_and_its_turn_run_once_in_effect(bench: Make) -> None:
    b = await bench()
    assert await b.ask("once more") == ["1:once more"]
    assert await b.rows("SELECT count(*) FROM outbound") == [(1,)]
    assert b.dispatcher.snapshot()["deaths"] == 1
    assert await b.rows("SELECT state, actor FROM trace") == [("turn failed", "worker")]


async def test_dispatcher_workers_killed_at_random_lose_and_double_nothing(bench: Make) -> None:
    b = await bench(min_workers=2, max_workers=2)
    await b.ask("warm")
    for _ in range(5):
        await b.store.accept_many([message("nap 0.002", sender) for sender in range(10, 50)])
        await asyncio.sleep(0.03)
        for worker in b.dispatcher.snapshot()["workers"]:
            if worker["state"] == "ready":
                os.kill(worker["pid"], signal.SIGKILL)
                break
    await b.settled()
    assert await b.rows("SELECT count(*) FROM outbound WHERE text LIKE '%nap%'") == [(200,)]
    doubles = "SELECT in_reply_to FROM outbound GROUP BY in_reply_to HAVING count(*) > 1"
    assert await b.rows(doubles) == []


async def test_dispatcher_exception_is_tried_again_then_set_aside_politely(bench: Make) -> None:
    b = await bench(apologies={"": "sorry", "am": "ይቅርታ"})
    assert await b.ask("raise my secret") == ["sorry"]
    state, reason, attempts = (await b.rows("SELECT state, reason, attempts FROM inbound"))[0]
    assert (state, attempts) == ("set_aside", 1)
    assert "RuntimeError at tiny_shell.py" in reason and "secret" not in reason
    assert await b.ask("amharic") == ["1:amharic"]
    assert await b.ask("raise") == ["ይቅርታ"]
    assert await b.ask("still here") == ["2:still here"]


async def test_dispatcher_hanging_turn_costs_its_worker_and_is_set_aside(bench: Make) -> None:
    b = await bench(turn_limit_s=0.3, apologies={"": "sorry"})
    assert await b.ask("hello", 2) == ["1:hello"]
    assert await b.ask("hang") == ["sorry"]
    assert await b.ask("hello", 2) == ["2:hello"]
    assert await b.rows("SELECT state, reason FROM inbound WHERE text = 'hang'") == [
        ("set_aside", "its worker is gone: a turn took longer than 0.3 s")
    ]


async def test_dispatcher_poison_in_a_frame_spares_its_neighbours(bench: Make) -> None:
    b = await bench(apologies={"": "sorry"}, pool={"backoff_s": (0.01, 0.05)})
    await b.ask("warm", 0)
    b.dispatcher._turn_s = 0.00001
    texts = [*["fine"] * 10, "exit", *["fine"] * 10]
    await b.store.accept_many([message(text, n) for n, text in enumerate(texts, 1)])
    await b.settled()
    states = await b.rows("SELECT text, state, count(*) FROM inbound WHERE id > 1 GROUP BY 1, 2 ORDER BY 1")
    assert states == [("exit", "set_aside", 1), ("fine", "handled", 20)]
    assert await b.rows("SELECT count(*) FROM outbound WHERE text = 'sorry'") == [(1,)]


async def test_dispatcher_refused_effect_asks_the_app_again(bench: Make) -> None:
    b = await bench()
    assert await b.ask("refuse") == ["refused:sold_out:2:1"]
    assert await b.rows("SELECT json_extract(CAST(body AS TEXT), '$.data.count') FROM session") == [(1,)]


async def test_dispatcher_app_that_insists_is_set_aside(bench: Make) -> None:
    b = await bench(apologies={"": "sorry"})
    assert await b.ask("stubborn") == ["sorry"]
    assert await b.rows("SELECT reason FROM inbound") == [
        ("effect tiny.refuse was refused 4 times: sold_out",)
    ]


async def test_dispatcher_unknown_effect_is_set_aside(bench: Make) -> None:
    b = await bench(apologies={"": "sorry"})
    assert await b.ask("unknown") == ["sorry"]
    assert await b.rows("SELECT reason FROM inbound") == [("the commit failed: UnknownEffect",)]


async def test_dispatcher_effect_is_applied_in_the_turns_commit(bench: Make) -> None:
    b = await bench()
    assert await b.ask("insert seat") == ["1:insert seat"]
    assert await b.rows("SELECT channel, pdu_hex FROM undecoded") == [("1", "seat")]


async def test_dispatcher_backlog_on_disk_is_taken_up_at_start(store: Store, bench: Make) -> None:
    def fill(db: sqlite3.Connection) -> None:
        inbound.accept_many(db, [message(f"t{n}", n % 50) for n in range(2000)])

    await store.writer.run(fill)
    b = await bench(window=64)
    most = 0

    async def done() -> bool:
        nonlocal most
        most = max(most, b.dispatcher.snapshot()["in_memory"])
        return await b._nothing_waits()

    await until(done)
    assert most <= 64 + 50
    assert await b.rows("SELECT count(*) FROM outbound") == [(2000,)]
    firsts = await b.rows("SELECT text FROM outbound WHERE recipient = '+251911000007' ORDER BY id")
    assert [text for (text,) in firsts] == [f"{n}:t{7 + 50 * (n - 1)}" for n in range(1, 41)]


async def test_dispatcher_message_that_memory_forgot_is_found(store: Store, bench: Make) -> None:
    b = await bench()
    await b.ask("warm")
    b.dispatcher._store.on_accepted = None  # as if the announcement had been lost
    lost = await store.accept(message("lost"))
    b.dispatcher._boxes.cursor = lost.id
    await b.dispatcher._backlog.restore_lost()
    await b.settled()
    assert await b.rows("SELECT text FROM outbound ORDER BY id DESC LIMIT 1") == [("2:lost",)]


async def test_dispatcher_timer_wakes_the_session(bench: Make) -> None:
    b = await bench()
    assert await b.ask("wake 1") == ["1:wake 1"]
    await b.dispatcher._sweep_once(full=True)
    await until(lambda: len(b.queued) == 1)
    assert await b.rows("SELECT text FROM outbound ORDER BY id") == [("1:wake 1",), ("woken",)]
    assert await b.rows("SELECT channel, state FROM inbound WHERE id = 2") == [("timer", "handled")]


async def test_dispatcher_wake_up_that_was_called_off_changes_nothing(bench: Make) -> None:
    b = await bench()
    await b.ask("hello")
    stale = message("", channel="timer")
    accepted = await b.store.accept(stale)
    await b.settled()
    assert await b.rows(f"SELECT state FROM inbound WHERE id = {accepted.id}") == [("handled",)]
    assert await b.rows("SELECT count(*) FROM outbound") == [(1,)]


async def test_dispatcher_disk_trouble_delays_the_turn_and_loses_nothing(bench: Make) -> None:
    b = await bench()
    await b.ask("warm")

    def break_disk(db: sqlite3.Connection) -> None:
        raise OSError(28, "No space left on device")

    accepted = await b.store.accept(message("hello"))
    broken = b.store.writer.submit(break_disk)  # may well share its group with the turn's commit
    assert await b.dispatcher.wait(accepted.id, 20) == ["2:hello"]
    await asyncio.gather(broken, return_exceptions=True)


async def test_dispatcher_pool_grows_when_mail_waits(bench: Make) -> None:
    b = await bench(min_workers=1, max_workers=2)
    await b.ask("warm")
    await b.store.accept_many([message("nap 0.4", sender) for sender in range(6)])
    await until(lambda: len(b.dispatcher.snapshot()["workers"]) == 2)
    await b.settled()
    b.dispatcher._busy_at_s = -1000.0
    await b.dispatcher._sweep_once(full=True)
    await until(lambda: len(b.dispatcher.snapshot()["workers"]) == 1)
    assert await b.ask("hello", 99) == ["1:hello"]


async def test_dispatcher_worker_is_recycled_after_its_turns(bench: Make) -> None:
    b = await bench(pool={"recycle_turns": 3})
    pids = set()
    for sender in range(12):
        answer = await b.ask("pid", sender)
        assert answer is not None
        pids.add(answer[0])
        b.dispatcher._pool.tend()
    assert len(pids) >= 2
    snapshot = b.dispatcher.snapshot()
    assert snapshot["recycled"] >= 1 and snapshot["deaths"] == 0


async def test_dispatcher_worker_that_leaks_is_replaced_before_it_hurts(bench: Make) -> None:
    b = await bench(pool={"recycle_rss_kib": 96 * 1024})
    pids = set()
    for sender in range(12):
        assert await b.ask("leak 20", sender) == ["1:leak 20"]
        answer = await b.ask("pid", sender)
        assert answer is not None
        pids.add(answer[0])
        b.dispatcher._pool.tend()
        assert all(link.rss_kib < 160 * 1024 for link in b.dispatcher._pool.links)
    assert len(pids) >= 3
    assert b.dispatcher.snapshot()["recycled"] >= 2 and b.dispatcher.snapshot()["deaths"] == 0


async def test_dispatcher_turn_that_takes_all_memory_is_killed_and_set_aside(bench: Make) -> None:
    b = await bench(pool={"kill_rss_kib": 120 * 1024}, apologies={"": "sorry"})
    assert await b.ask("balloon", 1) == ["sorry"]
    assert await b.ask("fine", 2) == ["1:fine"]
    (reason,) = (await b.rows("SELECT reason FROM inbound WHERE state = 'set_aside'"))[0]
    assert reason.startswith("its worker is gone: it grew to ")


async def test_dispatcher_apology_is_in_the_persons_language(bench: Make) -> None:
    b = await bench(apologies={"": "sorry", "am": "ይቅርታ"})
    await b.ask("amharic please", 1)
    assert await b.ask("raise", 1) == ["ይቅርታ"]
    assert await b.ask("raise", 2) == ["sorry"]


async def test_dispatcher_message_set_aside_is_handled_when_it_is_released(bench: Make) -> None:
    b = await bench(apologies={"": "sorry"})
    assert await b.ask("raise", 1) == ["sorry"]
    await b.dispatcher._sweep_once(full=True)
    assert b.dispatcher.snapshot()["aside"] == 1
    b.dispatcher._settler.set_aside = 0
    assert await b.store.writer.run(inbound.release_set_aside, 1, now_ms()) is not None
    await b.dispatcher._backlog.restore_lost()
    await until(lambda: b.dispatcher.snapshot()["set_aside"] == 1)  # it was tried again, and failed again
    assert await b.store.writer.run(inbound.release_set_aside, 2, now_ms()) is None


async def test_dispatcher_own_workers_answer_their_group_and_nobody_else(bench: Make) -> None:
    b = await bench(own_workers={"acme": 1}, group_of=lambda each: "acme" if each.recipient == "8400" else "")
    await until(lambda: len(b.dispatcher.snapshot()["workers"]) == 2)
    accepted = [
        await b.store.accept(message("pid", sender, recipient="8400" if sender % 2 else ""))
        for sender in range(8)
    ]
    answers = [await b.dispatcher.wait(each.id, 20) for each in accepted]
    theirs, ours = {str(each) for each in answers[1::2]}, {str(each) for each in answers[::2]}
    assert len(theirs) == len(ours) == 1 and theirs.isdisjoint(ours)
    groups = {str([str(each["pid"])]): each["group"] for each in b.dispatcher.snapshot()["workers"]}
    assert groups[theirs.pop()] == "acme" and groups[ours.pop()] == ""


async def test_dispatcher_own_workers_are_not_held_up_by_a_flood_for_the_others(bench: Make) -> None:
    b = await bench(own_workers={"acme": 1}, group_of=lambda each: "acme" if each.recipient == "8400" else "")
    await b.ask("warm")
    await b.store.accept_many([message("nap 0.2", sender) for sender in range(100, 150)])
    started = time.monotonic()
    accepted = await b.store.accept(message("hello", 1, recipient="8400"))
    assert await b.dispatcher.wait(accepted.id, 20) == ["2:hello"]
    assert time.monotonic() - started < 5.0  # the flood needs ten seconds
    killed = next(each["pid"] for each in b.dispatcher.snapshot()["workers"] if each["group"] == "acme")
    os.kill(killed, signal.SIGKILL)
    accepted = await b.store.accept(message("hello", 1, recipient="8400"))
    assert await b.dispatcher.wait(accepted.id, 20) == ["3:hello"]


async def test_dispatcher_texts_that_wait_too_long_make_the_outside_wait(bench: Make) -> None:
    b = await bench(longest_wait_s=5.0, window=4)
    dispatcher = b.dispatcher
    await b.ask("warm")
    await b.store.accept_many([message("nap 0.1", sender) for sender in range(20)])
    now = asyncio.get_running_loop().time()
    dispatcher._look_at_the_wait(now)
    assert not dispatcher.full
    dispatcher._look_at_the_wait(now + 4.9)
    assert not dispatcher.full
    dispatcher._look_at_the_wait(now + 5.0)
    assert dispatcher.full and dispatcher.retry_after_s >= 1
    await b.settled()
    dispatcher._look_at_the_wait(now + 6.0)
    assert not dispatcher.full


async def test_dispatcher_workers_that_die_at_start_back_off_and_raise_an_alarm(bench: Make) -> None:
    b = await bench(factory="tiny_shell:broken", pool={"backoff_s": (0.01, 0.02)})
    await until(lambda: "died before their first answer" in b.dispatcher.snapshot()["alarm"])
    started = b.dispatcher._pool.started
    accepted = await b.store.accept(message("hello"))
    assert accepted.id == 1
    assert started < 20


async def test_dispatcher_stop_finishes_turns_and_leaves_the_rest_on_disk(store: Store, bench: Make) -> None:
    b = await bench()
    await b.ask("warm", 99)
    await store.accept_many([message("nap 0.3", sender) for sender in range(12)])
    await until(lambda: any(w["in_flight"] for w in b.dispatcher.snapshot()["workers"]))
    started = time.monotonic()
    await b.dispatcher.stop()
    assert time.monotonic() - started < 3.0
    assert b.dispatcher.snapshot()["workers"] == []
    rows = dict(await b.rows("SELECT state, count(*) FROM inbound GROUP BY 1"))
    assert rows["handled"] >= 2 and rows["handled"] + rows["accepted"] == 13
    replies = await b.rows("SELECT count(*) FROM outbound")
    assert replies == [(rows["handled"],)]


async def test_dispatcher_stop_of_a_hanging_worker_is_quick(bench: Make) -> None:
    b = await bench()
    await b.ask("warm")
    await b.store.accept(message("hang"))
    await until(lambda: any(w["in_flight"] for w in b.dispatcher.snapshot()["workers"]))
    started = time.monotonic()
    await b.dispatcher.stop()
    assert time.monotonic() - started < 3.0


async def test_worker_imports_neither_web_server_nor_event_loop(bench: Make) -> None:
    b = await bench()
    answer = await b.ask("modules")
    assert answer is not None
    modules = set(answer[0].split())
    assert modules.isdisjoint({"aiohttp", "uvloop", "diskcache", "jinja2", "phonenumbers", "serial"})
    assert "msgspec" in modules


async def test_dispatcher_waiter_who_comes_just_after_the_commit_gets_the_reply(bench: Make) -> None:
    """A worker may answer before the caller's task is woken (seen on uvloop after a worker's death)."""
    b = await bench()
    accepted = await b.store.accept(message("hello"))
    await b.settled()
    assert await b.dispatcher.wait(accepted.id, 20) == ["1:hello"]
    assert await b.rows("SELECT state, channel FROM outbound") == [("sent", "http")]


async def test_dispatcher_waiter_who_comes_after_the_modem_took_a_reply_gets_none(bench: Make) -> None:
    b = await bench()
    accepted = await b.store.accept(message("hello"))
    await b.settled()
    await b.store.writer.run(lambda db: db.execute("UPDATE outbound SET state = 'sending'").rowcount)
    assert await b.dispatcher.wait(accepted.id, 20) is None


async def test_dispatcher_full_follows_the_writer_and_the_backlog(bench: Make) -> None:
    b = await bench(max_backlog=3)
    assert not b.dispatcher.full and b.dispatcher.retry_after_s >= 1
    await b.store.accept_many([message("nap 0.2", sender) for sender in range(5)])
    assert b.dispatcher.full
    await b.settled()
    await until(lambda: not b.dispatcher.full)


async def test_dispatcher_publishes_what_changed(bench: Make) -> None:
    b = await bench()
    changes: list[dict[str, Any]] = []
    b.store.feed.subscribe(changes.append)
    await b.ask("hello")
    told = [(change["kind"], change["state"]) for change in changes if change["kind"] in ("in", "session")]
    assert told == [("in", "accepted"), ("in", "handled"), ("session", "TALKING")]
    assert now_ms() > 0
