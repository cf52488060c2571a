from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from appliance.commands import agent, ledger, main
from appliance.exits import Exit


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the commands ask of the appliance; the answers are taken from `answers`."""
    requests: list[dict[str, Any]] = []
    entries = [
        [n, 1_795_327_200_000, "sale", account, santim, "AB3D5F"]
        for n in (1, 2, 3)
        for account, santim in (("agent:+251911000900", 89_000), ("sales", -89_000))
    ]

    def tell(args: Any, request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        if request["op"] == "agent":
            row = {
                "number": "+251911000900", "in_force": True, "has_pin": False, "wrong": 0,
                "locked_until_ms": 0, "holds_santim": 89_050,
            }  # fmt: skip
            agents = [row] if request["do"] == "list" else []
            return {"agents": agents, "pin": "959264", "number": row["number"], "holds_santim": -5}
        later = [row for row in entries if row[0] > request.get("after", 0)]
        return {"balances": [["sales", -89_000]], "entries": later[: request["limit"]], "wrong": []}

    monkeypatch.setattr(agent, "tell", tell)
    monkeypatch.setattr(ledger, "tell", tell)
    return requests


def test_agent_list_tells_cash_and_how_to_set_a_pin(asked: list[Any], capsys: Any) -> None:
    assert main(["agent", "list"]) == Exit.STOPPED
    assert capsys.readouterr().out == (
        "+251911000900    holds         890.50 birr  no PIN: outpost agent pin +251911000900\n"
    )


def test_agent_pin_is_shown_once_or_read_from_standard_input(
    asked: list[Any], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["agent", "pin", "+251911000900"])
    assert capsys.readouterr().out == "959264\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("2580\n"))
    main(["agent", "pin", "+251911000900", "--ask"])
    assert asked[-1]["pin"] == "2580"
    assert "2580" not in capsys.readouterr().out


@pytest.mark.parametrize(("text", "santim"), [("1250", 125_000), ("1,250.50", 125_050), ("-5", -500)])
def test_agent_hand_in_takes_birr_to_the_santim(asked: list[Any], text: str, santim: int) -> None:
    assert main(["agent", "hand-in", "+251911000900", text]) == Exit.STOPPED
    assert asked[-1]["santim"] == santim


@pytest.mark.parametrize("text", ["0", "x", "1.005", ""])
def test_agent_hand_in_refuses_what_is_no_amount(asked: list[Any], text: str) -> None:
    with pytest.raises(SystemExit):
        main(["agent", "hand-in", "+251911000900", text])
    assert asked == []


def test_ledger_csv_pages_never_split_a_transfer(
    asked: list[Any], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAGE", 3)
    assert main(["ledger", "--csv"]) == Exit.STOPPED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 6 and len(set(lines)) == 7
    assert [request["after"] for request in asked] == [0, 1, 2]


def test_ledger_tells_balances_and_that_the_books_are_right(asked: list[Any], capsys: Any) -> None:
    assert main(["ledger"]) == Exit.STOPPED
    assert capsys.readouterr().out.splitlines() == [
        "sales                                -890.00",
        "the books are right",
    ]
