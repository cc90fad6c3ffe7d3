"""Requests counted in this process alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.model import RateLimit
from gateway.rules.limits import Window, wait

REMEMBERED = 50_000
"""Keys, some 15 MB. Beyond it the one goes whose window began first: to push a count out, that many
others must come within its window."""


@dataclass(slots=True)
class _Count:
    began: float
    before: int
    now: int


class MemoryRates:
    """Counts in memory.

    Args:
        clock: Returns seconds; never goes back.
        most: Keys that are remembered.
    """

    def __init__(self, clock: Callable[[], float], most: int = REMEMBERED) -> None:
        self._clock = clock
        self._most = most
        self._counts: dict[tuple[str, int], _Count] = {}

    async def count(self, key: str, limit: RateLimit) -> float:
        """Count a request and return 0; or return the seconds to wait, and count nothing."""
        now = self._clock()
        count = self._present((key, limit.window), limit.window, now)
        left = count.began + limit.window - now
        seconds = wait(limit, Window(count.before, count.now, left))
        if not seconds:
            count.now += 1
        return seconds

    async def close(self) -> None:
        """Forget everything."""
        self._counts.clear()

    def _present(self, key: tuple[str, int], length: int, now: float) -> _Count:
        """Return the count of the present window; a new one begins where the last is over."""
        counts = self._counts
        count = counts.get(key)
        if count is not None and now < count.began + length:
            return count
        if count is None or now >= count.began + 2 * length:
            fresh = _Count(now, 0, 0)
        else:
            fresh = _Count(count.began + length, count.now, 0)
        counts.pop(key, None)
        counts[key] = fresh  # at the end: the dict stays in the order in which windows began
        if len(counts) > self._most:
            del counts[next(iter(counts))]
        return fresh
