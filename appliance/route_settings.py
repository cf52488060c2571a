"""The part of the configuration that says which ways out there are: `[[route]]` and `[quiet]`.

`config.py` reads it with the rest; `channels/build.py` makes channels of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

__all__ = ["KINDS", "Quiet", "RouteConfig", "mistakes"]

KINDS: Final = ("modem", "africas_talking", "twilio", "geezsms", "template")
# What each kind cannot do without.
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "modem": (),
    "africas_talking": ("username", "api_key"),
    "twilio": ("account_sid", "auth_token"),
    "geezsms": ("token",),
    "template": ("preset",),
}


def _meta(description: str, want: str, **bounds: Any) -> Meta:
    return Meta(description=description, extra={"want": want}, **bounds)


def _text(description: str, want: str) -> Meta:
    return _meta(description, want, max_length=512)


_Lane = Literal["otp", "reply", "normal", "bulk"]
_HOUR: Final = r"^([01]\d|2[0-3]):[0-5]\d$"


class RouteConfig(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[
        str,
        _meta(
            "What the page, the log and a message's trace call it; of kind 'modem' the modem's name.",
            "1 to 32 small letters, digits, - or _, such as 'twilio'",
            pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        ),
    ]
    kind: Annotated[
        Literal["modem", "africas_talking", "twilio", "geezsms", "template"],
        _meta(
            "Whose API it speaks, or that it is one of the modems.",
            "'modem', 'africas_talking', 'twilio', 'geezsms' or 'template'",
        ),
    ]
    prefixes: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^\+\d{0,14}$")], ...],
        _meta("Numbers it serves, by their beginning; empty for all.", "a list such as ['+2519', '+2517']"),
    ] = ()
    prefix_table: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _meta(
            "File with a line 'prefix,price' for each prefix, for tables of thousands; prices in santim.",
            "a file",
        ),
    ] = None
    lanes: Annotated[
        tuple[_Lane, ...],
        _meta(
            "Lanes it serves; empty: all of a modem, all but 'reply' of a provider.",
            "a list of 'otp', 'reply', 'normal' and 'bulk'",
        ),
    ] = ()
    clients: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...],
        _meta("Ids of the clients it serves; empty for all. 0 is the box itself.", "a list of numbers"),
    ] = ()
    price: Annotated[int, _meta("Price of a segment, in santim.", "0 to 100000", ge=0, le=100_000)] = 0
    parallel: Annotated[int, _meta("Requests under way at once, of a provider.", "1 to 64", ge=1, le=64)] = 4
    rate: Annotated[
        float, _meta("Messages a second at most; 0 for no limit.", "0 to 1000", ge=0, le=1000)
    ] = 0.0
    segments_per_minute: Annotated[
        int, _meta("Segments a minute at most; 0 for no limit.", "0 or more", ge=0)
    ] = 0
    segments_per_hour: Annotated[
        int, _meta("Segments an hour at most; 0 for no limit.", "0 or more", ge=0)
    ] = 0
    segments_per_day: Annotated[int, _meta("Segments a day at most; 0 for no limit.", "0 or more", ge=0)] = 0
    segments_per_month: Annotated[
        int, _meta("Segments a month at most; 0 for no limit.", "0 or more", ge=0)
    ] = 0
    recipients_per_day: Annotated[
        int, _meta("Different people a day at most; 0 for no limit.", "0 or more", ge=0)
    ] = 0
    pause_min_s: Annotated[
        float, _meta("Pause between two messages at least, in seconds.", "0 to 3600", ge=0, le=3600)
    ] = 0.0
    pause_max_s: Annotated[
        float,
        _meta(
            "Pause between two messages at most, drawn anew each time, in seconds.",
            "0 to 3600",
            ge=0,
            le=3600,
        ),
    ] = 0.0
    balance_code: Annotated[
        str,
        _meta(
            "Of a modem: USSD code that tells its SIM's balance; empty to hear the operator's texts only.",
            "a code such as '*804#'",
            pattern=r"^$|^[*#][0-9*#]{1,30}#$",
        ),
    ] = ""
    balance_low: Annotated[
        float,
        _meta("Of a modem: balance in birr under which it is an alarm.", "0 to 100000", ge=0, le=100_000),
    ] = 0.0
    balance_floor: Annotated[
        float,
        _meta("Of a modem: balance in birr under which it sends nothing.", "0 to 100000", ge=0, le=100_000),
    ] = 0.0
    balance_every_minutes: Annotated[
        int, _meta("Of a modem: how often its balance is asked for.", "5 to 10080", ge=5, le=10_080)
    ] = 360
    sender: Annotated[
        str, _text("Number, short code or registered name it sends as.", "a sender, such as 'OUTPOST'")
    ] = ""
    username: Annotated[
        str, _text("User name at Africa's Talking; 'sandbox' is their test box.", "a name")
    ] = ""
    api_key: Annotated[str, _text("API key at Africa's Talking.", "a key")] = ""
    account_sid: Annotated[str, _text("Account at Twilio.", "an id that begins with AC")] = ""
    auth_token: Annotated[
        str, _text("Auth token at Twilio, which their callbacks are signed with too.", "a token")
    ] = ""
    messaging_service: Annotated[
        str, _text("Messaging service at Twilio that chooses the sender.", "an id that begins with MG")
    ] = ""
    token: Annotated[str, _text("Token at GeezSMS.", "a token")] = ""
    shortcode_id: Annotated[str, _text("Which short code of GeezSMS sends.", "an id")] = ""
    preset: Annotated[
        str,
        _text(
            "Of kind 'template': the description, by its name in config/providers or by its path.",
            "a name such as 'negarit', or a file",
        ),
    ] = ""
    variables: Annotated[
        dict[str, str],
        _meta("Of kind 'template': what its description asks for.", "a table such as {api_key = '...'}"),
    ] = {}
    url: Annotated[
        str,
        _meta("Where to ask instead of the vendor's own address.", "a URL", pattern=r"^$|^https?://\S+$"),
    ] = ""
    timeout_s: Annotated[
        float, _meta("How long its answer is waited for, in seconds.", "1 to 120", ge=1, le=120)
    ] = 30.0
    callback_secret: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,128}$")] | None,
        _meta(
            "Secret part of the address it reports to; without it no callbacks are taken.",
            "16 to 128 letters, digits, - or _",
        ),
    ] = None
    callback_networks: Annotated[
        tuple[str, ...],
        _meta("Networks its callbacks come from; empty for anywhere.", "a list such as ['192.0.2.0/24']"),
    ] = ()
    public_url: Annotated[
        str,
        _meta(
            "The box's address as the provider sees it; Twilio signs it.",
            "a URL without path, such as 'https://box.example'",
            pattern=r"^$|^https?://[^/\s]+/?$",
        ),
    ] = ""


class Quiet(Struct, frozen=True, forbid_unknown_fields=True):
    from_time: Annotated[
        str,
        _meta("Local time from which the lanes below may be sent.", "a time such as '08:00'", pattern=_HOUR),
    ] = "08:00"
    to_time: Annotated[
        str, _meta("Local time until which they may be sent.", "a time such as '20:00'", pattern=_HOUR)
    ] = "20:00"
    lanes: Annotated[
        tuple[_Lane, ...],
        _meta("Lanes that rest outside of these hours; empty for none.", "a list such as ['bulk', 'normal']"),
    ] = ("bulk",)


def mistakes(routes: Sequence[RouteConfig], modems: Collection[str]) -> list[str]:
    """What only several settings together can get wrong, as lines from `route[0].` on."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for index, route in enumerate(routes):
        where = f"route[{index}]"
        if route.name in seen:
            lines.append(f"{where}.name: {route.name!r}; want another than route[{seen[route.name]}]'s")
        seen.setdefault(route.name, index)
        if route.kind == "modem" and route.name not in modems:
            known = ", ".join(sorted(modems)) or "none"
            lines.append(
                f"{where}.name: {route.name!r}; want the name of a modem, of which there are: {known}"
            )
        if route.kind != "modem" and route.name in modems:
            lines.append(f"{where}.name: {route.name!r}; want another than the modem's")
        lines += [
            f"{where}.{field}: missing; kind {route.kind!r} needs it"
            for field in _NEEDS[route.kind]
            if not getattr(route, field)
        ]
        if route.kind == "twilio" and not route.sender and not route.messaging_service:
            lines.append(f"{where}.sender: missing; want it or messaging_service")
        if route.pause_max_s < route.pause_min_s:
            lines.append(f"{where}.pause_max_s: {route.pause_max_s:g}; want at least pause_min_s")
        for network in route.callback_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                lines.append(f"{where}.callback_networks: {network!r}; want a network such as '192.0.2.0/24'")
    return lines
