"""GeezSMS's send call: 200 with a status in the body, whatever happened."""

from __future__ import annotations

import re

from aiohttp import web

from tests.emulators.vendor import Vendor, json_response


class GeezSmsEmulator(Vendor):
    path = "/api/v1/sms/send"

    def __init__(self, token: str = "token-of-a-test") -> None:
        super().__init__()
        self.token = token

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form.get("token") != self.token:
            return json_response({"message_status": "failed", "message": "invalid token"})
        if not re.fullmatch(r"2519\d{8}|2517\d{8}", form.get("phone", "")):
            return json_response({"message_status": "failed", "message": "invalid phone"})
        reference = 1000 + len(self.accepted)
        self.accepted.append(form | {"id": str(reference)})
        return json_response({"message_status": "success", "api_log_id": reference})
