"""Departures at the operator's desk: manifests, drivers, buses that are moved or do not run, and who is told.

`Departures.watch` says by itself what is due before a bus leaves: a reminder to its passengers, the manifest
to its driver. Each is written down in the transaction that queues it, so a restart repeats nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import difflib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from appliance.control import ControlError, Handler
from appliance.conversation.budget import segments
from appliance.conversation.dates import clock, day_short
from appliance.conversation.kit import Kit
from appliance.conversation.money import money
from appliance.conversation.travel import Ticket
from appliance.message import normalise_number
from appliance.store import booking, departures
from appliance.store.departures import Manifest

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.store.outbound import QueuedRow
    from appliance.store.store import Store

__all__ = ["Departures"]

log = logging.getLogger(__name__)

LOOK_S: Final = 30.0
MINUTE_MS: Final = 60_000
MANIFEST_SMS: Final = 6  # a driver's text takes at most so many; a full bus of single seats takes more
Towns = dict[str, dict[str, str]]


class Departures:
    """offer: takes rows that were queued to be sent now. trusted: whether the clock may be believed."""

    def __init__(
        self,
        store: Store,
        config: Config,
        kit: Kit,
        clock_ms: Callable[[], int],
        *,
        offer: Callable[[list[QueuedRow]], object] = lambda rows: None,
        trusted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store, self._config, self._kit = store, config, kit
        self._clock_ms, self._offer, self._trusted = clock_ms, offer, trusted

    def handlers(self) -> dict[str, Handler]:
        """The control socket's ops."""
        return {
            "manifest": self.manifest,
            "cancel_bus": self.cancel_bus,
            "move_bus": self.move_bus,
            "driver": self.driver,
        }

    # -- what is asked for

    async def manifest(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"date", "origin", "destination"}: who travels, per departure."""
        date = _day(request).isoformat()
        origin, destination = await self._way(request)
        found = await self._store.reader.run(departures.manifests, date, origin, destination)
        return {"departures": [_plain(each) for each in found]}

    async def cancel_bus(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"date", "origin", "destination", "time"}: it does not run; all who have seats are told."""
        day, minute = _day(request), _minute(request, "time")
        where = (day.isoformat(), *await self._way(request), minute)
        told = 0
        while True:  # somebody may take a seat between the look and the cancelling; afterwards nobody can
            notices = await self._notices("booking.bus_cancelled", where)
            found, rows = await self._store.writer.run(
                departures.cancel_departure, *where, notices, self._clock_ms()
            )
            if not found:
                raise ControlError(f"no departure {where[1]}-{where[2]} at {request.get('time')} is in force")
            self._offer(rows)
            told += len(rows)
            if not rows:
                return {"told": told}

    async def move_bus(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"date", "origin", "destination", "time", "new_time"}: it leaves at another hour; all are told."""
        day, minute, new = _day(request), _minute(request, "time"), _minute(request, "new_time")
        where = (day.isoformat(), *await self._way(request), minute)
        notices = await self._notices("booking.bus_moved", where, new_minute=new)
        found, rows = await self._store.writer.run(
            departures.move_departure, *where, new, notices, self._clock_ms()
        )
        if not found:
            raise ControlError(f"no departure {where[1]}-{where[2]} at {request.get('time')} is in force")
        self._offer(rows)
        return {"told": len(rows)}

    async def driver(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"origin", "destination", "time", "number", "date"?}: whose phone gets the manifest."""
        number = ""
        if request.get("number"):
            number = normalise_number(str(request["number"]), self._config.conversation.region) or ""
            if not number:
                raise ControlError(f"{request['number']!r} is no mobile number")
        date = _day(request).isoformat() if request.get("date") else ""
        way = await self._way(request)
        await self._store.writer.run(departures.set_driver, *way, _minute(request, "time"), date, number)
        return {"driver": number}

    async def _notices(
        self, key: str, where: tuple[str, str, str, int], *, new_minute: int | None = None
    ) -> dict[str, str]:
        """The text for the holder of each booking of a departure, in their language, by code."""
        now_ms = self._clock_ms()
        towns = await self._store.reader.run(booking.town_names)
        tickets = await self._store.reader.run(departures.sold_tickets, *where, now_ms)
        return {ticket.code: self._say(key, ticket, towns, new_minute) for ticket in tickets}

    def _say(self, key: str, ticket: Ticket, towns: Towns, new_minute: int | None = None) -> str:
        language = self._kit.phrases.of(ticket.language)
        back = ticket.price_santim if ticket.state == "paid" else 0
        return self._kit.say(
            ticket.language,
            key,
            origin=towns[ticket.origin][language.towns],
            destination=towns[ticket.destination][language.towns],
            date=day_short(dt.date.fromisoformat(ticket.date), language),
            time=clock(ticket.minute, language),
            new_time=clock(ticket.minute if new_minute is None else new_minute, language),
            code=ticket.code,
            n=ticket.seats,
            seats=",".join(map(str, ticket.numbers)),
            price=money(back, language),
        )

    async def _way(self, request: dict[str, Any]) -> tuple[str, str]:
        names = await self._store.reader.run(booking.town_names)
        return _town(str(request.get("origin", "")), names), _town(str(request.get("destination", "")), names)

    # -- what is said by itself

    async def watch(self) -> None:
        """Look every half minute for what is due; ends when cancelled."""
        while True:
            try:
                if self._trusted():  # a clock that stands wrong would remind of buses that left long ago
                    await self.tick()
            except Exception:
                log.exception("the look at the departures failed; the next one is in %.0f s", LOOK_S)
            await asyncio.sleep(LOOK_S)

    async def tick(self) -> int:
        """Say what is due now. Returns how many messages were queued."""
        settings, now_ms = self._config.booking, self._clock_ms()
        read, write = self._store.reader.run, self._store.writer.run
        towns = await read(booking.town_names)
        queued: list[QueuedRow] = []
        if settings.reminder_hours:
            tickets = await read(departures.due_reminders, now_ms, settings.reminder_hours * 60 * MINUTE_MS)
            texts = {each.code: self._say("booking.reminder", each, towns) for each in tickets}
            if texts:
                queued += await write(departures.remind, texts, now_ms)
        for due in await read(departures.due_manifests, now_ms, settings.manifest_minutes * MINUTE_MS):
            text = self.driver_text(due, towns)
            queued += await write(departures.send_manifest, due.id, due.driver, text, now_ms)
        if queued:
            self._offer(queued)
        return len(queued)

    def driver_text(self, due: Manifest, towns: Towns) -> str:
        """The manifest as the driver reads it: a head, then seats, code and names or number of each."""
        language = self._kit.phrases.of(self._kit.phrases.spoken[0])
        say = self._kit.say
        head = say(
            language.language,
            "booking.manifest",
            origin=towns[due.origin][language.towns],
            destination=towns[due.destination][language.towns],
            date=day_short(dt.date.fromisoformat(due.date), language),
            time=clock(due.minute, language),
            n=sum(who.seats for who in due.passengers),
            most=due.seats,
        )
        lines = [f"{who.numbers} {who.code} {who.names or who.holder}" for who in due.passengers]
        for shown in range(len(lines), -1, -1):
            left = len(lines) - shown
            foot = [say(language.language, "booking.manifest_more", n=left)] if left else []
            text = "\n".join([head, *lines[:shown], *foot])
            if segments(text) <= MANIFEST_SMS:
                break
        return text


def _plain(each: Manifest) -> dict[str, Any]:
    return {
        "id": each.id,
        "time": f"{each.minute // 60:02}:{each.minute % 60:02}",
        "seats": each.seats,
        "state": each.state,
        "driver": each.driver,
        "passengers": [who._asdict() for who in each.passengers],
    }


def _day(request: dict[str, Any]) -> dt.date:
    date = str(request.get("date", ""))
    try:
        return dt.date.fromisoformat(date)
    except ValueError as error:
        raise ControlError(f"{date!r} is no date; want one such as 2026-11-23") from error


def _minute(request: dict[str, Any], key: str) -> int:
    try:
        moment = dt.time.fromisoformat(str(request.get(key, "")))
    except ValueError as error:
        raise ControlError(f"{request.get(key)!r} is no time; want one such as 05:30") from error
    return moment.hour * 60 + moment.minute


def _town(name: str, names: Towns) -> str:
    """A town's name as the timetable writes it; capitals do not matter."""
    for known in names:
        if known.casefold() == name.casefold():
            return known
    near = difflib.get_close_matches(name.title(), names, 3, 0.5) or sorted(names)[:3]
    raise ControlError(f"no town of the timetable is called {name!r}; near: {', '.join(near)}")
