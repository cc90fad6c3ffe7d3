"""A Redis server among those that hold the sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.redis.link import Address, Command, Greeting, RedisLink, Refused, connect
from gateway.redis.script import Script


class Node:
    """One server, over one connection that everybody shares; made anew whenever it is needed.

    Args:
        timeout: Seconds after which a connection that does not answer is given up, and with it
            everybody who waits for it: it will not answer them either.
    """

    def __init__(self, address: Address, greeting: Greeting, timeout: float) -> None:
        self.address = address
        self.greeting = greeting
        self._timeout = timeout
        self._link: RedisLink | None = None
        self._dialing: asyncio.Task[RedisLink] | None = None

    def __repr__(self) -> str:
        return f"Node({self.address[0]}:{self.address[1]})"

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers, in order; errors of Redis are among them, as values.

        Raises:
            OSError: No answer, or not in time. Some commands may have been carried out.
            Refused: Redis does not let us in.
        """
        link = self._link
        if link is None or link.closed:
            link = await self._connected()
        try:
            async with asyncio.timeout(self._timeout):
                answers = await link.ask(*commands)
        except TimeoutError:
            link.abort(self._silence())
            raise
        # A script that Redis does not know (yet, or any more) is sent as a whole.
        for index, answer in enumerate(answers):
            if isinstance(answer, Refused) and answer.code == "NOSCRIPT":
                _, script, *rest = commands[index]
                if isinstance(script, Script):
                    [answers[index]] = await self.run([("EVAL", script.text, *rest)])
        return answers

    async def scan(self, cursor: int, pattern: str, count: int) -> tuple[int, set[str]]:
        """Return some of the names of this pattern, and where to go on; 0: that was all."""
        [answer] = await self.run([("SCAN", cursor, "MATCH", pattern, "COUNT", count)])
        if isinstance(answer, Refused):
            raise answer
        return int(answer[0]), {name.decode(errors="replace") for name in answer[1]}

    async def close(self) -> None:
        """Close the connection."""
        if (dialing := self._dialing) is not None:
            dialing.cancel()
            await asyncio.wait((dialing,))
            self._dialed(dialing)  # perhaps it was done already, and this about to be called
        if self._link is not None:
            await self._link.close()

    async def _connected(self) -> RedisLink:
        # One dials for all, and who gives up does not take the connection from the others.
        if self._dialing is None:
            self._dialing = asyncio.create_task(self._dial(), name="redis-connect")
            self._dialing.add_done_callback(self._dialed)
        dialing = self._dialing
        try:
            return await asyncio.shield(dialing)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if dialing.cancelled() and task is not None and not task.cancelling():
                raise ConnectionResetError("the server is none of ours any more") from None
            raise

    async def _dial(self) -> RedisLink:
        try:
            async with asyncio.timeout(self._timeout):
                return await connect(self.address, self.greeting)
        except TimeoutError:
            raise TimeoutError(self._silence()) from None
        except OSError as exc:
            host, port = self.address
            raise ConnectionError(f"{host}:{port}: {exc}") from exc

    def _dialed(self, task: asyncio.Task[RedisLink]) -> None:
        self._dialing = None
        if not task.cancelled() and task.exception() is None:
            self._link = task.result()

    def _silence(self) -> str:
        return f"no answer within {self._timeout:g} s"
