"""No spelling of a protected path reaches the upstream: the requests of bypass-url-parser.

They come from somebody without a session. ``/admin`` wants one, everything else is public, and
both have the same upstream: what it gets must not read as the protected path to any backend.
"""

from __future__ import annotations

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Answer, BrokenAnswer, Client, Upstream
from tests.suites.bypass import Trick, tricks
from tests.suites.readings import readings
from tests.suites.verdict import assert_all_pass

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROTECTED = "/admin"

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
  - {path: /admin/**, access: login, role: admin}
"""

KINDS = [
    "original_request",
    "case_substitution",
    "char_encode",
    "char_encode_double",
    "char_encode_triple",
    "end_paths",
    "mid_paths",
    "http_methods",
    "http_headers_ip",
    "http_headers_method",
    "http_headers_port",
    "http_headers_scheme",
    "http_headers_url",
    "user_agent",
]


async def test_every_kind_of_trick_is_among_the_tests() -> None:
    assert {trick.kind for trick in tricks(PROTECTED)} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_trick_reaches_the_protected_path(
    kind: str, gateway: GatewayProcess, upstream: Upstream
) -> None:
    attempts = [trick for trick in tricks(PROTECTED) if trick.kind == kind]
    faults: list[str] = []
    for trick in attempts:
        upstream.requests.clear()
        faults += await _faults(trick, gateway, upstream)
    assert_all_pass(faults, cases=len(attempts))


def _is_protected(path: str) -> bool:
    return path == PROTECTED or path.startswith(PROTECTED + "/")


async def _faults(trick: Trick, gateway: GatewayProcess, upstream: Upstream) -> list[str]:
    try:
        answer = await _answer(trick, gateway)
    except (BrokenAnswer, TimeoutError) as error:
        return [f"no whole answer ({error!r}): {trick.printed}"]
    faults = [
        f"upstream got {request.start!r}, to {backend} {path!r}: {trick.printed}"
        for request in upstream.requests
        for backend, path in readings(request.target)
        if _is_protected(path)
    ]
    if answer.status >= 500 or (answer.status == 200) != bool(upstream.requests):
        faults.append(f"answer {answer.status}: {trick.printed}")
    return faults


async def _answer(trick: Trick, gateway: GatewayProcess) -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask(trick.request(f"localhost:{gateway.port}"))
