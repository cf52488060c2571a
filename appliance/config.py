"""The configuration: one TOML file, typed, every mistake told at once.

Each setting carries its type, its bounds, the words that an error uses ("want 9600 to 921600") and its
description; docs/configuration.md is checked against them by a test. The environment can overlay any
setting: OUTPOST__HTTP__LISTEN=..., OUTPOST__MODEM__0__PORT=... (lists by commas).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from appliance.limit_settings import Limits, Spending
from appliance.payment_settings import Telebirr, absolute_telebirr, telebirr_mistakes
from appliance.route_settings import Quiet, RouteConfig, mistakes
from appliance.settings_tree import Setting, Verify, check_tree, described, overlay, plain, settings_of
from appliance.talk_settings import Assistant, Chat, absolute_files, talk_mistakes

__all__ = [
    "Booking",
    "Config",
    "ConfigErrors",
    "Conversation",
    "Gateway",
    "Http",
    "Log",
    "ModemConfig",
    "OwnWorkers",
    "Payments",
    "Setting",
    "Workers",
    "load",
    "parse",
    "settings",
]

_HERE: Final = Path(__file__).parent
_SHIPPED: Final = _HERE.parent / "config"


_NUMBER = Meta(pattern=r"^\+[1-9]\d{6,14}$")


class Http(Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[
        str,
        described("Address and port of the page and the HTTP API.", "ADDRESS:PORT, such as '127.0.0.1:8080'"),
    ] = "127.0.0.1:8080"
    incoming_token: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,128}$")] | None,
        described(
            "Bearer token for /api/sms/incoming; without it only programs on this machine may post.",
            "16 to 128 letters, digits, - or _",
        ),
    ] = None
    page_password: Annotated[
        Annotated[str, Meta(pattern=r"^[\x21-\x7e]{8,128}$")] | None,
        described(
            "What the page asks browsers elsewhere for; without it only this machine can open the page.",
            "8 to 128 characters without blanks",
        ),
    ] = None
    hosts: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]+$")], ...],
        described(
            "Further names the page is reached by; addresses, localhost and *.local need no mention.",
            "a list of host names, such as ['outpost.example']",
        ),
    ] = ()

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 lets the system choose a free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Only programs on this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


class ModemConfig(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[
        str,
        described(
            "What the page, the log and the routes call it.",
            "1 to 32 small letters, digits, - or _, such as 'modem0'",
            pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        ),
    ]
    port: Annotated[
        str,
        described(
            "Device file of the modem's AT port, best one under /dev/serial: those stay the same after a"
            " power cut. 'auto' looks for a modem that answers, 'auto:/dev/ttyUSB*' among these files.",
            "a device file, such as '/dev/serial/by-path/...', or 'auto'",
            pattern=r"^(/.+|auto(:/.+)?)$",
        ),
    ]
    baud: Annotated[
        int,
        described("Speed of the serial line; USB modems do not care.", "9600 to 921600", ge=9600, le=921_600),
    ] = 115_200
    pin: Annotated[
        Annotated[str, Meta(pattern=r"^\d{4,8}$")] | None,
        described("PIN of the SIM, if it asks for one.", "4 to 8 digits in quotes"),
    ] = None
    smsc: Annotated[
        Annotated[str, Meta(pattern=r"^\+[1-9]\d{4,14}$")] | None,
        described(
            "Number of the SMS centre; without it the one on the SIM is used.",
            "a number in international form, such as '+251911299708'",
        ),
    ] = None
    profile: Annotated[
        str,
        described(
            "Which family's habits to expect; 'auto' asks the modem who it is.",
            "'auto' or a profile's name",
            pattern=r"^[a-z0-9][a-z0-9_-]*$",
        ),
    ] = "auto"
    imei: Annotated[
        Annotated[str, Meta(pattern=r"^\d{15}$")] | None,
        described("With port 'auto': only the modem with this serial number.", "15 digits in quotes"),
    ] = None
    iccid: Annotated[
        Annotated[str, Meta(pattern=r"^\d{18,20}$")] | None,
        described("With port 'auto': only the SIM with this number.", "18 to 20 digits in quotes"),
    ] = None
    ussd_allow: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[*#0-9]{2,20}$")], ...],
        described("Codes that `outpost ussd` may ask the network by.", "a list of codes, such as ['*804#']"),
    ] = ()
    canary_number: Annotated[
        Annotated[str, _NUMBER] | None,
        described(
            "Own number that a modem texts when nothing has gone through it for long, to see that it can.",
            "a number in international form, such as '+251911234567'",
        ),
    ] = None
    canary_s: Annotated[
        int,
        described("How long nothing has to go through it, in seconds.", "600 to 604800", ge=600, le=604_800),
    ] = 21_600


class OwnWorkers(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[
        str,
        described(
            "What the page calls the workers.",
            "1 to 32 small letters, digits, - or _, such as 'acme'",
            pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        ),
    ]
    numbers: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^(\+[1-9]\d{6,14}|\d{3,6})$")], ...],
        described("Texts to these numbers are theirs.", "a list of numbers, such as ['8400']"),
    ] = ()
    channels: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        described(
            "Texts that come by these channels are theirs.", "a list such as ['modem:modem0'] or ['http']"
        ),
    ] = ()
    workers: Annotated[int, described("How many, besides the others.", "1 to 32", ge=1, le=32)] = 1


class Workers(Struct, frozen=True, forbid_unknown_fields=True):
    min: Annotated[int, described("Worker processes that always run.", "1 to 32", ge=1, le=32)] = 1
    max: Annotated[
        int, described("Worker processes at most, when the queue grows.", "1 to 32", ge=1, le=32)
    ] = 2
    longest_wait_s: Annotated[
        int,
        described(
            "HTTP callers are asked to wait once texts wait so long for a worker, in seconds.",
            "5 to 86400",
            ge=5,
            le=86_400,
        ),
    ] = 120
    own: tuple[OwnWorkers, ...] = ()


class Conversation(Struct, frozen=True, forbid_unknown_fields=True):
    default_app: Annotated[
        str, described("The conversation that answers who asks for no other.", "the name of a conversation")
    ] = "booking"
    apps: Annotated[
        tuple[str, ...],
        described(
            "The conversations there are, in the menu's order; empty: all.",
            "a list of conversations, such as ['booking', 'assistant']",
        ),
    ] = ()
    languages: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")], ...],
        described(
            "Languages spoken, the first one to strangers.",
            "a list of languages that have phrases, such as ['en', 'am']",
            min_length=1,
        ),
    ] = ("en", "am")
    region: Annotated[
        str,
        described(
            "Country whose short numbers people write.",
            "two capital letters, such as 'ET'",
            pattern=r"^[A-Z]{2}$",
        ),
    ] = "ET"
    timezone_minutes: Annotated[
        int, described("Local time ahead of UTC, in minutes.", "-720 to 840", ge=-720, le=840)
    ] = 180
    session_minutes: Annotated[
        int,
        described("A conversation ends so long after the last text, in minutes.", "1 to 1440", ge=1, le=1440),
    ] = 15
    keep_days: Annotated[
        int,
        described(
            "Texts and numbers of messages are kept so long, in days; 0: for ever.",
            "0 to 3650",
            ge=0,
            le=3650,
        ),
    ] = 365


class Payments(Struct, frozen=True, forbid_unknown_fields=True):
    agents: Annotated[
        tuple[Annotated[str, _NUMBER], ...],
        described(
            "Agents' numbers: a PAY text from one, with the PIN of `outpost agent pin`, is cash taken.",
            "a list of numbers in international form, such as ['+251911234567']",
        ),
    ] = ()
    commission_percent: Annotated[
        int, described("What an agent keeps of the cash, in percent.", "0 to 50", ge=0, le=50)
    ] = 0
    pay_to: Annotated[
        Annotated[str, Meta(min_length=1, max_length=24)] | None,
        described(
            "The merchant's wallet as passengers are told it, beside the agents; its receipts have to come"
            " to a modem of the box.",
            "at most 24 characters, such as 'telebirr 0911234567'",
        ),
    ] = None
    wallets: Annotated[
        tuple[str, ...],
        described(
            "Wallets whose texts to this SIM count as payments; config/receipts.toml tells what they write.",
            "a list of names, such as ['telebirr']",
        ),
    ] = ()
    telebirr: Telebirr = Telebirr()


class Gateway(Struct, frozen=True, forbid_unknown_fields=True):
    webhooks_private: Annotated[
        bool,
        described(
            "Clients' webhooks may lie in private networks; else only public addresses are called.",
            "true or false",
        ),
    ] = False


class Booking(Struct, frozen=True, forbid_unknown_fields=True):
    timetable: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        described("Folder with the timetable's tables; without it the sample timetable is used.", "a folder"),
    ] = None
    seats_per_bus: Annotated[
        int, described("Seats of a departure that names no number.", "1 to 200", ge=1, le=200)
    ] = 45
    hold_minutes: Annotated[
        int, described("Seats are held unpaid so long, in minutes.", "1 to 2880", ge=1, le=2880)
    ] = 30
    refund_hours: Annotated[
        int,
        described(
            "A paid ticket given back at least so long before departure is refunded, in hours.",
            "0 to 720",
            ge=0,
            le=720,
        ),
    ] = 24
    refund_percent: Annotated[
        int, described("So much of its price is refunded, in percent.", "0 to 100", ge=0, le=100)
    ] = 80
    ask_names: Annotated[
        bool, described("The passengers' names are asked for before seats are held.", "true or false")
    ] = False
    reminder_hours: Annotated[
        int,
        described(
            "Passengers are reminded so long before departure, in hours; 0: never.", "0 to 72", ge=0, le=72
        ),
    ] = 12
    manifest_minutes: Annotated[
        int,
        described(
            "The driver whose number is known is sent who travels, so long before departure, in minutes.",
            "5 to 720",
            ge=5,
            le=720,
        ),
    ] = 60


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    level: Annotated[
        typing.Literal["debug", "info", "warning", "error"],
        described("How much is logged.", "'debug', 'info', 'warning' or 'error'"),
    ] = "info"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the appliance is told. Relative folders count from the file's own folder."""

    data_dir: Annotated[
        str,
        described("Folder of the database and everything else that is kept.", "a folder", min_length=1),
    ] = "/var/lib/outpost"
    http: Http = Http()
    modem: tuple[ModemConfig, ...] = ()
    route: tuple[RouteConfig, ...] = ()
    quiet: Quiet = Quiet()
    workers: Workers = Workers()
    conversation: Conversation = Conversation()
    limits: Limits = Limits()
    spending: Spending = Spending()
    payments: Payments = Payments()
    gateway: Gateway = Gateway()
    booking: Booking = Booking()
    chat: Chat = Chat()
    assistant: Assistant = Assistant()
    log: Log = Log()

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)

    @property
    def control_socket(self) -> Path:
        """Where `outpost send`, `trace` and `check` reach the running appliance."""
        return Path(self.data_dir) / "outpost.sock"


class ConfigErrors(Exception):
    """The configuration cannot be used. `lines`: one per mistake, each whole by itself."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def load(path: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> Config:
    """Read `path` and overlay `env` (os.environ when None). Raises ConfigErrors with all mistakes."""
    file = Path(path)
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise ConfigErrors([f"{file}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigErrors([f"{file}: not UTF-8 at byte {error.start}; want a TOML file"]) from error
    return parse(text, name=file.name, folder=file.parent, env=os.environ if env is None else env)


def parse(text: str, *, name: str, folder: Path, env: Mapping[str, str] | None = None) -> Config:
    """Make a Config of TOML text.

    name: what errors call the file. folder: what relative folders count from. env: overlays it.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([f"{name}: not TOML: {error}"]) from error
    errors: list[str] = []
    overlay(Config, tree, env or {}, errors)
    check_tree(Config, tree, name=name, verify=_VERIFY, errors=errors)
    with contextlib.suppress(msgspec.ValidationError):  # a modem without its port, which is told already
        _check_across(msgspec.convert(tree, Config, strict=False), name, errors)
    if errors:
        raise ConfigErrors(errors)
    config = msgspec.convert(plain(tree), Config, strict=False)
    timetable = config.booking.timetable
    assistant, chat = absolute_files(config.assistant, config.chat, folder)
    return msgspec.structs.replace(
        config,
        data_dir=_absolute(config.data_dir, folder),
        payments=msgspec.structs.replace(
            config.payments, telebirr=absolute_telebirr(config.payments.telebirr, folder)
        ),
        booking=msgspec.structs.replace(
            config.booking, timetable=None if timetable is None else _absolute(timetable, folder)
        ),
        assistant=assistant,
        chat=chat,
        route=tuple(_route_from(folder, route) for route in config.route),
    )


def settings() -> Iterator[Setting]:
    """Every setting there is, in the file's order."""
    yield from settings_of(Config)


def _route_from(folder: Path, route: RouteConfig) -> RouteConfig:
    """Files that a route names count from the file's folder; a bare preset name is no file."""
    table, preset = route.prefix_table, route.preset
    return msgspec.structs.replace(
        route,
        prefix_table=None if table is None else _absolute(table, folder),
        preset=_absolute(preset, folder) if "/" in preset or preset.endswith(".toml") else preset,
    )


def _absolute(path: str, folder: Path) -> str:
    return str((folder.absolute() / Path(path).expanduser()).resolve())


# -- what a type cannot say


def _is_listen(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65_535:
        return False
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (address.version == 6) == host.startswith("[")


def _verify_app(app: str) -> str | None:
    apps = sorted(path.parent.name for path in (_HERE / "apps").glob("*/__init__.py"))
    return None if app in apps else f"one of {', '.join(apps)}"


def _verify_apps(apps: tuple[str, ...]) -> str | None:
    return next((wanted for app in apps if (wanted := _verify_app(app)) is not None), None)


def _verify_languages(languages: tuple[str, ...]) -> str | None:
    spoken = sorted(path.stem for path in (_SHIPPED / "phrases").glob("*.toml"))
    return None if set(languages) <= set(spoken) else f"a list of {', '.join(spoken)}, which have phrases"


def _verify_wallets(wallets: tuple[str, ...]) -> str | None:
    known = [wallet["name"] for wallet in tomllib.loads((_SHIPPED / "receipts.toml").read_text())["wallet"]]
    return None if set(wallets) <= set(known) else f"a list of {', '.join(known)}"


_VERIFY: Final[dict[str, Verify]] = {
    "http.listen": lambda text: None if _is_listen(text) else "ADDRESS:PORT, such as '127.0.0.1:8080'",
    "conversation.default_app": _verify_app,
    "conversation.apps": _verify_apps,
    "conversation.languages": _verify_languages,
    "payments.wallets": _verify_wallets,
}


def _check_across(config: Config, name: str, errors: list[str]) -> None:
    """What only two settings together can get wrong, and what other files decide."""
    if config.workers.max < config.workers.min:
        least, most = config.workers.min, config.workers.max
        errors.append(f"{name}: workers.max: {most}; want at least workers.min, which is {least}")
    apps = config.conversation.apps
    if apps and config.conversation.default_app not in apps:
        default = config.conversation.default_app
        errors.append(f"{name}: conversation.default_app: {default!r}; want one of conversation.apps")
    errors += [f"{name}: {line}" for line in talk_mistakes(config.assistant)]
    names_of_own = [group.name for group in config.workers.own]
    for index, group in enumerate(config.workers.own):
        if names_of_own.index(group.name) < index:
            errors.append(f"{name}: workers.own[{index}].name: {group.name!r}; want another")
        if not group.numbers and not group.channels:
            errors.append(f"{name}: workers.own[{index}].numbers: missing; want numbers or channels")
    errors += [f"{name}: {line}" for line in telebirr_mistakes(config.payments.telebirr)]
    for field in ("name", "port"):
        seen: dict[str, int] = {}
        for index, modem in enumerate(config.modem):
            value = getattr(modem, field)
            if value in seen:
                errors.append(
                    f"{name}: modem[{index}].{field}: {value!r}; want another than modem[{seen[value]}]'s"
                )
            seen.setdefault(value, index)
    if not any(line.startswith(f"{name}: route[") for line in errors):  # what was wrong is taken out by now
        names = {modem.name for modem in config.modem}
        errors += [f"{name}: {line}" for line in mistakes(config.route, names)]
