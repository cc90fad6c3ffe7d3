"""Ask Redis, within a time limit; what goes wrong is ``StoreUnavailable``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from gateway.errors import StoreUnavailable
from gateway.redis.deployments import open_servers
from gateway.redis.link import Command, Refused
from gateway.rules.redis_urls import parse_redis_url

T = TypeVar("T")


class Asking:
    """The servers behind one URL.

    Args:
        timeout: Seconds that any question may take.
        setting: Where the URL is written, for messages.
    """

    def __init__(self, url: str, timeout: float, *, setting: str = "session.store") -> None:
        self._timeout = timeout
        try:
            self.servers = open_servers(parse_redis_url(url), timeout)
        except ValueError as exc:
            raise StoreUnavailable(f"{setting} is not a Redis URL: {exc}") from None

    async def close(self) -> None:
        """Close every connection."""
        await self.servers.close()

    async def ping(self) -> None:
        """Return if Redis answers."""
        await self.call(self.servers.ping)

    async def run(self, commands: Sequence[Command], *, tolerated: str = "") -> list[Any]:
        """Return the answers to commands on one key each, in order.

        Args:
            tolerated: The code of an error that is an answer like others: ``WRONGTYPE``.

        Raises:
            StoreUnavailable: No answer, not in time, or an error.
        """
        answers = await self.call(lambda: self.servers.run(commands))
        for answer in answers:
            if isinstance(answer, Refused) and answer.code != tolerated:
                raise StoreUnavailable(f"Redis: {answer}")
        return answers

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what a call of the servers returns.

        Raises:
            StoreUnavailable: It failed, or took too long.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except TimeoutError as exc:
            raise StoreUnavailable(f"Redis did not answer within {self._timeout:g} s") from exc
        except (Refused, OSError) as exc:
            raise StoreUnavailable(f"Redis: {exc}") from exc
