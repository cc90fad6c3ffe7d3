"""A worker: a gateway like any other, that does as its parent says."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

import structlog

from gateway.config.config import Config
from gateway.errors import GatewayError
from gateway.server.app import App, Share
from gateway.server.channel import (
    Channel,
    Count,
    CountAll,
    Counted,
    CountedAll,
    Failed,
    Message,
    Ready,
    Reload,
    Reloaded,
)
from gateway.server.heap import keep_freed_memory
from gateway.server.listening import Sockets
from gateway.server.signals import Signals
from gateway.server.workers import BLOCKED

log = structlog.get_logger()

_PATIENCE = 2.0
_FLUSH_AFTER = 0.01


def work(number: int, config: Config, channel: Channel, sockets: Sockets, form_secret: str) -> int:
    """Serve until SIGTERM or the end of the parent; return the exit status."""
    import uvloop

    keep_freed_memory()
    try:
        uvloop.run(_work(number, config, channel, sockets, form_secret))
    except (GatewayError, OSError) as error:
        channel.send(Failed(str(error)))
        return 1
    return 0


async def _work(
    number: int, config: Config, channel: Channel, sockets: Sockets, form_secret: str
) -> None:
    parent = _ToParent(channel)
    share = Share(sockets=sockets, form_secret=form_secret, worker=number, gather=parent.gather)
    app = App(config, share)
    try:
        async with app, Signals(reload=False) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
            parent.listen(app, signals)
            await signals.wait(on_reload=app.reload)
            await app.drain()
            parent.leave()
    finally:
        app.close_log()


class _ToParent:
    """The worker's end of the channel, on its event loop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._tickets = 0
        self._waiting: dict[int, asyncio.Future[Sequence[bytes]]] = {}
        self._reloading: set[asyncio.Task[None]] = set()
        self._app: App | None = None
        self._signals: Signals | None = None

    def listen(self, app: App, signals: Signals) -> None:
        """Do as the parent says from now on, and tell it so."""
        self._app = app
        self._signals = signals
        self._loop.add_reader(self._channel.socket, self._hear)
        self._send(Ready())

    def leave(self) -> None:
        """Tell the last numbers, and hear no more."""
        if self._app is not None:
            self._send(Counted(0, self._app.numbers()))
        self._loop.remove_reader(self._channel.socket)

    async def gather(self, own: bytes) -> Sequence[bytes]:
        """Return the numbers of all others; of nobody, if the parent does not answer."""
        self._tickets += 1
        ticket = self._tickets
        answer: asyncio.Future[Sequence[bytes]] = self._loop.create_future()
        self._waiting[ticket] = answer
        self._send(CountAll(ticket, own))
        try:
            async with asyncio.timeout(_PATIENCE):
                return await answer
        except TimeoutError:
            return []
        finally:
            del self._waiting[ticket]

    def _hear(self) -> None:
        try:
            for message in self._channel.receive():
                self._take(message)
        except EOFError:  # nobody would start another gateway while this one has the address
            self._loop.remove_reader(self._channel.socket)
            if self._signals is not None:
                self._signals.stop()

    def _take(self, message: Message) -> None:
        if self._app is None:
            return
        match message:
            case Reload(config):
                task = self._loop.create_task(self._reload(self._app, config))
                self._reloading.add(task)
                task.add_done_callback(self._reloading.discard)
            case Count(ticket):
                self._send(Counted(ticket, self._app.numbers()))
            case CountedAll(ticket, numbers):
                waiting = self._waiting.get(ticket)
                if waiting is not None and not waiting.done():
                    waiting.set_result(numbers)

    async def _reload(self, app: App, config: Config) -> None:
        problem = None
        try:
            await app.take(config)
        except (GatewayError, OSError) as error:
            problem = str(error)
        self._send(Reloaded(problem))

    def _send(self, message: Message) -> None:
        self._channel.send(message)
        self._flush()

    def _flush(self) -> None:
        self._channel.flush()
        if self._channel.waiting:
            self._loop.call_later(_FLUSH_AFTER, self._flush)
