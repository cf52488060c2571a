"""From configuration to running routes: a channel, a rule and a callback address of each `[[route]]`."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from appliance.channels.africas_talking import AfricasTalking
from appliance.channels.callbacks import Endpoint
from appliance.channels.geezsms import GeezSms
from appliance.channels.http import HttpChannel
from appliance.channels.provider import PresetError, Provider
from appliance.channels.template import Template
from appliance.channels.twilio import Twilio
from appliance.message import Lane
from appliance.outbound.allowance import Limits, QuietHours
from appliance.outbound.balance import BalanceErrors, BalanceRule, load_balances
from appliance.outbound.router import ANY_MODEM, RouteRule
from appliance.route_settings import Quiet, RouteConfig

__all__ = ["Route", "build_routes", "quiet_hours", "read_prefix_table"]

# A text from a provider cannot be answered as a rule, so dialogues stay with the modems unless told so.
_PROVIDER_LANES: Final = frozenset({Lane.OTP, Lane.NORMAL, Lane.BULK})
MODEM_PREFIX: Final = "modem:"


@dataclass(frozen=True, slots=True)
class Route:
    """What one `[[route]]` comes to. channel, endpoint: None of a modem, which others make."""

    rule: RouteRule
    limits: Limits
    parallel: int
    channel: HttpChannel | None = None
    endpoint: Endpoint | None = None


def build_routes(
    routes: Sequence[RouteConfig],
    modems: Collection[str],
    session: aiohttp.ClientSession | None,
    *,
    region: str,
) -> list[Route]:
    """Make everything of the `[[route]]` tables. Raises PresetError with a line that names the route.

    modems: names of the configured modems; those without a table of their own form the route "any modem",
    first in the list. Without any table the list is empty and nothing is routed. session: None to check only.
    """
    built: list[Route] = []
    spoken_for = {route.name for route in routes if route.kind == "modem"}
    if routes and set(modems) - spoken_for:
        built.append(Route(RouteRule(ANY_MODEM), Limits(), 1))
    for config in routes:
        try:
            built.append(_build(config, session, region, has_modems=bool(modems)))
        except PresetError as error:
            raise PresetError(f"route {config.name!r}: {error}") from error
    return built


def _build(
    config: RouteConfig, session: aiohttp.ClientSession | None, region: str, *, has_modems: bool
) -> Route:
    is_modem = config.kind == "modem"
    lanes = _PROVIDER_LANES if has_modems and not is_modem else frozenset(Lane)
    provider = None if is_modem else _provider(config, region)
    rule = RouteRule(
        name=MODEM_PREFIX + config.name if is_modem else config.name,
        prefixes=_prefixes(config),
        lanes=frozenset(map(Lane, config.lanes)) or lanes,
        clients=frozenset(config.clients),
        longest=provider.longest if provider is not None else 0,
        replies=is_modem or Lane.REPLY in config.lanes,
    )
    if provider is None:
        return Route(rule, _limits(config), 1)
    networks = tuple(ipaddress.ip_network(network) for network in config.callback_networks)
    secret = config.callback_secret or ""
    endpoint = Endpoint(config.name, provider, secret, config.public_url, networks) if secret else None
    channel = None
    if session is not None:
        channel = HttpChannel(config.name, provider, session, timeout_s=config.timeout_s)
    return Route(rule, _limits(config), config.parallel, channel, endpoint)


def _provider(config: RouteConfig, region: str) -> Provider:
    match config.kind:
        case "africas_talking":
            return AfricasTalking(
                username=config.username,
                api_key=config.api_key,
                sender=config.sender,
                url=config.url,
                region=region,
            )
        case "twilio":
            report_url = ""
            if config.public_url and config.callback_secret:
                base = config.public_url.rstrip("/")
                report_url = f"{base}/callbacks/{config.name}/{config.callback_secret}/report"
            return Twilio(
                account_sid=config.account_sid,
                auth_token=config.auth_token,
                sender=config.sender,
                messaging_service=config.messaging_service,
                report_url=report_url,
                url=config.url,
                region=region,
            )
        case "geezsms":
            return GeezSms(
                token=config.token, shortcode_id=config.shortcode_id, url=config.url, region=region
            )
        case _:
            return Template(
                config.preset,
                variables=config.variables,
                sender=config.sender,
                region=region,
                url=config.url,
            )


def _limits(config: RouteConfig) -> Limits:
    segments = {
        "minute": config.segments_per_minute,
        "hour": config.segments_per_hour,
        "day": config.segments_per_day,
        "month": config.segments_per_month,
    }
    return Limits(
        segments={period: limit for period, limit in segments.items() if limit},
        recipients_per_day=config.recipients_per_day or None,
        pause_s=(config.pause_min_s, config.pause_max_s),
        rate=config.rate or None,
        balance=_balance(config),
    )


def _balance(config: RouteConfig) -> BalanceRule | None:
    if not (config.balance_code or config.balance_low or config.balance_floor):
        return None
    try:
        load_balances()
    except BalanceErrors as error:
        raise PresetError(str(error)) from error
    return BalanceRule(
        config.balance_code,
        round(config.balance_low * 100),
        round(config.balance_floor * 100),
        config.balance_every_minutes * 60.0,
    )


def _prefixes(config: RouteConfig) -> dict[str, int]:
    found = dict.fromkeys(config.prefixes, config.price)
    if config.prefix_table is not None:
        found |= read_prefix_table(Path(config.prefix_table), config.price)
    return found or {"": config.price}


def read_prefix_table(path: Path, price: int) -> dict[str, int]:
    """Prefixes of a file with lines `+2519,35`: santim a segment, or `price` where a line has none.

    Empty lines, lines after `#` and a heading are passed over. Raises PresetError with file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"{path.name}: cannot be read: {error}") from error
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        prefix, _, cost = (field.strip() for field in line.partition("#")[0].partition(","))
        if not prefix or (number == 1 and not prefix.lstrip("+").isdigit()):
            continue
        prefix = prefix if prefix.startswith("+") else "+" + prefix
        if not prefix[1:].isascii() or not prefix[1:].isdigit() or (cost and not cost.isdecimal()):
            raise PresetError(f"{path.name}: line {number}: {line!r}; want PREFIX,PRICE such as '+2519,35'")
        found[prefix] = int(cost) if cost else price
    return found


def quiet_hours(quiet: Quiet, timezone_minutes: int) -> QuietHours | None:
    """The hours at which lanes rest, None when none does."""
    if not quiet.lanes:
        return None

    def minutes(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    lanes = frozenset(map(Lane, quiet.lanes))
    return QuietHours(minutes(quiet.from_time), minutes(quiet.to_time), lanes, timezone_minutes)
