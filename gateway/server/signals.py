"""Signals of the operating system: stop and reload."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

_STOP = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Turns signals into awaitable events while it is entered.

    Args:
        reload: Whether SIGHUP is such a signal.
    """

    def __init__(self, *, reload: bool = True) -> None:
        self._reload = reload
        self._events: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> Signals:
        """Begin to listen for signals."""
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.add_signal_handler(number, self._events.put_nowait, "stop")
        if self._reload:
            loop.add_signal_handler(signal.SIGHUP, self._events.put_nowait, "reload")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave signals to the operating system again: a second SIGINT ends the process."""
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.remove_signal_handler(number)
        if self._reload:
            loop.remove_signal_handler(signal.SIGHUP)

    def stop(self) -> None:
        """Do as if a signal to stop had come."""
        self._events.put_nowait("stop")

    async def wait(self, *, on_reload: Callable[[], Awaitable[None]]) -> None:
        """Return when the process is to stop; call ``on_reload`` for every wish to reload."""
        while await self._events.get() != "stop":
            await on_reload()
