"""Who may talk to a page of mien: the host names that it serves, its token, and no other site's forms."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import InputError
from mien.files import printable

__all__ = ["COOKIE", "Access", "check_name", "check_token", "is_loopback", "make_token"]

COOKIE = "mien_token"
COOKIE_S = 30 * 24 * 3600  # a phone that has been put away for a while need not be given the address again
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "Cache-Control": "private, no-store",  # faces of people: no proxy and no disk keeps them
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Check = Callable[[Headers], tuple[int, str] | None]
Refuse = Callable[[int, str], Response]


def _plain(status: int, sentence: str) -> Response:
    """Return a refusal as plain text."""
    return PlainTextResponse(sentence, status)


class Access:
    """What every request goes through, and what every response is given."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        names: frozenset[str] | None,
        check: Check | None = None,
        refuse: Refuse = _plain,
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        """Stand before an app.

        token: without it, in a cookie, as `Authorization: Bearer` or once in the address, nothing is served; None:
        nobody needs one.  open_paths: served without it all the same.
        names: host names that a request may ask for, so that no other site's name can be pointed here; None: any.
        check: looks at the headers of a request that changes something; the status and sentence of a refusal, or None.
        refuse: makes the response of a status and a sentence.
        """
        self._app = app
        self._token = token
        self._names = names
        self._check = check
        self._refuse = refuse
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse, one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if refused is not None and scope["type"] == "websocket":
            await receive()  # the request to connect, which the refusal answers
        await (refused or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the response to a request that goes no further."""
        headers = Headers(scope=scope)
        if self._names is not None and _host_name(headers.get("host", "")) not in self._names:
            return self._refuse(421, "This page is not served under that name.")
        needs_token = self._token is not None and scope["path"] not in self._open_paths
        if needs_token and (response := self._without_token(scope, headers, self._token or "")):
            return response
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return None
        if _is_foreign(headers):
            return self._refuse(403, "This comes from another site.")
        if self._check is not None and scope["type"] == "http" and (refused := self._check(headers)):
            return self._refuse(*refused)
        return None

    def _without_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """Return the response to a request that carries the token neither in its cookie nor in its headers."""
        cookie = f"{COOKIE}_{(scope.get('server') or ('', 0))[1]}"  # browsers share cookies between ports
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(asked).get("token")
        if scope["type"] == "websocket" and given is not None and _same(given, token):
            return None
        if scope["type"] == "http" and scope["method"] == "GET" and given is not None and _same(given, token):
            rest = urlencode([(key, value) for key, value in asked if key != "token"])
            place = "/" + quote(scope["path"].lstrip("/")) + (f"?{rest}" if rest else "")
            response = _go(place, from_elsewhere=headers.get("sec-fetch-site") == "cross-site")
            response.set_cookie(
                cookie, token, max_age=COOKIE_S, secure=scope.get("scheme") == "https", httponly=True, samesite="strict"
            )
            return response
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(bearer.strip(), token):
            return None
        if _same(cookie_parser(headers.get("cookie", "")).get(cookie, ""), token):
            return None
        response = self._refuse(401, "Open the address that mien printed, with its token.")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response


def make_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def check_token(token: str) -> str:
    """Return a token; InputError where it is short or would not pass through an address and a cookie unchanged."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]{12,200}", token):
        raise InputError("the token must have 12 to 200 letters, digits, dots, dashes or underscores; leave --token"
                         " out and one is made")  # fmt: skip
    return token


def check_name(name: str) -> None:
    """Raise InputError where no request's Host header names that: more than a host, such as its port, or nothing."""
    if not name or name.lower() not in (_host_name(name), _host_name(f"[{name}]")):  # in brackets: IPv6
        raise InputError(f"--name {printable(name)}: expected the name of a host alone, such as faces.example.org")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _same(given: str, token: str) -> bool:
    """Return whether two tokens are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _go(place: str, *, from_elsewhere: bool) -> Response:
    """Return a response that leads to another place of this site.

    from_elsewhere: the visitor followed a link of another site; after a redirect, the browser would still hold back a
    strict cookie, so that a page of our own has to lead on.
    """
    if not from_elsewhere:
        return RedirectResponse(place, 303)
    return HTMLResponse(f'<!doctype html><meta http-equiv="refresh" content="0;url={place.replace("&", "&amp;")}">')


def _is_foreign(headers: Headers) -> bool:
    """Return whether another site's page has sent a request, or may have."""
    origin = headers.get("origin")
    try:
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return True
    except ValueError:  # no address, such as http://[
        return True
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port; empty where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
