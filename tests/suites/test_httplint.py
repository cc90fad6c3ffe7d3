"""What REDbot's engine, httplint, says of the gateway's answers and of the requests it sends on."""

from __future__ import annotations

import time

import pytest
from httplint import HttpRequestLinter, HttpResponseLinter, levels
from httplint.message import HttpMessageLinter

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Answer, Client, Fields, Head, Received, Upstream, parse_head
from tests.suites.verdict import assert_all_pass

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}", down: "http://127.0.0.1:1"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /get, methods: [GET], access: public}
  - {path: /optional, access: optional}
  - {path: /login, access: login}
  - {path: /admin, access: login, role: admin}
  - {path: /down, access: public, upstream: down}
  - {path: /small, access: public, max_body: 1KiB}
  - {path: /cors, access: login, cors: {origins: ["https://spa.example"]}}
  - {path: /safe, access: public, security_headers: true}
"""

PAGE = "Accept: text/html"
OF_AN_APP = "Sec-Fetch-Mode: cors"
BODY = "Content-Length: 2\r\n\r\nok"

ASKED = {
    "passed on": ("GET /public", [PAGE], 200),
    "of HEAD": ("HEAD /public", [], 200),
    "of POST": ("POST /public", ["Content-Type: text/plain", BODY], 200),
    "of PUT in chunks": ("PUT /public", ["Transfer-Encoding: chunked\r\n\r\n0"], 200),
    "of DELETE": ("DELETE /public", [], 200),
    "of OPTIONS": ("OPTIONS /public", [], 200),
    "of a range": ("GET /public", ["Range: bytes=0-3"], 200),
    "of a condition": ("GET /public", ["If-None-Match: *"], 200),
    "with a query": ("GET /public/x?q=%20&r[]=1", [], 200),
    "for maybe somebody": ("GET /optional", [], 200),
    "with our own fields": ("GET /safe", [], 200),
    "redirect to the sign-in page": ("GET /login", [PAGE], 302),
    "sign-in page": ("GET /_gateway/auth/signin", [PAGE], 200),
    "health": ("GET /_gateway/health", [], 200),
    "session": ("GET /_gateway/auth/session", [], 200),
    "CSRF token": ("GET /_gateway/auth/csrf", [], 200),
    "providers": ("GET /_gateway/auth/providers", [], 200),
    "not signed in": ("GET /login", [OF_AN_APP], 401),
    "not signed in, of a page": ("POST /login", [PAGE, "Content-Length: 0"], 401),
    "not allowed": ("GET /nowhere", [OF_AN_APP], 403),
    "not allowed, of a page": ("GET /nowhere", [PAGE], 403),
    "ambiguous path": ("GET /public/..%2f", [], 400),
    "ambiguous path, of a page": ("GET /public/..%2f", [PAGE], 400),
    "no such page of ours": ("GET /_gateway/nothing", [PAGE], 404),
    "another method": ("POST /get", ["Content-Length: 0"], 405),
    "body too long": ("POST /small", ["Content-Length: 9999"], 413),
    "upstream is down": ("GET /down", [PAGE], 502),
    "pre-flight": (
        "OPTIONS /cors",
        ["Origin: https://spa.example", "Access-Control-Request-Method: GET"],
        204,
    ),
}
"""Requests, as start line and further lines, and the status of the answer."""

PAGE_OF_UPSTREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


async def answer_page(request: Received) -> None:
    await request.read()
    body = b"" if request.method == "HEAD" else b"ok"
    await request.peer.send(PAGE_OF_UPSTREAM % (2, body))


@pytest.mark.parametrize(("start", "lines", "status"), ASKED.values(), ids=ASKED)
async def test_httplint_finds_nothing_bad(
    start: str, lines: list[str], status: int, gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answer_page
    head = [f"{start} HTTP/1.1", f"Host: localhost:{gateway.port}", "User-Agent: suite"]
    asked = "\r\n".join([*head, *lines, "\r\n"])
    async with Client(gateway.port) as client:
        answer = await client.ask(asked)
    assert answer.status == status
    sent_on = [_linted_request(request, request.body) for request in upstream.requests]
    messages = [_linted_answer(answer, asked), *sent_on]
    bad = [
        f"{linter.message_type}: {note.summary}"
        for linter in messages
        for note in linter.notes
        if note.level is levels.BAD
    ]
    assert_all_pass(bad, cases=len(messages))


def _linted_answer(answer: Answer, asked: str) -> HttpResponseLinter:
    linter = HttpResponseLinter(start_time=time.time())
    linter.request = _linted_request(parse_head(asked.partition("\r\n\r\n")[0].encode()))
    linter.is_head_response = linter.request.method == "HEAD"
    version, status, *phrase = answer.start.encode().split(b" ", 2)
    linter.process_response_topline(version.removeprefix(b"HTTP/"), status, b"".join(phrase))
    _feed(linter, answer, answer.body)
    return linter


def _linted_request(request: Head, body: bytes = b"") -> HttpRequestLinter:
    linter = HttpRequestLinter(start_time=time.time())
    method, target, version = request.start.encode("latin-1").split(b" ")
    linter.process_request_topline(method, target, version.removeprefix(b"HTTP/"))
    _feed(linter, request, body)
    return linter


def _feed(linter: HttpMessageLinter, head: Head, body: bytes) -> None:
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.fields]
    linter.process_headers(fields)
    linter.feed_content(body)
    linter.finish_content(complete=True)


async def test_a_fault_is_found() -> None:
    answer = Answer("HTTP/1.1 200 OK", Fields([("Content-Length", "3")]), b"", b"four")
    notes = _linted_answer(answer, "GET / HTTP/1.1\r\n\r\n").notes
    assert [note.summary for note in notes if note.level is levels.BAD]
