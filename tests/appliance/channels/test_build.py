from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.channels.build import Route, build_routes, quiet_hours, read_prefix_table
from appliance.channels.provider import PRESETS, PresetError
from appliance.message import Lane
from appliance.outbound.balance import BalanceRule
from appliance.outbound.router import Ask, Router
from appliance.route_settings import Quiet, RouteConfig, mistakes

ROOT = Path(__file__).parents[3]
AT = {"name": "at", "kind": "africas_talking", "username": "sandbox", "api_key": "k"}
TWILIO = {"name": "tw", "kind": "twilio", "account_sid": "AC1", "auth_token": "t", "sender": "OUTPOST"}


def config(**settings: Any) -> RouteConfig:
    return msgspec.convert(settings, RouteConfig)


def build(*routes: dict[str, Any], modems: tuple[str, ...] = ("modem0",), session: Any = None) -> list[Route]:
    return build_routes([config(**route) for route in routes], modems, session, region="ET")


def test_modems_without_a_table_are_the_route_any_modem_and_come_first() -> None:
    assert [route.rule.name for route in build(AT)] == ["", "at"]
    assert [route.rule.name for route in build(AT, {"name": "modem0", "kind": "modem"})] == [
        "at",
        "modem:modem0",
    ]
    assert [route.rule.name for route in build(AT, modems=())] == ["at"]
    assert build() == []


def test_provider_serves_no_dialogues_unless_told() -> None:
    [_, route] = build(AT)
    assert Lane.REPLY not in route.rule.lanes
    assert not route.rule.replies
    [_, told] = build(AT | {"lanes": ["reply", "otp"]})
    assert told.rule.lanes == {Lane.REPLY, Lane.OTP}
    assert told.rule.replies


def test_text_too_long_for_a_provider_is_known_to_the_router() -> None:
    [_, route] = build({"name": "geez", "kind": "geezsms", "token": "t"})
    choice = Router([route.rule]).choose(Ask("+251911234567", "normal", characters=336))
    assert choice.route is None


def test_box_without_modems_answers_by_its_providers() -> None:
    [route] = build(AT, modems=())
    assert Lane.REPLY in route.rule.lanes


def test_balance_of_a_modem_is_asked_only_where_a_setting_wants_it() -> None:
    modem = {"name": "modem0", "kind": "modem"}
    assert build(modem)[0].limits.balance is None
    [route] = build(modem | {"balance_code": "*804#", "balance_floor": 5.25, "balance_every_minutes": 60})
    assert route.limits.balance == BalanceRule("*804#", low=0, floor=525, every_s=3600.0)


def test_limits_that_are_0_are_none() -> None:
    [_, route] = build(AT | {"segments_per_day": 200, "rate": 5, "pause_max_s": 3})
    assert route.limits.segments == {"day": 200}
    assert (route.limits.rate, route.limits.pause_s, route.limits.recipients_per_day) == (
        5.0,
        (0.0, 3.0),
        None,
    )


@pytest.mark.parametrize(
    "route",
    [
        AT,
        TWILIO,
        {"name": "geez", "kind": "geezsms", "token": "t"},
        {
            "name": "neg",
            "kind": "template",
            "preset": "negarit",
            "variables": {"api_key": "k", "campaign_id": "1"},
        },
    ],
)
async def test_each_kind_becomes_a_channel(session, route: dict[str, Any]) -> None:
    [_, built] = build(route | {"callback_secret": "0123456789abcdef"}, session=session)
    assert built.channel is not None
    assert built.channel.routes == (route["name"],)
    assert built.endpoint is not None


def test_without_a_secret_there_are_no_callbacks() -> None:
    assert build(AT)[1].endpoint is None


def test_twilio_is_told_where_to_report(make_claim) -> None:
    secret = "0123456789abcdef"
    [_, built] = build(TWILIO | {"callback_secret": secret, "public_url": "https://box.example/"})
    assert built.endpoint is not None
    request = built.endpoint.provider.request(make_claim())
    assert f"https%3A%2F%2Fbox.example%2Fcallbacks%2Ftw%2F{secret}%2Freport".encode() in request.body


def test_preset_that_cannot_be_used_names_its_route() -> None:
    with pytest.raises(PresetError, match=r"route 'x': nowhere\.toml: cannot be read"):
        build({"name": "x", "kind": "template", "preset": "nowhere"})


def test_prefix_table_gives_each_prefix_its_price(tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    table.write_text("prefix,price\n+2519,35\n2517 , 40 # Safaricom\n\n+1\n")
    assert read_prefix_table(table, 12) == {"+2519": 35, "+2517": 40, "+1": 12}
    [_, route] = build(AT | {"prefix_table": str(table), "price": 12})
    assert Router([route.rule]).choose(Ask("+251911234567", "normal", segments=2)).price_santim == 70


@pytest.mark.parametrize("line", ["+25x,1", "+251,1.5", "+251,-1", "+٢٥١,1"])
def test_prefix_table_with_a_mistake_names_the_line(tmp_path: Path, line: str) -> None:
    table = tmp_path / "prices.csv"
    table.write_text(f"+1,1\n{line}\n")
    with pytest.raises(PresetError, match=r"prices\.csv: line 2"):
        read_prefix_table(table, 0)


def test_quiet_hours_of_the_configuration() -> None:
    hours = quiet_hours(Quiet(from_time="07:30", to_time="21:00"), 180)
    assert hours is not None
    assert (hours.start, hours.end, hours.lanes) == (450, 1260, {"bulk"})
    assert quiet_hours(Quiet(lanes=()), 180) is None


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ([AT, AT], "route[1].name: 'at'; want another than route[0]'s"),
        ([{"name": "gsm9", "kind": "modem"}], "of which there are: modem0"),
        ([AT | {"name": "modem0"}], "want another than the modem's"),
        ([{"name": "x", "kind": "geezsms"}], "route[0].token: missing; kind 'geezsms' needs it"),
        ([{**TWILIO, "sender": ""}], "route[0].sender: missing; want it or messaging_service"),
        ([AT | {"pause_min_s": 3}], "route[0].pause_max_s: 0; want at least pause_min_s"),
        ([AT | {"callback_networks": ["here"]}], "want a network such as"),
    ],
)
def test_mistakes_are_told_in_one_line(routes: list[dict[str, Any]], said: str) -> None:
    lines = mistakes([config(**route) for route in routes], {"modem0"})
    assert len(lines) == 1
    assert said in lines[0]


def test_every_preset_that_ships_can_be_read() -> None:
    for path in PRESETS.glob("*.toml"):
        assert tomllib.loads(path.read_text(encoding="utf-8"))


def test_examples_of_the_document_are_valid() -> None:
    """Each [[route]] that docs/providers.md shows is one that works when pasted."""
    text = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    shown = [block.split("```")[0] for block in text.split("```toml")[1:]]
    routes = [route for block in shown for route in tomllib.loads(block).get("route", [])]
    assert {route["kind"] for route in routes} == {
        "modem",
        "africas_talking",
        "twilio",
        "geezsms",
        "template",
    }
    for route in routes:
        one = config(**route)
        assert mistakes([one], {"modem0"}) == []
        if one.prefix_table is None and "/" not in one.preset:
            build_routes([one], {"modem0"}, None, region="ET")
