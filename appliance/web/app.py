"""The routes, and what holds for all of them: errors, headers, counts."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from appliance.observe.counts import Counts
from appliance.store.errors import StoreError, StoreOverloaded
from appliance.web.access import check_page
from appliance.web.aside import AsidePages
from appliance.web.assistant import AssistantPages
from appliance.web.client_forms import ClientForms
from appliance.web.clients import ClientPages
from appliance.web.departures import DeparturePages
from appliance.web.exchange import HOT_ROUTES, Answer, Asked, Hot, by_aiohttp
from appliance.web.forms import Forms
from appliance.web.health import Health
from appliance.web.incoming import MAX_BODY_OCTETS, Incoming
from appliance.web.kannel import Kannel, KannelReports
from appliance.web.live import Live
from appliance.web.moderation import ModerationPages
from appliance.web.page import Page
from appliance.web.payments import PaymentPages
from appliance.web.problem import Problem, from_http_exception
from appliance.web.services import Services
from appliance.web.v1 import OPERATIONS, add_operations
from appliance.web.v1.openapi import document, document_bytes

if TYPE_CHECKING:
    from appliance.observe.metrics import Metrics

__all__ = ["CONTENT_SECURITY_POLICY", "make_app"]

logger = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STATIC: Final = Path(__file__).parent / "static"
_STATIC_TYPES: Final = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_FOR_PROGRAMS: Final = (
    "/api/",
    "/v1/",
    "/cgi-bin/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/events",
    "/openapi",
)


class _Site:
    """The handlers of the page. What only the page or the metrics need is made at the first view: a box
    that just came back must take messages first, and those libraries cost it 150 ms."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._page: Page | None = None
        self._metrics: Metrics | None = None
        self._files = {name: _file(name, content_type) for name, content_type in _STATIC_TYPES.items()}
        self.counts = Counts(services.clock_ms)
        self.unsubscribe = services.store.feed.subscribe(self.counts.take)
        self.live = Live(lambda: self.page.parts(), services.store.feed)

    @property
    def page(self) -> Page:
        if self._page is None:
            self._page = Page(self._services, self.counts)
        return self._page

    async def front(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        return _html(await self.page.front())

    async def life(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        info = request.match_info
        html = await self.page.life(info["kind"], int(info["id"]))
        if html is None:
            raise Problem(404, "no-such-message", "There is no such message.")
        return _html(html)

    async def modem(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        html = await self.page.modem(request.match_info["name"])
        if html is None:
            raise Problem(404, "no-such-modem", "There is no modem of that name.")
        return _html(html)

    async def person(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        html = await self.page.person(request.match_info["number"])
        if html is None:
            raise Problem(404, "no-such-person", "Nobody of that number wrote or was written to.")
        return _html(html)

    async def events(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        return await self.live.events(request)

    async def static(self, request: web.Request) -> web.StreamResponse:
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, tag, content_type = found
        # no-cache: asked for again each time and answered 304, so an update of the box shows at once
        headers = {
            "Content-Type": content_type,
            "Cache-Control": "no-cache",
            "ETag": f'"{tag}"',
            "X-Content-Type-Options": "nosniff",
        }
        if any(known.value == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    async def openapi(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(body=document_bytes(), content_type="application/json")

    async def docs(self, _request: web.Request) -> web.StreamResponse:
        return _html(self.page.api(document()))

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        from appliance.observe.metrics import CONTENT_TYPE, Metrics, Sources

        services = self._services
        if self._metrics is None:
            self._metrics = Metrics(
                Sources(
                    counts=self.counts,
                    dispatcher=services.dispatcher.snapshot,
                    outbound=services.outbound,
                    writer=services.store.writer.snapshot,
                    modems=services.modems,
                    data_dir=services.settings.data_dir,
                    remember_s=services.remember_s,
                )
            )
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def close(self, _app: web.Application) -> None:
        self.unsubscribe()
        await self.live.close()

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn whatever is raised into a problem document, or a page for a person, and count it."""
        started = perf_counter()
        response: web.StreamResponse
        try:
            response = await handler(request)
        except ConnectionResetError:
            raise  # the caller is gone: nobody to answer
        except Exception as error:
            response = self._refusal(request, _problem_of(error, request.method, request.path))
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        self.counts.request_done(route, response.status, perf_counter() - started)
        return response

    def hot(self, path: str, handler: Hot) -> Hot:
        """The same as `guard` for a POST that the lean front hands to its handler."""
        request_done = self.counts.request_done

        async def guarded(asked: Asked) -> Answer:
            started = perf_counter()
            try:
                answer = await handler(asked)
            except Exception as error:
                answer = _problem_of(error, "POST", path).answer()
            request_done(path, answer.status, perf_counter() - started)
            return answer

        return guarded

    def _refusal(self, request: web.Request, problem: Problem) -> web.Response:
        wants_html = "text/html" in request.headers.get(hdrs.ACCEPT, "")
        if not wants_html or request.path.startswith(_FOR_PROGRAMS):
            return problem.response()
        title = str(problem.document()["title"])
        response = _html(self.page.problem(problem.status, title, problem.detail), problem.status)
        response.headers.update(problem.headers)
        return response


def _file(name: str, content_type: str) -> tuple[bytes, str, str]:
    """A static file, its entity tag and its type; all of them together are 20 kB, so they stay in memory."""
    body = (_STATIC / name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:16], f"{content_type}; charset=utf-8"


def _problem_of(error: Exception, method: str, path: str) -> Problem:
    """What the caller is told of an exception; a fault of ours goes to the log with its traceback."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        return from_http_exception(error, path)
    if isinstance(error, StoreError):
        return _store_refused(error)
    logger.error("%s %s failed", method, path, exc_info=error)
    return Problem(500, "internal", "Something went wrong here; the log says what.")


def _store_refused(error: StoreError) -> Problem:
    """503: nothing of the request was stored, and the same request may succeed later."""
    return Problem(
        503,
        "store-unavailable",
        f"Nothing can be stored now: {error}.",
        headers={"Retry-After": "1" if isinstance(error, StoreOverloaded) else "10"},
    )


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(
        status=status, text=text, content_type="text/html", charset="utf-8", headers=_PAGE_HEADERS
    )


def make_app(services: Services) -> web.Application:
    """Build the application of the page and the HTTP API; it counts itself: run it with access_log=None."""
    site, health, incoming = _Site(services), Health(services), Incoming(services)
    app = web.Application(middlewares=[site.guard], client_max_size=MAX_BODY_OCTETS)
    hot: dict[str, Hot] = {"/api/sms/incoming": incoming.post}
    app.router.add_post("/api/sms/incoming", by_aiohttp(incoming.post))
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.ready)
    app.router.add_get("/metrics", site.metrics)
    if services.gateway is not None:
        hot |= add_operations(app, services.gateway, services.settings, OPERATIONS)
        kannel = Kannel(services.gateway)
        app.router.add_get("/cgi-bin/sendsms", kannel.sendsms)
        app.router.add_post("/cgi-bin/sendsms", kannel.sendsms)
        app.cleanup_ctx.append(KannelReports(services.gateway).lifetime)
        clients = ClientPages(services, lambda: site.page, _html)
        app.router.add_get("/clients", clients.all)
        app.router.add_get(r"/clients/{id:\d{1,18}}", clients.one)
        app.router.add_get(r"/clients/{id:\d{1,18}}/usage.csv", clients.csv)
        app.router.add_get(r"/clients/{id:\d{1,18}}/webhooks/{hook:\d{1,18}}", clients.hook)
        app.router.add_get("/audit", clients.audit)
        client_forms = ClientForms(services, services.gateway, clients)
        app.router.add_post("/clients", client_forms.add)
        app.router.add_post("/prices", client_forms.price)
        app.router.add_post(r"/clients/{id:\d{1,18}}/{do:[a-z]+}", client_forms.do)
        app.router.add_get("/openapi.json", site.openapi)
        app.router.add_get("/docs", site.docs)
    if services.payments is not None:
        pages = PaymentPages(services.payments, services.settings, lambda: site.page, _html)
        app.router.add_get("/payments", pages.all)
        app.router.add_get("/payments/ledger.csv", pages.csv)
        app.router.add_post(r"/payments/receipts/{id:\d{1,18}}", pages.receipt)
        app.router.add_post(r"/payments/refunds/{id:\d{1,18}}", pages.refund)
        app.router.add_post("/payments/telebirr", pages.callback)
        app.router.add_get(r"/pay/{code:[A-Za-z0-9]{4,6}}", pages.link)
    app.router.add_get("/", site.front)
    app.router.add_get("/events", site.events, allow_head=False)
    app.router.add_get(r"/messages/{kind:in|out}/{id:\d{1,18}}", site.life)
    aside = AsidePages(services, lambda: site.page, _html)
    app.router.add_get("/aside", aside.all)
    app.router.add_post(r"/messages/in/{id:\d{1,18}}/again", aside.again)
    forms = Forms(services, lambda: site.page, _html)
    app.router.add_get("/questions", forms.questions)
    app.router.add_post(r"/questions/{id:\d{1,18}}", forms.answer)
    assistant = AssistantPages(services, lambda: site.page, _html)
    app.router.add_get("/assistant", assistant.show)
    app.router.add_post("/assistant/knowledge", assistant.bring)
    app.router.add_post(r"/assistant/knowledge/{id:\d{1,18}}/remove", assistant.remove)
    chat = ModerationPages(services, lambda: site.page, _html)
    app.router.add_get("/chat", chat.all)
    app.router.add_post("/chat/ban", chat.ban)
    app.router.add_post("/chat/unban", chat.unban)
    app.router.add_post(r"/chat/reports/{id:\d{1,18}}", chat.decide)
    app.router.add_get(r"/chat/{id:\d{1,18}}", chat.pair)
    app.router.add_post(r"/chat/{id:\d{1,18}}/end", chat.end)
    departures = DeparturePages(services, lambda: site.page, _html)
    app.router.add_get("/departures", departures.all)
    app.router.add_get(r"/departures/{id:\d{1,18}}", departures.one)
    app.router.add_get(r"/departures/{id:\d{1,18}}/manifest.csv", departures.csv)
    app.router.add_get("/send", forms.send_form)
    app.router.add_post("/send", forms.send)
    app.router.add_get(r"/modems/{name}", site.modem)
    app.router.add_post(r"/modems/{name}/ussd", forms.ussd)
    app.router.add_get(r"/people/{number}", site.person)
    app.router.add_get(r"/static/{name}", site.static)
    app[HOT_ROUTES] = {path: site.hot(path, handler) for path, handler in hot.items()}
    # Before the sockets are closed: an open event stream would hold the stop up to its time limit.
    app.on_shutdown.append(site.close)
    return app
