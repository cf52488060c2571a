"""Bringing a timetable while the box runs: read in a process of its own, written in steps nobody waits for.

A feed of a million stop times takes seconds to read and tens of megabytes; in this process it would hold the
loop up and never give the memory back. What is new is written piece by piece where nobody sees it, and one
short transaction at the end puts it in force.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from appliance.store import timetable
from appliance.store.plan import Plan, TimetableErrors

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["Importer"]

PIECE: Final = 200  # departures written in one op: about 20 ms of the writer on a small box
MOST_OCTETS: Final = 256 * 1024 * 1024  # of a plan on its way here; a million departures fit


class _Read(msgspec.Struct):
    """What the reading process answers: the plan, or why there is none."""

    plan: Plan | None = None
    errors: list[str] = []
    missing: str = ""


class Importer:
    """One import at a time: two of them would stage into each other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._busy = asyncio.Lock()

    async def bring(
        self, path: Path, *, now_ms: int, seats_per_bus: int, timezone_minutes: int, dry_run: bool
    ) -> timetable.ImportResult:
        """Make a folder's CSV files or a GTFS zip the timetable in force, or say what that would change.

        Raises TimetableErrors, OSError.
        """
        async with self._busy:
            towns = await self._store.reader.run(timetable.known_towns)
            today = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC) + dt.timedelta(minutes=timezone_minutes)
            plan = await _read_apart(path, towns, today.date())
            found = await self._store.reader.run(
                timetable.differences, plan, seats_per_bus, timezone_minutes, now_ms
            )
            if found is None:
                return timetable.ImportResult(changed=False)
            if dry_run:
                return found.result
            write = self._store.writer.run
            while await write(timetable.clear_stage, PIECE):  # of an import that a power cut ended
                pass
            await write(timetable.stage_towns, plan)
            for at in range(0, len(found.fresh), PIECE):
                await write(timetable.stage, found.fresh[at : at + PIECE], seats_per_bus)
            await write(timetable.switch, found, plan, now_ms, seats_per_bus, timezone_minutes)
            return found.result


async def _read_apart(path: Path, towns: dict[str, list[str]], today: dt.date) -> Plan:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_read, args=(theirs, str(path), towns, today.isoformat()), name="timetable reader", daemon=True
    )
    process.start()
    theirs.close()
    try:
        raw = await asyncio.to_thread(ours.recv_bytes, MOST_OCTETS)
    except EOFError as error:
        raise TimetableErrors(
            [f"{path.name}: the reading ended early, perhaps for want of memory"]
        ) from error
    except BaseException:
        process.terminate()
        raise
    finally:
        ours.close()
        await asyncio.to_thread(process.join)
    read = await asyncio.to_thread(msgspec.msgpack.decode, raw, type=_Read)
    if read.missing:
        raise OSError(0, read.missing)
    if read.plan is None:
        raise TimetableErrors(read.errors)
    return read.plan


def _read(out: Connection, path: str, towns: dict[str, list[str]], today: str) -> None:
    """In the other process: read, answer, end."""
    try:
        answer = _Read(plan=timetable.read_plan(Path(path), towns, dt.date.fromisoformat(today)))
    except TimetableErrors as errors:
        answer = _Read(errors=errors.lines)
    except OSError as error:
        answer = _Read(missing=error.strerror or str(error))
    out.send_bytes(msgspec.msgpack.encode(answer))
    out.close()
