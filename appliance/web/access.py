"""Who may call: loopback and tokens, and what a foreign web page must not make a browser do.

A box stands on a local network with a page and no certificate, so three things are checked. Callers
from elsewhere show a secret. A `Host` that is a public name means that somebody's DNS was pointed at
us (rebinding): refused. A request that changes something and that a browser says comes from another
origin is refused. Programs that show a token send no ambient credentials, so only the token counts.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import logging
import math
import socket
from functools import lru_cache

from aiohttp import hdrs, web

from appliance.web.exchange import Asked
from appliance.web.problem import Problem
from appliance.web.services import WebSettings

__all__ = ["check_host", "check_page", "check_same_origin", "check_sender", "is_local", "same_secret"]


log = logging.getLogger(__name__)


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback


def is_local(request: Asked) -> bool:
    """Whether the caller is on this machine: loopback or a unix socket, and no proxy speaks for others."""
    remote = request.remote
    if remote and not _is_loopback(remote):
        return False
    headers = request.headers
    return "Forwarded" not in headers and hdrs.X_FORWARDED_FOR not in headers


def _caller(request: Asked) -> str:
    """Whose guess it is: of a proxy on this machine, whom it speaks for. It writes the last of the list."""
    remote = request.remote or ""
    forwarded = request.headers.get(hdrs.X_FORWARDED_FOR, "").rpartition(",")[2].strip()
    return forwarded if forwarded and (not remote or _is_loopback(remote)) else remote


def same_secret(given: str, right: str) -> bool:
    """Compare in constant time; an unset secret matches nothing."""
    return bool(right) and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode())


@lru_cache(maxsize=256)
def _host_is_ours(host: str, further: frozenset[str]) -> bool:
    name = host.lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    else:
        name = name.partition(":")[0]
    name = name.rstrip(".")
    if "." not in name or name.endswith((".local", ".localhost")) or name in further:
        return True
    if name == socket.gethostname().lower():
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_host(request: Asked, settings: WebSettings) -> None:
    """Raise 421 when `Host` is a name that nobody gave this box."""
    host = request.headers.get(hdrs.HOST, "")
    if host and not _host_is_ours(host, settings.hosts):
        raise Problem(
            421, "unknown-host", f"This box is not called {host!r}; add the name to http.hosts if it is."
        )


def check_same_origin(request: Asked, settings: WebSettings) -> None:
    """Raise 403 when a browser says that another site's page asks for a change."""
    check_host(request, settings)
    headers = request.headers
    site = headers.get("Sec-Fetch-Site")
    origin = headers.get(hdrs.ORIGIN)
    foreign = site is not None and site not in ("same-origin", "none")
    if origin is not None and origin.partition("://")[2].lower() != headers.get(hdrs.HOST, "").lower():
        foreign = True
    if foreign:
        raise Problem(403, "cross-origin", "A page of another site may not do this.")


def check_sender(request: Asked, settings: WebSettings) -> None:
    """Let this machine POST messages, and others with the Bearer token; raise 401, 403 or 421 else."""
    authorization = request.headers.get(hdrs.AUTHORIZATION)
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and same_secret(token.strip(), settings.incoming_token):
            return
    elif is_local(request):
        check_same_origin(request, settings)
        return
    elif not settings.incoming_token:
        raise Problem(
            403,
            "no-remote-senders",
            "Only programs on this machine may post messages; set http.incoming_token to let others in.",
        )
    raise Problem(
        401,
        "bad-token",
        "Authorization: Bearer <http.incoming_token> is needed and was missing or wrong.",
        headers={"WWW-Authenticate": 'Bearer realm="outpost"'},
    )


def check_page(request: web.Request, settings: WebSettings) -> None:
    """Let browsers on this machine see the page, and others who know http.page_password."""
    check_host(request, settings)
    if is_local(request):
        return
    if not settings.page_password:
        raise Problem(
            403,
            "page-is-local",
            "The page is shown on the box itself; set http.page_password to open it to the network.",
        )
    scheme, _, blob = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "basic":
        address = _caller(request)
        wait_s = settings.guesses.wait_s(address)
        if wait_s:
            raise Problem(
                429,
                "guessing",
                "Too many wrong passwords from here.",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        try:
            password = base64.b64decode(blob, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            password = ""
        if same_secret(password, settings.page_password):
            settings.guesses.right(address)
            return
        settings.guesses.wrong(address)
        log.warning("a wrong page password from %s", address)
    raise Problem(
        401,
        "sign-in",
        "Sign in with any user name and the page password.",
        headers={"WWW-Authenticate": 'Basic realm="Outpost", charset="UTF-8"'},
    )
