"""Who may call, and what a foreign page may not make a browser do."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from appliance.web.access import same_secret
from appliance.web.guesses import GUESSES, WINDOW_S, Guesses
from appliance.web.prefer import wait_preference

URL = "/api/sms/incoming"
SMS = {"from": "+251911234567", "message": "HELP"}
TOKEN = "a-token-of-sixteen-or-more"
ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}  # a proxy on this machine speaks for somebody else


async def test_sender_elsewhere_without_a_token_configured_is_403(bench: Any) -> None:
    assert (await bench.client.post(URL, json=SMS, headers=ELSEWHERE)).status == 403
    assert not bench.store.accepted


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
async def test_sender_elsewhere_without_the_right_token_is_401(
    make_bench: Any, authorization: str | None
) -> None:
    bench = await make_bench(incoming_token=TOKEN)
    headers = ELSEWHERE | ({"Authorization": authorization} if authorization is not None else {})
    answer = await bench.client.post(URL, json=SMS, headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not bench.store.accepted


async def test_sender_elsewhere_with_the_token_is_let_in_under_any_host_name(make_bench: Any) -> None:
    bench = await make_bench(incoming_token=TOKEN)
    headers = ELSEWHERE | {"Authorization": f"bearer {TOKEN}", "Host": "sms.example.org"}
    assert (await bench.client.post(URL, json=SMS, headers=headers)).status == 202


async def test_sender_here_needs_no_token_but_must_not_show_a_wrong_one(make_bench: Any) -> None:
    bench = await make_bench(incoming_token=TOKEN)
    assert (await bench.client.post(URL, json=SMS)).status == 202
    wrong = {"Authorization": "Bearer wrong"}
    assert (await bench.client.post(URL, json=SMS, headers=wrong)).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_sender_here_speaking_for_another_site_is_403(bench: Any, headers: dict[str, str]) -> None:
    assert (await bench.client.post(URL, json=SMS, headers=headers)).status == 403
    assert not bench.store.accepted


async def test_sender_here_from_our_own_page_is_let_in(bench: Any) -> None:
    origin = str(bench.client.make_url("")).rstrip("/")
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert (await bench.client.post(URL, json=SMS, headers=headers)).status == 202


@pytest.mark.parametrize("path", ["/", "/metrics", "/events", "/messages/in/1"])
async def test_page_under_a_name_nobody_gave_us_is_421(bench: Any, path: str) -> None:
    assert (await bench.client.get(path, headers={"Host": "rebound.example:80"})).status == 421


@pytest.mark.parametrize(
    "host", ["localhost:1", "127.0.0.1", "[::1]:8080", "outpost.local", "outpost", "b.example"]
)
async def test_page_under_an_address_or_a_name_of_ours_is_shown(make_bench: Any, host: str) -> None:
    bench = await make_bench(hosts=frozenset({"b.example"}))
    assert (await bench.client.get("/", headers={"Host": host})).status == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/events", "/people/+251911234567"])
async def test_page_elsewhere_without_a_password_configured_is_403(bench: Any, path: str) -> None:
    assert (await bench.client.get(path, headers=ELSEWHERE)).status == 403


async def test_page_elsewhere_asks_for_the_password_and_takes_it(make_bench: Any) -> None:
    bench = await make_bench(page_password="open-sesame")
    asked = await bench.client.get("/", headers=ELSEWHERE)
    assert asked.status == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic")
    for password, status in (("open-sesame", 200), ("open-sesam", 401), ("", 401)):
        headers = ELSEWHERE | {"Authorization": aiohttp.encode_basic_auth("anybody", password)}
        assert (await bench.client.get("/", headers=headers)).status == status
    nonsense = ELSEWHERE | {"Authorization": "Basic !!!"}
    assert (await bench.client.get("/", headers=nonsense)).status == 401


async def test_page_password_cannot_be_found_by_trying(make_bench: Any) -> None:
    now = 0.0
    guesses = Guesses(lambda: now)
    bench = await make_bench(page_password="open-sesame", guesses=guesses)

    async def look(password: str, address: str = "192.0.2.1") -> int:
        headers = {"Authorization": aiohttp.encode_basic_auth("x", password), "X-Forwarded-For": address}
        async with bench.client.get("/", headers=headers) as answer:
            if answer.status == 429:
                assert answer.headers["Retry-After"] == str(int(WINDOW_S - now))
            return answer.status

    assert await look("wrong") == 401
    assert await look("open-sesame") == 200  # and what was wrong before is forgotten
    for _ in range(GUESSES):
        assert await look("wrong") == 401
    assert await look("open-sesame") == 429
    assert await look("open-sesame", "192.0.2.2") == 200  # nobody else has to wait
    assert await look("open-sesame", "192.0.2.9, 192.0.2.1") == 429  # the proxy says it, not the caller
    now += WINDOW_S
    assert await look("open-sesame") == 200


def test_guesses_from_one_ipv6_network_are_one_callers() -> None:
    guesses = Guesses(lambda: 0.0)
    for number in range(GUESSES):
        guesses.wrong(f"2001:db8::{number}")
    assert guesses.wait_s("2001:db8::ffff") == WINDOW_S
    assert guesses.wait_s("2001:db8:1::1") == 0


def test_secret_that_is_not_set_matches_nothing() -> None:
    assert not same_secret("", "")
    assert not same_secret("x", "")
    assert same_secret("x", "x")


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["wait=5"], 5),
        (["respond-async, wait=10"], 10),
        (["respond-async", 'Wait = "3"; foo=1'], 3),
        (["wait=99999"], 60),
        (["wait=0"], 0),
        (["wait=soon"], None),
        (["await=5"], None),
        (["wait"], None),
        ([], None),
    ],
)
def test_prefer_header_gives_the_seconds_to_wait(values: list[str], seconds: int | None) -> None:
    assert wait_preference(values) == seconds
