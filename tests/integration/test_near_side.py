"""How clients come in: passed sockets, permissions, balancers' headers, certificates, limits."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.gateway_process import COMMAND, GatewayProcess
from tests.integration.wire import OK, PATIENCE, Client, Received, Upstream, answering
from tests.servers import program, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: [127.0.0.1:${PORT}, "unix:${SOCKET}"]
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
"""
Started = Callable[[str], AbstractContextManager[GatewayProcess]]


@pytest.fixture
def started(running_upstream: Upstream, tmp_path: Path) -> Started:
    """Start a gateway of the test's own, with other lines below ``server``."""

    @contextmanager
    def start(lines: str) -> Iterator[GatewayProcess]:
        config = CONFIG.replace("session:", f"{lines}\nsession:", 1)
        if "  listen:" in lines:
            config = config.replace('  listen: [127.0.0.1:${PORT}, "unix:${SOCKET}"]\n', "")
        paths = {"SOCKET": tmp_path / "public.sock", "FOLDER": tmp_path}
        with GatewayProcess(tmp_path, config, UPSTREAM=running_upstream.url, **paths) as gateway:
            yield gateway

    return start


def asking(target: str = "/x", *fields: str, method: str = "GET", version: str = "1.1") -> str:
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: localhost", *fields, "", ""])


# --- sockets -------------------------------------------------------------------------------------

LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="web:admin")
os.execv(sys.argv[3], sys.argv[3:])
"""


class Activated(GatewayProcess):
    """A gateway that is given its sockets, as by systemd."""

    def run_command(self) -> list[str]:
        launcher = [sys.executable, "-c", LAUNCHER]
        return [*launcher, *map(str, self.passed), COMMAND, "run", "-c", str(self.config)]

    def __init__(self, folder: Path, config: str, **environment: object) -> None:
        super().__init__(folder, config, **environment)
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.port, self.admin_port = (each.getsockname()[1] for each in self.sockets)
        self.passed = tuple(each.fileno() for each in self.sockets)


@pytest.mark.parametrize("workers", [1, 2])
async def test_sockets_that_systemd_passes_are_served(
    running_upstream: Upstream, tmp_path: Path, workers: int
) -> None:
    config = CONFIG.replace('[127.0.0.1:${PORT}, "unix:${SOCKET}"]', "systemd")
    config = config.replace("admin: 127.0.0.1:${ADMIN_PORT}", "admin: systemd:admin")
    config = config.replace("session:", f"  workers: {workers}\nsession:", 1)
    gateway = Activated(tmp_path, config, UPSTREAM=running_upstream.url)
    try:
        with gateway:
            async with Client(gateway.port) as client:
                assert (await client.ask(asking())).status == 200
            assert (await asyncio.to_thread(gateway.admin, "/healthz"))[0] == 200
        gateway.start()  # whoever asked meanwhile has waited
        assert gateway.stop() == 0
    finally:
        for each in gateway.sockets:
            each.close()


async def test_without_passed_sockets_the_start_ends_with_a_sentence(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    config = CONFIG.replace('[127.0.0.1:${PORT}, "unix:${SOCKET}"]', "systemd:web")
    gateway = GatewayProcess(tmp_path, config, UPSTREAM=running_upstream.url)
    done = await asyncio.to_thread(
        subprocess.run,
        gateway.run_command(),
        capture_output=True,
        env=gateway.environment | {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"gateway run: systemd:web: systemd passed no such socket")


@pytest.mark.parametrize("mode", ["0660", "600"])
async def test_a_unix_socket_gets_its_permissions(started: Started, mode: str) -> None:
    with started(
        f'  listen: [127.0.0.1:${{PORT}}, {{address: "unix:${{SOCKET}}", mode: "{mode}"}}]'
    ) as gateway:
        found = (gateway.folder / "public.sock").stat().st_mode
        assert stat.S_IMODE(found) == int(mode, 8)


# --- PROXY protocol ------------------------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2 = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 1, 0, 80, 0, 81])
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 80 81\r\n"
PROXIED = (
    "  listen: {address: 127.0.0.1:${PORT}, proxy_protocol: true}\n"
    "  trusted_proxies: [127.0.0.2]\n  header_timeout: 500ms"
)


async def from_balancer(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))


async def answered(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *pieces: bytes
) -> bytes:
    """Send pieces, each by itself; return all that comes until the end."""
    found = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            found = await reader.read()
    except ConnectionError:
        pass
    writer.close()
    return found


REQUEST = asking("/x", "X-Forwarded-For: 198.51.100.1", "Connection: close").encode()


@pytest.mark.parametrize(
    ("pieces", "client"),
    [
        pytest.param([V1 + REQUEST], "192.0.2.7", id="v1"),
        pytest.param([V2 + REQUEST], "192.0.2.7", id="v2"),
        pytest.param([V2, REQUEST], "192.0.2.7", id="v2 and then the request"),
        pytest.param([V1[:9], V1[9:] + REQUEST[:5], REQUEST[5:]], "192.0.2.7", id="v1 in pieces"),
        pytest.param([V2[:3], V2[3:20], V2[20:] + REQUEST], "192.0.2.7", id="v2 in pieces"),
        pytest.param([LOCAL + REQUEST], "198.51.100.1, 127.0.0.2", id="the balancer itself"),
    ],
)
async def test_a_balancer_says_who_the_client_is(
    started: Started, upstream: Upstream, pieces: list[bytes], client: str
) -> None:
    with started(PROXIED) as gateway:
        answer = await answered(*await from_balancer(gateway.port), *pieces)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        # What the client itself says of others is not believed for the balancer's sake.
        assert upstream.last.get("X-Forwarded-For") == client


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(REQUEST, id="none"),
        pytest.param(b"PROXY TCP4 nobody\r\n" + REQUEST, id="broken"),
        pytest.param(V2[:-4], id="half"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16\x03\x01" + bytes(50), id="TLS"),
    ],
)
async def test_a_balancer_without_a_header_is_closed(
    started: Started, upstream: Upstream, data: bytes
) -> None:
    with started(PROXIED) as gateway:
        assert await answered(*await from_balancer(gateway.port), data) == b""
        assert upstream.requests == []


@pytest.mark.parametrize("header", [V1, V2])
async def test_nobody_else_may_send_one(
    started: Started, upstream: Upstream, header: bytes
) -> None:
    with started(PROXIED) as gateway:
        streams = await asyncio.open_connection("127.0.0.1", gateway.port)
        answer = await answered(*streams, header + REQUEST)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 ", b"HTTP/1.1 505 "))
        assert upstream.requests == []
        async with Client(gateway.port) as client:
            assert (await client.ask(asking())).status == 200


# --- TLS -----------------------------------------------------------------------------------------


def certificate(folder: Path, name: str, *hosts: str) -> None:
    """Make ``name.pem`` and ``name.key`` for these hosts."""
    names = ",".join(f"DNS:{host}" for host in hosts)
    command = [program("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    subprocess.run(command, check=True, capture_output=True)


class TlsGateway(GatewayProcess):
    def _answers(self) -> bool:
        try:
            return bool(self.shown(None))
        except OSError:
            return False

    def shown(self, host: str | None, **wishes: ssl.TLSVersion) -> bytes:
        """Return the certificate that is shown to whoever asks for a host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for name, wish in wishes.items():
            setattr(context, name, wish)
        with (
            socket.create_connection(("127.0.0.1", self.port), 5) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""


def of_file(folder: Path, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / f"{name}.pem").read_text())


@pytest.fixture
def tls_gateway(running_upstream: Upstream, tmp_path: Path) -> Iterator[TlsGateway]:
    certificate(tmp_path, "one", "one.example")
    certificate(tmp_path, "two", "two.example", "*.two.example")
    lines = "  tls: [{cert: one.pem, key: one.key}, {cert: two.pem, key: two.key}]\n"
    lines += "  public_url: https://localhost\nsession:"
    config = CONFIG.replace("session:", lines, 1)
    paths = {"SOCKET": tmp_path / "public.sock"}
    with TlsGateway(tmp_path, config, UPSTREAM=running_upstream.url, **paths) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("one.example", "one"),
        ("two.example", "two"),
        ("x.two.example", "two"),
        ("y.x.two.example", "one"),
        ("elsewhere.example", "one"),
        (None, "one"),
    ],
)
async def test_the_name_that_a_client_asks_for_chooses_the_certificate(
    tls_gateway: TlsGateway, host: str | None, name: str
) -> None:
    shown = await asyncio.to_thread(tls_gateway.shown, host)
    assert shown == of_file(tls_gateway.folder, name)


@pytest.mark.parametrize("how", ["by itself", "SIGHUP"])
async def test_a_renewed_certificate_is_taken_and_connections_stay(
    tls_gateway: TlsGateway, how: str
) -> None:
    folder = tls_gateway.folder
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", tls_gateway.port, ssl=context)
    certificate(folder, "new", "two.example")
    shutil.copy(folder / "new.pem", folder / "two.pem")
    shutil.copy(folder / "new.key", folder / "two.key")
    if how == "SIGHUP":
        tls_gateway.send_signal(signal.SIGHUP)

    async def renewed() -> bool:
        shown = await asyncio.to_thread(tls_gateway.shown, "two.example")
        return shown == of_file(folder, "new")

    await wait_until(renewed, seconds=5.0)
    writer.write(asking("/x", "Connection: close").encode())
    async with asyncio.timeout(PATIENCE):
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_half_a_renewal_changes_nothing(tls_gateway: TlsGateway) -> None:
    folder = tls_gateway.folder
    before = of_file(folder, "two")
    certificate(folder, "new", "two.example")
    shutil.copy(folder / "new.pem", folder / "two.pem")
    await wait_until(lambda: tls_gateway.log("certificates refused"))
    assert await asyncio.to_thread(tls_gateway.shown, "two.example") == before
    shutil.copy(folder / "new.key", folder / "two.key")
    await wait_until(lambda: tls_gateway.log("certificates renewed"))
    assert await asyncio.to_thread(tls_gateway.shown, "two.example") == of_file(folder, "new")


async def test_old_versions_of_tls_are_refused(tls_gateway: TlsGateway) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        limits = {"minimum_version": version, "maximum_version": version}
        assert await asyncio.to_thread(tls_gateway.shown, None, **limits)
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(program("openssl", "openssl"), "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
            *("-connect", f"127.0.0.1:{tls_gateway.port}"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode != 0


# --- limits --------------------------------------------------------------------------------------


async def test_one_connection_too_many_from_an_address_is_closed(started: Started) -> None:
    with started("  limits: {connections_per_address: 3}") as gateway:
        # The admin's and the start's connections are over, or go to another listener.
        held = [Client(gateway.port) for _ in range(3)]
        for client in held:
            await client.__aenter__()
            assert (await client.ask(asking())).status == 200
        async with Client(gateway.port) as fourth:
            assert await fourth.ended() == b""
        streams = await from_balancer(gateway.port)
        answer = await answered(*streams, asking("/x", "Connection: close").encode())
        assert answer.startswith(b"HTTP/1.1 200 ")
        await held.pop().close()

        async def may() -> bool:
            async with Client(gateway.port) as another:
                await another.send(asking("/x", "Connection: close"))
                return (await another.ended()).startswith(b"HTTP/1.1 200 ")

        await wait_until(may)
        for client in held:
            await client.close()


async def test_too_many_requests_at_once_are_told_to_come_back(
    started: Started, upstream: Upstream
) -> None:
    go_on = asyncio.Event()

    async def slow(request: Received) -> None:
        await go_on.wait()
        await request.peer.send(OK)

    upstream.handler = slow
    with started("  limits: {requests: 2}") as gateway:
        async with Client(gateway.port) as one, Client(gateway.port) as two:
            await one.send(asking())
            await two.send(asking())
            await wait_until(lambda: len(upstream.requests) == 2)
            async with Client(gateway.port) as third:
                answer = await third.ask(asking())
                assert (answer.status, answer.get("Retry-After")) == (503, "5")
                go_on.set()
                assert (await one.answer()).status == (await two.answer()).status == 200
                assert (await third.ask(asking())).status == 200
        await wait_until(lambda: gateway.requests(reason="overloaded", status=503))


# --- requests of a special kind ------------------------------------------------------------------


async def test_options_about_the_server_are_the_gateways(
    started: Started, upstream: Upstream
) -> None:
    with started("") as gateway:
        async with Client(gateway.port) as client:
            for _ in range(2):
                answer = await client.ask(asking("*", method="OPTIONS"))
                assert answer.status == 204
                assert "GET" in (answer.get("Allow") or "")
            assert (await client.ask(asking())).status == 200
            assert (await client.ask(asking("*"))).status == 400
    assert [request.target for request in upstream.requests] == ["/x"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_client_that_closes_its_sending_side_gets_its_answers(
    started: Started, upstream: Upstream, version: str
) -> None:
    async def slow(request: Received) -> None:
        await request.read()
        pause = asyncio.Event()
        asyncio.get_running_loop().call_later(0.8, pause.set)
        await pause.wait()
        await request.peer.send(OK)

    upstream.handler = slow
    with started("") as gateway:
        async with Client(gateway.port) as client:
            await client.send(asking("/x", version=version))
            if version == "1.1":
                await client.send(asking("/y"))
            client.writer.write_eof()
            assert (await client.answer()).body == b"ok"
            if version == "1.1":
                second = await client.answer()
                assert (second.body, second.get("Connection")) == (b"ok", "close")
            assert await client.ended() == b""


async def test_a_client_that_is_gone_altogether_is_noticed(
    started: Started, upstream: Upstream
) -> None:
    async def silent(request: Received) -> None:
        await request.peer.until_closed()

    upstream.handler = silent
    with started("") as gateway:
        async with Client(gateway.port) as client:
            await client.send(asking())
            await wait_until(lambda: upstream.requests)
        await wait_until(upstream.last.peer.gone.is_set, seconds=1.0)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


async def test_a_trace_is_passed_on_and_logged(started: Started, upstream: Upstream) -> None:
    with started("") as gateway:
        async with Client(gateway.port) as client:
            await client.ask(asking("/a", f"traceparent: {PARENT}", "tracestate: a=b"))
            assert upstream.last.get("traceparent") == PARENT
            assert upstream.last.get("tracestate") == "a=b"
            await client.ask(asking("/b"))
            assert upstream.last.get("traceparent") is None
        await wait_until(lambda: gateway.requests(path="/b"))
        assert gateway.requests(path="/a")[0]["trace_id"] == TRACE
        assert "trace_id" not in gateway.requests(path="/b")[0]


async def test_a_trace_is_begun_where_there_is_none(started: Started, upstream: Upstream) -> None:
    with started("  tracing: true") as gateway:
        async with Client(gateway.port) as client:
            for number, fields in enumerate(
                [[], [], [f"traceparent: {PARENT}x", "tracestate: a=b"]]
            ):
                await client.ask(asking(f"/{number}", *fields))
                assert upstream.last.get("tracestate") is None
            await client.ask(asking("/kept", f"traceparent: {PARENT}"))
            assert upstream.last.get("traceparent") == PARENT
        parents = [request.get("traceparent") or "" for request in upstream.requests]
        assert len({parent[3:35] for parent in parents}) == 4
        await wait_until(lambda: gateway.requests(path="/kept"))
        logged = [line["trace_id"] for line in gateway.requests(route="/**")]
        assert logged == [parent[3:35] for parent in parents]


async def test_every_peer_may_be_trusted_only_with_a_word(
    started: Started, upstream: Upstream
) -> None:
    upstream.handler = answering(OK)
    with started("  trusted_proxies: [0.0.0.0/0]\n  trust_everybody: true") as gateway:
        async with Client(gateway.port) as client:
            await client.ask(asking("/x", "X-Forwarded-For: 198.51.100.1"))
    assert upstream.last.get("X-Forwarded-For") == "198.51.100.1, 127.0.0.1"
