"""When to look anew for the servers that have to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_PAUSE = 0.1
"""Seconds between two looks for the primaries, so that a storm of failing requests makes none."""


class Refresh:
    """A look for the primaries: one looks for all who want to know.

    Args:
        look: Not called within ``_PAUSE`` of when it last succeeded.
        name: The task's.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], name: str) -> None:
        self._look = look
        self._name = name
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> asyncio.Task[None]:
        """Begin one, unless one is under way."""
        if self._task is None:
            self._task = asyncio.create_task(self._go(), name=self._name)
            self._task.add_done_callback(self._done)
        return self._task

    async def now(self) -> None:
        """Return when it is done; whoever stops waiting leaves it to the others."""
        await asyncio.shield(self.soon())

    async def close(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _go(self) -> None:
        clock = asyncio.get_running_loop().time
        if clock() < self._next:
            return
        await self._look()
        self._next = clock() + _PAUSE

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # whoever waited has got it; perhaps nobody did
