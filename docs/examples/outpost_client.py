"""A client of the Outpost gateway in one file: Python's standard library, nothing else.

    box = Outpost("op_...", "http://127.0.0.1:8080")
    receipt = box.send("0911234567", "Your code is 482913", lane="otp", validity_s=300)
    print(box.message(receipt["id"])["status"])

What may be repeated is repeated while the box is busy, restarting or out of reach. Sending is among it: each
call has an Idempotency-Key, so that however often a request arrives, its message goes out once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Outpost", "OutpostError", "verify_webhook"]

_LATER = (429, 502, 503, 504)  # the box or what is before it says: not now


class OutpostError(Exception):
    """The box refused. status: of HTTP; code: the last word of the problem's type; problem: all of it."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail') or problem.get('title') or 'no reason given'}")
        self.status = status
        self.code = str(problem.get("type", "")).rpartition(":")[2]
        self.problem = problem


class Outpost:
    """One client's door to a box. patience_s: how long a call that may be repeated is repeated."""

    def __init__(
        self,
        key: str,
        address: str = "http://127.0.0.1:8080",
        *,
        timeout_s: float = 30,
        patience_s: float = 300,
    ) -> None:
        self._key = key
        self._address = address.rstrip("/")
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    # -- messages

    def send(self, to: str, text: str | None = None, *, key: str | None = None, **fields: Any) -> Any:
        """Send one message; the receipt has its id. key: your own Idempotency-Key, for instance the order's
        number, when a crash of yours must not send twice. fields: template, variables, language, lane,
        validity_s, send_at, reference."""
        body = {"to": to, **({} if text is None else {"text": text}), **fields}
        return self.call("POST", "/v1/messages", body, key=key or uuid.uuid4().hex)

    def send_batch(self, messages: Sequence[Mapping[str, Any]], *, key: str | None = None) -> Any:
        """Send up to 1,000; `results` has one entry for each, in their order."""
        body = {"messages": list(messages)}
        return self.call("POST", "/v1/messages/batch", body, key=key or uuid.uuid4().hex)

    def preview(self, to: str, text: str | None = None, **fields: Any) -> Any:
        """Encoding, segments, units and route, with nothing sent."""
        body = {"to": to, **({} if text is None else {"text": text}), **fields}
        return self.call("POST", "/v1/messages/preview", body)

    def message(self, message_id: str) -> Any:
        """One message and its whole life."""
        return self.call("GET", f"/v1/messages/{message_id}")

    def messages(self, **filters: Any) -> Iterator[Any]:
        """All messages, the newest first, page by page. filters: status, to."""
        return self._pages("/v1/messages", "messages", filters)

    def cancel(self, message_id: str) -> Any:
        """Take a message back while it is queued."""
        return self.call("POST", f"/v1/messages/{message_id}/cancel")

    def received(self) -> Iterator[Any]:
        """Texts that came in for you, the newest first."""
        return self._pages("/v1/inbound", "messages", {})

    # -- people and campaigns

    def put_contacts(self, contacts: Sequence[Mapping[str, Any]], group: str | None = None) -> Any:
        """Make up to 1,000 contacts or bring them up to date, and put them into a group."""
        body = {"contacts": list(contacts), **({} if group is None else {"group": group})}
        return self.call("POST", "/v1/contacts", body, repeat=True)

    def contacts(self, group: str | None = None) -> Iterator[Any]:
        """All contacts, or a group's."""
        return self._pages("/v1/contacts", "contacts", {} if group is None else {"group": group})

    def add_campaign(self, name: str, group: str, *, key: str | None = None, **fields: Any) -> Any:
        """Send to a group. fields: text or template, start_at, per_minute, lane, consent_only."""
        body = {"name": name, "group": group, **fields}
        return self.call("POST", "/v1/campaigns", body, key=key or uuid.uuid4().hex)

    def campaign(self, campaign_id: str) -> Any:
        """How far it is."""
        return self.call("GET", f"/v1/campaigns/{campaign_id}")

    def change_campaign(self, campaign_id: str, what: str) -> Any:
        """what: pause, resume or cancel."""
        return self.call("POST", f"/v1/campaigns/{campaign_id}/{what}", repeat=True)

    # -- the account

    def credits(self) -> Any:
        """balance, reserved, low_mark."""
        return self.call("GET", "/v1/credits")

    def usage(self, **query: Any) -> Any:
        """Rows by day or hour, and each lane's figures. query: from_, until, by."""
        return self.call("GET", "/v1/usage", query={name.rstrip("_"): each for name, each in query.items()})

    def put_template(
        self, name: str, texts: Mapping[str, str], variables: Mapping[str, str] | None = None
    ) -> Any:
        """Make a template or put another in its place."""
        body = {"texts": dict(texts), "variables": dict(variables or {})}
        return self.call("PUT", f"/v1/templates/{name}", body, repeat=True)

    def add_webhook(self, url: str, events: Sequence[str] = ()) -> Any:
        """Be told at an address; keep the `secret` for `verify_webhook`."""
        return self.call("POST", "/v1/webhooks", {"url": url, "events": list(events)})

    # -- any call

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        key: str | None = None,
        repeat: bool = False,
    ) -> Any:
        """Any operation of /openapi.json: the decoded answer; raises OutpostError, or OSError when nobody
        answers. repeat: the call may be made twice; GET and what has a `key` may anyway."""
        address = self._address + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self._key}"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        may_repeat = repeat or key is not None or method == "GET"
        until, pause_s = time.monotonic() + self._patience_s, 0.5
        while True:
            request = urllib.request.Request(address, data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                    raw = answer.read()
                    is_json = answer.headers.get_content_type() == "application/json"
                    return json.loads(raw) if is_json else raw.decode() or None
            except urllib.error.HTTPError as error:
                refused = OutpostError(error.code, _problem(error))
                later = error.code in _LATER or refused.code == "still-running"
                asked_s = float(error.headers.get("Retry-After") or 0)
                if not (may_repeat and later) or time.monotonic() + max(asked_s, pause_s) > until:
                    raise refused from None
            except OSError:  # no answer: the request may have arrived or not, and the key makes that the same
                asked_s = 0.0
                if not may_repeat or time.monotonic() + pause_s > until:
                    raise
            time.sleep(max(asked_s, pause_s * random.uniform(0.5, 1.0)))
            pause_s = min(2 * pause_s, 30.0)

    def _pages(self, path: str, name: str, query: Mapping[str, Any]) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = self.call("GET", path, query={**query, "limit": 500, **more})
            yield from page[name]
            cursor = page["next"]
            if cursor is None:
                return


def _problem(error: urllib.error.HTTPError) -> Mapping[str, Any]:
    try:
        found = json.loads(error.read())
    except ValueError:
        return {"title": error.reason}
    return found if isinstance(found, dict) else {"title": error.reason}


def verify_webhook(
    secret: str, headers: Mapping[str, str], body: bytes, *, now_s: float | None = None, skew_s: float = 300
) -> Any:
    """The event of a request by Standard Webhooks 1.0, if it is the box's and fresh; raises ValueError.

    headers: of the request, in any case. Keep `webhook-id`s: the same one again is the same event.
    """
    known = {name.lower(): value for name, value in headers.items()}
    event, stamp = known.get("webhook-id", ""), known.get("webhook-timestamp", "")
    if not event or not stamp.isdigit():
        raise ValueError("no webhook-id or webhook-timestamp")
    if abs((time.time() if now_s is None else now_s) - int(stamp)) > skew_s:
        raise ValueError("too old, or a clock is wrong")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.digest(key, f"{event}.{stamp}.".encode() + body, hashlib.sha256)
    wanted = "v1," + base64.b64encode(signed).decode()
    given = known.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(wanted.encode(), each.encode()) for each in given):
        raise ValueError("not signed with this secret")
    return json.loads(body)
