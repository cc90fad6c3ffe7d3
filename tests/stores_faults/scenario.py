"""How a store goes away and comes back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from tests.servers import PostgresServer, RedisServer


class Scenario(ABC):
    """A store, and what happens to it. ``lose`` and ``regain`` alternate."""

    url: str

    @abstractmethod
    def running(self) -> AbstractContextManager[object]:
        """Run it."""

    async def settled(self) -> None:
        """Return when all that was written is everywhere."""
        return

    @abstractmethod
    async def lose(self, key: str) -> None:
        """Let go what holds this key."""

    @abstractmethod
    async def regain(self, after: float) -> None:
        """Return as soon as it can be used again: by itself, or helped after so many seconds."""

    async def heal(self) -> None:
        """Make it as it was at first."""
        return


class Alone(Scenario):
    """One server, which is killed, paused, or restarted at once."""

    def __init__(self, server: RedisServer | PostgresServer, how: str) -> None:
        self._server = server
        self._how = how
        self.url = server.url

    def running(self) -> AbstractContextManager[object]:
        return self._server

    async def lose(self, key: str) -> None:
        lose = {
            "killed": self._server.kill,
            "paused": self._server.pause,
            "restarted": self._server.stop,
        }
        await asyncio.to_thread(lose[self._how])

    async def regain(self, after: float) -> None:
        if self._how != "restarted":
            await asyncio.sleep(after)
        if self._how == "paused":
            self._server.resume()
        else:
            await asyncio.to_thread(self._server.start)
