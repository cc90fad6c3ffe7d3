"""Upstreams over TLS and Unix sockets: whoever cannot prove who they are hears nothing."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Answer, Client, Upstream
from tests.servers import program, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams:
  named: {targets: ["https://localhost:${TLS}"], tls: {ca: ca.pem}}
  called: {targets: ["https://127.0.0.1:${TLS}"], tls: {ca: ca.pem, server_name: App.internal}}
  wrong: {targets: ["https://127.0.0.1:${TLS}"], tls: {ca: ca.pem}}
  misnamed: {targets: ["https://localhost:${TLS}"], tls: {ca: ca.pem, server_name: other.internal}}
  stranger: {targets: ["https://localhost:${TLS}"], tls: {ca: other-ca.pem}}
  untold: {targets: ["https://localhost:${TLS}"]}
  unverified: {targets: ["https://127.0.0.1:${TLS}"], tls: {verify: false}}
  demanding:
    targets: ["https://localhost:${DEMANDING}"]
    tls: {ca: ca.pem, cert: client.pem, key: client.key}
  checked:
    targets: ["https://localhost:${DEMANDING}"]
    tls: {ca: ca.pem, cert: both.pem}
    health: {path: /healthz, interval: 50ms}
  silent: {targets: ["https://localhost:${DEMANDING}"], tls: {ca: ca.pem}}
  mistaken:
    targets: ["https://localhost:${DEMANDING}"]
    tls: {ca: ca.pem, cert: other-client.pem, key: other-client.key}
  socket: "unix:${SOCKET}"
  sockets: {targets: ["unix:${SOCKET}", "unix:${SOCKET}.gone"]}
  gone: "unix:${SOCKET}.gone"
defaults: {access: deny, upstream: socket}
routes:
"""
CONFIG += "".join(
    f"  - {{path: /{name}/**, access: public, upstream: {name}}}\n"
    for name in (
        *("named", "called", "wrong", "misnamed", "stranger", "untold", "unverified"),
        *("demanding", "checked", "silent", "mistaken", "socket", "sockets", "gone"),
    )
)


def openssl(folder: Path, *words: str) -> None:
    command = [program("openssl", "openssl"), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def authority(folder: Path, name: str) -> None:
    """Make a CA of our own: ``name.pem`` and ``name.key``."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    use = ("-addext", "keyUsage=critical,keyCertSign")
    openssl(folder, "req", "-x509", *key, *files, "-subj", f"/CN={name}", "-days", "2", *use)


def certificate(folder: Path, name: str, ca: str, *names: str) -> None:
    """Let a CA sign a certificate for these names: ``name.pem`` and ``name.key``."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    alternative = ",".join(f"DNS:{each}" for each in (name, *names))
    signed = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-addext", f"subjectAltName={alternative}")
    openssl(folder, "req", "-x509", *key, *files, "-subj", f"/CN={name}", "-days", "2", *signed)


class TlsUpstream(Upstream):
    """An upstream over TLS that remembers the names it was called by."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context
        self.names: list[str | None] = []
        context.sni_callback = lambda _, name, __: self.names.append(name)

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._context
        )
        self.port = self._server.sockets[0].getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    authority(folder, "ca")
    authority(folder, "other-ca")
    certificate(folder, "server", "ca", "localhost", "app.internal")
    certificate(folder, "client", "ca")
    certificate(folder, "other-client", "other-ca")
    both = (folder / "client.key").read_text() + (folder / "client.pem").read_text()
    (folder / "both.pem").write_text(both)
    return folder


def serving(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls(folder: Path) -> AsyncIterator[TlsUpstream]:
    async with TlsUpstream(serving(folder)) as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demanding(folder: Path) -> AsyncIterator[TlsUpstream]:
    context = serving(folder)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / "ca.pem")
    async with TlsUpstream(context) as upstream:
        yield upstream


class SocketUpstream(Upstream):
    """An upstream on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def socket(folder: Path) -> AsyncIterator[SocketUpstream]:
    async with SocketUpstream(folder / "s") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(
    folder: Path,
    tls: TlsUpstream,
    demanding: TlsUpstream,
    socket: SocketUpstream,
) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        folder,
        CONFIG,
        TLS=tls.port,
        DEMANDING=demanding.port,
        SOCKET=socket.path,
    ) as gateway:
        yield gateway


async def ask(gateway: GatewayProcess, path: str, body: str = "") -> Answer:
    method = "POST" if body else "GET"
    async with Client(gateway.port) as client:
        return await client.ask(
            f"{method} {path} HTTP/1.1\r\nHost: app.example\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}"
        )


@pytest.mark.parametrize(
    ("name", "called"),
    [
        pytest.param("named", "localhost", id="the target's host"),
        pytest.param("called", "app.internal", id="the name it is to have"),
        pytest.param("unverified", None, id="unproven, where that is allowed"),
    ],
)
async def test_an_upstream_proves_its_name(
    gateway: GatewayProcess, tls: TlsUpstream, name: str, called: str | None
) -> None:
    tls.names.clear()
    assert (await ask(gateway, f"/{name}/x")).body == b"ok"
    assert (await ask(gateway, f"/{name}/x", "x" * 200_000)).body == b"ok"
    assert set(tls.names) == {called}
    assert tls.last.get("Host") == "app.example"
    assert tls.last.body == b"x" * 200_000


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("wrong", "IP address mismatch", id="an address, and the certificate has none"),
        pytest.param("misnamed", "Hostname mismatch", id="another name"),
        pytest.param("stranger", "unable to get local issuer", id="signed by another CA"),
        pytest.param("untold", "unable to get local issuer", id="no CA of the system"),
    ],
)
async def test_who_cannot_prove_who_they_are_gets_no_request(
    gateway: GatewayProcess, tls: TlsUpstream, name: str, why: str
) -> None:
    tls.forget()
    assert (await ask(gateway, f"/{name}/x")).status == 502
    assert tls.requests == []
    await wait_until(lambda: gateway.requests(path=f"/{name}/x"))
    [line] = gateway.requests(path=f"/{name}/x")
    assert line["reason"] == "upstream_unreachable"
    [said] = [e for e in gateway.log("request failed") if e["request_id"] == line["request_id"]]
    assert why in said["detail"]


async def test_an_upstream_may_demand_a_certificate(
    gateway: GatewayProcess, demanding: TlsUpstream
) -> None:
    demanding.forget()
    assert (await ask(gateway, "/demanding/x")).body == b"ok"
    peer = demanding.last.peer.writer.get_extra_info("peercert")
    assert peer["subject"] == ((("commonName", "client"),),)


@pytest.mark.parametrize("name", ["silent", "mistaken"])
async def test_without_the_right_certificate_there_is_no_answer(
    gateway: GatewayProcess, demanding: TlsUpstream, name: str
) -> None:
    demanding.forget()
    assert (await ask(gateway, f"/{name}/x")).status == 502
    assert f"/{name}/x" not in [request.target for request in demanding.requests]


async def test_health_checks_go_over_tls_too(
    gateway: GatewayProcess, demanding: TlsUpstream
) -> None:
    demanding.forget()
    await wait_until(lambda: "/healthz" in [request.target for request in demanding.requests])
    assert (await ask(gateway, "/checked/x")).body == b"ok"
    assert gateway.log("target down") == []


async def test_an_upstream_may_be_a_unix_socket(
    gateway: GatewayProcess, socket: SocketUpstream
) -> None:
    socket.forget()
    assert (await ask(gateway, "/socket/x")).body == b"ok"
    assert (await ask(gateway, "/socket/x", "hello")).body == b"ok"
    assert socket.last.body == b"hello"
    assert socket.last.get("Host") == "app.example"


async def test_a_socket_that_is_gone_is_unreachable(
    gateway: GatewayProcess, socket: SocketUpstream
) -> None:
    assert (await ask(gateway, "/gone/x")).status == 502
    answers = [await ask(gateway, "/sockets/x", "hello") for _ in range(4)]
    assert {answer.body for answer in answers} == {b"ok"}
