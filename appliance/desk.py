"""What the operator's desk asks of the running appliance: people, timetable, manifests, cancelled buses.

Handlers for the control socket, one for each op. They read on a reader and write through the writer, as the
rest of the appliance does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.control import ControlError, Handler
from appliance.guard.tiers import TIERS
from appliance.importing import Importer
from appliance.message import normalise_number
from appliance.store import guards, people, timetable

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.store.store import Store

__all__ = ["handlers"]


def handlers(
    store: Store,
    config: Config,
    clock_ms: Callable[[], int],
) -> dict[str, Handler]:
    """The ops `person` and `timetable`."""
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

    return {"person": person, "timetable": timetable_import}
