"""The admin listener tells machines how the gateway is, and web pages nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request

from gateway.server.admin import admin_app

Client = TestClient[Request, Application]
Connect = Callable[[Application], Awaitable[Client]]


@dataclass
class Status:
    draining: bool = False
    store: str | None = None
    upstreams: Sequence[str] = ()
    replaced: Sequence[str] = ()

    async def store_problem(self) -> str | None:
        return self.store

    async def upstream_problems(self) -> tuple[Sequence[str], Sequence[str]]:
        return self.upstreams, self.replaced

    async def render_metrics(self) -> bytes:
        return b"gateway_requests_in_flight 0.0\n"


async def test_a_living_process_is_healthy_whatever_it_waits_for(aiohttp_client: Connect) -> None:
    client = await aiohttp_client(admin_app(Status(draining=True, store="connection refused")))
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("status", "code", "reasons"),
    [
        pytest.param(Status(), 200, [], id="ready"),
        pytest.param(
            Status(store="connection refused"), 503, ["store: connection refused"], id="store"
        ),
        pytest.param(
            Status(upstreams=["upstream app: connection refused", "upstream api: timeout"]),
            503,
            ["upstream app: connection refused", "upstream api: timeout"],
            id="upstreams",
        ),
        pytest.param(
            Status(draining=True), 503, ["draining: the gateway is about to stop"], id="draining"
        ),
    ],
)
async def test_readiness_names_every_reason_against_it(
    aiohttp_client: Connect, status: Status, code: int, reasons: list[str]
) -> None:
    client = await aiohttp_client(admin_app(status))
    answer = await client.get("/readyz")
    assert answer.status == code
    assert await answer.json() == {"ready": not reasons, "reasons": reasons}


async def test_a_target_that_others_stand_in_for_is_named_and_is_no_reason(
    aiohttp_client: Connect,
) -> None:
    client = await aiohttp_client(admin_app(Status(replaced=["upstream app: refused"])))
    answer = await client.get("/readyz")
    assert answer.status == 200
    assert await answer.json() == {
        "ready": True,
        "reasons": [],
        "targets_down": ["upstream app: refused"],
    }


async def test_metrics_are_in_prometheus_text_format(aiohttp_client: Connect) -> None:
    client = await aiohttp_client(admin_app(Status()))
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert await answer.read() == b"gateway_requests_in_flight 0.0\n"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9180", 200),
        ("localhost:9180", 200),
        ("LOCALHOST", 200),
        ("[::1]:9180", 200),
        ("10.0.0.7", 200),
        ("admin.internal:9180", 200),
        ("evil.example:9180", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example@127.0.0.1", 403),
        ("127.0.0.1:port", 403),
        ("127.0.0.1/x", 403),
        ("", 403),
    ],
)
async def test_only_a_host_no_web_page_can_borrow_is_answered(
    aiohttp_client: Connect, host: str, status: int
) -> None:
    client = await aiohttp_client(admin_app(Status(), listen_host="admin.internal"))
    answer = await client.get("/healthz", headers={"Host": host})
    assert answer.status == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:9180", 200),
        ("http://127.0.0.1:9999", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_a_page_of_another_origin_is_refused(
    aiohttp_client: Connect, origin: str, status: int
) -> None:
    client = await aiohttp_client(admin_app(Status()))
    headers = {"Host": "127.0.0.1:9180", "Origin": origin}
    answer = await client.get("/metrics", headers=headers)
    assert answer.status == status


async def test_a_strange_host_learns_not_even_what_exists(aiohttp_client: Connect) -> None:
    client = await aiohttp_client(admin_app(Status()))
    for path in ("/metrics", "/nothing"):
        answer = await client.get(path, headers={"Host": "evil.example"})
        assert answer.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_can_be_changed(aiohttp_client: Connect, method: str) -> None:
    client = await aiohttp_client(admin_app(Status()))
    answer = await client.request(method, "/healthz")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}
    assert answer.headers["Content-Type"] == "application/json"


async def test_head_is_answered_without_a_body(aiohttp_client: Connect) -> None:
    client = await aiohttp_client(admin_app(Status()))
    answer = await client.head("/metrics")
    assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/api/sessions", "/healthz/", "/metrics/x"])
async def test_nothing_else_is_there(aiohttp_client: Connect, path: str) -> None:
    client = await aiohttp_client(admin_app(Status()))
    answer = await client.get(path)
    assert answer.status == 404
