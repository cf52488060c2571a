"""What the operator's desk asks of the running appliance: people, timetable, manifests.

Handlers for the control socket, one for each op. They read on a reader and write through the writer, as the
rest of the appliance does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.control import ControlError, Handler
from appliance.message import normalise_number
from appliance.store import booking, people, timetable

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.store.store import Store

__all__ = ["handlers"]


def handlers(store: Store, config: Config, clock_ms: Callable[[], int]) -> dict[str, Handler]:
    """The ops `person`, `timetable` and `manifest`."""

    async def person(request: dict[str, Any]) -> dict[str, Any]:
        """{"do": "show" | "export" | "erase", "number"}."""
        number = normalise_number(str(request.get("number", "")), config.conversation.region)
        if number is None:
            raise ControlError(f"{request.get('number')!r} is no mobile number")
        if request.get("do") == "show":
            return dict(await store.reader.run(people.show, number))
        if request.get("do") == "export":
            return {"data": await store.reader.run(people.export, number)}
        if request.get("do") == "erase":
            return {"changed": await store.writer.run(people.erase, number, clock_ms())}
        raise ControlError(f"do: {request.get('do')!r}; want show, export or erase")

    async def timetable_import(request: dict[str, Any]) -> dict[str, Any]:
        """{"path", "dry_run"}: bring a folder's CSV files or a GTFS zip, or say what they would change."""
        path = Path(str(request.get("path", "")))
        towns = await store.reader.run(timetable.known_towns)
        today = dt.datetime.fromtimestamp(clock_ms() / 1000, dt.UTC).date()
        try:
            plan = await asyncio.to_thread(timetable.read_plan, path, towns, today)
        except timetable.TimetableErrors as errors:
            return {"errors": errors.lines}
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror}") from error
        work = functools.partial(
            timetable.put_in_force,
            plan=plan,
            now_ms=clock_ms(),
            seats_per_bus=config.booking.seats_per_bus,
            timezone_minutes=config.conversation.timezone_minutes,
            dry_run=bool(request.get("dry_run")),
        )
        done = await store.writer.run(work)
        return {"result": {field: getattr(done, field) for field in done.__struct_fields__}}

    async def manifest(request: dict[str, Any]) -> dict[str, Any]:
        """{"date", "origin", "destination", "time"?}: who travels, per departure."""
        rows = await store.reader.run(
            booking.manifest,
            str(request.get("date", "")),
            str(request.get("origin", "")),
            str(request.get("destination", "")),
        )
        return {"departures": rows}

    return {"person": person, "timetable": timetable_import, "manifest": manifest}
