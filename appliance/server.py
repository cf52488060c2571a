"""The wiring: every part of the appliance is made here, started in order and stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from appliance import desk, knowledge_desk, notify
from appliance.channels.build import Route, build_routes, quiet_hours
from appliance.channels.callbacks import Endpoint
from appliance.channels.callbacks import routes as callback_routes
from appliance.channels.http import make_session
from appliance.channels.modem import ModemChannel, ModemInbox
from appliance.channels.provider import PresetError
from appliance.chat_digest import ChatDigest
from appliance.clock import Clock, once_a_tick
from appliance.config import Config, ModemConfig, Payments
from appliance.console import Console
from appliance.control import ControlError, ControlSocket
from appliance.conversation.phrases import PhraseErrors
from appliance.conversation.receipts import load_wallets
from appliance.conversation.shell import Shell
from appliance.conversation.wordlists import WordListErrors
from appliance.departures import Departures
from appliance.dialler import Dialler
from appliance.dispatcher.dispatcher import Dispatcher
from appliance.dispatcher.groups import group_by, workers_of
from appliance.exits import Exit, StartRefused
from appliance.gateway.campaigns import CampaignService
from appliance.gateway.control import client_op
from appliance.gateway.service import Gateway
from appliance.gateway.webhooks import WebhookService
from appliance.guard.tiers import GuardSettings, Spend
from appliance.llm.service import AskService
from appliance.outbound.allowance import Limits
from appliance.outbound.service import OutboundService
from appliance.payments.control import agent_op, ledger_op
from appliance.payments.desk import PaymentDesk
from appliance.payments.service import CashWay, PaymentService, ReceiptWay, TelebirrAbsent
from appliance.payments.way import Way
from appliance.payments.words import PhraseWords
from appliance.pressure import Pressure
from appliance.retention import Retention
from appliance.store import knowledge, spend, timetable
from appliance.store.cache import DiskBackedCache
from appliance.store.store import Store
from appliance.timekeeper import Timekeeper
from appliance.web.app import make_app
from appliance.web.front import FrontRunner
from appliance.web.services import Services, WebSettings
from firmware_bridge.errors import BridgeError
from firmware_bridge.ladder import Entry
from firmware_bridge.modem import Modem, ModemHealth, ModemSettings
from firmware_bridge.pin import FilePinRecord

if TYPE_CHECKING:
    from appliance.payments.telebirr.way import TelebirrWay

__all__ = ["Appliance", "serve"]

log = logging.getLogger(__name__)

AIR_PATIENCE_S: Final = 1.6  # of the 3 s that stopping may take, for the message on the air ...
MODEM_PATIENCE_S: Final = 0.6  # ... and for the modems to close their ports
WATCHDOG_IDLE_S: Final = 60.0  # a modem task that has not come round for so long is stuck


class Appliance:
    """One box: made from its configuration, then `start`, then `stop`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock(config.data_path / "clock")
        self.clock_ms = self.clock.now_ms
        self.address = ""  # where the page answers, once started
        self.modems: list[Modem] = []
        self.dialler = Dialler(self.modems)
        self._modem_tasks: list[asyncio.Task[None]] = []
        self._undo = contextlib.AsyncExitStack()
        self.page_lanes: dict[str, Any] = {}

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
        self._shell = checked_shell(config)
        self.store = store = await Store.open(
            config.data_path, guard=GuardSettings.from_settings(config.limits)
        )
        undo.push_async_callback(store.close)
        # Before anybody looks at a deadline: the clock may have been set while the program was not there.
        keeper = Timekeeper(self.clock, store.writer)
        await keeper.start()
        undo.push_async_callback(keeper.stop)
        wallets = load_wallets(config.payments.wallets)
        # A wallet's own text is proof of a payment, so it gets a turn although nobody answers its sender.
        store.admission.exempt = lambda inbound: (
            inbound.channel.startswith("modem:") and wallets.is_wallet(inbound.sender)
        )
        limits = Spend.from_settings(config.spending)
        store.admission.stops = self._shell.stops
        store.admission.braked = functools.partial(spend.braked_person, limits=limits)
        store.limit_text = self._shell.limit_text
        await self._load_timetable()
        await self._load_knowledge()
        routes = self._build_routes()
        zone = config.conversation.timezone_minutes
        self.outbound = OutboundService(
            store,
            self.clock_ms,
            timezone_minutes=zone,
            quiet=quiet_hours(config.quiet, zone),
            trusted=lambda: self.clock.trusted,
            limits=limits,
        )
        self.dispatcher = Dispatcher(
            store,
            min_workers=config.workers.min,
            max_workers=config.workers.max,
            app_settings=app_settings(config),
            languages=config.conversation.languages,
            default_app=config.conversation.default_app,
            on_outbound=self.outbound.offer,
            clock_ms=self.clock_ms,
            apologies=self._shell.apologies(),
            reply_route=self.outbound.routing.reply_route,
            longest_wait_s=config.workers.longest_wait_s,
            own_workers=workers_of(config.workers.own),
            group_of=group_by(config.workers.own),
        )
        undo.push_async_callback(self._stop_modems)
        keeper.on_moved = self.outbound.clock_moved
        await self.outbound.start()
        undo.push_async_callback(self.outbound.stop, AIR_PATIENCE_S)
        await self.dispatcher.start()
        undo.push_async_callback(self.dispatcher.stop)
        by_route = {route.rule.name: route.limits for route in routes}
        for modem_config in config.modem:
            self._add_modem(modem_config, by_route.get(f"modem:{modem_config.name}"))
        if routes:
            self.outbound.set_routes([route.rule for route in routes])
        for route in routes:
            if route.channel is not None:
                self.outbound.add(route.channel, parallel=route.parallel, limits=route.limits)
        self._start_departures()
        await self._start_gateway()
        self.webhooks = WebhookService(
            store,
            self.clock_ms,
            trusted=lambda: self.clock.trusted,
            allow_private=config.gateway.webhooks_private,
        )
        await self.webhooks.start()
        cache = DiskBackedCache(config.data_path / "cache")
        undo.callback(cache.close)
        self.asking = AskService(store, config.assistant, self.clock_ms, timezone_minutes=zone, answers=cache)
        await self.asking.start()
        undo.push_async_callback(self.asking.stop)
        digest = ChatDigest(store, config.chat, self.clock_ms, self.outbound.offer)
        telling = asyncio.create_task(digest.run(), name="chat digest")
        undo.callback(telling.cancel)
        undo.push_async_callback(self.webhooks.stop)
        undo.callback(store.feed.subscribe(lambda change: self.webhooks.wake()))
        await self._start_payments()
        await self._start_web([route.endpoint for route in routes if route.endpoint is not None])
        console = Console(
            store=store,
            outbound=self.outbound,
            modems=self.modems,
            dialler=self.dialler,
            region=config.conversation.region,
            timezone_minutes=zone,
            state=self._state,
        )
        control = ControlSocket(
            config.control_socket,
            {
                **console.handlers(),
                **desk.handlers(store, config, self.clock_ms),
                **self.departures.handlers(),
                **knowledge_desk.handlers(store),
                "client": self._op_client,
                "agent": self._op_agent,
                "ledger": self._op_ledger,
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
                once=True,
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

    async def _load_knowledge(self) -> None:
        """Give the assistant what the operator's files know; the same files again change nothing."""
        folder = self.config.assistant.knowledge
        try:
            await self.store.writer.run(knowledge.import_folder, Path(folder) if folder else None)
        except (knowledge.KnowledgeErrors, OSError) as error:
            log.error("assistant.knowledge: not imported: %s", error)

    def _build_routes(self) -> list[Route]:
        """Make what [[route]] tables ask for. Raises StartRefused for one that cannot be."""
        config = self.config
        session = make_session()
        self._undo.push_async_callback(session.close)
        names = {modem.name for modem in config.modem}
        try:
            return list(build_routes(config.route, names, session, region=config.conversation.region))
        except PresetError as error:
            raise StartRefused(Exit.USAGE, str(error)) from error

    def _start_departures(self) -> None:
        """What is said before a bus leaves, and how long searches are remembered."""
        self.departures = Departures(
            self.store,
            self.config,
            self._shell.kit,
            self.clock_ms,
            offer=self.outbound.offer,
            trusted=lambda: self.clock.trusted,
        )
        self.pressure = Pressure(self.store, self.dispatcher.snapshot, self.clock_ms)
        keep_days = self.config.conversation.keep_days
        old = Retention(self.store, keep_days, self.clock_ms, trusted=lambda: self.clock.trusted)
        for task in (
            asyncio.create_task(old.watch(), name="retention"),
            asyncio.create_task(self.departures.watch(), name="departures"),
            asyncio.create_task(self.pressure.watch(), name="pressure"),
        ):
            self._undo.callback(task.cancel)

    async def _start_gateway(self) -> None:
        config = self.config
        self.gateway = Gateway(
            self.store,
            offer=self.outbound.offer,
            cancel=self.outbound.cancel,
            clock_ms=once_a_tick(self.clock_ms),
            region=config.conversation.region,
            timezone_minutes=config.conversation.timezone_minutes,
            choose=self.outbound.routing.choose,
            data_dir=config.data_path,
            private_webhooks=config.gateway.webhooks_private,
        )
        self.gateway.hear(self._shell.opts)
        self.gateway.dial = self.dialler.dial
        self.gateway.held = self.outbound.held
        tidy = asyncio.create_task(self.gateway.tidy(), name="gateway tidy")
        self._undo.callback(tidy.cancel)
        campaigns = CampaignService(self.gateway, trusted=lambda: self.clock.trusted)
        await campaigns.start()
        self._undo.push_async_callback(campaigns.stop)

    async def _op_client(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await client_op(self.gateway, request)
        except ValueError as error:
            raise ControlError(str(error)) from error

    async def _start_payments(self) -> None:
        """Check the books and begin to collect. Raises StartRefused for settings that cannot work."""
        words = PhraseWords(self._shell.kit)
        settings = self.config.payments.telebirr
        common: dict[str, Any] = {"clock_ms": self.clock_ms, "offer": self.outbound.offer}
        telebirr: TelebirrWay | None = None
        if settings.app_id is not None:
            # Here: its signatures need a library of 6 MB that a box without telebirr does not load.
            from appliance.payments.telebirr.build import make_telebirr

            try:
                telebirr = make_telebirr(settings, self.store, words, **common)
            except ValueError as error:
                raise StartRefused(Exit.USAGE, str(error)) from None
        ways: list[Way] = [
            CashWay(self.store, self.clock_ms),
            ReceiptWay(self.store),
            telebirr or TelebirrAbsent(self.store, words, **common),
        ]
        service = PaymentService(self.store, ways, trusted=lambda: self.clock.trusted)
        self._undo.push_async_callback(service.stop)
        await service.start()
        agents = self.config.payments.agents
        self.payments = PaymentDesk(self.store, service, words, telebirr, agent_numbers=agents, **common)

    async def _op_agent(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await agent_op(self.store, self.config, self.clock_ms, request)
        except ValueError as error:
            raise ControlError(str(error)) from error

    async def _op_ledger(self, request: dict[str, Any]) -> dict[str, Any]:
        return await ledger_op(self.store, request)

    def _add_modem(self, config: ModemConfig, limits: Limits | None) -> None:
        inbox = ModemInbox(
            self.store,
            region=self.config.conversation.region,
            clock=self.clock,
            on_changes=self.outbound.publish,
        )
        try:
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
        except BridgeError as error:  # a profile that does not exist, or cannot be read
            raise StartRefused(Exit.USAGE, f"modem {config.name}: {error}") from error
        inbox.channel = channel = ModemChannel(modem, self.clock_ms)
        self.modems.append(modem)
        task = asyncio.create_task(modem.run(), name=f"modem {config.name}")
        self.outbound.add(channel, limits=limits)
        self._modem_tasks.append(task)

    async def _stop_modems(self) -> None:
        """After the pumps have stopped: a PDU that was written still gets its answer, or is in doubt."""
        if not self.modems:
            return
        await asyncio.gather(*(modem.stop() for modem in self.modems))
        await asyncio.wait(self._modem_tasks, timeout=MODEM_PATIENCE_S)
        for task in self._modem_tasks:
            task.cancel()
        await asyncio.gather(*self._modem_tasks, return_exceptions=True)

    def _modem_changed(self, health: ModemHealth) -> None:
        if health.own_number:
            self.store.own_numbers.add(health.own_number)
        for modem in self.modems:
            if modem.name == health.name and (network_ms := modem.network_time_ms()) is not None:
                self.clock.network_says(network_ms)
        self.store.feed.publish({"kind": "modem", "id": health.name, "state": health.state})

    async def _start_web(self, callbacks: Sequence[Endpoint]) -> None:
        services = Services(
            store=self.store,
            dispatcher=self.dispatcher,
            settings=WebSettings.from_config(self.config),
            modems=self.modem_healths,
            modem_history=self.modem_history,
            clock_state=self.clock.state,
            outbound=lambda: self.page_lanes,
            remember_s=lambda: self.pressure.remember_s,
            gateway=self.gateway,
            payments=self.payments,
            send=self.outbound.send,
            offer=self.outbound.offer,
            held=self.outbound.held,
            say=self._shell.kit.say,
            model=self.asking.snapshot,
            clock_ms=self.clock_ms,
        )
        app = make_app(services)
        app.add_routes(
            callback_routes(callbacks, self.store, on_changes=self.outbound.publish, clock_ms=self.clock_ms)
        )
        runner = FrontRunner(app, access_log=None, shutdown_timeout=0.5)
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
                self.page_lanes = await self.outbound.snapshot()
            await asyncio.sleep(1)

    def modem_healths(self) -> Sequence[ModemHealth]:
        return [modem.health for modem in self.modems]

    def modem_history(self, name: str) -> Sequence[Entry] | None:
        """What was seen of a modem and done to it, oldest first; None if there is none of that name."""
        return next((modem.history for modem in self.modems if modem.name == name), None)

    def _state(self) -> dict[str, Any]:
        """For `outpost check`: how this process is, as plain data."""
        return {
            "http": {"listen": self.address},
            "writer": self.store.writer.snapshot(),
            "dispatcher": dict(self.dispatcher.snapshot()),
            "lanes": self.page_lanes.get("lanes", []),
            "now_ms": self.clock_ms(),
            "clock": self.clock.state()._asdict(),
        }

    def makes_progress(self) -> bool:
        """What the watchdog asks: the loop runs, or nobody would ask; do the writer and each modem move?"""
        return self.store.writer.alive and all(
            modem.idle_s < WATCHDOG_IDLE_S or modem.health.state == "parked" for modem in self.modems
        )


def checked_shell(config: Config) -> Shell:
    """The conversations, refused at the start where a phrase file would answer a person wrongly."""
    try:
        config.assistant.key()
        return Shell(app_settings(config))
    except (PhraseErrors, WordListErrors) as error:
        raise StartRefused(Exit.USAGE, "\n".join(error.lines)) from error
    except ValueError as error:  # of the key, which is not in its words
        raise StartRefused(Exit.USAGE, str(error)) from None


def app_settings(config: Config) -> dict[str, Any]:
    """What the conversations are told of the configuration, as plain data for the workers."""
    return {
        "conversation": msgspec.to_builtins(config.conversation),
        "payments": _payments_for_workers(config.payments),
        "booking": msgspec.to_builtins(config.booking),
        "chat": msgspec.to_builtins(config.chat),
        # Not where the model is nor its key: a worker asks nobody.
        "assistant": {
            "on": config.assistant.endpoint is not None,
            "timeout_s": config.assistant.timeout_s,
            "answer_tokens": config.assistant.answer_tokens,
            "tokens_per_person": config.assistant.tokens_per_person,
            "tokens_per_client": config.assistant.tokens_per_client,
            "cost_per_day": config.assistant.cost_per_day,
            "input_price": config.assistant.input_price,
            "output_price": config.assistant.output_price,
        },
    }


def _payments_for_workers(payments: Payments) -> dict[str, Any]:
    """Without telebirr's secret and keys: a worker asks nobody."""
    told: dict[str, Any] = msgspec.to_builtins(payments)
    telebirr = payments.telebirr
    told["telebirr"] = {}
    if telebirr.app_id is not None:
        told["telebirr"] = {"public_url": telebirr.public_url, "watch_hours": telebirr.watch_hours}
    return told


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
