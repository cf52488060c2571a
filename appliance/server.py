"""The wiring: every part of the appliance is made here, started in order and stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from appliance import notify
from appliance.channels.modem import ModemChannel, ModemInbox
from appliance.clock import Clock
from appliance.config import Config, ModemConfig
from appliance.control import ControlError, ControlSocket
from appliance.conversation.phrases import PhraseErrors
from appliance.conversation.shell import Shell
from appliance.dispatcher.dispatcher import Dispatcher
from appliance.exits import Exit, StartRefused
from appliance.gateway.webhooks import WebhookService
from appliance.message import Lane, Outbound, normalise_number
from appliance.outbound.service import OutboundService
from appliance.store import timetable, views
from appliance.store.store import Store
from appliance.web.app import make_app
from appliance.web.services import Services, WebSettings
from firmware_bridge.errors import BridgeError
from firmware_bridge.modem import Modem, ModemHealth, ModemSettings
from firmware_bridge.pin import FilePinRecord

__all__ = ["Appliance", "serve"]

log = logging.getLogger(__name__)

AIR_PATIENCE_S: Final = 1.6  # of the 3 s that stopping may take, for the message on the air
WATCHDOG_IDLE_S: Final = 60.0  # a modem task that has not come round for so long is stuck
TRACED: Final = 20  # messages of one person that `trace` tells


class Appliance:
    """One box: made from its configuration, then `start`, then `stop`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock(config.data_path / "clock")
        self.clock_ms = self.clock.now_ms
        self.address = ""  # where the page answers, once started
        self._modems: list[Modem] = []
        self._undo = contextlib.AsyncExitStack()
        self._page_lanes: dict[str, Any] = {}

    async def start(self) -> None:
        """Bring everything up; what was started is stopped again if a later part fails."""
        try:
            await self._start()
        except BaseException:
            await self._undo.aclose()
            raise

    async def stop(self) -> None:
        """Stop in reverse: no new work first, the store last."""
        await self._undo.aclose()

    async def _start(self) -> None:
        config, undo = self.config, self._undo
        check_phrases(config)
        self.store = store = await Store.open(config.data_path)
        undo.push_async_callback(store.close)
        await self._load_timetable()
        self.outbound = OutboundService(store, self.clock_ms)
        self.dispatcher = Dispatcher(
            store,
            min_workers=config.workers.min,
            max_workers=config.workers.max,
            app_settings=app_settings(config),
            languages=config.conversation.languages,
            default_app=config.conversation.default_app,
            on_outbound=self.outbound.offer,
            clock_ms=self.clock_ms,
        )
        await self.outbound.start()
        undo.push_async_callback(self.outbound.stop, AIR_PATIENCE_S)
        await self.dispatcher.start()
        undo.push_async_callback(self.dispatcher.stop)
        for modem_config in config.modem:
            self._add_modem(modem_config)
        self.webhooks = WebhookService(store, self.clock_ms, trusted=lambda: self.clock.trusted)
        await self.webhooks.start()
        undo.push_async_callback(self.webhooks.stop)
        undo.callback(store.feed.subscribe(lambda change: self.webhooks.wake()))
        await self._start_web()
        control = ControlSocket(
            config.control_socket,
            {
                "send": self._op_send,
                "trace": self._op_trace,
                "check": self._op_check,
                "modems": self._op_modems,
                "ussd": self._op_ussd,
                "at": self._op_at,
            },
        )
        await control.start()
        undo.push_async_callback(control.stop)

    async def _load_timetable(self) -> None:
        """Bring the timetable in force up to its files; the same files again change nothing."""
        booking = self.config.booking
        try:
            done = await self.store.writer.run(
                timetable.import_folder,
                Path(booking.timetable) if booking.timetable else timetable.SAMPLE_FOLDER,
                now_ms=self.clock_ms(),
                seats_per_bus=booking.seats_per_bus,
                timezone_minutes=self.config.conversation.timezone_minutes,
                sample=booking.timetable is None,
            )
        except (timetable.TimetableErrors, OSError) as error:
            # The timetable that was in force stays so: a wrong file must not stop the messages.
            log.error("booking.timetable: not imported: %s", error)
        else:
            if done.changed:
                log.info(
                    "timetable: %d towns, %d routes, %d departures a day",
                    done.towns,
                    done.routes,
                    done.services,
                )

    def _add_modem(self, config: ModemConfig) -> None:
        inbox = ModemInbox(
            self.store,
            region=self.config.conversation.region,
            clock=self.clock,
            on_changes=self.outbound.publish,
        )
        modem = Modem(
            ModemSettings(
                name=config.name,
                port=config.port,
                baud=config.baud,
                pin=config.pin,
                smsc=config.smsc,
                profile=config.profile,
                imei=config.imei,
                iccid=config.iccid,
                ussd_allow=config.ussd_allow,
                canary_number=config.canary_number,
                canary_s=config.canary_s,
            ),
            on_deliver=inbox.on_deliver,
            on_status_report=inbox.on_status_report,
            on_undecodable=inbox.on_undecodable,
            on_change=self._modem_changed,
            pins=FilePinRecord(self.config.data_path / "pins.json"),
        )
        inbox.channel = channel = ModemChannel(modem, self.clock_ms)
        self._modems.append(modem)
        task = asyncio.create_task(modem.run(), name=f"modem {config.name}")
        self.outbound.add(channel)

        async def stop() -> None:
            await modem.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._undo.push_async_callback(stop)

    def _modem_changed(self, health: ModemHealth) -> None:
        if health.own_number:
            self.store.own_numbers.add(health.own_number)
        for modem in self._modems:
            if modem.name == health.name and (network_ms := modem.network_time_ms()) is not None:
                self.clock.network_says(network_ms)
        self.store.feed.publish({"kind": "modem", "id": health.name, "state": health.state})

    async def _start_web(self) -> None:
        services = Services(
            store=self.store,
            dispatcher=self.dispatcher,
            settings=WebSettings.from_config(self.config),
            modems=self.modem_healths,
            outbound=lambda: self._page_lanes,
            clock_ms=self.clock_ms,
        )
        runner = web.AppRunner(make_app(services), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._undo.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self.config.http.host, self.config.http.port, backlog=1024)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        lanes = asyncio.create_task(self._keep_page_lanes(), name="lane counts")
        self._undo.callback(lanes.cancel)

    async def _keep_page_lanes(self) -> None:
        """Counting costs a look at the disk, so it is done once a second for all who look at the page."""
        while True:
            with contextlib.suppress(Exception):
                self._page_lanes = await self.outbound.snapshot()
            await asyncio.sleep(1)

    def modem_healths(self) -> Sequence[ModemHealth]:
        return [modem.health for modem in self._modems]

    def makes_progress(self) -> bool:
        """What the watchdog asks: the loop runs, or nobody would ask; do the writer and each modem move?"""
        return self.store.writer.alive and all(
            modem.idle_s < WATCHDOG_IDLE_S or modem.health.state == "parked" for modem in self._modems
        )

    async def _op_send(self, request: dict[str, Any]) -> dict[str, Any]:
        to, text, lane = request.get("to"), request.get("text"), request.get("lane", "normal")
        if not isinstance(to, str) or not isinstance(text, str) or not text:
            raise ControlError('send wants "to" and "text"')
        number = normalise_number(to, self.config.conversation.region)
        if number is None:
            raise ControlError(f"{to!r} is no mobile number; want one such as +251911234567")
        if lane not in list(Lane):
            raise ControlError(f"lane {lane!r} is unknown; known: {', '.join(Lane)}")
        return {"id": await self.outbound.send(Outbound(recipient=number, text=text, lane=Lane(lane)))}

    async def _op_trace(self, request: dict[str, Any]) -> dict[str, Any]:
        what = str(request.get("what", "")).strip()
        kind, _, rest = what.rpartition(":")
        if rest.isdigit() and kind in ("", "in", "out") and len(rest) <= 12 and not what.startswith("+"):
            kinds = (kind,) if kind else ("out", "in")
            lives = [await self.store.reader.run(views.life_of, each, int(rest)) for each in kinds]
            found = [life for life in lives if life is not None]
        else:
            number = normalise_number(what, self.config.conversation.region)
            if number is None:
                raise ControlError(f"{what!r} is neither a message's id nor a number")
            rows = await self.store.reader.run(views.messages_with, number, TRACED)
            each_life = [await self.store.reader.run(views.life_of, row.kind, row.id) for row in rows]
            found = [life for life in each_life if life is not None]
        return {"messages": [msgspec.to_builtins(life) for life in found]}

    async def _op_check(self, request: dict[str, Any]) -> dict[str, Any]:
        snapshot = dict(self.dispatcher.snapshot())
        return {
            "modems": [_plain(health) for health in self.modem_healths()],
            "http": {"listen": self.address},
            "writer": self.store.writer.snapshot(),
            "dispatcher": snapshot,
            "lanes": self._page_lanes.get("lanes", []),
            "now_ms": self.clock_ms(),
            "clock": self.clock.state()._asdict(),
        }

    async def _op_modems(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "modems": [
                {**_plain(modem.health), "history": [_plain(entry) for entry in modem.history]}
                for modem in self._modems
            ]
        }

    async def _op_ussd(self, request: dict[str, Any]) -> dict[str, Any]:
        code, replies = request.get("code"), request.get("replies", [])
        if not isinstance(code, str) or not isinstance(replies, list):
            raise ControlError('ussd wants "code" and, for a menu, "replies"')
        modem = self._named_modem(request.get("modem"))
        try:
            answers = await modem.ussd(code, *map(str, replies), any_code=request.get("any") is True)
        except BridgeError as error:
            raise ControlError(f"{modem.name}: {error}") from error
        return {"answers": [_plain(answer) for answer in answers]}

    async def _op_at(self, request: dict[str, Any]) -> dict[str, Any]:
        modem = self._named_modem(request.get("modem"))
        try:
            lines = await modem.command(str(request.get("command", "")))
        except BridgeError as error:
            raise ControlError(f"{modem.name}: {error}") from error
        return {"lines": list(lines)}

    def _named_modem(self, name: object) -> Modem:
        """The modem of that name; without a name, the only one there is."""
        fitting = [modem for modem in self._modems if name in (None, modem.name)]
        if len(fitting) != 1:
            known = ", ".join(modem.name for modem in self._modems) or "none is configured"
            raise ControlError(f"which modem? known: {known}")
        return fitting[0]


def check_phrases(config: Config) -> None:
    """Refuse to start on phrase files that a person would be answered with wrongly."""
    try:
        Shell(app_settings(config))
    except PhraseErrors as error:
        raise StartRefused(Exit.USAGE, "\n".join(error.lines)) from error


def app_settings(config: Config) -> dict[str, Any]:
    """What the conversations are told of the configuration, as plain data for the workers."""
    return {
        "conversation": msgspec.to_builtins(config.conversation),
        "payments": msgspec.to_builtins(config.payments),
        "booking": msgspec.to_builtins(config.booking),
    }


async def serve(config: Config, stop: asyncio.Event, ready: Callable[[Appliance], None] | None = None) -> int:
    """Run the appliance until `stop` is set. ready: called once it accepts messages."""
    appliance = Appliance(config)
    await appliance.start()
    log.info("accepting messages on %s", appliance.address)
    notify.notify(f"READY=1\nSTATUS=accepting messages on {appliance.address}")
    if ready is not None:
        ready(appliance)
    try:
        await _watch(appliance, stop.wait)
    finally:
        await appliance.stop()
    return int(Exit.STOPPED)


async def _watch(appliance: Appliance, stopped: Callable[[], Awaitable[Any]]) -> None:
    """Feed systemd's watchdog while there is progress, until stopped."""
    interval_s = notify.watchdog_interval_s()
    waiting = asyncio.ensure_future(stopped())
    try:
        while not waiting.done():
            await asyncio.wait((waiting,), timeout=interval_s)
            if interval_s is not None and appliance.makes_progress():
                notify.notify("WATCHDOG=1")
    finally:
        waiting.cancel()


def _plain(value: Any) -> dict[str, Any]:
    plain = msgspec.to_builtins(value, enc_hook=str)
    return dict(plain)
