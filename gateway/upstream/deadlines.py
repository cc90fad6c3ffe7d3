"""Time limits of many waits at the price of one timer.

A timer for every wait costs two microseconds to set and cancel; here a wait costs one assignment,
and a sweep a few times a second finds those that are over.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

NEVER = float("inf")


class Waiting(Protocol):
    """Something that must not wait for ever."""

    deadline: float
    """Loop time after which ``expire`` is called; ``NEVER`` while nothing is waited for."""

    def expire(self) -> None:
        """Give up. Called once for each deadline that passed; may set a new one."""


class Deadlines:
    """Watches deadlines. One instance serves a process.

    Args:
        interval: Seconds between sweeps: by how much a limit may be overrun.
    """

    def __init__(self, interval: float = 0.05) -> None:
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._watched: set[Waiting] = set()
        self.watch = self._watched.add
        self.forget = self._watched.discard
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(interval, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        for waiting in [w for w in self._watched if w.deadline <= now]:
            waiting.deadline = NEVER
            waiting.expire()
        self._timer = self._loop.call_later(self._interval, self._sweep)

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watched.clear()
