"""Where the gateway can be reached, and with what: the public listeners and the admin's."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import OK, PATIENCE, Client, Upstream, answering
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: [127.0.0.1:${PORT}, "unix:${SOCKET}"]
  admin: 127.0.0.1:${ADMIN_PORT}
  trusted_proxies: [unix]
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
"""


@pytest.fixture(scope="module")
def running_gateway(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with configured(folder, running_upstream) as gateway:
        yield gateway


def configured(folder: Path, upstream: Upstream) -> GatewayProcess:
    return GatewayProcess(folder, CONFIG, UPSTREAM=upstream.url, SOCKET=folder / "public.sock")


async def asked_over(path: Path, *fields: str) -> bytes:
    """Ask over a Unix socket; return the answer as it came."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    lines = ["GET /x HTTP/1.1", "Host: localhost", "Connection: close", *fields]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


# --- start-up ------------------------------------------------------------------------------------


async def test_it_answers_soon_after_its_start(gateway: GatewayProcess) -> None:
    print(f"\nstart-up to the first answer: {gateway.startup:.2f} s")
    assert gateway.startup < 5.0


async def test_an_address_in_use_ends_the_start_with_a_sentence(
    gateway: GatewayProcess, upstream: Upstream, tmp_path: Path
) -> None:
    other = configured(tmp_path, upstream)
    for taken in ({"PORT": gateway.port}, {"ADMIN_PORT": gateway.admin_port}):
        environment = other.environment | {name: str(port) for name, port in taken.items()}
        status, said = await ended(other, environment)
        assert status == 1
        assert said.startswith("gateway run: ")
        assert "address already in use" in said.lower()


async def ended(
    gateway: GatewayProcess, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run a gateway that cannot start; return its status and what it says on stderr."""
    process = await asyncio.create_subprocess_exec(
        *gateway.run_command(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment or gateway.environment,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        pytest.fail("it started, where it should have ended with a sentence")
    assert process.returncode is not None
    assert b"Traceback" not in said
    return process.returncode, said.decode()


# --- the admin listener --------------------------------------------------------------------------


async def admin(gateway: GatewayProcess, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(gateway.admin, path)


async def test_health_readiness_and_metrics_are_the_admins(gateway: GatewayProcess) -> None:
    assert await admin(gateway, "/healthz") == (200, '{"status":"ok"}\n')
    status, body = await admin(gateway, "/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": []})
    status, body = await admin(gateway, "/metrics")
    assert status == 200
    assert "\ngateway_build_info{" in body


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/api/sessions", "/api/config", "/api/reload"]
)
async def test_on_the_public_listener_they_are_paths_like_any_other(
    gateway: GatewayProcess, upstream: Upstream, path: str
) -> None:
    upstream.handler = answering(OK.replace(b"ok", b"up"))
    async with Client(gateway.port) as client:
        answer = await client.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"up")
    assert upstream.last.target == path


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/api/sessions"])
async def test_below_the_gateways_own_path_they_are_not_found(
    gateway: GatewayProcess, upstream: Upstream, path: str
) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(f"GET /_gateway{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.status == 404
    assert upstream.requests == []


async def test_the_admin_listener_passes_nothing_on(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    for path in ("/x", "/_gateway/auth/session", "/api/sessions", "/"):
        assert (await admin(gateway, path))[0] == 404
    assert upstream.requests == []


async def test_metrics_count_what_happened_by_route_and_reason(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    def counted(text: str) -> float:
        lines = [
            line.rpartition(" ")
            for line in text.splitlines()
            if line.startswith("gateway_requests_total{") and 'reason="ok"' in line
        ]
        return sum(float(value) for _, _, value in lines)

    before = counted((await admin(gateway, "/metrics"))[1])
    async with Client(gateway.port) as client:
        for _ in range(5):
            await client.ask("GET /secret-name?q=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, text = await admin(gateway, "/metrics")
    assert counted(text) == before + 5
    assert "secret-name" not in text


async def test_an_upstream_that_is_down_is_named_by_readiness(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    await upstream.stop()
    try:
        await wait_until(lambda: is_ready(gateway, 503), what="it is not ready")
        _, body = await admin(gateway, "/readyz")
        assert [reason for reason in json.loads(body)["reasons"] if "app" in reason]
        assert (await admin(gateway, "/healthz"))[0] == 200
    finally:
        await upstream.start()
    await wait_until(lambda: is_ready(gateway, 200), what="it is ready again")


async def is_ready(gateway: GatewayProcess, status: int) -> bool:
    return (await admin(gateway, "/readyz"))[0] == status


# --- a Unix socket -------------------------------------------------------------------------------


async def test_a_unix_socket_is_served_like_a_port(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    path = gateway.folder / "public.sock"
    answer = await asked_over(path, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    # `trusted_proxies: [unix]`: whoever may open the socket is believed.
    assert upstream.last.get("X-Forwarded-For") == "192.0.2.7"
    assert upstream.last.get("X-Forwarded-Proto") == "https"
    assert stat.S_ISSOCK(path.stat().st_mode)


async def test_the_socket_of_a_killed_gateway_is_taken_over(
    upstream: Upstream, tmp_path: Path
) -> None:
    with configured(tmp_path, upstream) as gateway:
        path = tmp_path / "public.sock"
        gateway.kill()
        assert stat.S_ISSOCK(path.stat().st_mode)  # it was left behind
        with pytest.raises(ConnectionRefusedError):
            await asked_over(path)
        gateway.start()
        assert (await asked_over(path)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("kind", ["file", "folder", "link to a file"])
async def test_what_is_no_socket_is_never_taken_away(
    upstream: Upstream, tmp_path: Path, kind: str
) -> None:
    gateway = configured(tmp_path, upstream)
    path = tmp_path / "public.sock"
    precious = tmp_path / "precious"
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case _:
            precious.write_text("precious")
            path.symlink_to(precious)
    status, said = await ended(gateway)
    assert status == 1
    assert str(path) in said
    match kind:
        case "file":
            assert path.read_text() == "precious"
        case "folder":
            assert path.is_dir()
        case _:
            assert path.is_symlink()
            assert precious.read_text() == "precious"


async def test_the_socket_of_a_living_gateway_is_not_stolen(
    gateway: GatewayProcess, upstream: Upstream, tmp_path: Path
) -> None:
    other = configured(tmp_path, upstream)
    path = gateway.folder / "public.sock"
    status, said = await ended(other, other.environment | {"SOCKET": str(path)})
    assert status == 1
    assert str(path) in said
    assert (await asked_over(path)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_folder_that_is_missing_ends_the_start_with_a_sentence(
    upstream: Upstream, tmp_path: Path
) -> None:
    gateway = configured(tmp_path, upstream)
    path = tmp_path / "missing" / "public.sock"
    status, said = await ended(gateway, gateway.environment | {"SOCKET": str(path)})
    assert status == 1
    assert said.startswith("gateway run: ")
    assert str(path) in said


async def test_sigterm_ends_it_and_the_next_one_starts(upstream: Upstream, tmp_path: Path) -> None:
    with configured(tmp_path, upstream) as gateway:
        assert gateway.stop() == 0
        gateway.start()
        assert (await asked_over(tmp_path / "public.sock")).startswith(b"HTTP/1.1 200 OK\r\n")
