"""The dashboard's web application: pages, a small JSON API, sign-in, and a strict browser policy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import ChainableUndefined, Environment, PackageLoader, select_autoescape

from assay.dashboard import charts, pages
from assay.dashboard.sessions import COOKIE, Session, Sessions
from assay.errors import AssayError, ConfigError, IncidentError, LogError
from assay.project.auditing import proof_of
from assay.project.health import model_health, project_health

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
OPEN_PATHS = ("/sign-in", "/healthz", "/favicon.svg", "/static/")
MOST_BODY_BYTES = 16 * 1024
PAGE = 50
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
        session: Session | None = request.state.session
        text = self.templates.get_template(template).render(
            project=self.project.config.name,
            signed_in=session is not None,
            csrf=session.csrf if session else "",
            now=self.clock(),
            **{"refresh": False, **(values or {})},
        )
        return HTMLResponse(text, status_code=status)

    def problem(self, request: Request, status: int, headline: str, detail: str) -> Response:
        """Say what is wrong, as a page or as JSON."""
        if request.url.path.startswith("/api/"):
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

    app = FastAPI(title="assay", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    desk = Desk(project, Sessions.guarded_by(token, clock), clock, secure, threading.Lock(), _templates(clock))
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    _guard(app, desk)
    _sign_in(app, desk)
    _read(app, desk)
    _read_log(app, desk)
    _act(app, desk)
    return app


def _templates(clock: Callable[[], datetime]) -> Environment:
    environment = Environment(
        loader=PackageLoader("assay.dashboard"),
        autoescape=select_autoescape(default=True),
        undefined=ChainableUndefined,  # a check's body has what its kind has
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = lambda time: f"{time:%Y-%m-%d %H:%M} UTC" if time else "never"
    environment.filters["day"] = lambda time: f"{time:%Y-%m-%d}" if time else "never"
    environment.filters["age"] = lambda time: _age(time, clock())
    return environment


def _age(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "never"
    seconds = (now - time).total_seconds()
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        count = round(seconds / size)
        if seconds >= size:
            return f"{count} {word}{'' if count == 1 else 's'} ago"
    return "just now"


def _guard(app: FastAPI, desk: Desk) -> None:
    """Every request: a bounded body, a session or token, the browser's policy on the answer."""

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.session = desk.sessions.of(request.cookies.get(COOKIE))
        response = await _admit(request, desk) or await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(AssayError)
    async def refused(request: Request, err: AssayError) -> Response:
        status = 404 if isinstance(err, ConfigError) else 409 if isinstance(err, IncidentError) else 503
        return desk.problem(request, status, "That did not work", err.message)

    @app.exception_handler(404)
    async def missing(request: Request, _: Exception) -> Response:
        return desk.problem(request, 404, "No such page", f"There is nothing at {request.url.path}.")

    @app.exception_handler(422)
    async def malformed(request: Request, _: Exception) -> Response:
        return desk.problem(request, 422, "That was not understood", "A field is missing or malformed.")


async def _admit(request: Request, desk: Desk) -> Response | None:
    """Turn a request away, or let it on."""
    path = request.url.path
    length = request.headers.get("content-length", "0")
    if request.method == "POST" and (
        not length.isdigit() or int(length) > MOST_BODY_BYTES or "content-length" not in request.headers
    ):
        return desk.problem(request, 413, "Too large", f"A form is at most {MOST_BODY_BYTES} bytes.")
    if path.startswith(OPEN_PATHS) or request.state.session is not None:
        return None
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    address = request.client.host if request.client else "unknown"
    if path.startswith("/api/"):
        if bearer and not desk.sessions.blocked(address) and desk.sessions.right(bearer, address):
            return None
        return JSONResponse({"error": "send the token as Authorization: Bearer …"}, status_code=401)
    return RedirectResponse(f"/sign-in?next={quote(path)}" if request.method == "GET" else "/sign-in", status_code=303)


def _sign_in(app: FastAPI, desk: Desk) -> None:
    @app.get("/sign-in")
    def form(request: Request) -> Response:
        return desk.page(request, "signin.html", {"problem": ""})

    @app.post("/sign-in")
    def begin(request: Request, token: Annotated[str, Form(max_length=400)], next: str = "/") -> Response:  # noqa: A002 - the query's name
        address = request.client.host if request.client else "unknown"
        if desk.sessions.blocked(address):
            return desk.page(
                request, "signin.html", {"problem": "Too many wrong tokens. Wait five minutes."}, status=429
            )
        if not desk.sessions.right(token.strip(), address):
            return desk.page(request, "signin.html", {"problem": "That is not the token."}, status=403)
        session = desk.sessions.begin()
        response = RedirectResponse(next if _local(next) else "/", status_code=303)
        response.set_cookie(COOKIE, session.id, httponly=True, samesite="strict", secure=desk.secure, path="/")
        return response

    @app.post("/sign-out")
    def end(request: Request, csrf: Annotated[str, Form(max_length=200)]) -> Response:
        session: Session = request.state.session
        if csrf != session.csrf:
            return desk.problem(request, 403, "Refused", "The form is not of this session.")
        desk.sessions.end(session)
        response = RedirectResponse("/sign-in", status_code=303)
        response.delete_cookie(COOKIE)
        return response


def _local(path: str) -> bool:
    """Whether an address stays on this server: an open redirect would send people to a false sign-in."""
    return path.startswith("/") and not path.startswith(("//", "/\\"))


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
    def incident(request: Request, number: int) -> Response:
        return desk.page(request, "incident.html", {"shown": project.desk.show(number)})

    @app.get("/api/health")
    def health() -> Response:
        return JSONResponse(project_health(project, now=desk.clock()).as_json(desk.clock()))

    @app.get("/healthz")
    def alive() -> Response:
        return PlainTextResponse("ok")

    @app.get("/favicon.svg")
    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")


def _read_log(app: FastAPI, desk: Desk) -> None:
    project = desk.project

    @app.get("/log")
    def log(request: Request, before: int | None = None) -> Response:
        size = project.log.size()
        end = size if before is None else max(0, min(before, size))
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
    def entry(request: Request, position: int) -> Response:
        proof = proof_of(project, position)
        return desk.page(request, "entry.html", {"proof": proof, "pretty": pages.pretty(proof.entry)})


def _act(app: FastAPI, desk: Desk) -> None:
    """What people may do here: take an incident, and close it. Approvals are signed at the prompt."""

    @app.post("/incidents/{number}/acknowledge")
    def acknowledge(
        request: Request,
        number: int,
        csrf: Annotated[str, Form(max_length=200)],
        who: Annotated[str, Form(min_length=1, max_length=100)],
    ) -> Response:
        if csrf != request.state.session.csrf:
            return desk.problem(request, 403, "Refused", "The form is not of this session.")
        desk.project.desk.acknowledge(number, who, desk.clock())
        return RedirectResponse(f"/incidents/{number}", status_code=303)

    @app.post("/incidents/{number}/resolve")
    def resolve(
        request: Request,
        number: int,
        csrf: Annotated[str, Form(max_length=200)],
        who: Annotated[str, Form(min_length=1, max_length=100)],
        reason: Annotated[str, Form(min_length=1, max_length=2000)],
    ) -> Response:
        if csrf != request.state.session.csrf:
            return desk.problem(request, 403, "Refused", "The form is not of this session.")
        desk.project.desk.resolve(number, who, reason, desk.clock())
        return RedirectResponse(f"/incidents/{number}", status_code=303)
