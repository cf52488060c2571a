"""telebirr's fabric API on this machine: it checks what we send as strictly as the vendor, and fails to
order.

Used by the tests and as `outpost emulate telebirr`. Orders are paid by its checkout page, by `POST /control`,
or by themselves. What a well-behaved merchant never does (a number used for two orders, a refund asked for
twice, a nonce again) is refused and written in `violations`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import html
import json
import random
import string
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web

from appliance.payments.telebirr.messages import ADDIS_S, amount, santim
from appliance.payments.telebirr.signing import SIGN_TYPE, Signer, Verifier

__all__ = ["CALLS", "FAULTS", "Account", "Emulator", "Fault", "Order"]

CALLS: Final = ("token", "preOrder", "queryOrder", "refund")
# What can go wrong with one call. "_before", `refuse` and `token` have no effect; the others have had theirs.
FAULTS: Final = (
    *("silence", "silence_before", "reset", "reset_before", "status", "status_before"),
    *("garbage", "refuse", "token"),
)
SKEW_S: Final = 300  # of a request's timestamp
_ALNUM: Final = string.ascii_uppercase + string.digits
_DAYS: Final = "123456789ABCDEFGHIJKLMNOPQRSTUV"


@dataclass(frozen=True)
class Account:
    """Whom it knows. verifier: of the merchant's signatures; signer: its own, for callbacks."""

    app_id: str
    secret: str
    merchant_app_id: str
    short_code: str
    verifier: Verifier
    signer: Signer


@dataclass(frozen=True)
class Fault:
    """One call that goes wrong. call: one of CALLS or "any"; kind: one of FAULTS; status: for "status"."""

    call: str
    kind: str
    status: int = 502


@dataclass
class Order:
    """notified: HTTP status of each callback. hidden: so many queries yet do not see that it was paid."""

    content: dict[str, str]
    prepay_id: str
    made_s: float
    closes_s: float
    status: str = "WAIT_PAY"
    trans_id: str = ""
    paid_s: float = 0.0
    paid_santim: int = 0
    hidden: int = 0
    refunds: dict[str, int] = field(default_factory=dict)
    refund_status: str = ""
    notified: list[int] = field(default_factory=list)

    @property
    def number(self) -> str:
        return self.content["merch_order_id"]


class Emulator:
    """`async with Emulator(account) as telebirr`, then `telebirr.url`. clock: Unix seconds.

    padding is the account's. times: how a callback writes its times: "s", "ms" or "text".
    refund_result: "REFUND_SUCCESS", "REFUNDING" (until it is set otherwise) or "REFUND_FAILED".
    """

    def __init__(
        self,
        account: Account,
        *,
        clock: Callable[[], float] = time.time,
        token_life_s: float = 3600.0,
        times: str = "s",
        auto_pay_s: float | None = None,
        seed: int = 0,
    ) -> None:
        self.account = account
        self.times = times
        self.refund_result = "REFUND_SUCCESS"
        self.orders: dict[str, Order] = {}
        self.faults: deque[Fault] = deque()
        self.calls: list[tuple[str, str]] = []  # (call, merch_order_id), whatever became of it
        self.violations: list[str] = []
        self._clock, self._token_life_s, self._auto_pay_s = clock, token_life_s, auto_pay_s
        self._tokens: dict[str, float] = {}
        self._nonces: set[str] = set()
        self._chance = random.Random(seed)
        self._release = asyncio.Event()  # lets silent calls end
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.base = ""

    @property
    def url(self) -> str:
        """The API's address, as `payments.telebirr.url` takes it."""
        return f"{self.base}/apiaccess/payment/gateway"

    @property
    def checkout_url(self) -> str:
        return f"{self.base}/payment/web/paygate"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/payment/web/paygate", self._paygate)
        app.router.add_post("/payment/web/paygate", self._paygate)
        app.router.add_get("/control", self._control)
        app.router.add_post("/control", self._control)
        app.router.add_post("/{prefix:.*}/payment/v1/{call:.*}", self._api)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        where = self._runner.addresses[0]
        self.base = f"http://{where[0]}:{where[1]}"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def stop(self) -> None:
        self._release.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Emulator:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- the API

    async def _api(self, request: web.Request) -> web.StreamResponse:
        call = request.path.rpartition("/")[2]
        body = await request.read()
        try:
            message = json.loads(body)
        except ValueError:
            message = {}
        content = message.get("biz_content") if isinstance(message, dict) else {}
        number = content.get("merch_order_id", "") if isinstance(content, dict) else ""
        self.calls.append((call, number))
        fault = self._fault(call)
        if fault is not None and fault.kind.endswith("_before"):
            return await self._fail(request, fault)
        if fault is not None and fault.kind == "token":
            return _json({"errorCode": "401", "errorMsg": "token expired"}, 401)
        if fault is not None and fault.kind == "refuse":
            return _json(_refusal("60200099", "system busy, not accepted"))
        answer, status = self._serve(call, request, message)
        if fault is not None:
            return await self._fail(request, fault)
        return _json(answer, status)

    def _fault(self, call: str) -> Fault | None:
        for fault in self.faults:
            if fault.call in (call, "any"):
                self.faults.remove(fault)
                return fault
        return None

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        kind = fault.kind.removesuffix("_before")
        if kind == "silence":
            await self._release.wait()
        if kind in ("silence", "reset"):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if kind == "garbage":
            return web.Response(text="<html>Gateway</html>", content_type="text/html")
        return web.Response(status=fault.status, text="upstream error")

    def _serve(self, call: str, request: web.Request, message: Any) -> tuple[dict[str, Any], int]:
        if request.headers.get("X-APP-Key") != self.account.app_id or not isinstance(message, dict):
            return _refusal("403", "unknown application"), 403
        if call == "token":
            return self._token(message)
        if self._tokens.get(request.headers.get("Authorization", ""), 0.0) <= self._clock():
            return {"errorCode": "401", "errorMsg": "token expired"}, 401
        content = message.get("biz_content")
        if not isinstance(content, dict) or not self.account.verifier.right(message):
            return _refusal("60200001", "verify sign failed"), 200
        if wrong := self._wrong(message, content):
            self.violations.append(wrong)
            return _refusal("60200002", wrong), 200
        handlers = {"preOrder": self._preorder, "queryOrder": self._query, "refund": self._refund}
        if call not in handlers:
            return _refusal("404", f"no call {call}"), 404
        return handlers[call](content), 200

    def _token(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        if message.get("appSecret") != self.account.secret:
            return _refusal("60100001", "wrong secret"), 401
        token = "Bearer " + "".join(self._chance.choice(_ALNUM) for _ in range(40))
        ends = self._clock() + self._token_life_s
        self._tokens[token] = ends
        return {"token": token, "effectiveDate": _text(self._clock()), "expirationDate": _text(ends)}, 200

    def _wrong(self, message: Mapping[str, Any], content: Mapping[str, Any]) -> str:
        """What the vendor's documents forbid."""
        nonce, stamp = str(message.get("nonce_str", "")), str(message.get("timestamp", ""))
        if len(nonce) != 32 or set(nonce) - set(_ALNUM) or nonce in self._nonces:
            return "nonce_str: want 32 capitals and digits, used once"
        self._nonces.add(nonce)
        if not stamp.isdecimal() or abs(int(stamp) - self._clock()) > SKEW_S:
            return f"timestamp: {stamp}"
        if message.get("version") != "1.0" or message.get("sign_type") != SIGN_TYPE:
            return "version or sign_type"
        if content.get("appid") != self.account.merchant_app_id:
            return "appid is unknown"
        if content.get("merch_code") != self.account.short_code:
            return "merch_code is unknown"
        number = str(content.get("merch_order_id", ""))
        return "" if number.isalnum() and number.isascii() else "merch_order_id: letters and digits only"

    def _preorder(self, content: dict[str, str]) -> dict[str, Any]:
        number = content["merch_order_id"]
        if number in self.orders:
            self.violations.append(f"{number}: a second preOrder")
            return _refusal("60200010", "merch_order_id exists")
        wanted, title = str(content.get("total_amount", "")), str(content.get("title", ""))
        minutes = str(content.get("timeout_express", "")).removesuffix("m")
        plain = title.replace(" ", "")
        wrong = [
            name
            for name, right in (
                ("total_amount", (santim(wanted) or 0) > 0 and len(wanted.partition(".")[2]) == 2),
                ("title", plain.isalnum() and plain.isascii() and len(title) <= 100),
                ("timeout_express", minutes.isdecimal() and int(minutes) > 0),
                ("trans_currency", content.get("trans_currency") == "ETB"),
                ("notify_url", str(content.get("notify_url", "")).startswith("http")),
            )
            if not right
        ]
        if wrong:
            self.violations.append(f"{number}: {', '.join(wrong)}")
            return _refusal("60200002", f"invalid {', '.join(wrong)}")
        now = self._clock()
        prepay_id = "".join(self._chance.choice(_ALNUM) for _ in range(24))
        order = self.orders[number] = Order(content, prepay_id, now, now + 60 * int(minutes))
        if self._auto_pay_s is not None:
            self._background(self._pay_later(order, self._auto_pay_s))
        return _done({"merch_order_id": number, "prepay_id": prepay_id})

    def _query(self, content: dict[str, str]) -> dict[str, Any]:
        order = self.orders.get(content["merch_order_id"])
        if order is None:
            return _refusal("60200011", "order does not exist")
        self._close_if_over(order)
        status = order.refund_status or order.status
        told = {"merch_order_id": order.number, "total_amount": order.content["total_amount"]}
        if status == "PAY_SUCCESS" and order.hidden > 0:
            order.hidden -= 1
            return _done({**told, "trade_status": "PAYING"})
        if order.paid_santim:
            told |= {
                "total_amount": amount(order.paid_santim),
                "trans_id": order.trans_id,
                "payment_order_id": f"PO{order.trans_id}",
                "trans_time": _text(order.paid_s),
            }
        return _done({**told, "trade_status": status})

    def _refund(self, content: dict[str, str]) -> dict[str, Any]:
        order = self.orders.get(content["merch_order_id"])
        request_no = str(content.get("refund_request_no", ""))
        back = santim(content.get("actual_amount", content.get("refund_amount")))
        if order is None or not order.paid_santim:
            return _refusal("60200020", "nothing was paid")
        if request_no in order.refunds or not (request_no.isalnum() and request_no.isascii()):
            self.violations.append(f"{order.number}: refund {request_no!r} asked for twice")
            return _refusal("60200021", "refund_request_no exists")
        if not back or back + sum(order.refunds.values()) > order.paid_santim:
            self.violations.append(f"{order.number}: refund of {back}, paid {order.paid_santim}")
            return _refusal("60200022", "refund amount")
        if self.refund_result != "REFUND_FAILED":
            order.refunds[request_no] = back
        order.refund_status = self.refund_result
        return _done({"refund_status": self.refund_result, "refund_request_no": request_no})

    def _close_if_over(self, order: Order) -> None:
        if order.status == "WAIT_PAY" and self._clock() >= order.closes_s:
            order.status = "ORDER_CLOSED"

    # -- a payer

    def finish_refunds(self, result: str = "REFUND_SUCCESS") -> None:
        """What was REFUNDING has ended."""
        self.refund_result = result
        for order in self.orders.values():
            if order.refund_status == "REFUNDING":
                order.refund_status = result
                if result == "REFUND_FAILED":
                    order.refunds.clear()

    async def pay(
        self,
        number: str,
        *,
        paid_santim: int | None = None,
        notify: Sequence[str] = ("paid",),
        hidden: int = 0,
        wait: bool = True,
    ) -> Order:
        """The payer confirms with their PIN, however late. notify: the callbacks sent, in this order: "paid",
        "pending", "forged", "unsigned", "wrong_amount", "wrong_merchant". wait: until all were answered."""
        order = self.orders[number]
        wanted = _santim_of(order)
        order.status, order.paid_s, order.hidden = "PAY_SUCCESS", self._clock(), hidden
        order.paid_santim = wanted if paid_santim is None else paid_santim
        order.trans_id = order.trans_id or self._new_trans_id()
        work = self._notify(order, notify)
        if wait:
            await work
        else:
            self._background(work)
        return order

    async def _pay_later(self, order: Order, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.pay(order.number)

    def _new_trans_id(self) -> str:
        """Ten characters, the first three its date, as real ones."""
        day = dt.datetime.fromtimestamp(self._clock() + ADDIS_S, dt.UTC)
        head = chr(ord("A") + day.year - 2023) + chr(ord("A") + day.month - 1) + _DAYS[day.day - 1]
        return head + "".join(self._chance.choice(_ALNUM) for _ in range(7))

    async def _notify(self, order: Order, kinds: Sequence[str]) -> None:
        for kind in kinds:
            message = self._callback(order, kind)
            assert self._session is not None
            try:
                async with self._session.post(order.content["notify_url"], json=message) as answer:
                    order.notified.append(answer.status)
            except (aiohttp.ClientError, OSError, TimeoutError):
                order.notified.append(0)

    def _callback(self, order: Order, kind: str) -> dict[str, Any]:
        total = order.paid_santim + (100 if kind == "wrong_amount" else 0)
        message: dict[str, Any] = {
            "notify_url": order.content["notify_url"],
            "appid": order.content["appid"],
            "notify_time": self._time(self._clock()),
            "merch_code": "999999" if kind == "wrong_merchant" else order.content["merch_code"],
            "merch_order_id": order.number,
            "payment_order_id": f"PO{order.trans_id}",
            "total_amount": amount(total),
            "trans_currency": "ETB",
            "trade_status": "Pending" if kind == "pending" else "Completed",
            "trans_end_time": self._time(order.paid_s),
            "trans_id": order.trans_id,
            "callback_info": order.content["callback_info"],
        }
        if kind == "unsigned":
            return message
        signed = self.account.signer.signed(message)
        if kind == "forged":
            signed["total_amount"] = amount(total + 100)
        return signed

    def _time(self, at_s: float) -> str:
        if self.times == "ms":
            return str(int(at_s * 1000))
        return str(int(at_s)) if self.times == "s" else _text(at_s, "%Y-%m-%d %H:%M:%S")

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the checkout page and the control

    async def _paygate(self, request: web.Request) -> web.StreamResponse:
        fields = dict(request.query)
        signed = {key: value for key, value in fields.items() if key not in ("version", "trade_type")}
        order = next((o for o in self.orders.values() if o.prepay_id == fields.get("prepay_id")), None)
        if order is None or not self.account.verifier.right(signed):
            return _page("This link is not right.", 400)
        self._close_if_over(order)
        if request.method == "POST" and order.status == "WAIT_PAY":
            await self.pay(order.number, wait=False)
        if order.status != "WAIT_PAY":
            return _page(f"{order.content['title']}: {order.status}")
        return _page(
            f"{order.content['title']}: {order.content['total_amount']} ETB",
            form='<form method="post"><button>Pay (emulated)</button></form>',
        )

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """GET tells the orders; POST {"do": "pay" or "fault" or "refund_result" or "times", ...} changes."""
        if request.method == "POST":
            wish = await request.json()
            does = wish.get("do")
            if does == "pay":
                number = wish.get("merch_order_id") or next(reversed(self.orders))
                notify = tuple(wish.get("notify", ("paid",)))
                paid, hidden = wish.get("santim"), wish.get("hidden", 0)
                await self.pay(number, paid_santim=paid, notify=notify, hidden=hidden)
            elif does == "fault" and wish.get("kind") in FAULTS:
                fault = Fault(wish.get("call", "any"), wish["kind"], int(wish.get("status", 502)))
                self.faults.extend([fault] * int(wish.get("times", 1)))
            elif does == "refund_result":
                self.finish_refunds(str(wish["result"]))
            elif does == "times" and wish.get("as") in ("s", "ms", "text"):
                self.times = wish["as"]
            else:
                return _json({"error": "want do: pay, fault, refund_result or times"}, 400)
        told = [
            {
                "merch_order_id": order.number,
                "amount": order.content["total_amount"],
                "status": order.refund_status or order.status,
                "paid_santim": order.paid_santim,
                "trans_id": order.trans_id,
                "refunds": order.refunds,
                "notified": order.notified,
            }
            for order in self.orders.values()
        ]
        return _json({"orders": told, "violations": self.violations, "faults": len(self.faults)})


def _santim_of(order: Order) -> int:
    """What was asked for; it was checked when the order came."""
    wanted = santim(order.content["total_amount"])
    assert wanted is not None
    return wanted


def _done(content: dict[str, Any]) -> dict[str, Any]:
    return {"result": "SUCCESS", "code": "0", "msg": "success", "biz_content": content}


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"result": "FAIL", "errorCode": code, "errorMsg": message}


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _text(at_s: float, form: str = "%Y%m%d%H%M%S") -> str:
    """Local time as text, as the vendor writes it."""
    return dt.datetime.fromtimestamp(at_s + ADDIS_S, dt.UTC).strftime(form)


def _page(text: str, status: int = 200, form: str = "") -> web.Response:
    body = f"<!doctype html><title>telebirr, emulated</title><h1>{html.escape(text)}</h1>{form}"
    return web.Response(status=status, text=body, content_type="text/html")
