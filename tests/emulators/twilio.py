"""Twilio's Messages.json: Basic auth, form in, JSON out, errors as {code, message, more_info, status}."""

from __future__ import annotations

import base64
import hashlib
import hmac

from aiohttp import web

from tests.emulators.vendor import Vendor, json_response


class TwilioEmulator(Vendor):
    """errors: Twilio's code by number."""

    def __init__(
        self, sid: str = "AC00000000000000000000000000000001", token: str = "token-of-a-test"
    ) -> None:
        super().__init__()
        self.sid, self.token = sid, token
        self.path = f"/2010-04-01/Accounts/{sid}/Messages.json"
        self.errors: dict[str, int] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        basic = base64.b64encode(f"{self.sid}:{self.token}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {basic}":
            return self._error(20003, "Authenticate", 401)
        form = {name: str(value) for name, value in (await request.post()).items()}
        if not form.get("To"):
            return self._error(21604, "A 'To' phone number is required.", 400)
        if not form.get("From") and not form.get("MessagingServiceSid"):
            return self._error(21603, "A 'From' phone number is required.", 400)
        if not form.get("Body"):
            return self._error(21602, "Message body is required.", 400)
        if len(form["Body"]) > 1600:
            return self._error(21617, "The concatenated message body exceeds the 1600 character limit", 400)
        code = self.errors.get(form["To"])
        if code is not None:
            return self._error(code, f"error {code}", 401 if code == 20003 else 429 if code == 20429 else 400)
        sid = f"SM{len(self.accepted) + 1:032x}"
        self.accepted.append(form | {"sid": sid})
        return json_response(
            {"sid": sid, "status": "queued", "to": form["To"], "error_code": None, "error_message": None}, 201
        )

    @staticmethod
    def _error(code: int, message: str, status: int) -> web.Response:
        more = f"https://www.twilio.com/docs/errors/{code}"
        return json_response({"code": code, "message": message, "more_info": more, "status": status}, status)


def sign(token: str, url: str, form: dict[str, str]) -> str:
    """X-Twilio-Signature as the vendor's page describes it, written apart from the product's own."""
    text = url
    for key in sorted(form):
        text += key
        text += form[key]
    return base64.b64encode(hmac.new(token.encode(), text.encode("utf-8"), hashlib.sha1).digest()).decode()
