"""Negarit's single send call, as its public code of 2018 to 2020 uses it."""

from __future__ import annotations

from aiohttp import web

from tests.emulators.vendor import Vendor, json_response


class NegaritEmulator(Vendor):
    path = "/api/api_request/sent_message"

    def __init__(self, api_key: str = "key-of-a-test") -> None:
        super().__init__()
        self.api_key = api_key

    async def answer(self, request: web.Request) -> web.StreamResponse:
        call = await request.json()
        if call.get("API_KEY") != self.api_key:
            return json_response({"status": "error", "error": "invalid key"}, 401)
        if not {"campaign_id", "sent_to", "message"} <= set(call):
            return json_response({"status": "error", "error": "missing field"})
        self.accepted.append(call)
        return json_response({"status": "success", "sent_message": {"id": len(self.accepted)}})
