"""Redis with Sentinels: which server is the primary, and what to do when another one is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from gateway.redis.link import Address, Command, Greeting, Refused, open_link
from gateway.redis.node import Node
from gateway.redis.refresh import Refresh
from gateway.redis.servers import OneServer, greeting
from gateway.rules.redis_urls import RedisUrl


class NamedBySentinels(OneServer):
    """The server that the Sentinels call the primary now.

    A Sentinel that was cut off from the others may name an old one: what most of them say counts,
    and a server counts only if it calls itself a primary, whenever a connection is made and with
    each heartbeat. Sentinels that do not answer change nothing.
    """

    heartbeat: Command = ("ROLE",)

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._greeting = greeting(url)
        self._asking = Greeting(
            tls=self._greeting.tls,
            username=url.sentinel_username,
            password=url.sentinel_password,
        )
        self._primary: Node | None = None
        self._told: list[Callable[[], None]] = []
        self._refresh = Refresh(self._look, "redis-sentinels")
        self._closing: set[asyncio.Task[None]] = set()

    def is_well(self, answer: Any) -> bool:
        """Whether it is still a primary."""
        return isinstance(answer, list) and answer[0] == b"master"

    def primaries(self) -> Sequence[Node]:
        """Return the primary, once it is known."""
        return () if self._primary is None else (self._primary,)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Ask the primary; where it is none any more, or gone, the one that the Sentinels name."""
        if self._primary is None:
            await self.refresh()
        try:
            answers = await self._chosen().run(commands)
            if not any(isinstance(a, Refused) and a.code == "READONLY" for a in answers):
                return answers
        except TimeoutError:
            self._refresh.soon()  # the time for this request is used up
            raise
        except OSError:
            pass
        await self.refresh()
        return await self._chosen().run(commands)

    async def refresh(self) -> None:
        """Ask the Sentinels who is primary; one asks for all who want to know."""
        await self._refresh.now()

    def on_change(self, told: Callable[[], None]) -> None:
        """Call this when another server is primary."""
        self._told.append(told)

    async def close(self) -> None:
        """Close every connection."""
        self._told.clear()
        await self._refresh.close()
        if self._primary is not None:
            await self._primary.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _chosen(self) -> Node:
        if self._primary is None:
            raise ConnectionError("no Sentinel names a primary")
        return self._primary

    async def _look(self) -> None:
        named = await self._named()
        if named is None or (self._primary is not None and self._primary.address == named):
            return
        if self._primary is not None:
            task = asyncio.create_task(self._primary.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._primary = Node(named, self._greeting, self._timeout)
        for told in self._told:
            told()

    async def _named(self) -> Address | None:
        votes: Counter[Address] = Counter()
        enough = len(self._url.hosts) // 2 + 1
        asked = [asyncio.create_task(self._ask(sentinel)) for sentinel in self._url.hosts]
        try:
            for answer in asyncio.as_completed(asked):
                named = await answer
                if named is not None:
                    votes[named] += 1
                    if votes[named] >= enough:
                        break
        finally:
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
        return votes.most_common(1)[0][0] if votes else None

    async def _ask(self, sentinel: Address) -> Address | None:
        question: Command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.service)
        login = [w for w in (self._asking.username, self._asking.password) if w]
        try:
            # Half of what a request has, so that one which waits for it still gets an answer.
            async with asyncio.timeout(self._timeout / 2):
                link = await open_link(sentinel, self._asking)
                try:
                    # In the old protocol: Sentinels before Redis 6.2 know no HELLO.
                    commands: list[Command] = [("AUTH", *login)] if login else []
                    *signed_in, answer = await link.ask(*commands, question)
                finally:
                    await link.close()
        except OSError:
            return None
        if any(isinstance(one, Refused) for one in signed_in):
            return None  # it may answer all the same, to whom it does not know
        if not isinstance(answer, list) or len(answer) != 2:
            return None
        host, port = answer
        return host.decode(), int(port)
