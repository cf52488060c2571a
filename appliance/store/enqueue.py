"""Taking clients' messages: charged, queued and answered in one transaction.

Requests that meet in one commit share their statements; what each is told is as if it had come alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from appliance.message import Outbound
from appliance.store import outbound as outbound_ops
from appliance.store import prices as price_ops
from appliance.store import webhooks
from appliance.store.bulk import BulkInsert, chunks, combine
from appliance.store.gateway import Answer, NewMessage, Placed, Refused
from appliance.store.outbound import QueuedRow, QueueKey

__all__ = ["enqueue"]

_CLIENT_MESSAGES: Final = BulkInsert(
    "INSERT INTO client_message (outbound_id, client_id, reference, encoding, segments, units)", 6
)
_ANSWERS: Final = BulkInsert(
    "INSERT INTO idempotency (client_id, key, request_hash, status, answer, created_at_ms)", 6
)
_Results = list[Placed | Refused]


class _Request(NamedTuple):
    """The arguments of `enqueue`."""

    client_id: int
    messages: Sequence[NewMessage]
    now_ms: int
    key: str
    request_hash: bytes
    render: Callable[[Sequence[Placed | Refused]], tuple[int, bytes]]
    also: Callable[[sqlite3.Connection, Placed], None] | None = None


class _Taken(NamedTuple):
    """A message that is paid for. at: its place among its request's results."""

    request: _Request
    results: _Results
    at: int
    message: NewMessage
    units: int


def enqueue(
    db: sqlite3.Connection,
    client_id: int,
    messages: Sequence[NewMessage],
    now_ms: int,
    key: str,
    request_hash: bytes,
    render: Callable[[Sequence[Placed | Refused]], tuple[int, bytes]],
    also: Callable[[sqlite3.Connection, Placed], None] | None = None,
) -> Answer | _Results:
    """Take a request's messages, charge them and keep the answer, all in the caller's transaction.

    render(results) -> (status, body): the answer to keep with `key`. Returns an Answer instead when the
    key was used before, and then nothing else is done. `key` "" keeps no answer (Kannel's interface).
    also(db, placed): what else belongs into this transaction for each message taken.
    """
    request = _Request(client_id, messages, now_ms, key, request_hash, render, also)
    answers: list[Answer | _Results] = _enqueue_together(db, [request])
    return answers[0]


@combine(enqueue)
def _enqueue_together(db: sqlite3.Connection, calls: Sequence[tuple[Any, ...]]) -> list[Answer | _Results]:
    requests = [_Request(*call) for call in calls]
    keys = [(request.client_id, request.key) for request in requests if request.key]
    if len(set(keys)) < len(keys):  # the second of them has to find the answer to the first
        return [enqueue(db, *request) for request in requests]
    known = _stored_answers(db, keys)
    books: dict[int, list[Any]] = {}  # by client: state, balance as it becomes, low mark
    answers: list[Answer | _Results] = []
    taken: list[_Taken] = []
    for request in requests:
        answer = known.get((request.client_id, request.key))
        answers.append(answer if answer is not None else _paid(db, request, books, taken))
    _place(db, taken)
    _ANSWERS.run(
        db,
        [
            (request.client_id, request.key, request.request_hash, *request.render(results), request.now_ms)
            for request, results in zip(requests, answers, strict=True)
            # A request of which nothing was taken may be sent again, with more credit, under the same key.
            if request.key and isinstance(results, list) and any(isinstance(one, Placed) for one in results)
        ],
    )
    return answers


def _stored_answers(db: sqlite3.Connection, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Answer]:
    by_client: dict[int, list[str]] = {}
    for client_id, key in keys:
        by_client.setdefault(client_id, []).append(key)
    found = {}
    for client_id, wanted in by_client.items():
        for piece in chunks(wanted):
            rows = db.execute(
                "SELECT key, request_hash, status, answer FROM idempotency WHERE client_id = ?"
                f" AND key IN ({','.join('?' * len(piece))})",
                (client_id, *piece),
            )
            for key, request_hash, status, body in rows:
                found[client_id, key] = Answer(request_hash=request_hash, status=status, body=body)
    return found


def _paid(
    db: sqlite3.Connection, request: _Request, books: dict[int, list[Any]], taken: list[_Taken]
) -> _Results:
    """Say of each message whether it is taken; those that are go to `taken` and are filled in later."""
    client_id = request.client_id
    book = books.get(client_id)
    if book is None:
        row = db.execute("SELECT state, balance, low_mark FROM client WHERE id = ?", (client_id,)).fetchone()
        book = books[client_id] = list(row)
    state, before, low_mark = book
    balance = before
    results: list[Any] = []
    prices = price_ops.prices_of(db, [message.recipient for message in request.messages], request.now_ms)
    for message, price in zip(request.messages, prices, strict=True):
        units = price * message.segments
        if state != "active":
            results.append(Refused(reason="suspended"))
        elif units > balance:
            results.append(Refused(reason="credit", needed=units))
        else:
            balance -= units
            taken.append(_Taken(request, results, len(results), message, units))
            results.append(None)
    book[1] = balance
    if balance < low_mark <= before:
        data = {"balance": balance, "low_mark": low_mark}
        webhooks.emit(db, client_id, "credits.low", data, "credits", request.now_ms)
    return results


def _place(db: sqlite3.Connection, taken: Sequence[_Taken]) -> None:
    """Write the messages, and their `Placed` into their requests' results."""
    ids = outbound_ops.insert_many(
        db,
        [
            (
                Outbound(
                    recipient=message.recipient,
                    text=message.text,
                    lane=message.lane,
                    client_id=request.client_id,
                    route=message.route,
                    not_before_ms=message.not_before_ms,
                    expires_at_ms=message.expires_at_ms,
                ),
                request.now_ms,
                False,
            )
            for request, _, _, message, _ in taken
        ],
    )
    _CLIENT_MESSAGES.run(
        db,
        [
            (number, request.client_id, message.reference, message.encoding, message.segments, units)
            for number, (request, _, _, message, units) in zip(ids, taken, strict=True)
        ],
    )
    for number, (request, results, at, message, units) in zip(ids, taken, strict=True):
        if message.why:
            outbound_ops.trace(db, number, request.now_ms, "routed", "router", message.why)
        key = QueueKey(message.route, message.lane, request.client_id)
        row = QueuedRow(number, message.recipient, key)
        results[at] = placed = Placed(outbound_id=number, units=units, row=row)
        if request.also is not None:
            request.also(db, placed)
