from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from appliance import logs


def record(message: str, *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("t").makeRecord("t", level, "f", 1, message, args, None, extra=extra)
    return made


def json_of(made: logging.LogRecord) -> tuple[str, dict[str, object]]:
    line = logs.JsonFormatter().format(made)
    assert "\n" not in line
    return line[:3], json.loads(line[3:])


def test_json_line_carries_priority_level_and_extras() -> None:
    priority, line = json_of(record("hung %d s", 3, level=logging.ERROR, modem="m0", attempts=2))
    assert priority == "<3>"
    assert (line["message"], line["level"], line["modem"], line["attempts"]) == ("hung 3 s", "error", "m0", 2)


@pytest.mark.parametrize("number", ["+251911234567", "251911234567", "0911234567"])
def test_number_in_a_message_or_a_field_loses_its_middle(number: str) -> None:
    _, line = json_of(record("text from %s", number, sender=number, seen=[number]))
    assert number not in json.dumps(line, ensure_ascii=False)
    assert str(line["sender"]).endswith(number[-3:])


def test_text_and_secrets_are_never_logged() -> None:
    _, line = json_of(record("in", text="BOOK ADDIS", pin="1234", detail={"token": "abcdef", "body": "ሰላም"}))
    assert line["text"] == "[10 characters]"
    assert line["pin"] == "******"
    assert line["detail"] == {"token": "******", "body": "[3 characters]"}


def test_times_and_ids_are_left_alone() -> None:
    assert logs.mask("row 17 at 1732284000.123 took 0.25 s") == "row 17 at 1732284000.123 took 0.25 s"


def test_traceback_is_in_the_same_line_and_masked() -> None:
    try:
        raise ValueError("no such person +251911234567")
    except ValueError as error:
        made = record("fault")
        made.exc_info = (ValueError, error, error.__traceback__)
    _, line = json_of(made)
    assert "ValueError" in str(line["traceback"])
    assert "+251911234567" not in str(line["traceback"])


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
    root.setLevel(level)


def test_setup_twice_writes_each_line_once(restored: None) -> None:
    out = io.StringIO()
    logs.setup("info", stream=out, plain=True)
    stop = logs.setup("warning", stream=out, plain=True)
    logging.getLogger("t").info("quiet")
    logging.getLogger("t").warning("loud", extra={"modem": "m0"})
    stop()
    assert out.getvalue().count("\n") == 1
    assert "loud modem=m0" in out.getvalue()
