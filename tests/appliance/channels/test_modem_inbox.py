"""What a modem hands in is stored once, whatever the network changes between two deliveries of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.channels.modem import ModemInbox
from appliance.clock import Clock
from appliance.store.store import Store
from firmware_bridge.health import Received
from firmware_bridge.pdu import Deliver

# SCA +251911299000, SMS-DELIVER of +251911000001 at 26/11/22 18:00:00+03, "hello"; by TS 23.040 9.2.2.1.
SCA = "07915219119209F0"
REST = "0C9152191100001000006211228100002105E8329BFD06"
ONCE = SCA + "04" + REST


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "data")
    yield store
    await store.close()


async def stored(store: Store, *pdus: str) -> int:
    inbox = ModemInbox(store, region="ET", clock=Clock(), on_changes=lambda changes: None)
    for pdu in pdus:
        raw = bytes.fromhex(pdu)
        deliver = Deliver.decode(raw)
        await inbox.on_deliver(Received(pdu=raw, deliver=deliver, memory="", index=None, modem="m"))
    found = await store.reader.run(lambda db: db.execute("SELECT count(*) FROM inbound").fetchone())
    return int(found[0])


@pytest.mark.parametrize(
    "again",
    [ONCE, SCA + "00" + REST, SCA + "0C" + REST, "07915219119209F1" + "04" + REST, "00" + "04" + REST],
    ids=["as it was", "more waits now", "forwarded", "another service centre", "no service centre"],
)
async def test_inbox_second_delivery_is_the_same_message(store: Store, again: str) -> None:
    """Seed 10000 of the torture bench: the acknowledgement was lost, and by then more messages waited."""
    assert await stored(store, ONCE, again) == 1


@pytest.mark.parametrize(
    "other", [REST.replace("00002105", "10002105"), REST.replace("FD06", "FD07")], ids=["later", "other text"]
)
async def test_inbox_another_message_of_the_same_person_is_another(store: Store, other: str) -> None:
    assert await stored(store, ONCE, SCA + "04" + other) == 2
