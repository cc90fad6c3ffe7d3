"""The demo's application. It knows nothing of sessions and believes the headers it gets.

So it listens on the loopback address alone, as any application behind the gateway should.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

from aiohttp import WSMsgType, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_FOLDER = Path(__file__).parent / "templates"
_TOLD = ("x-user-", "x-auth-", "x-session-", "x-request-id", "x-forwarded-", "forwarded")
"""How the headers begin that the gateway sets, in the order in which they are shown."""
_LONGEST_MESSAGE = 64 * 1024


@asynccontextmanager
async def running() -> AsyncIterator[int]:
    """Serve the application on a free port of the loopback address, and yield the port."""
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def application() -> web.Application:
    """Return the application."""
    pages = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
    )
    app = web.Application()
    app.add_routes(
        [
            web.get("/", _page(pages, "home.html")),
            web.get("/app", _page(pages, "app.html")),
            web.get("/admin", _page(pages, "admin.html")),
            web.get("/chat", _page(pages, "chat.html")),
            web.get("/api/me", _me),
            web.get("/ws", _echo),
            web.get("/static/style.css", _style),
        ]
    )
    return app


def _page(
    pages: Environment, template: str
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        text = pages.get_template(template).render(
            here=request.path, user=_user(request), headers=_headers(request)
        )
        return web.Response(text=text, content_type="text/html")

    return handle


def _user(request: web.Request) -> dict[str, str] | None:
    told = request.headers
    if "X-User-Id" not in told:
        return None
    # The gateway percent-encodes what a header cannot hold.
    return {
        "id": unquote(told["X-User-Id"]),
        "name": unquote(told.get("X-User-Name", told["X-User-Id"])),
        "roles": unquote(told.get("X-User-Roles", "")).replace(",", ", "),
    }


def _headers(request: web.Request) -> list[tuple[str, str, bool]]:
    """Return name, value and whether the gateway says it; what the gateway says comes first."""
    found = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
    ]
    rank = {header: _rank(header[0]) for header in found}
    return [(*header, rank[header] < len(_TOLD)) for header in sorted(found, key=rank.__getitem__)]


def _rank(name: str) -> int:
    starts = (rank for rank, start in enumerate(_TOLD) if name.lower().startswith(start))
    return next(starts, len(_TOLD))


async def _me(request: web.Request) -> web.StreamResponse:
    return web.json_response(
        {name: value for name, value, told in _headers(request) if told and "orward" not in name}
    )


async def _echo(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(heartbeat=30.0, max_msg_size=_LONGEST_MESSAGE)
    await socket.prepare(request)
    user = _user(request)
    name = "somebody" if user is None else user["name"]
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(f"{name}: {message.data}")
    return socket


async def _style(_: web.Request) -> web.StreamResponse:
    return web.FileResponse(_FOLDER / "style.css", headers={"Cache-Control": "no-cache"})
