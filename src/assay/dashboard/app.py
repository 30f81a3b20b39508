"""The dashboard's web application: pages, a small JSON API, sign-in, and a strict browser policy."""

from __future__ import annotations

import asyncio
import hmac
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment
from starlette.exceptions import HTTPException as AnyHTTPException

from assay.dashboard import charts, openmetrics, pages
from assay.dashboard.rendering import environment
from assay.dashboard.sessions import COOKIE, TRIES, TRIES_WITHIN, Session, Sessions
from assay.errors import AssayError, ConfigError, IncidentError, LogError
from assay.project.auditing import proof_of
from assay.project.health import last_diagnosis, model_health, project_health
from assay.project.metrics import gather

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from assay.project.project import Project

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OPEN_PATHS = ("/sign-in", "/healthz", "/favicon.svg")
STATIC = "/static/"
METRICS = "/metrics"
TOO_MANY = "Too many wrong tokens. Wait five minutes."
MOST_BODY_BYTES = 16 * 1024
LENGTH = re.compile(r"[0-9]{1,9}")
LOCAL = re.compile(r"/(?!/)[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*")
MOST_NUMBER = 2**53  # of an incident or a log entry: what every database here can be asked for
PAGE = 50
Number = Annotated[int, InPath(ge=0, le=MOST_NUMBER)]
Who = Annotated[str, Form(max_length=100, pattern=r"^\P{Cc}*[^\p{Cc}\s]\P{Cc}*$")]
Reason = Annotated[str, Form(max_length=2000, pattern=r"\S")]
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#2f6db3"/>'
    '<path d="M4.5 8.5l2.5 2.5 4.5-5.5" fill="none" stroke="#fff" stroke-width="1.8"/></svg>'
)


@dataclass
class Desk:
    """What every request needs: the project, the clock, who is signed in.

    Pages are made in worker threads; the database layer is thread-safe, drawing is not and is locked.
    """

    project: Project
    sessions: Sessions
    clock: Callable[[], datetime]
    secure: bool
    drawing: threading.Lock
    templates: Environment

    def page(
        self, request: Request, template: str, values: Mapping[str, object] | None = None, *, status: int = 200
    ) -> HTMLResponse:
        """Render a template for the session of a request."""
        session = _session(request)
        text = self.templates.get_template(template).render(
            project=self.project.config.name,
            signed_in=session is not None,
            csrf=session.csrf if session else "",
            now=self.clock(),
            **{"refresh": False, **(values or {})},
        )
        return HTMLResponse(text, status_code=status)

    def admits(self, token: str, address: str) -> bool:
        """Whether the token opens the door; an address that is no longer listened to is logged, once a spell."""
        if self.sessions.right(token, address):
            return True
        if self.sessions.blocked(address):
            now = self.clock()
            spell = int(now.timestamp() / TRIES_WITHIN.total_seconds())
            who = self.sessions.named(address)
            data = {"address": who, "wrong": TRIES}
            once = f"sign-in.blocked:{who}:{spell}"
            with suppress(AssayError):  # a log that cannot be written neither opens the door nor breaks the answer
                self.project.log.append("sign-in.blocked", "dashboard", data, actor="dashboard", now=now, once=once)
        return False

    def problem(self, request: Request, status: int, headline: str, detail: str) -> Response:
        """Say what is wrong, as a page or as JSON."""
        if _path(request).startswith(("/api/", METRICS)):
            return JSONResponse({"error": detail}, status_code=status)
        return self.page(
            request, "problem.html", {"headline": headline, "detail": detail, "status": status}, status=status
        )


def create_app(project: Project, *, token: str, clock: Callable[[], datetime], secure: bool = False) -> FastAPI:
    """Make the application.

    Args:
        project: What it shows.
        token: What opens it; printed where the server was started.
        clock: Reads the time.
        secure: Set the session cookie for HTTPS only.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(charts.warm_up)
        yield

    app = FastAPI(title="assay", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=life)
    desk = Desk(project, Sessions.guarded_by(token, clock), clock, secure, threading.Lock(), environment(clock))
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    _guard(app, desk)
    _apologise(app, desk)
    _sign_in(app, desk)
    _read(app, desk)
    _read_log(app, desk)
    _act(app, desk)
    return app


def _guard(app: FastAPI, desk: Desk) -> None:
    """Every request: a bounded body, a session or token, the browser's policy on the answer."""

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.session = desk.sessions.of(request.cookies.get(COOKIE))
        response = await _admit(request, desk) or await call_next(request)
        response.headers.update(HEADERS)
        return response


def _apologise(app: FastAPI, desk: Desk) -> None:
    """Every error as a page of ours or as JSON, never as a traceback."""

    @app.exception_handler(AssayError)
    async def refused(request: Request, err: AssayError) -> Response:
        unknown = isinstance(err, ConfigError) or (isinstance(err, IncidentError) and request.method == "GET")
        status = 404 if unknown else 409 if isinstance(err, IncidentError) else 503
        return desk.problem(request, status, "That did not work", err.message)

    @app.exception_handler(AnyHTTPException)
    async def http(request: Request, err: AnyHTTPException) -> Response:
        if err.status_code == HTTPStatus.NOT_FOUND:
            return desk.problem(request, 404, "No such page", f"There is nothing at {_path(request)}.")
        response = desk.problem(request, err.status_code, HTTPStatus(err.status_code).phrase, err.detail)
        response.headers.update(err.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, _: Exception) -> Response:
        return desk.problem(request, 422, "That was not understood", "A field is missing or malformed.")

    @app.exception_handler(Exception)
    async def broken(request: Request, _: Exception) -> Response:
        # It runs outside of the guard, which therefore cannot add the headers. The server logs the traceback.
        response = desk.problem(request, 500, "That is our fault", "The server's output says more.")
        response.headers.update(HEADERS)
        return response


def _path(request: Request) -> str:
    """What routes are chosen by; ``request.url`` is put together from the Host header, which the client writes."""
    return str(request.scope["path"])


def _session(request: Request) -> Session | None:
    session: Session | None = getattr(request.state, "session", None)
    return session


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def _admit(request: Request, desk: Desk) -> Response | None:
    """Turn a request away, or let it on."""
    path = _path(request)
    if not _bounded(request):
        return desk.problem(request, 413, "Too large", f"A form has a length, of at most {MOST_BODY_BYTES} bytes.")
    if path in OPEN_PATHS or path.startswith(STATIC) or _session(request) is not None:
        return None
    if path.startswith("/api/") or path == METRICS:
        return _admit_program(request, desk)
    asked = urlencode({"next": quote(path)})
    return RedirectResponse(f"/sign-in?{asked}" if request.method == "GET" else "/sign-in", status_code=303)


def _bounded(request: Request) -> bool:
    """Whether the body says its length and that is small; a chunked one has none, whatever else it says."""
    length = request.headers.get("content-length", "" if request.method == "POST" else "0")
    if "transfer-encoding" in request.headers or not LENGTH.fullmatch(length):
        return False
    return int(length) <= MOST_BODY_BYTES


def _admit_program(request: Request, desk: Desk) -> Response | None:
    """The API takes the token itself, as a bearer token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return JSONResponse({"error": "send the token as Authorization: Bearer …"}, status_code=401)
    if desk.sessions.blocked(_address(request)):
        return JSONResponse({"error": TOO_MANY}, status_code=429)
    if not desk.admits(token.strip(), _address(request)):
        return JSONResponse({"error": "that is not the token"}, status_code=401)
    return None


def _sign_in(app: FastAPI, desk: Desk) -> None:
    def again(request: Request, status: int, problem: str, wanted: str) -> Response:
        return desk.page(request, "signin.html", {"problem": problem, "next": _local(wanted)}, status=status)

    @app.get("/sign-in")
    def form(request: Request, wanted: Annotated[str, Query(alias="next")] = "/") -> Response:
        return again(request, 200, "", wanted)

    @app.post("/sign-in")
    def begin(
        request: Request,
        token: Annotated[str, Form(max_length=400)],
        wanted: Annotated[str, Form(alias="next")] = "/",
    ) -> Response:
        address = _address(request)
        if desk.sessions.blocked(address):
            return again(request, 429, TOO_MANY, wanted)
        if not desk.admits(token.strip(), address):
            return again(request, 403, "That is not the token.", wanted)
        former = _session(request)
        if former is not None:
            desk.sessions.end(former)
        response = RedirectResponse(_local(wanted), status_code=303)
        session = desk.sessions.begin()
        response.set_cookie(COOKIE, session.id, httponly=True, samesite="strict", secure=desk.secure, path="/")
        return response


def _local(address: str) -> str:
    """An address of this server, or its front page: an open redirect would send people to a false sign-in."""
    return address if LOCAL.fullmatch(address) else "/"


def _read(app: FastAPI, desk: Desk) -> None:
    project = desk.project

    @app.get("/")
    def overview(request: Request) -> Response:
        health = project_health(project, now=desk.clock())
        with desk.drawing:
            sparks = {model.name: pages.spark(project, model.name) for model in health.models}
        return desk.page(request, "overview.html", {"health": health, "sparks": sparks, "refresh": True})

    @app.get("/models/{name}")
    def model(request: Request, name: str) -> Response:
        whole = project_health(project, now=desk.clock())
        health = model_health(project, name, whole.incidents, now=desk.clock())
        with desk.drawing:
            shown = pages.model_page(project, health, desk.clock())
        values = {"model": health, "log": whole.log, "checkpoint": whole.checkpoint, "refresh": True, **shown}
        return desk.page(request, "model.html", values)

    @app.get("/incidents")
    def incidents(request: Request) -> Response:
        found = project.desk.list()
        current = [one for one in found if one.state != "resolved"]
        resolved = [one for one in found if one.state == "resolved"]
        return desk.page(request, "incidents.html", {"current": current, "resolved": resolved})

    @app.get("/incidents/{number}")
    def incident(request: Request, number: Number) -> Response:
        shown = project.desk.show(number)
        name = shown.incident.model
        values = {"shown": shown, "why": last_diagnosis(project, name), "known": name in project.config.models}
        return desk.page(request, "incident.html", values)

    @app.get("/api/health")
    def health() -> Response:
        return JSONResponse(project_health(project, now=desk.clock()).as_json(desk.clock()))

    @app.get(METRICS)
    def metrics(request: Request) -> Response:
        kind = openmetrics.content_type(request.headers.get("accept", ""))
        return PlainTextResponse(openmetrics.text(gather(project, now=desk.clock())), media_type=kind)

    @app.get("/healthz")
    def alive() -> Response:
        return PlainTextResponse("ok")

    @app.get("/favicon.svg")
    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")


def _read_log(app: FastAPI, desk: Desk) -> None:
    project = desk.project

    @app.get("/log")
    def log(request: Request, before: Annotated[int | None, Query(ge=0, le=MOST_NUMBER)] = None) -> Response:
        size = project.log.size()
        end = size if before is None else min(before, size)
        first = max(0, end - PAGE)
        found, trouble = [], ""
        try:
            found = project.log.entries(after=first - 1, limit=end - first)[::-1] if end else []
        except LogError as err:
            trouble = err.message
        check = project_health(project, now=desk.clock()).log
        return desk.page(
            request, "log.html", {"entries": found, "older": first or None, "log": check, "trouble": trouble}
        )

    @app.get("/log/{position}")
    def entry(request: Request, position: Number) -> Response:
        proof = proof_of(project, position)
        values = {"proof": proof, "pretty": pages.pretty(proof.entry), "doubt": pages.doubt(project, proof)}
        return desk.page(request, "entry.html", values)


def _own_form(request: Request, csrf: Annotated[str, Form()] = "") -> None:
    """Refuse a form that another site made the browser send."""
    session = _session(request)
    if session is None or not hmac.compare_digest(csrf.encode(), session.csrf.encode()):
        raise HTTPException(403, "The form is not of this session.")


def _act(app: FastAPI, desk: Desk) -> None:
    """What people may do here: take an incident, close it, leave. Approvals are signed at the prompt."""
    acts = APIRouter(dependencies=[Depends(_own_form)])

    @acts.post("/incidents/{number}/acknowledge")
    def acknowledge(number: Number, who: Who) -> Response:
        desk.project.desk.acknowledge(number, who.strip(), desk.clock())
        return RedirectResponse(f"/incidents/{number}", status_code=303)

    @acts.post("/incidents/{number}/resolve")
    def resolve(number: Number, who: Who, reason: Reason) -> Response:
        desk.project.desk.resolve(number, who.strip(), reason.strip(), desk.clock())
        return RedirectResponse(f"/incidents/{number}", status_code=303)

    @acts.post("/sign-out")
    def end(request: Request) -> Response:
        session = _session(request)
        if session is not None:
            desk.sessions.end(session)
        response = RedirectResponse("/sign-in", status_code=303)
        response.delete_cookie(COOKIE)
        return response

    app.include_router(acts)
