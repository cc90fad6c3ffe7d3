"""Requests that wait, in the order in which they came, until a target has room for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.errors import GatewayError

T = TypeVar("T")


class Queue(Generic[T]):
    """Waits for things that are handed out by ``admit``.

    Args:
        length: Of those who may wait.
        limit: Seconds that one may wait.
        give_up: Takes back what came when nobody waited for it any more.
    """

    def __init__(self, length: int, limit: float, give_up: Callable[[T], None]) -> None:
        self._length = length
        self._limit = limit
        self._give_up = give_up
        self._waiting: deque[tuple[Callable[[], T | None], asyncio.Future[T]]] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether nobody else may wait."""
        return len(self._waiting) >= self._length

    async def wait(self, choose: Callable[[], T | None]) -> T:
        """Wait for what ``choose`` returns; it is asked each time that there may be something.

        Raises:
            TimeoutError: It took too long.
            GatewayError: What ``choose`` raised.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        entry = choose, future
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._limit):
                return await future
        except BaseException:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif not future.cancelled() and future.exception() is None:
                self._give_up(future.result())
            raise

    def admit(self, *, in_order: bool) -> None:
        """Hand out what there is now.

        Args:
            in_order: Whether nobody can have what the one before cannot.
        """
        for entry in list(self._waiting):
            choose, future = entry
            if future.done():  # called off, and about to leave
                continue
            try:
                chosen = choose()
            except GatewayError as error:
                self._waiting.remove(entry)
                future.set_exception(error)
                continue
            if chosen is not None:
                self._waiting.remove(entry)
                future.set_result(chosen)
            elif in_order:
                return
