"""What the operator's desk asks of the running appliance: people, timetable, manifests, cancelled buses.

Handlers for the control socket, one for each op. They read on a reader and write through the writer, as the
rest of the appliance does.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.control import ControlError, Handler
from appliance.conversation.dates import clock, day_short
from appliance.conversation.kit import Kit
from appliance.conversation.money import money
from appliance.guard.tiers import TIERS
from appliance.importing import Importer
from appliance.message import normalise_number
from appliance.store import booking, guards, people, timetable

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.store.outbound import QueuedRow
    from appliance.store.store import Store

__all__ = ["handlers"]


def handlers(
    store: Store,
    config: Config,
    clock_ms: Callable[[], int],
    offer: Callable[[list[QueuedRow]], object] = lambda rows: None,
) -> dict[str, Handler]:
    """The ops `person`, `timetable`, `manifest` and `cancel_bus`.

    offer: takes rows that were queued to be sent now; without it they go out at the next sweep.
    """
    kit = Kit(msgspec.to_builtins(config))
    importer = Importer(store)

    async def person(request: dict[str, Any]) -> dict[str, Any]:
        """{"do": "show" | "export" | "erase" | "tier", "number"}; "tier" sets one ("auto": by bookings)."""
        number = normalise_number(str(request.get("number", "")), config.conversation.region)
        if number is None:
            raise ControlError(f"{request.get('number')!r} is no mobile number")
        if request.get("do") == "show":
            tier = await store.reader.run(guards.tier_of, store.admission, number)
            return dict(await store.reader.run(people.show, number)) | {"tier": tier}
        if request.get("do") == "tier":
            wanted = request.get("tier")
            if wanted is not None:
                if wanted not in (*TIERS, "auto"):
                    raise ControlError(f"tier: {wanted!r}; want {', '.join(TIERS)} or auto")
                chosen = "" if wanted == "auto" else str(wanted)
                await store.writer.run(guards.set_tier, number, chosen, clock_ms(), "control socket")
            return {"number": number, "tier": await store.reader.run(guards.tier_of, store.admission, number)}
        if request.get("do") == "export":
            return {"data": await store.reader.run(people.export, number)}
        if request.get("do") == "erase":
            return {"changed": await store.writer.run(people.erase, number, clock_ms())}
        raise ControlError(f"do: {request.get('do')!r}; want show, export, erase or tier")

    async def timetable_import(request: dict[str, Any]) -> dict[str, Any]:
        """{"path", "dry_run"}: bring a folder's CSV files or a GTFS zip, or say what they would change."""
        path = Path(str(request.get("path", "")))
        try:
            done = await importer.bring(
                path,
                now_ms=clock_ms(),
                seats_per_bus=config.booking.seats_per_bus,
                timezone_minutes=config.conversation.timezone_minutes,
                dry_run=bool(request.get("dry_run")),
            )
        except timetable.TimetableErrors as errors:
            return {"errors": errors.lines}
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror}") from error
        return {"result": {field: getattr(done, field) for field in done.__struct_fields__}}

    async def manifest(request: dict[str, Any]) -> dict[str, Any]:
        """{"date", "origin", "destination", "time"?}: who travels, per departure."""
        date, origin, destination = (str(request.get(k, "")) for k in ("date", "origin", "destination"))
        try:
            day = dt.date.fromisoformat(date)
        except ValueError as error:
            raise ControlError(f"{date!r} is no date; want one such as 2026-11-23") from error
        origin, destination = await known_town(origin), await known_town(destination)
        rows = await store.reader.run(booking.manifest, day.isoformat(), origin, destination)
        return {"departures": rows}

    async def known_town(name: str) -> str:
        """A town's name as the timetable writes it; capitals do not matter."""
        names = await store.reader.run(booking.town_names)
        for known in names:
            if known.casefold() == name.casefold():
                return known
        near = difflib.get_close_matches(name.title(), names, 3, 0.5) or sorted(names)[:3]
        raise ControlError(f"no town of the timetable is called {name!r}; near: {', '.join(near)}")

    async def cancel_bus(request: dict[str, Any]) -> dict[str, Any]:
        """{"date", "origin", "destination", "time"}: it does not run; all who have seats are told."""
        date, origin, destination = (str(request.get(k, "")) for k in ("date", "origin", "destination"))
        try:
            day = dt.date.fromisoformat(date)
            moment = dt.time.fromisoformat(str(request.get("time", "")))
        except ValueError as error:
            raise ControlError("want a date such as 2026-11-23 and a time such as 05:30") from error
        origin, destination = await known_town(origin), await known_town(destination)
        where = (day.isoformat(), origin, destination, moment.hour * 60 + moment.minute)
        now_ms = clock_ms()
        notices = {}
        towns = await store.reader.run(booking.town_names)
        for ticket in await store.reader.run(booking.sold_tickets, *where, now_ms):
            language = kit.phrases.of(ticket.language)
            back = ticket.price_santim if ticket.state == "paid" else 0
            notices[ticket.code] = kit.say(
                ticket.language,
                "booking.bus_cancelled",
                origin=towns[ticket.origin][language.towns],
                destination=towns[ticket.destination][language.towns],
                date=day_short(day, language),
                time=clock(where[3], language),
                code=ticket.code,
                price=money(back, language),
            )
        found, rows = await store.writer.run(booking.cancel_departure, *where, notices, now_ms)
        if not found:
            raise ControlError(f"no departure {origin}-{destination} at {request.get('time')} is in force")
        offer(rows)
        return {"told": len(rows)}

    return {"cancel_bus": cancel_bus, "person": person, "timetable": timetable_import, "manifest": manifest}
