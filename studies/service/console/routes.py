"""The console's routes: what may be seen, and what may be changed, by whom.

Every page needs the cookie of a session, which a browser gets for the admin token. A change is a POST that a page of
the console itself must have sent: `Sec-Fetch-Site` or `Origin` says so, and the form carries the session's token.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack
from urllib.parse import parse_qsl, urlsplit

import anyio
import anyio.to_thread
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from db.errors import StorageError
from db.service_views import kept_picture
from simkit.errors import ConfigError
from studies.render.pictures import photo
from studies.service import changes
from studies.service.console.login import HOURS, Door, Session, Sessions
from studies.service.console.pages import Pages
from studies.service.console.views import Rates, key_page, overview
from studies.service.keys import Key, KeyFile
from studies.service.models import Opened

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_LOG = logging.getLogger("simkit.service")

COOKIE = "simkit_console"

HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # with no-referrer, browsers would send `Origin: null` with forms
}

_FORM_BYTES, _FORM_SECONDS = 4096, 10.0
_DONE = {
    "revoke": "The key is revoked.",
    "pardon": "The bans of the key up to now no longer count.",
    "top-up": "The budget of the key is larger now.",
}
_QUERIES = re.compile(r"[0-9]{1,13}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

Handler = Callable[[Request, Session], Awaitable[Response]]


@dataclass(frozen=True, repr=False)
class Console:
    """What the console shows. db: the provider's ledger. rates: see `Gate.seen_rates`. secure: whether browsers reach
    it over HTTPS, also where a proxy adds that."""

    token: str
    db: Path
    keys: KeyFile
    models: tuple[Opened, ...]
    rates: Rates
    secure: bool = False


def add_console(app: Starlette, console: Console) -> None:
    """Add the console to an application, at /console."""
    app.router.routes.extend(_Shown(console).routes())


class _Refused(Exception):
    """A request that is answered with a page that says why not."""

    def __init__(self, status: int, title: str, problem: str) -> None:
        super().__init__(problem)
        self.status, self.title, self.problem = status, title, problem


class _Shown:
    """The handlers of one console."""

    def __init__(self, console: Console) -> None:
        self._console, self._pages = console, Pages()
        self._door, self._sessions = Door(console.token), Sessions()
        self._style = self._pages.style()

    def routes(self) -> list[BaseRoute]:
        """All routes."""
        return [
            Route("/console", self._seen(self._overview)),
            Route("/console/", self._home),
            Route("/console/login", self._login, methods=["GET", "POST"]),
            Route("/console/logout", self._seen(self._logout), methods=["POST"]),
            Route("/console/style.css", self._css),
            Route("/console/pictures/{sha256}.png", self._seen(self._picture)),
            Route("/console/keys/{id}", self._seen(self._key)),
            Route("/console/keys/{id}/{change}", self._seen(self._change), methods=["POST"]),
        ]

    def _seen(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler for browsers that are logged in; others get to the login."""

        async def handle(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return _to("/console/login")
            try:
                return await handler(request, session)
            except _Refused as refused:
                return _html(self._pages.failed(refused.title, refused.problem, session), refused.status)
            except (StorageError, ConfigError):
                _LOG.exception("the console cannot show %s", request.scope["route"].path)
                problem = "The ledger or the file of keys cannot be read for now. The log of the service says why."
                return _html(self._pages.failed("Not readable", problem, session), 503)

        return handle

    def _session(self, request: Request) -> Session | None:
        return self._sessions.of(request.cookies.get(COOKIE, ""))

    async def _home(self, request: Request) -> Response:
        return _to("/console")

    async def _css(self, request: Request) -> Response:
        return Response(self._style, media_type="text/css", headers=HEADERS)

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return _to("/console") if self._session(request) else _html(self._pages.login())
        address = request.client.host if request.client else ""
        if not _from_our_page(request):
            return _html(self._pages.login("The form was sent from another site. Try again here."), 403)
        if wait := self._door.wait(address):
            reply = _html(self._pages.login("There were too many wrong tokens. Try again in a minute."), 429)
            reply.headers["retry-after"] = str(int(wait) + 1)
            return reply
        try:
            given = (await _form(request)).get("token", "")
        except _Refused as refused:
            return _html(self._pages.login(refused.problem), refused.status)
        if not self._door.opens(given, address):
            _LOG.warning("console: a wrong admin token from %s", address)
            return _html(self._pages.login("This is not the admin token."), 401)
        reply = _to("/console")
        self._set_cookie(reply, request, self._sessions.begin(), HOURS * 3600)
        return reply

    def _set_cookie(self, reply: Response, request: Request, value: str, seconds: int) -> None:
        secure = self._console.secure or request.url.scheme == "https"
        reply.set_cookie(COOKIE, value, seconds, path="/console", secure=secure, httponly=True, samesite="strict")

    async def _logout(self, request: Request, session: Session) -> Response:
        await _checked(request, session)
        self._sessions.end(request.cookies[COOKIE])
        reply = _to("/console/login")
        self._set_cookie(reply, request, "", 0)
        return reply

    async def _overview(self, request: Request, session: Session) -> Response:
        about, page = self._console, _number(request, "page") or 1
        shown = await _in_thread(overview, about.db, about.keys, about.models, about.rates, page)
        return _html(await _in_thread(self._pages.overview, shown, session))

    async def _key(self, request: Request, session: Session) -> Response:
        key = await _in_thread(self._key_of, request)
        done = _DONE.get(request.query_params.get("done", ""), "")
        return await self._key_shown(key, session, _number(request, "before"), done=done)

    async def _key_shown(
        self, key: Key, session: Session, before: int | None = None, done: str = "", problem: str = ""
    ) -> Response:
        shown = await _in_thread(key_page, self._console.db, key, self._console.rates, before)
        page = await _in_thread(self._pages.key, shown, session, done, problem)
        return _html(page, 400 if problem else 200)

    def _key_of(self, request: Request) -> Key:
        wanted = request.path_params["id"]
        key = next((key for key in self._console.keys.all() if key.id == wanted), None)
        if key is None:
            raise _Refused(404, "No such key", "The file of keys has no key of this id.")
        return key

    async def _change(self, request: Request, session: Session) -> Response:
        form = await _checked(request, session)
        key, change = await _in_thread(self._key_of, request), request.path_params["change"]
        if change not in _DONE:
            raise _Refused(404, "No such change", "A key can be topped up, pardoned and revoked.")
        try:
            await _in_thread(self._changed, key.id, change, form)
        except ConfigError as error:
            _LOG.warning("console: %s of key %s was not possible: %s", change, key.id, error)
            words = {"top-up": "The budget was not changed. Give a number of queries from 1 to 1,000,000,000,000."}
            problem = words.get(change, "The key was not changed. The log of the service says why.")
            if key.revoked:
                problem = "The key was not changed. A revoked key stays revoked; make another one with simkit keys new."
            return await self._key_shown(key, session, problem=problem)
        _LOG.warning("console: %s of key %s", change, key.id)
        return _to(f"/console/keys/{key.id}?done={change}")

    def _changed(self, key_id: str, change: str, form: Mapping[str, str]) -> None:
        path = self._console.keys.path
        if change == "top-up":
            queries = form.get("queries", "")
            changes.top_up(path, key_id, int(queries) if _QUERIES.fullmatch(queries) else 0)
        else:
            {"revoke": changes.revoke, "pardon": changes.pardon}[change](path, key_id)

    async def _picture(self, request: Request, session: Session) -> Response:
        sha256 = request.path_params["sha256"]
        png = await _in_thread(_png, self._console.db, sha256) if _SHA256.fullmatch(sha256) else None
        if png is None:
            raise _Refused(404, "No such image", "The ledger keeps no image of this hash.")
        return Response(png, media_type="image/png", headers=HEADERS)


async def _in_thread(function: Callable[[Unpack[Ts]], T], *values: *Ts) -> T:
    return await anyio.to_thread.run_sync(function, *values)


def _png(db: Path, sha256: str) -> bytes | None:
    image = kept_picture(db, sha256)
    if image is None:
        return None
    stream = io.BytesIO()
    Image.fromarray(photo(image)).save(stream, format="PNG")
    return stream.getvalue()


async def _checked(request: Request, session: Session) -> dict[str, str]:
    """The form of a change. Raises _Refused unless a page of this session sent it."""
    form = await _form(request)
    if not (_from_our_page(request) and session.is_form(form.get("form", ""))):
        raise _Refused(403, "Not changed", "The form was not sent by a page of this login. Open the page again.")
    return form


def _from_our_page(request: Request) -> bool:
    """By headers that no page can set. A proxy may change the host's name; then `Sec-Fetch-Site` decides."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises _Refused if it is too large, or too slow."""
    body = b""
    try:
        with anyio.fail_after(_FORM_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > _FORM_BYTES:
                    raise _Refused(413, "Too large", "The form is too large.")
    except (TimeoutError, ClientDisconnect):
        raise _Refused(408, "Too slow", "The form did not arrive in time. Send it again.") from None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=16, errors="strict"))
    except ValueError:
        return {}


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    return int(text) if _QUERIES.fullmatch(text) else None


def _html(page: str, status: int = 200) -> Response:
    return Response(page, status, media_type="text/html", headers=HEADERS)


def _to(address: str) -> Response:
    return RedirectResponse(address, 303, headers=HEADERS)
