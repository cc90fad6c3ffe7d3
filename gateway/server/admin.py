"""The admin listener: is the process alive, is it ready, how is it doing."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.telemetry.metrics import CONTENT_TYPE


class AdminStatus(Protocol):
    """What the admin listener may ask of the running gateway.

    Problems are sentences for the operator, without addresses that hold passwords.
    """

    @property
    def draining(self) -> bool:
        """Whether the gateway is about to stop."""

    async def store_problem(self) -> str | None:
        """Say why the session store cannot be used now; None if it can. Ends in limited time."""

    async def upstream_problems(self) -> tuple[Sequence[str], Sequence[str]]:
        """Say which targets of upstreams cannot be used now, and why. Ends in limited time.

        First those of upstreams that have no other, then those that others stand in for.
        """

    async def render_metrics(self) -> bytes:
        """Return the metrics in Prometheus' text format. Ends in limited time."""


_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def admin_app(status: AdminStatus, *, listen_host: str = "") -> web.Application:
    """Return the application that answers on the admin listener.

    Args:
        listen_host: The host of ``server.admin.listen``; a name there is one to be called by.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reasons = ["draining: the gateway is about to stop"] if status.draining else []
        if (problem := await status.store_problem()) is not None:
            reasons.append(f"store: {problem}")
        without, replaced = await status.upstream_problems()
        reasons += without
        content: dict[str, object] = {"ready": not reasons, "reasons": reasons}
        if replaced:  # somebody should look, but requests are served
            content["targets_down"] = replaced
        return _json(503 if reasons else 200, content)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=await status.render_metrics(), headers={**_HEADERS, "Content-Type": CONTENT_TYPE}
        )

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _called_by_its_name(request, listen_host):
            return _json(403, {"error": "Host or Origin is not this listener's"})
        try:
            return await handler(request)
        except web.HTTPException as refusal:  # 404 and 405, as the router found
            allow = refusal.headers.get("Allow")
            return _json(
                refusal.status, {"error": refusal.reason}, {"Allow": allow} if allow else {}
            )

    app = web.Application(middlewares=[guarded])
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


def _called_by_its_name(request: web.Request, listen_host: str) -> bool:
    """Tell whether a web page in somebody's browser may be behind this request.

    A page of another site can point its own name at our address (DNS rebinding), loopback or not;
    the browser then says that name in ``Host``. It cannot do so with an address or ``localhost``.
    """
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1:
        return False
    host = _hostname(hosts[0])
    if host is None or not (_is_address(host) or host in {"localhost", listen_host.lower()}):
        return False
    origins = request.headers.getall("Origin", [])
    return all(
        origin.partition("://")[2].lower() == hosts[0].lower() for origin in origins
    )  # also refuses "null"


def _hostname(authority: str) -> str | None:
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises when it is none
    except ValueError:
        return None
    if parts.netloc != authority or "@" in authority:
        return None
    return parts.hostname


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _json(
    status: int, content: dict[str, object], headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(content) + b"\n",
        headers={**_HEADERS, "Content-Type": "application/json", **(headers or {})},
    )
