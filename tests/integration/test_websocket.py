"""WebSockets pass through byte for byte, no faster than either side takes them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import PATIENCE, Client, Received, Upstream, answering
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams:
  app: ${UPSTREAM}
  chat: ${CHAT}
defaults: {access: deny, upstream: app}
routes:
  - {path: /raw/**, access: public}
  - {path: /never/**, access: public, websocket: false}
  - {path: /chat/**, access: public, upstream: chat}
  - {path: /optional/chat, access: optional, upstream: chat}
  - {path: /login/chat, access: login, upstream: chat}
  - {path: /admin/chat, access: login, role: admin, upstream: chat}
  - {path: /partner/chat, access: login, upstream: chat, origins: ["https://partner.example"]}
"""

MIB = 1 << 20


class Chat:
    """A WebSocket server; what a connection does is in ``handler``. It echoes at first."""

    def __init__(self) -> None:
        self.handler: Callable[[ServerConnection], Awaitable[None]] = echo
        self.connections: list[ServerConnection] = []

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        await self.handler(connection)

    @property
    def last(self) -> ServerConnection:
        return self.connections[-1]


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_chat() -> AsyncIterator[tuple[Chat, Server]]:
    chat = Chat()
    async with serve(chat, "127.0.0.1", 0, max_size=None, max_queue=1, compression=None) as server:
        yield chat, server


@pytest.fixture
def chat(running_chat: tuple[Chat, Server]) -> Chat:
    chat = running_chat[0]
    chat.handler = echo
    chat.connections.clear()
    return chat


@pytest.fixture(scope="module")
def running_gateway(
    running_upstream: Upstream,
    running_chat: tuple[Chat, Server],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    port = next(iter(running_chat[1].sockets)).getsockname()[1]
    chat = f"http://127.0.0.1:{port}"
    with GatewayProcess(folder, CONFIG, UPSTREAM=running_upstream.url, CHAT=chat) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def ada(running_gateway: GatewayProcess) -> SignedIn:
    return running_gateway.sign_in("ada")


def joined(
    gateway: GatewayProcess,
    path: str = "/chat/x",
    *,
    session: SignedIn | None = None,
    origin: str | None = None,
) -> connect:
    headers = {"Cookie": session.cookie} if session else {}
    headers |= {"Origin": origin} if origin else {}
    return connect(
        f"ws://127.0.0.1:{gateway.port}{path}",
        additional_headers=headers,
        proxy=None,
        max_size=None,
        max_queue=1,
        compression=None,
        ping_interval=None,
        open_timeout=PATIENCE,
        close_timeout=PATIENCE,
    )


def upgrading(path: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> str:
    lines = [
        f"{method} {path} {version}",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *fields,
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def settled(value: Callable[[], object]) -> None:
    """Wait until a value has not changed for a quarter of a second."""
    loop = asyncio.get_running_loop()
    last, since = value(), loop.time()

    def unchanged() -> bool:
        nonlocal last, since
        if (now := value()) != last:
            last, since = now, loop.time()
        return loop.time() - since > 0.25

    await wait_until(unchanged, seconds=20.0, what="nothing moves any more")


# --- what passes ---------------------------------------------------------------------------------


async def test_messages_come_back(gateway: GatewayProcess, chat: Chat) -> None:
    async with joined(gateway) as socket:
        for message in ("", "hello", "žluťoučký 🦊", b"", bytes(range(256)), "x" * 70_000):
            await socket.send(message)
            assert await socket.recv() == message
        pong = await socket.ping(b"still there?")
        await asyncio.wait_for(pong, PATIENCE)


async def test_many_at_once_do_not_mix(gateway: GatewayProcess, chat: Chat) -> None:
    async def talk(name: str) -> None:
        async with joined(gateway, f"/chat/{name}") as socket:
            for number in range(20):
                await socket.send(f"{name} {number}")
                assert await socket.recv() == f"{name} {number}"

    await asyncio.gather(*(talk(f"guest {n}".replace(" ", "-")) for n in range(30)))


async def test_the_upstream_learns_who_it_is(
    gateway: GatewayProcess, chat: Chat, ada: SignedIn
) -> None:
    async with joined(gateway, "/login/chat?room=1", session=ada):
        request = chat.last.request
        assert request is not None
        assert request.path == "/login/chat?room=1"
        assert request.headers["X-User-Id"] == "ada"
        assert request.headers["X-Session-Id"] == ada.id
        assert "Cookie" not in request.headers


async def test_extensions_and_subprotocols_are_agreed_on_by_the_two_ends(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(
        SWITCHING[:-2] + b"Sec-WebSocket-Protocol: graphql-ws\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        close=True,
    )
    fields = [
        "Sec-WebSocket-Protocol: mqtt, graphql-ws",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ]
    async with Client(gateway.port) as client:
        answer = await client.ask(upgrading("/raw/x", *fields))
    assert answer.status == 101
    assert (answer.get("Connection"), answer.get("Upgrade")) == ("Upgrade", "websocket")
    assert answer.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.get("Sec-WebSocket-Protocol") == "graphql-ws"
    assert answer.get("Sec-WebSocket-Extensions") == "permessage-deflate"
    for line in [*fields, "Connection: Upgrade", "Upgrade: websocket"]:
        assert f"\r\n{line}\r\n".encode() in upstream.last.raw


@pytest.mark.parametrize("early", [b"", b"client first"], ids=["waits", "does not wait"])
async def test_what_comes_in_one_packet_with_the_101_is_not_lost(
    gateway: GatewayProcess, upstream: Upstream, early: bytes
) -> None:
    received: list[bytes] = []

    async def upgrade(request: Received) -> None:
        await request.peer.send(SWITCHING + b"first", b"second")
        received.append(await request.peer.reader.readexactly(len(early) + len(b"answer")))
        request.peer.close()

    upstream.handler = upgrade
    async with Client(gateway.port) as client:
        await client.send(upgrading("/raw/x").encode() + early)
        assert (await client.answer()).status == 101
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.readexactly(11) == b"firstsecond"
            await client.send(b"answer")
            assert await client.reader.read() == b""
    assert received == [early + b"answer"]


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login/chat", "/optional/chat", "/partner/chat"])
@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        pytest.param(None, True, id="none: no browser"),
        pytest.param("http://localhost:{port}", True, id="our own"),
        pytest.param("HTTP://LOCALHOST:{port}", True, id="our own in capitals"),
        pytest.param("https://localhost:{port}", False, id="another scheme"),
        pytest.param("http://localhost", False, id="another port"),
        pytest.param("http://127.0.0.1:{port}", False, id="another name of the same host"),
        pytest.param("http://localhost:{port}.evil.example", False, id="ours in front"),
        pytest.param("http://evil.example/http://localhost:{port}", False, id="ours behind"),
        pytest.param("https://evil.example", False, id="foreign"),
        pytest.param("null", False, id="null"),
    ],
)
async def test_with_a_session_only_our_own_pages_may(
    gateway: GatewayProcess,
    chat: Chat,
    ada: SignedIn,
    path: str,
    origin: str | None,
    passes: bool,
) -> None:
    told = None if origin is None else origin.format(port=gateway.port)
    if passes:
        async with joined(gateway, path, session=ada, origin=told) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        return
    with pytest.raises(InvalidStatus) as refusal:
        await joined(gateway, path, session=ada, origin=told)
    response = refusal.value.response
    assert response.status_code == 403
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert chat.connections == []


async def test_a_route_may_name_further_origins(
    gateway: GatewayProcess, chat: Chat, ada: SignedIn
) -> None:
    partner = "https://partner.example"
    async with joined(gateway, "/partner/chat", session=ada, origin=partner) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
    with pytest.raises(InvalidStatus):
        await joined(gateway, "/login/chat", session=ada, origin=partner)


async def test_two_origins_are_none_of_ours(
    gateway: GatewayProcess, chat: Chat, ada: SignedIn
) -> None:
    fields = [f"Cookie: {ada.cookie}", f"Origin: {gateway.origin}", "Origin: https://evil.example"]
    async with Client(gateway.port) as client:
        assert (await client.ask(upgrading("/login/chat", *fields))).status == 403
    assert chat.connections == []


async def test_without_a_session_there_is_nothing_to_protect(
    gateway: GatewayProcess, chat: Chat, ada: SignedIn
) -> None:
    evil = "https://evil.example"
    async with joined(gateway, "/optional/chat", origin=evil):
        assert len(chat.connections) == 1
    async with joined(gateway, "/chat/x", session=ada, origin=evil):  # nobody is asked there
        request = chat.last.request
        assert request is not None
        assert not {"cookie", "x-user-id"} & {name.lower() for name in request.headers}


@pytest.mark.parametrize(
    ("path", "signed_in", "status"),
    [("/login/chat", False, 401), ("/admin/chat", True, 403), ("/nowhere", True, 403)],
)
async def test_who_may_not_pass_may_not_upgrade(
    gateway: GatewayProcess,
    chat: Chat,
    upstream: Upstream,
    ada: SignedIn,
    path: str,
    signed_in: bool,
    status: int,
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await joined(gateway, path, session=ada if signed_in else None)
    assert refusal.value.response.status_code == status
    assert chat.connections == []
    assert upstream.requests == []


# --- no WebSocket --------------------------------------------------------------------------------


async def test_a_route_may_refuse_all_upgrades(gateway: GatewayProcess, upstream: Upstream) -> None:
    async with Client(gateway.port) as client:
        answer = await client.ask(upgrading("/never/x"))
        assert answer.status == 403
        assert answer.get("Cache-Control") == "no-store"
    assert upstream.requests == []
    async with Client(gateway.port) as client:
        plain = "GET /never/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert (await client.ask(plain)).status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(upgrading("/raw/x", "Content-Length: 0", method="POST"), 400, id="POST"),
        pytest.param(upgrading("/raw/x", "Content-Length: 3") + "abc", 400, id="body"),
        pytest.param(upgrading("/raw/x", version="HTTP/1.0"), 400, id="HTTP/1.0"),
    ],
)
async def test_what_is_no_proper_upgrade_is_refused(
    gateway: GatewayProcess, upstream: Upstream, request_: str, status: int
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(request_)).status == status
    assert upstream.requests == []


@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.0", "foo, bar"])
async def test_an_upgrade_to_anything_else_is_ignored(
    gateway: GatewayProcess, upstream: Upstream, protocol: str
) -> None:
    request = upgrading("/raw/x").replace("Upgrade: websocket", f"Upgrade: {protocol}")
    async with Client(gateway.port) as client:
        answer = await client.ask(request)
    assert (answer.status, answer.body) == (200, b"ok")
    assert upstream.last.get("Upgrade") is None
    assert "upgrade" not in (upstream.last.get("Connection") or "").lower()


REFUSALS = {
    "426 with a length": b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\n"
    b"Content-Length: 4\r\n\r\nnope",
    "404 in chunks": b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nnope\r\n0\r\n\r\n",
    "200 until the end": b"HTTP/1.1 200 OK\r\n\r\nnope",
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_an_upstream_may_refuse_the_upgrade(
    gateway: GatewayProcess, upstream: Upstream, refusal: bytes
) -> None:
    upstream.handler = answering(refusal, close=b"Length" not in refusal)
    async with Client(gateway.port) as client:
        answer = await client.ask(upgrading("/raw/x"))
    assert answer.status == int(refusal.split()[1])
    assert answer.body == b"nope"
    assert answer.get("Sec-WebSocket-Version") == ("13" if answer.status == 426 else None)


# --- back-pressure -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10 * MIB, 10 * MIB + 1])
async def test_a_message_of_10_mib_comes_back(
    gateway: GatewayProcess, chat: Chat, size: int
) -> None:
    message = bytes(range(251)) * (size // 251 + 1)
    async with joined(gateway) as socket, asyncio.timeout(20):
        await socket.send(message[:size])
        assert await socket.recv() == message[:size]


def messages() -> list[bytes]:
    """Eight messages, each of 10 MiB and like no other."""
    return [bytes([number]) * (10 * MIB) for number in range(8)]


def digest(received: list[bytes]) -> list[str]:
    return [hashlib.blake2b(message).hexdigest() for message in received]


@pytest.mark.parametrize("slow", ["upstream", "client"])
async def test_a_slow_reader_slows_the_sender_and_fills_nobodys_memory(
    gateway: GatewayProcess, chat: Chat, slow: str
) -> None:
    sent = messages()
    go_on = asyncio.Event()
    ended: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
    begun = 0

    async def send(connection: ClientConnection | ServerConnection) -> None:
        nonlocal begun
        for message in sent:
            begun += 1
            await connection.send(message)

    async def receive(connection: ClientConnection | ServerConnection) -> list[bytes]:
        await go_on.wait()
        return [bytes(await connection.recv(decode=False)) for _ in sent]

    async def serve_one(connection: ServerConnection) -> None:
        if slow == "upstream":
            ended.set_result(await receive(connection))
        else:
            await send(connection)
        await connection.wait_closed()

    chat.handler = serve_one
    gateway.forget_peak()
    before = gateway.memory()
    async with joined(gateway) as socket, asyncio.timeout(60):
        here = asyncio.ensure_future(send(socket) if slow == "upstream" else receive(socket))
        await wait_until(lambda: begun, what="sending begins")
        await settled(lambda: (begun, gateway.memory()))
        assert begun < len(sent), "nobody held the sender back"
        go_on.set()
        received = await ended if slow == "upstream" else await here
        await here
        assert digest(received or []) == digest(sent)
    assert gateway.peak_memory() - before < 8 * MIB


# --- the end -------------------------------------------------------------------------------------

CODES = [(1000, "done"), (1001, "going away"), (1011, "broke"), (3000, ""), (4321, "ours – ž")]


@pytest.mark.parametrize(("code", "reason"), CODES)
async def test_the_upstream_hears_with_what_code_the_client_closes(
    gateway: GatewayProcess, chat: Chat, code: int, reason: str
) -> None:
    async with joined(gateway) as socket:
        await socket.send("hello")
        await socket.recv()
        await socket.close(code, reason)
    await asyncio.wait_for(chat.last.wait_closed(), PATIENCE)
    assert (chat.last.close_code, chat.last.close_reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), CODES)
async def test_the_client_hears_with_what_code_the_upstream_closes(
    gateway: GatewayProcess, chat: Chat, code: int, reason: str
) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.send("last words")
        await connection.close(code, reason)

    chat.handler = close
    async with joined(gateway) as socket:
        assert await socket.recv() == "last words"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert (socket.close_code, socket.close_reason) == (code, reason)


@pytest.mark.parametrize("abort", [False, True], ids=["closes", "resets"])
async def test_an_upstream_that_dies_ends_the_clients_connection(
    gateway: GatewayProcess, upstream: Upstream, abort: bool
) -> None:
    async def die(request: Received) -> None:
        await request.peer.send(SWITCHING)
        await request.peer.reader.readexactly(1)
        if abort:
            request.peer.writer.transport.abort()
        else:
            await request.peer.send(b"last bytes")
            request.peer.close()

    upstream.handler = die
    async with Client(gateway.port) as client:
        assert (await client.ask(upgrading("/raw/x"))).status == 101
        await client.send(b"x")
        rest = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                rest = await client.reader.read()
        assert rest == (b"" if abort else b"last bytes")


@pytest.mark.parametrize("abort", [False, True], ids=["closes", "resets"])
async def test_a_client_that_dies_ends_the_upstreams_connection(
    gateway: GatewayProcess, upstream: Upstream, abort: bool
) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(request: Received) -> None:
        await request.peer.send(SWITCHING)
        heard.set_result(await request.peer.until_closed())
        request.peer.close()

    upstream.handler = listen
    async with Client(gateway.port) as client:
        assert (await client.ask(upgrading("/raw/x"))).status == 101
        await client.send(b"last bytes")
        if abort:
            client.writer.transport.abort()
    assert await asyncio.wait_for(heard, PATIENCE) == b"last bytes"


async def test_a_connection_that_was_upgraded_is_never_used_again(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = answering(SWITCHING, close=True)
    async with Client(gateway.port) as client:
        assert (await client.ask(upgrading("/raw/x"))).status == 101
        await client.reader.read()
    upstream.handler = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    peer = upstream.last.peer
    async with Client(gateway.port) as client:
        plain = "GET /raw/y HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert (await client.ask(plain)).body == b"ok"
    assert upstream.last.peer is not peer


async def test_a_websocket_is_one_line_in_the_log(
    gateway: GatewayProcess, chat: Chat, ada: SignedIn
) -> None:
    async with joined(gateway, "/login/chat?token=secret", session=ada) as socket:
        await socket.send("hello")
        await socket.recv()
    await wait_until(
        lambda: gateway.requests(path="/login/chat", status=101, reason="ok", bytes_in=19),
        what="the line is written when it ends",
    )
    assert "secret" not in gateway.output()


async def test_a_client_that_is_still_sending_hears_why_the_upstream_closes(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    """As servers end a message that is too big: Close, the end, and then they read on."""
    too_big = b"\x88\x02\x03\xf1"  # Close, 1009

    async def refuse(request: Received) -> None:
        await request.peer.send(SWITCHING)
        await request.peer.reader.readexactly(1 << 16)
        await request.peer.send(too_big)
        request.peer.writer.write_eof()
        await request.peer.until_closed()
        request.peer.close()

    async def flood(client: Client) -> None:
        with contextlib.suppress(ConnectionError):
            while not heard:
                client.writer.write(b"x" * (1 << 16))
                await client.writer.drain()

    upstream.handler = refuse
    for _ in range(20):  # a race: the end of the one and the bytes of the other
        heard = b""
        async with Client(gateway.port) as client, asyncio.timeout(PATIENCE):
            assert (await client.ask(upgrading("/raw/x"))).status == 101
            flooding = asyncio.ensure_future(flood(client))
            with contextlib.suppress(ConnectionError):
                heard = await client.reader.read(100)
            client.writer.transport.abort()
            await flooding
        assert heard == too_big
        await wait_until(upstream.last.peer.gone.is_set, what="the upstream's connection ends")
