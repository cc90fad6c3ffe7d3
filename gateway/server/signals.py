"""Signals of the operating system: stop and reload."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

_STOP = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Turns signals into awaitable events while it is entered."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> Signals:
        """Begin to listen for signals."""
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.add_signal_handler(number, self._events.put_nowait, "stop")
        loop.add_signal_handler(signal.SIGHUP, self._events.put_nowait, "reload")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave signals to the operating system again: a second SIGINT ends the process."""
        loop = asyncio.get_running_loop()
        for number in (*_STOP, signal.SIGHUP):
            loop.remove_signal_handler(number)

    async def wait(self, *, on_reload: Callable[[], Awaitable[None]]) -> None:
        """Return when the process is to stop; call ``on_reload`` for every wish to reload."""
        while await self._events.get() != "stop":
            await on_reload()
