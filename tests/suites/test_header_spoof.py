"""No header of a client is taken for one of ours, and none sends its user to another host.

Each identity header is written in every way that lists and known vulnerabilities have, by somebody
anonymous and by somebody signed in. The fields that proxies write a client's address into are those
that bypass-url-parser knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import Answer, Client, Fields, Upstream
from tests.suites.bypass import forwarding_fields
from tests.suites.spellings import INVALID, VALID, folded, spelled
from tests.suites.verdict import assert_all_pass

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public, access: public}
  - {path: /optional, access: optional}
  - {path: /login, access: login}
"""

IDENTITY = [
    "X-User-Id",
    "X-User-Name",
    "X-User-Email",
    "X-User-Image",
    "X-User-Roles",
    "X-User-Permissions",
    "X-Session-Id",
    "X-Session-Expires",
    "X-Auth-Provider",
    "X-Request-Id",
    "X-Gateway-Assertion",
]

EVIL = "evil.test"

ADDRESS_FIELDS = re.compile(
    r"forwarded|x-forwarded(-.*)?|(x|true)-client-ip|x-real-ip|cf-connecting-ip", re.IGNORECASE
)
"""Those of the suite's fields whose value a client must not choose; others mean nothing to most."""

STEERING = [
    "Forwarded",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Uri",
    "X-HTTP-Host-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
]
"""Fields with a host or path that are not among the suite's."""

STEERING_VALUES = [
    EVIL,
    f"//{EVIL}/x",
    f"{EVIL}:443",
    f"http://{EVIL}/",
    f"host={EVIL};proto=https",
]

HOSTS = {
    "userinfo": "GET /login HTTP/1.1\r\nHost: {host}@evil.test",
    "longer port": "GET /login HTTP/1.1\r\nHost: {host}evil.test",
    "absolute target": "GET http://evil.test/login HTTP/1.1\r\nHost: {host}",
    "two hosts": "GET /login HTTP/1.1\r\nHost: {host}\r\nHost: evil.test",
    "a host and another": "GET /login HTTP/1.1\r\nHost: {host} evil.test",
    "another host": "GET /login HTTP/1.1\r\nHost: evil.test",
    "userinfo in the target": "GET @evil.test/login HTTP/1.1\r\nHost: {host}",
    "target with two slashes": "GET //evil.test/login HTTP/1.1\r\nHost: {host}",
}
"""Requests with a host that is not ours."""


@pytest.fixture(scope="module")
def ada(running_gateway: GatewayProcess) -> SignedIn:
    return running_gateway.sign_in("ada", name="Ada", email="ada@example.com", roles=["admin"])


async def ask(gateway: GatewayProcess, *lines: str) -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask("\r\n".join([*lines, "\r\n"]))


def other_fields() -> list[str]:
    """Return the suite's fields without ``Host``, of which there may be only one."""
    return [name for name in forwarding_fields() if name != "Host"]


# --- identity headers ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDENTITY)
async def test_an_anonymous_client_cannot_write_it(
    name: str, gateway: GatewayProcess, upstream: Upstream
) -> None:
    faults: list[str] = []
    for path in ("/public", "/optional"):
        faults += await _spoofs(name, [f"POST {path} HTTP/1.1"], gateway, upstream)
    assert_all_pass(faults, cases=2 * len(VALID | INVALID))


@pytest.mark.parametrize("name", IDENTITY)
async def test_a_signed_in_client_cannot_write_it(
    name: str, gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    start = ["POST /login HTTP/1.1", f"Cookie: {ada.cookie}"]
    faults = await _spoofs(name, start, gateway, upstream)
    assert_all_pass(faults, cases=len(VALID | INVALID))


async def _spoofs(
    name: str, start: list[str], gateway: GatewayProcess, upstream: Upstream
) -> list[str]:
    """Return what is wrong with the gateway's treatment of all spellings of a name."""
    start = [*start, f"Host: localhost:{gateway.port}"]
    assert (await ask(gateway, *start)).status == 200
    honest = [field for field, _ in _read_as(name, upstream.last.fields)]
    faults: list[str] = []
    for number, (how, spelling) in enumerate((VALID | INVALID).items()):
        upstream.forget()
        value = f"evil-{number}"
        answer = await ask(gateway, *start, spelled(spelling, name, value))
        if answer.status != (200 if how in VALID else 400):
            faults.append(f"{how}: answer {answer.status}")
        if len(upstream.requests) != (1 if how in VALID else 0):
            faults.append(f"{how}: upstream got {len(upstream.requests)} requests")
        for request in upstream.requests:
            read = list(_read_as(name, request.fields))
            if [field for field, _ in read] != honest or any(value in got for _, got in read):
                faults.append(f"{how}: upstream got {read}")
    return faults


def _read_as(name: str, fields: Fields) -> Iterator[tuple[str, str]]:
    return ((field, value) for field, value in fields if folded(field) == folded(name))


# --- addresses -----------------------------------------------------------------------------------


async def test_a_client_does_not_choose_its_address(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    names = [name for name in other_fields() if ADDRESS_FIELDS.fullmatch(name)]
    faults: list[str] = []
    for number, name in enumerate(names):
        upstream.forget()
        value = f"203.0.113.{number}"
        host = f"Host: localhost:{gateway.port}"
        answer = await ask(gateway, "GET /public HTTP/1.1", host, f"{name}: {value}")
        assert answer.status == 200, name
        faults += [f"{field}: {read}" for field, read in upstream.last.fields if value in read]
    assert_all_pass(faults, cases=len(names))


# --- where the sign-in page is -------------------------------------------------------------------


async def test_no_header_sends_a_user_to_another_host(gateway: GatewayProcess) -> None:
    names = other_fields() + STEERING
    faults: list[str] = []
    for name in names:
        for value in STEERING_VALUES:
            host = f"Host: localhost:{gateway.port}"
            start = ["GET /login HTTP/1.1", host, "Accept: text/html"]
            answer = await ask(gateway, *start, f"{name}: {value}")
            if answer.status != 302 or EVIL.encode() in answer.raw + answer.body:
                faults.append(f"{name}: {value} -> {answer.start}, {answer.get('Location')}")
    assert_all_pass(faults, cases=len(names) * len(STEERING_VALUES))


@pytest.mark.parametrize("start", HOSTS.values(), ids=HOSTS)
async def test_no_host_of_a_request_is_where_the_user_goes(
    start: str, gateway: GatewayProcess, upstream: Upstream
) -> None:
    start = start.format(host=f"localhost:{gateway.port}")
    answer = await ask(gateway, start, "Accept: text/html")
    assert answer.status in (302, 400, 403)
    for field, value in answer.fields:
        if field.lower() in ("location", "refresh"):
            assert re.match(r"(?i)(https?:)?//[^/]*evil\.test", value) is None
        if field.lower() == "set-cookie":
            assert EVIL not in value
    assert upstream.requests == []
