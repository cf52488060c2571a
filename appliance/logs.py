"""Logging: one JSON line a record on stderr, written off the loop, with people's data masked.

systemd reads the "<N>" before each line as its priority (sd-daemon(3)). On a terminal the lines are plain
text instead. Numbers lose their middle and texts all but their length, because a log travels further than
a database; whoever holds the box can see both on the page.
"""

from __future__ import annotations

import atexit
import datetime
import logging
import logging.handlers
import queue
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

import orjson

__all__ = ["JsonFormatter", "PlainFormatter", "mask", "mask_number", "mask_text", "setup"]

# 7 to 15 digits in a row, with or without a plus, are taken for a subscriber's number (E.164).
_NUMBER: Final = re.compile(r"(?<![\w.])\+?\d{7,15}(?![\w.])")
# Fields of a record (`extra=`) by what they hold.
_TEXT_FIELDS: Final = frozenset({"text", "body", "message_text", "reply"})
_SECRET_FIELDS: Final = frozenset({"pin", "token", "password", "puk", "key", "secret"})
_PRIORITY: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# Lines that may wait for a slow stderr; beyond it the oldest news is the least useful, so new lines drop.
_QUEUE_BOUND: Final = 10_000


def mask_number(number: str) -> str:
    """'+251911234567' -> '+2519…567'; names and short codes stay as they are."""
    return f"{number[:5]}…{number[-3:]}" if len(number) >= 9 else f"{number[:2]}…{number[-2:]}"


def mask_text(text: str) -> str:
    """'BOOK ADDIS' -> '[10 characters]'."""
    return f"[{len(text)} characters]"


def mask(line: str) -> str:
    """Mask every subscriber's number in a line of prose."""
    return _NUMBER.sub(lambda found: mask_number(found.group()), line)


def _masked(key: str, value: Any) -> Any:
    if key in _SECRET_FIELDS:
        return "******"
    if isinstance(value, str):
        return mask_text(value) if key in _TEXT_FIELDS else mask(value)
    if isinstance(value, Mapping):
        return {str(k): _masked(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(key, v) for v in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(str(value))


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {
        k: _masked(k, v) for k, v in record.__dict__.items() if k not in _STANDARD and not k.startswith("_")
    }


class JsonFormatter(logging.Formatter):
    """`<6>{"at":...,"level":"info","logger":...,"message":...,...}`, one line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask(record.getMessage()),
            **_extras(record),
        }
        if record.exc_info:
            line["traceback"] = mask(self.formatException(record.exc_info))
        return f"<{_PRIORITY.get(record.levelno, 6)}>" + orjson.dumps(line, default=str).decode()


class PlainFormatter(logging.Formatter):
    """For a person at a terminal: time, level, message, then the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
        line = f"{clock} {record.levelname.lower():7} {mask(record.getMessage())}{extras}"
        return f"{line}\n{mask(self.formatException(record.exc_info))}" if record.exc_info else line


class _Bounded(logging.handlers.QueueHandler):
    """Passes records to the writing thread unformatted; what does not fit is counted, not waited for."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


def setup(
    level: str = "info", *, stream: TextIO | None = None, plain: bool | None = None
) -> Callable[[], None]:
    """Send the process's log records to `stream` (stderr). plain: None decides by whether it is a terminal.

    Calling it again replaces what the first call set up. Returns what writes the waiting lines and ends it
    (done at exit as well).
    """
    out = sys.stderr if stream is None else stream
    target = logging.StreamHandler(out)
    target.setFormatter(PlainFormatter() if (out.isatty() if plain is None else plain) else JsonFormatter())
    handler = _Bounded(queue.Queue(_QUEUE_BOUND))
    listener = logging.handlers.QueueListener(handler.queue, target)
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _Bounded)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    listener.start()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            root.removeHandler(handler)
            listener.stop()

    atexit.register(stop)
    return stop
