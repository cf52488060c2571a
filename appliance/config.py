"""The configuration: one TOML file, typed, every mistake told at once.

Each setting carries its type, its bounds, the words that an error uses ("want 9600 to 921600") and its
description; docs/configuration.md is checked against them by a test. The environment can overlay any
setting: OUTPOST__HTTP__LISTEN=..., OUTPOST__MODEM__0__PORT=... (lists by commas).
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from appliance.route_settings import Quiet, RouteConfig, mistakes

__all__ = [
    "Booking",
    "Config",
    "ConfigErrors",
    "Conversation",
    "Http",
    "Log",
    "ModemConfig",
    "Payments",
    "Setting",
    "Workers",
    "load",
    "parse",
    "settings",
]

ENV_PREFIX: Final = "OUTPOST__"
_HERE: Final = Path(__file__).parent


def _meta(description: str, want: str, **bounds: Any) -> Meta:
    return Meta(description=description, extra={"want": want}, **bounds)


_NUMBER = _meta("", "a number in international form, such as '+251911234567'", pattern=r"^\+[1-9]\d{6,14}$")


class Http(Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[
        str,
        _meta("Address and port of the page and the HTTP API.", "ADDRESS:PORT, such as '127.0.0.1:8080'"),
    ] = "127.0.0.1:8080"
    incoming_token: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,128}$")] | None,
        _meta(
            "Bearer token for /api/sms/incoming; without it only programs on this machine may post.",
            "16 to 128 letters, digits, - or _",
        ),
    ] = None
    page_password: Annotated[
        Annotated[str, Meta(pattern=r"^[\x21-\x7e]{8,128}$")] | None,
        _meta(
            "What the page asks browsers elsewhere for; without it only this machine can open the page.",
            "8 to 128 characters without blanks",
        ),
    ] = None
    hosts: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]+$")], ...],
        _meta(
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
        _meta(
            "What the page, the log and the routes call it.",
            "1 to 32 small letters, digits, - or _, such as 'modem0'",
            pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        ),
    ]
    port: Annotated[
        str,
        _meta(
            "Device file of the modem's AT port, best one under /dev/serial: those stay the same after a"
            " power cut. 'auto' looks for a modem that answers, 'auto:/dev/ttyUSB*' among these files.",
            "a device file, such as '/dev/serial/by-path/...', or 'auto'",
            pattern=r"^(/.+|auto(:/.+)?)$",
        ),
    ]
    baud: Annotated[
        int,
        _meta("Speed of the serial line; USB modems do not care.", "9600 to 921600", ge=9600, le=921_600),
    ] = 115_200
    pin: Annotated[
        Annotated[str, Meta(pattern=r"^\d{4,8}$")] | None,
        _meta("PIN of the SIM, if it asks for one.", "4 to 8 digits in quotes"),
    ] = None
    smsc: Annotated[
        Annotated[str, Meta(pattern=r"^\+[1-9]\d{4,14}$")] | None,
        _meta(
            "Number of the SMS centre; without it the one on the SIM is used.",
            "a number in international form, such as '+251911299708'",
        ),
    ] = None
    profile: Annotated[
        str,
        _meta(
            "Which family's habits to expect; 'auto' asks the modem who it is.",
            "'auto' or a profile's name",
            pattern=r"^[a-z0-9][a-z0-9_-]*$",
        ),
    ] = "auto"
    imei: Annotated[
        Annotated[str, Meta(pattern=r"^\d{15}$")] | None,
        _meta("With port 'auto': only the modem with this serial number.", "15 digits in quotes"),
    ] = None
    iccid: Annotated[
        Annotated[str, Meta(pattern=r"^\d{18,20}$")] | None,
        _meta("With port 'auto': only the SIM with this number.", "18 to 20 digits in quotes"),
    ] = None
    ussd_allow: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[*#0-9]{2,20}$")], ...],
        _meta("Codes that `outpost ussd` may ask the network by.", "a list of codes, such as ['*804#']"),
    ] = ()
    canary_number: Annotated[
        Annotated[str, _NUMBER] | None,
        _meta(
            "Own number that a modem texts when nothing has gone through it for long, to see that it can.",
            "a number in international form, such as '+251911234567'",
        ),
    ] = None
    canary_s: Annotated[
        int,
        _meta("How long nothing has to go through it, in seconds.", "600 to 604800", ge=600, le=604_800),
    ] = 21_600


class Workers(Struct, frozen=True, forbid_unknown_fields=True):
    min: Annotated[int, _meta("Worker processes that always run.", "1 to 32", ge=1, le=32)] = 1
    max: Annotated[int, _meta("Worker processes at most, when the queue grows.", "1 to 32", ge=1, le=32)] = 2


class Conversation(Struct, frozen=True, forbid_unknown_fields=True):
    default_app: Annotated[
        str, _meta("The conversation that answers who asks for no other.", "the name of a conversation")
    ] = "booking"
    languages: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")], ...],
        _meta(
            "Languages spoken, the first one to strangers.",
            "a list of languages that have phrases, such as ['en', 'am']",
            min_length=1,
        ),
    ] = ("en", "am")
    region: Annotated[
        str,
        _meta(
            "Country whose short numbers people write.",
            "two capital letters, such as 'ET'",
            pattern=r"^[A-Z]{2}$",
        ),
    ] = "ET"
    timezone_minutes: Annotated[
        int, _meta("Local time ahead of UTC, in minutes.", "-720 to 840", ge=-720, le=840)
    ] = 180
    session_minutes: Annotated[
        int,
        _meta("A conversation ends so long after the last text, in minutes.", "1 to 1440", ge=1, le=1440),
    ] = 15


class Payments(Struct, frozen=True, forbid_unknown_fields=True):
    agents: Annotated[
        tuple[Annotated[str, _NUMBER], ...],
        _meta(
            "Numbers whose PAY texts count as cash taken at the counter.",
            "a list of numbers in international form, such as ['+251911234567']",
        ),
    ] = ()


class Booking(Struct, frozen=True, forbid_unknown_fields=True):
    timetable: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _meta("Folder with the timetable's tables; without it the sample timetable is used.", "a folder"),
    ] = None
    seats_per_bus: Annotated[
        int, _meta("Seats of a departure that names no number.", "1 to 200", ge=1, le=200)
    ] = 45
    hold_minutes: Annotated[
        int, _meta("Seats are held unpaid so long, in minutes.", "1 to 2880", ge=1, le=2880)
    ] = 30
    refund_hours: Annotated[
        int,
        _meta(
            "A paid ticket given back at least so long before departure is refunded, in hours.",
            "0 to 720",
            ge=0,
            le=720,
        ),
    ] = 24
    refund_percent: Annotated[
        int, _meta("So much of its price is refunded, in percent.", "0 to 100", ge=0, le=100)
    ] = 80


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    level: Annotated[
        typing.Literal["debug", "info", "warning", "error"],
        _meta("How much is logged.", "'debug', 'info', 'warning' or 'error'"),
    ] = "info"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the appliance is told. Relative folders count from the file's own folder."""

    data_dir: Annotated[
        str,
        _meta("Folder of the database and everything else that is kept.", "a folder", min_length=1),
    ] = "/var/lib/outpost"
    http: Http = Http()
    modem: tuple[ModemConfig, ...] = ()
    route: tuple[RouteConfig, ...] = ()
    quiet: Quiet = Quiet()
    workers: Workers = Workers()
    conversation: Conversation = Conversation()
    payments: Payments = Payments()
    booking: Booking = Booking()
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


class Setting(Struct, frozen=True):
    """One setting as the documentation has to name it: `http.listen`, `modem[].port` ..."""

    path: str
    description: str
    want: str
    default: Any  # msgspec.NODEFAULT: has to be given


class _FromEnv(str):
    """A value that came by the environment: text, whatever the setting's type. `source`: its variable."""

    __slots__ = ("source",)
    source: str


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
    _overlay(tree, env or {}, errors)
    _check_struct(Config, tree, "", name, errors)
    if not errors:
        _check_across(msgspec.convert(tree, Config, strict=False), name, errors)
    if errors:
        raise ConfigErrors(errors)
    config = msgspec.convert(tree, Config, strict=False)
    timetable = config.booking.timetable
    return msgspec.structs.replace(
        config,
        data_dir=_absolute(config.data_dir, folder),
        booking=msgspec.structs.replace(
            config.booking, timetable=None if timetable is None else _absolute(timetable, folder)
        ),
        route=tuple(_route_from(folder, route) for route in config.route),
    )


def settings() -> Iterator[Setting]:
    """Every setting there is, in the file's order."""
    yield from _settings(Config, "")


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


# -- the walk over the tree: msgspec stops at the first mistake, an operator wants all of them


def _fields(struct: type[Struct]) -> dict[str, tuple[msgspec.structs.FieldInfo, Any]]:
    """Field by name: msgspec's information and the type with its Meta."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {field.name: (field, hints[field.name]) for field in msgspec.structs.fields(struct)}


def _own_meta(hint: Any) -> Meta | None:
    return next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Meta)), None)


def _want(hint: Any) -> str:
    meta = _own_meta(hint)
    return str(meta.extra["want"]) if meta is not None and meta.extra else "another kind of value"


def _struct_of(hint: Any) -> type[Struct] | None:
    return hint if isinstance(hint, type) and issubclass(hint, Struct) else None


def _table_of(hint: Any) -> type[Struct] | None:
    """The Struct in a tuple[Struct, ...], which TOML writes as [[table]]."""
    return _struct_of(typing.get_args(hint)[0]) if typing.get_origin(hint) is tuple else None


def _is_list(hint: Any) -> bool:
    return typing.get_origin(typing.get_args(hint)[0] if _own_meta(hint) else hint) is tuple


def _check_struct(struct: type[Struct], tree: Any, path: str, name: str, errors: list[str]) -> None:
    if not isinstance(tree, dict):
        errors.append(f"{name}: {path.rstrip('.')}: {tree!r}; want a table of settings")
        return
    fields = _fields(struct)
    for key, value in tree.items():
        if key not in fields:
            shown = value.source if isinstance(value, _FromEnv) else f"{name}: {path}{key}"
            errors.append(f"{shown}: unknown; want one of {', '.join(fields)}")
            continue
        hint = fields[key][1]
        nested, table = _struct_of(hint), _table_of(hint)
        if nested is not None:
            _check_struct(nested, value, f"{path}{key}.", name, errors)
        elif table is not None:
            if not isinstance(value, list):
                errors.append(f"{name}: {path}{key}: {value!r}; want tables, each begun by [[{path}{key}]]")
                continue
            for index, item in enumerate(value):
                _check_struct(table, item, f"{path}{key}[{index}].", name, errors)
        else:
            _check_value(hint, value, f"{path}{key}", name, errors)
    for key, (field, hint) in fields.items():
        if field.required and key not in tree:
            errors.append(f"{name}: {path}{key}: missing; want {_want(hint)}")


# The values of these never stand in an error, which people paste into questions.
_SECRETS: Final = (".pin", "token", "_password", "_key", "_secret", ".variables")


def _check_value(hint: Any, value: Any, path: str, name: str, errors: list[str]) -> None:
    from_env = isinstance(value, _FromEnv) or (
        isinstance(value, list) and any(isinstance(v, _FromEnv) for v in value)
    )
    try:
        msgspec.convert(value, hint, strict=not from_env)
    except msgspec.ValidationError:
        source = value.source if isinstance(value, _FromEnv) else f"{name}: {path}"
        shown = "******" if path.endswith(_SECRETS) else repr(value)
        errors.append(f"{source}: {shown}; want {_want(hint)}")
        return
    if path == "http.listen" and not _is_listen(str(value)):
        source = value.source if isinstance(value, _FromEnv) else f"{name}: {path}"
        errors.append(f"{source}: {value!r}; want {_want(hint)}")


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


def _check_across(config: Config, name: str, errors: list[str]) -> None:
    """What only two settings together can get wrong, and what other files decide."""
    if config.workers.max < config.workers.min:
        least, most = config.workers.min, config.workers.max
        errors.append(f"{name}: workers.max: {most}; want at least workers.min, which is {least}")
    for field in ("name", "port"):
        seen: dict[str, int] = {}
        for index, modem in enumerate(config.modem):
            value = getattr(modem, field)
            if value in seen:
                errors.append(
                    f"{name}: modem[{index}].{field}: {value!r}; want another than modem[{seen[value]}]'s"
                )
            seen.setdefault(value, index)
    errors += [f"{name}: {line}" for line in mistakes(config.route, {modem.name for modem in config.modem})]
    apps = sorted(p.name for p in (_HERE / "apps").iterdir() if (p / "__init__.py").is_file())
    app = config.conversation.default_app
    if apps and app not in apps:
        errors.append(f"{name}: conversation.default_app: {app!r}; want one of {', '.join(apps)}")


# -- the environment


def _overlay(tree: dict[str, Any], env: Mapping[str, str], errors: list[str]) -> None:
    """Lay OUTPOST__A__B=value over the tree. A number in the path is an index of [[a]]."""
    for variable in sorted(v for v in env if v.startswith(ENV_PREFIX)):
        keys = variable[len(ENV_PREFIX) :].lower().split("__")
        hint: Any = Config
        node: Any = tree
        for key in keys[:-1]:
            node, hint = _step(node, hint, key)
            if node is None:
                break
        struct = _struct_of(hint)
        if node is None or not isinstance(node, dict) or struct is None or keys[-1] not in _fields(struct):
            errors.append(f"{variable}: unknown; want the name of a setting, such as OUTPOST__HTTP__LISTEN")
            continue
        leaf = _fields(struct)[keys[-1]][1]
        if _struct_of(leaf) is not None or _table_of(leaf) is not None:
            errors.append(f"{variable}: a group; want the name of a setting in it")
            continue
        node[keys[-1]] = _env_value(env[variable], variable, is_list=_is_list(leaf))


def _step(node: Any, hint: Any, key: str) -> tuple[Any, Any]:
    """One level down for one part of a variable's name; (None, None) when there is no such level."""
    table = _table_of(hint)
    if table is not None:
        if not isinstance(node, list) or not key.isdigit() or int(key) > len(node):
            return None, None
        if int(key) == len(node):  # one more [[modem]] than the file has
            node.append({})
        return node[int(key)], table
    struct = _struct_of(hint)
    if struct is None or not isinstance(node, dict) or key not in _fields(struct):
        return None, None
    below = _fields(struct)[key][1]
    empty: Any = [] if _table_of(below) is not None else {}
    return node.setdefault(key, empty), below


def _env_value(text: str, variable: str, *, is_list: bool) -> Any:
    def marked(part: str) -> _FromEnv:
        value = _FromEnv(part)
        value.source = variable
        return value

    return [marked(p.strip()) for p in text.split(",") if p.strip()] if is_list else marked(text)


def _settings(struct: type[Struct], path: str) -> Iterator[Setting]:
    for key, (field, hint) in _fields(struct).items():
        nested, table = _struct_of(hint), _table_of(hint)
        if nested is not None:
            yield from _settings(nested, f"{path}{key}.")
        elif table is not None:
            yield from _settings(table, f"{path}{key}[].")
        else:
            meta = _own_meta(hint)
            assert meta is not None and meta.description, f"{path}{key} has no description"
            yield Setting(f"{path}{key}", meta.description, _want(hint), field.default)
