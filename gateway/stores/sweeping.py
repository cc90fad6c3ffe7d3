"""Remove what has expired, a little at a time, so that nobody waits for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from gateway.errors import StoreUnavailable

log = structlog.get_logger()

_BETWEEN_BATCHES = 0.05


class Sweeper:
    """Looks for expired sessions now and then; while there are many, in one batch after another.

    Args:
        sweep: Removes a batch at most, and returns how many that were.
        batch: How many a full batch has: after one there may be more.
        every: Seconds between two looks, on average.
    """

    def __init__(
        self, store: str, sweep: Callable[[], Awaitable[int]], *, batch: int, every: float
    ) -> None:
        self._store = store
        self._sweep = sweep
        self._batch = batch
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first look comes later, so that a short command never waits for it."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"{self._store}-sweeper")

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None

    async def _run(self) -> None:
        while True:
            # Workers that began together must not all look at the same moment for ever.
            await asyncio.sleep(self._every * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self._remove_all()
            except StoreUnavailable as exc:
                log.warning("sweep_failed", store=self._store, error=str(exc))

    async def _remove_all(self) -> None:
        while True:
            if await self._sweep() < self._batch:
                return
            await asyncio.sleep(_BETWEEN_BATCHES)
