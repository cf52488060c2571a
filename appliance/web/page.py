"""The page: what each part of it shows, and the rendering.

Everything is rendered here, on the server, once for all who look: the first view, and then each part
again when it changed, which the browser puts in the place of the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from appliance.message import Lane
from appliance.observe.counts import MINUTES_KEPT, Counts, Minute
from appliance.store.assistant import open_questions
from appliance.store.moderation import life_without_chats, person_without_chats, recent_without_chats
from appliance.store.views import (
    Life,
    MessageRow,
    sessions_by_state,
    traffic_by_minute,
    undecoded,
)
from appliance.web import box
from appliance.web.services import ModemHealth, Services
from appliance.web.v1.openapi import schema_words

__all__ = ["PARTS", "Page"]

MESSAGES_SHOWN: Final = 40
PERSON_SHOWN: Final = 100
# The parts of the page that change, each the template of the same name and the element of the same id.
UNREAD_SHOWN: Final = 20
PARTS: Final = ("summary", "traffic", "messages", "modems", "queue", "workers", "sessions", "box")

_TEMPLATES: Final = Path(__file__).parent / "templates"

# What a state means, for people; the state itself stays visible in the detail.
STATE_WORDS: Final[Mapping[tuple[str, str], str]] = {
    ("in", "accepted"): "waiting",
    ("in", "handled"): "answered",
    ("in", "guarded"): "not answered",
    ("in", "set_aside"): "set aside",
    ("out", "unknown"): "no report",
}
# The colour of a state: wait, work, good, done, warn, bad, quiet.
_TONES: Final[Mapping[str, str]] = {
    "accepted": "work",
    "handled": "done",
    "guarded": "quiet",
    "set_aside": "bad",
    "queued": "wait",
    "sending": "work",
    "sent": "done",
    "delivered": "good",
    "failed": "bad",
    "expired": "warn",
    "cancelled": "quiet",
    "uncertain": "warn",
    "unknown": "warn",
}
_MODEM_TONES: Final[Mapping[str, str]] = {
    "ready": "good",
    "starting": "work",
    "recovering": "warn",
    "degraded": "warn",
    "parked": "bad",
}
_WORKER_TONES: Final[Mapping[str, str]] = {
    "ready": "good",
    "idle": "good",
    "busy": "work",
    "starting": "wait",
}


def _tone(state: str) -> str:
    return _TONES.get(state, "wait")


def _state_word(kind: str, state: str) -> str:
    return STATE_WORDS.get((kind, state), state.replace("_", " "))


def _clock_source(source: str) -> str:
    words = {
        "ntp": "set by NTP",
        "network": "set by the mobile network",
        "system": "of this box alone",
        "saved": "the last known time",
    }
    return words.get(source, source)


def _megabytes(octets: int | None) -> str:
    if octets is None:
        return "–"
    if octets >= 10 * 1024**3:
        return f"{octets / 1024**3:.0f} GB"
    if octets >= 1024**3:
        return f"{octets / 1024**3:.1f} GB"
    return f"{octets / 1024**2:.0f} MB"


def _bars_of(minutes: list[Minute]) -> dict[str, Any]:
    """The hour's picture in units of the drawing: messages in upwards, out downwards from the middle."""
    top = max([1, *(minute.came_in for minute in minutes), *(minute.went_out for minute in minutes)])
    half = 40
    columns = []
    for place, minute in enumerate(minutes):
        up = round(half * minute.came_in / top, 1)
        down = round(half * minute.went_out / top, 1)
        columns.append({"x": place * 10 + 1, "up": up, "up_y": half - up, "down": down})
    return {
        "columns": columns,
        "came_in": sum(minute.came_in for minute in minutes),
        "went_out": sum(minute.went_out for minute in minutes),
        "top": top,
        "half": half,
        "width": 10 * len(minutes),
    }


class Page:
    """Reads the services and renders; one object for the life of the server."""

    def __init__(self, services: Services, counts: Counts) -> None:
        self._services = services
        self._counts = counts
        self._traffic_known = False
        import jinja2  # here: nothing but the page needs it, and a box that starts takes messages first

        # Compiled templates are kept in memory by jinja2; the folder belongs to the program.
        self._jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._jinja.globals.update(
            clock_source=_clock_source,
            tone=_tone,
            state_word=_state_word,
            parts=PARTS,
            has_clients=services.gateway is not None,
            has_payments=services.payments is not None,
        )
        self._jinja.filters.update(
            iso=box.iso,
            duration=box.duration,
            took=box.took,
            schema_words=schema_words,
            pretty_number=box.pretty_number,
            megabytes=_megabytes,
        )

    def render(self, template: str, **view: Any) -> str:
        """A page of another module, with what every page knows."""
        return self._jinja.get_template(template).render(self._base() | view)

    async def parts(self) -> dict[str, str]:
        """The HTML of every part by its id."""
        view = await self._view()
        return {name: self._jinja.get_template(f"parts/{name}.html").render(view) for name in PARTS}

    async def front(self) -> str:
        """The whole front page."""
        view = await self._view()
        rendered = {name: self._jinja.get_template(f"parts/{name}.html").render(view) for name in PARTS}
        return self._jinja.get_template("front.html").render(view, rendered=rendered)

    async def life(self, kind: str, message_id: int) -> str | None:
        """The page of one message's exchange; None when there is no such message."""
        life: Life | None = await self._services.store.reader.run(life_without_chats, kind, message_id)
        if life is None:
            return None
        first = life.inbound or life.outbound[0]
        return self._jinja.get_template("life.html").render(
            self._base(),
            life=life,
            number=first.row.number,
            chosen=(kind, message_id),
            held=self._services.held,
        )

    async def modem(self, name: str, ussd: Mapping[str, Any] | None = None) -> str | None:
        """The page of one modem: what it is, and what was done to it; None when there is no such modem.

        ussd: what was dialled (code, replies) and what came of it (answers, fault).
        """
        base = self._base()
        health = next((modem for modem in base["modems"] if modem.name == name), None)
        if health is None:
            return None
        history = list(reversed(self._services.modem_history(name) or ()))
        routes = self._services.outbound().get("routes", ())
        route: Mapping[str, Any] = next((each for each in routes if each.get("name") == f"modem:{name}"), {})
        return self._jinja.get_template("modem.html").render(
            base,
            view=_modem_view(health),
            history=history,
            hold=route.get("hold", ""),
            to_do=route.get("to_do", ""),
            balance=route.get("balance", {}),
            facts=_modem_facts(health),
            ussd=ussd,
            unread=await self._services.store.reader.run(undecoded, f"modem:{name}", UNREAD_SHOWN),
        )

    async def person(self, number: str) -> str | None:
        """The page of one person's messages; None when there are none."""
        rows: list[MessageRow] = await self._services.store.reader.run(
            person_without_chats, number, PERSON_SHOWN
        )
        if not rows:
            return None
        return self._jinja.get_template("person.html").render(
            self._base(), rows=list(reversed(rows)), number=number, shown=PERSON_SHOWN
        )

    def send(self, to: str = "", text: str = "", fault: str = "") -> str:
        """The form to send a message by hand, filled with what was typed when there was a fault."""
        return self._jinja.get_template("send.html").render(self._base(), to=to, text=text, fault=fault)

    def questions(self, rows: Sequence[tuple[int, str, str, str, int]], fault: str) -> str:
        """The page of questions that wait for a person: (id, asker, language, words, asked_ms)."""
        return self._jinja.get_template("questions.html").render(self._base(), questions=rows, fault=fault)

    def api(self, document: dict[str, Any]) -> str:
        """The page of the business API, made of its OpenAPI document."""
        return self._jinja.get_template("api.html").render(
            self._base(), document=document, schemas=document["components"]["schemas"]
        )

    def problem(self, status: int, title: str, detail: str) -> str:
        """A page that says what went wrong."""
        return self._jinja.get_template("problem.html").render(
            self._base(), status=status, title=title, detail=detail
        )

    def _base(self) -> dict[str, Any]:
        now_ms = self._services.clock_ms()
        offset = self._services.settings.timezone_minutes
        modems = self._services.modems()
        return {
            "now_ms": now_ms,
            "clock": partial(box.clock_text, now_ms=now_ms, offset_minutes=offset),
            "number_to_text": box.number_to_text(modems),
            "modems": modems,
        }

    async def _remember_traffic(self) -> None:
        """Once: what the store knows of the hour before this process began to count."""
        started_ms = self._services.started_ms
        from_ms = self._services.clock_ms() - MINUTES_KEPT * 60_000
        minutes = await self._services.store.reader.run(traffic_by_minute, from_ms, started_ms)
        if not self._traffic_known:
            self._traffic_known = True
            self._counts.add_earlier(Minute(*minute) for minute in minutes)

    async def _view(self) -> dict[str, Any]:
        services = self._services
        if not self._traffic_known:
            await self._remember_traffic()
        base = self._base()
        now_ms: int = base["now_ms"]
        dispatcher, outbound = services.dispatcher.snapshot(), services.outbound()
        disk = box.disk_of(services.settings.data_dir)
        reader = services.store.reader
        return base | {
            "findings": box.find_faults(services, base["modems"], dispatcher, outbound, disk),
            "can_send": services.send is not None,
            "questions": len(await reader.run(open_questions)),
            "sample": _sample(services.settings.default_app),
            "messages": await reader.run(recent_without_chats, MESSAGES_SHOWN),
            "sessions": await reader.run(sessions_by_state, now_ms),
            "modem_views": [_modem_view(modem) for modem in base["modems"]],
            "lanes": _lanes(outbound),
            "routes": _routes(outbound),
            "remember_s": services.remember_s(),
            "waiting": dispatcher.get("queued") or 0,
            "waiting_ms": dispatcher.get("oldest_ms"),
            "workers": [_worker_view(worker) for worker in dispatcher.get("workers", ())],
            "chart": _bars_of(self._counts.last_hour()),
            "disk": disk,
            "memory": box.memory_of_process(),
            "up_for": _up_for(now_ms - services.started_ms),
            "clock_state": services.clock_state() if services.clock_state is not None else None,
            "local_time": _minute_of_day(now_ms, services.settings.timezone_minutes),
            "zone": _zone_text(services.settings.timezone_minutes),
        }


def _up_for(milliseconds: int) -> str:
    # In minutes, or this part of the page would change (and be sent) at every look.
    return box.duration(milliseconds // 60_000 * 60_000) if milliseconds >= 60_000 else "less than a minute"


def _sample(default_app: str) -> str:
    return "BOOK ADDIS HAWASSA TOMORROW 2" if default_app == "booking" else "HELP"


def _modem_view(modem: ModemHealth) -> dict[str, Any]:
    words = None if modem.registration is None else box.REGISTRATION.get(modem.registration)
    used, total = modem.storage_used, modem.storage_total
    return {
        "modem": modem,
        "tone": _MODEM_TONES.get(modem.state, "wait"),
        "bars": box.bars(modem.signal_dbm),
        "registration": words or ("state unknown" if modem.registration is None else str(modem.registration)),
        "storage_full": bool(total) and (used or 0) >= 0.8 * (total or 1),
    }


def _modem_facts(modem: ModemHealth) -> list[tuple[str, str]]:
    """What else is known of it, by name; a health may know more or less than the page."""
    names = {
        "manufacturer": "made by",
        "model": "model",
        "firmware": "firmware",
        "profile": "profile",
        "imei": "IMEI",
        "iccid": "ICCID",
        "imsi": "IMSI",
        "smsc": "SMSC",
        "usb_path": "USB path",
    }
    found = [(words, getattr(modem, name, None)) for name, words in names.items()]
    return [(words, str(value)) for words, value in found if value]


def _worker_view(worker: Mapping[str, Any]) -> dict[str, Any]:
    state = worker.get("state", "unknown")
    return {
        "pid": worker.get("pid"),
        "state": state,
        "tone": _WORKER_TONES.get(state, "warn"),
        "group": worker.get("group", ""),
        "turns": worker.get("turns", 0),
        "rss": worker.get("rss_bytes"),
    }


def _lanes(outbound: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All lanes in order, whether or not the snapshot names them."""
    known = {lane["lane"]: lane for lane in outbound.get("lanes", ())}
    return [
        {
            "lane": lane.value,
            "queued": known.get(lane, {}).get("queued") or 0,
            "more": known.get(lane, {}).get("more", False),
            "sending": known.get(lane, {}).get("sending") or 0,
            "oldest_ms": known.get(lane, {}).get("oldest_ms"),
        }
        for lane in Lane
    ]


def _routes(outbound: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The providers, and a modem only while its allowance is used up: its own part tells the rest."""
    shown = []
    for route in outbound.get("routes", ()):
        name, state = str(route.get("name", "")), str(route.get("state", ""))
        if name.startswith("modem:") and state != "used up":
            continue
        breaker = route.get("breaker", {})
        tone = {"ready": "good", "used up": "warn"}.get(state, "bad")
        shown.append(
            {
                "name": name,
                "state": state,
                "tone": tone,
                "reason": route.get("reason", ""),
                "retry_in_s": breaker.get("retry_in_s"),
                "alarms": route.get("alarms", ()),
            }
        )
    return shown


def _minute_of_day(now_ms: int, offset_minutes: int) -> str:
    at = datetime.fromtimestamp(now_ms / 1000 + offset_minutes * 60, UTC)
    return at.strftime("%A %-d %B %Y, %H:%M")


@lru_cache(maxsize=8)
def _zone_text(offset_minutes: int) -> str:
    hours, minutes = divmod(abs(offset_minutes), 60)
    sign = "+" if offset_minutes >= 0 else "−"
    return f"UTC{sign}{hours}" + (f":{minutes:02}" if minutes else "")
