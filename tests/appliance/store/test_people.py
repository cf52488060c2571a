from __future__ import annotations

import json
import sqlite3

import pytest

from appliance.store import people
from appliance.trial import Trial, read_time

ABEBE, SARA = "+251911111111", "+251922222222"


@pytest.fixture
def box():
    """Somebody who booked, chatted, asked and waits; and another one who must not be touched."""
    trial = Trial(
        {"conversation": {"apps": ["booking", "chat", "assistant"]}}, now_ms=read_time("2026-11-22 09:00")
    )
    for person in (ABEBE, SARA):
        for text in ("BOOK ADDIS HAWASSA TOMORROW 2", "YES", "ASK is there wifi", "CHAT"):
            trial.text(person, text)
            trial.db.execute(
                "INSERT INTO inbound (channel, sender, text, received_at_ms, state)"
                " VALUES ('trial', ?, ?, 1, 'handled')",
                (person, text),
            )
        trial.db.execute(
            "INSERT INTO session (sender, app, state, body, expires_at_ms, updated_at_ms)"
            " VALUES (?, '', '', CAST('{}' AS BLOB), 1, 1)",
            (person,),
        )
        trial.db.execute(
            "INSERT INTO asking (asker, came_by, language, words, prompt, facts, state, asked_ms,"
            " deadline_ms, reserved_in, reserved_out, reserved_cost)"
            " VALUES (?, '', 'en', 'why', '[]', '[]', 'told', 1, 2, 0, 0, 0)",
            (person,),
        )
        trial.db.execute("INSERT INTO model_usage VALUES ('2026-11-22', ?, 0, 1, 10, 5, 0)", (person,))
        trial.db.execute(
            "INSERT INTO chat_flag (pair_id, number, at_ms, kind, text)"
            " SELECT max(id), ?, 1, 'masked', 'x' FROM chat_pair HAVING max(id) IS NOT NULL",
            (person,),
        )
    yield trial
    trial.close()


def everything(db: sqlite3.Connection) -> str:
    tables = [
        name
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not name.startswith("knowledge_search")
    ]
    return json.dumps([db.execute(f"SELECT * FROM {table}").fetchall() for table in tables], default=str)


def test_show_counts_what_is_kept(box: Trial) -> None:
    shown = people.show(box.db, ABEBE)
    assert shown["rows"]["booking"] == 1
    assert shown["rows"]["inbound"] == 4
    assert people.show(box.db, "+251900000000")["rows"] == {}


def test_export_tells_the_texts_and_the_bookings(box: Trial) -> None:
    told = people.export(box.db, ABEBE)
    assert told["inbound"][0]["text"] == "BOOK ADDIS HAWASSA TOMORROW 2"
    assert told["booking"][0]["seats"] == 2
    assert SARA not in json.dumps(told)


def test_erase_leaves_no_trace_of_the_number_and_touches_nobody_else(box: Trial) -> None:
    before = people.export(box.db, SARA)
    changed = people.erase(box.db, ABEBE, box.now_ms)
    assert changed["booking"] >= 1
    assert ABEBE not in everything(box.db)
    after = people.export(box.db, SARA)
    assert after == before
    assert box.db.execute("SELECT count(*) FROM chat_member").fetchone() == (0,)
    assert box.db.execute("SELECT count(*) FROM booking WHERE state = 'held'").fetchone() == (1,)
    assert people.erase(box.db, ABEBE, box.now_ms) == {}


def test_erase_keeps_the_stop_of_who_said_it(box: Trial) -> None:
    box.text(ABEBE, "STOP")
    people.erase(box.db, ABEBE, box.now_ms)
    assert people.is_opted_out(box.db, ABEBE)
    assert people.opted_out_among(box.db, [ABEBE, SARA]) == {ABEBE}


def test_opt_in_ends_the_opt_out(box: Trial) -> None:
    box.text(ABEBE, "STOP")
    assert people.is_opted_out(box.db, ABEBE)
    box.text(ABEBE, "START")
    assert not people.is_opted_out(box.db, ABEBE)
