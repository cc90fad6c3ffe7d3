from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.errors import StoreUnavailable
from gateway.model import SessionKey
from gateway.redis.link import Greeting, NotPrimary, Refused, connect, open_link
from gateway.redis.node import Node
from gateway.stores.redis import RedisStore

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO = b"%1\r\n+proto\r\n:3\r\n"


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """A server that says what the test lets it say."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def saying(*answers: bytes) -> Serve:
    """Serve by answering whatever comes with these, one after the other, and then with nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            if not await reader.read(65536):
                return
            writer.write(answer)
        await reader.read()

    return serve


async def test_answers_come_to_who_asked_in_whatever_pieces() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"last\r\n")
        for byte in b"$3\r\none\r\n>2\r\n+news\r\n:1\r\n-ERR no\r\n:3\r\n":
            writer.write(bytes([byte]))
            await writer.drain()

    pushed: list[object] = []
    async with serving(serve) as port:
        link = await open_link(("127.0.0.1", port), Greeting(), pushed=pushed.append)
        first, second = link.ask(("GET", "a")), link.ask(("GET", "b"), ("GET", "last"))
        assert await first == [b"one"]
        error, three = await second
        assert isinstance(error, Refused)
        assert (error.code, three) == ("ERR", 3)
        assert pushed == [[b"news", 1]]
        await link.close()


async def test_who_gives_up_does_not_take_anothers_answer() -> None:
    async with serving(saying(b"", b":1\r\n:2\r\n")) as port:
        link = await open_link(("127.0.0.1", port), Greeting())
        first = link.ask(("GET", "a"))
        first.cancel()
        await asyncio.sleep(0.01)
        assert await link.ask(("GET", "b")) == [2]
        await link.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="a web server"),
        pytest.param(b":1\r\n:2\r\n", id="an answer too many"),
        pytest.param(b"", id="the end"),
    ],
)
async def test_what_is_no_redis_ends_the_connection(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"x\r\n")
        writer.write(answer)
        await writer.drain()
        if answer:
            await reader.read()

    lost: list[bool] = []
    async with serving(serve) as port:
        link = await open_link(("127.0.0.1", port), Greeting(), lost=lambda: lost.append(True))
        answers = await asyncio.gather(link.ask(("GET", "x")), return_exceptions=True)
        await link.close()
        assert lost == [True]
        assert isinstance(answers[0], ConnectionError) or answer.startswith(b":1")
        with pytest.raises(ConnectionError):
            await link.ask(("GET", "y"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"-WRONGPASS no\r\n-NOAUTH no\r\n", Refused, id="wrong password"),
        pytest.param(b"-NOPROTO no\r\n*1\r\n+master\r\n", Refused, id="too old"),
        pytest.param(HELLO + b"*3\r\n+slave\r\n+x\r\n:1\r\n", NotPrimary, id="a replica"),
        pytest.param(HELLO + b"-NOPERM no role\r\n", Refused, id="not allowed to know"),
    ],
)
async def test_a_greeting_that_is_not_returned(answer: bytes, error: type[Exception]) -> None:
    async with serving(saying(answer)) as port:
        with pytest.raises(error):
            await connect(("127.0.0.1", port), Greeting(primary_only=True, password="hunter2"))


def test_a_greeting_shows_no_password() -> None:
    assert "hunter2" not in repr(Greeting(username="ada", password="hunter2"))


async def test_silence_ends_the_wait_of_everybody_and_the_next_one_gets_a_new_connection() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"HELLO\r\n$1\r\n3\r\n")
        writer.write(HELLO)
        if connections == 2:
            await reader.read(65536)
            writer.write(b":7\r\n")
        await reader.read()

    async with serving(serve) as port:
        node = Node(("127.0.0.1", port), Greeting(), timeout=0.2)
        first = asyncio.create_task(node.run([("GET", "a")]))
        await asyncio.sleep(0.15)
        start = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionError):
            await node.run([("GET", "b")])
        assert asyncio.get_running_loop().time() - start < 0.15
        with pytest.raises(TimeoutError):
            await first
        assert await node.run([("GET", "c")]) == [7]
        await node.close()


async def test_silence_is_noticed_though_all_who_waited_have_given_up_first() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"HELLO\r\n$1\r\n3\r\n")
        writer.write(HELLO)
        if connections == 1:  # as where a firewall has forgotten it: not even an end
            await reader.read()
        while await reader.read(65536):
            writer.write(b"*1\r\n_\r\n")

    async with serving(serve) as port:
        store = RedisStore(f"redis://127.0.0.1:{port}", timeout=0.1)
        with pytest.raises(StoreUnavailable):
            await store.load([SessionKey("a" * 64)])
        assert await store.load([SessionKey("a" * 64)]) == [None]
        await store.close()


async def test_who_waits_for_a_connection_to_a_server_that_is_dropped_is_told() -> None:
    async with serving(saying()) as port:
        node = Node(("127.0.0.1", port), Greeting(), timeout=5.0)
        waiting = [asyncio.create_task(node.run([("GET", "a")])) for _ in range(3)]
        await asyncio.sleep(0.02)
        waiting[0].cancel()
        await asyncio.sleep(0.02)
        await node.close()
        cancelled, *told = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(cancelled, asyncio.CancelledError)
        assert [type(error) for error in told] == [ConnectionResetError] * 2
