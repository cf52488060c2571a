"""Africa's Talking's messaging calls, the legacy and the bulk one: 201 with a status for each recipient."""

from __future__ import annotations

from aiohttp import web

from tests.emulators.vendor import Vendor, json_response

STATUSES = {
    100: "Processed",
    101: "Success",
    102: "Queued",
    401: "RiskHold",
    402: "InvalidSenderId",
    403: "InvalidPhoneNumber",
    404: "UnsupportedNumberType",
    405: "InsufficientBalance",
    406: "UserInBlacklist",
    407: "CouldNotRoute",
    409: "DoNotDisturbRejection",
    500: "InternalServerError",
    501: "GatewayError",
    502: "RejectedByGateway",
}


class AfricasTalkingEmulator(Vendor):
    """codes: statusCode by number, 101 for the others. nobody: a Message without any recipient."""

    path = "/version1/messaging"

    def __init__(self, api_key: str = "key-of-a-test") -> None:
        super().__init__()
        self.api_key = api_key
        self.codes: dict[str, int] = {}
        self.nobody = ""
        self.others: list[dict[str, object]] = []  # entries put before the recipient's own

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("apiKey") != self.api_key:
            return web.Response(status=401, text="The supplied authentication is invalid")
        if request.headers.get("Accept") != "application/json":
            return web.Response(status=201, text="<AfricasTalkingResponse/>", content_type="text/xml")
        form: dict[str, object] = {}
        if request.path.endswith("/bulk"):
            if request.content_type != "application/json":
                return web.Response(status=415, text="The request content was malformed")
            asked = await request.json()
            form = {
                "username": asked["username"],
                "message": asked["message"],
                "from": asked.get("senderId", ""),
            }
            form["to"] = ",".join(asked["phoneNumbers"])
        else:
            form |= await request.post()
        if not {"username", "to", "message"} <= set(form):
            return web.Response(status=400, text="Request is missing required form field")
        if self.nobody:
            return json_response({"SMSMessageData": {"Message": self.nobody, "Recipients": []}}, 201)
        recipients: list[dict[str, object]] = list(self.others)
        for number in str(form["to"]).split(","):
            code = self.codes.get(number, 101)
            reference = f"ATXid_{len(self.accepted) + 1:032x}" if code < 200 else "None"
            if code < 200:
                self.accepted.append({name: str(value) for name, value in form.items()} | {"id": reference})
            recipients.append(
                {
                    "statusCode": code,
                    "number": number,
                    "status": STATUSES[code],
                    "cost": "ETB 0.2000" if code < 200 else "0",
                    "messageId": reference,
                }
            )
        message = f"Sent to {len(recipients)}/{len(recipients)} Total Cost: ETB 0.2000"
        return json_response({"SMSMessageData": {"Message": message, "Recipients": recipients}}, 201)
