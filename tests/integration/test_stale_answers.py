"""A client that leaves just as its answer arrives never leaves that answer to somebody else."""

from __future__ import annotations

import asyncio
import socket
import struct
from itertools import count

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Client, Received, Upstream
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEAVERS = 200
STAYERS = 8


class Leaver:
    """A client that will not wait."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        # What ends it is a reset, at the very moment of `leave`.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send(self, request: str) -> None:
        self._socket.sendall(request.encode())

    def leave(self) -> None:
        self._socket.close()


class Echo:
    """Answers with what it was sent and asked for; those in ``leaving`` leave at that moment.

    The answer and the reset go out together, in turns the one or the other first, or the reset a
    moment before.
    """

    def __init__(self) -> None:
        self.leaving: dict[str, Leaver] = {}

    async def __call__(self, request: Received) -> None:
        body = await request.read() + request.target.encode()
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        leaver = self.leaving.pop(request.target, None)
        if leaver is not None and (moment := len(self.leaving) % 3):
            leaver.leave()
            await asyncio.sleep(0.002 * (moment - 1))
        request.peer.writer.write(answer)
        if leaver is not None:
            leaver.leave()


def asking(path: str, body: str) -> str:
    if not body:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head + body


@pytest.mark.parametrize("waits", [True, False], ids=["at the answer", "at once"])
@pytest.mark.parametrize("body", ["", "something "], ids=["GET", "POST"])
async def test_everybody_gets_the_answer_to_what_they_asked(
    gateway: GatewayProcess, upstream: Upstream, waits: bool, body: str
) -> None:
    echo = upstream.handler = Echo()
    gone = f"/gone/{waits}/{len(body)}/"
    all_left = asyncio.Event()
    numbers = count()
    served = 0

    async def leave() -> None:
        for begin in range(0, LEAVERS, STAYERS):
            leavers = {f"{gone}{begin + n}": Leaver(gateway.port) for n in range(STAYERS)}
            if waits:
                echo.leaving |= leavers
            for path, leaver in leavers.items():
                leaver.send(asking(path, body))
                if not waits:
                    leaver.leave()
            before = served
            await wait_until(
                lambda: not echo.leaving and served >= before + STAYERS,  # noqa: B023
                what="they left, and the others go on",
            )
        all_left.set()

    async def stay() -> None:
        nonlocal served
        async with Client(gateway.port) as client:
            while not all_left.is_set():
                path = f"/stay/{next(numbers)}"
                answer = await client.ask(asking(path, body))
                assert (answer.status, answer.body.decode()) == (200, body + path)
                served += 1

    await asyncio.gather(leave(), *(stay() for _ in range(STAYERS)))
    assert served >= LEAVERS
    answered = {r.target for r in upstream.requests if r.target.startswith(gone)}
    assert len(answered) == LEAVERS or not waits

    def left_without_an_answer() -> set[str]:
        lines = gateway.requests(reason="client_gone")
        return {path for line in lines if (path := line["path"]).startswith(gone)}

    # Otherwise nobody left at the moment that this is about.
    await wait_until(lambda: answered & left_without_an_answer(), what="a client left in between")
